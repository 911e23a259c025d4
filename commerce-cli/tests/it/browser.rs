//! The page `/docs` in a browser, used by mouse and keyboard.

mod devtools;
mod report;

use self::devtools::{Browser, until};
use rstest::rstest;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use tempfile::TempDir;

/// A `commerce serve --demo` process on a free port, with a store of its own.
struct Server {
    child: Child,
    /// `http://127.0.0.1:PORT`
    origin: String,
    folder: TempDir,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let place = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_commerce"))
            .args(["serve", "--demo", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .current_dir(place.path())
            .env_clear()
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let first = lines.next().unwrap_or_default();
        // The log is read to its end, or the server would block on a full pipe.
        thread::spawn(move || lines.for_each(drop));
        let mut server = Self { child, origin: String::new(), folder: place };
        let address = first.split("see ").nth(1).and_then(|url| url.strip_suffix("/docs"));
        address.unwrap_or_else(|| panic!("no address: {first}")).clone_into(&mut server.origin);
        server
    }

    /// Runs a command on the store of the server, with that input; returns its output.
    fn run(&self, arguments: &[&str], input: &str) -> String {
        let mut child = Command::new(env!("CARGO_BIN_EXE_commerce"))
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The response as the page shows it.
struct Shown {
    status: String,
    body: Value,
    /// The whole text, with headers.
    all: String,
    /// The page's curl command for the call.
    curl: String,
}

/// One operation on the page.
struct Call<'a> {
    browser: &'a mut Browser,
    /// The selector of the operation.
    at: String,
}

impl<'a> Call<'a> {
    /// Returns an operation that is expanded already.
    fn opened(browser: &'a mut Browser, tag: &str, operation: &str) -> Self {
        Self { browser, at: format!("#operations-{tag}-{operation}") }
    }

    fn open(browser: &'a mut Browser, tag: &str, operation: &str) -> Self {
        let call = Self::opened(browser, tag, operation);
        call.browser.click(&call.within(".opblock-summary-control"));
        call
    }

    fn within(&self, selector: &str) -> String {
        format!("{} {selector}", self.at)
    }

    fn body(self, body: &Value) -> Self {
        self.browser.fill(&self.within("textarea.body-param__text"), &body.to_string());
        self
    }

    fn key(self, key: &str) -> Self {
        let field = "tr[data-param-name='Idempotency-Key'] input";
        self.browser.fill(&self.within(field), key);
        self
    }

    fn execute(&mut self) -> Shown {
        let answer = self.within(".live-responses-table");
        self.browser.click(&self.within(".execute"));
        let status = self.browser.text(&format!("{answer} tbody .response-col_status"));
        let body = self.browser.text(&format!("{answer} .highlight-code pre"));
        Shown {
            status: status.split_whitespace().next().unwrap_or_default().to_owned(),
            body: serde_json::from_str(&body).unwrap_or_else(|_| panic!("no JSON: {body}")),
            all: self.browser.text(&format!("{answer} tbody")),
            curl: self.browser.text(&self.within(".curl-command")),
        }
    }

    /// Clears the response, and executes again.
    fn again(&mut self) -> Shown {
        self.browser.click(&self.within(".btn-clear"));
        let gone = format!("document.querySelector({}) === null", json!(self.within(".btn-clear")));
        until("the answer to go", || (self.browser.eval(&gone) == true).then_some(()));
        self.execute()
    }

    /// Collapses the operation.
    fn close(self) {
        self.browser.click(&self.within(".opblock-summary-control"));
    }
}

#[rstest]
fn docs_page_executes_the_demo_order(#[values("tiny", "hyper")] server: &str) {
    let server = Server::start(&["--server", server]);
    let mut browser = Browser::start(1280, 900);
    browser.call("Page.navigate", json!({ "url": format!("{}/", server.origin) }));
    until("the page to open", || (browser.eval("location.pathname") == "/docs").then_some(()));
    assert_eq!(browser.text("h1"), "commerce");

    let newcomer = json!({ "login": "lee", "password": "battery staple", "name": "Lee" });
    browser.text("#operations-customers-register");
    browser.click("header a"); // the first thing the page says to do
    let mut call = Call::opened(&mut browser, "customers", "register").body(&newcomer);
    let shown = call.execute();
    assert_eq!((&*shown.status, &shown.body["name"]), ("201", &json!("Lee")));
    let customer = shown.body["id"].clone();
    call.close();

    let login = json!({ "login": "lee", "password": "battery staple" });
    let mut call = Call::open(&mut browser, "sessions", "logIn").body(&login);
    let shown = call.execute();
    assert_eq!((&*shown.status, &shown.body["customer_id"]), ("201", &customer));
    assert!(!shown.curl.contains("Idempotency-Key"), "a key for a call that takes none");
    call.close();
    browser.text(".auth-wrapper .authorize.locked");
    let told = browser.text("#caller");
    assert_eq!(told, format!("Customer {customer} is logged in: calls carry the token."));

    // From here on the caller, the key and the body are filled in already.
    let mut call = Call::open(&mut browser, "charges", "charge");
    let shown = call.execute();
    assert_eq!((&*shown.status, &shown.body["balance"]), ("201", &json!(20_000)));
    assert!(shown.curl.contains("Authorization: Bearer "), "{}", shown.curl);
    assert!(shown.curl.contains("Idempotency-Key: "), "{}", shown.curl);
    let shown = call.again();
    assert_eq!((&*shown.status, &shown.body["balance"]), ("201", &json!(40_000)), "a new key");
    call.close();

    // A typed key is sent.
    let mut call = Call::open(&mut browser, "orders", "placeOrder").key("tea-1");
    let shown = call.execute();
    assert_eq!((&*shown.status, &shown.body["total"]), ("201", &json!(9_000)));
    assert_eq!(shown.body["customer_id"], customer);
    let order = shown.body["id"].clone();
    let shown = call.again();
    assert_eq!((&*shown.status, &shown.body["id"]), ("201", &order));
    assert!(shown.all.contains("idempotency-replayed: true"), "{}", shown.all);
    call.close();

    let mut call = Call::open(&mut browser, "bestsellers", "listBestSellers");
    let shown = call.execute();
    let best = &shown.body["items"][0];
    assert_eq!((&*shown.status, &best["rank"], &best["product_id"]), ("200", &json!(1), &json!(1)));
    assert_eq!((&best["units_sold"], &best["stock"]), (&json!(2), &json!(98)));

    keep_picture(call.browser);
    call.close();

    let call = Call::open(&mut browser, "sessions", "logOut");
    call.browser.click(&call.within(".execute"));
    browser.text(".auth-wrapper .authorize.unlocked");
    assert_eq!(browser.text("#caller"), "Logged out: calls carry no token.");
    assert_no_browser_errors(&mut browser, &server.origin);
}

/// A page of another origin may use the API only where that origin is allowed.
#[rstest]
fn cors_allows_only_listed_origins(#[values("tiny", "hyper")] server: &str) {
    let page = Server::start(&["--server", server]);
    let server = ["--server", server, "--cors-origin", "https://shop.example"];
    let open = Server::start(&[&server[..], &["--cors-origin", &page.origin]].concat());
    let closed = Server::start(&server);
    let mut browser = Browser::start(1280, 900);
    // A JSON response has no content security policy that would block calls to other origins.
    browser.call("Page.navigate", json!({ "url": format!("{}/v1", page.origin) }));
    until("the page to open", || (browser.eval("location.pathname") == "/v1").then_some(()));
    let mut said = |script: &str| {
        browser.eval(&format!(
            "window.said = null; (async () => {{ {script} }})()
                .then(said => {{ window.said = said; }}, error => {{ window.said = [String(error)]; }}); 0"
        ));
        until("an answer", || Some(browser.eval("window.said")).filter(|said| !said.is_null()))
    };
    let base = &open.origin;
    let session = said(&format!(
        "const json = {{ 'Content-Type': 'application/json' }};
         const post = (path, body, headers) => fetch('{base}' + path,
             {{ method: 'POST', headers: {{ ...json, ...headers }}, body: JSON.stringify(body) }});
         const who = {{ login: 'kim', password: 'battery staple' }};
         await post('/v1/customers', {{ ...who, name: 'Kim' }});
         const session = await post('/v1/sessions', who);
         const Authorization = 'Bearer ' + (await session.json()).token;
         const cart = '{base}/v1/customers/me/cart';
         const tag = (await fetch(cart, {{ headers: {{ Authorization }} }})).headers.get('ETag');
         const put = await fetch(cart + '/items/1', {{ method: 'PUT', body: JSON.stringify({{ quantity: 1 }}),
             headers: {{ ...json, Authorization, 'If-Match': tag, 'Idempotency-Key': 'a' }} }});
         const stale = await fetch(cart, {{ method: 'DELETE', headers: {{ Authorization, 'If-Match': tag }} }});
         const none = await fetch('{base}/v1/nothing', {{ headers: {{ Authorization }} }});
         return [session.headers.get('Location'), put.status, put.headers.get('ETag') !== null,
             stale.status, (await stale.json()).code, none.status];"
    ));
    let expected = json!(["/v1/sessions/current", 200, true, 412, "precondition_failed", 404]);
    assert_eq!(session, expected);
    let refused = said(&format!("return [(await fetch('{}/v1/products')).status];", closed.origin));
    assert!(refused[0].as_str().is_some_and(|said| said.contains("Failed to fetch")), "{refused}");
}

/// Asserts that all resources came from the server, and that the browser reported no error and no
/// policy violation.
fn assert_no_browser_errors(browser: &mut Browser, origin: &str) {
    browser.eval("1"); // what was reported before this answer has been read with it
    let mut own = 0;
    for event in &browser.events {
        let params = &event["params"];
        match event["method"].as_str().unwrap_or_default() {
            "Network.requestWillBeSent" => {
                let url = params["request"]["url"].as_str().unwrap();
                let ours = url.starts_with(&format!("{origin}/"));
                assert!(ours || url.starts_with("data:"), "loaded from elsewhere: {url}");
                own += u32::from(ours);
            }
            "Runtime.exceptionThrown" | "Log.entryAdded" => panic!("the console says {params}"),
            "Runtime.consoleAPICalled" => {
                let harmless = ["log", "debug", "info"].map(Value::from).contains(&params["type"]);
                assert!(harmless, "the console says {params}");
            }
            _ => {}
        }
    }
    assert!(own > 10, "{own} requests were seen");
}

/// Writes a screenshot of the open operation to the file named by `COMMERCE_PICTURE`.
fn keep_picture(browser: &mut Browser) {
    let Some(path) = std::env::var_os("COMMERCE_PICTURE") else { return };
    let file = File::create(path).unwrap();
    let picture = browser.picture(".opblock.is-open", ".live-responses-table .highlight-code");
    let mut decoder =
        Command::new("base64").arg("-d").stdin(Stdio::piped()).stdout(file).spawn().unwrap();
    decoder.stdin.take().unwrap().write_all(picture.as_bytes()).unwrap();
    assert!(decoder.wait().unwrap().success());
}
