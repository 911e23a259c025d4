//! What hostile clients do to a bare port. Meanwhile an honest one is answered within a second, and the
//! server stays small and alive.

mod child;
mod client;
mod honest;
mod nginx;

use self::child::Child;
use self::client::{GET, Honest, TIMEOUT, ask, connect, last_words, once, statuses, to_end, until};
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// No attack here but the endless head may take more, in MiB.
const MEMORY: u64 = 256;

/// This process holds some thousand connections.
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
fn a_thousand_connections_that_say_nothing_are_closed() {
    many_descriptors();
    let server = Child::start("head=2000");
    let honest = Honest::begin(&server.address);
    let mut silent: Vec<TcpStream> = (0..1000).map(|_| connect(&server.address)).collect();
    for stream in &mut silent {
        assert_eq!(statuses(&to_end(stream)), [408]);
    }
    honest.was_served();
    assert!(server.peak() < MEMORY, "{} MiB", server.peak());
    until("threads and descriptors are free", TIMEOUT, || server.descriptors() < 60);
}

#[test]
fn more_connections_than_are_held_push_out_the_silent_first() {
    many_descriptors();
    let server = Child::start("connections=100");
    let mut known = connect(&server.address);
    ask(&mut known, GET).unwrap();
    let mut silent: Vec<TcpStream> = (0..300).map(|_| connect(&server.address)).collect();
    until("the silent are pushed out", TIMEOUT, || server.descriptors() < 300);
    let said = statuses(&to_end(&mut silent[0]));
    assert!(said.is_empty() || said == [408], "{said:?}");
    ask(&mut known, GET).expect("who has asked before may stay");
    once(&server.address);
}

#[test]
fn dripped_heads_are_closed() {
    let server = Child::start("head=2000");
    let honest = Honest::begin(&server.address);
    let mut drips: Vec<TcpStream> = (0..100).map(|_| connect(&server.address)).collect();
    let mut bytes = b"GET / HTTP/1.1\r\nX: ".iter().copied().chain(std::iter::repeat(b'x'));
    until("all are cut off", TIMEOUT, || {
        let byte = [bytes.next().unwrap()];
        drips.retain_mut(|stream| stream.write_all(&byte).is_ok());
        drips.is_empty()
    });
    honest.was_served();
}

/// The bare port cannot bound a head while it is read: `tiny_http` takes what comes until the deadline.
/// It survives this one, and gives the memory back. nginx stops it at 8 KiB: see `nginx.rs`.
#[test]
fn a_head_of_200_mb_costs_its_memory_for_a_while() {
    let server = Child::start("head=3000");
    let honest = Honest::begin(&server.address);
    let mut stream = connect(&server.address);
    stream.write_all(b"GET / HTTP/1.1\r\nX: ").unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(3))).unwrap();
    let mebibyte = vec![b'x'; 1 << 20];
    let sent = (0..200).take_while(|_| stream.write_all(&mebibyte).is_ok()).count();
    let whole = sent == 200 && stream.write_all(b"\r\n\r\n").is_ok();
    let said = if whole { to_end(&mut stream) } else { String::new() };
    println!("{sent} MiB were taken, at a peak of {} MiB; then {said:?}", server.peak());
    assert!(
        said.is_empty() || [431, 408].map(|status| vec![status]).contains(&statuses(&said)),
        "{said}"
    );
    honest.was_served();
    assert!(server.peak() < 1024, "{} MiB", server.peak());
}

#[test]
fn a_body_that_is_announced_too_large_is_refused_unread() {
    let server = Child::start("");
    let honest = Honest::begin(&server.address);
    for length in ["65537", "100000000", "10000000000", "40000000000", "9223372036854775807"] {
        for _ in 0..5 {
            let said =
                last_words(&server.address, &post(&format!("Content-Length: {length}"), "a"));
            assert_eq!(statuses(&said), [413], "{length}: {said}");
            assert!(said.contains("Connection: close"), "{said}");
        }
    }
    let said = last_words(&server.address, &post("Content-Length: 99999999999999999999", "a"));
    assert_eq!(statuses(&said), [413], "{said}");
    honest.was_served();
    assert!(server.peak() < MEMORY, "{} MiB", server.peak());
}

