//! The state of the hyper server, and its connections: which of them give way to others.

use super::{Settings, head, limits};
use crate::message::{Connections, Request, Response, Service, TransportError};
use commerce_core::sync::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The time for a client to close a connection after its last response, and for the task of an evicted one to end.
pub(super) const CLOSE: Duration = Duration::from_secs(1);

/// The state of the server.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) service: Arc<dyn Service>,
    /// One permit for each worker, and for each request that may wait for one.
    pub(super) work: Arc<Semaphore>,
    pub(super) is_stopping: AtomicBool,
    open: Mutex<Open>,
    max_open: usize,
    /// The statistics since the last report.
    counts: Mutex<Connections>,
}

/// The open connections by number, each with its task.
#[derive(Default)]
struct Open {
    last: u64,
    tasks: HashMap<u64, (Arc<Connection>, JoinHandle<()>)>,
}

/// The state of one connection, which its gate and the service of hyper share.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) number: u64,
    pub(super) peer: Option<IpAddr>,
    /// A request without its body, on its way from the gate to the service of hyper.
    pub(super) head: Mutex<Option<Request>>,
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    since: Instant,
    /// The instant since which the client has read nothing of a response.
    blocked_since: Option<Instant>,
    /// False before the first complete request.
    is_known: bool,
    is_closed: bool,
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

impl Shared {
    pub(super) fn new(settings: Settings, service: Arc<dyn Service>) -> Self {
        let waiting = settings.workers.saturating_add(settings.max_queue);
        Self {
            service,
            work: Arc::new(Semaphore::new(waiting.min(Semaphore::MAX_PERMITS))),
            is_stopping: AtomicBool::new(false),
            open: Mutex::default(),
            max_open: limits::max_connections(settings.max_connections),
            counts: Mutex::default(),
            settings,
        }
    }

    /// Adds a connection; the function starts its task, which calls [`Shared::remove`] at its end.
    pub(super) fn add(
        self: &Arc<Self>,
        peer: Option<IpAddr>,
        start: impl FnOnce(Arc<Connection>) -> JoinHandle<()>,
    ) {
        let (phase, since, blocked_since) = (Phase::Idle, Instant::now(), None);
        let state = State { phase, since, blocked_since, is_known: false, is_closed: false };
        let state = Mutex::new(state);
        // The lock is held, so that a task that ends at once finds its entry.
        let mut open = self.open.lock();
        open.last = open.last.wrapping_add(1);
        let (shared, number, head) = (Arc::clone(self), open.last, Mutex::default());
        let connection = Arc::new(Connection { shared, number, peer, head, state });
        let task = start(Arc::clone(&connection));
        open.tasks.insert(number, (connection, task));
    }

    pub(super) fn remove(&self, number: u64) {
        self.open.lock().tasks.remove(&number);
    }

    /// The number of open connections.
    pub(super) fn count_open(&self) -> usize {
        self.open.lock().tasks.len()
    }

    /// Returns true if there is a place for a connection, or one was made free.
    pub(super) async fn has_place(&self) -> bool {
        self.count_open() < self.max_open || self.evict().await
    }

    /// Closes the connection that can be missed most: one without any request so far, else the one that waits longest.
    /// Returns false if the service works for all of them.
    pub(super) async fn evict(&self) -> bool {
        self.count(|counts| &mut counts.beyond_limit);
        let is_waiting = |state: &State| !state.is_closed && state.phase != Phase::Work;
        let evicted = {
            let mut open = self.open.lock();
            let ranked = open.tasks.values().filter_map(|(connection, _)| {
                let state = connection.state.lock();
                is_waiting(&state).then_some((state.is_known, state.since, connection.number))
            });
            let least = ranked.min().map(|(.., number)| number);
            let is_closed = |least: &u64| {
                open.tasks.get(least).is_some_and(|(least, _)| least.close(is_waiting))
            };
            let least = least.filter(is_closed);
            least.and_then(|least| open.tasks.remove(&least))
        };
        let Some((_, task)) = evicted else { return false };
        // Logged and counted. The client would take a response for the one to its next request.
        let _ = self.reject(TransportError::Overloaded, &Request::default());
        task.abort();
        let _ = timeout(CLOSE, task).await;
        true
    }

    /// Closes the connections that have waited too long for their clients, and once the server stops all that wait for
    /// a request. A late head or body has a deadline of its own, since it is answered.
    pub(super) fn sweep(&self) {
        let (settings, now) = (&self.settings, Instant::now());
        let is_stopping = self.is_stopping.load(Ordering::Acquire);
        let is_late = |since, time| now.saturating_duration_since(since) >= time;
        let is_unread = |state: &State| {
            state.phase == Phase::Transfer
                && (is_late(state.since, settings.response_deadline)
                    || state.blocked_since.is_some_and(|at| is_late(at, settings.write_deadline)))
        };
        let is_idle = |state: &State| {
            let is_over = state.is_known && is_late(state.since, settings.idle_deadline);
            state.phase == Phase::Idle && (is_stopping || is_over)
        };
        for (connection, task) in self.open.lock().tasks.values() {
            if connection.close(is_unread) {
                self.count(|counts| &mut counts.unread);
                task.abort();
            } else if connection.close(is_idle) {
                task.abort();
            }
        }
    }

    pub(super) fn reject(&self, reason: TransportError, request: &Request) -> Response {
        if reason == TransportError::TooSlow {
            self.count(|counts| &mut counts.too_slow);
        }
        head::reject(&*self.service, reason, request)
    }

    /// Adds one to a count of the next report.
    pub(super) fn count(&self, count: impl FnOnce(&mut Connections) -> &mut usize) {
        let mut counts = self.counts.lock();
        let count = count(&mut counts);
        *count = count.saturating_add(1);
    }

    pub(super) fn report(&self) {
        let counts = std::mem::take(&mut *self.counts.lock());
        self.service.observe(Connections { open: self.count_open(), ..counts });
    }
}

impl Connection {
    /// Enters a phase. Returns false if the connection is being closed.
    pub(super) fn enter(&self, phase: Phase) -> bool {
        let mut state = self.state.lock();
        if state.phase != phase {
            (state.phase, state.since) = (phase, Instant::now());
        }
        state.is_known |= phase == Phase::Work;
        !state.is_closed
    }

    /// Notes that a write begins or ends to wait for the client.
    pub(super) fn block(&self, is_blocked: bool) {
        self.state.lock().blocked_since = is_blocked.then(Instant::now);
    }

    /// Closes the connection if it is open and in such a state. A request that begins at the same time is not served.
    fn close(&self, is_such: impl Fn(&State) -> bool) -> bool {
        let mut state = self.state.lock();
        let closes = !state.is_closed && is_such(&state);
        state.is_closed |= closes;
        closes
    }
}
