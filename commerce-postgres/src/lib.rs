//! The store on a PostgreSQL server: any number of processes on any number of machines.
//!
//! The driver is `tokio-postgres`, which `postgres` stands on: that one says one statement at a time, and
//! a batch would cost ten round trips instead of three. Nothing of it is seen from outside, and nothing here
//! may be called from inside a runtime of tokio.

use crate::connect_options::ConnectOptions;
use crate::connection::{Connection, ConnectionRole};
use crate::connection_manager::{ConnectionManager, POOL_TIMEOUT};
use crate::distribute::Layout;
use crate::error::Failure;
use crate::jitter::random_byte;
use crate::read::PostgresSnapshot;
use crate::schema::SchemaState;
use crate::transaction::{ContentionHint, LockMode, PostgresTransaction};
use commerce_core::store::pool::Readers;
use commerce_core::store::{Snapshot, Store, Transaction};
use commerce_core::{Currency, StoreError};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

mod apply;
mod auth;
mod connect_options;
mod connection;
mod connection_manager;
mod deliveries;
mod distribute;
mod error;
mod integrity;
mod jitter;
mod load;
mod read;
mod rows;
mod sales;
mod scan;
mod schema;
mod scratch_schema;
mod tls;
mod transaction;

/// How long opening a store waits for a server that starts, and for others who migrate it.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a read looks for a connection that works, after a restart of the server.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// The shortest and the longest back_off before a server that is not there is asked again, in milliseconds.
const PAUSE: (u64, u64) = (10, 60);

/// A store in a database of a PostgreSQL server, shared by any number of processes on any number of
/// machines.
#[derive(Debug)]
pub struct PostgresStore {
    currency: Currency,
    /// The connection that writes, while no transaction has it; opened anew after it was lost.
    writer: Mutex<Option<Connection>>,
    lately: ContentionHint,
    connection_manager: ConnectionManager,
    readers: Readers<ConnectionManager>,
}

impl PostgresStore {
    /// The version of the schema that this program writes.
    pub const SCHEMA_VERSION: i64 = schema::VERSION;

    /// Opens the store at that URL (`postgres://user:password@host/database`); creates it, with
    /// [`Currency::KRW`], in a database that has none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Incompatible`] when the database has tables of another program, or of a newer version, or
    /// cannot hold every text;
    /// [`StoreError::Unavailable`] when the server cannot be reached. No error holds the password.
    pub fn open(url: &str) -> Result<Self, StoreError> {
        Self::open_with(url, None)
    }

    /// Opens the store at that URL; creates it, with that currency, in a database that has none.
    ///
    /// # Errors
    ///
    /// As [`PostgresStore::open`], and [`StoreError::Incompatible`] when the store has another currency.
    pub fn create(url: &str, currency: Currency) -> Result<Self, StoreError> {
        Self::open_with(url, Some(currency))
    }

    /// Opens the store at that URL, and brings it up to date; `None` when the database has none.
    ///
    /// # Errors
    ///
    /// As [`PostgresStore::open`].
    pub fn find(url: &str) -> Result<Option<Self>, StoreError> {
        let connection_manager = ConnectionManager::new(ConnectOptions::at(url)?);
        let mut connection =
            retry_until_timeout(|| connection_manager.open(ConnectionRole::Writer))?;
        let found = schema::inspect(&mut connection).map_err(|failure| failure.error)?;
        if found == SchemaState::Nothing {
            Ok(None)
        } else {
            Self::opened_by(connection_manager, None, Layout::OneMachine).map(Some)
        }
    }

    /// The server and the database that a URL names, without user and password.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when it is no URL of a PostgreSQL server.
    pub fn redacted_url(url: &str) -> Result<String, StoreError> {
        ConnectOptions::at(url).map(|target| target.to_string())
    }

    fn open_with(url: &str, wanted: Option<Currency>) -> Result<Self, StoreError> {
        Self::opened_by(
            ConnectionManager::new(ConnectOptions::at(url)?),
            wanted,
            Layout::OneMachine,
        )
    }