#[test]
fn a_body_that_is_too_large_is_refused_although_it_is_sent() {
    let server = Child::start("");
    let body = "x".repeat(200_000);
    let said = last_words(&server.address, &post("Content-Length: 200000", &body));
    assert_eq!(statuses(&said), [413], "{said}");
    let chunked = format!("30d40\r\n{body}\r\n0\r\n\r\n");
    let said = last_words(&server.address, &post("Transfer-Encoding: chunked", &chunked));
    assert_eq!(statuses(&said), [413], "{said}");
}

#[test]
fn a_body_cut_short_is_refused() {
    let server = Child::start("");
    let honest = Honest::begin(&server.address);
    for length in [2000, 60_000] {
        let mut stream = connect(&server.address);
        stream.write_all(&post(&format!("Content-Length: {length}"), "abc")).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(statuses(&to_end(&mut stream)), [400]);
    }
    honest.was_served();
}

#[test]
fn stalled_bodies_end_at_their_deadline_and_stop_nobody() {
    let server = Child::start("body=1500");
    let honest = Honest::begin(&server.address);
    let stalled = post("Content-Length: 5000", "abc");
    let mut streams: Vec<TcpStream> = (0..40).map(|_| connect(&server.address)).collect();
    for stream in &mut streams {
        stream.write_all(&stalled).unwrap();
    }
    let mut said: Vec<_> =
        streams.iter_mut().flat_map(|stream| statuses(&to_end(stream))).collect();
    said.sort_unstable();
    assert_eq!(said, [[408; 16].as_slice(), [503; 24].as_slice()].concat());
    honest.was_served();
    let said = ask(&mut connect(&server.address), &post("Content-Length: 5000", &"x".repeat(5000)));
    assert!(said.unwrap().ends_with("5000"), "the threads are free again");
}

#[test]
fn odd_framing_is_refused_and_nothing_after_it_is_heard() {
    let server = Child::start("");
    let honest = Honest::begin(&server.address);
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
        let said =
            last_words(&server.address, &post(headers, &format!("0\r\n\r\n{hidden}{hidden}")));
        assert_eq!(statuses(&said), [400], "{headers}: {said}");
    }
    let old = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(statuses(&last_words(&server.address, old)), [400]);
    let said = last_words(
        &server.address,
        &post("Transfer-Encoding: chunked", &format!("zz\r\n{hidden}")),
    );
    assert_eq!(statuses(&said), [400], "broken chunks: {said}");
    let said = last_words(&server.address, &post("Content-Length: 70000", hidden));
    assert_eq!(statuses(&said), [413], "{said}");
    let count = b"GET /count HTTP/1.1\r\nHost: a\r\n\r\n";
    let count = ask(&mut connect(&server.address), count).unwrap();
    assert!(count.ends_with("\r\n\r\n0"), "a hidden request was served: {count}");
    honest.was_served();
}

#[test]
fn large_heads_and_odd_targets_are_refused() {
    let server = Child::start("");
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(3000));
    assert_eq!(statuses(&last_words(&server.address, long.as_bytes())), [431]);
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(65));
    assert_eq!(statuses(&last_words(&server.address, many.as_bytes())), [431]);
    let wide = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(9000));
    assert_eq!(statuses(&last_words(&server.address, wide.as_bytes())), [431]);
    for target in ["a", "ftp://a/", "/\u{7f}"] {
        let odd = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(statuses(&last_words(&server.address, odd.as_bytes())), [400], "{target}");
    }
}

#[test]
fn the_version_says_whether_a_host_is_needed_and_any_form_of_a_target_is_read() {
    let server = Child::start("");
    for (head, status) in [
        ("GET /length HTTP/1.1\r\n", 400),
        ("GET /length HTTP/1.1\r\nHost: a\r\nHost: a\r\n", 400),
        ("GET /length HTTP/1.1\r\nHost:\r\nConnection: close\r\n", 200),
        ("GET /length HTTP/1.0\r\n", 200),
        ("GET http://a.example/length HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n", 200),
    ] {
        let said = last_words(&server.address, format!("{head}\r\n").as_bytes());
        assert_eq!(statuses(&said), [status], "{head}");
    }
}

/// `tiny_http` reads a small body before it shows the request: it is answered all the same, and told of.
#[test]
fn a_small_body_that_stalls_is_answered_and_counted() {
    let server = Child::start("head=1000");
    let mut stream = connect(&server.address);
    stream.write_all(&post("Content-Length: 10", "abc")).unwrap();
    assert_eq!(statuses(&to_end(&mut stream)), [408]);
    until("it is counted", TIMEOUT, || {
        let count = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n";
        ask(&mut connect(&server.address), count).unwrap().ends_with("\r\n\r\n1")
    });
}

