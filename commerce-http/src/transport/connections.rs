//! The state of the hyper server, and its connections: which of them give way to others.

use super::{Settings, head, limits};
use crate::message::{Connections, Request, Response, Service, TransportError};
use commerce_core::sync::Mutex;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_blocking};

/// The time for a client to close a connection after its last response.
pub(super) const CLOSE: Duration = Duration::from_secs(1);

/// The state of the server.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) service: Arc<dyn Service>,
    /// One permit for each worker, and for each request that may wait for one.
    permits: Arc<Semaphore>,
    pub(super) is_stopping: AtomicBool,
    max_open: usize,
    /// The open connections by number.
    open: Mutex<BTreeMap<u64, Entry>>,
    next: AtomicU64,
}

/// An open connection, as the others see it.
struct Entry {
    phase: Phase,
    since: Instant,
    /// False before the first complete request.
    is_known: bool,
    task: JoinHandle<()>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waits for a request, or for its end.
    Idle,
    /// Waits for the client in the middle of a request or a response.
    Transfer,
    /// The service works on a request.
    Work,
}

/// An open connection, as its own task sees it.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) peer: Option<IpAddr>,
    /// A head on its way from the gate to the service of hyper.
    pub(super) head: Mutex<Option<Head>>,
    number: u64,
}

/// A head that the gate has read.
pub(super) struct Head {
    pub(super) request: Arc<Request>,
    pub(super) is_1_1: bool,
    /// The reason to reject the request, if there is one.
    pub(super) verdict: Result<(), TransportError>,
}

impl Shared {
    pub(super) fn new(settings: Settings, service: Arc<dyn Service>) -> Self {
        let waiting = settings.workers.saturating_add(settings.max_queue);
        Self {
            service,
            permits: Arc::new(Semaphore::new(waiting.min(Semaphore::MAX_PERMITS))),
            is_stopping: AtomicBool::new(false),
            max_open: limits::max_connections(settings.max_connections),
            open: Mutex::default(),
            next: AtomicU64::new(0),
            settings,
        }
    }

    /// Adds a connection, and starts a task that serves it.
    pub(super) fn add<F: Future<Output = ()> + Send + 'static>(
        self: &Arc<Self>,
        peer: Option<IpAddr>,
        serve: impl FnOnce(Arc<Connection>) -> F,
    ) {
        let (shared, number) = (Arc::clone(self), self.next.fetch_add(1, Ordering::Relaxed));
        let connection = Arc::new(Connection { shared, peer, head: Mutex::default(), number });
        let served = serve(Arc::clone(&connection));
        let (phase, since, is_known) = (Phase::Idle, Instant::now(), false);
        // The lock is held, so that a task that ends at once finds its entry.
        let mut open = self.open.lock();
        let task = tokio::spawn(async move {
            served.await;
            // An aborted task has been removed before.
            connection.shared.open.lock().remove(&number);
        });
        open.insert(number, Entry { phase, since, is_known, task });
    }

    /// Returns true if there is a place for a connection, or one was made free.
    pub(super) fn has_place(&self) -> bool {
        let open = self.open.lock().len();
        open < self.max_open || self.evict()
    }

    /// Closes the connection that can be missed most: one without any request so far, else the one that waits longest.
    /// Returns false if the service works for all of them.
    pub(super) fn evict(&self) -> bool {
        self.report(Connections { beyond_limit: 1, ..Connections::default() });
        let evicted = {
            let mut open = self.open.lock();
            let waiting = open.iter().filter(|(_, entry)| entry.phase != Phase::Work);
            let least = waiting.min_by_key(|(_, entry)| (entry.is_known, entry.since));
            let least = least.map(|(number, _)| *number);
            least.and_then(|least| open.remove(&least))
        };
        let Some(Entry { task, .. }) = evicted else { return false };
        // Logged and counted. The client would take a response for the one to its next request.
        let _ = self.reject(TransportError::Overloaded, &Request::default());
        task.abort();
        true
    }

    /// Closes the connections that have waited too long for their clients, and once the server stops all that wait for
    /// a request. A late head, body or write has a deadline of its own. Returns the number of open connections.
    pub(super) fn sweep(&self) -> usize {
        let is_stopping = self.is_stopping.load(Ordering::Acquire);
        let mut unread = 0_usize;
        self.open.lock().retain(|_, entry| {
            let time = entry.since.elapsed();
            let is_late = entry.is_known && time >= self.settings.idle_deadline;
            let is_idle = entry.phase == Phase::Idle && (is_stopping || is_late);
            let is_unread =
                entry.phase == Phase::Transfer && time >= self.settings.response_deadline;
            unread = unread.saturating_add(usize::from(is_unread));
            if is_idle || is_unread {
                entry.task.abort();
            }
            // A task that has panicked is still there.
            !is_idle && !is_unread && !entry.task.is_finished()
        });
        self.report(Connections { unread, ..Connections::default() })
    }

    pub(super) fn reject(&self, reason: TransportError, request: &Request) -> Response {
        if reason == TransportError::TooSlow {
            self.report(Connections { too_slow: 1, ..Connections::default() });
        }
        head::reject(&*self.service, reason, request)
    }

    /// Starts work that blocks its thread, unless too much of it waits for a thread.
    pub(super) fn block<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<JoinHandle<T>> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        Some(spawn_blocking(move || {
            let _permit = permit;
            work()
        }))
    }

    /// Reports what has happened, and the number of open connections, which it returns.
    pub(super) fn report(&self, happened: Connections) -> usize {
        let open = self.open.lock().len();
        self.service.observe(Connections { open, ..happened });
        open
    }
}

impl Connection {
    /// Enters a phase. Returns false if the connection is being closed.
    pub(super) fn enter(&self, phase: Phase) -> bool {
        let mut open = self.shared.open.lock();
        let Some(entry) = open.get_mut(&self.number) else { return false };
        if entry.phase != phase {
            (entry.phase, entry.since) = (phase, Instant::now());
        }
        entry.is_known |= phase == Phase::Work;
        true
    }
}
