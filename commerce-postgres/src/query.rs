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
    /// The table that it writes, if it reads no other one: it may be fused with statements that write others.
    pub(crate) table: Option<&'static str>,
    /// The greatest id that it inserts, and the table.
    pub(crate) newest: Option<(&'static str, i64)>,
    /// The statements that are fused into it.
    pub(crate) parts: Vec<Part>,
    /// It is executed once or a few times, and not kept prepared.
    pub(crate) unprepared: bool,
    /// The server reports its result before it begins with the next statement.
    pub(crate) separate: bool,
}

/// A statement that is fused with others.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) sql: Cow<'static, str>,
    pub(crate) changes: Option<usize>,
}

impl<'a> Query<'a> {
    pub(crate) fn new(sql: impl Into<Cow<'static, str>>) -> Self {
        Self {
            sql: sql.into(),
            parameters: Vec::new(),
            changes: None,
            table: None,
            newest: None,
            parts: Vec::new(),
            unprepared: false,
            separate: false,
        }
    }

    /// Allows the statement to be fused with statements that write other tables.
    pub(crate) fn writing(mut self, table: &'static str) -> Self {
        self.table = Some(table);
        self
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

    /// Has the server report the result before it begins with the next statement. An error of an earlier statement does not
    /// keep it from that one.
    pub(crate) fn separate(mut self) -> Self {
        self.separate = true;
        self
    }

    /// Fails the statement unless it changes exactly this number of rows.
    pub(crate) fn changing(mut self, rows: usize) -> Self {
        self.changes = Some(rows);
        self
    }
}

/// Fuses neighbouring statements that write different tables into one: a statement costs the server and the client some
/// 20 us beside its rows. A table that is written twice begins another statement, since the parts of one do not see each
/// other's rows. Foreign keys are checked after all parts.
pub(crate) fn fuse(queries: Vec<Query<'_>>) -> Vec<Query<'_>> {
    let mut fused: Vec<Vec<Query<'_>>> = Vec::new();
    for query in queries {
        let fits = |group: &&mut Vec<Query<'_>>| {
            query.table.is_some()
                && group.iter().all(|other| other.table.is_some() && other.table != query.table)
        };
        match fused.last_mut().filter(fits) {
            Some(group) => group.push(query),
            None => fused.push(vec![query]),
        }
    }
    fused.into_iter().map(fuse_group).collect()
}

fn fuse_group(mut queries: Vec<Query<'_>>) -> Query<'_> {
    if queries.len() == 1
        && let Some(query) = queries.pop()
    {
        return query;
    }
    let (mut parts, mut counts, mut parameters, mut list) = (vec![], vec![], vec![], vec![]);
    for (index, query) in queries.into_iter().enumerate() {
        let sql = renumber(&query.sql, parameters.len());
        parts.push(format!("part_{index} AS ({sql} RETURNING 1)"));
        counts.push(format!("(SELECT count(*) FROM part_{index})"));
        parameters.extend(query.parameters);
        list.push(Part { sql: query.sql, changes: query.changes });
    }
    let sql = format!("WITH {} SELECT {}", parts.join(", "), counts.join(", "));
    Query { parameters, parts: list, ..Query::new(sql) }
}

/// Adds an offset to the numbers of parameters.
fn renumber(sql: &str, offset: usize) -> String {
    let mut parts = sql.split('$');
    let mut renumbered = vec![parts.next().unwrap_or_default().to_owned()];
    renumbered.extend(parts.map(|part| {
        let end = part.find(|char: char| !char.is_ascii_digit()).unwrap_or(part.len());
        let (number, rest) = part.split_at(end);
        let number = number.parse::<usize>().unwrap_or_default().saturating_add(offset);
        format!("${number}{rest}")
    }));
    renumbered.concat()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn sql(queries: Vec<Query<'_>>) -> Vec<String> {
        fuse(queries).into_iter().map(|query| query.sql.into_owned()).collect()
    }

    #[test]
    fn fused_statements_keep_their_parameters_and_row_counts() {
        let first = Query::new("INSERT INTO a SELECT $1, $2").with(1_i64).with(2_i64);
        let second = Query::new("UPDATE b SET c = $1 WHERE d = $1").with(3_i64).changing(1);
        let mut fused = fuse(vec![first.writing("a").changing(2), second.writing("b")]);
        let query = fused.pop().unwrap();
        assert!(fused.is_empty());
        assert_eq!(
            query.sql,
            "WITH part_0 AS (INSERT INTO a SELECT $1, $2 RETURNING 1), \
             part_1 AS (UPDATE b SET c = $3 WHERE d = $3 RETURNING 1) \
             SELECT (SELECT count(*) FROM part_0), (SELECT count(*) FROM part_1)"
        );
        assert_eq!(query.parameters.len(), 3);
        assert_eq!(
            query.parts.iter().map(|part| part.changes).collect::<Vec<_>>(),
            [Some(2), Some(1)]
        );
    }

    /// The parts of one statement do not see each other's rows.
    #[test]
    fn table_that_is_written_twice_begins_another_statement() {
        let insert = |table| Query::new(format!("INSERT INTO {table}")).writing(table);
        let read = || Query::new("DELETE FROM c");
        assert_eq!(sql(vec![insert("a"), insert("a")]), ["INSERT INTO a", "INSERT INTO a"]);
        let fused = sql(vec![insert("a"), insert("b"), insert("a"), read(), insert("b")]);
        assert_eq!(fused[1..], ["INSERT INTO a", "DELETE FROM c", "INSERT INTO b"]);
        assert!(fused[0].contains("INSERT INTO a") && fused[0].contains("INSERT INTO b"));
    }
}
