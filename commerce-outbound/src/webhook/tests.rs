//! Requests of the webhook destination, and the result of each response.

use super::*;
use crate::destination::{DestinationOptions, destination};
use crate::http;
use crate::receiver::{Behaviour, Receiver, event, response};
use crate::secrets::SecretSource;
use commerce_core::Timestamp;
use rstest::rstest;
use serde_json::Value;
use std::net::TcpListener;

/// Timeouts that are short enough for a test.
const SHORT: Limits =
    Limits { whole: Duration::from_millis(1_500), body: Duration::from_millis(200), ..LIMITS };

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn webhook(url: &str, batch: usize) -> WebhookDestination {
    with_limits(LIMITS, url, batch)
}

fn with_limits(limits: Limits, url: &str, batch: usize) -> WebhookDestination {
    signed_by(limits, url, batch, SecretSource::fixed(SECRET))
}

fn signed_by(limits: Limits, url: &str, batch: usize, source: SecretSource) -> WebhookDestination {
    let secret = Some(RotatingSecret::new(source, Secret::all_standard).unwrap());
    let encoder = EventEncoder { source: "/commerce".to_owned(), currency: None };
    WebhookDestination::new(http::address(url).unwrap(), encoder, secret, batch, true, limits)
        .unwrap()
}

fn failed(error: &str, seconds: Option<u64>) -> DeliveryResult {
    DeliveryResult::Failed {
        error: error.to_owned(),
        retry_after: seconds.map(Duration::from_secs),
    }
}

#[rstest]
#[case::ok("200 OK", "", "ok", DeliveryResult::Done)]
#[case::accepted("202 Accepted", "", "", DeliveryResult::Done)]
#[case::no_content("204 No Content", "", "", DeliveryResult::Done)]
#[case::long_ok("200 OK", "", &"x".repeat(100_000), DeliveryResult::Done)]
#[case::moved(
    "301 Moved",
    "location: https://a:b@new/x?token=secret\r\n",
    "moved",
    failed("status 301 to https://new/x: configure the new URL", None)
)]
#[case::moved_nowhere("301 Moved", "", "", failed("status 301", None))]
#[case::found(
    "302 Found",
    "location: http://10.0.0.1/\r\n",
    "",
    failed("status 302 to http://10.0.0.1/: configure the new URL", None)
)]
#[case::kept(
    "308 Moved",
    "location: /elsewhere\r\n",
    "",
    failed("status 308 to /elsewhere: configure the new URL", None)
)]
#[case::bad("400 Bad Request", "", "no", failed("status 400: no", None))]
#[case::unauthorized("401 Unauthorized", "", "", failed("status 401", None))]
#[case::missing("404 Not Found", "", "", failed("status 404", None))]
#[case::forbidden("403 Forbidden", "retry-after: 3\r\n", "", failed("status 403", Some(3)))]
#[case::slow("408 Request Timeout", "", "", failed("status 408", None))]
#[case::gone("410 Gone", "", "bye", DeliveryResult::Gone { error: "status 410: bye".to_owned() })]
#[case::early("425 Too Early", "", "", failed("status 425", None))]
#[case::busy("429 Too Many", "retry-after: 7\r\n", "", failed("status 429", Some(7)))]
#[case::past(
    "429 No",
    "retry-after: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
    "",
    failed("status 429", Some(0))
)]
#[case::far(
    "503 No",
    "retry-after: Fri, 31 Dec 9999 23:59:59 GMT\r\n",
    "",
    failed("status 503", Some(86_400))
)]
#[case::endless(
    "503 No",
    "retry-after: 99999999999999999999\r\n",
    "",
    failed("status 503", Some(86_400))
)]
#[case::nonsense("503 No", "retry-after: soon\r\n", "", failed("status 503", None))]
#[case::negative("503 No", "retry-after: -1\r\n", "", failed("status 503", None))]
#[case::broken("500 Oops", "", "a\u{1b}[31m\r\nb\0", failed("status 500: a [31m b", None))]
#[case::wordy("500 Oops", "", &"x".repeat(5_000), failed(&format!("status 500: {}", "x".repeat(200)), None))]
fn status_decides_the_delivery_result(
    #[case] status: &str,
    #[case] headers: &str,
    #[case] body: &str,
    #[case] delivery: DeliveryResult,
) {
    let receiver = Receiver::new(Behaviour::Responds(response(status, headers, body)));
    assert_eq!(webhook(&receiver.url(), 1).deliver(&[event(1, 1)]), delivery);
    assert_eq!(receiver.received.try_iter().count(), 1, "one request, and no redirect is followed");
}

