//! A browser driven over a pipe with the Chrome `DevTools` Protocol. A pipe needs no port, and the
//! browser ends by itself when its pipe closes.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The bound on every wait.
const TIMEOUT: Duration = Duration::from_secs(30);

const MISSING: &str = "this test needs Chromium: install the Debian package `chromium`";

/// Starts Chromium with a shell, since the protocol needs the descriptors 3 and 4.
const START: &str = r#"exec chromium "$@" 3<&0 4>&1 </dev/null >&2 2>/dev/null"#;

pub(crate) struct Browser {
    child: Child,
    pipe: ChildStdin,
    messages: Receiver<Value>,
    session: Option<String>,
    sent: u64,
    /// All events reported so far: requests, errors and so on.
    pub(crate) events: Vec<Value>,
    _profile: TempDir,
}

/// Repeats the function until it returns a value.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < TIMEOUT, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(25));
    }
}

impl Browser {
    /// Opens a window of that size, with an empty page.
    pub(crate) fn start(width: u32, height: u32) -> Self {
        let known = Command::new("sh").args(["-c", "command -v chromium"]).output().unwrap();
        assert!(known.status.success(), "{MISSING}");
        let profile = tempfile::tempdir().unwrap();
        let mut child = Command::new("sh")
            .args(["-c", START, "sh", "--remote-debugging-pipe", "--headless=new"])
            // The sandbox works neither for root nor in containers; the only page is the service's
            // own.
            .args(["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"])
            .args([
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
            ])
            .args(["--disable-sync", "--disable-extensions", "--no-proxy-server", "--lang=en-US"])
            .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
            .arg(format!("--window-size={width},{height}"))
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("HOME", profile.path())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_CACHE_HOME")
            .current_dir(profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let pipe = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let (sender, messages) = channel();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            while output.read_until(0, &mut bytes).is_ok_and(|count| count > 0) {
                bytes.pop();
                let message = serde_json::from_slice(&bytes).unwrap_or_default();
                if sender.send(message).is_err() {
                    break;
                }
                bytes.clear();
            }
        });
        let (session, sent, events) = (None, 0, Vec::new());
        let mut browser = Self { child, pipe, messages, session, sent, events, _profile: profile };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let whom = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", whom);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page.enable", "Network.enable", "Runtime.enable", "Log.enable"] {
            browser.call(domain, json!({}));
        }
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false,
        });
        browser.call("Emulation.setDeviceMetricsOverride", metrics);
        browser
    }

    /// Calls a method of the protocol and waits for its result.
    pub(crate) fn call(&mut self, method: &str, params: Value) -> Value {
        self.sent += 1;
        let mut message = json!({ "id": self.sent, "method": method });
        message["params"] = params;
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        self.pipe.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let message = self.messages.recv_timeout(TIMEOUT);
            let Ok(mut message) = message else { panic!("{method}: the browser does not answer") };
            if message["id"] == self.sent {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].take();
            }
            self.events.push(message);
        }
    }

    /// Evaluates a JavaScript expression on the page.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true });
        let mut answer = self.call("Runtime.evaluate", params);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].take()
    }

    /// Waits for an element, and returns its visible text.
    pub(crate) fn text(&mut self, selector: &str) -> String {
        let look = format!("document.querySelector({})?.innerText", json!(selector));
        until(selector, || {
            self.eval(&look).as_str().filter(|text| !text.is_empty()).map(str::to_owned)
        })
    }

    /// Scrolls to the element and clicks it. A page that moves between a look and its click makes the click miss;
    /// then it is repeated.
    pub(crate) fn click(&mut self, selector: &str) {
        until(&format!("a click on {selector}"), || {
            let place = self.place(selector);
            for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
                let button = if kind == "mouseMoved" { "none" } else { "left" };
                let event = json!({
                    "type": kind, "x": place[0], "y": place[1], "button": button, "clickCount": 1,
                });
                self.call("Input.dispatchMouseEvent", event);
            }
            // A page that was opened by the click knows nothing of it.
            (self.eval("window.isMissed") != true).then_some(())
        });
    }

    /// Waits until the element is nearly at rest and not covered, and returns its middle. The page notes whether the next
    /// click hits it.
    fn place(&mut self, selector: &str) -> Value {
        let look = format!(
            "(() => {{
                const found = document.querySelector({0});
                if (!found || found.disabled) return null;
                found.scrollIntoView({{ block: 'center', behavior: 'instant' }});
                const box = found.getBoundingClientRect();
                const x = Math.round(box.x + box.width / 2);
                const y = Math.round(box.y + box.height / 2);
                window.isMissed = true;
                removeEventListener('click', window.noteClick, true);
                window.noteClick = (event) => {{ window.isMissed &&= !event.target.closest({0}); }};
                addEventListener('click', window.noteClick, true);
                return found.contains(document.elementFromPoint(x, y)) ? [x, y] : null;
            }})()",
            json!(selector)
        );
        let mut before = Value::Null;
        until(&format!("{selector} to click on"), || {
            let place = self.eval(&look);
            let near =
                |axis: usize| Some(place[axis].as_i64()?.abs_diff(before[axis].as_i64()?) < 3);
            let still = near(0) == Some(true) && near(1) == Some(true);
            before = place.clone();
            still.then_some(place)
        })
    }

    /// Replaces the text of a field.
    pub(crate) fn fill(&mut self, selector: &str, text: &str) {
        self.click(selector);
        self.eval("document.activeElement.select()");
        self.call("Input.insertText", json!({ "text": text }));
        let look = format!("document.querySelector({}).value", json!(selector));
        until(&format!("{selector} to be filled"), || (self.eval(&look) == text).then_some(()));
    }

    /// Returns a screenshot from the top of the first element to the bottom of the second, as PNG
    /// in base64.
    pub(crate) fn picture(&mut self, first: &str, last: &str) -> String {
        let look = format!(
            "(() => {{
                const [first, last] = [{}, {}].map((it) => document.querySelector(it).getBoundingClientRect());
                const height = last.bottom - first.top + 16;
                return {{ x: 0, y: first.top + scrollY - 8, width: innerWidth, height, scale: 1 }};
            }})()",
            json!(first),
            json!(last)
        );
        let clip = self.eval(&look);
        let params = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        self.call("Page.captureScreenshot", params)["data"].as_str().unwrap().to_owned()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // `Browser.close` first, so that the browser ends its own processes and stops writing to
        // the profile.
        let _ = self.pipe.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < Duration::from_secs(5)
        {
            thread::sleep(Duration::from_millis(25));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
