//! A strict reader of CSV records (RFC 4180): ambiguous input is rejected, and each value has its line number.
//! The length of a record is limited, which bounds memory for any input. No reader on crates.io was both
//! strict about quotes and correct about line numbers.

use std::io::{self, BufRead, BufReader, Cursor, Read};

/// The maximum size of a record in bytes. The longest record that an import accepts has about 2,000.
pub(super) const MAX_RECORD: usize = 64 * 1024;

/// The byte order mark that spreadsheets write before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads records. LF, CR LF and CR end a line; empty lines are skipped.
pub(super) struct RecordReader {
    input: BufReader<Box<dyn Read>>,
    /// The line of the next byte, counted from 1.
    line: u64,
    after_cr: bool,
    consumed: u64,
}

/// One record. Reused between reads to keep its memory.
#[derive(Default)]
pub(super) struct Record {
    bytes: Vec<u8>,
    values: Vec<Span>,
}

/// The bytes of a value in the record, and the line that it begins on.
struct Span {
    start: usize,
    end: usize,
    line: u64,
}

/// The error of a record that cannot be read.
#[derive(Debug)]
pub(super) enum ReadError {
    Io(io::Error),
    /// A malformed value.
    Malformed {
        line: u64,
        /// The column, counted from 0.
        column: usize,
        kind: Malformation,
    },
}

/// The kinds of malformed values.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Malformation {
    /// A quote inside a value, with the text before it.
    StrayQuote(String),
    /// An opening quote that is not closed within the file or the maximum size of a record.
    UnclosedQuote,
    TooLong,
    NotUtf8,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ParserState {
    /// Before the first byte of a value.
    Begin,
    Plain,
    Quoted,
    /// After a quote in a quoted value, which either ends the value or is the first of two.
    Quote,
}

impl RecordReader {
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

