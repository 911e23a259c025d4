//! The supervisor of `tiny_http`: enforces deadlines and limits, replaces a server that died, and shuts down
//! gracefully.

use super::listen::Listener;
use super::shared::{Shared, TinyServer};
use super::waiter_limit::WaiterLimit;
use super::worker_slot::WorkerSlot;
use super::{Settings, body_reader, descriptors, memory, reaper, worker};
use crate::message::Service;
use commerce_core::CancellationToken;
use commerce_core::sync::Mutex;
use std::io;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// The interval of the supervisor, and so of the self-connects that release a stuck connection of `tiny_http`.
const TICK: Duration = Duration::from_millis(25);
/// Without new connections, one self-connect per this number of ticks, in case connections were miscounted.
const CALM_TICKS: u32 = 50;
/// The maximum number of self-connects per tick.
const MAX_SELF_CONNECTS: u64 = 64;
/// The interval of listing connections.
const ROUND: Duration = Duration::from_millis(500);
/// The minimum interval between replacements of a dead server.
const BETWEEN_SERVERS: Duration = Duration::from_millis(100);
/// The time for which stalled clients get a shorter timeout after some were disconnected.
const OVERLOAD_WINDOW: Duration = Duration::from_secs(1);
/// The time for which the connections of a dead server are still served.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// The threads of `tiny_http`: one that accepts, and four for connections. It panics if it cannot start them.
const SERVER_THREADS: usize = 5;
/// Descriptors that must be free after the start: a connection takes three, a read of the store three.
const FREE_DESCRIPTORS: u64 = 24;

/// A waiting thread and the channel that starts it.
type WaitingThread = (Sender<Arc<Shared>>, JoinHandle<()>);

pub(super) struct Supervisor {
    shared: Arc<Shared>,
    listener: Listener,
    inode: Option<u64>,
    /// The listening descriptor of `tiny_http`. Its accepting thread closes it when it ends, for any reason.
    accepting: RawFd,
    threads: Vec<JoinHandle<()>>,
    /// Dead servers, and the time until which their connections are served.
    old: Vec<(Arc<TinyServer>, Instant)>,
    built: Instant,
    /// Open descriptors at the last tick.
    open: u64,
    /// Self-connects that are due.
    pending_self_connects: u64,
    tick: u32,
}

impl Supervisor {
    pub(super) fn start(
        listener: Listener,
        settings: Settings,
        service: Arc<dyn Service>,
    ) -> io::Result<Self> {
        memory::require(threads(&settings))?;
        // Our threads start first, because `tiny_http` panics if it cannot start its own.
        let waiting = spawn_workers(&settings)?;
        let (server, accepting) = build(&listener)?;
        descriptors::require(FREE_DESCRIPTORS).inspect_err(|_| listener.close())?;
        let shared = Arc::new(Shared::new(settings, service, server, listener.port()));
        let begin = |(start, thread): WaitingThread| {
            // Sending cannot fail: the thread waits for this.
            let _ = start.send(Arc::clone(&shared));
            thread
        };
        let threads = waiting.into_iter().map(begin).collect();
        Ok(Self {
            inode: descriptors::socket_inode(listener.number()),
            open: descriptors::count(),
            built: Instant::now(),
            threads,
            old: Vec::new(),
            pending_self_connects: 0,
            tick: 0,
            accepting,
            shared,
            listener,
        })
    }

    /// Supervises until the token is cancelled.
    pub(super) fn watch(mut self, stop: &CancellationToken) -> io::Result<()> {
        let most = reaper::max_connections(&self.shared);
        let (mut round, mut stuck, mut overloaded_at) = (Instant::now(), 0, None::<Instant>);
        while !stop.wait_timeout(TICK) && stuck <= self.shared.settings.max_stuck {
            let now = Instant::now();
            reaper::timeout_bodies(&self.shared, now);
            let overloaded =
                overloaded_at.is_some_and(|at| now.saturating_duration_since(at) < OVERLOAD_WINDOW);
            if reaper::end_stalled_responses(&self.shared, now, overloaded) {
                overloaded_at = Some(now);
            }
            let crowded = self.self_connect();
            let dead =
                self.inode.is_some() && descriptors::socket_inode(self.accepting) != self.inode;
            if crowded || dead || now.saturating_duration_since(round) >= ROUND {
                (round, stuck) = (now, reaper::reap(&self.shared, now, most));
                self.shared.refresh_date();
            }
            if dead && now.saturating_duration_since(self.built) >= BETWEEN_SERVERS {
                self.rebuild(now);
            }
            self.drop_expired(now);
        }
        self.shut_down();
        if stuck <= self.shared.settings.max_stuck {
            return Ok(());
        }
        Err(io::Error::other("too many connections can be closed only by a restart"))
    }

    /// Connects to the listener once for each new connection, because `tiny_http` leaves connections of a burst
    /// without a thread until another connection arrives. Returns true if descriptors run out.
    fn self_connect(&mut self) -> bool {
        let open = descriptors::count();
        let new = open.saturating_sub(self.open).div_ceil(2);
        self.open = open;
        self.tick = self.tick.wrapping_add(1);
        let calm = u64::from(self.tick.is_multiple_of(CALM_TICKS));
        self.pending_self_connects = self.pending_self_connects.saturating_add(new).max(calm);
        let count = self.pending_self_connects.min(MAX_SELF_CONNECTS);
        self.pending_self_connects = self.pending_self_connects.saturating_sub(count);
        for _ in 0..count {
            let _ = self.listener.self_connect();
        }
        open.saturating_add(open / 8) >= descriptors::limit()
    }

