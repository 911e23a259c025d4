//! The transaction that writes. All who write, of all instances on all machines, take turns through one
//! row: who has locked the row of `store` writes, everybody else waits for it. So what was loaded stays
//! true until the commit, ids go on without gaps, and events are in the order of commits. A turn carries
//! all that has queued up, and takes a few round trips however much that is.

use crate::connection::{Connection, Query};
use crate::distribute::CLUSTER_WRITER_LOCK;
use crate::error::Failure;
use crate::rows::Row;
use crate::{apply, load, sales};
use commerce_core::store::sales_rollup::{AffectedBuckets, RollupWatermarks, touched, touched_at};
use commerce_core::store::{Needs, State, Transaction};
use commerce_core::{StoreError, Timestamp};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What is said before anything else; the row of [`WRITER_LOCK`] must come back.
const WRITER_LOCK: usize = 1;
const CLOSED: usize = 2;

/// Who waited less than this for the lane had it to themselves.
const UNCONTENDED: Duration = Duration::from_millis(3);

/// Whether to wait while others write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockMode {
    Wait,
    NowOrNever,
}

/// What is remembered from one turn to the next.
#[derive(Debug, Default)]
pub(crate) struct ContentionHint {
    /// Whether others were met in the lane.
    shared: AtomicBool,
    /// How far sales were closed.
    closed: Mutex<Option<RollupWatermarks>>,
}

/// Sales rows that were read before it was known what is sold, together with what is loaded: a trip less.
struct PrefetchedSales {
    touched: AffectedBuckets,
    read: Vec<Vec<Row>>,
}

pub(crate) struct PostgresTransaction<'a> {
    /// `None` once the transaction has ended.
    connection: Option<Connection>,
    slot: MutexGuard<'a, Option<Connection>>,
    turn: LockMode,
    lately: &'a ContentionHint,
    /// How far sales are closed, known once it is our turn.
    closed: Option<RollupWatermarks>,
    ahead: Option<PrefetchedSales>,
    /// What is said together with `COMMIT`.
    pending: Vec<Query<'static>>,
}

impl<'a> PostgresTransaction<'a> {
    /// Begins, and waits for our turn. Where nobody else was met of late, the lane is taken with the first
    /// load instead.
    pub(crate) fn begin(
        connection: Connection,
        slot: MutexGuard<'a, Option<Connection>>,
        lately: &'a ContentionHint,
    ) -> Result<Self, StoreError> {
        if !lately.shared.load(Ordering::Relaxed) {
            return Ok(Self::later(connection, slot, LockMode::NowOrNever, lately));
        }
        let asked = Instant::now();
        let mut begun = Self::later(connection, slot, LockMode::Wait, lately);
        begun.execute(Vec::new())?;
        lately.shared.store(asked.elapsed() >= UNCONTENDED, Ordering::Relaxed);
        Ok(begun)
    }

    /// Begins with the first load, which saves a round trip: when others write, that load is told it is
    /// busy.
    pub(crate) fn later(
        connection: Connection,
        slot: MutexGuard<'a, Option<Connection>>,
        turn: LockMode,
        lately: &'a ContentionHint,
    ) -> Self {
        let (connection, pending) = (Some(connection), Vec::new());
        Self { connection, slot, turn, lately, closed: None, ahead: None, pending }
    }

    /// The connection, as long as the transaction on it is still of use.
    fn open(&mut self) -> Result<&mut Connection, StoreError> {
        let gone = || StoreError::Unavailable("the transaction was rolled back".to_owned());
        self.connection.as_mut().ok_or_else(gone)
    }

    fn known_closed(&self) -> MutexGuard<'a, Option<RollupWatermarks>> {
        self.lately.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, and reads along what sales of now would need, as far as one can know that.
    fn prefetch_sales(
        &mut self,
        mut steps: Vec<Query<'_>>,
        now: Timestamp,
    ) -> Result<Vec<Vec<Row>>, StoreError> {
        let known = self.closed.or(*self.known_closed());
        let Some(touched) = known.map(|closed| touched_at(closed, now)) else {
            return self.execute(steps);
        };
        let asked = steps.len();
        steps.extend(sales::select_touched(&touched));
        let mut rows = self.execute(steps)?;
        let read = rows.split_off(asked.min(rows.len()));
        self.ahead = Some(PrefetchedSales { touched, read });
        Ok(rows)
    }

    /// Asks, after having begun where that is still to be done.
    fn execute(&mut self, steps: Vec<Query<'_>>) -> Result<Vec<Vec<Row>>, StoreError> {
        let begun = self.closed.is_some();
        let lane = match self.turn {
            // Nothing may be read by the statement that waits: it would read what was there before.
            LockMode::Wait => "SELECT id FROM store WHERE id = 1 FOR UPDATE",
            LockMode::NowOrNever => "SELECT id FROM store WHERE id = 1 FOR UPDATE SKIP LOCKED",
        };
        let mut all = Vec::new();
        if !begun {
            all.extend([Query::new("BEGIN"), Query::new(lane), sales::select_closed()]);
            if self.open()?.is_cluster() {
                all.push(Query::new(CLUSTER_WRITER_LOCK));
            }
        }
        let beginning = all.len();
        all.extend(steps);
        let mut rows = self.open()?.execute(&all).map_err(Failure::before_commit)?;
        if !begun {
            if rows.get(WRITER_LOCK).is_none_or(Vec::is_empty) {
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
        let mut execute = |steps: Vec<Query<'_>>| match now.take() {
            Some(now) => self.prefetch_sales(steps, now),
            None => self.execute(steps),
        };
        load::load(&mut execute, needs, state)
    }

    fn expect_pauses(&mut self) -> Result<(), StoreError> {
        // Longer than a read may take, on whichever server.
        let set = "SET LOCAL idle_in_transaction_session_timeout = '60s'";
        self.execute(vec![Query::new(set)]).map(drop)
    }

    fn apply(&mut self, state: &State) -> Result<(), StoreError> {
        let before = std::mem::take(&mut self.pending);
        if self.closed.is_none() || !before.is_empty() {
            self.execute(before)?;
        }
        let mut steps = apply::apply(state)?;
        let Some(closed) = self.closed.filter(|_| !state.sales.is_empty()) else {
            self.pending = steps;
            return Ok(());
        };
        let touched = touched(closed, &state.sales);
        let read = match self.ahead.take().filter(|ahead| ahead.touched.covers(&touched)) {
            Some(ahead) => ahead.read,
            None => self.execute(sales::select_touched(&touched))?,
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
        steps.extend([Query::new("SET LOCAL statement_timeout = 0"), Query::new("COMMIT")]);
        let commit = steps.len().saturating_sub(1);
        let connection = self.open()?;
        match connection.execute(&steps) {
            Ok(_) => {
                *self.slot = self.connection.take();
                Ok(())
            }
            Err(failure) => {
                let error = failure.of_commit(commit);
                if matches!(error, StoreError::CommitUnknown(_)) {
                    // Nobody knows what this connection still has to say.
                    connection.mark_broken();
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
