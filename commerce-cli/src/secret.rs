//! Passwords and keys, read from a file or standard input, or generated. They are never arguments, which
//! every user of the machine can see.

use crate::error::CliError;
use crate::unique;
use commerce_outbound::SecretSource;
use std::env::VarError;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, stdin};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The maximum length of a line in bytes.
const MAX_LINE: u64 = 4_096;

/// The number of bytes of a secrets file that are read: enough for dozens of secrets.
const MAX_FILE: u64 = 4_096;

// The `--password-file` option.
#[derive(clap::Args, Debug)]
pub(crate) struct PasswordArg {
    /// File whose first line is the password; - is standard input (default: a generated password, which is
    /// printed).
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// A password.
pub(crate) struct Password {
    pub(crate) text: String,
    /// True if the password has yet to be shown to the user.
    pub(crate) is_generated: bool,
}

impl PasswordArg {
    /// Selects a generated password.
    pub(crate) fn generated() -> Self {
        Self { password_file: None }
    }

    pub(crate) fn get(&self) -> Result<Password, CliError> {
        match &self.password_file {
            None => {
                Ok(Password { text: unique::random()?.simple().to_string(), is_generated: true })
            }
            Some(path) => Ok(Password { text: read(path)?, is_generated: false }),
        }
    }
}

/// Secrets from a file, which is read again before each use (rotation needs no restart), or from the
/// environment; `None` if neither has any.
pub(crate) fn source(
    file: Option<&Path>,
    variable: &str,
) -> Result<Option<SecretSource>, CliError> {
    let Some(path) = file else {
        return Ok(from_environment(variable)?.map(SecretSource::fixed));
    };
    let text = read_all(path)?;
    if !path.is_file() {
        // A pipe can be read only once, so it is not reloaded.
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
            Err(CliError::usage(format!("{variable} is not UTF-8: set it again")))
        }
    }
}

/// Returns true if text may contain a secret of Stripe or Standard Webhooks. Messages must not repeat it.
pub(crate) fn looks_like_secret(text: &str) -> bool {
    let mut words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.any(|word| ["whsec_", "sk_", "rk_"].iter().any(|prefix| word.starts_with(prefix)))
}

fn read(path: &Path) -> Result<String, CliError> {
    if path == Path::new("-") {
        return first_line(stdin().lock(), path);
    }
    first_line(BufReader::new(open(path)?), path)
}

/// All lines of a file, or the first line of standard input, which may be a terminal.
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
    let failed = |error| {
        if path.to_str().is_none_or(looks_like_secret) {
            return CliError::usage(
                "expected the name of a file, not its content: write the content to a file that only you \
                 can read",
            );
        }
        CliError::usage(format!("cannot read {}: {error}", path.display()))
    };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_file() && metadata.permissions().mode() & 0o077 != 0 {
        let path = path.display();
        return Err(CliError::usage(format!(
            "other users can read {path}: run `chmod 600 {path}` first"
        )));
    }
    Ok(file)
}

fn first_line(reader: impl BufRead, path: &Path) -> Result<String, CliError> {
    let mut line = String::new();
    let read = reader.take(MAX_LINE).read_line(&mut line);
    read.map_err(|error| CliError::usage(format!("cannot read {}: {error}", path.display())))?;
    // Some editors write a byte order mark, which is not part of the secret.
    let line = line.strip_prefix('\u{feff}').unwrap_or(&line).trim_end_matches(['\r', '\n']);
    if line.is_empty() {
        let path = path.display();
        return Err(CliError::usage(format!(
            "the first line of {path} is empty: write the secret there"
        )));
    }
    Ok(line.to_owned())
}
