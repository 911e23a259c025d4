//! The transaction that writes.
//!
//! Transactions of all instances on all machines run one at a time: each holds the *writer lock*, the row lock of
//! the one row of `store`. So loaded rows stay valid until the commit, ids have no gaps, and events are in commit
//! order. One transaction carries the whole batch, in a few round trips however big it is.

use crate::connection::{Connection, LOCK_TIMEOUT, STATEMENT_TIMEOUT, TIMEOUT};
use crate::error::Failure;
use crate::query::Query;
use crate::rows::Row;
use crate::{apply, back_off, durability, layout, load, references, sales};
use commerce_core::store::columns::{TABLES_WITH_IDS, next_ids};
use commerce_core::store::sales_rollup::{
    AffectedBuckets, RollupWatermarks, affected, affected_at,
};
use commerce_core::store::values::get;
use commerce_core::store::{Needs, NextIds, State, Transaction};
use commerce_core::sync::{Mutex, MutexGuard};
use commerce_core::{StoreError, Timestamp};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// Takes the writer lock, and waits for it. Returns the row: after a wait, as its last holder left it.
static WRITER_LOCK: LazyLock<String> = LazyLock::new(|| format!("{} FOR UPDATE", select_row("")));

/// Takes the writer lock if it is free; returns no row otherwise. Sets the lock timeout of the other statements too.
static TRY_WRITER_LOCK: LazyLock<String> = LazyLock::new(|| {
    let row = select_row(", set_config('lock_timeout', '200ms', true)");
    format!("{row} FOR UPDATE SKIP LOCKED")
});

/// Selects the row with the writer lock: the greatest ids, the roll-up watermarks, the time before which no
/// pending order expires, and the process of the server.
fn select_row(more: &str) -> String {
    let ids = TABLES_WITH_IDS.map(|table| format!("last_{table}")).join(", ");
    format!(
        "SELECT {ids}, minutes, hours, days, next_expiry, pg_backend_pid(){more} \
         FROM store WHERE id = 1"
    )
}

/// The column of the roll-up watermarks in that row.
const WATERMARKS_COLUMN: usize = TABLES_WITH_IDS.len();

/// The column of that time.
const EXPIRY_COLUMN: usize = WATERMARKS_COLUMN + 3;

/// The column of the process.
const BACKEND_COLUMN: usize = EXPIRY_COLUMN + 1;

/// Sets the lock timeout of the statements after the wait for the writer lock. No transaction of the store has locked a
/// row then, so that only a foreign session can hold one, and all instances wait meanwhile.
const ROW_LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '200ms'";

/// The timeout of a scan of whole tables, which a rare command needs, unless its caller's deadline is earlier.
const SCAN_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// Lets the statements after it scan whole tables, for as long as the caller waits.
const ALLOW_SCAN: &str =
    "SELECT set_config('statement_timeout', $1, true), set_config('enable_seqscan', 'on', true)";

/// Limits the waits of the statements after it.
const LIMIT_WAITS: &str =
    "SELECT set_config('lock_timeout', $1, true), set_config('statement_timeout', $2, true)";

/// Limits the wait of the next statement for a lock.
const LIMIT_LOCK: &str = "SELECT set_config('lock_timeout', $1, true)";

/// The part of the time left that one statement may wait for a lock, since several may wait in turn.
const LOCK_WAIT_FRACTION: u32 = 5;

/// The `lock_timeout` of [`ROW_LOCK_TIMEOUT`].
const MAX_ROW_LOCK_WAIT: Duration = Duration::from_millis(200);

/// The shortest limit of a whole statement. A shorter one could end statements that wait for nobody.
const MIN_STATEMENT_TIMEOUT: Duration = Duration::from_millis(250);

