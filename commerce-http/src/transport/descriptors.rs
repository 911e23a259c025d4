//! The open file descriptors of this process, and copies of descriptors that `tiny_http` owns.
//!
//! `tiny_http` does not expose its connections. Their numbers are listed in `/proc/self/fd`, and on Linux `pidfd_getfd`
//! safely copies a descriptor by its number, also of the own process.

use rustix::fs::Dir;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::net::TcpStream;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};

/// The limit on descriptors that is requested.
const REQUESTED_LIMIT: u64 = 65_536;
/// The limit that is assumed if the actual one is unknown.
const DEFAULT_LIMIT: u64 = 1024;
const DESCRIPTORS: &str = "/proc/self/fd";

/// Copies descriptors by number.
#[derive(Debug)]
pub(super) struct Duplicator(OwnedFd);

impl Duplicator {
    /// `None` if the system has no `pidfd_open`.
    pub(super) fn new() -> Option<Self> {
        system::this_process().ok().map(Self)
    }

    /// Returns true if copying is allowed; some containers forbid it.
    pub(super) fn works(&self) -> bool {
        use std::os::fd::AsRawFd;
        system::copy(&self.0, self.0.as_raw_fd()).is_ok()
    }

    /// Copies the socket with that number and inode, if the number still belongs to it.
    pub(super) fn socket(&self, number: RawFd, inode: u64) -> io::Result<TcpStream> {
        let file = File::from(system::copy(&self.0, number)?);
        let meta = file.metadata()?;
        if !meta.file_type().is_socket() {
            // The number belongs to a file now. Closing a copy of a file would release the locks of this process
            // on it, including those of a database, so the copy stays open.
            std::mem::forget(file);
            return Err(io::ErrorKind::NotFound.into());
        }
        if meta.ino() != inode {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(TcpStream::from(OwnedFd::from(file)))
    }
}

/// The inode of the descriptor with that number, if it is a socket.
pub(super) fn socket_inode(number: RawFd) -> Option<u64> {
    let link = std::fs::read_link(format!("{DESCRIPTORS}/{number}")).ok()?;
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Lists the descriptors of this process. The directory stays open, so that listing works when descriptors are
/// exhausted.
#[derive(Debug)]
pub(super) struct Listing(Dir);

impl Listing {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(Dir::new(File::open(DESCRIPTORS)?)?))
    }

    /// The numbers of all open descriptors.
    pub(super) fn numbers(&mut self) -> Vec<RawFd> {
        self.0.rewind();
        let entries = std::iter::from_fn(|| self.0.read());
        entries.filter_map(|entry| entry.ok()?.file_name().to_str().ok()?.parse().ok()).collect()
    }
}

/// The number of open descriptors. Newer kernels report it without a listing; if listing fails, descriptors are
/// exhausted.
pub(super) fn count() -> u64 {
    match std::fs::metadata(DESCRIPTORS).map_or(0, |meta| meta.len()) {
        0 => Listing::new().map_or_else(
            |_| limit(),
            |mut all| u64::try_from(all.numbers().len()).unwrap_or(u64::MAX),
        ),
        known => known,
    }
}

/// Returns true if the error means that descriptors are exhausted.
pub(super) fn are_exhausted(error: &io::Error) -> bool {
    let number = error.raw_os_error();
    [Errno::MFILE, Errno::NFILE].iter().any(|exhausted| Some(exhausted.raw_os_error()) == number)
}

/// The limit on open descriptors.
pub(super) fn limit() -> u64 {
    system::limit().unwrap_or(DEFAULT_LIMIT)
}

/// Fails unless this number of further descriptors may be opened.
pub(super) fn require(free: u64) -> io::Result<()> {
    let (open, limit) = (count(), limit());
    let needed = open.saturating_add(free);
    if needed <= limit {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "too few descriptors: {limit} may be open and {needed} are needed: raise the limit (ulimit -n)"
    )))
}

/// Raises the limit to [`REQUESTED_LIMIT`], or to the maximum below it. The server starts even if this fails.
pub(super) fn raise_limit() {
    system::raise_limit(REQUESTED_LIMIT);
}

#[cfg(target_os = "linux")]
mod system {
    use rustix::process::{
        PidfdFlags, PidfdGetfdFlags, Resource, Rlimit, getpid, getrlimit, pidfd_getfd, pidfd_open,
        setrlimit,
    };
    use std::io;
    use std::os::fd::{OwnedFd, RawFd};

    pub(super) fn this_process() -> io::Result<OwnedFd> {
        Ok(pidfd_open(getpid(), PidfdFlags::empty())?)
    }

    pub(super) fn copy(process: &OwnedFd, number: RawFd) -> io::Result<OwnedFd> {
        Ok(pidfd_getfd(process, number, PidfdGetfdFlags::empty())?)
    }

    pub(super) fn limit() -> Option<u64> {
        getrlimit(Resource::Nofile).current
    }

    pub(super) fn raise_limit(enough: u64) {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let goal = maximum.map_or(enough, |maximum| maximum.min(enough));
        if current.is_some_and(|current| current < goal) {
            let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(goal), maximum });
        }
    }
}

/// On other systems connections of `tiny_http` cannot be shut: use a proxy in front.
#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;
    use std::os::fd::{OwnedFd, RawFd};

    pub(super) fn this_process() -> io::Result<OwnedFd> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn copy(_: &OwnedFd, _: RawFd) -> io::Result<OwnedFd> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn limit() -> Option<u64> {
        None
    }

    pub(super) fn raise_limit(_: u64) {}
}
