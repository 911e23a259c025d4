//! A circuit breaker: when several deliveries in a row fail, one at a time is tried, after a pause that grows.
//!
//! The tries of an event are few and soon far apart. If every event were tried during an outage, an outage of
//! minutes would put all of them off for hours. A failure here and there does not open the breaker: it is of one
//! event or of one moment, and the others must not wait for it.

use crate::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// The pause after the first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause, which is the delay before events flow again once the other side works.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The longest pause that is kept because the other side asks for it.
const LONGEST_ASKED: Duration = Duration::from_secs(5 * 60);

/// The failures in a row that shut the breaker. A receiver that fails one request in three still gives three in a row
/// only once in 27.
const SHUT_AFTER: u32 = 3;

#[derive(Debug, Default)]
pub(super) struct CircuitBreaker {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Failures since the last success.
    failures: u32,
    /// When the next one may try.
    until: Option<Instant>,
    /// Somebody is trying.
    half_open: bool,
}

/// Leave to take up events.
pub(super) struct Permit<'a> {
    breaker: &'a CircuitBreaker,
    /// Given while the breaker was shut, to find out whether the destination works again.
    is_probe: bool,
}

impl CircuitBreaker {
    /// Leave, if there is any within that time.
    pub(super) fn acquire(&self, timeout: Duration) -> Option<Permit<'_>> {
        let begun = Instant::now();
        let mut state = self.lock();
        loop {
            let pause = state.pause();
            if pause.is_zero() {
                state.half_open = state.is_shut();
                return Some(Permit { breaker: self, is_probe: state.half_open });
            }
            let left = timeout.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return None;
            }
            state = self.changed.wait_timeout(state, pause.min(left));
        }
    }

    /// How many tries have failed since the last success.
    pub(super) fn failures(&self) -> u32 {
        self.lock().failures
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn is_shut(&self) -> bool {
        self.failures >= SHUT_AFTER
    }

    /// How long to wait for leave, as far as is known.
    fn pause(&self) -> Duration {
        if self.half_open {
            return LONGEST_PAUSE;
        }
        self.until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }
}

impl Permit<'_> {
    pub(super) fn is_probe(&self) -> bool {
        self.is_probe
    }

    /// The number of events to take up.
    pub(super) fn max_events(&self, batch: usize) -> usize {
        if self.is_probe { 1 } else { batch }
    }

    /// Something has arrived.
    pub(super) fn succeeded(&self) {
        *self.breaker.lock() = State::default();
        self.breaker.changed.notify_all();
    }

    /// Counts a failure, and returns whether to go on with others. What was under way when the breaker shut does not
    /// count. A destination that asks to be left alone shuts the breaker at once. `part` of 1,024 of the pause is
    /// left out, at random, so that several relays do not come back together.
    pub(super) fn failed(&self, retry_after: Option<Duration>, part: u8) -> bool {
        let mut state = self.breaker.lock();
        if state.is_shut() && !self.is_probe {
            return false;
        }
        let asked = retry_after.unwrap_or_default().min(LONGEST_ASKED);
        state.failures = state.failures.saturating_add(1);
        if !asked.is_zero() {
            state.failures = state.failures.max(SHUT_AFTER);
        }
        let Some(doublings) = state.failures.checked_sub(SHUT_AFTER) else { return true };
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_PAUSE);
        let less = pause.checked_div(1_024).unwrap_or_default().saturating_mul(u32::from(part));
        state.until = Instant::now().checked_add(pause.saturating_sub(less).max(asked));
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

    fn shut(breaker: &CircuitBreaker) {
        let passes = [(); 3].map(|()| permit(breaker));
        let goes_on = passes.each_ref().map(|permit| permit.failed(None, 0));
        assert_eq!(goes_on, [true, true, false]);
    }

    #[test]
    fn after_three_failures_in_a_row_one_at_a_time_tries_one_event_until_one_arrives() {
        let breaker = CircuitBreaker::default();
        let late = permit(&breaker);
        assert_eq!(late.max_events(50), 50);
        shut(&breaker);
        assert!(breaker.acquire(Duration::ZERO).is_none(), "a pause");
        assert!(!late.failed(None, 0));
        assert_eq!(breaker.failures(), SHUT_AFTER, "what was under way does not count");
        let probe = breaker.acquire(LONGEST_PAUSE).unwrap();
        assert_eq!((probe.is_probe(), probe.max_events(50)), (true, 1));
        assert!(breaker.acquire(Duration::ZERO).is_none(), "another is trying");
        drop(probe);
        let probe = permit(&breaker);
        probe.succeeded();
        assert_eq!(permit(&breaker).max_events(50), 50);
    }

    #[test]
    fn failures_with_successes_between_them_pause_nothing() {
        let breaker = CircuitBreaker::default();
        for _ in 0..100 {
            assert!(permit(&breaker).failed(None, 0) && permit(&breaker).failed(None, 0));
            permit(&breaker).succeeded();
        }
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        let breaker = CircuitBreaker::default();
        shut(&breaker);
        for _ in 0..20 {
            breaker.lock().until = None;
            assert!(!permit(&breaker).failed(None, 0));
        }
        let longest = breaker.lock().pause();
        assert!(LONGEST_PAUSE / 2 < longest && longest <= LONGEST_PAUSE, "{longest:?}");
    }

    #[test]
    fn a_pause_that_is_asked_for_is_kept_up_to_a_bound() {
        let breaker = CircuitBreaker::default();
        permit(&breaker).failed(Some(Duration::from_secs(50)), 0);
        let long = breaker.lock().pause();
        assert!(Duration::from_secs(40) < long && long <= Duration::from_secs(50), "{long:?}");
        let breaker = CircuitBreaker::default();
        permit(&breaker).failed(Some(Duration::MAX), 0);
        assert!(breaker.lock().pause() <= LONGEST_ASKED);
    }
}
