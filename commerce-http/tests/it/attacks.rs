//! Attacks on an open port of the hyper server: slowloris, request smuggling, oversized requests, clients that never
//! read. Meanwhile an honest client is answered within a second. The server stays small and alive, and logs and counts
//! what it refuses.

mod child;
mod client;
mod honest;
mod nginx;
mod streams;
mod tls;

use self::child::Child;
use self::client::{
    GET, HonestClient, TIMEOUT, connect, read_to_end, send, send_to_end, statuses, timed_request,
    wait_until,
};
use rstest::rstest;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// The bound on the server's memory in MiB.
const MEMORY: u64 = 128;

/// Raises the descriptor limit: this process opens some thousand connections.
fn many_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let goal = Some(maximum.map_or(8192, |maximum| maximum.min(8192)));
    setrlimit(Resource::Nofile, Rlimit { current: goal, maximum }).unwrap();
}

fn post(headers: &str, body: &str) -> Vec<u8> {
    format!("POST /length HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n{body}").into_bytes()
}

/// Opens connections, and sends the same bytes on each.
fn crowd(server: &Child, size: usize, bytes: &[u8]) -> Vec<TcpStream> {
    let open = |_| {
        let mut stream = connect(&server.address);
        stream.write_all(bytes).unwrap();
        stream
    };
    (0..size).map(open).collect()
}

/// Asserts that this number of requests was logged with that reason.
fn assert_rejected(server: &Child, reason: &str, count: usize) {
    let logged = || server.rejected().iter().filter(|line| line.starts_with(reason)).count();
    wait_until("logged", TIMEOUT, || logged() >= count);
    assert_eq!(logged(), count, "{reason}");
}

/// Asserts that the server never used much memory.
fn assert_small(server: &Child) {
    let peak = server.peak();
    println!("the server used {peak} MiB at most");
    assert!(peak < MEMORY, "{peak} MiB");
}

#[test]
fn silent_connections_give_way_or_are_closed_with_408() {
    many_descriptors();
    let server = Child::start("head=5000");
    let honest = HonestClient::begin(&server.address);
    let mut answered = 0;
    for mut stream in crowd(&server, 1500, b"") {
        let received = statuses(&read_to_end(&mut stream));
        assert!(received.is_empty() || received == [408], "{received:?}");
        answered += received.len();
    }
    honest.assert_served();
    assert!(answered > 900 && answered < 1030, "{answered} of 1,024 remained until their deadline");
    assert_small(&server);
    wait_until("descriptors are free", TIMEOUT, || server.descriptors() < 60);
    wait_until("counted", TIMEOUT, || {
        let [too_slow, beyond_limit, ..] = server.reported();
        too_slow == answered && too_slow + beyond_limit == 1500
    });
    assert_rejected(&server, "TooSlow", answered);
    assert_rejected(&server, "Overloaded", 1500 - answered);
}

#[test]
fn connections_over_the_limit_evict_silent_ones_first() {
    many_descriptors();
    let server = Child::start("connections=100");
    let mut known = connect(&server.address);
    send(&mut known, GET).unwrap();
    let mut silent = crowd(&server, 300, b"");
    wait_until("silent connections are evicted", TIMEOUT, || server.descriptors() < 130);
    assert_eq!(read_to_end(&mut silent[0]), "");
    send(&mut known, GET).expect("a connection with a request stays");
    timed_request(&server.address);
}

#[test]
fn dripped_bytes_do_not_make_a_connection_younger() {
    let server = Child::start("connections=3");
    let mut known = connect(&server.address);
    let mut dripping = connect(&server.address);
    dripping.write_all(b"GET /slow HTTP/1.1\r\nX: ").unwrap();
    let mut younger = connect(&server.address);
    for _ in 0..20 {
        dripping.write_all(b"x").unwrap();
        send(&mut known, GET).unwrap(); // the server reads meanwhile
    }
    timed_request(&server.address);
    assert_eq!(read_to_end(&mut dripping), "");
    send(&mut younger, GET).expect("the younger connection stays");
}

