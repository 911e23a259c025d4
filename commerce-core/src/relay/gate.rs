//! Who may try a destination that fails, and when: one at a time, after a pause that grows.
//!
//! Tries are few and days apart. Were they spent on a destination that is down for everybody, all events
//! would be put off for hours by an outage of minutes.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The pause after the first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause: what people wait for things to go on once the other side works again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The longest pause that is kept because the other side asks for it.
const LONGEST_ASKED: Duration = Duration::from_secs(5 * 60);

/// So many events turned down in a row are no poisoned events but a wrong address.
const REJECTIONS: u32 = 3;

#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Failures since the last success.
    failures: u32,
    /// Events turned down since the last success.
    rejections: u32,
    /// When the next one may try.
    until: Option<Instant>,
    /// Somebody is trying.
    probing: bool,
}

/// Leave to take up events.
pub(super) struct Pass<'a> {
    gate: &'a Gate,
    /// How many failures there were when it was given.
    failures: u32,
}

impl Gate {
    /// Leave, if there is any within that time.
    pub(super) fn enter(&self, patience: Duration) -> Option<Pass<'_>> {
        let begun = Instant::now();
        let mut state = self.lock();
        loop {
            let pause = state.pause();
            if pause.is_zero() {
                state.probing = state.failures > 0;
                return Some(Pass { gate: self, failures: state.failures });
            }
            let left = patience.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return None;
            }
            let waited = self.changed.wait_timeout(state, pause.min(left));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// How many tries have failed since the last success.
    pub(super) fn failures(&self) -> u32 {
        self.lock().failures
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How long to wait for leave, as far as is known.
    fn pause(&self) -> Duration {
        if self.probing {
            return LONGEST_PAUSE;
        }
        self.until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }
}

impl Pass<'_> {
    /// How many events to take up: one when it is to find out whether the destination works again.
    pub(super) fn want(&self, batch: usize) -> usize {
        if self.failures > 0 { 1 } else { batch }
    }

    /// Something has arrived.
    pub(super) fn succeeded(&self) {
        *self.gate.lock() = State::default();
        self.gate.changed.notify_all();
    }

    /// Something has not. Those who fail together count as one. `part` of 256 of the pause is left out, at
    /// random, so that several relays do not come back together.
    pub(super) fn failed(&self, retry_after: Option<Duration>, part: u8) {
        let mut state = self.gate.lock();
        if state.failures != self.failures {
            return;
        }
        let doubled = 2_u32.saturating_pow(state.failures);
        let pause = FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE);
        let less = pause.checked_div(1_024).unwrap_or_default().saturating_mul(u32::from(part));
        let asked = retry_after.unwrap_or_default().min(LONGEST_ASKED);
        state.failures = state.failures.saturating_add(1);
        state.until = Instant::now().checked_add(pause.saturating_sub(less).max(asked));
    }

    /// An event was turned down. Whether to go on with others.
    pub(super) fn rejected(&self, part: u8) -> bool {
        let mut state = self.gate.lock();
        state.rejections = state.rejections.saturating_add(1);
        let goes_on = self.failures == 0 && state.failures == 0 && state.rejections < REJECTIONS;
        drop(state);
        if !goes_on {
            self.failed(None, part);
        }
        goes_on
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.failures > 0 {
            self.gate.lock().probing = false;
            self.gate.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_failure_one_at_a_time_tries_one_event_until_one_arrives() {
        let gate = Gate::default();
        let (first, second) = (gate.enter(Duration::ZERO).unwrap(), gate.enter(Duration::ZERO));
        assert_eq!((first.want(50), second.unwrap().want(50)), (50, 50));
        first.failed(None, 0);
        assert!(gate.enter(Duration::ZERO).is_none(), "a pause");
        let probe = gate.enter(LONGEST_PAUSE).unwrap();
        assert_eq!(probe.want(50), 1);
        assert!(gate.enter(Duration::ZERO).is_none(), "somebody is trying");
        drop(probe);
        let probe = gate.enter(Duration::ZERO).unwrap();
        probe.succeeded();
        assert_eq!(gate.enter(Duration::ZERO).unwrap().want(50), 50);
    }

    #[test]
    fn those_who_fail_together_count_as_one() {
        let gate = Gate::default();
        let passes = [(); 3].map(|()| gate.enter(Duration::ZERO).unwrap());
        for pass in &passes {
            pass.failed(None, 255);
        }
        assert_eq!(gate.failures(), 1);
    }

    #[test]
    fn a_pause_is_as_long_as_was_asked_for_and_not_too_long() {
        let gate = Gate::default();
        gate.enter(Duration::ZERO).unwrap().failed(Some(Duration::from_secs(5)), 0);
        let long = gate.lock().pause();
        assert!(Duration::from_secs(4) < long && long <= Duration::from_secs(5), "{long:?}");
        let gate = Gate::default();
        gate.enter(Duration::ZERO).unwrap().failed(Some(Duration::MAX), 0);
        assert!(gate.lock().pause() <= LONGEST_ASKED);
    }

    #[test]
    fn some_poisoned_events_close_no_gate_and_a_wrong_address_does() {
        let gate = Gate::default();
        let pass = gate.enter(Duration::ZERO).unwrap();
        assert!(pass.rejected(0) && pass.rejected(0));
        pass.succeeded();
        assert!(pass.rejected(0) && pass.rejected(0) && !pass.rejected(0));
        assert!(gate.enter(Duration::ZERO).is_none(), "a pause");
    }
}
