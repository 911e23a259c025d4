//! A statement with its parameters, and a batch of statements that is executed in one round trip.

use crate::rows::Row;
use commerce_core::StoreError;
use commerce_core::store::State;
use std::borrow::Cow;
use tokio_postgres::types::ToSql;

/// A statement with its parameters.
pub(crate) struct Query<'a> {
    pub(crate) sql: Cow<'static, str>,
    pub(crate) parameters: Vec<Box<dyn ToSql + Sync + 'a>>,
    /// The number of rows that it must change.
    pub(crate) changes: Option<usize>,
    /// It is executed once or a few times, and not kept prepared.
    pub(crate) unprepared: bool,
}

impl<'a> Query<'a> {
    pub(crate) fn new(sql: impl Into<Cow<'static, str>>) -> Self {
        Self { sql: sql.into(), parameters: Vec::new(), changes: None, unprepared: false }
    }

    /// Adds a parameter.
    pub(crate) fn with(mut self, parameter: impl ToSql + Sync + 'a) -> Self {
        self.parameters.push(Box::new(parameter));
        self
    }

    /// Does not keep the statement prepared: its meaning changes, as that of a `FETCH` from a cursor does.
    pub(crate) fn unprepared(mut self) -> Self {
        self.unprepared = true;
        self
    }

    /// Fails the statement unless it changes exactly this number of rows.
    pub(crate) fn changing(mut self, rows: usize) -> Self {
        self.changes = Some(rows);
        self
    }
}

/// Executes statements in one pipelined round trip and returns the rows of each.
pub(crate) type Execute<'a> =
    &'a mut dyn FnMut(Vec<Query<'_>>) -> Result<Vec<Vec<Row>>, StoreError>;

/// Adds the rows of a statement to the state.
type RowHandler<'a> = Box<dyn FnOnce(Vec<Row>, &mut State) -> Result<(), StoreError> + 'a>;

/// Statements that are executed together, each with the handler of its rows.
#[derive(Default)]
pub(crate) struct QueryBatch<'a> {
    queries: Vec<Query<'a>>,
    handlers: Vec<RowHandler<'a>>,
}

impl<'a> QueryBatch<'a> {
    pub(crate) fn add(
        &mut self,
        query: Query<'a>,
        handler: impl FnOnce(Vec<Row>, &mut State) -> Result<(), StoreError> + 'a,
    ) {
        self.queries.push(query);
        self.handlers.push(Box::new(handler));
    }

    pub(crate) fn execute(self, execute: Execute<'_>, state: &mut State) -> Result<(), StoreError> {
        let results = execute(self.queries)?;
        self.handlers.into_iter().zip(results).try_for_each(|(handler, rows)| handler(rows, state))
    }
}