    /// Replaces a server that no longer accepts. Its idle connections are shut first, because the new server takes
    /// all descriptors it can get; pending requests are still answered.
    fn rebuild(&mut self, now: Instant) {
        reaper::shutdown_idle(&self.shared);
        let Ok((server, accepting)) = build(&self.listener) else { return };
        (self.accepting, self.built) = (accepting, now);
        let old = {
            let mut current = self.shared.current.write();
            std::mem::replace(&mut *current, server)
        };
        let (shared, source) = (Arc::clone(&self.shared), Arc::clone(&old));
        let until = now.checked_add(DRAIN_TIMEOUT).unwrap_or(now);
        let keep_running = move || !shared.is_finished() && Instant::now() < until;
        let shared = Arc::clone(&self.shared);
        let drain = move || {
            // A limit of its own, because this thread does not wait at the new server.
            let waiters = WaiterLimit::default();
            worker::serve(&shared, &WorkerSlot::default(), &source, &waiters, keep_running);
        };
        let _ = Builder::new().spawn(drain);
        self.wake(&old);
        self.old.push((old, until));
    }

    /// Drops dead servers after their drain timeout.
    fn drop_expired(&mut self, now: Instant) {
        self.old.retain(|(_, until)| *until > now);
    }

    /// Graceful shutdown: lets requests in flight finish within the grace period, then ends all threads.
    fn shut_down(&mut self) {
        let until = Instant::now().checked_add(self.shared.settings.grace);
        let in_time = || until.is_some_and(|until| Instant::now() < until);
        self.shared.shutting_down.store(true, Ordering::Release);
        self.listener.close();
        reaper::shutdown_idle(&self.shared);
        while self.shared.peers.in_flight() > 0 && in_time() {
            reaper::timeout_bodies(&self.shared, Instant::now());
            std::thread::sleep(TICK);
        }
        self.finish();
        while self.threads.iter().any(|thread| !thread.is_finished()) && in_time() {
            std::thread::sleep(TICK);
        }
        reaper::shutdown_all(&self.shared);
        for thread in self.threads.drain(..).filter(JoinHandle::is_finished) {
            let _ = thread.join();
        }
    }

    fn finish(&self) {
        self.shared.finished.store(true, Ordering::Release);
        self.shared.bodies.finish();
        self.wake(&self.shared.server());
    }

    /// Wakes all workers that wait for that server; `unblock` wakes one thread per call.
    fn wake(&self, server: &tiny_http::Server) {
        for _ in 0..self.shared.settings.workers {
            server.unblock();
        }
    }
}

/// The number of threads of a server.
fn threads(settings: &Settings) -> usize {
    settings.workers.saturating_add(settings.max_slow_bodies).saturating_add(SERVER_THREADS)
}

/// Starts the workers and the body readers. Each waits for the shared state, and ends if it never arrives.
fn spawn_workers(settings: &Settings) -> io::Result<Vec<WaitingThread>> {
    let workers = settings.workers;
    let spawn_workers = |number: usize| {
        let (start, started) = channel::<Arc<Shared>>();
        let work = move || {
            let Ok(shared) = started.recv() else { return };
            let slot = &shared.slots[number];
            if number < workers {
                worker::work(&shared, slot);
            } else {
                body_reader::read(&shared, slot);
            }
        };
        let name = if number < workers { "answer" } else { "body" };
        let thread = Builder::new().name(format!("{name}-{number}")).spawn(work);
        Ok((start, thread.map_err(|error| no_thread(&error))?))
    };
    (0..workers.saturating_add(settings.max_slow_bodies)).map(spawn_workers).collect()
}

fn build(listener: &Listener) -> io::Result<(Arc<TinyServer>, RawFd)> {
    let (copy, number) = listener.copy()?;
    // One more, because a thread that has just ended may still count.
    try_threads(SERVER_THREADS.saturating_add(1))?;
    let build = || tiny_http::Server::from_listener(copy, None).map_err(io::Error::other);
    let server = catch_unwind(AssertUnwindSafe(build))
        .unwrap_or_else(|_| Err(io::Error::other("the HTTP server could not start a thread")))?;
    Ok((Arc::new(TinyServer::new(server)), number))
}

/// Fails if this number of threads cannot run at the same time.
fn try_threads(threads: usize) -> io::Result<()> {
    let barrier = Mutex::new(());
    let held = barrier.lock();
    std::thread::scope(|scope| {
        let wait = || drop(barrier.lock());
        let start = |_| Builder::new().spawn_scoped(scope, wait).map(drop);
        let tried = (0..threads).try_for_each(start);
        drop(held);
        tried.map_err(|error| no_thread(&error))
    })
}

fn no_thread(error: &io::Error) -> io::Error {
    io::Error::other(format!(
        "the system cannot start another thread ({error}): raise the limit on processes (ulimit -u) or on \
         memory (ulimit -v), or stop other programs"
    ))
}
