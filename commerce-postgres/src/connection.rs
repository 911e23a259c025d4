//! One connection: what is said on it, in as few round trips as can be, and what came of it.
//!
//! Statements are prepared once for each connection and sent one after the other without waiting between
//! them, so that a load of ten tables costs one trip to the server and back. The driver waits on a runtime
//! of the connection's own, which runs only while something is asked.

use crate::connect_options::{ConnectOptions, address};
use crate::distribute;
use crate::error::Failure;
use crate::rows::Row;
use commerce_core::store::with_threads;
use std::borrow::Cow;
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Statement};

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionRole {
    Writer,
    Reader,
}

impl ConnectionRole {
    /// Every setting that correctness or a bound on waiting rests on. Those that a relative of PostgreSQL
    /// does not know are left out.
    fn settings(self) -> [(&'static str, &'static str); 12] {
        let (statement, idle, nested) = match self {
            // A writer that stops in its transaction keeps everybody waiting.
            Self::Writer => ("5s", "5s", "off"),
            // An audit reads for long, and thinks between its reads.
            Self::Reader => ("30s", "60s", "on"),
        };
        [
            ("statement_timeout", statement),
            ("idle_in_transaction_session_timeout", idle),
            ("lock_timeout", "2s"),
            // What is read after the wait for the lane has to be what is true then. A server or a database may
            // max_events a snapshot from before it of whoever says nothing.
            ("default_transaction_isolation", "read committed"),
            ("synchronous_commit", "on"),
            // Every statement finds its rows by key, whatever the server has counted so far: a plan made
            // while a table was small would read all of it once it is big. For the same reason a set that
            // is joined to a table stands in the table's own condition too, or before a LATERAL with an
            // OFFSET, which is not turned around.
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

/// How long an answer is waited for, whatever the server says of timeouts: it may be gone.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What must not be off on a server that keeps what it acknowledges. Relatives that do not know these
/// have nothing to say.
const LOSES: &str = "SELECT name FROM pg_settings
     WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off' ORDER BY name";

/// A statement with its parameters.
pub(crate) struct Query<'a> {
    sql: Cow<'static, str>,
    parameters: Vec<Box<dyn ToSql + Sync + 'a>>,
    /// How many rows it must change.
    changes: Option<usize>,
    /// It is said a few times only, and not kept.
    unprepared: bool,
}

impl<'a> Query<'a> {
    pub(crate) fn new(sql: impl Into<Cow<'static, str>>) -> Self {
        Self { sql: sql.into(), parameters: Vec::new(), changes: None, unprepared: false }
    }

    pub(crate) fn with(mut self, parameter: impl ToSql + Sync + 'a) -> Self {
        self.parameters.push(Box::new(parameter));
        self
    }

    /// It means something else each time, as what reads from a cursor does.
    pub(crate) fn unprepared(mut self) -> Self {
        self.unprepared = true;
        self
    }

    /// A guard: it must change so many rows, no more and no less.
    pub(crate) fn changing(mut self, rows: usize) -> Self {
        self.changes = Some(rows);
        self
    }
}

pub(crate) struct Connection {
    client: Client,
    statements: HashMap<String, Statement>,
    /// Something was lost on the way: nobody knows what the server still has to say.
    lost: bool,
    /// Whether the server may keep tables on several machines.
    cluster: bool,
    // Dropped last: the driver's task lives in it.
    runtime: Runtime,
}

impl Connection {
    pub(crate) fn open(target: &ConnectOptions, role: ConnectionRole) -> Result<Self, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::local(&error))?;
        let reach = || runtime.block_on(reach(target));
        let client = if target.has_names() {
            // The runtime looks names up on a thread of its own, and panics when it gets none.
            with_threads(1, reach).map_err(Failure::unavailable)??
        } else {
            reach()?
        };
        let (statements, lost, cluster) = (HashMap::new(), false, false);
        let mut connection = Self { client, statements, lost, cluster, runtime };
        let (names, values): (Vec<_>, Vec<_>) = role.settings().into_iter().unzip();
        // A commit that does not wait for the disk is none; one that waits for standbys may stay so.
        let set = "SELECT set_config(known.name, wanted.value, false)
                   FROM unnest($1::text[], $2::text[]) AS wanted (name, value)
                   JOIN pg_settings AS known ON known.name = wanted.name
                   WHERE known.name <> 'synchronous_commit' OR known.setting = 'off'";
        let set = Query::new(set).with(names).with(values);
        let asked = [set, Query::new(LOSES), Query::new(distribute::HAS_EXTENSION)];
        let rows = connection.execute(&asked)?;
        if rows.get(2).is_some_and(|rows| !rows.is_empty()) {
            connection.cluster = true;
            // Which machines hold the rows that are wanted is planned from their keys.
            connection.run("SET plan_cache_mode = force_custom_plan")?;
        }
        let losing = rows.get(1).map_or(&[][..], Vec::as_slice);
        if role == ConnectionRole::Writer && target.durable && !losing.is_empty() {
            let names: Vec<&str> = losing.iter().filter_map(|row| row.try_get(0).ok()).collect();
            return Err(Failure::incompatible(format!(
                "a power failure of the server would lose orders: {} is off. Turn it on, or add durable=no to \
                 the URL of a store whose data may be lost",
                names.join(", ")
            )));
        }
        Ok(connection)
    }

