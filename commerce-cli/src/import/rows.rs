//! The rows of a CSV file, one at a time, each knowing its line.

use crate::failure::Failure;
use crate::pipeline::Place;
use crate::progress;
use commerce_core::Timestamp;
use csv::{ErrorKind, Reader, StringRecord};
use indicatif::ProgressBar;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The most of a wrong value that an error shows.
const SHOWN: usize = 40;

pub(super) struct Rows {
    file: String,
    columns: Vec<&'static str>,
    reader: Reader<Box<dyn Read>>,
    record: StringRecord,
    read: u64,
    bar: ProgressBar,
}

/// One row.
pub(super) struct Row<'a> {
    file: &'a str,
    columns: &'a [&'static str],
    record: &'a StringRecord,
}

impl Rows {
    /// Opens a file, `-` for standard input, that must have exactly these columns.
    pub(super) fn open(path: &Path, columns: &[&'static str]) -> Result<Self, Failure> {
        let Input { name: file, content, size } = input(path)?;
        let mut reader = Reader::from_reader(content);
        let header = reader.headers().map_err(|error| unreadable(&file, &error))?;
        if header != columns {
            let (wanted, found) =
                (columns.join(","), shown(&header.iter().collect::<Vec<_>>().join(",")));
            return Err(Failure::usage(format!(
                "{file} must begin with the line {wanted} and begins with {found}"
            )));
        }
        let (record, columns) = (StringRecord::new(), columns.to_vec());
        let bar = progress::bytes("importing", size);
        Ok(Self { file, columns, reader, record, read: 0, bar })
    }

    /// The next row; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Row<'_>>, Failure> {
        let more = self.reader.read_record(&mut self.record);
        if !more.map_err(|error| unreadable(&self.file, &error))? {
            return Ok(None);
        }
        self.read = self.read.saturating_add(1);
        self.bar.set_position(self.reader.position().byte());
        Ok(Some(Row { file: &self.file, columns: &self.columns, record: &self.record }))
    }

    /// Ends the progress bar, and gives how many rows were read.
    pub(super) fn finish(self) -> u64 {
        self.bar.finish_and_clear();
        self.read
    }
}

impl Row<'_> {
    pub(super) fn text(&self, column: usize) -> &str {
        self.record.get(column).unwrap_or_default()
    }

    pub(super) fn number(&self, column: usize) -> Result<i64, Failure> {
        self.text(column).parse().map_err(|_| self.wrong(column, "must be a whole number"))
    }

    pub(super) fn instant(&self, column: usize) -> Result<Timestamp, Failure> {
        let wanted = "must be RFC 3339, like 2026-01-31T12:00:00Z";
        self.text(column).parse().map_err(|_| self.wrong(column, wanted))
    }

    /// What is wrong with a value of this row.
    pub(super) fn wrong(&self, column: usize, wanted: &str) -> Failure {
        let name = self.columns.get(column).copied().unwrap_or_default();
        let sentence = format!("{name} is {} and {wanted}", shown(self.text(column)));
        self.place(None).mark(Failure::usage(sentence))
    }

    /// Where the row is.
    pub(super) fn place(&self, order: Option<&str>) -> Place {
        let line = self.record.position().map_or(0, csv::Position::line);
        let text = match order {
            Some(order) => format!("{}, line {line}, order {order}", self.file),
            None => format!("{}, line {line}", self.file),
        };
        Place { text, line: Some(line), order: order.map(str::to_owned) }
    }
}

/// A file, or standard input.
struct Input {
    name: String,
    content: Box<dyn Read>,
    /// Known of real files only.
    size: Option<u64>,
}

fn input(path: &Path) -> Result<Input, Failure> {
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

/// A file that is not there was named wrongly; anything else is the machine's failure.
fn cannot_read(name: &str, error: &io::Error) -> Failure {
    let sentence = format!("cannot read {name}: {error}");
    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) {
        return Failure::usage(sentence);
    }
    Failure::storage(sentence)
}

fn unreadable(file: &str, error: &csv::Error) -> Failure {
    let line = error.position().map_or(1, csv::Position::line);
    let sentence = if let ErrorKind::Io(error) = error.kind() {
        return cannot_read(file, error);
    } else if let ErrorKind::UnequalLengths { expected_len, len, .. } = error.kind() {
        format!("there are {len} values and {expected_len} columns")
    } else if matches!(error.kind(), ErrorKind::Utf8 { .. }) {
        "the text is not UTF-8".to_owned()
    } else {
        error.to_string()
    };
    let place = Place { text: format!("{file}, line {line}"), line: Some(line), order: None };
    place.mark(Failure::usage(sentence))
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
            Err(failure) => return failure.sentence(),
        };
        loop {
            match rows.next() {
                Ok(Some(row)) => match row.number(0) {
                    Ok(_) => {}
                    Err(failure) => return failure.sentence(),
                },
                Ok(None) => return rows.finish().to_string(),
                Err(failure) => return failure.sentence(),
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
        assert!(
            sentence(b"id,name\n1,a,b\n").ends_with("line 2: there are 3 values and 2 columns")
        );
        assert!(sentence(b"id,name\n1,\xff\n").ends_with("line 2: the text is not UTF-8"));
        assert!(sentence(b"id,name\n99999999999999999999,b\n").contains("must be a whole number"));
    }

    #[test]
    fn what_is_shown_is_short_and_harmless() {
        assert_eq!(shown("a\u{1b}[1m"), "\"a\\u{1b}[1m\"");
        assert_eq!(shown(&"x".repeat(50)), format!("\"{}...\"", "x".repeat(40)));
    }
}
