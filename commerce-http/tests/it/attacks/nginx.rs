//! The same attacks through the nginx configuration that is shipped, `deploy/nginx.conf`.

use super::MEMORY;
use super::child::Child;
use super::client::{
    HonestClient, connect, read_chunked, read_response, read_to_end, send, send_to_end, statuses,
    timed_request,
};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child as Process, Command, Stdio};
use std::time::{Duration, Instant};

/// nginx in front of a server, in a folder of its own.
struct Proxied {
    nginx: Process,
    server: Child,
    folder: PathBuf,
    address: String,
}

impl Proxied {
    /// Starts both, with the timeouts of the configuration shortened to two seconds, and a request
    /// rate.
    fn start(rate: &str) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let folder = std::env::temp_dir().join(format!("transport-nginx-{}", address.port()));
        let address = address.to_string();
        std::fs::create_dir_all(&folder).unwrap();
        let socket = folder.join("http.sock");
        let server = Child::start_at(&format!("unix:{}", socket.display()), "", None);
        let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/nginx.conf");
        let here = folder.display().to_string();
        let text = std::fs::read_to_string(shipped)
            .unwrap()
            .replace("unix:/run/commerce/http.sock", &format!("unix:{}", socket.display()))
            .replace("/run/nginx-commerce.pid", &format!("{here}/pid"))
            .replace("/var/log/nginx/", &format!("{here}/"))
            .replace("/var/lib/nginx/", &format!("{here}/"))
            .replace("127.0.0.1:8080", &address)
            .replace("_timeout 10s", "_timeout 2s")
            // All attacks come from one address.
            .replace("limit_conn connections 64", "limit_conn connections 3000")
            .replace("# \"https://shop.example\"", "\"https://shop.example\"")
            .replace("rate=100r/s", rate);
        let file = folder.join("nginx.conf");
        std::fs::write(&file, text).unwrap();
        let nginx = Command::new("nginx")
            .args(["-g", "daemon off; user root;", "-e", &format!("{here}/error.log"), "-c"])
            .arg(&file)
            .stderr(Stdio::inherit())
            .spawn()
            .expect(
                "this test needs nginx: install it, for example with `apt-get install nginx-light`",
            );
        let proxied = Self { nginx, server, folder, address };
        super::wait_until("nginx listens", super::TIMEOUT, || {
            TcpStream::connect(&proxied.address).is_ok()
        });
        proxied
    }
}

