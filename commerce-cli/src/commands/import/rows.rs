//! The rows of a CSV file, one at a time, each with its line number.

use super::records::{MAX_RECORD, Malformation, ReadError, Record, RecordReader};
use crate::error::CliError;
use crate::pipeline::SourceLocation;
use crate::progress;
use crate::values;
use commerce_core::{ExportKind, ParseTimestampError, Timestamp};
use indicatif::ProgressBar;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The number of characters of an invalid value that an error repeats.
const EXCERPT: usize = 40;

/// The rows of a file.
pub(super) struct CsvRows {
    file: String,
    columns: Vec<String>,
    required: usize,
    reader: RecordReader,
    record: Record,
    read: u64,
    bar: ProgressBar,
}

/// One row.
pub(super) struct CsvRow<'a> {
    file: &'a str,
    columns: &'a [String],
    record: &'a Record,
}

impl CsvRows {
    /// Opens a file (`-` is standard input) of rows that an export of this kind writes. It has the first `required`
    /// columns, and any others of the export after them.
    pub(super) fn open(path: &Path, kind: ExportKind, required: usize) -> Result<Self, CliError> {
        let (required, others) = kind.columns().split_at_checked(required).unwrap_or_default();
        let Input { name: file, content, size } = input(path)?;
        let reader = RecordReader::new(content).map_err(|error| cannot_read(&file, &error))?;
        let record = Record::default();
        let columns = required.iter().map(|name| (*name).to_owned()).collect();
        let bar = progress::bytes("importing", size);
        let required_columns = required.len();
        let mut rows =
            Self { file, columns, required: required_columns, reader, record, read: 0, bar };
        rows.read_record()?;
        let header: Vec<&str> =
            (0..rows.record.len()).map(|column| rows.record.text(column)).collect();
        let Some(added) = header.strip_prefix(required) else {
            let (expected, actual) = (required.join(","), excerpt(&header.join(",")));
            return Err(CliError::usage(format!(
                "{} must begin with the line {expected} and begins with {actual}",
                rows.file
            )));
        };
        let is_repeated = |name: &&str| added.iter().filter(|other| *other == name).count() > 1;
        let wrong = added.iter().find(|name| !others.contains(name) || is_repeated(name));
        if let Some(name) = wrong {
            return Err(CliError::usage(format!(
                "{} has the column {}, which is none of {} or is there twice: remove it",
                rows.file,
                excerpt(name),
                others.join(", ")
            )));
        }
        rows.columns = header.into_iter().map(str::to_owned).collect();
        Ok(rows)
    }

    fn read_record(&mut self) -> Result<bool, CliError> {
        self.reader.read(&mut self.record).map_err(|error| match error {
            ReadError::Io(error) => cannot_read(&self.file, &error),
            ReadError::Malformed { line, column, kind } => {
                let name = self.columns.get(column).map_or("a value", String::as_str);
                let message = format!("{name} {}", malformed(&kind));
                SourceLocation::row(&self.file, line).annotate(CliError::usage(message))
            }
        })
    }

    /// The next row; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<CsvRow<'_>>, CliError> {
        if !self.read_record()? {
            return Ok(None);
        }
        self.read = self.read.saturating_add(1);
        self.bar.set_position(self.reader.consumed());
        let row = CsvRow { file: &self.file, columns: &self.columns, record: &self.record };
        let (actual, expected) = (self.record.len(), self.columns.len());
        if actual != expected {
            let message = format!(
                "there are {actual} values and {expected} columns: put quotes around a value with commas"
            );
            return Err(row.location(None).annotate(CliError::usage(message)));
        }
        Ok(Some(row))
    }

    /// Returns true if the file has columns that only an export writes.
    pub(super) fn is_export(&self) -> bool {
        self.columns.len() > self.required
    }

    /// Ends the progress bar, and returns the number of rows read.
    pub(super) fn finish(self) -> u64 {
        self.bar.finish_and_clear();
        self.read
    }
}

impl CsvRow<'_> {
    pub(super) fn text(&self, column: usize) -> &str {
        self.record.text(column)
    }

    /// The index of a column beyond the required ones, if the file has it and the row has a value there.
    pub(super) fn given(&self, name: &str) -> Option<usize> {
        let column = self.columns.iter().position(|column| column == name)?;
        (!self.text(column).is_empty()).then_some(column)
    }

    /// The text in a column beyond the required ones.
    pub(super) fn given_text(&self, name: &str) -> Option<&str> {
        self.given(name).map(|column| self.text(column))
    }

    /// The line that the value of a column begins on.
    pub(super) fn line(&self, column: usize) -> u64 {
        self.record.line(column)
    }

    pub(super) fn number(&self, column: usize) -> Result<i64, CliError> {
        values::integer_or(self.text(column), "must be an integer")
            .map_err(|message| self.invalid(column, &message))
    }

    pub(super) fn instant(&self, column: usize) -> Result<Timestamp, CliError> {
        self.text(column).parse().map_err(|error: ParseTimestampError| {
            self.invalid(column, &format!("cannot be used: {error}"))
        })
    }

    /// The error of an invalid value in this row.
    pub(super) fn invalid(&self, column: usize, message: &str) -> CliError {
        let name = self.columns.get(column).map_or("", String::as_str);
        let message = format!("{name} is {} and {message}", excerpt(self.text(column)));
        SourceLocation::row(self.file, self.line(column)).annotate(CliError::usage(message))
    }

    /// The location of the row.
    pub(super) fn location(&self, order: Option<&str>) -> SourceLocation {
        SourceLocation {
            order: order.map(str::to_owned),
            ..SourceLocation::row(self.file, self.line(0))
        }
    }
}

