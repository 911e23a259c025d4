//! The PostgreSQL store of an order service: shared by any number of processes on any number of machines.
//!
//! [`PostgresStore`] implements the extension API of [`commerce_core::store`]:
//!
//! ```no_run
//! use commerce_core::Shop;
//! use commerce_postgres::PostgresStore;
//!
//! let shop = Shop::open(PostgresStore::open("postgres://shop:secret@db.example/shop")?);
//! # Ok::<(), commerce_core::StoreError>(())
//! ```
//!
//! Transactions that write run one at a time: they take the *writer lock*, the row lock of the one row of the
//! table `store`. A transaction carries the commands of a whole batch (group commit), and its statements are
//! pipelined in a few round trips.
//!
//! The driver is `tokio-postgres`. The crate `postgres`, a wrapper of it, sends one statement at a time; a batch
//! would take some 25 round trips with it instead of two or three. No type of the driver is part of the interface.
//! Do not call the store from within a tokio runtime: use `spawn_blocking`.

use crate::connect_options::ConnectOptions;
use crate::connection::{Connection, ConnectionRole};
use crate::connection_manager::{ConnectionManager, POOL_TIMEOUT};
use crate::error::Failure;
use crate::jitter::random_byte;
use crate::layout::Layout;
use crate::read::PostgresSnapshot;
use crate::schema::SchemaState;
use crate::transaction::{LockMode, PostgresTransaction, TransactionHints};
use commerce_core::store::pool::Readers;
use commerce_core::store::{Snapshot, Store, Transaction};
use commerce_core::sync::{Mutex, MutexGuard};
use commerce_core::{Currency, StoreError};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

mod apply;
mod auth;
mod connect_options;
mod connection;
mod connection_manager;
mod deliveries;
mod durability;
mod error;
mod integrity;
mod jitter;
mod joined;
mod layout;
mod load;
mod query;
mod read;
mod references;
mod rows;
mod sales;
mod scan;
mod schema;
mod scratch_schema;
mod statements;
mod tls;
mod transaction;

/// The timeout of opening a store: for a server that starts, and for a migration by another instance.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// The timeout of a read that finds no working connection after a restart of the server.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// The shortest and the longest back-off before the next connection attempt, in milliseconds.
const BACK_OFF: (u64, u64) = (10, 60);

/// A store in a database of a PostgreSQL server, shared by any number of processes on any number of
/// machines.
#[derive(Debug)]
pub struct PostgresStore {
    currency: Currency,
    /// The connection that writes, while no transaction uses it; reopened after it was lost.
    writer: Mutex<Option<Connection>>,
    hints: TransactionHints,
    connections: ConnectionManager,
    readers: Readers<ConnectionManager>,
}

impl PostgresStore {
    /// The version of the schema that this program writes.
    pub const SCHEMA_VERSION: i64 = schema::VERSION;

    /// Opens the store at a URL (`postgres://user:password@host/database`). Creates it, with
    /// [`Currency::KRW`], in a database without one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Incompatible`] when the database has tables of another program or of a newer version, or
    /// an encoding that cannot hold every text, or has no store and is that of a Citus cluster;
    /// [`StoreError::Unavailable`] when the server cannot be reached. No error contains the password.
    pub fn open(url: &str) -> Result<Self, StoreError> {
        Self::open_url(url, None, None)
    }

    /// Opens the store at a URL. Creates it, with this currency, in a database without one.
    ///
    /// # Errors
    ///
    /// As [`PostgresStore::open`], and [`StoreError::Incompatible`] when the store has another currency.
    pub fn create(url: &str, currency: Currency) -> Result<Self, StoreError> {
        Self::open_url(url, Some(currency), None)
    }

    /// Opens the store at a URL. In a database without one, creates it with this currency on one machine, even in the
    /// database of a Citus cluster.
    ///
    /// # Errors
    ///
    /// As [`PostgresStore::create`], and [`StoreError::Incompatible`] when the store exists and is distributed.
    pub fn create_local(url: &str, currency: Currency) -> Result<Self, StoreError> {
        let store = Self::open_url(url, Some(currency), Some(Layout::OneMachine))?;
        if !store.hints.is_distributed {
            return Ok(store);
        }
        let text = "there is a store already, and it is distributed: create a local one in an empty \
                    database, and copy this one into it";
        Err(StoreError::Incompatible(text.to_owned()))
    }

