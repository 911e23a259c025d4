//! A statement with its parameters, and a batch of statements that is executed in one round trip.

use crate::rows::Row;
use commerce_core::StoreError;
use commerce_core::store::State;
use commerce_core::sync::Mutex;
use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::LazyLock;
use tokio_postgres::types::ToSql;

/// A statement with its parameters.
pub(crate) struct Query<'a> {
    pub(crate) sql: Cow<'static, str>,
    pub(crate) parameters: Vec<Box<dyn ToSql + Sync + 'a>>,
    /// The number of rows that it must change.
    pub(crate) changes: Option<usize>,
    /// It fails unless it changes all of its rows, as an insert does: they need not be counted.
    pub(crate) inserts: bool,
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

/// A statement that is fused with others, with a count of its rows.
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
            inserts: false,
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

    /// Fails the statement unless it inserts exactly this number of rows. The server fails by itself on a row that it cannot
    /// insert.
    pub(crate) fn inserting(mut self, rows: usize) -> Self {
        self.inserts = true;
        self.changing(rows)
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
    let sql = fused_text(&queries);
    let (mut parameters, mut parts) = (vec![], vec![]);
    for query in queries {
        parameters.extend(query.parameters);
        // Those that insert are not counted.
        if !query.inserts {
            parts.push(Part { sql: query.sql, changes: query.changes });
        }
    }
    Query { parameters, parts, ..Query::new(sql) }
}

/// The statements of a combination, and the text of the one that they are fused into.
type Fused = (Vec<Cow<'static, str>>, &'static str);

/// The number of combinations up to which their texts are kept.
const MAX_FUSED: usize = 1_000;

/// Returns the text of the fused statement. It is built once for each combination, of which there are few: building it for
/// every batch took a twelfth of this side's time.
fn fused_text(queries: &[Query<'_>]) -> Cow<'static, str> {
    static TEXTS: LazyLock<Mutex<HashMap<u64, Fused, SqlHash>>> = LazyLock::new(Mutex::default);
    let mut hasher = SqlHasher::default();
    for query in queries {
        query.sql.hash(&mut hasher);
    }
    let key = hasher.finish();
    let mut texts = TEXTS.lock();
    if let Some((parts, text)) = texts.get(&key)
        && parts.iter().eq(queries.iter().map(|query| &query.sql))
    {
        return Cow::Borrowed(text);
    }
    let text = build_fused(queries);
    if texts.len() >= MAX_FUSED || texts.contains_key(&key) {
        return Cow::Owned(text);
    }
    let (parts, text) =
        (queries.iter().map(|query| query.sql.clone()).collect(), String::leak(text));
    texts.insert(key, (parts, text));
    Cow::Borrowed(text)
}

fn build_fused(queries: &[Query<'_>]) -> String {
    let (mut parts, mut counts, mut parameters) = (vec![], vec![], 0_usize);
    for (index, query) in queries.iter().enumerate() {
        let sql = renumber(&query.sql, parameters);
        if query.inserts {
            parts.push(format!("part_{index} AS ({sql})"));
        } else {
            parts.push(format!("part_{index} AS ({sql} RETURNING 1)"));
            counts.push(format!("(SELECT count(*) FROM part_{index})"));
        }
        parameters = parameters.saturating_add(query.parameters.len());
    }
    format!("WITH {} SELECT {}", parts.join(", "), counts.join(", "))
}

/// The hash of a statement, by its length and parts of it: fused ones have thousands of characters.
pub(crate) type SqlHash = BuildHasherDefault<SqlHasher>;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SqlHasher(u64);

impl SqlHasher {
    /// The number of bytes at each end that count.
    const SAMPLE: usize = 64;

    fn mix(&mut self, value: u64) {
        // The multiplier of FxHash.
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for SqlHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.mix(u64::try_from(bytes.len()).unwrap_or_default());
        let end = bytes.len().saturating_sub(Self::SAMPLE);
        let samples =
            [bytes.get(..Self::SAMPLE).unwrap_or(bytes), bytes.get(end..).unwrap_or_default()];
        for piece in samples.iter().flat_map(|sample| sample.chunks(8)) {
            let mut word = [0; 8];
            word.iter_mut().zip(piece).for_each(|(to, from)| *to = *from);
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
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

    /// An insert fails by itself unless it inserts all rows.
    #[test]
    fn fused_statements_keep_their_parameters_and_the_row_counts_of_updates() {
        let first = Query::new("UPDATE a SET b = $1 WHERE c = $2").with(1_i64).with(2_i64);
        let second = Query::new("INSERT INTO b SELECT $1, $1").with(3_i64).inserting(4);
        let third = Query::new("UPDATE c SET d = $1").with(5_i64).changing(1);
        let parts = [first.changing(2).writing("a"), second.writing("b"), third.writing("c")];
        let mut fused = fuse(parts.into());
        let query = fused.pop().unwrap();
        assert!(fused.is_empty());
        assert_eq!(
            query.sql,
            "WITH part_0 AS (UPDATE a SET b = $1 WHERE c = $2 RETURNING 1), \
             part_1 AS (INSERT INTO b SELECT $3, $3), \
             part_2 AS (UPDATE c SET d = $4 RETURNING 1) \
             SELECT (SELECT count(*) FROM part_0), (SELECT count(*) FROM part_2)"
        );
        assert_eq!(query.parameters.len(), 4);
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