/// A file or standard input.
struct Input {
    name: String,
    content: Box<dyn Read>,
    /// The size of a regular file; unknown for a pipe.
    size: Option<u64>,
}

fn input(path: &Path) -> Result<Input, CliError> {
    if path == Path::new("-") {
        let name = "standard input".to_owned();
        return Ok(Input { name, content: Box::new(io::stdin()), size: None });
    }
    let name = path.display().to_string();
    let open = || {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            Err(io::ErrorKind::IsADirectory.into())
        } else {
            Ok((file, metadata))
        }
    };
    let (file, metadata) = open().map_err(|error| cannot_read(&name, &error))?;
    let size = metadata.is_file().then_some(metadata.len());
    Ok(Input { name, content: Box::new(file), size })
}

/// The error of an unreadable file: wrong usage if it is missing or a directory, otherwise a failure of the
/// machine.
fn cannot_read(name: &str, error: &io::Error) -> CliError {
    let message = format!("cannot read {name}: {error}");
    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) {
        return CliError::usage(message);
    }
    CliError::storage(message)
}

/// The error message of a malformed value, with the correction.
fn malformed(kind: &Malformation) -> String {
    match kind {
        Malformation::StrayQuote(before) => format!(
            "has a quote after {} that is neither at its ends nor doubled: put the whole value in \
             quotes and write each quote inside it twice, like \"5\"\" nail\"",
            excerpt(before)
        ),
        Malformation::UnclosedQuote => format!(
            "begins with a quote that is not closed within {MAX_RECORD} bytes or the file: close it, \
             or write a quote that belongs to the value twice"
        ),
        Malformation::TooLong => {
            format!("makes its row longer than {MAX_RECORD} bytes: shorten it, or end the line")
        }
        Malformation::NotUtf8 => "is not UTF-8: save the file as UTF-8".to_owned(),
    }
}

/// The beginning of untrusted text, escaped for a terminal.
fn excerpt(text: &str) -> String {
    let start: String = text.chars().take(EXCERPT).collect();
    let dots = if start.len() < text.len() { "..." } else { "" };
    format!("\"{}{dots}\"", start.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(text: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        file
    }

    fn error_or_count(text: &[u8]) -> String {
        let file = file(text);
        let mut rows = match CsvRows::open(file.path(), ExportKind::Products, 2) {
            Ok(rows) => rows,
            Err(error) => return error.sentence(),
        };
        loop {
            match rows.next() {
                Ok(Some(row)) => match row.number(0) {
                    Ok(_) => {}
                    Err(error) => return error.sentence(),
                },
                Ok(None) => return rows.finish().to_string(),
                Err(error) => return error.sentence(),
            }
        }
    }

    #[test]
    fn rows_accept_quotes_blank_lines_and_byte_order_mark() {
        assert_eq!(error_or_count(b"id,name\r\n1,\"Tea, green\"\r\n\r\n2,Tea"), "2");
        assert_eq!(error_or_count(b"\xef\xbb\xbfid,name\n"), "0");
    }

    #[test]
    fn errors_name_line_and_column() {
        assert!(
            error_or_count(b"").ends_with("must begin with the line id,name and begins with \"\"")
        );
        assert!(error_or_count(b"name,id\n").ends_with("and begins with \"name,id\""));
        assert!(
            error_or_count(b"id,name\n1,a\nx,b\n")
                .ends_with("line 3: id is \"x\" and must be an integer")
        );
        assert!(
            error_or_count(b"id,name\n1,a,b\n")
                .contains("line 2: there are 3 values and 2 columns")
        );
        assert!(error_or_count(b"id,name\n1,\xff\n").contains("line 2: name is not UTF-8"));
        assert!(
            error_or_count(b"id,name\n99999999999999999999,b\n")
                .ends_with("and must be from -9223372036854775808 to 9223372036854775807")
        );
        let stray = error_or_count(b"id,name\r\n\r\n1,\"12\" bowl\"\r\n");
        assert!(stray.contains("line 3: name has a quote after \"12\""), "{stray}");
        let unclosed = error_or_count(b"id,name\n1,\"12\n2,b\n3,c\n");
        assert!(unclosed.contains("line 2: name begins with a quote"), "{unclosed}");
        assert!(error_or_count(b"\"id,name\n1,b\n").contains("line 1: id begins with a quote"));
    }

    #[test]
    fn header_may_have_further_columns_of_an_export() {
        assert_eq!(error_or_count(b"id,name,stock\n1,Tea,5\n"), "1");
        assert_eq!(error_or_count(b"id,name,status,price\n1,Tea,active,5\n"), "1");
        let unknown = error_or_count(b"id,name,colour\n1,Tea,5\n");
        assert!(unknown.contains("has the column \"colour\", which is none of"), "{unknown}");
        assert!(error_or_count(b"id,name,stock,stock\n").contains("there twice: remove it"));
    }

    #[test]
    fn excerpt_is_short_and_escaped() {
        assert_eq!(excerpt("a\u{1b}[1m"), "\"a\\u{1b}[1m\"");
        assert_eq!(excerpt(&"x".repeat(50)), format!("\"{}...\"", "x".repeat(40)));
    }
}
