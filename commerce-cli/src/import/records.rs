//! The records of a CSV file (RFC 4180), read strictly: what could be meant in two ways is refused, and
//! each value knows its line. A record has a greatest length, so memory is bounded whatever the file
//! holds. No reader of crates.io was strict about quotes and right about lines.

use std::io::{self, BufRead, BufReader, Cursor, Read};

/// The most bytes of a record. The longest that any import accepts has about two thousand.
pub(super) const MAX_RECORD: usize = 64 * 1024;

/// The mark that spreadsheets put before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads records. LF, CR LF and CR end a line; empty lines are skipped.
pub(super) struct Reader {
    input: BufReader<Box<dyn Read>>,
    /// The line of the next byte, counted from 1.
    line: u64,
    after_cr: bool,
    consumed: u64,
}

/// One record. Kept from read to read, so that its memory is used again.
#[derive(Default)]
pub(super) struct Record {
    bytes: Vec<u8>,
    values: Vec<Value>,
}

/// The place of a value: its bytes, and the line that it begins on.
struct Value {
    start: usize,
    end: usize,
    line: u64,
}

/// The reason why a record cannot be read.
#[derive(Debug)]
pub(super) enum Fault {
    Io(io::Error),
    /// What is wrong with the value of a column, counted from 0.
    Wrong {
        line: u64,
        column: usize,
        kind: Kind,
    },
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A quote inside a value, with the text before it.
    StrayQuote(String),
    /// The quote that begins the value is not closed in the file, or in the longest record.
    UnclosedQuote,
    TooLong,
    NotUtf8,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first byte of a value.
    Begin,
    Plain,
    Quoted,
    /// After a quote in a quoted value: its end, or the first of two.
    Quote,
}

impl Reader {
    pub(super) fn new(mut input: Box<dyn Read>) -> io::Result<Self> {
        let mut start = Vec::new();
        let limit = u64::try_from(BYTE_ORDER_MARK.len()).unwrap_or_default();
        input.by_ref().take(limit).read_to_end(&mut start)?;
        if start == BYTE_ORDER_MARK {
            start.clear();
        }
        let input: Box<dyn Read> = Box::new(Cursor::new(start).chain(input));
        Ok(Self { input: BufReader::new(input), line: 1, after_cr: false, consumed: 0 })
    }

    /// How many bytes were read, for a progress bar.
    pub(super) const fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Reads the next record. `false` at the end of the file.
    pub(super) fn read(&mut self, record: &mut Record) -> Result<bool, Fault> {
        record.bytes.clear();
        record.values.clear();
        let mut state = State::Begin;
        let (mut start, mut line) = (0, self.line);
        loop {
            let here = self.line;
            let byte = self.next().map_err(Fault::Io)?;
            let column = record.values.len();
            let wrong = |line, kind| Err(Fault::Wrong { line, column, kind });
            if state == State::Begin {
                line = here;
            }
            let ends_value = match (state, byte) {
                (State::Quoted, None) => return wrong(line, Kind::UnclosedQuote),
                (State::Quoted, Some(_)) => false,
                (_, byte) => matches!(byte, None | Some(b',' | b'\n' | b'\r')),
            };
            if ends_value {
                let ends_record = byte != Some(b',');
                if ends_record && state == State::Begin && column == 0 {
                    if byte.is_none() {
                        return Ok(false);
                    }
                    continue;
                }
                let end = record.bytes.len();
                record.values.push(Value { start, end, line });
                if std::str::from_utf8(record.slice(column)).is_err() {
                    return wrong(line, Kind::NotUtf8);
                }
                if ends_record {
                    return Ok(true);
                }
                (state, start) = (State::Begin, end);
                continue;
            }
            let Some(byte) = byte else { continue };
            state = match (state, byte) {
                (State::Begin, b'"') => State::Quoted,
                (State::Quoted, b'"') => State::Quote,
                (State::Plain, b'"') => {
                    return wrong(here, Kind::StrayQuote(record.text_from(start)));
                }
                (State::Quote, other) if other != b'"' => {
                    return wrong(here, Kind::StrayQuote(record.text_from(start)));
                }
                (before, byte) => {
                    if record.bytes.len() >= MAX_RECORD {
                        let quoted = before == State::Quoted;
                        let kind = if quoted { Kind::UnclosedQuote } else { Kind::TooLong };
                        return wrong(line, kind);
                    }
                    record.bytes.push(byte);
                    if before == State::Begin || before == State::Plain {
                        State::Plain
                    } else {
                        State::Quoted
                    }
                }
            };
        }
    }

    fn next(&mut self) -> io::Result<Option<u8>> {
        let Some(&byte) = self.input.fill_buf()?.first() else { return Ok(None) };
        self.input.consume(1);
        self.consumed = self.consumed.saturating_add(1);
        if byte == b'\r' || byte == b'\n' && !self.after_cr {
            self.line = self.line.saturating_add(1);
        }
        self.after_cr = byte == b'\r';
        Ok(Some(byte))
    }
}

impl Record {
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// The text of a value; empty when there is none.
    pub(super) fn text(&self, column: usize) -> &str {
        // Each value was found to be UTF-8 when it was read.
        std::str::from_utf8(self.slice(column)).unwrap_or_default()
    }

    /// The line that a value begins on.
    pub(super) fn line(&self, column: usize) -> u64 {
        self.values.get(column).map_or(0, |value| value.line)
    }

    fn slice(&self, column: usize) -> &[u8] {
        let value = self.values.get(column);
        value.and_then(|value| self.bytes.get(value.start..value.end)).unwrap_or_default()
    }

