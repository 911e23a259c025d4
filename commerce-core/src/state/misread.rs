//! A mark that a rule read something outside its read set.

use std::sync::atomic::{AtomicBool, Ordering};

/// Remembers whether a read returned nothing because the row was not loaded. The engine checks it after each
/// batch, in every build: "not loaded" must never pass for "does not exist".
#[derive(Debug, Default)]
pub(super) struct Misread(AtomicBool);

impl Misread {
    /// Returns `loaded`, and sets the mark if it is `None`.
    pub(super) fn check<T>(&self, loaded: Option<T>) -> Option<T> {
        if loaded.is_none() {
            self.0.store(true, Ordering::Relaxed);
        }
        loaded
    }

    /// Returns true if the mark is set.
    pub(super) fn happened(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
