//! The transaction that writes. All who write, of all instances on all machines, take turns through one
//! row: who has locked the row of `store` writes, everybody else waits for it. So what was loaded stays
//! true until the commit, ids go on without gaps, and events are in the order of commits. A turn carries
//! all that has queued up, and takes a few round trips however much that is.

use super::connection::{Connection, Step};
use super::distribute::LANE_OF_ALL_MACHINES;
use super::error::Failure;
use super::{apply, load, sales};
use crate::StoreError;
use crate::state::{Needs, State};
use crate::store::Transaction;
use crate::store::sales::Closed;
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio_postgres::Row;

/// What is said before anything else; the row of [`LANE`] must come back.
const LANE: usize = 1;
const CLOSED: usize = 2;

/// Who waited less than this for the lane had it to themselves.
const NO_WAIT: Duration = Duration::from_millis(3);

/// Whether to wait while others write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Wait,
    NowOrNever,
}

pub(super) struct PostgresTransaction<'a> {
    /// `None` once the transaction has ended.
    connection: Option<Connection>,
    slot: MutexGuard<'a, Option<Connection>>,
    turn: Turn,
    /// Whether others were met in the lane of late.
    shared: &'a AtomicBool,
    /// How far sales are closed, known once it is our turn.
    closed: Option<Closed>,
    /// What is said together with `COMMIT`.
    pending: Vec<Step<'static>>,
}

impl<'a> PostgresTransaction<'a> {
    /// Begins, and waits for our turn. Where nobody else was met of late, the lane is taken with the first
    /// load instead.
    pub(super) fn begin(
        connection: Connection,
        slot: MutexGuard<'a, Option<Connection>>,
        shared: &'a AtomicBool,
    ) -> Result<Self, StoreError> {
        if !shared.load(Ordering::Relaxed) {
            return Ok(Self::later(connection, slot, Turn::NowOrNever, shared));
        }
        let asked = Instant::now();
        let mut begun = Self::later(connection, slot, Turn::Wait, shared);
        begun.ask(Vec::new())?;
        shared.store(asked.elapsed() >= NO_WAIT, Ordering::Relaxed);
        Ok(begun)
    }

    /// Begins with the first load, which saves a round trip: when others write, that load is told it is
    /// busy.
    pub(super) fn later(
        connection: Connection,
        slot: MutexGuard<'a, Option<Connection>>,
        turn: Turn,
        shared: &'a AtomicBool,
    ) -> Self {
        Self { connection: Some(connection), slot, turn, shared, closed: None, pending: Vec::new() }
    }

    /// The connection, as long as the transaction on it is still of use.
    fn open(&mut self) -> Result<&mut Connection, StoreError> {
        let gone = || StoreError::Unavailable("the transaction was rolled back".to_owned());
        self.connection.as_mut().ok_or_else(gone)
    }

    /// Asks, after having begun where that is still to be done.
    fn ask(&mut self, steps: Vec<Step<'_>>) -> Result<Vec<Vec<Row>>, StoreError> {
        let begun = self.closed.is_some();
        let lane = match self.turn {
            // Nothing may be read by the statement that waits: it would read what was there before.
            Turn::Wait => "SELECT id FROM store WHERE id = 1 FOR UPDATE",
            Turn::NowOrNever => "SELECT id FROM store WHERE id = 1 FOR UPDATE SKIP LOCKED",
        };
        let mut all = Vec::new();
        if !begun {
            all.extend([Step::new("BEGIN"), Step::new(lane), sales::select_closed()]);
            if self.open()?.is_cluster() {
                all.push(Step::new(LANE_OF_ALL_MACHINES));
            }
        }
        let beginning = all.len();
        all.extend(steps);
        let mut rows = self.open()?.ask(&all).map_err(Failure::before_commit)?;
        if !begun {
            if rows.get(LANE).is_none_or(Vec::is_empty) {
                self.shared.store(true, Ordering::Relaxed);
                return Err(StoreError::Busy);
            }
            self.closed = Some(sales::closed(rows.get(CLOSED).map_or(&[], Vec::as_slice))?);
            rows.drain(..beginning.min(rows.len()));
        }
        Ok(rows)
    }
}

impl Transaction for PostgresTransaction<'_> {
    fn load(&mut self, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
        load::load(&mut |steps| self.ask(steps), needs, state)
    }

    fn apply(&mut self, state: &State) -> Result<(), StoreError> {
        let before = std::mem::take(&mut self.pending);
        if self.closed.is_none() || !before.is_empty() {
            self.ask(before)?;
        }
        let mut steps = apply::apply(state)?;
        let Some(closed) = self.closed.filter(|_| !state.sales.is_empty()) else {
            self.pending = steps;
            return Ok(());
        };
        let writes = steps.len();
        steps.extend(sales::select_touched(closed, &state.sales));
        let rows = self.ask(steps)?;
        let read = rows.get(writes..).unwrap_or_default();
        let (pending, closed) = sales::count(closed, &state.sales, read)?;
        self.pending = pending;
        self.closed = Some(closed);
        Ok(())
    }

    fn commit(mut self: Box<Self>) -> Result<(), StoreError> {
        let mut steps = std::mem::take(&mut self.pending);
        // A commit that waits for a standby must not be told that it is done because time was up.
        steps.extend([Step::new("SET LOCAL statement_timeout = 0"), Step::new("COMMIT")]);
        let commit = steps.len().saturating_sub(1);
        let connection = self.open()?;
        match connection.ask(&steps) {
            Ok(_) => {
                *self.slot = self.connection.take();
                Ok(())
            }
            Err(failure) => {
                let error = failure.of_commit(commit);
                if matches!(error, StoreError::Unknown(_)) {
                    // Nobody knows what this connection still has to say.
                    connection.lose();
                }
                Err(error)
            }
        }
    }
}

impl Drop for PostgresTransaction<'_> {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        if !connection.is_lost() && connection.run("ROLLBACK").is_ok() {
            *self.slot = Some(connection);
        }
    }
}