/// The shortest limit of a round trip. The server reports its own timeouts before, and a slow network is not a lost one.
const MIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Takes the writer lock of a cluster too. A commit on several machines becomes visible on the coordinator first
/// and on the others a moment later. The row lock is free in between, this table lock is not: its holder sees
/// all earlier commits.
const CLUSTER_WRITER_LOCK: &str = "LOCK TABLE store IN SHARE ROW EXCLUSIVE MODE";

/// Waits for the writer lock below this count as uncontended.
const UNCONTENDED: Duration = Duration::from_millis(3);

/// The way to take the writer lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockMode {
    Wait,
    SkipLocked,
}

/// The longest wait after a commit for a worker that has not completed it. It is committed nevertheless.
const COMPLETION_TIMEOUT: Duration = Duration::from_secs(5);

/// Observations of the store and its last transactions that the next one relies on.
#[derive(Debug, Default)]
pub(crate) struct TransactionHints {
    /// The tables are distributed over the machines of a cluster.
    pub(crate) is_distributed: bool,
    /// The writer lock was contended.
    is_contended: AtomicBool,
    /// The roll-up watermarks.
    watermarks: Mutex<Option<RollupWatermarks>>,
    /// The time before which no pending order expires.
    next_expiry: AtomicI64,
}

impl TransactionHints {
    pub(crate) fn new(is_distributed: bool) -> Self {
        Self { is_distributed, ..Self::default() }
    }
}

/// Rows of the sales roll-up that were read together with the first load, before it was known which products are
/// sold: this saves a round trip.
struct PrefetchedSales {
    buckets: AffectedBuckets,
    rows: Vec<Vec<Row>>,
}

pub(crate) struct PostgresTransaction<'a> {
    /// `None` once the transaction has ended.
    connection: Option<Connection>,
    slot: MutexGuard<'a, Option<Connection>>,
    mode: LockMode,
    hints: &'a TransactionHints,
    /// The ids after the greatest ones, known once the transaction holds the writer lock.
    ids: Option<NextIds>,
    /// The roll-up watermarks, known then too.
    watermarks: Option<RollupWatermarks>,
    /// The time before which no pending order expires, known then too.
    next_expiry: i64,
    /// A later such time, found by this transaction.
    later_expiry: Option<i64>,
    prefetched: Option<PrefetchedSales>,
    /// The statements that are pipelined with `COMMIT`.
    pending: Vec<Query<'static>>,
    /// The instant until which the transaction may wait for locks of other sessions.
    wait_until: Option<Instant>,
    /// It saves rows without loading those that they refer to.
    is_copy: bool,
    /// It loads rows that only a scan of whole tables finds.
    scans: bool,
}

impl<'a> PostgresTransaction<'a> {
    /// Creates a transaction that begins with its first load, which saves a round trip. That load waits for the writer
    /// lock if it was contended the last time.
    pub(crate) fn begin(
        connection: Connection,
        slot: MutexGuard<'a, Option<Connection>>,
        hints: &'a TransactionHints,
    ) -> Self {
        let is_contended = hints.is_contended.load(Ordering::Relaxed);
        let mode = if is_contended { LockMode::Wait } else { LockMode::SkipLocked };
        Self::lazy(connection, slot, mode, hints)
    }

    /// Creates a transaction that begins with its first load. With [`LockMode::SkipLocked`] that load fails with `Busy`
    /// while another transaction holds the writer lock.
    pub(crate) fn lazy(
        connection: Connection,
        slot: MutexGuard<'a, Option<Connection>>,
        mode: LockMode,
        hints: &'a TransactionHints,
    ) -> Self {
        Self {
            connection: Some(connection),
            slot,
            mode,
            hints,
            ids: None,
            watermarks: None,
            next_expiry: 0,
            later_expiry: None,
            prefetched: None,
            pending: Vec::new(),
            wait_until: None,
            is_copy: false,
            scans: false,
        }
    }

    /// Returns the connection while the transaction is open.
    fn open(&mut self) -> Result<&mut Connection, StoreError> {
        let ended = || StoreError::Unavailable("the transaction was rolled back".to_owned());
        self.connection.as_mut().ok_or_else(ended)
    }