#[rstest]
#[case::hangs(Behaviour::Hangs, failed("no answer in time", None))]
#[case::drips_a_head(
    Behaviour::Drips(b"HTTP/1.1 200 OK\r\nx: ".to_vec()),
    failed("no answer in time", None)
)]
fn slow_receiver_times_out(#[case] behaviour: Behaviour, #[case] delivery: DeliveryResult) {
    let receiver = Receiver::new(behaviour);
    assert_eq!(with_limits(SHORT, &receiver.url(), 1).deliver(&[event(1, 1)]), delivery);
}

#[test]
fn slow_response_body_is_cut_off_after_its_timeout() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 9000000\r\n\r\n".to_vec();
    let receiver = Receiver::new(Behaviour::Drips(head));
    let day = Duration::from_secs(24 * 60 * 60);
    let limits = Limits { whole: day, body_bytes: 9_000_000, ..SHORT };
    assert_eq!(
        with_limits(limits, &receiver.url(), 1).deliver(&[event(1, 1)]),
        DeliveryResult::Done
    );
}

#[test]
fn receiver_that_does_not_read_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let more_than_buffers_take = vec![b' '; 16 * 1024 * 1024];
    let limits = Limits { whole: Duration::from_secs(24 * 60 * 60), ..SHORT };
    let result = with_limits(limits, &url, 1).send("1", "text/plain", &more_than_buffers_take);
    assert_eq!(result.unwrap_err(), "no answer in time");
}

#[test]
fn only_the_beginning_of_a_long_response_is_read() {
    let receiver =
        Receiver::new(Behaviour::Responds(response("500 Oops", "", &"x".repeat(100_000))));
    let response = webhook(&receiver.url(), 1).send("1", "text/plain", b"{}").unwrap();
    assert_eq!(response.body, [b'x'; 4 * 1024]);
}

#[rstest]
#[case::closes(Behaviour::RespondsAndCloses(Vec::new()), failed("peer disconnected", None))]
#[case::half_a_head(
    Behaviour::RespondsAndCloses(b"HTTP/1.1 200 OK\r\ncontent-le".to_vec()),
    failed("peer disconnected", None)
)]
#[case::breaks_off(
    Behaviour::RespondsAndCloses(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok".to_vec()),
    DeliveryResult::Done
)]
#[case::without_length(
    Behaviour::RespondsAndCloses(b"HTTP/1.1 200 OK\r\n\r\nok".to_vec()),
    DeliveryResult::Done
)]
#[case::broken_chunks(
    Behaviour::RespondsAndCloses(
        b"HTTP/1.1 500 Oops\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\nzz".to_vec()
    ),
    failed("status 500: no", None)
)]
fn truncated_response_counts_by_its_head(
    #[case] behaviour: Behaviour,
    #[case] delivery: DeliveryResult,
) {
    let receiver = Receiver::new(behaviour);
    assert_eq!(webhook(&receiver.url(), 1).deliver(&[event(1, 1)]), delivery);
}

#[rstest]
#[case::not_http(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())]
#[case::not_text(vec![0xff; 4_000])]
#[case::two_lengths(
    b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab".to_vec()
)]
#[case::endless_head([b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'x'; 40_000]].concat())]
fn malformed_response_is_a_failure(#[case] bytes: Vec<u8>) {
    let receiver = Receiver::new(Behaviour::RespondsAndCloses(bytes));
    let delivery = webhook(&receiver.url(), 1).deliver(&[event(1, 1)]);
    assert!(
        matches!(&delivery, DeliveryResult::Failed { error, .. } if error.len() < 300),
        "{delivery:?}"
    );
}

#[test]
fn refused_connection_is_a_failure() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let delivery = webhook(&format!("http://{address}/"), 1).deliver(&[event(1, 1)]);
    assert_eq!(delivery, failed("connection refused", None));
}

