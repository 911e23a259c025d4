//! The lines of the log on their way to standard error: gathered, and written by a thread of its own, so
//! that no request waits for whoever reads them. When nobody reads, lines are dropped and counted.

use crate::error::CliError;
use commerce_http::LogSink;
use std::io::{Write, stderr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Duration;

/// How long lines are gathered for.
const PAUSE: Duration = Duration::from_millis(20);
/// How much waits to be written at most.
const MOST: usize = 1024 * 1024;
/// How long the last lines may take to be written at the end.
const FAREWELL: Duration = Duration::from_secs(1);

pub(super) struct LogWriter {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Signalled when `over` or `written` comes true.
    turn: Condvar,
}

#[derive(Default)]
struct Waiting {
    text: String,
    dropped: u64,
    over: bool,
    /// All of it, after `over`.
    written: bool,
}

impl LogWriter {
    pub(super) fn start() -> Result<Self, CliError> {
        let shared: Arc<Shared> = Arc::default();
        let writer = Arc::clone(&shared);
        let thread = Builder::new().name("log".to_owned()).spawn(move || writer.write());
        thread.map_err(|error| CliError::storage(format!("cannot start the log: {error}")))?;
        Ok(Self { shared })
    }

    /// What takes the lines in.
    pub(super) fn sink(&self) -> LogSink {
        let shared = Arc::clone(&self.shared);
        Box::new(move |line| {
            let mut waiting = shared.waiting();
            if waiting.text.len().saturating_add(line.len()) < MOST {
                waiting.text.push_str(line);
                waiting.text.push('\n');
            } else {
                waiting.dropped = waiting.dropped.saturating_add(1);
            }
        })
    }

    /// Writes what is left, unless nobody reads it.
    pub(super) fn end(self) {
        self.shared.waiting().over = true;
        self.shared.turn.notify_all();
        let waiting = self.shared.waiting();
        let unwritten = |waiting: &mut Waiting| !waiting.written;
        drop(self.shared.turn.wait_timeout_while(waiting, FAREWELL, unwritten));
    }
}

impl Shared {
    fn write(&self) {
        loop {
            let waiting = self.waiting();
            let waited = self.turn.wait_timeout_while(waiting, PAUSE, |waiting| !waiting.over);
            let mut waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
            let (mut text, dropped) = (std::mem::take(&mut waiting.text), waiting.dropped);
            waiting.dropped = 0;
            let over = waiting.over;
            drop(waiting);
            if dropped > 0 {
                text = format!("{text}msg=\"lines were dropped\" lines={dropped}\n");
            }
            // When standard error is gone, serving goes on.
            let _ = stderr().lock().write_all(text.as_bytes());
            if over {
                self.waiting().written = true;
                return self.turn.notify_all();
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