    /// Returns the time left to wait for others.
    fn time_left(&self) -> Option<Duration> {
        self.wait_until.map(|until| until.saturating_duration_since(Instant::now()))
    }

    /// Limits the waits of the next statements to the time left, if the usual timeouts are longer.
    fn limit(&self) -> Option<Query<'static>> {
        let left = self.time_left().filter(|left| *left < STATEMENT_TIMEOUT)?;
        let lock = left.checked_div(LOCK_WAIT_FRACTION).unwrap_or_default().min(MAX_ROW_LOCK_WAIT);
        // Zero would be no limit.
        let lock = lock.as_millis().max(1).to_string();
        let statement = left.max(MIN_STATEMENT_TIMEOUT).as_millis().to_string();
        Some(Query::new(LIMIT_WAITS).with(lock).with(statement))
    }

    /// Limits the wait of the next statement, for other instances, to most of the time left, if the usual timeout is longer.
    fn limit_lock(&self) -> Option<Query<'static>> {
        let left = self.time_left()?;
        let reserve = left.checked_div(LOCK_WAIT_FRACTION).unwrap_or_default();
        let wait = Some(left.saturating_sub(reserve)).filter(|wait| *wait < LOCK_TIMEOUT)?;
        // Zero would be no limit.
        Some(Query::new(LIMIT_LOCK).with(wait.as_millis().max(1).to_string()))
    }

    fn last_watermarks(&self) -> MutexGuard<'a, Option<RollupWatermarks>> {
        self.hints.watermarks.lock()
    }

    /// Executes statements, and prefetches the roll-up rows that sales at `now` would need, as far as the
    /// watermarks are known.
    fn prefetch_sales(
        &mut self,
        mut queries: Vec<Query<'_>>,
        now: Timestamp,
    ) -> Result<Vec<Vec<Row>>, StoreError> {
        let watermarks = self.watermarks.or(*self.last_watermarks());
        let Some(buckets) = watermarks.map(|watermarks| affected_at(watermarks, now)) else {
            return self.execute(queries);
        };
        let count = queries.len();
        queries.extend(sales::select_affected(&buckets));
        let mut results = self.execute(queries)?;
        let rows = results.split_off(count.min(results.len()));
        self.prefetched = Some(PrefetchedSales { buckets, rows });
        Ok(results)
    }

    /// Executes statements; the first ones also begin the transaction and take the writer lock.
    fn execute(&mut self, queries: Vec<Query<'_>>) -> Result<Vec<Vec<Row>>, StoreError> {
        let has_begun = self.watermarks.is_some();
        let lock = match self.mode {
            // The statement that waits reads nothing but the row that it locks: its snapshot is from before the wait.
            LockMode::Wait => WRITER_LOCK.as_str(),
            LockMode::SkipLocked => TRY_WRITER_LOCK.as_str(),
        };
        let (mut all, mut lock_index, mut orphans_index) = (Vec::new(), usize::MAX, usize::MAX);
        if !has_begun {
            all.push(Query::new("BEGIN"));
            all.extend(self.limit_lock().filter(|_| self.mode == LockMode::Wait));
            lock_index = all.len();
            all.push(Query::new(lock));
            if self.hints.is_distributed {
                orphans_index = all.len().saturating_add(1);
                all.extend([Query::new(CLUSTER_WRITER_LOCK), layout::orphans()]);
            }
            if self.mode == LockMode::Wait {
                all.push(Query::new(ROW_LOCK_TIMEOUT));
            }
            all.extend(self.limit());
        }
        let longest = if self.scans { SCAN_TIMEOUT } else { TIMEOUT };
        let timeout = self.time_left().map_or(longest, |left| left.clamp(MIN_TIMEOUT, longest));
        if self.scans {
            all.push(Query::new(ALLOW_SCAN).with(timeout.as_millis().to_string()));
        }
        let first = all.len();
        all.extend(queries);
        let start = Instant::now();
        let results = self.open()?.execute_with_timeout(timeout, &all);
        let mut results = results.map_err(Failure::before_commit)?;
        if !has_begun {
            let lock = results.get(lock_index);
            let Some(row) = lock.and_then(|rows| rows.first()) else {
                self.hints.is_contended.store(true, Ordering::Relaxed);
                return Err(StoreError::Busy(None));
            };
            self.open()?.check_backend(lock, BACKEND_COLUMN).map_err(Failure::before_commit)?;
            if let Some(worker) = results.get(orphans_index).and_then(|workers| workers.first()) {
                return Err(self.recover(worker.try_get(0).ok()));
            }
            if self.mode == LockMode::Wait {
                self.hints.is_contended.store(start.elapsed() >= UNCONTENDED, Ordering::Relaxed);
            }
            self.ids = Some(next_ids(row)?);
            self.watermarks = Some(sales::read_watermarks(row, WATERMARKS_COLUMN)?);
            *self.last_watermarks() = self.watermarks;
            self.next_expiry = get(row, EXPIRY_COLUMN)?;
            self.hints.next_expiry.store(self.next_expiry, Ordering::Relaxed);
        }
        results.drain(..first.min(results.len()));
        Ok(results)
    }
}

