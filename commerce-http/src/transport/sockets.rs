//! The connections that `tiny_http` holds: which there are, and shutting one by its client's address.

use super::descriptors::{self, Duplicator, Listing};
use std::collections::HashMap;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{OwnedFd, RawFd};
use std::time::Instant;

/// Descriptors put by, so that connections can be met and shut when all others are used up.
const SPARE: usize = 4;

/// A socket as it was first seen.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    number: RawFd,
    /// The client, when the socket is a connection to us.
    pub(super) peer: Option<SocketAddr>,
    pub(super) first: Instant,
    /// When it was shut for good. It should be gone soon after.
    pub(super) shut: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Sockets {
    duplicator: Duplicator,
    listing: Listing,
    port: u16,
    /// By inode, which no two open sockets share.
    seen: HashMap<u64, Seen>,
    by_peer: HashMap<SocketAddr, u64>,
    spare: Vec<OwnedFd>,
}

impl Sockets {
    /// None where connections cannot be shut.
    pub(super) fn of_port(port: u16) -> Option<Self> {
        let duplicator = Duplicator::new().filter(Duplicator::works)?;
        let listing = Listing::new().ok()?;
        let (seen, by_peer) = (HashMap::new(), HashMap::new());
        let mut sockets = Self { duplicator, listing, port, seen, by_peer, spare: Vec::new() };
        sockets.reserve_descriptors();
        Some(sockets)
    }

    /// Takes descriptors for later, when there are any.
    pub(super) fn reserve_descriptors(&mut self) {
        while self.spare.len() < SPARE {
            match std::fs::File::open("/dev/null") {
                Ok(file) => self.spare.push(file.into()),
                Err(_) => return,
            }
        }
    }

    /// Looks which connections there are.
    pub(super) fn scan(&mut self, now: Instant) {
        let mut still = HashMap::with_capacity(self.seen.len());
        let mut by_peer = HashMap::with_capacity(self.by_peer.len());
        for number in self.listing.numbers() {
            let Some(inode) = descriptors::socket_inode(number) else { continue };
            let known = self.seen.remove(&inode);
            let found = known.or_else(|| still.get(&inode).cloned());
            // One that could not be copied, for want of descriptors, is met anew the next time.
            let Some(mut found) = found.or_else(|| self.adopt(number, inode, now)) else {
                continue;
            };
            found.number = number;
            if let Some(peer) = found.peer {
                by_peer.insert(peer, inode);
            }
            still.insert(inode, found);
        }
        self.seen = still;
        self.by_peer = by_peer;
    }

    fn adopt(&mut self, number: RawFd, inode: u64, now: Instant) -> Option<Seen> {
        let socket = self.copy(number, inode)?;
        let ours = socket.local_addr().is_ok_and(|address| address.port() == self.port);
        let peer = socket.peer_addr().ok().filter(|_| ours);
        Some(Seen { number, peer, first: now, shut: None })
    }

    /// A copy of a socket, if need be at the cost of what was put by.
    fn copy(&mut self, number: RawFd, inode: u64) -> Option<TcpStream> {
        loop {
            match self.duplicator.socket(number, inode) {
                Err(error) if descriptors::are_used_up(&error) => drop(self.spare.pop()?),
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

    /// Ends a connection for reading (its client is then taken to have said its last), or wholly.
    pub(super) fn shut(&mut self, peer: SocketAddr, how: Shutdown) {
        let Some(socket) = self.find(peer) else { return };
        let _ = socket.shutdown(how);
        let seen = self.by_peer.get(&peer).and_then(|inode| self.seen.get_mut(inode));
        if let (Shutdown::Both, Some(seen)) = (how, seen) {
            seen.shut.get_or_insert_with(Instant::now);
        }
    }

    /// Sends bytes past `tiny_http`, and ends the connection.
    pub(super) fn write_and_close(&mut self, peer: SocketAddr, bytes: &[u8]) {
        if let Some(mut socket) = self.find(peer) {
            // Whoever left earlier answers unread gets none: this must not wait.
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
