//! HTTPS by the hyper server, and attacks on its port.

use super::child::Child;
use super::client::{GET, TIMEOUT, connect, read_to_end, wait_until};
use super::{MEMORY, crowd};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use tempfile::TempDir;

/// An HTTPS server, and the folder of its certificate.
struct Https {
    server: Child,
    folder: TempDir,
}

impl Https {
    fn start(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        let settings = format!("tls={} {settings}", folder.path().display());
        Self { server: Child::start_at("127.0.0.1:0", &settings, None), folder }
    }

    /// Opens an encrypted connection, and sends a request on it.
    fn send(&self, request: &[u8]) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        let file = self.folder.path().join("cert.pem");
        roots.add(CertificateDer::from_pem_file(file).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = "localhost".try_into().unwrap();
        let session = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = StreamOwned::new(session, connect(&self.server.address));
        stream.write_all(request).unwrap();
        stream
    }

    /// Sends a request, and returns the body of its response.
    fn ask(&self, target: &str) -> String {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let mut response = String::new();
        self.send(request.as_bytes()).read_to_string(&mut response).unwrap();
        response.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    fn count(&self, index: usize) -> usize {
        serde_json::from_str::<[usize; 4]>(&self.ask("/reported")).unwrap()[index]
    }

    fn rejected(&self) -> Vec<String> {
        serde_json::from_str(&self.ask("/rejected")).unwrap()
    }
}

#[test]
fn https_is_served_as_http_1_1() {
    let https = Https::start("");
    let mut stream = https.send(GET);
    stream.read_exact(&mut [0; 12]).unwrap();
    assert_eq!(stream.conn.alpn_protocol(), Some(b"http/1.1".as_slice()));
    assert_eq!(https.ask("/big").len(), 1 << 23);
    assert_eq!(https.ask("/peer"), "Some(127.0.0.1)");
}

#[test]
fn failed_and_slow_handshakes_are_closed_and_counted() {
    let https = Https::start("head=2000");
    for mut stream in crowd(&https.server, 50, GET) {
        assert!(!read_to_end(&mut stream).contains("HTTP"), "nothing is answered in clear");
    }
    for mut stream in crowd(&https.server, 50, b"\x16\x03\x01\x02\x00") {
        assert_eq!(read_to_end(&mut stream), "");
    }
    wait_until("counted", TIMEOUT, || https.count(3) == 50 && https.count(0) == 50);
    let reasons = |reason: &str| https.rejected().iter().filter(|l| l.starts_with(reason)).count();
    assert_eq!((reasons("Malformed"), reasons("TooSlow")), (50, 50));
}

#[test]
fn encrypted_clients_that_never_read_are_disconnected() {
    let https = Https::start("write=2000");
    let big = b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n";
    let unread: Vec<_> = (0..20).map(|_| https.send(big)).collect();
    wait_until("counted", TIMEOUT, || https.count(2) == unread.len());
    assert!(https.server.peak() < MEMORY, "{} MiB", https.server.peak());
}
