//! The rows of a CSV file, one at a time, each knowing its line.

use super::records::{Fault, Kind, MAX_RECORD, Reader, Record};
use crate::error::CliError;
use crate::pipeline::SourceLocation;
use crate::progress;
use crate::values;
use commerce_core::{ParseTimestampError, Timestamp};
use indicatif::ProgressBar;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The most of a wrong value that an error shows.
const SHOWN: usize = 40;

pub(super) struct Rows {
    file: String,
    columns: Vec<&'static str>,
    reader: Reader,
    record: Record,
    read: u64,
    bar: ProgressBar,
}

/// One row.
pub(super) struct Row<'a> {
    file: &'a str,
    columns: &'a [&'static str],
    record: &'a Record,
}

impl Rows {
    /// Opens a file, `-` for standard input, that must have exactly these columns.
    pub(super) fn open(path: &Path, columns: &[&'static str]) -> Result<Self, CliError> {
        let Input { name: file, content, size } = input(path)?;
        let reader = Reader::new(content).map_err(|error| cannot_read(&file, &error))?;
        let (record, columns) = (Record::default(), columns.to_vec());
        let bar = progress::bytes("importing", size);
        let mut rows = Self { file, columns, reader, record, read: 0, bar };
        rows.read_record()?;
        let header: Vec<&str> =
            (0..rows.record.len()).map(|column| rows.record.text(column)).collect();
        if header != rows.columns {
            let (wanted, found) = (rows.columns.join(","), shown(&header.join(",")));
            return Err(CliError::usage(format!(
                "{} must begin with the line {wanted} and begins with {found}",
                rows.file
            )));
        }
        Ok(rows)
    }

    fn read_record(&mut self) -> Result<bool, CliError> {
        self.reader.read(&mut self.record).map_err(|fault| match fault {
            Fault::Io(error) => cannot_read(&self.file, &error),
            Fault::Wrong { line, column, kind } => {
                let name = self.columns.get(column).copied().unwrap_or("a value");
                let sentence = format!("{name} {}", wrong_form(&kind));
                SourceLocation::row(&self.file, line).mark(CliError::usage(sentence))
            }
        })
    }

    /// The next row; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Row<'_>>, CliError> {
        if !self.read_record()? {
            return Ok(None);
        }
        self.read = self.read.saturating_add(1);
        self.bar.set_position(self.reader.consumed());
        let row = Row { file: &self.file, columns: &self.columns, record: &self.record };
        let (found, wanted) = (self.record.len(), self.columns.len());
        if found != wanted {
            let sentence = format!(
                "there are {found} values and {wanted} columns: put quotes around a value with commas"
            );
            return Err(row.location(None).mark(CliError::usage(sentence)));
        }
        Ok(Some(row))
    }

    /// Ends the progress bar, and gives how many rows were read.
    pub(super) fn finish(self) -> u64 {
        self.bar.finish_and_clear();
        self.read
    }
}

impl Row<'_> {
    pub(super) fn text(&self, column: usize) -> &str {
        self.record.text(column)
    }

    /// The line that the value of a column begins on.
    pub(super) fn line(&self, column: usize) -> u64 {
        self.record.line(column)
    }

    pub(super) fn number(&self, column: usize) -> Result<i64, CliError> {
        values::whole(self.text(column), "must be a whole number")
            .map_err(|wanted| self.wrong(column, &wanted))
    }

    pub(super) fn instant(&self, column: usize) -> Result<Timestamp, CliError> {
        self.text(column).parse().map_err(|error: ParseTimestampError| {
            self.wrong(column, &format!("cannot be used: {error}"))
        })
    }

    /// What is wrong with a value of this row.
    pub(super) fn wrong(&self, column: usize, wanted: &str) -> CliError {
        let name = self.columns.get(column).copied().unwrap_or_default();
        let sentence = format!("{name} is {} and {wanted}", shown(self.text(column)));
        SourceLocation::row(self.file, self.line(column)).mark(CliError::usage(sentence))
    }

    /// The place of the row.
    pub(super) fn location(&self, order: Option<&str>) -> SourceLocation {
        SourceLocation {
            order: order.map(str::to_owned),
            ..SourceLocation::row(self.file, self.line(0))
        }
    }
}

/// A file, or standard input.
struct Input {
    name: String,
    content: Box<dyn Read>,
    /// Known of real files only.
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

/// A file that is not there was named wrongly; anything else is the machine's error.
fn cannot_read(name: &str, error: &io::Error) -> CliError {
    let sentence = format!("cannot read {name}: {error}");
    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) {
        return CliError::usage(sentence);
    }
    CliError::storage(sentence)
}

/// What is wrong with a value that cannot be told from the others, and what to do.
fn wrong_form(kind: &Kind) -> String {
    match kind {
        Kind::StrayQuote(before) => format!(
            "has a quote after {} that is neither at its ends nor doubled: put the whole value in \
             quotes and write each quote inside it twice, like \"5\"\" nail\"",
            shown(before)
        ),
        Kind::UnclosedQuote => format!(
            "begins with a quote that is not closed within {MAX_RECORD} bytes or the file: close it, \
             or write a quote that belongs to the value twice"
        ),
        Kind::TooLong => {
            format!("makes its row longer than {MAX_RECORD} bytes: shorten it, or end the line")
        }
        Kind::NotUtf8 => "is not UTF-8: save the file as UTF-8".to_owned(),
    }
}

/// A text that may be anything, fit to be shown.
fn shown(text: &str) -> String {
    let start: String = text.chars().take(SHOWN).collect();
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

    fn sentence(text: &[u8]) -> String {
        let file = file(text);
        let mut rows = match Rows::open(file.path(), &["id", "name"]) {
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
    fn rows_are_read_with_and_without_quotes_and_blank_lines() {
        assert_eq!(sentence(b"id,name\r\n1,\"Tea, green\"\r\n\r\n2,Tea"), "2");
        assert_eq!(sentence(b"\xef\xbb\xbfid,name\n"), "0");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        assert!(sentence(b"").ends_with("must begin with the line id,name and begins with \"\""));
        assert!(sentence(b"name,id\n").ends_with("and begins with \"name,id\""));
        assert!(
            sentence(b"id,name\n1,a\nx,b\n")
                .ends_with("line 3: id is \"x\" and must be a whole number")
        );
        assert!(sentence(b"id,name\n1,a,b\n").contains("line 2: there are 3 values and 2 columns"));
        assert!(sentence(b"id,name\n1,\xff\n").contains("line 2: name is not UTF-8"));
        assert!(
            sentence(b"id,name\n99999999999999999999,b\n")
                .ends_with("and must be from -9223372036854775808 to 9223372036854775807")
        );
        let stray = sentence(b"id,name\r\n\r\n1,\"12\" bowl\"\r\n");
        assert!(stray.contains("line 3: name has a quote after \"12\""), "{stray}");
        let unclosed = sentence(b"id,name\n1,\"12\n2,b\n3,c\n");
        assert!(unclosed.contains("line 2: name begins with a quote"), "{unclosed}");
        assert!(sentence(b"\"id,name\n1,b\n").contains("line 1: id begins with a quote"));
    }

    #[test]
    fn what_is_shown_is_short_and_harmless() {
        assert_eq!(shown("a\u{1b}[1m"), "\"a\\u{1b}[1m\"");
        assert_eq!(shown(&"x".repeat(50)), format!("\"{}...\"", "x".repeat(40)));
    }
}