impl Drop for Proxied {
    fn drop(&mut self) {
        // The workers end with SIGTERM to the master, not with SIGKILL.
        let asked = Command::new("kill").arg(self.nginx.id().to_string()).status();
        if asked.is_err() {
            let _ = self.nginx.kill();
        }
        let _ = self.nginx.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn post(headers: &str, body: &str) -> Vec<u8> {
    format!("POST /length HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n{body}").into_bytes()
}

#[test]
fn shipped_nginx_stops_the_same_attacks() {
    super::many_descriptors();
    let proxied = Proxied::start("rate=10000r/s");
    let at = proxied.address.as_str();
    let honest = HonestClient::begin(at);
    announced_and_framed(at);
    heads(at);
    versions_and_garbage(at);
    crowds(at);
    clients_that_never_read(at);
    honest.assert_served();
    timed_request(at);
    assert!(proxied.server.peak() < MEMORY, "{} MiB", proxied.server.peak());
    assert!(proxied.server.descriptors() < 60, "no connection is left behind");
}

/// Errors of nginx itself have the format of the service's errors.
#[test]
fn shipped_nginx_sends_problem_documents_with_retry_after() {
    let mut proxied = Proxied::start("rate=1r/m");
    let at = proxied.address.as_str();
    let too_large = send_to_end(at, &post("Content-Length: 65537", "a"));
    assert_problem(&too_large, 413, "payload_too_large", false);
    // Pages of allowed origins may read nginx's errors, pages of other origins may not.
    let shares = |origin: &str| {
        let headers = format!("Origin: {origin}\r\nContent-Length: 65537");
        let received = send_to_end(at, &post(&headers, "a"));
        received.contains(&format!("Access-Control-Allow-Origin: {origin}\r\n"))
    };
    assert!(shares("https://shop.example") && !shares("https://evil.example"));
    let length = b"GET /length HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert_eq!(statuses(&send_to_end(at, length)), [200]);
    proxied.server.request_stop();
    proxied.server.end();
    assert_problem(&send_to_end(at, length), 503, "busy", true);
    let answers = (0..1000).map(|_| send_to_end(at, length));
    let refused = answers.into_iter().find(|received| statuses(received) == [429]);
    assert_problem(&refused.unwrap(), 429, "too_many_requests", true);
}

/// A browser sends cookies of other services of the domain, and people put any letters anywhere.
#[test]
fn shipped_nginx_keeps_foreign_and_non_ascii_headers_from_the_service() {
    let proxied = Proxied::start("rate=10000r/s");
    let get = |target: &str, headers: &str| {
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: a\r\n{headers}Connection: close\r\n\r\n");
        send_to_end(&proxied.address, request.as_bytes())
    };
    let korean = "Cookie: name=홍길동; theme=dark\r\nUser-Agent: 브라우저 1.0\r\nReferer: http://a/한글\r\n\
                  X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\nX_Odd: 1\r\nAccept-Language: ko\r\n";
    let received =
        get("/headers", &format!("{korean}Accept: text/html\r\nIf-None-Match: \"a\"\r\n"));
    assert_eq!(statuses(&received), [200], "{received}");
    let (_, names) = received.split_once("\r\n\r\n").unwrap();
    let mut names: Vec<&str> = names.split(' ').collect();
    names.sort_unstable();
    let expected = ["accept", "host", "if-none-match", "x-forwarded-for", "x-request-id"];
    assert_eq!(names, expected);
    let received = get("/?name=%ED%99%8D", korean);
    assert_eq!(statuses(&received), [200], "{received}");
    for target in ["/?name=홍길동", "/홍길동"] {
        assert_problem(&get(target, ""), 400, "malformed_request", false);
    }
}

/// Requests share connections to the service, and a stream that fails ends without its end mark for the client, too.
#[test]
fn shipped_nginx_keeps_connections_and_passes_streams_on() {
    let proxied = Proxied::start("rate=10000r/s");
    let get = |target: &str| {
        let mut stream = connect(&proxied.address);
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream
    };
    let idle = proxied.server.descriptors();
    for _ in 0..100 {
        assert!(read_response(&mut get("/length")).unwrap().ends_with("\r\n\r\n0"));
    }
    let kept = proxied.server.descriptors();
    assert!((idle + 1..=idle + 8).contains(&kept), "{kept} descriptors, {idle} before");
    let (_, body) = read_chunked(&mut get("/stream/3000000"));
    assert_eq!(body.map(|body| body.len()), Some(3_000_000));
    assert_eq!(read_chunked(&mut get("/stream/late")).1, None);
}

/// Logins and sign-ups have a limit of their own, whatever their path looks like; other requests go on.
#[test]
fn shipped_nginx_limits_logins_for_each_address() {
    let proxied = Proxied::start("rate=10000r/s");
    let call = |method: &str, target: &str| {
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        send_to_end(&proxied.address, request.as_bytes())
    };
    let mut logins = (0..1000).map(|_| call("POST", "/v1/sessions"));
    let refused = logins.find(|received| statuses(received) == [429]);
    assert_problem(&refused.unwrap(), 429, "too_many_requests", true);
    // A place may become free at any time; the requests between two places are refused.
    for target in ["/v1/customers", "/v1/%73essions"] {
        let mut received = (0..1000).map(|_| call("POST", target));
        assert!(received.any(|received| statuses(&received) == [429]), "{target}");
    }
    assert_eq!(statuses(&call("GET", "/v1/customers")), [200]);
    assert_eq!(statuses(&call("POST", "/v1/orders")), [200]);
}

fn assert_problem(received: &str, status: u16, code: &str, later: bool) {
    assert_eq!(statuses(received), [status], "{received}");
    let (head, body) = received.split_once("\r\n\r\n").unwrap();
    let head = head.to_ascii_lowercase();
    assert!(head.contains("content-type: application/problem+json"), "{received}");
    assert_eq!(head.contains("retry-after: 1"), later, "{received}");
    let problem: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!((&problem["code"], &problem["status"]), (&code.into(), &status.into()));
    assert_eq!(problem["type"], format!("/problems/{code}"));
}

fn announced_and_framed(at: &str) {
    for length in ["65537", "10000000000", "40000000000", "9223372036854775807"] {
        let received = send_to_end(at, &post(&format!("Content-Length: {length}"), "a"));
        assert_eq!(statuses(&received), [413], "{length}: {received}");
    }
    for headers in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: -5",
        "Content-Length: +5",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ] {
        let received = send_to_end(at, &post(headers, "0\r\n\r\nGET /length HTTP/1.1\r\n\r\n"));
        assert_eq!(statuses(&received), [400], "{headers}: {received}");
    }
    let received = send_to_end(at, &post("Transfer-Encoding: xchunked", ""));
    assert_eq!(statuses(&received), [501], "{received}");
    let received =
        send(&mut connect(at), &post("Transfer-Encoding: chunked", "3\r\nabc\r\n0\r\n\r\n"));
    assert!(
        received.unwrap().ends_with("\r\n\r\n3"),
        "a valid chunked body arrives with its length"
    );
    let mut cut = connect(at);
    cut.write_all(&post("Content-Length: 2000", "abc")).unwrap();
    cut.shutdown(Shutdown::Write).unwrap();
    let received = statuses(&read_to_end(&mut cut));
    assert!(received.is_empty() || received == [400], "{received:?}");
}

fn heads(at: &str) {
    let mut stream = connect(at);
    stream.write_all(b"GET / HTTP/1.1\r\nX: ").unwrap();
    let part = vec![b'x'; 1 << 16];
    let sent = (0..3200).take_while(|_| stream.write_all(&part).is_ok()).count();
    let received = read_to_end(&mut stream);
    println!("of a head of 200 MiB {} KiB were read or discarded, then {received:?}", sent * 64);
    assert!(received.is_empty() || statuses(&received) == [400], "{received}");
    let mut drip = connect(at);
    let began = Instant::now();
    while drip.write_all(b"x").is_ok() && began.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(began.elapsed() < Duration::from_secs(30), "a drip lasted {:?}", began.elapsed());
}

fn versions_and_garbage(at: &str) {
    for version in ["2.0", "3.0"] {
        let received =
            send_to_end(at, format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n").as_bytes());
        assert_eq!(statuses(&received), [505], "{received}");
    }
    assert_eq!(statuses(&send_to_end(at, b"\x16\x03\x01 garbage\r\n\r\n")), [400]);
    let ahead = b"GET /length HTTP/1.1\r\nHost: a\r\n\r\n".repeat(20);
    let mut stream = connect(at);
    stream.write_all(&ahead).unwrap();
    for _ in 0..20 {
        read_response(&mut stream).unwrap();
    }
}

fn crowds(at: &str) {
    let mut silent: Vec<TcpStream> = (0..1000).map(|_| connect(at)).collect();
    let mut slow: Vec<TcpStream> = (0..40).map(|_| connect(at)).collect();
    for stream in &mut slow {
        stream.write_all(&post("Content-Length: 5000", "abc")).unwrap();
    }
    for stream in silent.iter_mut().chain(&mut slow) {
        let received = statuses(&read_to_end(stream));
        assert!(received.is_empty() || received == [408], "{received:?}");
    }
}

fn clients_that_never_read(at: &str) {
    let mut clients_that_never_read: Vec<TcpStream> = (0..40).map(|_| connect(at)).collect();
    for stream in &mut clients_that_never_read {
        stream.write_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    }
    for stream in &mut clients_that_never_read {
        let _ = stream.read(&mut [0; 16]).unwrap(); // the answer has begun, and is not read on
    }
}
