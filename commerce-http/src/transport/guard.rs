//! Keeps a server alive: looks after `tiny_http` many times a second, replaces it when it has died, and ends
//! it in order.

use super::listen::Listener;
use super::lookout::WaiterLimit;
use super::shared::{Shared, TinyServer};
use super::worker::{self, WorkerSlot};
use super::{Settings, Stop, bodies, descriptors, memory, reaper};
use crate::message::Service;
use std::io;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// How often the guard looks. A connection that `tiny_http` forgot waits so long for the next self_connect.
const TICK: Duration = Duration::from_millis(25);
/// Without new connections one self_connect in so many ticks: against those that were miscounted.
const CALM_TICKS: u32 = 50;
/// The most knocks in one tick.
const MAX_SELF_CONNECTS: u64 = 64;
/// How often connections are listed.
const ROUND: Duration = Duration::from_millis(500);
/// A new server is built at most this often.
const BETWEEN_SERVERS: Duration = Duration::from_millis(100);
/// How long clients that do not read are given less time after some had to be cut off.
const OVERLOAD_WINDOW: Duration = Duration::from_secs(1);
/// How long a dead server's connections may still ask.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Threads that `tiny_http` starts: one that accepts, and four for connections. It panics when it gets none.
const SERVER_THREADS: usize = 5;
/// Descriptors that must be free once a server has started: a connection takes three, a read of the store
/// three.
const FREE_DESCRIPTORS: u64 = 24;

/// A thread that waits, and what sends it to work.
type Hired = (Sender<Arc<Shared>>, JoinHandle<()>);

pub(super) struct Supervisor {
    shared: Arc<Shared>,
    door: Listener,
    inode: Option<u64>,
    /// The listening descriptor that `tiny_http`'s accepting thread closes when it ends, for whatever
    /// reason.
    accepting: RawFd,
    threads: Vec<JoinHandle<()>>,
    /// Servers that died, and until when their connections may still ask.
    old: Vec<(Arc<TinyServer>, Instant)>,
    built: Instant,
    /// Descriptors at the last look.
    open: u64,
    /// Knocks that are due.
    pending_self_connects: u64,
    tick: u32,
}

impl Supervisor {
    pub(super) fn start(
        door: Listener,
        settings: Settings,
        service: Arc<dyn Service>,
    ) -> io::Result<Self> {
        memory::require(threads(&settings))?;
        // Own threads first: `tiny_http` panics on a thread of its own when it gets none.
        let hired = spawn_workers(&settings)?;
        let (server, accepting) = build(&door)?;
        descriptors::require(FREE_DESCRIPTORS).inspect_err(|_| door.close())?;
        let shared = Arc::new(Shared::new(settings, service, server, door.port()));
        let begin = |(start, thread): Hired| {
            // A thread that waits for this has not ended.
            let _ = start.send(Arc::clone(&shared));
            thread
        };
        let threads = hired.into_iter().map(begin).collect();
        Ok(Self {
            inode: descriptors::socket_inode(door.number()),
            open: descriptors::count(),
            built: Instant::now(),
            threads,
            old: Vec::new(),
            pending_self_connects: 0,
            tick: 0,
            accepting,
            shared,
            door,
        })
    }