impl PostgresTransaction<'_> {
    /// Rolls back and has Citus complete the transaction of an earlier holder of the writer lock. Rows that were loaded
    /// lack its changes.
    fn recover(&mut self, cause: Option<String>) -> StoreError {
        let recovered = self.open().map(|connection| {
            connection.run("ROLLBACK").and_then(|()| layout::recover(connection))
        });
        match recovered {
            Ok(Ok(())) => StoreError::Busy(cause),
            Ok(Err(failure)) => failure.before_commit(),
            Err(error) => error,
        }
    }

    /// Fails if rows of a copy refer to rows that do not exist.
    fn check_copy(&mut self) -> Result<(), StoreError> {
        let pending = std::mem::take(&mut self.pending);
        self.execute(pending)?;
        let is_distributed = self.hints.is_distributed;
        let dangling = references::find_dangling(self.open()?, is_distributed);
        match dangling.map_err(Failure::before_commit)?.into_iter().next() {
            Some(found) => Err(StoreError::ConstraintViolation(found)),
            None => Ok(()),
        }
    }

    /// Waits until all workers have completed the commit, so that whoever gets its answer can read it. Citus reports a
    /// commit as done once it is decided, with a warning if a worker has not completed it.
    fn complete(&mut self) {
        let timeout = self.time_left().unwrap_or(COMPLETION_TIMEOUT).min(COMPLETION_TIMEOUT);
        let start = Instant::now();
        while let Ok(connection) = self.open()
            && matches!(layout::has_recovered(connection), Ok(false))
            && start.elapsed() < timeout
        {
            back_off();
        }
    }
}

