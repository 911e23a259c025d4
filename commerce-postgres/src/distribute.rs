//! A store whose tables are spread over the machines of a Citus cluster, as `commerce init --distribute`
//! makes it. The SQL of everybody else is chosen so that it runs on both; what has to differ is here.

use crate::connect_options::ConnectOptions;
use crate::connection::{Connection, Query};
use crate::connection_manager::ConnectionManager;
use crate::error::Failure;
use crate::{PostgresStore, schema};
use commerce_core::{Currency, StoreError};
use std::time::Duration;

/// Each statement makes something on every machine.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Whether the extension is there. ParsedUrl by name, so that a server which knows no extensions answers too.
pub(crate) const HAS_EXTENSION: &str =
    "SELECT 1 FROM pg_proc WHERE proname = 'create_distributed_table' LIMIT 1";

/// A commit on several machines is made known to the coordinator first and to the others a moment later.
/// The row of the lane is free in between, this lock is not; whoever has it sees all that was committed.
pub(crate) const CLUSTER_WRITER_LOCK: &str = "LOCK TABLE store IN SHARE ROW EXCLUSIVE MODE";

/// How the tables of a store are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    OneMachine,
    Distributed,
}

impl PostgresStore {
    /// Opens the store at that URL; in a database that has none, creates it with that currency, its tables
    /// spread over the machines of a Citus cluster: customers' by customer, products' by product.
    ///
    /// # Errors
    ///
    /// As [`PostgresStore::create`], and [`StoreError::Incompatible`] when the server is no such cluster, or the
    /// store is there already and kept by one machine.
    pub fn create_distributed(url: &str, currency: Currency) -> Result<Self, StoreError> {
        let store = Self::opened_by(
            ConnectionManager::new(ConnectOptions::at(url)?),
            Some(currency),
            Layout::Distributed,
        )?;
        let mut slot = store.writer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let spread = store.connected(&mut slot).and_then(|mut connection| {
            let spread = is_distributed(&mut connection).map_err(|failure| failure.error)?;
            *slot = Some(connection);
            Ok(spread)
        })?;
        drop(slot);
        if spread {
            return Ok(store);
        }
        let text = "there is a store already, and one machine keeps it: init an empty database with \
                    --distribute, and `commerce copy` the store into it";
        Err(StoreError::Incompatible(text.to_owned()))
    }
}

fn is_distributed(connection: &mut Connection) -> Result<bool, Failure> {
    if !connection.is_cluster() {
        return Ok(false);
    }
    let sql = "SELECT 1 FROM pg_dist_partition WHERE logicalrelid = 'customers'::regclass";
    let rows = connection.execute(&[Query::new(sql)])?;
    Ok(rows.first().is_some_and(|rows| !rows.is_empty()))
}

/// Spreads the tables that this transaction, whose statements may take their time, has just made.
pub(crate) fn distribute(connection: &mut Connection) -> Result<(), Failure> {
    if !connection.is_cluster() {
        return Err(Failure::incompatible(
            "--distribute needs Citus, which the database does not have: CREATE EXTENSION citus there \
             first, or leave --distribute out"
                .to_owned(),
        ));
    }
    let statements = schema::DISTRIBUTED.split("\n\n");
    statements.into_iter().try_for_each(|sql| connection.run_within(TIMEOUT, sql))
}
