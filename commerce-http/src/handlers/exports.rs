//! Exports: the rows of one kind, streamed.

use crate::context::{HandlerResult, RequestContext, Success};
use commerce_core::{Export, ExportError, ExportFormat, ExportKind, ExportWindow, Refusal};
use std::io;
use std::sync::Arc;

pub(crate) fn export(call: &RequestContext<'_>) -> HandlerResult {
    let kind = call.kind.ok_or_else(|| Refusal::invalid("/kind", "name a kind of rows"))?;
    let format = call.parameter::<String>("format")?;
    let (format, bom) = match format.as_deref() {
        Some("ndjson") => (ExportFormat::Ndjson, false),
        Some("csv-bom") => (ExportFormat::Csv, true),
        _ => (ExportFormat::Csv, false),
    };
    let window = ExportWindow { from: call.parameter("from")?, to: call.parameter("to")? };
    let raw = call.parameter("raw")?.unwrap_or(false);
    let export = Export { format, window, raw, bom, ..Export::new(kind) };
    let shop = Arc::clone(&call.state.shop);
    let media = match format {
        ExportFormat::Csv => "text/csv; charset=utf-8",
        ExportFormat::Ndjson => "application/x-ndjson",
    };
    let rows = Success::stream(media, move |out| match shop.export(&export, out) {
        Ok(_) => Ok(()),
        Err(ExportError::Shop(error)) => Err(io::Error::other(error)),
        Err(ExportError::Write(error)) => Err(error),
        Err(error) => Err(io::Error::other(error)),
    });
    Ok(rows.with("Content-Disposition", file_name(kind, format)))
}

/// The name under which a browser saves the rows.
fn file_name(kind: ExportKind, format: ExportFormat) -> String {
    format!("attachment; filename=\"{kind}.{format}\"")
}
