//! Streams: responses of any length, which a function writes piece by piece while the client reads.

use commerce_core::{Error, StoreError};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The maximum number of streams at a time. Each holds a thread for blocking work, and perhaps a snapshot, for which a
/// store keeps what others overwrite.
const MAX_STREAMS: usize = 4;

/// The streams that are being sent. Clones count together.
#[derive(Clone, Default)]
pub(crate) struct Streams(Arc<AtomicUsize>);

/// The place of a stream, until dropped.
pub(crate) struct Place(Arc<AtomicUsize>);

impl Streams {
    /// Takes a place.
    pub(crate) fn enter(&self) -> Result<Place, Error> {
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(&self.0));
        if before < MAX_STREAMS {
            return Ok(place);
        }
        let cause = format!("{MAX_STREAMS} streams are being sent, the most at a time");
        Err(StoreError::Busy(Some(cause)).into())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts the bytes that a stream writes, and keeps the reason for which the client takes no more.
pub(crate) struct Counted<'a> {
    out: &'a mut dyn Write,
    pub(crate) bytes: u64,
    pub(crate) refused: Option<String>,
}

impl<'a> Counted<'a> {
    pub(crate) fn new(out: &'a mut dyn Write) -> Self {
        Self { out, bytes: 0, refused: None }
    }

    fn keep<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| self.refused = Some(error.to_string()))
    }
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes);
        let length = self.keep(written)?;
        self.bytes = self.bytes.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.out.flush();
        self.keep(flushed)
    }
}