    /// The number of bytes read, for a progress bar.
    pub(super) const fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Reads the next record. Returns false at the end of the file.
    pub(super) fn read(&mut self, record: &mut Record) -> Result<bool, ReadError> {
        record.bytes.clear();
        record.values.clear();
        let mut state = ParserState::Begin;
        let (mut start, mut line) = (0, self.line);
        loop {
            let here = self.line;
            let byte = self.next().map_err(ReadError::Io)?;
            let column = record.values.len();
            let malformed = |line, kind| Err(ReadError::Malformed { line, column, kind });
            if state == ParserState::Begin {
                line = here;
            }
            let ends_value = match (state, byte) {
                (ParserState::Quoted, None) => return malformed(line, Malformation::UnclosedQuote),
                (ParserState::Quoted, Some(_)) => false,
                (_, byte) => matches!(byte, None | Some(b',' | b'\n' | b'\r')),
            };
            if ends_value {
                let ends_record = byte != Some(b',');
                if ends_record && state == ParserState::Begin && column == 0 {
                    if byte.is_none() {
                        return Ok(false);
                    }
                    continue;
                }
                let end = record.bytes.len();
                record.values.push(Span { start, end, line });
                if std::str::from_utf8(record.slice(column)).is_err() {
                    return malformed(line, Malformation::NotUtf8);
                }
                if ends_record {
                    return Ok(true);
                }
                (state, start) = (ParserState::Begin, end);
                continue;
            }
            let Some(byte) = byte else { continue };
            state = match (state, byte) {
                (ParserState::Begin, b'"') => ParserState::Quoted,
                (ParserState::Quoted, b'"') => ParserState::Quote,
                (ParserState::Plain, b'"') => {
                    return malformed(here, Malformation::StrayQuote(record.text_from(start)));
                }
                (ParserState::Quote, other) if other != b'"' => {
                    return malformed(here, Malformation::StrayQuote(record.text_from(start)));
                }
                (before, byte) => {
                    if record.bytes.len() >= MAX_RECORD {
                        let quoted = before == ParserState::Quoted;
                        let kind = if quoted {
                            Malformation::UnclosedQuote
                        } else {
                            Malformation::TooLong
                        };
                        return malformed(line, kind);
                    }
                    record.bytes.push(byte);
                    if before == ParserState::Begin || before == ParserState::Plain {
                        ParserState::Plain
                    } else {
                        ParserState::Quoted
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

    /// The text of a value; empty if there is no such column.
    pub(super) fn text(&self, column: usize) -> &str {
        // `read` has checked that each value is UTF-8.
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

    /// The records as `line:value` of each value, or line, column and kind of the malformed value.
    fn read(text: &[u8]) -> Result<Vec<String>, (u64, usize, Malformation)> {
        let mut reader = RecordReader::new(Box::new(Cursor::new(text.to_vec()))).unwrap();
        let (mut record, mut records) = (Record::default(), Vec::new());
        loop {
            match reader.read(&mut record) {
                Ok(true) => {}
                Ok(false) => return Ok(records),
                Err(ReadError::Malformed { line, column, kind }) => {
                    return Err((line, column, kind));
                }
                Err(ReadError::Io(error)) => panic!("{error}"),
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
    fn reader_splits_records_and_counts_lines(#[case] text: &[u8], #[case] records: &[&str]) {
        assert_eq!(read(text).unwrap(), records);
    }

    #[rstest]
    #[case::in_a_plain_value(b"a\n1,5\" nail\n", 2, 1, Malformation::StrayQuote("5".to_owned()))]
    #[case::after_the_end(b"a\r\n1,\"12\" bowl\"\r\n", 2, 1, Malformation::StrayQuote("12".to_owned()))]
    #[case::before_a_quote(b"a\n1, \"b\"\n", 2, 1, Malformation::StrayQuote(" ".to_owned()))]
    #[case::on_a_later_line(b"\"a\nb\"c", 2, 0, Malformation::StrayQuote("a\nb".to_owned()))]
    #[case::never_closed(b"a\n\n1,\"b\n2,c\n", 3, 1, Malformation::UnclosedQuote)]
    #[case::never_closed_at_the_end(b"a,\"", 1, 1, Malformation::UnclosedQuote)]
    #[case::not_utf8(b"a\n1,\xff\n", 2, 1, Malformation::NotUtf8)]
    #[case::a_character_over_two_values(b"a\n\xe2\x82,\xac\n", 2, 0, Malformation::NotUtf8)]
    #[case::utf16(b"\xff\xfea\0\n\0", 1, 0, Malformation::NotUtf8)]
    fn reader_rejects_malformed_values(
        #[case] text: &[u8],
        #[case] line: u64,
        #[case] column: usize,
        #[case] kind: Malformation,
    ) {
        assert_eq!(read(text), Err((line, column, kind)));
    }

    #[test]
    fn reader_rejects_records_over_the_size_limit() {
        let plain = |bytes: usize| format!("a\n{}", "x".repeat(bytes)).into_bytes();
        assert_eq!(read(&plain(MAX_RECORD)).unwrap().len(), 2);
        assert_eq!(read(&plain(MAX_RECORD + 1)), Err((2, 0, Malformation::TooLong)));
        let rows = "2,b\n".repeat(MAX_RECORD);
        let unclosed = format!("a\n1,\"b\n{rows}");
        assert_eq!(read(unclosed.as_bytes()), Err((2, 1, Malformation::UnclosedQuote)));
    }

    /// The reader consumes at most a buffer and a record before it reports the error.
    #[test]
    fn unclosed_quote_does_not_read_the_whole_file() {
        struct Endless(std::sync::Arc<std::sync::atomic::AtomicUsize>);
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                buffer.fill(b'x');
                self.0.fetch_add(buffer.len(), std::sync::atomic::Ordering::SeqCst);
                Ok(buffer.len())
            }
        }
        let consumed = std::sync::Arc::default();
        let input = Cursor::new(b"a,\"b").chain(Endless(std::sync::Arc::clone(&consumed)));
        let mut reader = RecordReader::new(Box::new(input)).unwrap();
        let mut record = Record::default();
        assert!(matches!(
            reader.read(&mut record),
            Err(ReadError::Malformed { line: 1, column: 1, kind: Malformation::UnclosedQuote })
        ));
        assert!(consumed.load(std::sync::atomic::Ordering::SeqCst) <= 2 * MAX_RECORD);
    }
}
