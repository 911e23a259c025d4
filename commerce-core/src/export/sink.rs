//! Writes the rows of one export, in its format.

use super::columns::ExportRow;
use super::{Export, ExportError};
use crate::csv::{self, Formulas};
use crate::model::export::ExportFormat;
use crate::money::{Currency, InCurrency};
use serde::Serialize;
use std::io::{self, Write};
use std::ops::ControlFlow;

/// The bytes that are written at once.
const BUFFER: usize = 64 * 1024;

pub(super) struct Sink<'a> {
    out: &'a mut dyn Write,
    /// The bytes that are not written yet, and never are if the store fails.
    buffer: Vec<u8>,
    format: ExportFormat,
    formulas: Formulas,
    mark: &'static str,
    currency: Currency,
    /// A row of CSV, kept for its memory.
    text: String,
    rows: u64,
    failure: Option<io::Error>,
}

impl<'a> Sink<'a> {
    pub(super) fn new(export: &Export, currency: Currency, out: &'a mut dyn Write) -> Self {
        Self {
            out,
            buffer: Vec::with_capacity(BUFFER),
            format: export.format,
            formulas: if export.raw { Formulas::Kept } else { Formulas::Defused },
            mark: if export.bom { csv::BYTE_ORDER_MARK } else { "" },
            currency,
            text: String::new(),
            rows: 0,
            failure: None,
        }
    }

    /// Writes what precedes the rows.
    pub(super) fn begin(&mut self, columns: &[&str]) {
        if self.format == ExportFormat::Csv {
            self.text.push_str(self.mark);
            csv::push_header(&mut self.text, columns);
            // It fits into the buffer.
            let _ = self.take_text();
        }
    }

    /// Writes a row that is one in both formats.
    pub(super) fn row<T: ExportRow + Serialize>(&mut self, row: &T) -> ControlFlow<()> {
        self.object(row, [row])
    }

    /// Writes a row that is an object in JSON and other rows in CSV.
    pub(super) fn object<'b, T: ExportRow + 'b>(
        &mut self,
        object: &impl Serialize,
        rows: impl IntoIterator<Item = &'b T>,
    ) -> ControlFlow<()> {
        match self.format {
            ExportFormat::Csv => rows.into_iter().try_for_each(|row| self.record(row)),
            ExportFormat::Ndjson if T::HAS_AMOUNTS => {
                self.line(&InCurrency { body: object, currency: self.currency })
            }
            ExportFormat::Ndjson => self.line(object),
        }
    }

    fn record(&mut self, row: &impl ExportRow) -> ControlFlow<()> {
        let (text, formulas) = (&mut self.text, self.formulas);
        let mut is_first = true;
        row.cells(&mut |cell| {
            csv::push_cell(text, std::mem::take(&mut is_first), cell, formulas);
        });
        csv::end_record(text);
        self.rows = self.rows.saturating_add(1);
        self.take_text()
    }

    fn line(&mut self, object: &impl Serialize) -> ControlFlow<()> {
        if let Err(error) = serde_json::to_writer(&mut self.buffer, object) {
            self.failure.get_or_insert(error.into());
        }
        self.buffer.push(b'\n');
        self.rows = self.rows.saturating_add(1);
        self.write_full()
    }

    fn take_text(&mut self) -> ControlFlow<()> {
        self.buffer.extend_from_slice(self.text.as_bytes());
        self.text.clear();
        self.write_full()
    }

    /// Writes the buffer once it is full. The first failure ends the scan.
    fn write_full(&mut self) -> ControlFlow<()> {
        if self.buffer.len() >= BUFFER && !self.has_failed() {
            self.failure = self.out.write_all(&self.buffer).err();
            self.buffer.clear();
        }
        if self.has_failed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Returns true if no row can be written any more.
    pub(super) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Writes what is buffered, and returns the number of rows.
    pub(super) fn finish(mut self) -> Result<u64, ExportError> {
        if let Some(error) = self.failure.take() {
            return Err(ExportError::Write(error));
        }
        let written = self.out.write_all(&self.buffer).and_then(|()| self.out.flush());
        written.map(|()| self.rows).map_err(ExportError::Write)
    }
}