    /// Whether it is of no use any more.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost || self.client.is_closed()
    }

    /// Whether the server may keep tables on several machines.
    pub(crate) fn is_cluster(&self) -> bool {
        self.cluster
    }

    /// Lets nobody use it again.
    pub(crate) fn mark_broken(&mut self) {
        self.lost = true;
    }

    /// Says all of these in one go, and gives the rows that each answered. The first that failed is told.
    pub(crate) fn execute(&mut self, steps: &[Query<'_>]) -> Result<Vec<Vec<Row>>, Failure> {
        self.execute_with_timeout(TIMEOUT, steps)
    }

    /// As [`Connection::execute`], and waits so long for the answer.
    pub(crate) fn execute_with_timeout(
        &mut self,
        timeout: Duration,
        steps: &[Query<'_>],
    ) -> Result<Vec<Vec<Row>>, Failure> {
        let Self { client, statements, runtime, .. } = self;
        let asking = async {
            prepare(client, statements, steps).await?;
            answers(client, statements, steps).await
        };
        let answered = runtime.block_on(async { tokio::time::timeout(timeout, asking).await });
        let answered = answered.unwrap_or_else(|_| Err(Failure::timed_out()));
        if let Err(failure) = &answered {
            self.lost |= failure.lost;
        }
        answered
    }

    /// Runs statements that have no parameters, of which none is kept.
    pub(crate) fn run(&mut self, sql: &str) -> Result<(), Failure> {
        self.run_within(TIMEOUT, sql)
    }

    /// As [`Connection::run`], and waits so long for the end.
    pub(crate) fn run_within(&mut self, timeout: Duration, sql: &str) -> Result<(), Failure> {
        let running = self.runtime.block_on(async {
            tokio::time::timeout(timeout, self.client.batch_execute(sql)).await
        });
        let ran = running
            .map_err(|_| Failure::timed_out())
            .and_then(|ran| ran.map_err(|error| Failure::of(&error)));
        if let Err(failure) = &ran {
            self.lost |= failure.lost;
        }
        ran
    }
}

/// Connects to the first server that is there and of the kind that is wanted; the last one's reason is told.
async fn reach(target: &ConnectOptions) -> Result<Client, Failure> {
    let mut last = Failure::timed_out();
    for server in target.servers() {
        let bound = server.get_connect_timeout().copied().unwrap_or(TIMEOUT);
        match tokio::time::timeout(bound, server.connect(target.tls.clone())).await {
            Ok(Ok((client, connection))) => {
                // What ends it is told to whoever asks something next.
                tokio::spawn(async { drop(connection.await) });
                return Ok(client);
            }
            Ok(Err(error)) => last = Failure::to_connect(&error, &address(&server)),
            Err(_) => last = Failure::timed_out_at(&address(&server)),
        }
    }
    Err(last)
}

async fn prepare(
    client: &Client,
    statements: &mut HashMap<String, Statement>,
    steps: &[Query<'_>],
) -> Result<(), Failure> {
    let kept = steps.iter().filter(|step| !step.unprepared).map(|step| &*step.sql);
    let missing = kept.filter(|sql| !statements.contains_key(*sql));
    let missing: Vec<&str> = missing.collect();
    let prepared = in_order(missing.iter().map(|sql| client.prepare(sql))).await;
    for (sql, statement) in missing.into_iter().zip(prepared) {
        statements.insert(sql.to_owned(), statement.map_err(|error| Failure::of(&error))?);
    }
    Ok(())
}

async fn answers(
    client: &Client,
    statements: &HashMap<String, Statement>,
    steps: &[Query<'_>],
) -> Result<Vec<Vec<Row>>, Failure> {
    let answers = in_order(steps.iter().map(|step| answer(client, statements, step))).await;
    answers
        .into_iter()
        .enumerate()
        .map(|(index, answer)| answer.map_err(|failure| failure.at(index)))
        .collect()
}

async fn answer(
    client: &Client,
    statements: &HashMap<String, Statement>,
    step: &Query<'_>,
) -> Result<Vec<Row>, Failure> {
    if step.unprepared {
        return wrap(client.query(&*step.sql, &[]).await);
    }
    let Some(statement) = statements.get(&*step.sql) else { return Err(Failure::timed_out()) };
    let parameters: Vec<&(dyn ToSql + Sync)> =
        step.parameters.iter().map(|parameter| -> &(dyn ToSql + Sync) { &**parameter }).collect();
    let failed = |error: Error| Failure::of(&error);
    let Some(wanted) = step.changes else {
        return wrap(client.query(statement, &parameters).await);
    };
    let changed = client.execute(statement, &parameters).await.map_err(failed)?;
    if usize::try_from(changed).is_ok_and(|changed| changed == wanted) {
        return Ok(Vec::new());
    }
    Err(Failure::constraint_violation(format!(
        "{wanted} rows were to change and {changed} did: {}",
        step.sql
    )))
}

fn wrap(rows: Result<Vec<tokio_postgres::Row>, Error>) -> Result<Vec<Row>, Failure> {
    let rows = rows.map_err(|error| Failure::of(&error))?;
    Ok(rows.into_iter().map(Row).collect())
}

/// Drives futures together, each for the first time in the order given: that is the order in which they
/// are sent.
async fn in_order<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut running: Vec<(Pin<Box<_>>, Option<T>)> =
        futures.map(|future| (Box::pin(future), None)).collect();
    poll_fn(|context| {
        let mut all = true;
        for (future, output) in &mut running {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    Poll::Ready(ready) => *output = Some(ready),
                    Poll::Pending => all = false,
                }
            }
        }
        if all { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    running.into_iter().filter_map(|(_, output)| output).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_server_that_is_not_there_is_named_without_user_and_password() {
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
