//! Bodies that are written piece by piece.

use crate::message::{Response, Stream};
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// The size of a piece. A stream waits for its client with one piece here and few more on their way.
pub(super) const PIECE: usize = 64 * 1024;

/// Collects what a stream writes into pieces, and sends each.
struct Pieces<F> {
    buffer: Vec<u8>,
    until: Option<Instant>,
    send: F,
}

/// Calls the function that writes a body, until an instant, and sends its pieces; an empty one is the end. The error is
/// the response to send instead; `None` after a panic, or if the last piece could not be sent.
pub(super) fn run(
    write: Stream,
    until: Option<Instant>,
    send: impl FnMut(Vec<u8>) -> io::Result<()>,
) -> Result<(), Option<Response>> {
    let mut pieces = Pieces { buffer: Vec::new(), until, send };
    let written = catch_unwind(AssertUnwindSafe(|| write(&mut pieces)));
    written.map_err(|_| None)?.map_err(Some)?;
    let mut end = || {
        pieces.flush()?;
        (pieces.send)(Vec::new())
    };
    end().map_err(|_: io::Error| None)
}

impl<F: FnMut(Vec<u8>) -> io::Result<()>> Write for Pieces<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(PIECE.saturating_sub(self.buffer.len()));
        self.buffer.extend_from_slice(&bytes[..length]);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        if self.until.is_none_or(|until| Instant::now() >= until) {
            let problem = "the client did not read the response in time";
            return Err(io::Error::new(io::ErrorKind::TimedOut, problem));
        }
        (self.send)(std::mem::take(&mut self.buffer))
    }
}