#[test]
fn single_events_are_signed_and_share_a_connection() {
    let receiver = Receiver::new(Behaviour::Responds(response("200 OK", "", "ok")));
    let webhook = webhook(&receiver.url(), 1);
    for id in [41, 42] {
        assert_eq!(webhook.deliver(&[event(id, 1)]), DeliveryResult::Done);
    }
    let requests: Vec<_> = receiver.received.try_iter().collect();
    assert_eq!(requests.iter().map(|request| request.connection).collect::<Vec<_>>(), [0, 0]);
    let request = &requests[1];
    assert_eq!(request.head[0], "POST /events HTTP/1.1");
    assert_eq!(request.header("content-type"), Some("application/cloudevents+json; charset=utf-8"));
    let id = "9f86d081884c7d65-42";
    assert_eq!(request.header("webhook-id"), Some(id));
    let at = Timestamp::from_unix(request.header("webhook-timestamp").unwrap().parse().unwrap());
    assert!(SystemClock.now().unix().abs_diff(at.unix()) < 60);
    let signed = Secret::standard(SECRET).unwrap().sign(id, at, &request.body);
    assert_eq!(request.header("webhook-signature"), Some(signed.as_str()));
    assert_eq!(serde_json::from_slice::<Value>(&request.body).unwrap()["id"], id);
}

/// The steps of a rotation: the old secret, both with the newest first, the new one.
#[test]
fn rotated_secrets_sign_without_a_restart() {
    const NEW: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let receiver = Receiver::new(Behaviour::Responds(response("200 OK", "", "ok")));
    let file = std::sync::Arc::new(std::sync::Mutex::new(SECRET.to_owned()));
    let read = std::sync::Arc::clone(&file);
    let source = SecretSource::read_by(move || Ok(read.lock().unwrap().clone()));
    let webhook = signed_by(LIMITS, &receiver.url(), 1, source);
    let both = format!("{NEW}\r\n\n  {SECRET}\n");
    for (text, signed_by) in [
        (SECRET, &[SECRET][..]),
        (&both, &[NEW, SECRET]),
        ("whsec_ha", &[NEW, SECRET]),
        (NEW, &[NEW]),
    ] {
        text.clone_into(&mut file.lock().unwrap());
        assert_eq!(webhook.deliver(&[event(1, 1)]), DeliveryResult::Done);
        assert_eq!(webhook.warning().is_some(), text == "whsec_ha");
        let request = receiver.received.try_iter().next().unwrap();
        let at = request.header("webhook-timestamp").unwrap().parse().unwrap();
        let sign = |secret: &&str| {
            let secret = Secret::standard(secret).unwrap();
            secret.sign(
                request.header("webhook-id").unwrap(),
                Timestamp::from_unix(at),
                &request.body,
            )
        };
        let expected = signed_by.iter().map(sign).collect::<Vec<_>>().join(" ");
        assert_eq!(request.header("webhook-signature"), Some(expected.as_str()));
    }
}

#[test]
fn batch_is_sent_as_an_array_with_its_own_id() {
    let receiver = Receiver::new(Behaviour::Responds(response("200 OK", "", "")));
    let webhook = webhook(&receiver.url(), 10);
    assert_eq!(webhook.deliver(&[event(7, 1), event(8, 1), event(9, 1)]), DeliveryResult::Done);
    assert_eq!(webhook.deliver(&[event(10, 1)]), DeliveryResult::Done);
    let requests: Vec<_> = receiver.received.try_iter().collect();
    let kind = Some("application/cloudevents-batch+json; charset=utf-8");
    assert!(requests.iter().all(|request| request.header("content-type") == kind));
    let ids: Vec<_> = requests.iter().map(|request| request.header("webhook-id")).collect();
    assert_eq!(ids[1], Some("9f86d081884c7d65-10"));
    let id = ids[0].unwrap();
    assert!(id.starts_with("7-9-") && !id.contains('.'), "{id}");
    let id_of = |ids: &[i64]| {
        let events: Vec<_> = ids.iter().map(|id| event(*id, 1)).collect();
        webhook.request(&events).unwrap().0
    };
    assert_eq!(id_of(&[7, 8, 9]), id, "the same on every attempt");
    assert_ne!(id_of(&[7, 9]), id, "other events with the same first and last one");
    let body: Value = serde_json::from_slice(&requests[0].body).unwrap();
    let ids: Vec<&Value> = body.as_array().unwrap().iter().map(|event| &event["id"]).collect();
    assert_eq!(ids, ["9f86d081884c7d65-7", "9f86d081884c7d65-8", "9f86d081884c7d65-9"]);
}

/// A notation of 127.0.0.1 that is no address until it is resolved.
#[test]
fn legacy_ipv4_host_is_refused_though_it_resolves() {
    let receiver = Receiver::new(Behaviour::Responds(response("200 OK", "", "")));
    let url = format!("http://2130706433:{}/", receiver.address.port());
    assert!(destination(&url, DestinationOptions::default()).is_err());
    assert_eq!(webhook(&url, 1).deliver(&[event(1, 1)]), DeliveryResult::Done);
}