    /// Watches until a stop is asked for.
    pub(super) fn watch(mut self, stop: &Stop) -> io::Result<()> {
        let most = reaper::most_connections(&self.shared);
        let (mut round, mut stuck, mut strained) = (Instant::now(), 0, None::<Instant>);
        while !stop.wait(TICK) && stuck <= self.shared.settings.max_stuck {
            let now = Instant::now();
            reaper::timeout_bodies(&self.shared, now);
            let overloaded =
                strained.is_some_and(|at| now.saturating_duration_since(at) < OVERLOAD_WINDOW);
            if reaper::end_stalled_answers(&self.shared, now, overloaded) {
                strained = Some(now);
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
        Err(io::Error::other("too many connections can be closed only by a new start"))
    }

    /// `tiny_http` leaves connections of a burst without a thread until another one comes. So another one
    /// comes, for each that came. Whether descriptors run out.
    fn self_connect(&mut self) -> bool {
        let open = descriptors::count();
        let came = open.saturating_sub(self.open).div_ceil(2);
        self.open = open;
        self.tick = self.tick.wrapping_add(1);
        let calm = u64::from(self.tick.is_multiple_of(CALM_TICKS));
        self.pending_self_connects = self.pending_self_connects.saturating_add(came).max(calm);
        let knocks = self.pending_self_connects.min(MAX_SELF_CONNECTS);
        self.pending_self_connects = self.pending_self_connects.saturating_sub(knocks);
        for _ in 0..knocks {
            let _ = self.door.self_connect();
        }
        open.saturating_add(open / 8) >= descriptors::limit()
    }

    /// Replaces a server that accepts no more. Its connections are told good-bye, and what they asked is
    /// answered. That comes first: the new server takes all descriptors it can get.
    fn rebuild(&mut self, now: Instant) {
        reaper::shutdown_idle(&self.shared);
        let Ok((server, accepting)) = build(&self.door) else { return };
        (self.accepting, self.built) = (accepting, now);
        let old = {
            let mut current = self.shared.current.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, server)
        };
        let (shared, source) = (Arc::clone(&self.shared), Arc::clone(&old));
        let until = now.checked_add(DRAIN_TIMEOUT).unwrap_or(now);
        let goes_on = move || !shared.is_finished() && Instant::now() < until;
        let shared = Arc::clone(&self.shared);
        let drain = move || {
            // Counted with the others, it would be taken for one that waits at the new server.
            let alone = WaiterLimit::default();
            worker::serve(&shared, &WorkerSlot::default(), &source, &alone, goes_on);
        };
        let _ = Builder::new().spawn(drain);
        self.wake(&old);
        self.old.push((old, until));
    }

    /// Lets go of old servers whose time is over.
    fn drop_expired(&mut self, now: Instant) {
        self.old.retain(|(_, until)| *until > now);
    }

    /// Lets what runs finish, within the grace time, and ends all threads.
    fn shut_down(&mut self) {
        let until = Instant::now().checked_add(self.shared.settings.grace);
        let in_time = || until.is_some_and(|until| Instant::now() < until);
        self.shared.shutting_down.store(true, Ordering::Release);
        self.door.close();
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

    /// Wakes every worker that waits for that server; each call wakes one thread.
    fn wake(&self, server: &tiny_http::Server) {
        for _ in 0..self.shared.settings.workers {
            server.unblock();
        }
    }
}

/// How many threads a server has.
fn threads(settings: &Settings) -> usize {
    settings.workers.saturating_add(settings.max_slow_bodies).saturating_add(SERVER_THREADS)
}

/// Starts the threads that answer and those that read bodies. Each works once it is sent what they share,
/// and ends when that never comes.
fn spawn_workers(settings: &Settings) -> io::Result<Vec<Hired>> {
    let workers = settings.workers;
    let spawn_workers = |number: usize| {
        let (start, started) = channel::<Arc<Shared>>();
        let work = move || {
            let Ok(shared) = started.recv() else { return };
            let post = &shared.posts[number];
            if number < workers { worker::work(&shared, post) } else { bodies::read(&shared, post) }
        };
        let name = if number < workers { "answer" } else { "body" };
        let thread = Builder::new().name(format!("{name}-{number}")).spawn(work);
        Ok((start, thread.map_err(|error| no_thread(&error))?))
    };
    (0..workers.saturating_add(settings.max_slow_bodies)).map(spawn_workers).collect()
}

fn build(door: &Listener) -> io::Result<(Arc<TinyServer>, RawFd)> {
    let (listener, number) = door.copy()?;
    // One more: a thread that has just ended may still count for a moment.
    try_threads(SERVER_THREADS.saturating_add(1))?;
    let build = || tiny_http::Server::from_listener(listener, None).map_err(io::Error::other);
    let server = catch_unwind(AssertUnwindSafe(build))
        .unwrap_or_else(|_| Err(io::Error::other("the HTTP server could not start a thread")))?;
    Ok((Arc::new(TinyServer::new(server)), number))
}

/// Whether so many threads can be started at a time.
fn try_threads(threads: usize) -> io::Result<()> {
    let gate = Mutex::new(());
    let shut = gate.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        let wait = || drop(gate.lock());
        let start = |_| Builder::new().spawn_scoped(scope, wait).map(drop);
        let tried = (0..threads).try_for_each(start);
        drop(shut);
        tried.map_err(|error| no_thread(&error))
    })
}

fn no_thread(error: &io::Error) -> io::Error {
    io::Error::other(format!(
        "the system starts no further thread ({error}): raise the limit on processes (ulimit -u) or on \
         memory (ulimit -v), or stop other programs"
    ))
}
