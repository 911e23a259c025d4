//! One connection to the server. Statements are prepared once and *pipelined*: all of a batch are sent before
//! the first result arrives, so that loading ten tables takes one round trip.
//!
//! The driver is asynchronous. Each connection has a runtime of its own, which runs only during a call.

use crate::connect_options::{ConnectOptions, address};
use crate::error::Failure;
use crate::joined::{self, JoinedConnector, Joints};
use crate::query::{self, Query, SqlHash};
use crate::rows::Row;
use commerce_core::StoreError;
use commerce_core::store::with_threads;
use std::collections::HashMap;
use std::error::Error as _;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::config::SslMode;
use tokio_postgres::error::{Severity, SqlState};
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Config, Error, NoTls, Statement};

/// The use of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionRole {
    Writer,
    Reader,
}

impl ConnectionRole {
    /// Returns the settings that correctness or a timeout depends on. Those unknown to
    /// the server, which may be only compatible with PostgreSQL, are not sent.
    fn settings(self) -> [(&'static str, &'static str); 13] {
        let (statement, idle, nested) = match self {
            // A writer that stalls in its transaction blocks all other writers.
            Self::Writer => ("5s", "5s", "off"),
            // An audit reads for long, and computes between its reads.
            Self::Reader => ("30s", "60s", "on"),
        };
        [
            ("statement_timeout", statement),
            ("idle_in_transaction_session_timeout", idle),
            ("lock_timeout", "2s"),
            // Reads after the wait for the writer lock must see the commits before it. A server or a database
            // may have another default, with an older snapshot.
            ("default_transaction_isolation", "read committed"),
            ("default_transaction_read_only", "off"),
            ("synchronous_commit", "on"),
            // Every statement finds its rows by key, whatever the statistics are: a plan made while a table
            // was small would scan it once it is big. For the same reason a set that is joined to a table
            // is repeated in the table's own condition, or precedes a LATERAL with an OFFSET, which the
            // planner does not reorder.
            ("plan_cache_mode", "force_generic_plan"),
            ("enable_seqscan", "off"),
            ("enable_sort", "off"),
            ("enable_nestloop", nested),
            ("enable_mergejoin", "off"),
            ("enable_bitmapscan", "off"),
            ("jit", "off"),
        ]
    }
}

/// The client-side timeout of a round trip: the server may be gone, and its own timeouts with it.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// The `statement_timeout` of a writer.
pub(crate) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// The `lock_timeout` of a connection.
pub(crate) const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// Selects the settings without which a server loses acknowledged commits. Compatible servers that do not
/// know them return no rows.
const UNSAFE_SETTINGS: &str = "SELECT name FROM pg_settings
     WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off' ORDER BY name";

/// Selects the process of the server that executes the statement: the same one for the life of a connection, unless a pooler
/// is between.
const BACKEND: &str = "SELECT pg_backend_pid()";

/// Detects by their functions the Citus extension and PostgreSQL's own log. It searches `pg_proc`, because compatible
/// servers without extensions have that table too.
const FEATURES: &str = "SELECT proname = 'create_distributed_table' FROM pg_proc
     WHERE proname = 'create_distributed_table'
        OR proname = 'pg_logical_emit_message' AND has_function_privilege(oid, 'EXECUTE')";

/// The number of prepared statements up to which further combinations are fused.
const MAX_STATEMENTS: usize = 250;

pub(crate) struct Connection {
    client: Client,
    /// Joins statements that are sent together.
    joints: Joints,
    statements: HashMap<String, Statement, SqlHash>,
    /// A result may be outstanding, and could be taken for that of the next statement.
    is_broken: bool,
    /// The server may distribute tables over several machines.
    is_cluster: bool,
    /// The server can flush its log after a commit.
    flushes_later: bool,
    /// The process of the server, as of the first statement.
    backend: Option<i32>,
    /// The server has sent a warning.
    has_warned: Arc<AtomicBool>,
    // Dropped last: the task of the driver runs in it.
    runtime: Runtime,
}

