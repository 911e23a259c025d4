//! What this process has open, and copies of descriptors that others own.
//!
//! `tiny_http` keeps its connections to itself. Their numbers wait_for_request in `/proc/self/fd`, and Linux gives a
//! copy of a descriptor by its number, safely, through `pidfd_getfd`, of one's own process as well.

use rustix::fs::Dir;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::net::TcpStream;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};

/// The most descriptors that are asked for.
const ENOUGH: u64 = 65_536;
/// What is assumed where no limit is known.
const USUAL: u64 = 1024;
const OWN: &str = "/proc/self/fd";

/// Makes copies of descriptors by their numbers.
#[derive(Debug)]
pub(super) struct Duplicator(OwnedFd);

impl Duplicator {
    /// None where the system does not have it.
    pub(super) fn new() -> Option<Self> {
        system::this_process().ok().map(Self)
    }

    /// Whether it is allowed: some containers forbid it.
    pub(super) fn works(&self) -> bool {
        use std::os::fd::AsRawFd;
        system::copy(&self.0, self.0.as_raw_fd()).is_ok()
    }

    /// A copy of the socket with that number and inode, if it is still that one.
    pub(super) fn socket(&self, number: RawFd, inode: u64) -> io::Result<TcpStream> {
        let file = File::from(system::copy(&self.0, number)?);
        let meta = file.metadata()?;
        if !meta.file_type().is_socket() {
            // The number has passed to a file since. Closing a copy of a file would drop the locks that
            // this process holds on it, a database's too: better to keep the copy open for good.
            std::mem::forget(file);
            return Err(io::ErrorKind::NotFound.into());
        }
        if meta.ino() != inode {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(TcpStream::from(OwnedFd::from(file)))
    }
}

/// The inode of the socket with that number, when it is a socket.
pub(super) fn socket_inode(number: RawFd) -> Option<u64> {
    let link = std::fs::read_link(format!("{OWN}/{number}")).ok()?;
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Lists the descriptors of this process. The directory they wait_for_request in is kept open, so that this works
/// when they are used up.
#[derive(Debug)]
pub(super) struct Listing(Dir);

impl Listing {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(Dir::new(File::open(OWN)?)?))
    }

    /// Numbers of all open descriptors.
    pub(super) fn numbers(&mut self) -> Vec<RawFd> {
        self.0.rewind();
        let entries = std::iter::from_fn(|| self.0.read());
        entries.filter_map(|entry| entry.ok()?.file_name().to_str().ok()?.parse().ok()).collect()
    }
}

/// How many descriptors are open. Newer kernels say so without listing them; where they cannot be listed
/// they are used up.
pub(super) fn count() -> u64 {
    match std::fs::metadata(OWN).map_or(0, |meta| meta.len()) {
        0 => Listing::new().map_or_else(
            |_| limit(),
            |mut all| u64::try_from(all.numbers().len()).unwrap_or(u64::MAX),
        ),
        known => known,
    }
}

/// Whether that is why something failed.
pub(super) fn are_used_up(error: &io::Error) -> bool {
    let number = error.raw_os_error();
    [Errno::MFILE, Errno::NFILE].iter().any(|used_up| Some(used_up.raw_os_error()) == number)
}

/// How many descriptors may be open.
pub(super) fn limit() -> u64 {
    system::limit().unwrap_or(USUAL)
}

/// Fails unless so many more descriptors may be opened.
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

/// Raises that limit as far as it may be, to [`ENOUGH`]. Failing is no reason not to start.
pub(super) fn raise_limit() {
    system::raise_limit(ENOUGH);
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

/// Elsewhere connections cannot be shut from inside: a proxy has to wait_for_request in front.
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