    /// Opens the store; `layout` is how a new one is kept.
    fn opened_by(
        connection_manager: ConnectionManager,
        wanted: Option<Currency>,
        layout: Layout,
    ) -> Result<Self, StoreError> {
        let (writer, currency) = retry_until_timeout(|| {
            let mut connection = connection_manager.open(ConnectionRole::Writer)?;
            if let SchemaState::Ready(currency) = schema::inspect(&mut connection)? {
                schema::settle(&mut connection)?;
                return Ok((connection, currency));
            }
            schema::migrate(&mut connection, wanted.unwrap_or(Currency::KRW), layout)?;
            match schema::inspect(&mut connection)? {
                SchemaState::Ready(currency) => {
                    schema::settle(&mut connection)?;
                    Ok((connection, currency))
                }
                SchemaState::Nothing | SchemaState::Older => Err(Failure::timed_out()),
            }
        })?;
        if wanted.is_some_and(|wanted| wanted != currency) {
            let text = format!("its currency is {currency} and cannot be changed");
            return Err(StoreError::Incompatible(text));
        }
        let readers = Readers::new(connection_manager.clone(), POOL_TIMEOUT);
        Ok(Self {
            currency,
            writer: Mutex::new(Some(writer)),
            lately: ContentionHint::default(),
            connection_manager,
            readers,
        })
    }

    fn connected(
        &self,
        slot: &mut MutexGuard<'_, Option<Connection>>,
    ) -> Result<Connection, StoreError> {
        if let Some(connection) = slot.take().filter(|connection| !connection.is_lost()) {
            return Ok(connection);
        }
        let mut connection =
            self.connection_manager.open(ConnectionRole::Writer).map_err(Failure::before_commit)?;
        schema::settle(&mut connection).map_err(Failure::before_commit)?;
        Ok(connection)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Store for PostgresStore {
    fn currency(&self) -> Currency {
        self.currency
    }

    fn begin(&self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        let mut slot = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = self
            .connected(&mut slot)
            .and_then(|connection| PostgresTransaction::begin(connection, slot, &self.lately));
        if matches!(begun, Err(StoreError::Busy)) {
            // Many instances that have lost one server must not knock together.
            back_off();
        }
        Ok(Box::new(begun?))
    }

    fn try_begin(&self) -> Result<Option<Box<dyn Transaction + '_>>, StoreError> {
        let mut slot = match self.writer.try_lock() {
            Ok(slot) => slot,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(None),
        };
        match self.connected(&mut slot) {
            Ok(connection) => {
                let later = PostgresTransaction::later(
                    connection,
                    slot,
                    LockMode::NowOrNever,
                    &self.lately,
                );
                Ok(Some(Box::new(later)))
            }
            Err(StoreError::Busy) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A connection that a restart of the server has cut is found out by the first thing said on it: then
    /// another is tried.
    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        let deadline = Instant::now().checked_add(READ_TIMEOUT);
        loop {
            let in_time = || deadline.is_some_and(|at| Instant::now() < at);
            let connection = match self.readers.get() {
                Ok(connection) => connection,
                // A server that is not there may be back before the caller gives up.
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
}

/// Tries again while the server starts, or others make the same tables right now.
fn retry_until_timeout<T>(mut work: impl FnMut() -> Result<T, Failure>) -> Result<T, StoreError> {
    let deadline = Instant::now().checked_add(OPEN_TIMEOUT);
    loop {
        match work() {
            Ok(done) => return Ok(done),
            Err(failure) => {
                // Two who make one table at once meet in the server's own catalogue, as a guard.
                let passing =
                    matches!(failure.error, StoreError::Busy | StoreError::ConstraintViolation(_));
                if !passing || deadline.is_none_or(|at| Instant::now() >= at) {
                    return Err(failure.error);
                }
                back_off();
            }
        }
    }
}

/// Waits for a moment, which is another one at every instance.
fn back_off() {
    let (shortest, longest) = PAUSE;
    let more =
        longest.saturating_sub(shortest).saturating_mul(u64::from(random_byte())).wrapping_shr(8);
    // Nobody tells when a server is back: it has to be asked.
    std::thread::sleep(Duration::from_millis(shortest.saturating_add(more)));
}
