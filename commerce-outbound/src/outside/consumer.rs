//! Events as a consumer in Python verifies them: signature, form and schema.

use super::{Program, root};
use crate::destination::{DestinationOptions, destination};
use crate::http::Client;
use crate::receiver::event;
use crate::secrets::SecretSource;
use crate::webhook::LIMITS;
use commerce_core::{Currency, DeliveryResult, EventKind, OrderStatus};
use rstest::rstest;
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use ureq::http::{Request, Uri};
use ureq::tls::Certificate;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn consumer(secret: &str, tls: &[&str]) -> Program {
    let docs = root().join("docs");
    Program::start("consumer.py", &[&[secret, docs.to_str().unwrap()], tls].concat())
}

/// Writes a key and a self-signed certificate of a host into a file.
fn certify(host: &str, path: &Path) -> Certificate<'static> {
    let request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test \
                   -addext basicConstraints=critical,CA:FALSE -addext";
    let output = Command::new("openssl")
        .args(request.split_whitespace())
        .arg(format!("subjectAltName=DNS:{host}"))
        .args([OsStr::new("-keyout"), path.as_os_str(), OsStr::new("-out"), OsStr::new("-")])
        .output()
        .expect("this test needs what tests/run installs: run it first");
    let certificate = Certificate::from_pem(&output.stdout).unwrap();
    OpenOptions::new().append(true).open(path).unwrap().write_all(&output.stdout).unwrap();
    certificate
}

fn options(batch: usize) -> DestinationOptions {
    DestinationOptions {
        secret: Some(SecretSource::fixed(SECRET)),
        batch,
        allow_private: true,
        currency: Some(Currency::KRW),
        ..DestinationOptions::default()
    }
}

#[rstest]
#[case::one_by_one(1)]
#[case::in_batches(10)]
fn events_are_signed_and_match_the_documented_schema(#[case] batch: usize) {
    let mut consumer = consumer(SECRET, &[]);
    let to = destination(&format!("http://127.0.0.1:{}/", consumer.port), options(batch)).unwrap();
    let mut events = [event(1, 1), event(2, 3), event(3, 1_000)];
    events[1].kind = EventKind::OrderCancelled;
    events[1].trace = None;
    events[1].data.status = OrderStatus::Cancelled;
    events[1].data.cancelled_at = events[1].data.paid_at;
    events[1].data.owned_coupon_id = Some(9.into());
    events[1].data.reference = Some("주문 \u{1f375} \"2\"".to_owned());
    for request in events.chunks(batch) {
        assert_eq!(to.deliver(request), DeliveryResult::Done);
    }
    assert_eq!(consumer.line(), "9f86d081884c7d65-1 order.paid 1 orders/101 1 9000");
    assert_eq!(consumer.line(), "9f86d081884c7d65-2 order.cancelled 2 orders/102 3 27000");
    assert_eq!(consumer.line(), "9f86d081884c7d65-3 order.paid 3 orders/103 1000 9000000");
}

#[test]
fn signature_by_another_secret_is_rejected() {
    let consumer = consumer("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &[]);
    let to = destination(&format!("http://127.0.0.1:{}/", consumer.port), options(1)).unwrap();
    let delivery = to.deliver(&[event(1, 1)]);
    assert!(
        matches!(&delivery, DeliveryResult::Failed { error, .. } if error.contains("No matching signature")),
        "{delivery:?}"
    );
}

#[rstest]
#[case::trusted("localhost", true, true)]
#[case::of_another_host("other.example", true, false)]
#[case::not_trusted("localhost", false, false)]
fn certificate_has_to_be_trusted_and_of_the_host(
    #[case] host: &str,
    #[case] trusted: bool,
    #[case] connects: bool,
) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("consumer.pem");
    let mut roots = vec![certify(host, &path)];
    if !trusted {
        roots = vec![certify(host, &folder.path().join("another.pem"))];
    }
    let consumer = consumer(SECRET, &[path.to_str().unwrap()]);
    let uri: Uri = format!("https://localhost:{}/", consumer.port).parse().unwrap();
    let client = Client::with_roots(roots, &uri, true, LIMITS).unwrap();
    let result = client.send(Request::post(uri).body(b"{}".as_slice()).unwrap());
    match result {
        Ok(response) => assert!(connects && response.status == 400, "{response:?}"),
        Err(error) => assert!(!connects && error.contains("certificate"), "{error}"),
    }
}
