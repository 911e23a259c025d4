//! The `--database` value: a path, `sqlite:PATH`, or the URL of a PostgreSQL server.

use crate::error::CliError;
use commerce_core::{Currency, SqliteStore, Store};
use commerce_postgres::PostgresStore;
use std::fmt;
use std::num::NonZeroU32;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

/// The location of a store.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Database {
    /// An SQLite file.
    File(PathBuf),
    /// A database on a PostgreSQL server.
    Server {
        /// The URL as given, possibly with a password.
        url: String,
        /// The URL without user and password, for messages.
        redacted: String,
    },
}

/// The behaviour if the store does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenMode {
    /// Fails, so that a command that only reads does not leave an empty store behind.
    MustExist,
    /// Creates the store.
    Create,
}

impl Database {
    /// Parses a database URL. The error message does not repeat the URL, because it may contain a
    /// password.
    pub(crate) fn from_url(url: &str) -> Result<Self, CliError> {
        url.parse().map_err(|message: String| CliError::usage(message))
    }

    /// Opens the store, and migrates one of an older version.
    pub(crate) fn open(&self, mode: OpenMode) -> Result<Arc<dyn Store>, CliError> {
        match mode {
            OpenMode::Create => self.create(None),
            OpenMode::MustExist => self.find()?.ok_or_else(|| self.missing()),
        }
    }

    /// The error of a store that does not exist.
    pub(crate) fn missing(&self) -> CliError {
        CliError::storage(format!(
            "there is no store at {self}: run `commerce init` first, or name another --database"
        ))
    }

    /// Opens the store; `None` if it does not exist.
    pub(crate) fn find(&self) -> Result<Option<Arc<dyn Store>>, CliError> {
        match self {
            Self::File(path) => {
                Ok(SqliteStore::find(path)?.map(|store| -> Arc<dyn Store> { Arc::new(store) }))
            }
            Self::Server { url, .. } => {
                Ok(PostgresStore::find(url)?.map(|store| -> Arc<dyn Store> { Arc::new(store) }))
            }
        }
    }

    /// Opens the store, or creates it with that currency (default: KRW).
    pub(crate) fn create(&self, currency: Option<Currency>) -> Result<Arc<dyn Store>, CliError> {
        Ok(match (self, currency) {
            (Self::File(path), Some(currency)) => Arc::new(SqliteStore::create(path, currency)?),
            (Self::File(path), None) => Arc::new(SqliteStore::open(path)?),
            (Self::Server { url, .. }, Some(currency)) => {
                Arc::new(PostgresStore::create(url, currency)?)
            }
            (Self::Server { url, .. }, None) => Arc::new(PostgresStore::open(url)?),
        })
    }

    /// Opens the store, or creates it distributed over the machines of a Citus cluster.
    pub(crate) fn distribute(
        &self,
        currency: Currency,
        shards: Option<NonZeroU32>,
    ) -> Result<Arc<dyn Store>, CliError> {
        match self {
            Self::File(path) => Err(CliError::usage(format!(
                "{} is a file: --distribute requires a database on a PostgreSQL server",
                path.display()
            ))),
            Self::Server { url, .. } => {
                Ok(Arc::new(PostgresStore::create_distributed(url, currency, shards)?))
            }
        }
    }

    /// Opens the store, or creates it on one machine of a Citus cluster.
    pub(crate) fn create_local(&self, currency: Currency) -> Result<Arc<dyn Store>, CliError> {
        match self {
            Self::File(_) => self.create(Some(currency)),
            Self::Server { url, .. } => Ok(Arc::new(PostgresStore::create_local(url, currency)?)),
        }
    }

    /// Returns true if a file belongs to the store: the database, or its log, index, lock or journal.
    pub(crate) fn owns(&self, path: &Path) -> bool {
        let Self::File(store) = self else { return false };
        let path = canonical(path);
        ["", "-wal", "-shm", "-lock", "-journal"].iter().any(|suffix| {
            [store.clone(), canonical(store)].into_iter().any(|store| {
                let mut name = store.into_os_string();
                name.push(suffix);
                let own = canonical(Path::new(&name));
                path == own || is_same_file(&path, &own)
            })
        })
    }