    fn text_from(&self, start: usize) -> String {
        String::from_utf8_lossy(self.bytes.get(start..).unwrap_or_default()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    /// Each record as `line:value` of its values, or what is wrong as line, column and kind.
    fn read(text: &[u8]) -> Result<Vec<String>, (u64, usize, Kind)> {
        let mut reader = Reader::new(Box::new(Cursor::new(text.to_vec()))).unwrap();
        let (mut record, mut records) = (Record::default(), Vec::new());
        loop {
            match reader.read(&mut record) {
                Ok(true) => {}
                Ok(false) => return Ok(records),
                Err(Fault::Wrong { line, column, kind }) => return Err((line, column, kind)),
                Err(Fault::Io(error)) => panic!("{error}"),
            }
            let values = 0..record.len();
            let values = values.map(|at| format!("{}:{}", record.line(at), record.text(at)));
            records.push(values.collect::<Vec<_>>().join("|"));
        }
    }

    #[rstest]
    #[case::nothing(b"", &[])]
    #[case::only_empty_lines(b"\n\r\n\r\r\n", &[])]
    #[case::lf(b"a,b\n1,2\n", &["1:a|1:b", "2:1|2:2"])]
    #[case::crlf(b"a,b\r\n1,2\r\n3,4\r\n", &["1:a|1:b", "2:1|2:2", "3:3|3:4"])]
    #[case::cr(b"a,b\r1,2\r3,4", &["1:a|1:b", "2:1|2:2", "3:3|3:4"])]
    #[case::mixed(b"a\n\r\nb\r\rc\r\n", &["1:a", "3:b", "5:c"])]
    #[case::empty_lines(b"a\n\n\nb\r\n\r\n\r\nc", &["1:a", "4:b", "7:c"])]
    #[case::byte_order_mark(b"\xef\xbb\xbf\"a\",b\n", &["1:a|1:b"])]
    #[case::byte_order_mark_alone(b"\xef\xbb\xbf", &[])]
    #[case::empty_values(b",\n\"\",\n1,", &["1:|1:", "2:|2:", "3:1|3:"])]
    #[case::quoted(b"\"Tea, green\",\"12\"\" bowl\",\"\"\"\"", &["1:Tea, green|1:12\" bowl|1:\""])]
    #[case::lines_in_quotes(b"\"a\nb\",c\r\n\"d\r\ne\rf\",g\nh", &["1:a\nb|2:c", "3:d\r\ne\rf|5:g", "6:h"])]
    #[case::spaces_are_kept(b" a , b ", &["1: a |1: b "])]
    fn records_and_their_lines(#[case] text: &[u8], #[case] records: &[&str]) {
        assert_eq!(read(text).unwrap(), records);
    }

    #[rstest]
    #[case::in_a_plain_value(b"a\n1,5\" nail\n", 2, 1, Kind::StrayQuote("5".to_owned()))]
    #[case::after_the_end(b"a\r\n1,\"12\" bowl\"\r\n", 2, 1, Kind::StrayQuote("12".to_owned()))]
    #[case::before_a_quote(b"a\n1, \"b\"\n", 2, 1, Kind::StrayQuote(" ".to_owned()))]
    #[case::on_a_later_line(b"\"a\nb\"c", 2, 0, Kind::StrayQuote("a\nb".to_owned()))]
    #[case::never_closed(b"a\n\n1,\"b\n2,c\n", 3, 1, Kind::UnclosedQuote)]
    #[case::never_closed_at_the_end(b"a,\"", 1, 1, Kind::UnclosedQuote)]
    #[case::not_utf8(b"a\n1,\xff\n", 2, 1, Kind::NotUtf8)]
    #[case::a_character_over_two_values(b"a\n\xe2\x82,\xac\n", 2, 0, Kind::NotUtf8)]
    #[case::utf16(b"\xff\xfea\0\n\0", 1, 0, Kind::NotUtf8)]
    fn what_is_refused(
        #[case] text: &[u8],
        #[case] line: u64,
        #[case] column: usize,
        #[case] kind: Kind,
    ) {
        assert_eq!(read(text), Err((line, column, kind)));
    }

    #[test]
    fn a_record_has_a_greatest_length() {
        let plain = |bytes: usize| format!("a\n{}", "x".repeat(bytes)).into_bytes();
        assert_eq!(read(&plain(MAX_RECORD)).unwrap().len(), 2);
        assert_eq!(read(&plain(MAX_RECORD + 1)), Err((2, 0, Kind::TooLong)));
        let rows = "2,b\n".repeat(MAX_RECORD);
        let unclosed = format!("a\n1,\"b\n{rows}");
        assert_eq!(read(unclosed.as_bytes()), Err((2, 1, Kind::UnclosedQuote)));
    }

    /// What is read ahead of the fault is a buffer and a record, not the file.
    #[test]
    fn an_unclosed_quote_does_not_swallow_the_file() {
        struct Endless(std::sync::Arc<std::sync::atomic::AtomicUsize>);
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                buffer.fill(b'x');
                self.0.fetch_add(buffer.len(), std::sync::atomic::Ordering::SeqCst);
                Ok(buffer.len())
            }
        }
        let given = std::sync::Arc::default();
        let input = Cursor::new(b"a,\"b").chain(Endless(std::sync::Arc::clone(&given)));
        let mut reader = Reader::new(Box::new(input)).unwrap();
        let mut record = Record::default();
        assert!(matches!(
            reader.read(&mut record),
            Err(Fault::Wrong { line: 1, column: 1, kind: Kind::UnclosedQuote })
        ));
        assert!(given.load(std::sync::atomic::Ordering::SeqCst) <= 2 * MAX_RECORD);
    }
}