impl Connection {
    pub(crate) fn open(options: &ConnectOptions, role: ConnectionRole) -> Result<Self, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::local(&error))?;
        let has_warned = Arc::default();
        let joints = Joints::default();
        let connect = || runtime.block_on(connect(options, &has_warned, &joints));
        let client = if options.has_names() {
            // The runtime resolves host names on a thread, and panics when the system refuses one.
            with_threads(1, connect).map_err(Failure::unavailable)??
        } else {
            connect()?
        };
        let mut connection = Self {
            client,
            joints,
            statements: HashMap::default(),
            is_broken: false,
            is_cluster: false,
            flushes_later: false,
            backend: None,
            has_warned,
            runtime,
        };
        let (names, values): (Vec<_>, Vec<_>) = role.settings().into_iter().unzip();
        // `synchronous_commit` off does not wait for the disk; a stricter value waits for standbys and stays.
        let set = "SELECT set_config(known.name, wanted.value, false)
                   FROM unnest($1::text[], $2::text[]) AS wanted (name, value)
                   JOIN pg_settings AS known ON known.name = wanted.name
                   WHERE known.name <> 'synchronous_commit' OR known.setting = 'off'";
        let set = Query::new(set).with(names).with(values);
        let [unsafe_settings, features, backend] =
            [UNSAFE_SETTINGS, FEATURES, BACKEND].map(Query::new);
        let results = connection.execute(&[set, unsafe_settings, features, backend])?;
        connection.backend = backend_of(results.get(3), 0);
        let again = connection.execute(&[Query::new(BACKEND)])?;
        connection.check_backend(again.first(), 0)?;
        let features: Vec<bool> =
            results.get(2).into_iter().flatten().filter_map(|row| row.try_get(0).ok()).collect();
        connection.is_cluster = features.contains(&true);
        // The workers of a cluster commit for good before the coordinator: its log must not lag behind.
        connection.flushes_later = !connection.is_cluster && !features.is_empty();
        if connection.is_cluster {
            // Citus plans from the keys which machines hold the rows.
            connection.run("SET plan_cache_mode = force_custom_plan")?;
        }
        let unsafe_settings = results.get(1).map_or(&[][..], Vec::as_slice);
        if role == ConnectionRole::Writer && options.durable && !unsafe_settings.is_empty() {
            let names = unsafe_settings.iter().filter_map(|row| row.try_get(0).ok());
            let names: Vec<&str> = names.collect();
            return Err(Failure::incompatible(format!(
                "{} is off, so a power failure of the server would lose orders: turn it on, or add \
                 durable=no to the URL of a store that may lose data",
                names.join(", ")
            )));
        }
        Ok(connection)
    }

    /// Returns true if the connection must not be used again.
    pub(crate) fn is_lost(&self) -> bool {
        self.is_broken || self.client.is_closed()
    }

    /// Returns true if the server may distribute tables over several machines.
    pub(crate) fn is_cluster(&self) -> bool {
        self.is_cluster
    }

    /// Returns true if the server can flush its log after a commit.
    pub(crate) fn flushes_later(&self) -> bool {
        self.flushes_later
    }

    /// Returns true if the server has sent a warning since the last call.
    pub(crate) fn take_warning(&mut self) -> bool {
        self.has_warned.swap(false, Ordering::Relaxed)
    }

    /// Fails if another process of the server has executed a statement, by its rows and their column with the process.
    /// A pooler in transaction mode is between then, and settings and prepared statements get lost.
    pub(crate) fn check_backend(
        &mut self,
        rows: Option<&Vec<Row>>,
        column: usize,
    ) -> Result<(), Failure> {
        if backend_of(rows, column) == self.backend {
            return Ok(());
        }
        self.is_broken = true;
        Err(Failure::pooler())
    }

    /// Marks the connection as unusable.
    pub(crate) fn mark_broken(&mut self) {
        self.is_broken = true;
    }

    /// Executes the statements in one pipelined round trip. Returns the rows of each, or the first error.
    pub(crate) fn execute(&mut self, queries: &[Query<'_>]) -> Result<Vec<Vec<Row>>, Failure> {
        self.execute_with_timeout(TIMEOUT, queries)
    }

    /// Executes the statements as [`Connection::execute`] does, with another timeout.
    pub(crate) fn execute_with_timeout(
        &mut self,
        timeout: Duration,
        queries: &[Query<'_>],
    ) -> Result<Vec<Vec<Row>>, Failure> {
        let Self { client, statements, runtime, joints, is_cluster, .. } = self;
        let are_prepared = queries.iter().all(|query| !query.unprepared);
        let can_join = !*is_cluster && are_prepared && queries.len() > 1;
        let work = async {
            prepare(client, statements, queries).await?;
            if can_join {
                let last = queries.len().saturating_sub(1);
                let joined = queries.iter().enumerate();
                joints.announce(joined.map(|(index, query)| index < last && !query.separate));
            }
            execute_all(client, statements, queries).await
        };
        let results = runtime.block_on(async { tokio::time::timeout(timeout, work).await });
        let results = results.unwrap_or_else(|_| Err(Failure::timed_out()));
        if let Err(failure) = &results {
            self.is_broken |= failure.lost || matches!(failure.error, StoreError::Incompatible(_));
        }
        results
    }

    /// Fuses statements that write different tables. A cluster executes them on different machines, and only so many
    /// combinations are kept prepared.
    pub(crate) fn fuse<'a>(&self, queries: Vec<Query<'a>>) -> Vec<Query<'a>> {
        if self.is_cluster || self.statements.len() > MAX_STATEMENTS {
            return queries;
        }
        query::fuse(queries)
    }

    /// Runs statements without parameters, which are not kept prepared.
    pub(crate) fn run(&mut self, sql: &str) -> Result<(), Failure> {
        self.run_within(TIMEOUT, sql)
    }

    /// Runs statements as [`Connection::run`] does, with another timeout.
    pub(crate) fn run_within(&mut self, timeout: Duration, sql: &str) -> Result<(), Failure> {
        let result = self.runtime.block_on(async {
            tokio::time::timeout(timeout, self.client.batch_execute(sql)).await
        });
        let result = result
            .map_err(|_| Failure::timed_out())
            .and_then(|result| result.map_err(|error| Failure::of(&error)));
        if let Err(failure) = &result {
            self.is_broken |= failure.lost;
        }
        result
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

/// Returns the process of the server in a column of the first row.
fn backend_of(rows: Option<&Vec<Row>>, column: usize) -> Option<i32> {
    rows?.first()?.try_get(column).ok()
}

/// Connects to the first server that is reachable and of the wanted kind. Returns the error of the last one.
async fn connect(
    options: &ConnectOptions,
    has_warned: &Arc<AtomicBool>,
    joints: &Joints,
) -> Result<Client, Failure> {
    let mut last = Failure::timed_out();
    for server in options.servers() {
        let timeout = server.get_connect_timeout().copied().unwrap_or(TIMEOUT);
        let connected = async {
            match connect_to(&server, options, has_warned, joints).await {
                // As libpq does. If that fails too, the first error has the reason.
                Err(error) if is_tls_refused(&server, &error) => {
                    let plain = server.clone().ssl_mode(SslMode::Disable).to_owned();
                    connect_to(&plain, options, has_warned, joints).await.map_err(|_| error)
                }
                connected => connected,
            }
        };
        match tokio::time::timeout(timeout, connected).await {
            Ok(Ok(client)) => return Ok(client),
            Ok(Err(error)) => last = Failure::to_connect(&error, &address(&server)),
            Err(_) => last = Failure::timed_out_at(&address(&server)),
        }
    }
    Err(last)
}

/// Connects to a server with a stream that joins statements, if possible.
async fn connect_to(
    server: &Config,
    options: &ConnectOptions,
    has_warned: &Arc<AtomicBool>,
    joints: &Joints,
) -> Result<Client, Error> {
    #[cfg(unix)]
    if let Some(stream) = joined::connect_unix(server, joints).await {
        let plain = server.clone().ssl_mode(SslMode::Disable).to_owned();
        let (client, connection) = plain.connect_raw(stream, NoTls).await?;
        drive(connection, has_warned);
        return Ok(client);
    }
    if let Some((connector, server)) = JoinedConnector::of(server, &options.tls, joints) {
        let (client, connection) = server.connect(connector).await?;
        drive(connection, has_warned);
        return Ok(client);
    }
    let (client, connection) = server.connect(options.tls.clone()).await?;
    drive(connection, has_warned);
    Ok(client)
}

/// Starts the task that moves messages between the driver and the server.
fn drive<S, T>(mut connection: tokio_postgres::Connection<S, T>, has_warned: &Arc<AtomicBool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let has_warned = Arc::clone(has_warned);
    tokio::spawn(async move {
        // A connection error surfaces on the next query.
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notice(notice) = message
                && notice.parsed_severity() == Some(Severity::Warning)
            {
                has_warned.store(true, Ordering::Relaxed);
            }
        }
    });
}

