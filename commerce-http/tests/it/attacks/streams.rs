//! Streamed responses by both servers, and their clients that read slowly or leave.

use super::child::Child;
use super::client::{
    HonestClient, TIMEOUT, connect, read_chunked, send, send_to_end, statuses, wait_until,
};
use rstest::rstest;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

fn begin(server: &Child, target: &str) -> TcpStream {
    let mut stream = connect(&server.address);
    let request = format!("GET /stream/{target} HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

fn start(server: &str, settings: &str) -> Child {
    Child::start_at("127.0.0.1:0", &format!("server={server} {settings}"), None)
}

#[rstest]
fn stream_arrives_in_chunks(#[values("hyper", "tiny")] server: &str) {
    let server = start(server, "");
    for length in [0, 1, 65_535, 65_536, 65_537, 3_000_000] {
        let (head, body) = read_chunked(&mut begin(&server, &length.to_string()));
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.to_lowercase().contains("\r\ntransfer-encoding: chunked\r\n"), "{head}");
        assert!(!head.contains("Content-Length"), "{head}");
        assert_eq!(body.map(|body| body.len()), Some(length));
    }
}

#[test]
fn stream_leaves_its_connection_open() {
    let server = start("hyper", "");
    let mut stream = begin(&server, "100000");
    read_chunked(&mut stream);
    assert!(send(&mut stream, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").is_ok());
}

#[rstest]
fn head_and_http_1_0_do_not_start_a_stream(#[values("hyper", "tiny")] server: &str) {
    let server = start(server, "");
    let head = b"HEAD /stream/endless HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let received = send_to_end(&server.address, head);
    assert!(received.starts_with("HTTP/1.1 200 OK\r\n"), "{received}");
    assert!(!received.contains("Content-Length"), "{received}");
    assert!(received.ends_with("\r\n\r\n"), "{received}");
    let old = send_to_end(&server.address, b"GET /stream/endless HTTP/1.0\r\n\r\n");
    assert_eq!(statuses(&old), [400]);
    assert_eq!(server.streamed()[0], 0);
}

#[rstest]
fn stream_that_fails_before_its_first_byte_is_answered(#[values("hyper", "tiny")] server: &str) {
    let server = start(server, "");
    for (target, status) in [("/stream/early", 500), ("/stream/panic", 503)] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let received = send(&mut connect(&server.address), request.as_bytes()).unwrap();
        assert_eq!(statuses(&received), [status], "{received}");
    }
    assert_eq!(server.rejected(), ["Overloaded /stream/panic"]);
}

#[rstest]
fn client_notices_a_stream_that_fails_in_the_middle(#[values("hyper", "tiny")] server: &str) {
    let server = start(server, "");
    let (head, body) = read_chunked(&mut begin(&server, "late"));
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(body, None);
}

#[rstest]
#[case::hyper("hyper write=2000", 8)]
#[case::hyper_whole_stream("hyper write=60000 stream=2000", 8)]
#[case::tiny("tiny write=2000", 1)]
fn clients_that_never_read_hold_up_streams_until_the_deadline(
    #[case] server: &str,
    #[case] count: usize,
) {
    let server = start(server, "");
    let honest = HonestClient::begin(&server.address);
    let began = Instant::now();
    let _unread: Vec<TcpStream> = (0..count).map(|_| begin(&server, "endless")).collect();
    wait_until("all have failed", TIMEOUT, || server.streamed()[2] == count);
    assert!(began.elapsed() > Duration::from_millis(1_900));
    honest.assert_served();
    // The system's buffers of both ends take some MiB.
    let written = server.streamed()[1] / count;
    assert!(written < 8 << 20, "{written} bytes for each");
    assert!(server.peak() < 32, "{} MiB", server.peak());
}

#[rstest]
fn client_that_reads_slowly_ends_a_stream_at_its_deadline(#[values("hyper", "tiny")] server: &str) {
    let server = start(server, "write=2000 stream=3000");
    let mut slow = begin(&server, "endless");
    let mut part = vec![0; 64 * 1024];
    let began = Instant::now();
    while server.streamed()[2] == 0 {
        let _ = slow.read(&mut part).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        assert!(began.elapsed() < TIMEOUT);
    }
    assert!(began.elapsed() > Duration::from_millis(2_900), "{:?}", began.elapsed());
}

#[rstest]
fn stream_ends_when_its_client_leaves(#[values("hyper", "tiny")] server: &str) {
    let server = start(server, "");
    let mut leaving = begin(&server, "endless");
    let _ = leaving.read(&mut [0; 1000]).unwrap();
    drop(leaving);
    wait_until("it has failed", Duration::from_secs(5), || server.streamed()[2] == 1);
}

#[rstest]
fn graceful_shutdown_finishes_a_stream(#[values("hyper", "tiny")] server: &str) {
    let mut server = start(server, "");
    let mut stream = begin(&server, "30000000");
    let mut first = [0];
    stream.read_exact(&mut first).unwrap();
    server.request_stop();
    std::thread::sleep(Duration::from_millis(100));
    let (_, body) = read_chunked(&mut first.as_slice().chain(stream));
    assert_eq!(body.map(|body| body.len()), Some(30_000_000));
    assert_eq!(server.end(), "well");
}

#[rstest]
fn graceful_shutdown_does_not_wait_for_an_endless_stream(#[values("hyper", "tiny")] server: &str) {
    let mut server = start(server, "grace=500");
    let mut stream = begin(&server, "endless");
    let _ = stream.read(&mut [0; 1000]).unwrap();
    let began = Instant::now();
    server.request_stop();
    assert_eq!(server.end(), "well");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
