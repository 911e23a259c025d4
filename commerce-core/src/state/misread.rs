//! A mark that a rule looked at something it had not asked for.

use std::sync::atomic::{AtomicBool, Ordering};

/// Remembers whether a look found nothing because it was not loaded. The engine checks it after each
/// decision, in every build: "not loaded" must never pass for "does not exist".
#[derive(Debug, Default)]
pub(super) struct Misread(AtomicBool);

impl Misread {
    /// What was found, after marking a look at something that is not loaded.
    pub(super) fn check<T>(&self, loaded: Option<T>) -> Option<T> {
        if loaded.is_none() {
            self.0.store(true, Ordering::Relaxed);
        }
        loaded
    }

    /// Whether there was such a look.
    pub(super) fn happened(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
