//! HTTPS, and a new certificate without a restart.

use crate::http::server::Server;
use crate::http::workspace::Workspace;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Writes a new certificate for `localhost`, and its key. Returns the certificate.
fn certify(workspace: &Workspace) -> String {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(workspace.path().join("cert.pem"), made.cert.pem()).unwrap();
    fs::write(workspace.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    made.cert.pem()
}

/// Connects as a client that trusts only that certificate.
fn connect(server: &Server, certificate: &str) -> Stream {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(session, TcpStream::connect(&server.address).unwrap())
}

/// Sends a request on the connection; returns the status line.
fn ask(stream: &mut Stream) -> io::Result<String> {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut response = Vec::new();
    while !response.ends_with(b"}") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        response.push(byte[0]);
    }
    let response = String::from_utf8(response).unwrap();
    Ok(response.lines().next().unwrap().to_owned())
}

#[test]
fn certificate_is_reloaded_on_sighup_without_closing_connections() {
    const OK: &str = "HTTP/1.1 200 OK";
    let workspace = Workspace::with_products(&[]);
    let first = certify(&workspace);
    let tls = ["--tls-cert", "cert.pem", "--tls-key", "key.pem"];
    let mut command = workspace.command(&["serve", "--listen", "127.0.0.1:0"]);
    let mut server = Server::spawn(command.args(tls));
    server.wait_for_line(|line| line.contains("see https://127.0.0.1:").then_some(()));
    let mut old = connect(&server, &first);
    assert_eq!(ask(&mut old).unwrap(), OK);

    let second = certify(&workspace);
    server.signal("-HUP");
    server.wait_for_line(|line| (line == "the certificate is reloaded").then_some(()));
    assert_eq!(ask(&mut connect(&server, &second)).unwrap(), OK);
    ask(&mut connect(&server, &first)).expect_err("the first certificate is not shown any more");
    assert_eq!(ask(&mut old).unwrap(), OK);

    fs::write(workspace.path().join("cert.pem"), "nothing").unwrap();
    server.signal("-HUP");
    server.wait_for_line(|line| line.contains("not reloaded: cert.pem").then_some(()));
    assert_eq!(ask(&mut connect(&server, &second)).unwrap(), OK);
    assert_eq!(ask(&mut old).unwrap(), OK);
    server.stop();
}