    /// Returns true if the database has a store that is distributed over a Citus cluster. Changes nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] and [`StoreError::Busy`] when the server cannot be reached.
    pub fn is_distributed(url: &str) -> Result<bool, StoreError> {
        let connections = ConnectionManager::new(ConnectOptions::at(url)?);
        let connection = connections.open(ConnectionRole::Reader);
        let is_distributed = connection.and_then(|mut open| layout::is_distributed(&mut open));
        is_distributed.map_err(|failure| failure.error)
    }

    /// Opens the store at a URL. In a database without one, creates it with this currency and distributes its
    /// tables over the machines of a Citus cluster: those of customers by customer, those of products by
    /// product. Each table has that number of shards; `None` means twice the number of workers.
    ///
    /// # Errors
    ///
    /// As [`PostgresStore::create`], and [`StoreError::Incompatible`] when the server is no such cluster, or
    /// the store exists and is not distributed.
    pub fn create_distributed(
        url: &str,
        currency: Currency,
        shards: Option<NonZeroU32>,
    ) -> Result<Self, StoreError> {
        let store = Self::open_url(url, Some(currency), Some(Layout::Distributed(shards)))?;
        if store.hints.is_distributed {
            return Ok(store);
        }
        let text = "there is a store already, and it is not distributed: create a distributed one in an \
                    empty database, and copy this one into it";
        Err(StoreError::Incompatible(text.to_owned()))
    }

    /// Opens the store at a URL and migrates it to the present version; `None` when the database has none.
    ///
    /// # Errors
    ///
    /// As [`PostgresStore::open`].
    pub fn find(url: &str) -> Result<Option<Self>, StoreError> {
        let connections = ConnectionManager::new(ConnectOptions::at(url)?);
        let mut connection = retry_until_timeout(|| connections.open(ConnectionRole::Writer))?;
        let state = schema::inspect(&mut connection).map_err(|failure| failure.error)?;
        if state == SchemaState::Nothing {
            Ok(None)
        } else {
            Self::open_by(connections, None, None).map(Some)
        }
    }

    /// Returns the server and the database of a URL, without user and password.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when it is not a URL of a PostgreSQL server.
    pub fn redacted_url(url: &str) -> Result<String, StoreError> {
        ConnectOptions::at(url).map(|options| options.to_string())
    }

    fn open_url(
        url: &str,
        currency: Option<Currency>,
        layout: Option<Layout>,
    ) -> Result<Self, StoreError> {
        Self::open_by(ConnectionManager::new(ConnectOptions::at(url)?), currency, layout)
    }

    /// Opens the store; a new one gets this currency and layout.
    fn open_by(
        connections: ConnectionManager,
        wanted: Option<Currency>,
        layout: Option<Layout>,
    ) -> Result<Self, StoreError> {
        let (writer, currency, is_distributed) = retry_until_timeout(|| {
            let mut connection = connections.open(ConnectionRole::Writer)?;
            let mut state = schema::inspect(&mut connection)?;
            if matches!(state, SchemaState::Nothing | SchemaState::Older) {
                // An older store has its layout already.
                let layout = match state {
                    SchemaState::Nothing => Layout::of_new(layout, &connection)?,
                    SchemaState::Older | SchemaState::Ready(_) => Layout::OneMachine,
                };
                schema::migrate(&mut connection, wanted.unwrap_or(Currency::KRW), layout)?;
                state = schema::inspect(&mut connection)?;
            }
            match state {
                SchemaState::Ready(currency) => {
                    schema::ensure_epoch(&mut connection)?;
                    let is_distributed = layout::is_distributed(&mut connection)?;
                    Ok((connection, currency, is_distributed))
                }
                SchemaState::Nothing | SchemaState::Older => Err(Failure::timed_out()),
            }
        })?;
        if wanted.is_some_and(|wanted| wanted != currency) {
            let text = format!("its currency is {currency} and cannot be changed");
            return Err(StoreError::Incompatible(text));
        }
        let readers = Readers::new(connections.clone(), POOL_TIMEOUT);
        let hints = TransactionHints::new(is_distributed);
        let writer = Mutex::new(Some(writer));
        Ok(Self { currency, writer, hints, connections, readers })
    }