/// Requests in progress are not sacrificed: with nothing to evict, the newcomer is refused.
#[test]
fn connections_at_work_are_not_evicted() {
    let mut server = Child::start("connections=2");
    let wait = b"GET /wait HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let working = crowd(&server, 2, wait);
    server.wait_for_line("waiting");
    server.wait_for_line("waiting");
    let mut newcomer = connect(&server.address);
    assert_eq!(statuses(&read_to_end(&mut newcomer)), [503]);
    for mut stream in working {
        assert!(read_to_end(&mut stream).ends_with("waited"));
    }
    assert!(server.rejected()[0].starts_with("Overloaded"));
}

#[test]
fn slowloris_heads_are_closed_with_408() {
    let server = Child::start("head=2000");
    let honest = HonestClient::begin(&server.address);
    let mut drips = crowd(&server, 100, b"GET /slow HTTP/1.1\r\nX: ");
    wait_until("all are closed", TIMEOUT, || {
        drips.retain_mut(|stream| stream.write_all(b"x").is_ok());
        drips.is_empty()
    });
    honest.assert_served();
    assert_rejected(&server, "TooSlow /slow", 100);
    assert_small(&server);
}

#[test]
fn head_of_200_mb_is_refused_with_431() {
    let server = Child::start("");
    let honest = HonestClient::begin(&server.address);
    let mut stream = connect(&server.address);
    stream.write_all(b"GET /long HTTP/1.1\r\nX: ").unwrap();
    let mebibyte = vec![b'x'; 1 << 20];
    let sent = (0..200).take_while(|_| stream.write_all(&mebibyte).is_ok()).count();
    println!("{sent} MiB were taken, at a peak of {} MiB", server.peak());
    honest.assert_served();
    assert_rejected(&server, "HeadTooLarge /long", 1);
    assert!(server.peak() < 64, "{} MiB", server.peak());
}

#[test]
fn body_with_a_large_content_length_is_refused_unread() {
    let server = Child::start("");
    let honest = HonestClient::begin(&server.address);
    let lengths =
        ["65537", "100000000", "40000000000", "9223372036854775808", "99999999999999999999"];
    for length in lengths {
        for _ in 0..5 {
            let received =
                send_to_end(&server.address, &post(&format!("Content-Length: {length}"), "a"));
            assert_eq!(statuses(&received), [413], "{length}: {received}");
            assert!(received.contains("Connection: close"), "{received}");
        }
    }
    honest.assert_served();
    assert_rejected(&server, "BodyTooLarge { limit: 65536 } /length", 25);
    assert_small(&server);
}

/// The connection is not reset, because the client could lose the response.
#[test]
fn large_body_is_refused_with_413() {
    let server = Child::start("");
    let body = "x".repeat(200_000);
    let chunked = format!("30d40\r\n{body}\r\n0\r\n\r\n");
    for request in
        [post("Content-Length: 200000", &body), post("Transfer-Encoding: chunked", &chunked)]
    {
        let mut stream = connect(&server.address);
        stream.write_all(&request).unwrap();
        let mut received = String::new();
        stream.read_to_string(&mut received).unwrap();
        assert_eq!(statuses(&received), [413], "{received}");
    }
}

#[test]
fn truncated_body_is_refused_with_400() {
    let server = Child::start("");
    for length in [10, 2000, 60_000] {
        let mut stream = connect(&server.address);
        stream.write_all(&post(&format!("Content-Length: {length}"), "abc")).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(statuses(&read_to_end(&mut stream)), [400]);
    }
    assert_rejected(&server, "Malformed /length", 3);
}

#[rstest]
#[case::small(10)]
#[case::large(5000)]
fn stalled_bodies_are_refused_with_408(#[case] length: usize) {
    let server = Child::start("body=2000");
    let honest = HonestClient::begin(&server.address);
    let stalled = post(&format!("Content-Length: {length}"), "abc");
    for mut stream in crowd(&server, 200, &stalled) {
        assert_eq!(statuses(&read_to_end(&mut stream)), [408]);
    }
    honest.assert_served();
    assert_rejected(&server, "TooSlow /length", 200);
    wait_until("counted", TIMEOUT, || server.reported()[0] == 200);
    assert_small(&server);
}

