//! A pooler in transaction mode: after each transaction the client gets another connection to the
//! server.

use super::cluster::Cluster;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The request for TLS, in place of a startup message.
const TLS_REQUEST: [u8; 4] = 80_877_103_u32.to_be_bytes();

/// A pooler on a port of its own. Its threads end with their connections.
pub struct Pooler {
    pub port: u16,
    /// Gives each client one connection to the server for its whole life.
    pub is_session: Arc<AtomicBool>,
}

impl Pooler {
    /// Starts a pooler in front of a server without passwords. `prepares` has every statement
    /// prepared on all connections, as newer poolers do.
    pub fn start(cluster: &Cluster, prepares: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, server) = (listener.local_addr().unwrap().port(), cluster.port());
        let is_session = Arc::<AtomicBool>::default();
        let shared = Arc::clone(&is_session);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let is_session = Arc::clone(&shared);
                std::thread::spawn(move || serve(client, server, prepares, &is_session));
            }
        });
        Self { port, is_session }
    }
}

/// Serves a client until it or the server ends the connection.
fn serve(mut client: TcpStream, port: u16, prepares: bool, is_session: &AtomicBool) -> Option<()> {
    client.set_nodelay(true).ok()?;
    let mut startup = untagged(&mut client)?;
    if startup[4..8] == TLS_REQUEST {
        client.write_all(b"N").ok()?;
        startup = untagged(&mut client)?;
    }
    let mut servers = Vec::new();
    for _ in 0..2 {
        let mut server = TcpStream::connect(("127.0.0.1", port)).ok()?;
        server.set_nodelay(true).ok()?;
        server.write_all(&startup).ok()?;
        let (greeting, _) = until_ready(&mut server)?;
        if servers.is_empty() {
            client.write_all(&greeting).ok()?;
        }
        servers.push(server);
    }
    let mut current = 0;
    loop {
        let (tag, message) = tagged(&mut client)?;
        servers[current].write_all(&message).ok()?;
        if tag == b'P' && prepares {
            let other = &mut servers[1 - current];
            other.write_all(&message).ok()?;
            other.write_all(b"S\0\0\0\x04").ok()?;
            until_ready(other)?;
        }
        if tag == b'S' || tag == b'Q' {
            let (answer, status) = until_ready(&mut servers[current])?;
            client.write_all(&answer).ok()?;
            if status == b'I' && !is_session.load(Ordering::Relaxed) {
                current = 1 - current;
            }
        }
    }
}

/// Reads a message that begins with its length.
fn untagged(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut message = vec![0; 4];
    stream.read_exact(&mut message).ok()?;
    let length = u32::from_be_bytes(message[..4].try_into().unwrap());
    message.resize(length.try_into().unwrap(), 0);
    stream.read_exact(&mut message[4..]).ok()?;
    Some(message)
}

/// Reads a message that begins with a tag.
fn tagged(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut tag = [0];
    stream.read_exact(&mut tag).ok()?;
    let rest = untagged(stream)?;
    Some((tag[0], [&tag[..], &rest].concat()))
}

/// Reads messages up to the one by which the server is ready; its last byte is the status of the
/// transaction.
fn until_ready(server: &mut TcpStream) -> Option<(Vec<u8>, u8)> {
    let mut all = Vec::new();
    loop {
        let (tag, message) = tagged(server)?;
        all.extend(&message);
        if tag == b'Z' {
            return Some((all, message[5]));
        }
    }
}
