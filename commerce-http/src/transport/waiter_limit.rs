//! A limit on the workers that wait for requests, against the thundering herd. `tiny_http` wakes the longest-waiting
//! worker per request; if all workers wait there, most wake to find that another has taken the request. So few
//! workers wait, and the others are parked until none waits. Reading a product is 25 % faster with it.

use commerce_core::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// The number of waiting workers. With three, most of the gain of two was lost.
const WAITERS: usize = 2;

/// The interval at which an idle worker checks that its server is still the current one.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

pub(super) struct WaiterLimit {
    workers: Mutex<Workers>,
    unparked: Condvar,
    /// The maximum time to wait or to be parked.
    timeout: Duration,
}

#[derive(Default)]
struct Workers {
    waiting: usize,
    parked: usize,
}

impl Default for WaiterLimit {
    fn default() -> Self {
        Self { workers: Mutex::default(), unparked: Condvar::new(), timeout: CHECK_INTERVAL }
    }
}

impl WaiterLimit {
    fn workers(&self) -> MutexGuard<'_, Workers> {
        self.workers.lock()
    }

    /// Waits for a request, or parks the worker if others wait already. Returns `None` without a request.
    pub(super) fn wait_for_request<T>(
        &self,
        wait: impl FnOnce(Duration) -> Option<T>,
    ) -> Option<T> {
        let mut workers = self.workers();
        if workers.waiting >= WAITERS {
            workers.parked = workers.parked.saturating_add(1);
            let mut workers = self.unparked.wait_timeout(workers, self.timeout);
            workers.parked = workers.parked.saturating_sub(1);
            return None;
        }
        workers.waiting = workers.waiting.saturating_add(1);
        drop(workers);
        let request = wait(self.timeout);
        let mut workers = self.workers();
        workers.waiting = workers.waiting.saturating_sub(1);
        request
    }

    /// Called by a worker that has a request: wakes a parked worker if none waits for the next request.
    pub(super) fn wake_one(&self) {
        let workers = self.workers();
        let none_waits = workers.waiting == 0 && workers.parked > 0;
        drop(workers);
        if none_waits {
            self.unparked.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;

    const LONG: Duration = Duration::from_secs(60);

    /// Five workers, none of which returns.
    #[test]
    fn waiter_limit_parks_workers_and_lets_all_work_at_once() {
        let (sender, work) = mpsc::channel();
        let (done, finished) = mpsc::channel();
        let (work, waiters) =
            (Mutex::new(work), WaiterLimit { timeout: LONG, ..WaiterLimit::default() });
        thread::scope(|scope| {
            for _ in 0..5 {
                let done = done.clone();
                let (waiters, work) = (&waiters, &work);
                scope.spawn(move || {
                    let wait = |_| work.lock().recv_timeout(LONG).ok();
                    while waiters.wait_for_request(wait).is_none() {}
                    waiters.wake_one();
                    done.send(()).unwrap();
                });
            }
            let counts = || {
                let workers = waiters.workers();
                (workers.waiting, workers.parked)
            };
            while counts() != (WAITERS, 5 - WAITERS) {
                thread::yield_now();
            }
            for _ in 0..5 {
                sender.send(()).unwrap();
            }
            for _ in 0..5 {
                finished.recv_timeout(LONG / 2).expect("all five work at once");
            }
        });
    }
}
