//! How many workers wait at the server. `tiny_http` wakes one for each request, the one that has slept longest;
//! with all of them there, most wake to find that another has taken it. So few wait there, and the others rest
//! until none does. Reading a product is a fourth quicker for it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many wait at a time. With three, most of what is gained with two was lost.
const WAITERS: usize = 2;

/// How often a worker with nothing to do looks whether its server is still the one to work for.
const LOOK: Duration = Duration::from_millis(500);

pub(super) struct WaiterLimit {
    places: Mutex<Places>,
    called: Condvar,
    /// How long one waits or rests before it looks after other things.
    timeout: Duration,
}

#[derive(Default)]
struct Places {
    waiting: usize,
    resting: usize,
}

impl Default for WaiterLimit {
    fn default() -> Self {
        Self { places: Mutex::default(), called: Condvar::new(), timeout: LOOK }
    }
}

impl WaiterLimit {
    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something, or rests when others wait already; `None` when neither brought anything.
    pub(super) fn wait_for_request<T>(
        &self,
        wait: impl FnOnce(Duration) -> Option<T>,
    ) -> Option<T> {
        let mut places = self.places();
        if places.waiting >= WAITERS {
            places.resting = places.resting.saturating_add(1);
            let rested = self.called.wait_timeout(places, self.timeout);
            let (mut places, _) = rested.unwrap_or_else(PoisonError::into_inner);
            places.resting = places.resting.saturating_sub(1);
            return None;
        }
        places.waiting = places.waiting.saturating_add(1);
        drop(places);
        let brought = wait(self.timeout);
        let mut places = self.places();
        places.waiting = places.waiting.saturating_sub(1);
        brought
    }

    /// To be called by whoever goes to work: somebody has to wait for what comes meanwhile.
    pub(super) fn wake_one(&self) {
        let places = self.places();
        let nobody_waits = places.waiting == 0 && places.resting > 0;
        drop(places);
        if nobody_waits {
            self.called.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;

    const LONG: Duration = Duration::from_secs(60);

    /// Five workers, of whom nobody comes back.
    #[test]
    fn few_wait_and_all_can_work_at_once() {
        let (give, work) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let (work, lookouts) =
            (Mutex::new(work), WaiterLimit { timeout: LONG, ..WaiterLimit::default() });
        thread::scope(|scope| {
            for _ in 0..5 {
                let tell = tell.clone();
                let (lookouts, work) = (&lookouts, &work);
                scope.spawn(move || {
                    let wait = |_| work.lock().unwrap().recv_timeout(LONG).ok();
                    while lookouts.wait_for_request(wait).is_none() {}
                    lookouts.wake_one();
                    tell.send(()).unwrap();
                });
            }
            let counted = || {
                let places = lookouts.places();
                (places.waiting, places.resting)
            };
            while counted() != (WAITERS, 5 - WAITERS) {
                thread::yield_now();
            }
            for _ in 0..5 {
                give.send(()).unwrap();
            }
            for _ in 0..5 {
                told.recv_timeout(LONG / 2).expect("all five work at once");
            }
        });
    }
}
