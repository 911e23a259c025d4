//! The layout of a store: on one machine, or distributed over the machines of a Citus cluster. The SQL of the
//! other modules runs on both; the statements that differ are here.

use crate::connection::Connection;
use crate::error::Failure;
use crate::query::Query;
use std::time::Duration;

/// Each statement creates something on every machine.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Distributes the tables of a new store.
const DISTRIBUTED: &str = include_str!("schema/distributed.sql");

/// The layout of the tables of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    OneMachine,
    Distributed,
}

/// Returns true if the tables of the store are distributed.
pub(crate) fn is_distributed(connection: &mut Connection) -> Result<bool, Failure> {
    if !connection.is_cluster() {
        return Ok(false);
    }
    let sql = "SELECT 1 FROM pg_dist_partition WHERE logicalrelid = 'customers'::regclass";
    let rows = connection.execute(&[Query::new(sql)])?;
    Ok(rows.first().is_some_and(|rows| !rows.is_empty()))
}

/// Distributes the tables that this transaction, which has no statement timeout, has created.
pub(crate) fn distribute(connection: &mut Connection) -> Result<(), Failure> {
    if !connection.is_cluster() {
        return Err(Failure::incompatible(
            "a distributed store needs Citus: run CREATE EXTENSION citus in the database first, or create \
             a store on one machine"
                .to_owned(),
        ));
    }
    DISTRIBUTED.split("\n\n").try_for_each(|sql| connection.run_within(TIMEOUT, sql))
}
