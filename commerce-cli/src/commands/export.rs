//! `commerce export`: the rows of the store as CSV or NDJSON, to stdout or to files.

use crate::context::CommandContext;
use crate::error::CliError;
use crate::exit::ExitKind;
use crate::interrupt;
use crate::progress;
use crate::values::{self, Edge};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use commerce_core::{Export, ExportError, ExportFormat, ExportKind, ExportWindow, Exporter};
use indicatif::ProgressBar;
use output_file::OutputFile;
use serde::Serialize;
use std::convert::Infallible;
use std::fs;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};

mod output_file;

#[derive(clap::Args, Debug)]
pub(crate) struct ExportCommand {
    /// Kinds of rows; several, or all, need --into.
    #[arg(required = true, value_name = "KIND", value_parser = kinds())]
    kinds: Vec<&'static [ExportKind]>,
    /// Rows written after this time, or from this day on, like 2026-01-31 in the zone of the shop. Products, customers
    /// and coupons are exported whole.
    #[arg(long, value_name = "TIME", value_parser = values::edge)]
    from: Option<Edge>,
    /// Rows written up to this time or day, which counts itself.
    #[arg(long, value_name = "TIME", value_parser = values::edge)]
    to: Option<Edge>,
    /// Format of the rows: comma-separated values with a header, amounts in minor units and times in UTC, or a JSON object a
    /// line.
    #[arg(long, value_name = "FORMAT", default_value = "csv",
          value_parser = values::words(ExportFormat::ALL, ExportFormat::as_str))]
    format: ExportFormat,
    /// Writes texts that a spreadsheet would run as formulas as they are. By default an apostrophe precedes them in CSV.
    #[arg(long)]
    raw: bool,
    /// Begins CSV with a byte order mark, so that a spreadsheet reads it as UTF-8.
    #[arg(long)]
    bom: bool,
    /// Exports products and customers with the stock and the balance that they need before the exported orders are
    /// imported.
    #[arg(long)]
    before_orders: bool,
    /// File to write; it is replaced once the export is complete (default: standard output).
    #[arg(long, value_name = "FILE", conflicts_with = "into")]
    output: Option<PathBuf>,
    /// Directory to write a file a kind into, like orders.csv; it is created if it is missing.
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
}

/// A file that was written.
#[derive(Serialize)]
struct ExportedFile {
    kind: ExportKind,
    rows: u64,
    file: String,
}

#[derive(Serialize)]
struct ExportReport {
    files: Vec<ExportedFile>,
}

/// The kinds that a word selects: one, or all of them.
fn kinds() -> impl TypedValueParser<Value = &'static [ExportKind]> {
    let words = ExportKind::ALL.iter().map(|kind| kind.as_str());
    PossibleValuesParser::new(words.chain(["all"])).try_map(|word| {
        let one =
            ExportKind::ALL.chunks(1).find(|kind| kind.iter().any(|kind| kind.as_str() == word));
        Ok::<_, Infallible>(one.unwrap_or(ExportKind::ALL))
    })
}

impl ExportCommand {
    pub(crate) fn run(self, context: &CommandContext) -> Result<ExitKind, CliError> {
        let kinds = self.kinds.iter().flat_map(|kinds| kinds.iter().copied());
        // In the order of an import, each once.
        let mut kinds: Vec<ExportKind> = kinds.collect();
        let position = |kind: &ExportKind| ExportKind::ALL.iter().position(|other| other == kind);
        kinds.sort_by_key(position);
        kinds.dedup();
        let exports = self.exports(context, &kinds)?;
        let files = match (&self.output, &self.into) {
            (Some(file), _) => one(&exports).map(|export| vec![(export, file.clone())])?,
            (None, Some(folder)) => {
                fs::create_dir_all(folder).map_err(|error| cannot_write(folder, &error))?;
                let file =
                    |export: &Export| folder.join(format!("{}.{}", export.kind, export.format));
                exports.iter().map(|export| (*export, file(export))).collect()
            }
            (None, None) => {
                let export = one(&exports)?;
                if context.output.is_json() {
                    return Err(CliError::usage(
                        "--json prints one document: use --format ndjson for a JSON object a line, or name a file \
                         with --output",
                    ));
                }
                interrupt::watch()?;
                return to_stdout(&context.shop.exporter()?, &export);
            }
        };
        if let Some((_, file)) = files.iter().find(|(_, file)| context.database.owns(file)) {
            let file = file.display();
            let message = format!("{file} is part of the store itself: name another file");
            return Err(CliError::usage(message));
        }
        interrupt::watch()?;
        to_files(context, &files)
    }