#[test]
fn ambiguous_framing_is_refused_against_request_smuggling() {
    let server = Child::start("");
    let honest = HonestClient::begin(&server.address);
    let hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    for headers in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: -5",
        "Content-Length: +5",
        "Content-Length: 5, 6",
        "Content-Length: 0x5",
        "Content-Length:",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding : chunked",
        "X: a\r\n Transfer-Encoding: chunked",
        "X: a\nTransfer-Encoding: chunked",
        "X: a\rTransfer-Encoding: chunked",
        "X\u{1}: a",
        "X: \u{1}",
        "Host: b",
        "Content-Length: 2000\r\nContent-Length: 3000",
    ] {
        let received =
            send_to_end(&server.address, &post(headers, &format!("0\r\n\r\n{hidden}{hidden}")));
        assert_eq!(statuses(&received), [400], "{headers}: {received}");
    }
    let old = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(statuses(&send_to_end(&server.address, old)), [400]);
    let received = send_to_end(
        &server.address,
        &post("Transfer-Encoding: chunked", &format!("zz\r\n{hidden}")),
    );
    assert_eq!(statuses(&received), [400], "broken chunks: {received}");
    let received = send_to_end(&server.address, &post("Content-Length: 70000", hidden));
    assert_eq!(statuses(&received), [413], "{received}");
    assert_eq!(server.ask("/count"), "0", "a hidden request was served");
    honest.assert_served();
}

/// Nothing after a chunked body is read: the next request may be part of it for a proxy.
#[test]
fn chunked_body_is_the_last_of_its_connection() {
    let server = Child::start("");
    let hidden = "3\r\nabc\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    for more in ["", "\r\nConnection: keep-alive"] {
        let chunked = post(&format!("Transfer-Encoding: chunked{more}"), hidden);
        let received = send_to_end(&server.address, &chunked);
        assert_eq!(statuses(&received), [200], "{received}");
        assert!(received.contains("Connection: close") && received.ends_with("\r\n\r\n3"));
    }
    assert_eq!(server.ask("/count"), "0");
}

#[test]
fn large_heads_and_invalid_targets_are_refused() {
    let server = Child::start("");
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(3000));
    assert_eq!(statuses(&send_to_end(&server.address, long.as_bytes())), [431]);
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(65));
    assert_eq!(statuses(&send_to_end(&server.address, many.as_bytes())), [431]);
    let wide = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(9000));
    assert_eq!(statuses(&send_to_end(&server.address, wide.as_bytes())), [431]);
    for target in ["a", "ftp://a/", "/\u{7f}", "/가", "/?name=가", "/a b"] {
        let odd = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(statuses(&send_to_end(&server.address, odd.as_bytes())), [400], "{target}");
    }
}

/// Bytes beyond ASCII (`obs-text`) are part of a value, in any encoding.
#[test]
fn header_values_may_hold_any_text() {
    let server = Child::start("");
    let ask = |value: &[u8]| {
        let head =
            b"GET /header HTTP/1.1\r\nHost: a\r\nCookie: a=\xb0\xa1\r\nUser-Agent: ".as_slice();
        send(&mut connect(&server.address), &[head, value, b"\r\n\r\n"].concat()).unwrap()
    };
    assert!(ask("가게/1.0".as_bytes()).ends_with("\r\n\r\n가게/1.0"));
    assert!(ask(b"shop \xb0\xa1").ends_with("\r\n\r\nshop \u{fffd}\u{fffd}"));
}

/// Greetings of TLS and of HTTP/2, and other protocols, are answered at once.
#[rstest]
#[case::tls(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")]
#[case::http_2(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")]
#[case::odd_version(b"GET / HTTP/3.0\r\nHost: a\r\n\r\n")]
#[case::lone_line_feeds(b"GET / HTTP/1.1\nHost: a\n\n")]
#[case::garbage(b"\0\xff")]
#[case::words(b"garbage\r\n\r\n")]
fn other_protocols_are_refused_with_400(#[case] greeting: &[u8]) {
    many_descriptors();
    let server = Child::start("head=60000");
    let honest = HonestClient::begin(&server.address);
    for mut stream in crowd(&server, 300, greeting) {
        assert_eq!(statuses(&read_to_end(&mut stream)), [400]);
    }
    honest.assert_served();
    assert_rejected(&server, "Malformed", 300);
    let mut after_request = connect(&server.address);
    after_request.write_all(&[GET, greeting].concat()).unwrap();
    assert_eq!(statuses(&read_to_end(&mut after_request)), [200, 400]);
    wait_until("descriptors are free", TIMEOUT, || server.descriptors() < 60);
    assert_small(&server);
}

