//! The guarantees to honest clients.

use super::child::Child;
use super::client::{
    GET, TIMEOUT, connect, read_response, send, send_to_end, statuses, wait_until,
};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

#[test]
fn burst_of_persistent_connections_is_answered() {
    let server = Child::start("");
    let mut burst: Vec<TcpStream> = (0..256).map(|_| connect(&server.address)).collect();
    let began = Instant::now();
    for stream in &mut burst {
        stream.write_all(GET).unwrap();
    }
    for stream in &mut burst {
        read_response(stream).unwrap();
    }
    println!("256 clients were answered after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn responses_conform_to_http() {
    let server = Child::start("");
    let get = |target: &str, method: &str, headers: &str| {
        let request =
            format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{headers}Connection: close\r\n\r\n");
        send_to_end(&server.address, request.as_bytes())
    };
    assert!(get("/", "HEAD", "").ends_with("Content-Length: 150\r\nConnection: close\r\n\r\n"));
    assert!(get("/nothing", "GET", "").ends_with("Connection: close\r\n\r\n"));
    let split = get("/split", "GET", "");
    assert!(split.contains("\r\nLocation: /a??X-Evil: 1\r\n"), "{split}");
    assert_eq!(statuses(&get("/panic", "GET", "")), [503]);
    assert_eq!(
        get("/big", "GET", "TE: chunked\r\n").split_once("\r\n\r\n").unwrap().1.len(),
        1 << 23
    );
    let upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    assert_eq!(statuses(&send_to_end(&server.address, upgrade)), [200]);
    let old =
        send(&mut connect(&server.address), b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert!(old.unwrap().contains("\r\nConnection: keep-alive\r\n"));
}

#[test]
fn bodies_of_any_framing_arrive_on_a_persistent_connection() {
    let server = Child::start("");
    let mut stream = connect(&server.address);
    for length in [0, 1, 1024, 1025, 65_536] {
        let head = format!("POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        let request = [head.as_bytes(), &vec![b'x'; length]].concat();
        let answer = send(&mut stream, &request).unwrap();
        assert!(answer.ends_with(&format!("\r\n\r\n{length}")), "{answer}");
    }
    let chunked = b"POST /length HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunks = b"3\r\nabc\r\n2;note\r\nde\r\n0\r\n\r\n";
    let answer = send(&mut stream, &[chunked.as_slice(), chunks].concat()).unwrap();
    assert!(answer.ends_with("\r\n\r\n5"), "{answer}");
    let asks =
        b"POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    assert!(send(&mut stream, asks).unwrap().starts_with("HTTP/1.1 100 "));
    assert!(send(&mut stream, b"abcd").unwrap().ends_with("\r\n\r\n4"));
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
fn graceful_shutdown_finishes_running_requests() {
    let mut server = Child::start("");
    let mut idle = connect(&server.address);
    send(&mut idle, GET).unwrap();
    let mut busy = connect(&server.address);
    busy.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    wait_until("the request is under way", TIMEOUT, || {
        let waiting =
            send(&mut connect(&server.address), b"GET /waiting HTTP/1.1\r\nHost: a\r\n\r\n");
        waiting.unwrap().ends_with("true")
    });
    let began = Instant::now();
    server.request_stop();
    let mut received = String::new();
    busy.read_to_string(&mut received).unwrap();
    assert!(received.contains("Connection: close") && received.ends_with("waited"), "{received}");
    assert_eq!(idle.read(&mut [0]).unwrap(), 0, "idle connections are closed");
    assert_eq!(server.end(), "well");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(TcpStream::connect(&server.address).is_err(), "nobody listens");
}

#[test]
fn unix_socket_is_served_and_removed() {
    let path = std::env::temp_dir().join(format!("transport-{}.sock", std::process::id()));
    let listen = format!("unix:{}", path.display());
    for _ in 0..2 {
        let _killed_at_the_end = Child::start_at(&listen, "", None);
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut received = String::new();
        stream.read_to_string(&mut received).unwrap();
        assert_eq!(statuses(&received), [200]);
        // A killed server leaves the path behind, and the next one takes it over.
    }
    let server = Child::start_at(&listen, "", None);
    assert_eq!(server.stop(), "well");
    assert!(!std::fs::exists(&path).unwrap());
}
