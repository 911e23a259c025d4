//! The connections of `tiny_http`: listing them, and shutting one by the address of its client.

use super::descriptors::{self, Duplicator, Listing};
use std::collections::HashMap;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{OwnedFd, RawFd};
use std::time::Instant;

/// Reserved descriptors, to adopt and shut connections when all others are exhausted.
const SPARE: usize = 4;

/// A known socket.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    number: RawFd,
    /// The client, if the socket is a connection to this server.
    pub(super) peer: Option<SocketAddr>,
    pub(super) first: Instant,
    /// The time at which it was shut. It should disappear soon after.
    pub(super) shut: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Sockets {
    duplicator: Duplicator,
    listing: Listing,
    port: u16,
    /// By inode, which is unique among open sockets.
    seen: HashMap<u64, Seen>,
    by_peer: HashMap<SocketAddr, u64>,
    spare: Vec<OwnedFd>,
}

impl Sockets {
    /// `None` if connections cannot be shut.
    pub(super) fn of_port(port: u16) -> Option<Self> {
        let duplicator = Duplicator::new().filter(Duplicator::works)?;
        let listing = Listing::new().ok()?;
        let (seen, by_peer) = (HashMap::new(), HashMap::new());
        let mut sockets = Self { duplicator, listing, port, seen, by_peer, spare: Vec::new() };
        sockets.reserve_descriptors();
        Some(sockets)
    }

    /// Fills the reserve of descriptors, if any are free.
    pub(super) fn reserve_descriptors(&mut self) {
        while self.spare.len() < SPARE {
            match std::fs::File::open("/dev/null") {
                Ok(file) => self.spare.push(file.into()),
                Err(_) => return,
            }
        }
    }

    /// Updates the list of connections.
    pub(super) fn scan(&mut self, now: Instant) {
        let mut current = HashMap::with_capacity(self.seen.len());
        let mut by_peer = HashMap::with_capacity(self.by_peer.len());
        for number in self.listing.numbers() {
            let Some(inode) = descriptors::socket_inode(number) else { continue };
            let known = self.seen.remove(&inode);
            let socket = known.or_else(|| current.get(&inode).cloned());
            // A socket that could not be copied, for lack of descriptors, is adopted in the next scan.
            let Some(mut socket) = socket.or_else(|| self.adopt(number, inode, now)) else {
                continue;
            };
            socket.number = number;
            if let Some(peer) = socket.peer {
                by_peer.insert(peer, inode);
            }
            current.insert(inode, socket);
        }
        self.seen = current;
        self.by_peer = by_peer;
    }

    fn adopt(&mut self, number: RawFd, inode: u64, now: Instant) -> Option<Seen> {
        let socket = self.copy(number, inode)?;
        let ours = socket.local_addr().is_ok_and(|address| address.port() == self.port);
        let peer = socket.peer_addr().ok().filter(|_| ours);
        Some(Seen { number, peer, first: now, shut: None })
    }

    /// Copies a socket, with reserved descriptors if necessary.
    fn copy(&mut self, number: RawFd, inode: u64) -> Option<TcpStream> {
        loop {
            match self.duplicator.socket(number, inode) {
                Err(error) if descriptors::are_exhausted(&error) => drop(self.spare.pop()?),
                copy => return copy.ok(),
            }
        }
    }

    /// All connections of clients.
    pub(super) fn connections(&self) -> impl Iterator<Item = (SocketAddr, &Seen)> {
        self.seen.values().filter_map(|seen| Some((seen.peer?, seen)))
    }

    pub(super) fn has(&self, peer: SocketAddr) -> bool {
        self.by_peer.contains_key(&peer)
    }

    /// Shuts a connection for reading (`tiny_http` then sees the end of requests), or in both directions.
    pub(super) fn shut(&mut self, peer: SocketAddr, how: Shutdown) {
        let Some(socket) = self.find(peer) else { return };
        let _ = socket.shutdown(how);
        let seen = self.by_peer.get(&peer).and_then(|inode| self.seen.get_mut(inode));
        if let (Shutdown::Both, Some(seen)) = (how, seen) {
            seen.shut.get_or_insert_with(Instant::now);
        }
    }

    /// Sends bytes without `tiny_http`, and shuts the connection.
    pub(super) fn write_and_close(&mut self, peer: SocketAddr, bytes: &[u8]) {
        if let Some(mut socket) = self.find(peer) {
            // Non-blocking: a client that has not read earlier responses gets no further one.
            let _ = socket.set_nonblocking(true).and_then(|()| socket.write_all(bytes));
        }
        self.shut(peer, Shutdown::Both);
    }

    fn find(&mut self, peer: SocketAddr) -> Option<TcpStream> {
        self.known(peer).or_else(|| {
            self.scan(Instant::now());
            self.known(peer)
        })
    }

    fn known(&mut self, peer: SocketAddr) -> Option<TcpStream> {
        let inode = *self.by_peer.get(&peer)?;
        let number = self.seen.get(&inode)?.number;
        self.copy(number, inode)
    }
}
