//! Writes the log to standard error from its own thread, so that a slow reader does not delay requests. Lines
//! are buffered; if the buffer is full, lines are dropped and counted.

use crate::error::CliError;
use commerce_core::sync::{Condvar, Mutex, MutexGuard};
use commerce_http::LogSink;
use std::io::{Write, stderr};
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

/// The time from the first line to the write, in which further lines are collected.
const FLUSH_INTERVAL: Duration = Duration::from_millis(20);
/// The maximum size of the buffer in bytes.
const MAX_BUFFER: usize = 1024 * 1024;
/// The time limit for writing the last lines at shutdown.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// The log thread.
pub(super) struct LogWriter {
    queue: Arc<LogQueue>,
}

#[derive(Default)]
struct LogQueue {
    buffer: Mutex<Buffer>,
    /// Notified when the buffer is no longer empty, and when `closed` or `drained` becomes true.
    changed: Condvar,
}

#[derive(Default)]
struct Buffer {
    text: String,
    dropped: u64,
    closed: bool,
    /// True once all lines are written after `closed`.
    drained: bool,
}

impl LogWriter {
    pub(super) fn start() -> Result<Self, CliError> {
        let queue: Arc<LogQueue> = Arc::default();
        let writer = Arc::clone(&queue);
        let thread = Builder::new().name("log".to_owned()).spawn(move || writer.write());
        thread
            .map_err(|error| CliError::storage(format!("cannot start the log thread: {error}")))?;
        Ok(Self { queue })
    }

    /// The sink that puts lines into the buffer.
    pub(super) fn sink(&self) -> LogSink {
        let queue = Arc::clone(&self.queue);
        Box::new(move |line| {
            let mut buffer = queue.buffer();
            let was_empty = buffer.is_empty();
            if buffer.text.len().saturating_add(line.len()) < MAX_BUFFER {
                buffer.text.push_str(line);
                buffer.text.push('\n');
            } else {
                buffer.dropped = buffer.dropped.saturating_add(1);
            }
            drop(buffer);
            if was_empty {
                queue.changed.notify_one();
            }
        })
    }

    /// Writes the buffered lines and stops the thread. It gives up after `DRAIN_TIMEOUT` if standard error
    /// blocks.
    pub(super) fn drain(self) {
        self.queue.buffer().closed = true;
        self.queue.changed.notify_all();
        let buffer = self.queue.buffer();
        let undrained = |buffer: &mut Buffer| !buffer.drained;
        drop(self.queue.changed.wait_timeout_while(buffer, DRAIN_TIMEOUT, undrained));
    }
}

impl Buffer {
    fn is_empty(&self) -> bool {
        self.text.is_empty() && self.dropped == 0
    }
}

impl LogQueue {
    fn write(&self) {
        loop {
            let mut buffer = self.buffer();
            while buffer.is_empty() && !buffer.closed {
                buffer = self.changed.wait(buffer);
            }
            let mut buffer =
                self.changed.wait_timeout_while(buffer, FLUSH_INTERVAL, |buffer| !buffer.closed);
            let (mut text, dropped) = (std::mem::take(&mut buffer.text), buffer.dropped);
            buffer.dropped = 0;
            let closed = buffer.closed;
            drop(buffer);
            if dropped > 0 {
                text = format!("{text}msg=\"lines were dropped\" lines={dropped}\n");
            }
            // The server keeps running if standard error is closed.
            let _ = stderr().lock().write_all(text.as_bytes());
            if closed {
                self.buffer().drained = true;
                return self.changed.notify_all();
            }
        }
    }

    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock()
    }
}