    /// The schema version that this program writes.
    pub(crate) fn schema_version(&self) -> i64 {
        match self {
            Self::File(_) => SqliteStore::SCHEMA_VERSION,
            Self::Server { .. } => PostgresStore::SCHEMA_VERSION,
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Server { redacted, .. } => redacted.fmt(f),
        }
    }
}

/// Omits the password.
impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Database").field(&self.to_string()).finish()
    }
}

impl FromStr for Database {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let (scheme, rest) = match url.split_once(':') {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("sqlite") => {
                (None, rest.strip_prefix("//").unwrap_or(rest))
            }
            _ => (url.split_once("://").map(|(scheme, _)| scheme), url),
        };
        if !matches!(scheme, Some("postgres" | "postgresql")) && looks_like_server(url) {
            let message = "neither a file nor a server URL (not shown, it may contain a password): \
                           write postgres://USER:PASSWORD@HOST:PORT/DATABASE";
            return Err(message.to_owned());
        }
        match scheme {
            Some("postgres" | "postgresql") => match PostgresStore::redacted_url(url) {
                Ok(redacted) => Ok(Self::Server { url: url.to_owned(), redacted }),
                Err(error) => Err(error.to_string()),
            },
            Some(scheme) => Err(format!(
                "unknown kind of store {scheme}: expected a path, sqlite:PATH or postgres://..."
            )),
            None if rest.is_empty() => Err("expected the path of a file, like shop.db".to_owned()),
            None if rest.starts_with(":memory:") => Err(
                "an in-memory store would be lost when the command ends: use the path of a file"
                    .to_owned(),
            ),
            None => Ok(Self::File(rest.into())),
        }
    }
}

/// The path without symbolic links, as far as it exists.
fn canonical(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let within =
        || Some(folder.unwrap_or(Path::new(".")).canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(within).unwrap_or_else(|| path.to_owned())
}

/// Returns true if both paths name the same file.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let (Ok(one), Ok(other)) = (one.metadata(), other.metadata()) else { return false };
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Returns true for a malformed server URL or a libpq connection string. As a file name it would appear in
/// messages together with its password.
fn looks_like_server(text: &str) -> bool {
    let text = text.trim_start().to_ascii_lowercase();
    let has_scheme = text.starts_with("postgres:") || text.starts_with("postgresql:");
    let spaceless: String = text.split_whitespace().collect();
    has_scheme || spaceless.contains("password=")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("shop.db", Some("shop.db"))]
    #[case("/var/shop.db", Some("/var/shop.db"))]
    #[case("sqlite:shop.db", Some("shop.db"))]
    #[case("sqlite:///var/shop.db", Some("/var/shop.db"))]
    #[case("a:b.db", Some("a:b.db"))]
    #[case("sqlite:", None)]
    #[case("", None)]
    #[case(":memory:", None)]
    #[case("mysql://db/shop", None)]
    #[case("postgres.db", Some("postgres.db"))]
    fn database_parses_file_paths(#[case] url: &str, #[case] path: Option<&str>) {
        let expected = path.map(|path| Database::File(path.into()));
        assert_eq!(url.parse::<Database>().ok(), expected);
    }

    #[rstest]
    #[case("postgres://shop:secret@db/shop", Some("postgres://db:5432/shop"))]
    #[case(
        "postgresql://shop:secret@a,b:7/shop?target_session_attrs=read-write",
        Some("postgres://a:5432,b:7/shop")
    )]
    #[case("postgres://shop:secret@db:secret/shop", None)]
    #[case("postgres:/shop:secret@db/shop", None)]
    #[case("PostgreSQL:shop:secret@db/shop", None)]
    #[case("POSTGRES://shop:secret@db/shop", None)]
    #[case("host=db user=shop password=secret", None)]
    #[case("host=db Password = 'secret' options=a://b", None)]
    #[case("sqlite:host=db password=secret", None)]
    fn database_messages_omit_passwords(#[case] url: &str, #[case] redacted: Option<&str>) {
        let database = url.parse::<Database>();
        assert_eq!(database.as_ref().ok().map(ToString::to_string).as_deref(), redacted);
        let text = database.map_or_else(|message| message, |server| format!("{server} {server:?}"));
        assert!(!text.contains("secret"), "{text}");
    }
}
