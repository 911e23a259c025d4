//! Attacks on the bare port: slowloris, request smuggling, oversized requests, clients that never
//! read. Meanwhile an honest client is answered within a second, and the server stays small and
//! alive.

mod child;
mod client;
mod honest;
mod nginx;

use self::child::Child;
use self::client::{
    GET, HonestClient, TIMEOUT, connect, read_to_end, send, send_to_end, statuses, timed_request,
    wait_until,
};
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// The bound on the server's memory in MiB, for every attack but the endless head.
const MEMORY: u64 = 256;

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

#[test]
fn silent_connections_are_closed_with_408() {
    many_descriptors();
    let server = Child::start("head=2000");
    let honest = HonestClient::begin(&server.address);
    let mut silent: Vec<TcpStream> = (0..1000).map(|_| connect(&server.address)).collect();
    for stream in &mut silent {
        assert_eq!(statuses(&read_to_end(stream)), [408]);
    }
    honest.assert_served();
    assert!(server.peak() < MEMORY, "{} MiB", server.peak());
    wait_until("threads and descriptors are free", TIMEOUT, || server.descriptors() < 60);
}

#[test]
fn connections_over_the_limit_evict_silent_ones_first() {
    many_descriptors();
    let server = Child::start("connections=100");
    let mut known = connect(&server.address);
    send(&mut known, GET).unwrap();
    let mut silent: Vec<TcpStream> = (0..300).map(|_| connect(&server.address)).collect();
    wait_until("silent connections are evicted", TIMEOUT, || server.descriptors() < 300);
    let received = statuses(&read_to_end(&mut silent[0]));
    assert!(received.is_empty() || received == [408], "{received:?}");
    send(&mut known, GET).expect("a connection with a request stays");
    timed_request(&server.address);
}

#[test]
fn slowloris_heads_are_closed() {
    let server = Child::start("head=2000");
    let honest = HonestClient::begin(&server.address);
    let mut drips: Vec<TcpStream> = (0..100).map(|_| connect(&server.address)).collect();
    let mut bytes = b"GET / HTTP/1.1\r\nX: ".iter().copied().chain(std::iter::repeat(b'x'));
    wait_until("all are closed", TIMEOUT, || {
        let byte = [bytes.next().unwrap()];
        drips.retain_mut(|stream| stream.write_all(&byte).is_ok());
        drips.is_empty()
    });
    honest.assert_served();
}

/// The bare port cannot bound a head while it is read: `tiny_http` reads until the deadline. The
/// server survives, and frees the memory. nginx stops such a head at 8 KiB: see `nginx.rs`.
#[test]
fn head_of_200_mb_costs_memory_only_for_a_while() {
    let server = Child::start("head=3000");
    let honest = HonestClient::begin(&server.address);
    let mut stream = connect(&server.address);
    stream.write_all(b"GET / HTTP/1.1\r\nX: ").unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(3))).unwrap();
    let mebibyte = vec![b'x'; 1 << 20];
    let sent = (0..200).take_while(|_| stream.write_all(&mebibyte).is_ok()).count();
    let whole = sent == 200 && stream.write_all(b"\r\n\r\n").is_ok();
    let received = if whole { read_to_end(&mut stream) } else { String::new() };
    println!("{sent} MiB were taken, at a peak of {} MiB; then {received:?}", server.peak());
    assert!(
        received.is_empty() || [431, 408].map(|status| vec![status]).contains(&statuses(&received)),
        "{received}"
    );
    honest.assert_served();
    assert!(server.peak() < 1024, "{} MiB", server.peak());
}