impl Transaction for PostgresTransaction<'_> {
    fn load(&mut self, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
        self.scans |= !needs.personal.is_empty() || !needs.live_units.is_empty();
        // The first load of a batch asks for overdue orders at the time of the batch.
        let now = needs.due_orders;
        let known = if self.watermarks.is_some() {
            self.next_expiry
        } else {
            self.hints.next_expiry.load(Ordering::Relaxed)
        };
        let due = now.filter(|now| known <= now.unix());
        let mut time = now;
        let mut execute = |queries: Vec<Query<'_>>| match time.take() {
            Some(now) => self.prefetch_sales(queries, now),
            None => self.execute(queries),
        };
        let mut first = load::load(&mut execute, needs, due, state)?;
        if needs.ids {
            state.ids = self.ids;
        }
        let unasked = now.filter(|_| due.is_none());
        if let Some(now) = unasked.filter(|now| self.next_expiry <= now.unix()) {
            // Another instance has saved an order that expires earlier than those known here.
            let mut execute = |queries: Vec<Query<'_>>| self.execute(queries);
            first = load::load(&mut execute, &Needs::default(), Some(now), state)?;
        } else if unasked.is_some() {
            state.due_orders = Some(Vec::new());
        }
        let later = first.filter(|first| now.is_some_and(|now| *first > now.unix()));
        self.later_expiry = later.or(self.later_expiry);
        Ok(())
    }

    fn expect_copy(&mut self) -> Result<(), StoreError> {
        self.is_copy = true;
        // Longer than a read may take on any server.
        let set = "SET LOCAL idle_in_transaction_session_timeout = '60s'";
        self.execute(vec![Query::new(set)]).map(drop)
    }

    fn limit_waits(&mut self, limit: Duration) {
        self.wait_until = Instant::now().checked_add(limit);
    }

    fn apply(&mut self, state: &State) -> Result<(), StoreError> {
        if !self.is_copy {
            references::check(state)?;
        }
        let before = std::mem::take(&mut self.pending);
        if self.watermarks.is_none() || !before.is_empty() {
            self.execute(before)?;
        }
        let mut queries = apply::apply(state, self.later_expiry.take())?;
        let Some(watermarks) = self.watermarks.filter(|_| !state.sales.is_empty()) else {
            self.pending = queries;
            return Ok(());
        };
        let buckets = affected(watermarks, &state.sales);
        let prefetched = self.prefetched.take();
        let rows = match prefetched.filter(|prefetched| prefetched.buckets.covers(&buckets)) {
            Some(prefetched) => prefetched.rows,
            None => self.execute(sales::select_affected(&buckets))?,
        };
        let (counted, watermarks) = sales::count(watermarks, &state.sales, &rows)?;
        queries.extend(counted);
        self.pending = queries;
        self.watermarks = Some(watermarks);
        Ok(())
    }

    fn end_unchanged(mut self: Box<Self>) -> Result<(), StoreError> {
        let (limit, has_begun) = (self.limit_lock(), self.watermarks.is_some());
        let connection = self.open()?;
        // Dropping it rolls it back.
        if has_begun && connection.flushes_later() {
            // The writer lock is released before the wait.
            let mut queries = vec![Query::new("ROLLBACK"), Query::new("BEGIN")];
            queries.extend(limit);
            queries.extend([durability::wait_for_veil(), Query::new("ROLLBACK")]);
            connection.execute(&queries).map_err(Failure::before_commit)?;
            *self.slot = self.connection.take();
        }
        Ok(())
    }

    fn commit(mut self: Box<Self>) -> Result<(), StoreError> {
        if self.is_copy {
            self.check_copy()?;
        }
        let pending = std::mem::take(&mut self.pending);
        let mut queries: Vec<Query<'_>> = self.limit().into_iter().collect();
        let (waited, is_distributed) = (self.mode == LockMode::Wait, self.hints.is_distributed);
        let connection = self.open()?;
        let flushes_later = waited
            && connection.flushes_later()
            && pending.iter().any(|query| query.table == Some("store"));
        queries.extend(connection.fuse(pending));
        queries.extend(flushes_later.then(durability::veil));
        // The server lifts the statement timeout for it: a wait for a standby that is cut short would be reported as a
        // success.
        queries.push(Query::new("COMMIT").separate());
        let commit = queries.len().saturating_sub(1);
        if flushes_later {
            queries.extend(durability::flush());
        }
        // Only a warning of this commit counts.
        connection.take_warning();
        match connection.execute(&queries) {
            Ok(_) => {
                if is_distributed && connection.take_warning() {
                    self.complete();
                }
                *self.slot = self.connection.take();
                Ok(())
            }
            Err(failure) => {
                let error = failure.of_commit(commit);
                if matches!(error, StoreError::CommitUnknown(_)) {
                    // A late result could be taken for that of the next statement.
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
