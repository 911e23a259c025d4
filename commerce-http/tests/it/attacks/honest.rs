//! The guarantees to honest clients, by both servers.

use super::child::Child;
use super::client::{
    GET, TIMEOUT, connect, read_response, send, send_to_end, statuses, wait_until,
};
use rstest::rstest;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

#[rstest]
fn burst_of_connections_is_answered(#[values("hyper", "tiny")] server: &str) {
    let server = Child::of(server);
    let mut burst: Vec<TcpStream> = (0..256).map(|_| connect(&server.address)).collect();
    let began = Instant::now();
    // Honest clients close the connection when the server announces it, in any order.
    let answered: Vec<_> = burst
        .drain(..)
        .map(|mut stream| {
            stream.write_all(GET).unwrap();
            std::thread::spawn(move || read_response(&mut stream).unwrap())
        })
        .collect();
    for thread in answered {
        assert!(thread.join().unwrap().starts_with("HTTP/1.1 200 OK\r\n"));
    }
    println!("256 clients were answered after {:?}", began.elapsed());
}

#[rstest]
fn responses_conform_to_http(#[values("hyper", "tiny")] server: &str) {
    let server = Child::of(server);
    let get = |target: &str, method: &str, headers: &str| {
        let request =
            format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{headers}Connection: close\r\n\r\n");
        send_to_end(&server.address, request.as_bytes())
    };
    let head = get("/", "HEAD", "");
    assert!(head.contains("\r\nContent-Length: 150\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(head.contains("\r\nDate: ") && head.contains("\r\nConnection: close\r\n"), "{head}");
    let nothing = get("/nothing", "GET", "");
    assert!(!nothing.contains("Content-Length") && nothing.ends_with("\r\n\r\n"), "{nothing}");
    let same = get("/same", "GET", "");
    assert!(!same.contains("Content-Length") && same.ends_with("\r\n\r\n"), "{same}");
    let split = get("/split", "GET", "");
    assert!(split.contains("\r\nLocation: /a??X-Evil: 1\r\n"), "{split}");
    assert_eq!(statuses(&get("/panic", "GET", "")), [503]);
    let big = get("/big", "GET", "TE: chunked\r\n");
    assert_eq!(big.split_once("\r\n\r\n").unwrap().1.len(), 1 << 23);
    assert!(get("/peer", "GET", "").ends_with("\r\n\r\nSome(127.0.0.1)"));
    let upgrade =
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n";
    assert_eq!(statuses(&send_to_end(&server.address, upgrade)), [200]);
}

#[rstest]
fn host_header_is_required_only_by_http_1_1(#[values("hyper", "tiny")] server: &str) {
    let server = Child::of(server);
    for (head, status) in [
        ("GET /length HTTP/1.1\r\nConnection: close\r\n", 400),
        ("GET /length HTTP/1.1\r\nHost: a\r\nHost: a\r\nConnection: close\r\n", 400),
        ("GET /length HTTP/1.1\r\nHost:\r\nConnection: close\r\n", 200),
        ("GET /length HTTP/1.0\r\n", 200),
        ("GET http://a.example/length HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n", 200),
    ] {
        let received = send_to_end(&server.address, format!("{head}\r\n").as_bytes());
        assert_eq!(statuses(&received), [status], "{head}");
    }
}

#[rstest]
fn requests_over_the_limits_are_refused(#[values("hyper", "tiny")] server: &str) {
    let server = Child::of(server);
    let get = |target: &str, headers: &str| format!("GET {target} HTTP/1.1\r\n{headers}\r\n");
    let post = |length: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{length}\r\n\r\n");
    for (request, status) in [
        (get(&format!("/{}", "x".repeat(3000)), ""), 431),
        (get("/", &"X: y\r\n".repeat(65)), 431),
        (get("/", &format!("X: {}\r\n", "x".repeat(9000))), 431),
        (get("a", "Host: a\r\n"), 400),
        (post("Content-Length: 65537"), 413),
        (post("Content-Length: 0\r\nTransfer-Encoding: chunked"), 400),
    ] {
        let mut stream = connect(&server.address);
        let response = send(&mut stream, request.as_bytes()).unwrap();
        assert_eq!(statuses(&response), [status], "{request}");
    }
    assert_eq!(server.rejected().len(), 6);
}

#[rstest]
fn bodies_of_any_framing_arrive(#[values("hyper", "tiny")] server: &str) {
    let server = Child::of(server);
    let body = |head: &str, body: &[u8]| {
        let head = format!("POST /length HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n");
        send(&mut connect(&server.address), &[head.as_bytes(), body].concat()).unwrap()
    };
    for length in [0, 1, 1024, 1025, 65_536] {
        let answer = body(&format!("Content-Length: {length}"), &vec![b'x'; length]);
        assert!(answer.ends_with(&format!("\r\n\r\n{length}")), "{answer}");
    }
    let chunks = b"3\r\nabc\r\n2;note\r\nde\r\n0\r\n\r\n";
    let answer = body("Transfer-Encoding: chunked", chunks);
    assert!(answer.ends_with("\r\n\r\n5"), "{answer}");
    let asks =
        b"POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    let mut stream = connect(&server.address);
    assert!(send(&mut stream, asks).unwrap().starts_with("HTTP/1.1 100 "));
    assert!(send(&mut stream, b"abcd").unwrap().ends_with("\r\n\r\n4"));
}

#[test]
fn persistent_connection_carries_many_requests() {
    let server = Child::start("");
    let mut stream = connect(&server.address);
    for length in [0, 5, 65_536, 1] {
        let head = format!("POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        let request = [head.as_bytes(), &vec![b'x'; length], b"\r\n"].concat();
        assert!(send(&mut stream, &request).unwrap().ends_with(&format!("\r\n\r\n{length}")));
    }
    let old = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    assert!(send(&mut stream, old).unwrap().contains("\r\nConnection: keep-alive\r\n"));
    send(&mut stream, GET).unwrap();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Child::start("");
    let mut stream = connect(&server.address);
    let ahead: String = ["/wait", "/length", "/", "/length"]
        .map(|target| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"))
        .concat();
    stream.write_all(ahead.as_bytes()).unwrap();
    let ends: [&str; 4] = ["waited", "\r\n\r\n0", "xxxx", "\r\n\r\n0"];
    for end in ends {
        let answer = read_response(&mut stream).unwrap();
        assert!(answer.ends_with(end), "{answer}");
    }
}

#[test]
fn answer_that_comes_later_is_completed_without_its_client() {
    let mut server = Child::start("");
    let ask = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
    assert!(send(&mut connect(&server.address), &ask("/later")).unwrap().ends_with("later"));
    let panicked = send(&mut connect(&server.address), &ask("/later/panic")).unwrap();
    assert_eq!(statuses(&panicked), [503]);
    server.wait_for_line("waiting");
    let mut leaving = connect(&server.address);
    leaving.write_all(&ask("/later")).unwrap();
    server.wait_for_line("waiting");
    socket2::SockRef::from(&leaving).set_linger(Some(Duration::ZERO)).unwrap();
    drop(leaving);
    wait_until("completed", TIMEOUT, || server.ask("/completed") == "2");
}

#[rstest]
fn graceful_shutdown_finishes_running_requests(#[values("hyper", "tiny")] server: &str) {
    let mut server = Child::of(server);
    let mut idle = connect(&server.address);
    send(&mut idle, GET).unwrap();
    let mut busy = connect(&server.address);
    busy.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    server.wait_for_line("waiting");
    let began = Instant::now();
    server.request_stop();
    let received = read_response(&mut busy).unwrap();
    assert!(received.contains("Connection: close") && received.ends_with("waited"), "{received}");
    assert_eq!(server.end(), "well");
    assert_eq!(idle.read(&mut [0]).unwrap(), 0, "idle connections are closed");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(TcpStream::connect(&server.address).is_err(), "nobody listens");
}

/// The last part of a response waits in the server until a slow client takes it, also while the server stops.
#[test]
fn graceful_shutdown_lets_a_slow_client_read_on() {
    let mut server = Child::start("");
    let mut slow = connect(&server.address);
    slow.write_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let (mut received, mut part) = (slow.read(&mut [0; 1]).unwrap(), vec![0; 128 * 1024]);
    server.request_stop();
    while let length @ 1.. = slow.read(&mut part).unwrap() {
        received += length;
        std::thread::sleep(Duration::from_millis(20)); // slower than the server looks for idle connections
    }
    assert!(received > 1 << 23, "{received} bytes");
    assert_eq!(server.end(), "well");
}

#[test]
fn ipv6_port_is_served() {
    let server = Child::start_at("[::1]:0", "server=hyper", None);
    assert_eq!(server.ask("/peer"), "Some(::1)");
}

#[test]
fn unix_socket_is_served_and_removed() {
    let path = std::env::temp_dir().join(format!("transport-{}.sock", std::process::id()));
    let listen = format!("unix:{}", path.display());
    for _ in 0..2 {
        let _killed_at_the_end = Child::start_at(&listen, "", None);
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(b"GET /peer HTTP/1.0\r\n\r\n").unwrap();
        let mut received = String::new();
        stream.read_to_string(&mut received).unwrap();
        assert!(received.ends_with("\r\n\r\nNone"), "{received}");
        // A killed server leaves the path behind, and the next one takes it over.
    }
    let server = Child::start_at(&listen, "", None);
    assert_eq!(server.stop(), "well");
    assert!(!std::fs::exists(&path).unwrap());
}
