//! The only writer of this program: the result of a command goes to stdout, everything else to stderr.
//!
//! A result is one JSON document or text. A broken pipe is success: the reader has read enough.

use crate::error::CliError;
use crate::exit::ExitKind;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use serde::Serialize;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Display;
use std::fs::File;
use std::io::{ErrorKind as IoErrorKind, IsTerminal, Write, stderr, stdout};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::panic::PanicHookInfo;

/// The output format: JSON or text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints the result: the body as JSON, or the text that `text` makes of it.
    pub(crate) fn print<T: Serialize>(
        self,
        body: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), CliError> {
        if !self.json {
            return write(&text(body));
        }
        let document = serde_json::to_string(body);
        write(&document.map_err(|error| CliError::storage(format!("cannot write JSON: {error}")))?)
    }

    /// Prints a text that is the result in both modes.
    pub(crate) fn print_text(text: &str) -> Result<(), CliError> {
        write(text)
    }

    /// Returns true if the result is a JSON document.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Prints the result in JSON mode only, for commands whose text output consists of notes.
    pub(crate) fn print_json_only<T: Serialize>(self, body: &T) -> Result<(), CliError> {
        if self.json { self.print(body, |_| String::new()) } else { Ok(()) }
    }

    /// Writes a remark to stderr in text mode. JSON output contains the same facts.
    pub(crate) fn note(self, line: impl Display) {
        if !self.json {
            write_line(&line);
        }
    }

    /// Writes a line to stderr in JSON mode only. Text output contains the same facts.
    pub(crate) fn note_json_only(self, line: impl Display) {
        if self.json {
            write_line(&line);
        }
    }

    /// Writes a warning to stderr in both modes: no result contains it.
    #[expect(clippy::unused_self, reason = "a warning is the same in both modes")]
    pub(crate) fn warn(self, line: impl Display) {
        write_line(&line);
    }
}

/// Writes an error to stderr: a sentence, or the problem object in JSON mode.
pub(crate) fn error(error: &CliError, json: bool) {
    if json {
        write_line(&serde_json::to_string(&error.problem()).unwrap_or_default());
    } else {
        write_line(&format_args!("commerce: {}", error.sentence()));
    }
}

/// Writes a panic as one line, with a backtrace if `RUST_BACKTRACE` is set.
pub(crate) fn report_panic(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let owned = payload.downcast_ref::<String>().map(String::as_str);
    let message = owned.or(payload.downcast_ref().copied()).unwrap_or("no message");
    let location = panic.location().map(|at| format!(" ({at})")).unwrap_or_default();
    write_line(&format_args!("commerce: internal error, please report it: {message}{location}"));
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        write_line(&backtrace);
    }
}

/// Prints help and version to stdout, and turns every other clap error into a usage error.
pub(crate) fn help(error: &clap::Error) -> Result<ExitKind, CliError> {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let rendered = error.render();
        let text = if colours() { rendered.ansi().to_string() } else { rendered.to_string() };
        return write(text.trim_end()).map(|()| ExitKind::Success);
    }
    Err(CliError::usage(usage_sentence(error)))
}

/// Returns true if stdout is a terminal and neither `NO_COLOR` nor `TERM=dumb` forbids colours.
pub(crate) fn colours() -> bool {
    let disabled = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    !disabled && stdout().is_terminal()
}

/// Returns true if stdout is `/dev/null`, which the Rust runtime also opens in place of a closed stdout.
pub(crate) fn is_discarded() -> bool {
    let device =
        |file: &File| file.metadata().ok().filter(|file| file.file_type().is_char_device());
    let stdout = stdout().as_fd().try_clone_to_owned().map(File::from);
    let (stdout, null) = (stdout.ok(), File::open("/dev/null").ok());
    let (stdout, null) = (stdout.as_ref().and_then(device), null.as_ref().and_then(device));
    stdout.zip(null).is_some_and(|(stdout, null)| stdout.rdev() == null.rdev())
}

/// The width of charts in columns if stdout is not a terminal.
const DEFAULT_WIDTH: usize = 80;

/// The width of charts in columns.
pub(crate) fn width() -> usize {
    terminal_width().map_or(DEFAULT_WIDTH, usize::from)
}

/// The width of the terminal in columns; `None` if stdout is not a terminal.
pub(crate) fn terminal_width() -> Option<u16> {
    terminal_size::terminal_size_of(stdout()).map(|(width, _)| width.0)
}

/// One sentence of message and hint. clap's errors are a message, hints and the usage, each a
/// paragraph.
fn usage_sentence(error: &clap::Error) -> String {
    let rendered = error.render().to_string();
    let missing =
        [ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, ErrorKind::MissingSubcommand];
    if missing.contains(&error.kind()) {
        let usage = rendered.lines().find_map(|line| line.strip_prefix("Usage: "));
        return format!(
            "a command is missing: {} (--help lists the commands)",
            usage.unwrap_or_default()
        );
    }
    let paragraph = rendered.split("\n\n").next().unwrap_or_default();
    let message = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    match suggestion(error) {
        Some(suggestion) => format!("{message}: did you mean '{suggestion}'?"),
        None => format!("{message} (see --help)"),
    }
}

fn suggestion(error: &clap::Error) -> Option<&str> {
    let kinds =
        [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue];
    let value = kinds.into_iter().find_map(|kind| error.get(kind))?;
    if let ContextValue::Strings(texts) = value {
        return texts.first().map(String::as_str);
    }
    if let ContextValue::String(text) = value { Some(text) } else { None }
}

fn write(text: &str) -> Result<(), CliError> {
    let mut stdout = stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != IoErrorKind::BrokenPipe => {
            Err(CliError::storage(format!("cannot write the result: {error}")))
        }
        _ => Ok(()),
    }
}

fn write_line(line: &impl Display) {
    // A closed stderr leaves no way to report the failure.
    let _ = writeln!(stderr().lock(), "{line}");
}
