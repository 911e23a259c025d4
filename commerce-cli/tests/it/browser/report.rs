//! The page `/report`, used by mouse and keyboard while orders arrive and are cancelled.

use super::devtools::{Browser, until};
use super::{Server, assert_no_browser_errors};
use serde_json::{Value, json};

const PASSWORD: &str = "battery staple";

/// A shop with an admin, and two orders of customer 1: teas for 9,000 won, and a bowl for 900.
fn shop(server: &str) -> Server {
    let server = Server::start(&["--server", server]);
    server.run(&["admin", "create", "owner", "--password-file", "-"], PASSWORD);
    server.run(&["charge", "1", "50000", "--key", "charge"], "");
    server.run(&["order", "1", "1:2", "--key", "teas"], "");
    server.run(&["order", "1", "2:1", "--key", "bowl"], "");
    server
}

fn open(browser: &mut Browser, server: &Server) {
    browser.call("Page.navigate", json!({ "url": format!("{}/report", server.origin) }));
    browser.text("#login h2");
}

fn log_in(browser: &mut Browser, password: &str) {
    browser.fill("#name", "owner");
    browser.fill("#password", password);
    browser.click("#login button");
}

/// Waits until an element has that text.
fn shows(browser: &mut Browser, selector: &str, text: &str) {
    let look = format!("document.querySelector({})?.innerText", json!(selector));
    until(&format!("{selector} to show {text}"), || (browser.eval(&look) == text).then_some(()));
}

fn figure(name: &str) -> String {
    format!("[data-figure='{name}'] .value")
}

/// Chooses an option of a list; the window of the list belongs to the operating system.
fn select(browser: &mut Browser, selector: &str, value: &str) {
    browser.eval(&format!(
        "(() => {{
            const list = document.querySelector({});
            list.value = {};
            list.dispatchEvent(new Event('change'));
        }})()",
        json!(selector),
        json!(value)
    ));
}

#[test]
fn report_page_follows_choices_and_shows_a_cancellation() {
    let server = shop("hyper");
    let mut browser = Browser::start(1280, 900);
    open(&mut browser, &server);
    log_in(&mut browser, PASSWORD);
    shows(&mut browser, &figure("net"), "₩9,900");
    shows(&mut browser, &figure("orders"), "2");
    assert_eq!(browser.text("#byDay h2"), "Net sales by day");
    assert_eq!(browser.eval("document.querySelectorAll('#byDay tbody tr').length"), 7);
    assert_eq!(browser.text("#products tbody tr:first-child .named > span"), "Green tea, 100 g");
    assert_eq!(browser.text("#balances dd.main"), "₩40,100");
    assert_eq!(browser.text("#events dd.main"), "2");

    // The token is in this tab only, and not in its address.
    assert_eq!(browser.eval("location.href"), format!("{}/report", server.origin));
    assert_eq!(
        browser.eval("Object.values(localStorage).some(kept => kept.includes('cs_'))"),
        false
    );

    // Another window, in another zone: its days begin at a quarter to the hour.
    browser.click("#days [data-value='1']");
    shows(&mut browser, "#days [aria-pressed='true']", "Today");
    until("the chart of days to go", || {
        (browser.eval("document.querySelector('#byDay').hidden") == true).then_some(())
    });
    browser.click("#byHour summary");
    assert_eq!(browser.text("#byHour tbody tr:first-child td"), "00:00");
    assert_eq!(browser.eval("document.querySelectorAll('#byHour tbody tr').length"), 24);
    select(&mut browser, "#zone", "Asia/Kathmandu");
    until("the zone", || browser.text("#window").ends_with("Asia/Kathmandu").then_some(()));
    browser.eval("1"); // what was sent before this answer has been read with it
    let asked = |event: &Value| {
        let url = event["params"]["request"]["url"].as_str().unwrap_or_default();
        url.contains("/reports/sales?") && url.contains("zone=Asia%2FKathmandu")
    };
    assert!(browser.events.iter().any(asked), "the zone was not asked for");

    // The page asks again by itself.
    browser.click("#days [data-value='7']");
    browser.click("[data-figure='refunds']");
    shows(&mut browser, "#byDay h2", "Refunds by day");
    shows(&mut browser, &figure("refunds"), "₩0");
    server.run(&["orders", "cancel", "1", "--key", "cancel"], "");
    shows(&mut browser, &figure("refunds"), "₩9,000");
    shows(&mut browser, &figure("orders"), "2");
    select(&mut browser, "#basis", "standing");
    shows(&mut browser, &figure("orders"), "1");
    shows(&mut browser, &figure("net"), "₩900");

    // In Korean, on paper, and on a narrow screen.
    browser.click("#language");
    shows(&mut browser, "h1", "보고서");
    assert_eq!(browser.eval("document.documentElement.lang"), "ko");
    let paper = browser.call("Page.printToPDF", json!({ "printBackground": true }));
    assert!(paper["data"].as_str().is_some_and(|pdf| pdf.len() > 10_000));
    let narrow = json!({ "width": 380, "height": 800, "deviceScaleFactor": 1, "mobile": false });
    browser.call("Emulation.setDeviceMetricsOverride", narrow);
    until("the page to fit", || {
        let fits = "document.documentElement.scrollWidth <= 380
            && document.querySelector('#byHour canvas').getBoundingClientRect().right <= 380";
        (browser.eval(fits) == true).then_some(())
    });

    let token = browser.eval("sessionStorage.getItem('commerce-token')");
    browser.click("#leave");
    browser.text("#login h2");
    assert_eq!(browser.eval("sessionStorage.length"), 0);
    assert_no_browser_errors(&mut browser, &server.origin);
    let script = format!(
        "window.said = null; fetch('/v1/reports/sales', {{ headers: {{ Authorization: 'Bearer ' + {token} }} }})
            .then(answer => {{ window.said = answer.status; }}); 0"
    );
    until("the session to end", || {
        browser.eval(&script);
        (until("an answer", || browser.eval("window.said").as_i64()) == 401).then_some(())
    });
}

#[test]
fn report_page_turns_away_others() {
    let server = shop("tiny");
    let mut browser = Browser::start(1280, 900);
    open(&mut browser, &server);
    // Set before the first page, the language may not have reached the process that draws the page.
    let korean = json!({ "userAgent": "", "acceptLanguage": "ko-KR" });
    browser.call("Emulation.setUserAgentOverride", korean);
    browser.call("Page.reload", json!({}));
    shows(&mut browser, "#login h2", "로그인");
    log_in(&mut browser, "wrong password");
    shows(&mut browser, "#notice", "아이디 또는 비밀번호가 올바르지 않습니다.");
    browser.click("#language");
    let token =
        server.run(&["--json", "customer", "login", "1", "kim", "--password-file", "-"], PASSWORD);
    assert!(token.contains("kim"), "{token}");
    browser.fill("#name", "kim");
    browser.fill("#password", PASSWORD);
    browser.click("#login button");
    shows(&mut browser, "#notice", "This login may not read reports: log in as an admin.");
    assert_eq!(browser.eval("sessionStorage.length"), 0);
    assert_eq!(browser.eval("document.querySelector('#report').hidden"), true);
}
