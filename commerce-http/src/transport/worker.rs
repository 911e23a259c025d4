//! Takes requests from `tiny_http` and has them answered, many at a time.

use super::bodies::Job;
use super::head::{self, Head};
use super::peers::{Entry, Pass};
use super::shared::{self, Shared};
use crate::Unreadable;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
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

/// A server, and whose turn it is to take a request from it.
pub(super) struct Line {
    pub(super) server: tiny_http::Server,
    turn: Mutex<()>,
}

impl Line {
    pub(super) fn of(server: tiny_http::Server) -> Self {
        Self { server, turn: Mutex::new(()) }
    }
}

/// Serves what comes to that server, until this thread is woken or the server has failed.
pub(super) fn serve(shared: &Shared, post: &Post, line: &Line) {
    while let Ok((raw, entry, verdict)) = take(shared, line) {
        // `tiny_http` panics in some places; a worker outlives it.
        let _ = catch_unwind(AssertUnwindSafe(|| handle(shared, post, raw, entry, verdict)));
        post.set(None);
    }
}

type Taken<'a> = (tiny_http::Request, Entry<'a>, Result<Head, Unreadable>);

/// Takes the next request and judges its head. Heads are judged one after another, in the order in which
/// they came: nothing that follows a bad one on its connection is let in by another worker.
fn take<'a>(shared: &'a Shared, line: &Line) -> io::Result<Taken<'a>> {
    let _turn = line.turn.lock().unwrap_or_else(PoisonError::into_inner);
    let raw = line.server.recv()?;
    let entry = shared.peers.enter(raw.remote_addr().copied());
    let verdict = head::read(&raw, &shared.settings);
    if let (Err(_), Some(peer)) = (&verdict, raw.remote_addr()) {
        shared.peers.close(*peer);
    }
    Ok((raw, entry, verdict))
}

fn handle(
    shared: &Shared,
    post: &Post,
    raw: tiny_http::Request,
    entry: Entry<'_>,
    verdict: Result<Head, Unreadable>,
) {
    let pass = match entry {
        Entry::Welcome(pass) => pass,
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
