//! The one writer: an answer goes to stdout whole, everything else to stderr.
//!
//! An answer is either one JSON document or text. A reader that has closed the pipe has seen enough:
//! that is success.

use crate::args::ExitKind;
use crate::error::CliError;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use serde::Serialize;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Display;
use std::fs::File;
use std::io::{ErrorKind as IoErrorKind, IsTerminal, Write, stderr, stdout};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::panic::PanicHookInfo;

/// How answers are wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Gives the answer: the body as JSON, or the text that is made for a person.
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

    /// Gives what only programs ask for: people have been told it in notes.
    pub(crate) fn print_json_only<T: Serialize>(self, body: &T) -> Result<(), CliError> {
        if self.json { self.print(body, |_| String::new()) } else { Ok(()) }
    }

    /// Tells a person something beside the answer. Programs have it in the answer.
    pub(crate) fn note(self, line: impl Display) {
        if !self.json {
            tell(&line);
        }
    }

    /// Tells a program beside the answer what a person has in it.
    pub(crate) fn note_json_only(self, line: impl Display) {
        if self.json {
            tell(&line);
        }
    }

    /// Tells of warn, or of what else may matter and is in no answer.
    #[expect(clippy::unused_self, reason = "programs are told as people are")]
    pub(crate) fn warn(self, line: impl Display) {
        tell(&line);
    }
}

/// Tells on stderr what went wrong.
pub(crate) fn error(error: &CliError, json: bool) {
    if json {
        tell(&serde_json::to_string(&error.problem()).unwrap_or_default());
    } else {
        tell(&format_args!("commerce: {}", error.sentence()));
    }
}

/// Writes a panic as one line, and where it came from when `RUST_BACKTRACE` asks for that.
pub(crate) fn defect(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let owned = payload.downcast_ref::<String>().map(String::as_str);
    let message = owned.or(payload.downcast_ref().copied()).unwrap_or("no message");
    let location = panic.location().map(|at| format!(" ({at})")).unwrap_or_default();
    tell(&format_args!(
        "commerce: a defect of this program, please report it: {message}{location}"
    ));
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        tell(&backtrace);
    }
}

/// Answers what clap has to say: help and version are answers, the rest is wrong usage.
pub(crate) fn help(error: &clap::Error) -> Result<ExitKind, CliError> {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let rendered = error.render();
        let text = if colours() { rendered.ansi().to_string() } else { rendered.to_string() };
        return write(text.trim_end()).map(|()| ExitKind::Success);
    }
    Err(CliError::usage(usage_sentence(error)))
}

/// Whether stdout shows colours: on a terminal, unless `NO_COLOR` asks for none.
pub(crate) fn colours() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    !unwanted && stdout().is_terminal()
}

/// Whether what is written to stdout goes nowhere. The runtime opens `/dev/null` for one that is closed.
pub(crate) fn is_discarded() -> bool {
    let device =
        |file: &File| file.metadata().ok().filter(|file| file.file_type().is_char_device());
    let stdout = stdout().as_fd().try_clone_to_owned().map(File::from);
    let (stdout, null) = (stdout.ok(), File::open("/dev/null").ok());
    let (stdout, null) = (stdout.as_ref().and_then(device), null.as_ref().and_then(device));
    stdout.zip(null).is_some_and(|(stdout, null)| stdout.rdev() == null.rdev())
}

/// How many columns stdout has, when it is a terminal.
pub(crate) fn terminal_width() -> Option<u16> {
    terminal_size::terminal_size_of(stdout()).map(|(width, _)| width.0)
}

/// clap's error is a message, hints and a usage, each a paragraph. A person gets message and hint as
/// one sentence.
fn usage_sentence(error: &clap::Error) -> String {
    let rendered = error.render().to_string();
    let missing =
        [ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, ErrorKind::MissingSubcommand];
    if missing.contains(&error.kind()) {
        let usage = rendered.lines().find_map(|line| line.strip_prefix("Usage: "));
        return format!("a command is missing: {} (--help lists them)", usage.unwrap_or_default());
    }
    let paragraph = rendered.split("\n\n").next().unwrap_or_default();
    let message = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    match suggestion(error) {
        Some(suggestion) => format!("{message}: did you mean '{suggestion}'?"),
        None => format!("{message} (--help explains)"),
    }
}

fn suggestion(error: &clap::Error) -> Option<&str> {
    let kinds =
        [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue];
    let found = kinds.into_iter().find_map(|kind| error.get(kind))?;
    if let ContextValue::Strings(texts) = found {
        return texts.first().map(String::as_str);
    }
    if let ContextValue::String(text) = found { Some(text) } else { None }
}

fn write(text: &str) -> Result<(), CliError> {
    let mut stdout = stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != IoErrorKind::BrokenPipe => {
            Err(CliError::storage(format!("cannot write the answer: {error}")))
        }
        _ => Ok(()),
    }
}

fn tell(line: &impl Display) {
    // Nobody is left to tell when stderr is gone.
    let _ = writeln!(stderr().lock(), "{line}");
}