#[test]
fn body_with_a_large_content_length_is_refused_unread() {
    let server = Child::start("");
    let honest = HonestClient::begin(&server.address);
    for length in ["65537", "100000000", "10000000000", "40000000000", "9223372036854775807"] {
        for _ in 0..5 {
            let received =
                send_to_end(&server.address, &post(&format!("Content-Length: {length}"), "a"));
            assert_eq!(statuses(&received), [413], "{length}: {received}");
            assert!(received.contains("Connection: close"), "{received}");
        }
    }
    let received = send_to_end(&server.address, &post("Content-Length: 99999999999999999999", "a"));
    assert_eq!(statuses(&received), [413], "{received}");
    honest.assert_served();
    assert!(server.peak() < MEMORY, "{} MiB", server.peak());
}

#[test]
fn large_body_is_refused_with_413() {
    let server = Child::start("");
    let body = "x".repeat(200_000);
    let received = send_to_end(&server.address, &post("Content-Length: 200000", &body));
    assert_eq!(statuses(&received), [413], "{received}");
    let chunked = format!("30d40\r\n{body}\r\n0\r\n\r\n");
    let received = send_to_end(&server.address, &post("Transfer-Encoding: chunked", &chunked));
    assert_eq!(statuses(&received), [413], "{received}");
}

#[test]
fn truncated_body_is_refused_with_400() {
    let server = Child::start("");
    let honest = HonestClient::begin(&server.address);
    for length in [2000, 60_000] {
        let mut stream = connect(&server.address);
        stream.write_all(&post(&format!("Content-Length: {length}"), "abc")).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(statuses(&read_to_end(&mut stream)), [400]);
    }
    honest.assert_served();
}

#[test]
fn stalled_bodies_time_out_and_block_no_other_client() {
    let server = Child::start("body=5000");
    let honest = HonestClient::begin(&server.address);
    let stalled = post("Content-Length: 5000", "abc");
    let mut streams: Vec<TcpStream> = (0..40).map(|_| connect(&server.address)).collect();
    for stream in &mut streams {
        stream.write_all(&stalled).unwrap();
    }
    let mut received: Vec<_> =
        streams.iter_mut().flat_map(|stream| statuses(&read_to_end(stream))).collect();
    received.sort_unstable();
    assert_eq!(received, [[408; 16].as_slice(), [503; 24].as_slice()].concat());
    honest.assert_served();
    let received =
        send(&mut connect(&server.address), &post("Content-Length: 5000", &"x".repeat(5000)));
    assert!(received.unwrap().ends_with("5000"), "the body threads are free again");
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
        "X: a\nTransfer-Encoding: chunked",
        "X: a\rTransfer-Encoding: chunked",
        "X\u{1}: a",
        "Host: b",
        "Connection: upgrade\r\nContent-Length: 34",
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
    let count = b"GET /count HTTP/1.1\r\nHost: a\r\n\r\n";
    let count = send(&mut connect(&server.address), count).unwrap();
    assert!(count.ends_with("\r\n\r\n0"), "a hidden request was served: {count}");
    honest.assert_served();
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
    for target in ["a", "ftp://a/", "/\u{7f}"] {
        let odd = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(statuses(&send_to_end(&server.address, odd.as_bytes())), [400], "{target}");
    }
}

#[test]
fn host_header_is_required_only_by_http_1_1() {
    let server = Child::start("");
    for (head, status) in [
        ("GET /length HTTP/1.1\r\n", 400),
        ("GET /length HTTP/1.1\r\nHost: a\r\nHost: a\r\n", 400),
        ("GET /length HTTP/1.1\r\nHost:\r\nConnection: close\r\n", 200),
        ("GET /length HTTP/1.0\r\n", 200),
        ("GET http://a.example/length HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n", 200),
    ] {
        let received = send_to_end(&server.address, format!("{head}\r\n").as_bytes());
        assert_eq!(statuses(&received), [status], "{head}");
    }
}

/// `tiny_http` reads a small body before it returns the request: the transport still answers 408
/// and counts it.
#[test]
fn stalled_small_body_is_answered_408_and_counted() {
    let server = Child::start("head=1000");
    let mut stream = connect(&server.address);
    stream.write_all(&post("Content-Length: 10", "abc")).unwrap();
    assert_eq!(statuses(&read_to_end(&mut stream)), [408]);
    wait_until("it is counted", TIMEOUT, || {
        let count = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n";
        send(&mut connect(&server.address), count).unwrap().ends_with("\r\n\r\n1")
    });
}

