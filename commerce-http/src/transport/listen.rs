//! Listen addresses, and the listening socket with the options that accepted sockets inherit.

use socket2::{Domain, SockAddr, Socket, Type};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// The maximum number of connections waiting to be accepted.
const BACKLOG: i32 = 1024;
/// The send buffer per connection: usual responses fit, so that no worker waits for a slow reader. The system uses
/// memory only as needed.
const SEND_BUFFER: usize = 256 * 1024;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// An IP address and port; port 0 for any free port.
    Tcp(SocketAddr),
    /// A unix socket at a path, for a proxy on the same machine.
    Unix(PathBuf),
}

impl Listen {
    /// Returns true if only this machine reaches the address, by TCP.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        matches!(self, Self::Tcp(address) if address.ip().is_loopback())
    }
}

impl FromStr for Listen {
    type Err = io::Error;

    /// `127.0.0.1:8080`, `[::1]:8080`, `8080` (on the loopback only), or `unix:/run/shop.sock`.
    fn from_str(text: &str) -> io::Result<Self> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        if let Ok(port) = text.parse::<u16>() {
            return Ok(Self::Tcp((Ipv4Addr::LOCALHOST, port).into()));
        }
        text.parse().map(Self::Tcp).map_err(|_| {
            let help = "an address to listen on is written 127.0.0.1:8080, 8080 or unix:PATH";
            io::Error::new(io::ErrorKind::InvalidInput, help)
        })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: Socket,
    address: Listen,
    /// The inode of the unix socket, to distinguish it from another socket at the same path.
    inode: Option<u64>,
}

impl Listener {
    pub(super) fn open(listen: &Listen, write_deadline: Duration) -> io::Result<Self> {
        let socket = match listen {
            Listen::Tcp(address) => bind_tcp(*address)?,
            Listen::Unix(path) => bind_unix(path)?,
        };
        // Accepted sockets inherit both. A read timeout would also apply to `accept`.
        socket.set_write_timeout(Some(write_deadline))?;
        socket.set_send_buffer_size(SEND_BUFFER)?;
        socket.listen(BACKLOG)?;
        let address = match listen {
            Listen::Tcp(requested) => {
                Listen::Tcp(socket.local_addr()?.as_socket().unwrap_or(*requested))
            }
            Listen::Unix(path) => Listen::Unix(path.clone()),
        };
        let inode = unix_inode(&address);
        Ok(Self { socket, address, inode })
    }

    pub(super) fn address(&self) -> &Listen {
        &self.address
    }
}

impl Drop for Listener {
    /// Stops listening in every copy. The path is removed first, because another server may bind it as soon as the
    /// socket is closed.
    fn drop(&mut self) {
        if let Listen::Unix(path) = &self.address
            && unix_inode(&self.address) == self.inode
        {
            let _ = std::fs::remove_file(path);
        }
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// The inode at the path of a unix socket.
fn unix_inode(at: &Listen) -> Option<u64> {
    match at {
        Listen::Unix(path) => Some(std::fs::symlink_metadata(path).ok()?.ino()),
        Listen::Tcp(_) => None,
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    // Inherited too. Without it a response of two packets waits 40 ms for an acknowledgement.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Binds a path, and replaces the stale socket of a dead process.
fn bind_unix(path: &Path) -> io::Result<Socket> {
    let bind = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        Ok(socket)
    };
    bind().or_else(|error: io::Error| {
        // Connecting to a regular file is refused too, so the type is checked: only sockets are removed.
        let is_socket = std::fs::symlink_metadata(path).is_ok_and(|at| at.file_type().is_socket());
        let is_stale = is_socket
            && UnixStream::connect(path)
                .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        if error.kind() != io::ErrorKind::AddrInUse || !is_stale {
            return Err(error);
        }
        std::fs::remove_file(path)?;
        bind()
    })
}

#[cfg(test)]
mod tests {
    use super::Listen;

    #[test]
    fn bind_unix_keeps_a_regular_file() {
        let folder = std::env::temp_dir().join(format!("commerce-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("shop.db");
        std::fs::write(&path, "a store").unwrap();
        assert!(super::bind_unix(&path).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a store");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn listen_address_round_trips() {
        for text in ["127.0.0.1:8080", "[::1]:80", "unix:/run/shop.sock"] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
        assert_eq!("8080".parse::<Listen>().unwrap().to_string(), "127.0.0.1:8080");
        for text in ["", "unix:", "shop.sock", "70000", "localhost:80"] {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
    }
}
