//! Tests of [`Service::start`]: the kind of each answer, and answers that come later.

use super::*;
use crate::message::Answer;
use commerce_core::store::{Snapshot, Transaction};
use commerce_core::sync;
use std::task::Wake;
use std::thread::Thread;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Answers a request as a server with an executor does.
pub(super) fn finish(api: &Arc<Api>, request: Request) -> Response {
    match Arc::clone(api).start(Arc::new(request)) {
        Answer::Ready(response) => response,
        Answer::Blocking(work) => work(),
        Answer::Pending(response) => block_on(response),
    }
}

fn block_on<T>(mut future: Pin<Box<dyn Future<Output = T> + Send>>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// A store in memory that can be paused as by another process that writes, and may pass for a remote one.
struct Pausable {
    store: MemoryStore,
    is_local: bool,
    paused: sync::Mutex<bool>,
    resumed: sync::Condvar,
}

impl Pausable {
    fn new(is_local: bool) -> Arc<Self> {
        let store = MemoryStore::new(Currency::KRW);
        let (paused, resumed) = (sync::Mutex::default(), sync::Condvar::new());
        Arc::new(Self { store, is_local, paused, resumed })
    }

    fn pause(&self) -> Pause<'_> {
        *self.paused.lock() = true;
        Pause(self)
    }
}

/// A pause of a store, which ends when it is dropped: also if an assertion fails, since a shop waits for its calls.
struct Pause<'a>(&'a Pausable);

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        *self.0.paused.lock() = false;
        self.0.resumed.notify_all();
    }
}

impl Store for Pausable {
    fn currency(&self) -> Currency {
        self.store.currency()
    }

    fn begin(&self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        let mut is_paused = self.paused.lock();
        while *is_paused {
            is_paused = self.resumed.wait(is_paused);
        }
        self.store.begin()
    }

    fn try_begin(&self) -> Result<Option<Box<dyn Transaction + '_>>, StoreError> {
        if *self.paused.lock() { Ok(None) } else { self.begin().map(Some) }
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        self.store.snapshot()
    }

    fn reads_locally(&self) -> bool {
        self.is_local
    }
}

fn pausable_world(is_local: bool) -> (Arc<Pausable>, World) {
    let store = Pausable::new(is_local);
    let world = world_on(Arc::clone(&store), Shop::builder().gateway(Arc::new(SimulatedGateway)));
    (store, world)
}

pub(super) fn request(method: &str, target: &str, token: &str, body: &Value) -> Request {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Request {
        method: method.to_owned(),
        target: target.to_owned(),
        headers: vec![
            header("Authorization", &format!("Bearer {token}")),
            header("Content-Type", "application/json"),
            header("Idempotency-Key", "k"),
        ],
        body: if body.is_null() { Vec::new() } else { body.to_string().into_bytes() },
        peer: None,
    }
}

fn kind(answer: &Answer) -> &'static str {
    match answer {
        Answer::Ready(_) => "ready",
        Answer::Pending(_) => "pending",
        Answer::Blocking(_) => "blocking",
    }
}

/// While another process writes, no route that is not marked as blocking waits on the thread of the executor: the paused
/// store would keep this test from ending.
#[rstest]
#[case::local(true)]
#[case::remote(false)]
fn kind_of_answer_follows_from_the_route_and_the_store(#[case] is_local: bool) {
    let (store, world) = pausable_world(is_local);
    let pause = store.pause();
    for route in ROUTES {
        let (path, body) = example(route);
        let request = request(route.method.name(), &path, &world.admin, &body);
        let expected = match route.handler {
            Handler::Fixed(_) => "ready",
            Handler::Read(_) if is_local => "ready",
            Handler::Submit(_) if is_local => "pending",
            Handler::Read(_) | Handler::Submit(_) | Handler::Blocking(_) => "blocking",
        };
        let answer = Arc::clone(&world.api).start(Arc::new(request));
        assert_eq!(kind(&answer), expected, "{}", route.operation);
    }
    let blocking = ROUTES.iter().filter(|route| matches!(route.handler, Handler::Blocking(_)));
    let blocking: Vec<_> = blocking.map(|route| route.operation).collect();
    let (reports, others): (Vec<_>, Vec<&str>) =
        blocking.into_iter().partition(|operation| operation.starts_with("report"));
    assert_eq!(reports.len(), 6);
    // A list that searches examines thousands of rows.
    let (lists, others): (Vec<_>, Vec<&str>) =
        others.into_iter().partition(|operation| operation.starts_with("list"));
    let expected = ["listCustomers", "listCharges", "listProducts", "listMovements"];
    assert_eq!(lists, [&expected[..], &["listBestSellers", "listAllOrders"]].concat());
    let expected = [
        "register",
        "changePassword",
        "revokeSession",
        "logIn",
        "logOut",
        "charge",
        "refundCharge",
    ];
    let rest = ["createToken", "handleStripeWebhook", "isReady", "getMetrics"];
    let expected = [&expected[..], &rest].concat();
    assert_eq!(others, expected);
    for (method, target) in [("GET", "/docs"), ("GET", "/nothing"), ("OPTIONS", "/v1/sessions")] {
        let answer =
            Arc::clone(&world.api).start(Arc::new(request(method, target, "", &Value::Null)));
        assert_eq!(kind(&answer), "ready", "{method} {target}");
    }
    drop(pause);
}

const ORDERS: &str = "/v1/customers/1/orders";

fn order() -> Value {
    json!({ "items": [{ "product_id": 1, "quantity": 1 }] })
}

#[test]
fn pending_answer_is_counted_and_logged_once_it_is_known() {
    let (store, world) = pausable_world(true);
    let pause = store.pause();
    let answer =
        Arc::clone(&world.api).start(Arc::new(request("POST", ORDERS, &world.kim, &order())));
    let Answer::Pending(mut response) = answer else { panic!("the store is paused") };
    assert!(response.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert!(world.lines.lock().unwrap().is_empty());
    drop(pause);
    let response = block_on(response);
    assert_eq!(response.status, 201);
    let line = world.lines.lock().unwrap().concat();
    assert!(line.contains("operation=placeOrder status=201 "), "{line}");
    let again = finish(&world.api, request("POST", ORDERS, &world.kim, &order()));
    assert_eq!(*again.body, *response.body);
    assert!(again.headers.contains(&(REPLAYED, "true".into())));
}

#[test]
fn order_of_a_dropped_answer_is_placed() {
    let (store, world) = pausable_world(true);
    let pause = store.pause();
    let answer =
        Arc::clone(&world.api).start(Arc::new(request("POST", ORDERS, &world.kim, &order())));
    assert_eq!(kind(&answer), "pending");
    drop(answer);
    drop(pause);
    let again = finish(&world.api, request("POST", ORDERS, &world.kim, &order()));
    assert_eq!(again.status, 201);
    assert!(again.headers.contains(&(REPLAYED, "true".into())));
    let metrics = finish(&world.api, request("GET", "/metrics", "", &Value::Null));
    let metrics = String::from_utf8(metrics.body.into_owned()).unwrap();
    assert!(metrics.contains("commerce_http_requests_in_flight 1\n"), "only this one: {metrics}");
}