/// Returns true if a connection that only prefers TLS may succeed without: the handshake failed, or the server's rules
/// accept no connection from here with TLS.
fn is_tls_refused(server: &Config, error: &Error) -> bool {
    let kind = error.source().and_then(|source| source.downcast_ref()).map(io::Error::kind);
    let is_handshake = matches!(
        kind,
        Some(ErrorKind::InvalidData | ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset)
    );
    let is_rule = error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
    server.get_ssl_mode() == SslMode::Prefer && (is_handshake || is_rule)
}

/// Prepares the statements that are not prepared yet.
async fn prepare(
    client: &Client,
    statements: &mut HashMap<String, Statement, SqlHash>,
    queries: &[Query<'_>],
) -> Result<(), Failure> {
    let kept = queries.iter().filter(|query| !query.unprepared).map(|query| &*query.sql);
    let missing: Vec<&str> = kept.filter(|sql| !statements.contains_key(*sql)).collect();
    let prepared = join_in_order(missing.iter().map(|sql| client.prepare(sql))).await;
    for (sql, statement) in missing.into_iter().zip(prepared) {
        statements.insert(sql.to_owned(), statement.map_err(|error| Failure::of(&error))?);
    }
    Ok(())
}

async fn execute_all(
    client: &Client,
    statements: &HashMap<String, Statement, SqlHash>,
    queries: &[Query<'_>],
) -> Result<Vec<Vec<Row>>, Failure> {
    let results =
        join_in_order(queries.iter().map(|query| execute_one(client, statements, query))).await;
    results
        .into_iter()
        .enumerate()
        .map(|(index, result)| result.map_err(|failure| failure.at(index)))
        .collect()
}

async fn execute_one(
    client: &Client,
    statements: &HashMap<String, Statement, SqlHash>,
    query: &Query<'_>,
) -> Result<Vec<Row>, Failure> {
    if query.unprepared {
        return wrap(client.query(&*query.sql, &[]).await);
    }
    let Some(statement) = statements.get(&*query.sql) else { return Err(Failure::timed_out()) };
    let parameters: Vec<&(dyn ToSql + Sync)> =
        query.parameters.iter().map(|parameter| -> &(dyn ToSql + Sync) { &**parameter }).collect();
    if !query.parts.is_empty() {
        let rows = wrap(client.query(statement, &parameters).await)?;
        let counts = |index| rows.first().and_then(|row| row.try_get::<i64>(index).ok());
        return query.parts.iter().enumerate().try_fold(Vec::new(), |rows, (index, part)| {
            let changed = counts(index).and_then(|count| u64::try_from(count).ok());
            check(changed.unwrap_or_default(), part.changes, &part.sql).map(|()| rows)
        });
    }
    let Some(expected) = query.changes else {
        return wrap(client.query(statement, &parameters).await);
    };
    let changed = client.execute(statement, &parameters).await;
    let changed = changed.map_err(|error| Failure::of(&error))?;
    check(changed, Some(expected), &query.sql).map(|()| Vec::new())
}

/// Fails if a statement changed another number of rows than expected.
fn check(changed: u64, expected: Option<usize>, sql: &str) -> Result<(), Failure> {
    match expected {
        Some(expected) if usize::try_from(changed) != Ok(expected) => {
            Err(Failure::constraint_violation(format!(
                "a statement changed {changed} rows instead of {expected}: {sql}"
            )))
        }
        _ => Ok(()),
    }
}

fn wrap(rows: Result<Vec<tokio_postgres::Row>, Error>) -> Result<Vec<Row>, Failure> {
    let rows = rows.map_err(|error| Failure::of(&error))?;
    Ok(rows.into_iter().map(Row).collect())
}

/// Runs futures concurrently. Each is first polled in the order given, which is the order in which the driver
/// sends their statements.
async fn join_in_order<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut running: Vec<(Pin<Box<_>>, Option<T>)> =
        futures.map(|future| (Box::pin(future), None)).collect();
    poll_fn(|context| {
        let mut all_ready = true;
        for (future, output) in &mut running {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    Poll::Ready(ready) => *output = Some(ready),
                    Poll::Pending => all_ready = false,
                }
            }
        }
        if all_ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    running.into_iter().filter_map(|(_, output)| output).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn connect_error_names_the_server_without_credentials() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("postgres://hunter:hunter2@127.0.0.1:{port}/shop");
        let failure = Connection::open(&ConnectOptions::at(&url).unwrap(), ConnectionRole::Writer)
            .err()
            .unwrap();
        assert!(failure.lost);
        let expected = format!(
            "the store cannot be used: no connection to 127.0.0.1:{port}: Connection refused. \
             Check that a PostgreSQL server runs there"
        );
        assert_eq!(failure.error.to_string(), expected);
    }
}
