//! The circuit breaker of a destination. After several failed deliveries in a row it opens: deliveries pause, with
//! exponential back-off and jitter, and then one probe at a time is let through (half-open) until one succeeds.
//!
//! An event has few attempts, and the later ones are hours apart. Without the breaker, an outage of minutes would
//! use up the early attempts of every event and put all of them off for hours. A single failure does not open the
//! breaker: its cause is one event or one moment, and the other events must not wait for it.

use crate::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// The pause after the breaker opens; it doubles with each further failure.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause, which is the delay before events flow again once the destination works.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The longest pause that is kept because the destination asks for it.
const LONGEST_REQUESTED_PAUSE: Duration = Duration::from_secs(5 * 60);

/// The failures in a row that open the breaker. A receiver that fails one request in three still gives three in a row
/// only once in 27.
const OPEN_AFTER: u32 = 3;

#[derive(Debug, Default)]
pub(super) struct CircuitBreaker {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Failures since the last success.
    failures: u32,
    /// The end of the pause.
    paused_until: Option<Instant>,
    /// A probe is under way.
    half_open: bool,
}

/// Permission to lease and deliver events.
pub(super) struct Permit<'a> {
    breaker: &'a CircuitBreaker,
    /// Granted while the breaker was open, to find out whether the destination works again.
    is_probe: bool,
}

impl CircuitBreaker {
    /// Waits for a permit, at most that long.
    pub(super) fn acquire(&self, timeout: Duration) -> Option<Permit<'_>> {
        let started = Instant::now();
        let mut state = self.lock();
        loop {
            let pause = state.pause();
            if pause.is_zero() {
                state.half_open = state.is_open();
                return Some(Permit { breaker: self, is_probe: state.half_open });
            }
            let left = timeout.saturating_sub(started.elapsed());
            if left.is_zero() {
                return None;
            }
            state = self.changed.wait_timeout(state, pause.min(left));
        }
    }

    /// The number of failures since the last success.
    pub(super) fn failures(&self) -> u32 {
        self.lock().failures
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn is_open(&self) -> bool {
        self.failures >= OPEN_AFTER
    }

    /// The time to wait before the next permit, as far as it is known now.
    fn pause(&self) -> Duration {
        if self.half_open {
            return LONGEST_PAUSE;
        }
        let until = self.paused_until;
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }
}

impl Permit<'_> {
    pub(super) fn is_probe(&self) -> bool {
        self.is_probe
    }

    /// The number of events to lease: one for a probe.
    pub(super) fn max_events(&self, batch: usize) -> usize {
        if self.is_probe { 1 } else { batch }
    }

    /// Closes the breaker: a delivery has arrived.
    pub(super) fn succeeded(&self) {
        *self.breaker.lock() = State::default();
        self.breaker.changed.notify_all();
    }

    /// Counts a failure, and returns true if the caller may deliver more.
    ///
    /// A delivery that was under way when the breaker opened does not count. A destination that sends `retry_after`
    /// opens the breaker at once. `jitter` of 1,024 parts of the pause are left out, at random, so that several
    /// relays do not come back together.
    pub(super) fn failed(&self, retry_after: Option<Duration>, jitter: u8) -> bool {
        let mut state = self.breaker.lock();
        if state.is_open() && !self.is_probe {
            return false;
        }
        let requested = retry_after.unwrap_or_default().min(LONGEST_REQUESTED_PAUSE);
        state.failures = state.failures.saturating_add(1);
        if !requested.is_zero() {
            state.failures = state.failures.max(OPEN_AFTER);
        }
        let Some(doublings) = state.failures.checked_sub(OPEN_AFTER) else { return true };
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_PAUSE);
        let less = pause.checked_div(1_024).unwrap_or_default().saturating_mul(u32::from(jitter));
        let pause = pause.saturating_sub(less).max(requested);
        state.paused_until = Instant::now().checked_add(pause);
        false
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.is_probe {
            self.breaker.lock().half_open = false;
            self.breaker.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permit(breaker: &CircuitBreaker) -> Permit<'_> {
        breaker.acquire(Duration::ZERO).unwrap()
    }

    fn open(breaker: &CircuitBreaker) {
        let permits = [(); 3].map(|()| permit(breaker));
        let goes_on = permits.each_ref().map(|permit| permit.failed(None, 0));
        assert_eq!(goes_on, [true, true, false]);
    }

    #[test]
    fn three_failures_open_it_and_a_half_open_probe_closes_it() {
        let breaker = CircuitBreaker::default();
        let late = permit(&breaker);
        assert_eq!(late.max_events(50), 50);
        open(&breaker);
        assert!(breaker.acquire(Duration::ZERO).is_none(), "paused");
        assert!(!late.failed(None, 0));
        assert_eq!(breaker.failures(), OPEN_AFTER, "a delivery under way does not count");
        let probe = breaker.acquire(LONGEST_PAUSE).unwrap();
        assert_eq!((probe.is_probe(), probe.max_events(50)), (true, 1));
        assert!(breaker.acquire(Duration::ZERO).is_none(), "one probe at a time");
        drop(probe);
        let probe = permit(&breaker);
        probe.succeeded();
        assert_eq!(permit(&breaker).max_events(50), 50);
    }

    #[test]
    fn failures_between_successes_do_not_open_it() {
        let breaker = CircuitBreaker::default();
        for _ in 0..100 {
            assert!(permit(&breaker).failed(None, 0) && permit(&breaker).failed(None, 0));
            permit(&breaker).succeeded();
        }
    }

    #[test]
    fn exponential_backoff_is_bounded() {
        let breaker = CircuitBreaker::default();
        open(&breaker);
        for _ in 0..20 {
            breaker.lock().paused_until = None;
            assert!(!permit(&breaker).failed(None, 0));
        }
        let longest = breaker.lock().pause();
        assert!(LONGEST_PAUSE / 2 < longest && longest <= LONGEST_PAUSE, "{longest:?}");
    }

    #[test]
    fn retry_after_of_the_destination_is_kept_up_to_a_bound() {
        let breaker = CircuitBreaker::default();
        permit(&breaker).failed(Some(Duration::from_secs(50)), 0);
        let long = breaker.lock().pause();
        assert!(Duration::from_secs(40) < long && long <= Duration::from_secs(50), "{long:?}");
        let breaker = CircuitBreaker::default();
        permit(&breaker).failed(Some(Duration::MAX), 0);
        assert!(breaker.lock().pause() <= LONGEST_REQUESTED_PAUSE);
    }
}
