//! Synchronisation primitives: a mutex that a panic does not poison, a semaphore, a cancellation token.

use std::sync::{Arc, PoisonError, TryLockError};
use std::time::Duration;

/// The guard of a [`Mutex`].
pub type MutexGuard<'a, T> = std::sync::MutexGuard<'a, T>;

/// A mutex without poisoning.
///
/// Poisoning protects values that a panic left half changed. The values behind these mutexes are changed in single
/// steps, so that a panic elsewhere must not take them out of use.
#[derive(Debug, Default)]
pub struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// Returns a mutex around a value.
    pub const fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    /// Waits for the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock, if it is free.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The read guard of a [`RwLock`].
pub type RwLockReadGuard<'a, T> = std::sync::RwLockReadGuard<'a, T>;

/// The write guard of a [`RwLock`].
pub type RwLockWriteGuard<'a, T> = std::sync::RwLockWriteGuard<'a, T>;

/// A reader-writer lock without poisoning, for the same reason as [`Mutex`].
#[derive(Debug, Default)]
pub struct RwLock<T>(std::sync::RwLock<T>);

impl<T> RwLock<T> {
    /// Returns a lock around a value.
    pub const fn new(value: T) -> Self {
        Self(std::sync::RwLock::new(value))
    }

    /// Waits until no thread writes.
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no other thread reads or writes.
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A condition variable for the guards of a [`Mutex`].
#[derive(Debug, Default)]
pub struct Condvar(std::sync::Condvar);

impl Condvar {
    /// Returns a condition variable.
    #[must_use]
    pub const fn new() -> Self {
        Self(std::sync::Condvar::new())
    }

    /// Waits for a notification. It may return without one.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.0.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a notification, at most for `timeout`. It may return without one.
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> MutexGuard<'a, T> {
        self.0.wait_timeout(guard, timeout).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits as long as `condition` holds, at most for `timeout`.
    pub fn wait_timeout_while<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
        condition: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        let waited = self.0.wait_timeout_while(guard, timeout, condition);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Wakes one waiting thread.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes all waiting threads.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// A counting semaphore for which no thread waits.
#[derive(Debug)]
pub struct Semaphore(Mutex<usize>);

/// A permit of a [`Semaphore`], released when it is dropped.
#[derive(Debug)]
#[must_use = "a permit is released when it is dropped"]
pub struct Permit<'a>(&'a Semaphore);

impl Semaphore {
    /// Returns a semaphore of `permits`.
    #[must_use]
    pub const fn new(permits: usize) -> Self {
        Self(Mutex::new(permits))
    }

    /// A permit, if one is free.
    pub fn try_acquire(&self) -> Option<Permit<'_>> {
        let mut available = self.0.lock();
        *available = available.checked_sub(1)?;
        Some(Permit(self))
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut available = self.0.0.lock();
        *available = available.saturating_add(1);
    }
}

/// A request to stop. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct CancellationToken(Arc<(Mutex<bool>, Condvar)>);

impl CancellationToken {
    /// Returns a token that is not cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Requests the stop, without waiting for it.
    pub fn cancel(&self) {
        let (cancelled, changed) = &*self.0;
        *cancelled.lock() = true;
        changed.notify_all();
    }

    /// Returns true if the stop was requested.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        *self.0.0.lock()
    }

    /// Sleeps for `timeout`, or until the stop is requested. Returns true if it was.
    #[must_use]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let (cancelled, changed) = &*self.0;
        *changed.wait_timeout_while(cancelled.lock(), timeout, |cancelled| !*cancelled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn mutex_is_usable_after_a_panic_while_locked() {
        let mutex = Mutex::new(1);
        let panicking = catch_unwind(AssertUnwindSafe(|| {
            let _guard = mutex.lock();
            panic!("while locked");
        }));
        assert!(panicking.is_err());
        assert_eq!(*mutex.lock(), 1);
        assert!(mutex.try_lock().is_some());
        assert_eq!(mutex.into_inner(), 1);
    }

    #[test]
    fn semaphore_limits_permits_until_they_are_dropped() {
        let semaphore = Semaphore::new(2);
        let held = [semaphore.try_acquire(), semaphore.try_acquire()];
        assert!(held.iter().all(Option::is_some) && semaphore.try_acquire().is_none());
        drop(held);
        assert!([semaphore.try_acquire(), semaphore.try_acquire()].iter().all(Option::is_some));
    }

    #[test]
    fn cancellation_token_wakes_waiting_clones() {
        let token = CancellationToken::new();
        assert!(!token.wait_timeout(Duration::ZERO));
        let clone = token.clone();
        let waiting = std::thread::spawn(move || clone.wait_timeout(Duration::from_secs(60)));
        token.cancel();
        assert!(waiting.join().unwrap());
        assert!(token.is_cancelled());
    }
}
