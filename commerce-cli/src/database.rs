//! Where the store is, as people write it: a path, `sqlite:PATH`, or the URL of a database server.

use crate::failure::Failure;
use commerce_core::SqliteStore;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The place of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Database(PathBuf);

/// What a command does about a store that is not there yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Says so: nobody who only looks wants an empty store left behind.
    Existing,
    /// Creates it.
    Creating,
}

impl Database {
    /// The place that a URL names. What is told of a wrong one leaves the URL out: it may hold a
    /// password.
    pub(crate) fn at(url: &str) -> Result<Self, Failure> {
        url.parse().map_err(|sentence: String| Failure::usage(sentence))
    }

    /// The file that the store is kept in.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Whether there is something at that place.
    pub(crate) fn exists(&self) -> bool {
        self.0.exists()
    }

    /// Opens the store, and migrates it where it is of an older version.
    pub(crate) fn open(&self, access: Access) -> Result<SqliteStore, Failure> {
        if access == Access::Existing && !self.exists() {
            return Err(Failure::storage(format!(
                "there is no store at {self}: run `commerce init` first, or name another --database"
            )));
        }
        Ok(SqliteStore::open(&self.0)?)
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
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
        match scheme {
            Some("postgres" | "postgresql") => {
                Err("this build has no PostgreSQL store: give the path of a file".to_owned())
            }
            Some(scheme) => Err(format!(
                "there is no {scheme} store: give a path, sqlite:PATH or postgres://..."
            )),
            None if rest.is_empty() => Err("give the path of a file, like shop.db".to_owned()),
            None if rest.starts_with(":memory:") => {
                Err("a store in memory would be gone at once: give the path of a file".to_owned())
            }
            None => Ok(Self(rest.into())),
        }
    }
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
    #[case("postgres://shop:secret@db/shop", None)]
    #[case("mysql://db/shop", None)]
    fn places(#[case] url: &str, #[case] path: Option<&str>) {
        let database = url.parse::<Database>();
        assert_eq!(database.as_ref().ok().map(Database::path), path.map(Path::new));
        assert!(!database.is_err_and(|sentence| sentence.contains("secret")));
    }
}