#[test]
fn garbage_after_a_request_closes_the_connection() {
    let server = Child::start("");
    let honest = HonestClient::begin(&server.address);
    let received = send_to_end(
        &server.address,
        &[GET, b"\x16\x03\x01\xff garbage\r\n\r\n".as_slice()].concat(),
    );
    assert!(statuses(&received) == [200] || statuses(&received) == [200, 400], "{received}");
    assert_eq!(statuses(&send_to_end(&server.address, b"garbage\r\n\r\n")), [400]);
    honest.assert_served();
}

/// Each such request occupies a thread and a connection of `tiny_http` forever. Beyond a number of
/// them `run` returns, for a restart; nginx lets none through.
#[test]
fn too_many_stuck_connections_end_run_for_a_restart() {
    let mut server = Child::start("head=5000 stuck=8");
    let honest = HonestClient::begin(&server.address);
    let odd = |version: &str| format!("GET / HTTP/{version}\r\n\r\n").into_bytes();
    let few: Vec<TcpStream> = (0..8).map(|_| connect(&server.address)).collect();
    for mut stream in &few {
        stream.write_all(&odd("2.0")).unwrap();
    }
    for mut stream in few {
        assert_eq!(statuses(&read_to_end(&mut stream)), [408], "the connection is closed");
    }
    honest.assert_served();
    connect(&server.address).write_all(&odd("3.0")).unwrap();
    assert!(server.end().contains("restart"));
}

#[test]
fn server_recovers_from_descriptor_exhaustion() {
    many_descriptors();
    let server = Child::start_at("127.0.0.1:0", "", Some(64));
    for round in 0..3 {
        let crowd: Vec<TcpStream> = (0..150).map(|_| connect(&server.address)).collect();
        let during = time_with_retries(&server.address);
        drop(crowd);
        let after = time_with_retries(&server.address);
        println!("round {round}: answered after {during:?} in the crowd, {after:?} without it");
        assert!(after < Duration::from_secs(10), "{after:?}");
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

#[test]
fn clients_that_never_read_are_disconnected() {
    let server = Child::start("");
    let honest = HonestClient::begin(&server.address);
    let mut unread: Vec<TcpStream> = (0..40).map(|_| connect(&server.address)).collect();
    for stream in &mut unread {
        stream.write_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    }
    std::thread::sleep(Duration::from_millis(500)); // for the honest client to meet them
    honest.assert_served();
    assert!(server.peak() < MEMORY, "{} MiB", server.peak());
}

/// Each client stays within its limit of requests in flight; together they occupy every worker.
#[test]
fn pipelining_clients_that_never_read_are_disconnected() {
    let server = Child::start("");
    let honest = HonestClient::begin(&server.address);
    let ahead = b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n".repeat(8);
    let mut unread: Vec<TcpStream> = (0..6).map(|_| connect(&server.address)).collect();
    for stream in &mut unread {
        stream.write_all(&ahead).unwrap();
    }
    std::thread::sleep(Duration::from_millis(1_500)); // for the honest client to meet them
    honest.assert_served();
}

#[test]
fn pipelining_beyond_the_limit_is_disconnected() {
    let server = Child::start("timeout=60000"); // so that only the number of requests ends it
    let honest = HonestClient::begin(&server.address);
    let ahead = b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000);
    let mut streams: Vec<TcpStream> = (0..4).map(|_| connect(&server.address)).collect();
    for stream in &mut streams {
        let _ = stream.write_all(&ahead);
    }
    let began = Instant::now();
    for stream in &mut streams {
        wait_until("it is disconnected", TIMEOUT, || stream.write_all(GET).is_err());
    }
    println!("cut off after {:?}", began.elapsed());
    honest.assert_served();
}