#[test]
fn idle_connections_are_closed_without_a_word() {
    let server = Child::start("idle=500");
    let mut idle = connect(&server.address);
    send(&mut idle, GET).unwrap();
    assert_eq!(read_to_end(&mut idle), "");
    assert_eq!(server.rejected(), [""; 0]);
}

#[test]
fn server_recovers_from_descriptor_exhaustion() {
    many_descriptors();
    let server = Child::start_at("127.0.0.1:0", "server=hyper", Some(64));
    for round in 0..3 {
        let crowd = crowd(&server, 150, b"");
        let during = time_with_retries(&server.address);
        drop(crowd);
        let after = time_with_retries(&server.address);
        println!("round {round}: answered after {during:?} in the crowd, {after:?} without it");
        assert!(during.max(after) < Duration::from_secs(10), "{during:?} {after:?}");
    }
    wait_until("descriptors are free", TIMEOUT, || server.descriptors() < 48);
    assert_eq!(server.stop(), "well");
}

/// Measures the time until an answer, with retries: a full server may reject an honest client.
fn time_with_retries(address: &str) -> Duration {
    let began = Instant::now();
    wait_until("an answer", TIMEOUT, || send(&mut connect(address), GET).is_ok());
    began.elapsed()
}

/// One request each, or a thousand ahead: the server neither copies the 8 MiB of a response nor reads further
/// requests.
#[rstest]
#[case::one_request(1)]
#[case::a_thousand_ahead(1000)]
fn clients_that_never_read_are_disconnected(#[case] requests: usize) {
    let server = Child::start("write=2000");
    let honest = HonestClient::begin(&server.address);
    let ahead = b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n".repeat(requests);
    let mut unread = crowd(&server, 40, b"");
    for stream in &mut unread {
        stream.set_nonblocking(true).unwrap();
        let _ = stream.write(&ahead).unwrap();
        stream.set_nonblocking(false).unwrap();
    }
    wait_until("all are closed and counted", TIMEOUT, || server.reported()[2] == 40);
    honest.assert_served();
    assert_small(&server);
    drop(unread);
    wait_until("descriptors are free", TIMEOUT, || server.descriptors() < 60);
}

/// Small responses that the client does not read fill the buffers of the system, and then no more requests are read.
#[rstest]
#[case::with_bodies("/")]
#[case::without_bodies("/nothing")]
fn pipelining_without_reading_has_back_pressure(#[case] target: &str) {
    let server = Child::start("write=60000");
    let honest = HonestClient::begin(&server.address);
    let mut stream = connect(&server.address);
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let ahead = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(1000);
    let sent = (0..4000).take_while(|_| stream.write_all(ahead.as_bytes()).is_ok()).count();
    assert!(sent < 4000, "the server reads on");
    honest.assert_served();
    assert!(server.peak() < 64, "{} MiB", server.peak());
}

#[test]
fn resets_do_not_harm() {
    let server = Child::start("");
    let honest = HonestClient::begin(&server.address);
    let big = b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n";
    for bytes in [b"".as_slice(), b"GET / HT", &post("Content-Length: 10", "abc"), big, GET] {
        for stream in crowd(&server, 50, bytes) {
            let socket = socket2::SockRef::from(&stream);
            socket.set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
    honest.assert_served();
    wait_until("descriptors are free", TIMEOUT, || server.descriptors() < 60);
}

/// Requests beyond the queue of the workers are refused at once (load shedding).
#[test]
fn requests_beyond_the_queue_are_refused_with_503() {
    let server = Child::start("workers=1 queue=1");
    let wait = b"GET /wait HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut received: Vec<_> = crowd(&server, 5, wait)
        .iter_mut()
        .flat_map(|stream| {
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            statuses(&text)
        })
        .collect();
    received.sort_unstable();
    assert_eq!(received, [200, 200, 503, 503, 503]);
}
