//! The transaction that writes. All who write, of all instances on all machines, take turns through one
//! row: who has locked the row of `store` writes, everybody else waits for it. So what was loaded stays
//! true until the commit, ids go on without gaps, and events are in the order of commits. A turn carries
//! all that has queued up, and takes a few round trips however much that is.

use super::connection::{Connection, Step};
use super::distribute::LANE_OF_ALL_MACHINES;
use super::error::Failure;
use super::{apply, load, sales};
use crate::state::{Needs, State};
use crate::store::Transaction;
use crate::store::sales::{Closed, Touched, touched, touched_at};
use crate::{StoreError, Timestamp};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
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

/// What is remembered from one turn to the next.
#[derive(Debug, Default)]
pub(super) struct Lately {
    /// Whether others were met in the lane.
    shared: AtomicBool,
    /// How far sales were closed.
    closed: Mutex<Option<Closed>>,
}

/// Sales rows that were read before it was known what is sold, together with what is loaded: a trip less.
struct Ahead {
    touched: Touched,
    read: Vec<Vec<Row>>,
}

pub(super) struct PostgresTransaction<'a> {
    /// `None` once the transaction has ended.
    connection: Option<Connection>,
    slot: MutexGuard<'a, Option<Connection>>,
    turn: Turn,
    lately: &'a Lately,
    /// How far sales are closed, known once it is our turn.
    closed: Option<Closed>,
    ahead: Option<Ahead>,
    /// What is said together with `COMMIT`.
    pending: Vec<Step<'static>>,
}

impl<'a> PostgresTransaction<'a> {
    /// Begins, and waits for our turn. Where nobody else was met of late, the lane is taken with the first
    /// load instead.
    pub(super) fn begin(
        connection: Connection,
        slot: MutexGuard<'a, Option<Connection>>,
        lately: &'a Lately,
    ) -> Result<Self, StoreError> {
        if !lately.shared.load(Ordering::Relaxed) {
            return Ok(Self::later(connection, slot, Turn::NowOrNever, lately));
        }
        let asked = Instant::now();
        let mut begun = Self::later(connection, slot, Turn::Wait, lately);
        begun.ask(Vec::new())?;
        lately.shared.store(asked.elapsed() >= NO_WAIT, Ordering::Relaxed);
        Ok(begun)
    }

    /// Begins with the first load, which saves a round trip: when others write, that load is told it is
    /// busy.
    pub(super) fn later(
        connection: Connection,
        slot: MutexGuard<'a, Option<Connection>>,
        turn: Turn,
        lately: &'a Lately,
    ) -> Self {
        let (connection, pending) = (Some(connection), Vec::new());
        Self { connection, slot, turn, lately, closed: None, ahead: None, pending }
    }

    /// The connection, as long as the transaction on it is still of use.
    fn open(&mut self) -> Result<&mut Connection, StoreError> {
        let gone = || StoreError::Unavailable("the transaction was rolled back".to_owned());
        self.connection.as_mut().ok_or_else(gone)
    }

    fn known_closed(&self) -> MutexGuard<'a, Option<Closed>> {
        self.lately.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, and reads along what sales of now would need, as far as one can know that.
    fn ask_ahead(
        &mut self,
        mut steps: Vec<Step<'_>>,
        now: Timestamp,
    ) -> Result<Vec<Vec<Row>>, StoreError> {
        let known = self.closed.or(*self.known_closed());
        let Some(touched) = known.map(|closed| touched_at(closed, now)) else {
            return self.ask(steps);
        };
        let asked = steps.len();
        steps.extend(sales::select_touched(&touched));
        let mut rows = self.ask(steps)?;
        let read = rows.split_off(asked.min(rows.len()));
        self.ahead = Some(Ahead { touched, read });
        Ok(rows)
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
                self.lately.shared.store(true, Ordering::Relaxed);
                return Err(StoreError::Busy);
            }
            self.closed = Some(sales::closed(rows.get(CLOSED).map_or(&[], Vec::as_slice))?);
            *self.known_closed() = self.closed;
            rows.drain(..beginning.min(rows.len()));
        }
        Ok(rows)
    }
}

impl Transaction for PostgresTransaction<'_> {
    fn load(&mut self, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
        // The instant of the batch is asked for once, with what is loaded first.
        let mut now = needs.due_orders;
        let mut ask = |steps: Vec<Step<'_>>| match now.take() {
            Some(now) => self.ask_ahead(steps, now),
            None => self.ask(steps),
        };
        load::load(&mut ask, needs, state)
    }

    fn expect_pauses(&mut self) -> Result<(), StoreError> {
        // Longer than a read may take, on whichever server.
        let set = "SET LOCAL idle_in_transaction_session_timeout = '60s'";
        self.ask(vec![Step::new(set)]).map(drop)
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
        let touched = touched(closed, &state.sales);
        let read = match self.ahead.take().filter(|ahead| ahead.touched.covers(&touched)) {
            Some(ahead) => ahead.read,
            None => self.ask(sales::select_touched(&touched))?,
        };
        let (counted, closed) = sales::count(closed, &state.sales, &read)?;
        steps.extend(counted);
        self.pending = steps;
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
