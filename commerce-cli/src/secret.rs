//! Passwords and keys at the command line: read from a file or standard input, or made up; never an argument,
//! which everybody on the machine can see.

use crate::error::CliError;
use crate::unique;
use commerce_outbound::SecretSource;
use std::env::VarError;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, stdin};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The longest line that is looked at.
const MAX_LINE: u64 = 4_096;

/// The most bytes of a file of secrets that are read: a good many secrets.
const MAX_FILE: u64 = 4_096;

/// Where a password comes from.
#[derive(clap::Args, Debug)]
pub(crate) struct PasswordArg {
    /// A file whose first line is the password; - is standard input. Without it one is made up and shown.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// A password, and whether the person has yet to be told it.
pub(crate) struct Password {
    pub(crate) text: String,
    pub(crate) generated_key: bool,
}

impl PasswordArg {
    /// One is to be made up.
    pub(crate) fn none() -> Self {
        Self { password_file: None }
    }

    pub(crate) fn get(&self) -> Result<Password, CliError> {
        match &self.password_file {
            None => Ok(Password {
                text: unique::at_random()?.simple().to_string(),
                generated_key: true,
            }),
            Some(path) => Ok(Password { text: read(path)?, generated_key: false }),
        }
    }
}

/// Secrets from a file, which is read again before each use, or else from the environment; `None` when they are in
/// neither.
pub(crate) fn from(file: Option<&Path>, variable: &str) -> Result<Option<SecretSource>, CliError> {
    let Some(path) = file else {
        return Ok(from_environment(variable)?.map(SecretSource::fixed));
    };
    let text = read_all(path)?;
    if !path.is_file() {
        // A pipe can be read only once.
        return Ok(Some(SecretSource::fixed(text)));
    }
    let path = path.to_owned();
    Ok(Some(SecretSource::read_by(move || read_all(&path).map_err(|error| error.sentence()))))
}

#[expect(clippy::disallowed_methods, reason = "this is the command line")]
fn from_environment(variable: &str) -> Result<Option<String>, CliError> {
    match std::env::var(variable) {
        Ok(text) => Ok(Some(text)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => {
            Err(CliError::usage(format!("{variable} holds bytes that are no text: set it anew")))
        }
    }
}

/// Whether a text may hold a secret of Stripe or of Standard Webhooks: then it is not repeated.
pub(crate) fn looks_like_one(text: &str) -> bool {
    let mut words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.any(|word| ["whsec_", "sk_", "rk_"].iter().any(|beginning| word.starts_with(beginning)))
}

fn read(path: &Path) -> Result<String, CliError> {
    if path == Path::new("-") {
        return first_line(stdin().lock(), path);
    }
    first_line(BufReader::new(open(path)?), path)
}

/// All lines of a file, and the first one of standard input, which may be a terminal.
fn read_all(path: &Path) -> Result<String, CliError> {
    if path == Path::new("-") {
        return read(path);
    }
    let mut text = String::new();
    match open(path)?.take(MAX_FILE).read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(error) => Err(CliError::usage(format!("cannot read {}: {error}", path.display()))),
    }
}

fn open(path: &Path) -> Result<File, CliError> {
    let told = |error| {
        if path.to_str().is_none_or(looks_like_one) {
            return CliError::usage(
                "a file's name is wanted, and not what it is to hold: write that into a file that only you \
                 can read",
            );
        }
        CliError::usage(format!("cannot read {}: {error}", path.display()))
    };
    let file = File::open(path).map_err(told)?;
    let metadata = file.metadata().map_err(told)?;
    if metadata.is_file() && metadata.permissions().mode() & 0o077 != 0 {
        let path = path.display();
        return Err(CliError::usage(format!(
            "others can read {path}: run `chmod 600 {path}` first"
        )));
    }
    Ok(file)
}

fn first_line(reader: impl BufRead, path: &Path) -> Result<String, CliError> {
    let mut line = String::new();
    let read = reader.take(MAX_LINE).read_line(&mut line);
    read.map_err(|error| CliError::usage(format!("cannot read {}: {error}", path.display())))?;
    // Editors of some systems write a byte order mark, which is no part of the text.
    let line = line.strip_prefix('\u{feff}').unwrap_or(&line).trim_end_matches(['\r', '\n']);
    if line.is_empty() {
        let path = path.display();
        return Err(CliError::usage(format!(
            "the first line of {path} is empty: write the secret there"
        )));
    }
    Ok(line.to_owned())
}