    fn exports(
        &self,
        context: &CommandContext,
        kinds: &[ExportKind],
    ) -> Result<Vec<Export>, CliError> {
        let window = if self.from.is_some() || self.to.is_some() {
            let zone = context.shop.settings()?.zone;
            values::check_window(self.from.as_ref(), self.to.as_ref(), zone)?;
            ExportWindow {
                from: self.from.as_ref().map(|from| from.before(zone)),
                to: self.to.as_ref().map(|to| to.last_second(zone)),
            }
        } else {
            ExportWindow::default()
        };
        let has_stock = |kind| matches!(kind, ExportKind::Products | ExportKind::Customers);
        if self.before_orders && !kinds.iter().copied().any(has_stock) {
            return Err(CliError::usage("--before-orders is for products and customers only"));
        }
        let is_whole = |kind: &&ExportKind| !self.before_orders && !kind.has_window();
        if window != ExportWindow::default()
            && let Some(kind) = kinds.iter().find(is_whole)
        {
            context.output.note(format_args!("({kind} are exported whole, whatever the window)"));
        }
        let export = |kind: &ExportKind| Export {
            kind: *kind,
            format: self.format,
            window,
            raw: self.raw,
            bom: self.bom,
            before_orders: self.before_orders && has_stock(*kind),
        };
        Ok(kinds.iter().map(export).collect())
    }
}

/// The only export of a command that writes one file.
fn one(exports: &[Export]) -> Result<Export, CliError> {
    match exports {
        [export] => Ok(*export),
        _ => Err(CliError::usage("several kinds need a directory: add --into DIR")),
    }
}

/// Writes to stdout. A reader that closes the pipe has read enough.
fn to_stdout(exporter: &Exporter<'_>, export: &Export) -> Result<ExitKind, CliError> {
    let stdout = io::stdout().lock();
    // Rows and a bar on the same terminal would be mixed.
    let bar = if stdout.is_terminal() { ProgressBar::hidden() } else { bar() };
    let mut out = Watched { out: stdout, bar: bar.clone() };
    let written = exporter.write(export, &mut out);
    bar.finish_and_clear();
    match written {
        Ok(_) => Ok(ExitKind::Success),
        Err(ExportError::Write(_)) if interrupt::requested() => Ok(ExitKind::Interrupted),
        Err(ExportError::Write(error)) if error.kind() == ErrorKind::BrokenPipe => {
            Ok(ExitKind::Success)
        }
        Err(error) => Err(failed(error, Path::new("the export"))),
    }
}

/// Writes files of one snapshot, which get their names once all are complete.
fn to_files(context: &CommandContext, files: &[(Export, PathBuf)]) -> Result<ExitKind, CliError> {
    let bar = bar();
    let written = write_files(context, files, &bar);
    bar.finish_and_clear();
    let Some(report) = written? else {
        context.output.note("stopped: no file was written");
        return Ok(ExitKind::Interrupted);
    };
    context.output.print(&report, |report| {
        let line = |file: &ExportedFile| {
            let ExportedFile { kind, rows, file } = file;
            format!("{kind} exported to {file}, rows: {rows}")
        };
        report.files.iter().map(line).collect::<Vec<_>>().join("\n")
    })?;
    Ok(ExitKind::Success)
}

/// Returns `None` after Ctrl-C.
fn write_files(
    context: &CommandContext,
    files: &[(Export, PathBuf)],
    bar: &ProgressBar,
) -> Result<Option<ExportReport>, CliError> {
    let exporter = context.shop.exporter()?;
    let (mut complete, mut report) = (Vec::new(), ExportReport { files: Vec::new() });
    for (export, path) in files {
        let file = OutputFile::create(path).map_err(|error| cannot_write(path, &error))?;
        bar.set_message(format!("exporting {}", export.kind));
        let mut out = Watched { out: file, bar: bar.clone() };
        match exporter.write(export, &mut out) {
            Ok(rows) => {
                let file = path.display().to_string();
                report.files.push(ExportedFile { kind: export.kind, rows, file });
            }
            Err(_) if interrupt::requested() => return Ok(None),
            Err(error) => return Err(failed(error, path)),
        }
        complete.push((out.out, path));
    }
    drop(exporter);
    for (file, path) in &mut complete {
        file.sync().map_err(|error| cannot_write(path, &error))?;
    }
    for (file, path) in complete {
        file.finish().map_err(|error| cannot_write(path, &error))?;
    }
    Ok(Some(report))
}

fn bar() -> ProgressBar {
    progress::bytes("exporting", None)
}

fn failed(error: ExportError, path: &Path) -> CliError {
    match error {
        ExportError::Shop(error) => error.into(),
        ExportError::Write(error) => cannot_write(path, &error),
        error => CliError::storage(error.to_string()),
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> CliError {
    CliError::storage(format!("cannot write {}: {error}", path.display()))
}

/// A writer that shows its progress, and fails after Ctrl-C.
struct Watched<W> {
    out: W,
    bar: ProgressBar,
}

impl<W: Write> Write for Watched<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if interrupt::requested() {
            return Err(io::Error::other("stopped"));
        }
        let written = self.out.write(bytes)?;
        self.bar.inc(u64::try_from(written).unwrap_or(0));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guide_has_the_columns_of_each_kind() {
        let guide = include_str!("../../../docs/cli.md");
        let formats = guide.split("## Export formats").nth(1).unwrap();
        for kind in ExportKind::ALL {
            let row = format!("| `{kind}` | `{}` | ", kind.columns().join(","));
            let row = formats.lines().find(|line| line.starts_with(&row)).expect(&row);
            assert_eq!(kind.has_window(), !row.ends_with("| - |"), "{kind}");
        }
    }
}