    /// Takes the writing connection, or opens another one if it was lost.
    fn connected(
        &self,
        slot: &mut MutexGuard<'_, Option<Connection>>,
    ) -> Result<Connection, StoreError> {
        if let Some(connection) = slot.take().filter(|connection| !connection.is_lost()) {
            return Ok(connection);
        }
        let mut connection =
            self.connections.open(ConnectionRole::Writer).map_err(Failure::before_commit)?;
        schema::ensure_epoch(&mut connection).map_err(Failure::before_commit)?;
        Ok(connection)
    }
}

impl Store for PostgresStore {
    fn currency(&self) -> Currency {
        self.currency
    }

    fn begin(&self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        let mut slot = self.writer.lock();
        let connected = self.connected(&mut slot);
        if matches!(connected, Err(StoreError::Busy(_))) {
            // Jitter: instances that have lost the same server must not reconnect in step (thundering herd).
            back_off();
        }
        Ok(Box::new(PostgresTransaction::begin(connected?, slot, &self.hints)))
    }

    fn try_begin(&self) -> Result<Option<Box<dyn Transaction + '_>>, StoreError> {
        let Some(mut slot) = self.writer.try_lock() else { return Ok(None) };
        match self.connected(&mut slot) {
            Ok(connection) => {
                let mode = LockMode::SkipLocked;
                let transaction = PostgresTransaction::lazy(connection, slot, mode, &self.hints);
                Ok(Some(Box::new(transaction)))
            }
            Err(StoreError::Busy(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn begins_at_once(&self) -> bool {
        let slot = self.writer.try_lock();
        slot.is_some_and(|slot| slot.as_ref().is_some_and(|connection| !connection.is_lost()))
    }

    /// Begins a snapshot. The first statement reveals a connection that a restart of the server has cut; then
    /// another one is tried.
    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        let deadline = Instant::now().checked_add(READ_TIMEOUT);
        loop {
            let in_time = || deadline.is_some_and(|at| Instant::now() < at);
            let connection = match self.readers.get() {
                Ok(connection) => connection,
                // The server may be back before the timeout.
                Err(_) if in_time() => {
                    back_off();
                    continue;
                }
                Err(error) => return Err(error),
            };
            match PostgresSnapshot::begin(connection) {
                Ok(snapshot) => return Ok(Box::new(snapshot)),
                Err(failure) if failure.lost && in_time() => {}
                Err(failure) => return Err(failure.before_commit()),
            }
        }
    }

    fn prepare(&self) -> Result<(), StoreError> {
        self.readers.prepare()
    }

    fn unreachable_machines(&self) -> Result<Vec<String>, StoreError> {
        if !self.hints.is_distributed {
            return Ok(Vec::new());
        }
        layout::unreachable_workers(&mut *self.readers.get()?).map_err(Failure::before_commit)
    }
}

/// Repeats `work` while the server starts, or while another instance creates the same tables.
fn retry_until_timeout<T>(mut work: impl FnMut() -> Result<T, Failure>) -> Result<T, StoreError> {
    let deadline = Instant::now().checked_add(OPEN_TIMEOUT);
    loop {
        match work() {
            Ok(result) => return Ok(result),
            Err(failure) => {
                // Creating one table twice at the same time violates a constraint of the server's catalogue.
                let is_transient = matches!(
                    failure.error,
                    StoreError::Busy(_) | StoreError::ConstraintViolation(_)
                );
                if !is_transient || deadline.is_none_or(|at| Instant::now() >= at) {
                    return Err(failure.error);
                }
                back_off();
            }
        }
    }
}

/// Sleeps for a random time. A server does not announce that it is back, so it is polled.
fn back_off() {
    let (shortest, longest) = BACK_OFF;
    let jitter =
        longest.saturating_sub(shortest).saturating_mul(u64::from(random_byte())).wrapping_shr(8);
    std::thread::sleep(Duration::from_millis(shortest.saturating_add(jitter)));
}
