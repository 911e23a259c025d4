//! Secrets that are rotated without a restart: a source is read again before each use, and an unusable reading leaves
//! the last usable secret in force.

use crate::error::OutboundError;
use commerce_core::sync::Mutex;
use std::fmt;
use std::sync::Arc;

type Read = dyn Fn() -> Result<String, String> + Send + Sync;

/// A source of secrets, one per line. Its `Debug` output contains no secret.
#[derive(Clone)]
pub struct SecretSource(Arc<Read>);

impl SecretSource {
    /// A secret that never changes.
    #[must_use]
    pub fn fixed(text: impl Into<String>) -> Self {
        let text = text.into();
        Self::read_by(move || Ok(text.clone()))
    }

    /// A secret that `read` returns, or the reason why it cannot be read. It is called before each use, from several
    /// threads, and has to be quick: a small local file is.
    #[must_use]
    pub fn read_by(read: impl Fn() -> Result<String, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretSource")
    }
}

/// The last usable secret of a source, in the form in which it is used.
#[derive(Debug)]
pub(crate) struct RotatingSecret<T> {
    source: SecretSource,
    parse: fn(&str) -> Result<T, OutboundError>,
    cache: Mutex<Cache<T>>,
}

struct Cache<T> {
    /// The last reading, usable or not.
    read: Result<String, String>,
    secret: T,
    warning: Option<String>,
}

impl<T> fmt::Debug for Cache<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cache")
    }
}

impl<T: Clone> RotatingSecret<T> {
    /// Reads the source for the first time. It has to be usable then.
    pub(crate) fn new(
        source: SecretSource,
        parse: fn(&str) -> Result<T, OutboundError>,
    ) -> Result<Self, OutboundError> {
        let text = (source.0)().map_err(OutboundError::Unreadable)?;
        let secret = parse(&text)?;
        let cache = Mutex::new(Cache { read: Ok(text), secret, warning: None });
        Ok(Self { source, parse, cache })
    }

    /// Reads the source and returns the current secret.
    pub(crate) fn current(&self) -> T {
        let read = (self.source.0)();
        let mut cache = self.cache.lock();
        if read != cache.read {
            let parsed = match &read {
                Ok(text) => (self.parse)(text).map_err(|error| error.to_string()),
                Err(error) => Err(error.clone()),
            };
            match parsed {
                Ok(secret) => (cache.secret, cache.warning) = (secret, None),
                Err(error) => {
                    let effect =
                        "the secret before it stays in use: write a whole file and rename it";
                    cache.warning = Some(format!("{error}; {effect}"));
                }
            }
            cache.read = read;
        }
        cache.secret.clone()
    }

    /// Returns the reason why the last reading is unusable, once.
    pub(crate) fn warning(&self) -> Option<String> {
        self.cache.lock().warning.take()
    }
}

/// Returns the lines that are not empty.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusable_reading_keeps_the_last_secret_and_warns_once() {
        let file = Arc::new(Mutex::new(Ok("first".to_owned())));
        let read = Arc::clone(&file);
        let source = SecretSource::read_by(move || read.lock().clone());
        let parse = |text: &str| match text {
            "" => Err(OutboundError::Secret("it is empty")),
            text => Ok(text.to_owned()),
        };
        let secret = RotatingSecret::new(source, parse).unwrap();
        assert_eq!(secret.current(), "first");
        for bad in [Ok(String::new()), Err("permission denied".to_owned())] {
            *file.lock() = bad;
            assert_eq!((secret.current(), secret.current()), ("first".into(), "first".into()));
            assert!(secret.warning().unwrap().contains("stays in use"));
            assert_eq!((secret.current(), secret.warning()), ("first".to_owned(), None));
        }
        *file.lock() = Ok("second".to_owned());
        assert_eq!((secret.current(), secret.warning()), ("second".to_owned(), None));
    }

    #[test]
    fn unreadable_secret_is_an_error_at_first() {
        let source = SecretSource::read_by(|| Err("no such file".to_owned()));
        let error = RotatingSecret::new(source, |text| Ok(text.to_owned())).unwrap_err();
        assert!(error.to_string().contains("no such file"), "{error}");
    }
}