#[test]
fn garbage_after_a_request_ends_the_connection() {
    let server = Child::start("");
    let honest = Honest::begin(&server.address);
    let said = last_words(
        &server.address,
        &[GET, b"\x16\x03\x01\xff garbage\r\n\r\n".as_slice()].concat(),
    );
    assert!(statuses(&said) == [200] || statuses(&said) == [200, 400], "{said}");
    assert_eq!(statuses(&last_words(&server.address, b"garbage\r\n\r\n")), [400]);
    honest.was_served();
}

/// Each such request holds a thread and a connection of `tiny_http` for good. Beyond a number of them `run`
/// ends, for a new start; nginx lets none through.
#[test]
fn connections_that_are_stuck_for_good_end_the_server_in_order() {
    let mut server = Child::start("head=5000 stuck=8");
    let honest = Honest::begin(&server.address);
    let odd = |version: &str| format!("GET / HTTP/{version}\r\n\r\n").into_bytes();
    let few: Vec<TcpStream> = (0..8).map(|_| connect(&server.address)).collect();
    for mut stream in &few {
        stream.write_all(&odd("2.0")).unwrap();
    }
    for mut stream in few {
        assert_eq!(statuses(&to_end(&mut stream)), [408], "they are shut");
    }
    honest.was_served();
    connect(&server.address).write_all(&odd("3.0")).unwrap();
    assert!(server.end().contains("restart"));
}

#[test]
fn it_recovers_when_descriptors_are_used_up() {
    many_descriptors();
    let server = Child::start_at("127.0.0.1:0", "", Some(64));
    for round in 0..3 {
        let crowd: Vec<TcpStream> = (0..150).map(|_| connect(&server.address)).collect();
        let during = sooner_or_later(&server.address);
        drop(crowd);
        let after = sooner_or_later(&server.address);
        println!("round {round}: answered after {during:?} in the crowd, {after:?} without it");
        assert!(after < Duration::from_secs(10), "{after:?}");
    }
    until("descriptors are free", TIMEOUT, || server.descriptors() < 48);
    assert_eq!(server.stop(), "well");
}

/// An honest client that meets a full server may be turned away, and asks again.
fn sooner_or_later(address: &str) -> Duration {
    let began = Instant::now();
    until("an answer", TIMEOUT, || ask(&mut connect(address), GET).is_ok());
    began.elapsed()
}

#[test]
fn clients_that_never_read_are_cut_off() {
    let server = Child::start("");
    let honest = Honest::begin(&server.address);
    let mut deaf: Vec<TcpStream> = (0..40).map(|_| connect(&server.address)).collect();
    for stream in &mut deaf {
        stream.write_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    }
    std::thread::sleep(Duration::from_millis(500)); // for the honest client to meet them
    honest.was_served();
    assert!(server.peak() < MEMORY, "{} MiB", server.peak());
}

/// Each keeps to the requests it may have in flight; all of them together hold every worker.
#[test]
fn clients_that_never_read_what_they_asked_ahead_are_cut_off() {
    let server = Child::start("");
    let honest = Honest::begin(&server.address);
    let ahead = b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n".repeat(8);
    let mut deaf: Vec<TcpStream> = (0..6).map(|_| connect(&server.address)).collect();
    for stream in &mut deaf {
        stream.write_all(&ahead).unwrap();
    }
    std::thread::sleep(Duration::from_millis(1_500)); // for the honest client to meet them
    honest.was_served();
}

#[test]
fn a_client_that_asks_ahead_without_reading_is_cut_off() {
    let server = Child::start("timeout=60000"); // so that only the number of requests ends it
    let honest = Honest::begin(&server.address);
    let ahead = b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000);
    let mut streams: Vec<TcpStream> = (0..4).map(|_| connect(&server.address)).collect();
    for stream in &mut streams {
        let _ = stream.write_all(&ahead);
    }
    let began = Instant::now();
    for stream in &mut streams {
        until("it is cut off", TIMEOUT, || stream.write_all(GET).is_err());
    }
    println!("cut off after {:?}", began.elapsed());
    honest.was_served();
}
