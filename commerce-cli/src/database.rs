//! Where the store is, as people write it: a path, `sqlite:PATH`, or the URL of a database server.

use crate::error::CliError;
use commerce_core::{Currency, SqliteStore, Store};
use commerce_postgres::PostgresStore;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

/// The place of a store.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Database {
    /// A file of SQLite.
    File(PathBuf),
    /// A database on a PostgreSQL server.
    Server {
        /// As it was given: it may hold a password.
        url: String,
        /// What may be shown of it.
        shown: String,
    },
}

/// What a command does about a store that is not there yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenMode {
    /// Says so: nobody who only looks wants an empty store left behind.
    Existing,
    /// Creates it.
    Creating,
}

impl Database {
    /// The place that a URL names. What is told of a wrong one leaves the URL out: it may hold a
    /// password.
    pub(crate) fn at(url: &str) -> Result<Self, CliError> {
        url.parse().map_err(|sentence: String| CliError::usage(sentence))
    }

    /// Opens the store, and migrates it where it is of an older version.
    pub(crate) fn open(&self, access: OpenMode) -> Result<Arc<dyn Store>, CliError> {
        match access {
            OpenMode::Creating => self.create(None),
            OpenMode::Existing => self.find()?.ok_or_else(|| self.is_missing()),
        }
    }

    /// What is said where there is no store and one is wanted.
    pub(crate) fn is_missing(&self) -> CliError {
        CliError::storage(format!(
            "there is no store at {self}: run `commerce init` first, or name another one"
        ))
    }

    /// Opens the store where there is one.
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

    /// Opens the store, and makes it when there is none: with that currency, or with KRW when any will do.
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

    /// Opens the store, and makes it over several machines when there is none.
    pub(crate) fn distribute(&self, currency: Currency) -> Result<Arc<dyn Store>, CliError> {
        match self {
            Self::File(path) => Err(CliError::usage(format!(
                "{} is a file of this machine: --distribute wants a database on a PostgreSQL server",
                path.display()
            ))),
            Self::Server { url, .. } => {
                Ok(Arc::new(PostgresStore::create_distributed(url, currency)?))
            }
        }
    }

    /// Whether a file is the store's own, or one of those beside it that belong to it.
    pub(crate) fn holds(&self, path: &Path) -> bool {
        let Self::File(store) = self else { return false };
        let path = settled(path);
        ["", "-wal", "-shm", "-lock", "-journal"].iter().any(|ending| {
            [store.clone(), settled(store)].into_iter().any(|store| {
                let mut name = store.into_os_string();
                name.push(ending);
                let own = settled(Path::new(&name));
                path == own || is_same(&path, &own)
            })
        })
    }

    /// The version of the schema that this program writes there.
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
            Self::Server { shown, .. } => shown.fmt(f),
        }
    }
}

/// Leaves the password out.
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
        if !matches!(scheme, Some("postgres" | "postgresql")) && may_be_of_a_server(url) {
            let told = "that is neither a file nor the URL of a server, and may hold a password: \
                        write postgres://USER:PASSWORD@HOST:PORT/DATABASE";
            return Err(told.to_owned());
        }
        match scheme {
            Some("postgres" | "postgresql") => match PostgresStore::redacted_url(url) {
                Ok(shown) => Ok(Self::Server { url: url.to_owned(), shown }),
                Err(error) => Err(error.to_string()),
            },
            Some(scheme) => Err(format!(
                "there is no {scheme} store: give a path, sqlite:PATH or postgres://..."
            )),
            None if rest.is_empty() => Err("give the path of a file, like shop.db".to_owned()),
            None if rest.starts_with(":memory:") => {
                Err("a store in memory would be gone at once: give the path of a file".to_owned())
            }
            None => Ok(Self::File(rest.into())),
        }
    }
}

/// The path without links, as far as it is there.
fn settled(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let within =
        || Some(folder.unwrap_or(Path::new(".")).canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(within).unwrap_or_else(|| path.to_owned())
}

/// Whether both are names of one file.
fn is_same(one: &Path, other: &Path) -> bool {
    let (Ok(one), Ok(other)) = (one.metadata(), other.metadata()) else { return false };
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Whether it was meant for a server, and misses the form of a URL: taken for a file's name it would be
/// shown, with the password that it may hold.
fn may_be_of_a_server(text: &str) -> bool {
    let text = text.trim_start().to_ascii_lowercase();
    let is_schemed = text.starts_with("postgres:") || text.starts_with("postgresql:");
    let spaceless: String = text.split_whitespace().collect();
    is_schemed || spaceless.contains("password=")
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
    fn places(#[case] url: &str, #[case] path: Option<&str>) {
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
    fn servers_are_shown_without_secrets(#[case] url: &str, #[case] shown: Option<&str>) {
        let database = url.parse::<Database>();
        assert_eq!(database.as_ref().ok().map(ToString::to_string).as_deref(), shown);
        let said =
            database.map_or_else(|sentence| sentence, |server| format!("{server} {server:?}"));
        assert!(!said.contains("secret"), "{said}");
    }
}
