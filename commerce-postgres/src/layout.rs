//! The layout of a store: on one machine, or distributed over the machines of a Citus cluster. The SQL of the
//! other modules runs on both; the statements that differ are here.

use crate::connection::Connection;
use crate::error::Failure;
use crate::query::Query;
use std::num::NonZeroU32;
use std::time::Duration;

/// Each statement creates something on every machine.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Distributes the tables of a new store.
const DISTRIBUTED: &str = include_str!("schema/distributed.sql");

/// Selects a text about each worker that has a prepared transaction of Citus, or does not answer.
///
/// Citus commits on several machines in two phases. A connection that is cut in the second one leaves the transaction
/// prepared on a worker, invisible there and visible on all others, until Citus's own recovery a minute later.
const ORPHANS: &str = r"SELECT format(
         CASE WHEN success THEN 'worker %s:%s has not completed a commit'
         ELSE 'worker %s:%s does not answer: %s' END, nodename, nodeport, result)
     FROM run_command_on_workers($$SELECT count(*) FROM pg_prepared_xacts
         WHERE database = current_database() AND gid LIKE 'citus\_%'$$)
     WHERE NOT success OR result <> '0'";

/// Selects a text about each worker that does not answer.
const UNREACHABLE: &str =
    "SELECT format('worker %s:%s does not answer: %s', nodename, nodeport, result)
     FROM run_command_on_workers('SELECT 1') WHERE NOT success";

/// Has Citus complete the transactions that are prepared on workers. It leaves those in progress alone.
const RECOVER: &str = "SELECT recover_prepared_transactions()";

/// The layout of the tables of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    OneMachine,
    /// Each table of a new store gets that number of shards; `None` means twice the number of workers.
    Distributed(Option<NonZeroU32>),
}

/// Sets the number of shards of the tables that are distributed after it. Statements that look at all shards cost by
/// their number; two per worker let one more worker take its part.
const SHARD_COUNT: &str = "SELECT set_config('citus.shard_count', coalesce($1::text, (
        SELECT greatest(1, 2 * count(*)) FROM pg_dist_node
        WHERE isactive AND noderole = 'primary' AND shouldhaveshards
    )::text), true)";

impl Layout {
    /// Returns the layout of a new store. In the database of a cluster there is no default, because it cannot be changed.
    pub(crate) fn of_new(wanted: Option<Self>, connection: &Connection) -> Result<Self, Failure> {
        match wanted {
            Some(wanted) => Ok(wanted),
            None if connection.is_cluster() => Err(Failure::incompatible(
                "there is no store yet, and the database has Citus: run `commerce init --distribute` for a \
                 store that is distributed over its machines, or `commerce init --local` for one on this machine"
                    .to_owned(),
            )),
            None => Ok(Self::OneMachine),
        }
    }

    /// Returns the layout of the store in the database; `None` without one.
    pub(crate) fn find(connection: &mut Connection) -> Result<Option<Self>, Failure> {
        let exists = |connection: &mut Connection, sql| {
            let rows = connection.execute(&[Query::new(sql)])?;
            Ok(rows.first().is_some_and(|rows| !rows.is_empty()))
        };
        if !exists(connection, "SELECT 1 WHERE to_regclass('customers') IS NOT NULL")? {
            return Ok(None);
        }
        let is_distributed = connection.is_cluster()
            && exists(
                connection,
                "SELECT 1 FROM pg_dist_partition WHERE logicalrelid = to_regclass('customers')",
            )?;
        Ok(Some(if is_distributed { Self::Distributed(None) } else { Self::OneMachine }))
    }
}

/// Returns true if the tables of the store are distributed.
pub(crate) fn is_distributed(connection: &mut Connection) -> Result<bool, Failure> {
    Ok(matches!(Layout::find(connection)?, Some(Layout::Distributed(_))))
}

/// Returns a text about each worker that does not answer.
pub(crate) fn unreachable_workers(connection: &mut Connection) -> Result<Vec<String>, Failure> {
    let rows = connection.execute(&[Query::new(UNREACHABLE)])?;
    Ok(rows.iter().flatten().filter_map(|row| row.try_get(0).ok()).collect())
}

/// Distributes the tables that this transaction, which has no statement timeout, has created.
pub(crate) fn distribute(
    connection: &mut Connection,
    shards: Option<NonZeroU32>,
) -> Result<(), Failure> {
    if !connection.is_cluster() {
        return Err(Failure::incompatible(
            "a distributed store needs Citus: run CREATE EXTENSION citus in the database first, or create \
             a store on one machine"
                .to_owned(),
        ));
    }
    let shards = shards.map(|shards| shards.to_string());
    connection.execute(&[Query::new(SHARD_COUNT).with(shards)])?;
    DISTRIBUTED.split("\n\n").try_for_each(|sql| connection.run_within(TIMEOUT, sql))
}

/// Selects the workers that have an orphan, a prepared transaction of an earlier holder of the writer lock.
///
/// The holder of the writer lock knows that no transaction of the store is in progress, so that one that is still
/// prepared was interrupted. A transaction may rely on its loaded rows only if there is none: keys, stock and
/// balances of an orphan are missing.
pub(crate) fn orphans() -> Query<'static> {
    Query::new(ORPHANS)
}

/// Has Citus complete orphans. The connection must not be in a transaction.
pub(crate) fn recover(connection: &mut Connection) -> Result<(), Failure> {
    connection.run(RECOVER)
}

/// Has Citus complete orphans, and returns true if none is left.
pub(crate) fn has_recovered(connection: &mut Connection) -> Result<bool, Failure> {
    recover(connection)?;
    let left = connection.execute(&[orphans()])?;
    Ok(left.iter().all(Vec::is_empty))
}
