//! Takes requests from `tiny_http` and has them answered, many at a time.

use super::bodies::Job;
use super::head::{self, Head};
use super::peers::{Entry, Pass};
use super::shared::{self, Shared};
use crate::Unreadable;
use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Whom a worker is answering, and since when: the guard looks for those that do not read.
#[derive(Debug, Default)]
pub(super) struct Post(Mutex<Option<(SocketAddr, Instant)>>);

impl Post {
    fn set(&self, peer: Option<SocketAddr>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            peer.map(|peer| (peer, Instant::now()));
    }

    pub(super) fn get(&self) -> Option<(SocketAddr, Instant)> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Works until the server has finished.
pub(super) fn work(shared: &Shared, post: &Post) {
    while !shared.finished.load(Ordering::Acquire) {
        serve(shared, post, &shared.line());
    }
}

/// A server, and what came of it that no worker has taken yet.
pub(super) struct Line {
    pub(super) server: tiny_http::Server,
    hall: Mutex<Hall>,
    came: Condvar,
}

/// Where requests wait for workers, and workers for requests. One worker at a time stands at the door.
#[derive(Default)]
struct Hall {
    waiting: VecDeque<Taken>,
    door_is_kept: bool,
}

impl Line {
    pub(super) fn of(server: tiny_http::Server) -> Self {
        Self { server, hall: Mutex::default(), came: Condvar::new() }
    }

    fn hall(&self) -> MutexGuard<'_, Hall> {
        self.hall.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves what comes to that server, until this thread is woken or the server has failed.
pub(super) fn serve(shared: &Shared, post: &Post, line: &Line) {
    while let Ok(Taken { raw, entry, verdict }) = take(shared, line) {
        // `tiny_http` panics in some places; a worker outlives it.
        let _ = catch_unwind(AssertUnwindSafe(|| handle(shared, post, raw, entry, verdict)));
        post.set(None);
    }
}

/// A request whose head has been judged.
struct Taken {
    raw: tiny_http::Request,
    entry: Entry,
    verdict: Result<Head, Unreadable>,
}

/// Takes the next request. Whoever finds none goes to the door, or waits while another is there.
fn take(shared: &Shared, line: &Line) -> io::Result<Taken> {
    let mut hall = line.hall();
    loop {
        if let Some(taken) = hall.waiting.pop_front() {
            return Ok(taken);
        }
        if !hall.door_is_kept {
            break;
        }
        hall = line.came.wait(hall).unwrap_or_else(PoisonError::into_inner);
    }
    hall.door_is_kept = true;
    drop(hall);
    let door = Door(line);
    keep_door(shared, &door)
}

/// The right to stand at the door; given back when dropped.
struct Door<'a>(&'a Line);

impl Drop for Door<'_> {
    fn drop(&mut self) {
        self.0.hall().door_is_kept = false;
        self.0.came.notify_one();
    }
}

/// Waits for requests, takes the first and lets the others that have come into the hall. Heads are judged
/// here, one after another, in the order in which they came: nothing that follows a bad one on its
/// connection is let in by another worker.
fn keep_door(shared: &Shared, door: &Door<'_>) -> io::Result<Taken> {
    let line = door.0;
    let first = line.server.recv().map(|raw| judge(shared, raw));
    let mut more = VecDeque::new();
    // To hand over the door for each of them would have every one wait for another thread to wake up.
    while first.is_ok()
        && more.len() < shared.posts.len()
        && let Ok(Some(raw)) = line.server.try_recv()
    {
        more.push_back(judge(shared, raw));
    }
    let wanted = more.len();
    line.hall().waiting.append(&mut more);
    (0..wanted).for_each(|_| line.came.notify_one());
    first
}

fn judge(shared: &Shared, raw: tiny_http::Request) -> Taken {
    let entry = shared.peers.enter(raw.remote_addr().copied());
    let verdict = head::read(&raw, &shared.settings);
    if let (Err(_), Some(peer)) = (&verdict, raw.remote_addr()) {
        shared.peers.close(*peer);
    }
    Taken { raw, entry, verdict }
}

fn handle(
    shared: &Shared,
    post: &Post,
    raw: tiny_http::Request,
    entry: Entry,
    verdict: Result<Head, Unreadable>,
) {
    let pass = match entry {
        Entry::Welcome(peer) => shared.peers.resume(peer),
        Entry::TooMany => {
            shared.hang_up(raw.remote_addr().copied(), Shutdown::Both);
            return shared::discard(raw);
        }
        Entry::Closing => return shared::discard(raw),
    };
    match verdict {
        Err(why) => shared.refuse(raw, &pass, why),
        Ok(head) if head::unread(&raw) => {
            let peer = pass.hand_over();
            if let Err(job) = shared.bodies.give(Job { raw, head, peer }) {
                shared.refuse(job.raw, &shared.peers.resume(peer), Unreadable::Overloaded);
            }
        }
        Ok(head) => answer_small(shared, post, raw, head, &pass),
    }
}

/// Answers a request whose body, if any, `tiny_http` has in memory.
fn answer_small(
    shared: &Shared,
    post: &Post,
    mut raw: tiny_http::Request,
    mut head: Head,
    pass: &Pass<'_>,
) {
    if head.length != Some(0) && raw.as_reader().read_to_end(&mut head.request.body).is_err() {
        return shared.refuse(raw, pass, Unreadable::Malformed);
    }
    let response = shared.ask(&head.request);
    let closes = shared.leaving.load(Ordering::Acquire);
    post.set(pass.peer);
    shared.answer(raw, pass, &response, closes);
}
