//! The flush of the log after the writer lock is released.
//!
//! A commit that waits for the disk, or for a synchronous standby, while it holds the writer lock makes all other
//! instances wait too. While the lock is contended, a transaction therefore commits without that wait, which releases
//! the lock, and then flushes the log: its callers are answered after the flush only. A transaction that has read the
//! commit is later in the log, so that its own flush covers both.
//!
//! What is committed but not flushed yet must not be seen in any answer. A *veil*, an advisory lock by the number of
//! the transaction, covers it from before the commit until after the flush. The row with the writer lock has that
//! number as its `xmin`, since each such transaction changes it. Reads and batches that change nothing, which are
//! answered from what they have read, wait for the veil of the row that they see. No holder of a veil waits for a lock,
//! so that no deadlock is possible.

use crate::query::Query;

/// The key of the veil of a transaction. The upper half distinguishes it from the advisory locks of others.
const KEY: &str = "(1668246893::bigint << 32) | ";

/// Takes the veil of this transaction, and lets its commit not wait for the log.
pub(crate) fn veil() -> Query<'static> {
    Query::new(format!(
        "SELECT set_config('synchronous_commit', 'off', true), \
                pg_advisory_lock({KEY} (txid_current() & 4294967295))"
    ))
}

/// Flushes the log up to here, and waits for a synchronous standby as a commit does: a commit that has written to the
/// log. Lifts the veil.
pub(crate) fn flush() -> [Query<'static>; 2] {
    [
        Query::new("SELECT pg_logical_emit_message(true, 'commerce', '')").separate(),
        Query::new("SELECT pg_advisory_unlock_all()"),
    ]
}

/// Waits until the last transaction that this statement sees is durable. Returns the process of the server.
pub(crate) fn wait_for_veil() -> Query<'static> {
    Query::new(format!(
        "SELECT pg_backend_pid(), pg_advisory_xact_lock_shared({KEY} xmin::text::bigint) \
         FROM store WHERE id = 1"
    ))
}
