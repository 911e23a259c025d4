//! A semaphore with a fair wait queue: round robin between clients, then between the known and the other logins of each
//! client, and between single logins.
//!
//! An attacker can guess passwords of any number of logins, and would crowd out others at the same address. But only the
//! right password makes a login known.

use super::client::Client;
use crate::model::auth::LoginHash;
use crate::sync::Mutex;
use std::collections::VecDeque;
use std::sync::mpsc::{SyncSender, sync_channel};

/// The number of known logins that are kept, each with its client: some 50 bytes each.
const MAX_KNOWN: usize = 1024;

/// Permits that waiting threads get in fair order.
#[derive(Debug)]
pub(super) struct FairSemaphore(Mutex<State>);

#[derive(Debug)]
struct State {
    available: usize,
    queue: FairQueue<SyncSender<()>>,
    /// Logins that proved their passwords from a client, the latest last.
    known: VecDeque<(Client, LoginHash)>,
    shed: u64,
}

/// A permit of a [`FairSemaphore`], passed to the next waiting thread when it is dropped.
#[derive(Debug)]
#[must_use = "a permit is released when it is dropped"]
pub(super) struct Permit<'a>(&'a FairSemaphore);

impl FairSemaphore {
    /// Returns a semaphore of `permits`, for which this number of threads may wait, altogether and of each client.
    pub(super) fn new(permits: usize, max_waiting: usize, max_waiting_per_client: usize) -> Self {
        let queue = FairQueue { waiters: Vec::new(), max_waiting, max_waiting_per_client };
        let (available, known) = (permits, VecDeque::new());
        Self(Mutex::new(State { available, queue, known, shed: 0 }))
    }

    /// Waits for a permit. Returns `None` at once if the client has no place in the queue, or later if it loses the
    /// place to a client that has fewer.
    pub(super) fn acquire(&self, client: Client, login: LoginHash) -> Option<Permit<'_>> {
        let (grant, granted) = sync_channel(1);
        let mut state = self.0.lock();
        let is_known = state.known.contains(&(client, login));
        if state.queue.push(Waiter { client, login, is_known, value: grant }).is_some() {
            state.shed = state.shed.saturating_add(1);
        }
        state.grant();
        drop(state);
        // The sender of a waiter that is shed is dropped.
        granted.recv().ok().map(|()| Permit(self))
    }

    /// Makes a login of a client known, or the latest of those that are.
    pub(super) fn remember(&self, client: Client, login: LoginHash) {
        let mut state = self.0.lock();
        state.known.retain(|known| *known != (client, login));
        if state.known.len() >= MAX_KNOWN {
            state.known.pop_front();
        }
        state.known.push_back((client, login));
    }

    /// The number of threads that wait for a permit.
    pub(super) fn waiting(&self) -> usize {
        self.0.lock().queue.waiters.len()
    }

    /// The number of calls that got no permit, since the start.
    pub(super) fn shed(&self) -> u64 {
        self.0.lock().shed
    }
}

impl State {
    /// Passes the available permits on.
    fn grant(&mut self) {
        while let Some(available) = self.available.checked_sub(1)
            && let Some(next) = self.queue.pop()
        {
            // Its thread waits for the grant, and the channel has room for it.
            if next.send(()).is_ok() {
                self.available = available;
            }
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        state.available = state.available.saturating_add(1);
        state.grant();
    }
}

/// A bounded queue with three levels of round robin. It is short, so that scanning it costs less than maps would.
#[derive(Debug)]
struct FairQueue<T> {
    /// The client of the first waiter is next, then the client of the first waiter of another client, and so on. The
    /// same holds for the known and the other logins of each client, and for single logins.
    waiters: Vec<Waiter<T>>,
    max_waiting: usize,
    max_waiting_per_client: usize,
}

#[derive(Debug)]
struct Waiter<T> {
    client: Client,
    login: LoginHash,
    is_known: bool,
    value: T,
}

impl<T> FairQueue<T> {
    /// Adds a waiter. If there are too many, returns the one that leaves, perhaps the new one: of the client that has
    /// most, one that is not known if there is one, and of the login that has most the one that is last.
    fn push(&mut self, waiter: Waiter<T>) -> Option<T> {
        let client = waiter.client;
        self.waiters.push(waiter);
        let count =
            |is: &dyn Fn(&Waiter<T>) -> bool| self.waiters.iter().filter(|it| is(it)).count();
        let is_client_full = count(&|other| other.client == client) > self.max_waiting_per_client;
        if !is_client_full && self.waiters.len() <= self.max_waiting {
            return None;
        }
        let all = self.waiters.iter().enumerate();
        let candidates = all.filter(|(_, waiter)| !is_client_full || waiter.client == client);
        let crowded = candidates.max_by_key(|(at, waiter)| {
            let of_client = count(&|other| other.client == waiter.client);
            (of_client, !waiter.is_known, count(&|other| other.is_like(waiter)), *at)
        });
        let at = crowded.map(|(at, _)| at)?;
        Some(self.waiters.remove(at).value)
    }

    /// Removes the next waiter.
    fn pop(&mut self) -> Option<T> {
        if self.waiters.is_empty() {
            return None;
        }
        let next = self.waiters.remove(0);
        // The sort is stable: first the other clients, then the logins of this client that are known if this one is not, or
        // the other way round, then those like it, then this login.
        self.waiters.sort_by_key(|other| {
            let is_same = other.client == next.client;
            (is_same, is_same && other.is_known == next.is_known, other.is_like(&next))
        });
        Some(next.value)
    }
}

impl<T> Waiter<T> {
    fn is_like(&self, other: &Self) -> bool {
        self.client == other.client && self.login == other.login
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::sync::mpsc::channel;

    fn queue(max_waiting: usize, max_waiting_per_client: usize) -> FairQueue<&'static str> {
        FairQueue { waiters: Vec::new(), max_waiting, max_waiting_per_client }
    }

    /// Adds a waiter named by its client, its login and a number, such as `A-kim-1`. Logins in capitals are known.
    fn push(queue: &mut FairQueue<&'static str>, name: &'static str) -> Option<&'static str> {
        let mut parts = name.split('-');
        let client = Client::new(parts.next().unwrap().bytes().map(u128::from).sum());
        let login = parts.next().unwrap();
        let is_known = login.chars().all(char::is_uppercase);
        queue.push(Waiter { client, login: LoginHash::of(login), is_known, value: name })
    }

    fn order(mut queue: FairQueue<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn clients_take_turns_and_so_do_the_logins_of_each() {
        let mut queue = queue(16, 16);
        for name in
            ["A-kim-1", "A-kim-2", "A-kim-3", "A-lee-1", "A-lee-2", "B-kim-1", "B-kim-2", "C-oh-1"]
        {
            assert_eq!(push(&mut queue, name), None);
        }
        let expected =
            ["A-kim-1", "B-kim-1", "C-oh-1", "A-lee-1", "B-kim-2", "A-kim-2", "A-lee-2", "A-kim-3"];
        assert_eq!(order(queue), expected);
    }

    #[test]
    fn client_that_comes_back_after_its_turn_is_last() {
        let mut queue = queue(16, 16);
        for name in ["A-kim-1", "B-lee-1", "C-oh-1"] {
            push(&mut queue, name);
        }
        assert_eq!(queue.pop(), Some("A-kim-1"));
        push(&mut queue, "A-kim-2");
        assert_eq!(order(queue), ["B-lee-1", "C-oh-1", "A-kim-2"]);
    }

    #[test]
    fn full_queue_sheds_the_last_of_the_client_and_login_with_most() {
        let mut queue = queue(4, 4);
        for name in ["A-kim-1", "A-kim-2", "A-kim-3", "A-lee-1"] {
            assert_eq!(push(&mut queue, name), None);
        }
        assert_eq!(push(&mut queue, "A-kim-4"), Some("A-kim-4"), "no other has more");
        assert_eq!(push(&mut queue, "B-oh-1"), Some("A-kim-3"));
        assert_eq!(push(&mut queue, "A-lee-2"), Some("A-lee-2"));
        assert_eq!(push(&mut queue, "C-oh-1"), Some("A-kim-2"));
        assert_eq!(push(&mut queue, "D-oh-1"), Some("A-lee-1"));
        assert_eq!(push(&mut queue, "E-oh-1"), Some("E-oh-1"), "each client has one");
        assert_eq!(order(queue), ["A-kim-1", "B-oh-1", "C-oh-1", "D-oh-1"]);
    }

    #[test]
    fn client_at_its_limit_sheds_only_its_own() {
        let mut queue = queue(8, 3);
        for name in ["B-oh-1", "B-oh-2", "B-oh-3", "A-kim-1", "A-kim-2", "A-kim-3"] {
            assert_eq!(push(&mut queue, name), None);
        }
        assert_eq!(push(&mut queue, "A-lee-1"), Some("A-kim-3"));
        assert_eq!(push(&mut queue, "A-kim-4"), Some("A-kim-4"));
        assert_eq!(queue.waiters.len(), 6);
    }

    #[test]
    fn known_login_takes_turns_with_all_others_of_its_client() {
        let mut queue = queue(16, 16);
        for name in ["A-a-1", "A-b-1", "A-c-1", "B-d-1", "A-KIM-1", "A-KIM-2", "A-LEE-1"] {
            push(&mut queue, name);
        }
        let expected = ["A-a-1", "B-d-1", "A-KIM-1", "A-b-1", "A-LEE-1", "A-c-1", "A-KIM-2"];
        assert_eq!(order(queue), expected);
    }

    #[test]
    fn known_login_is_shed_after_all_others_of_its_client() {
        let mut queue = queue(8, 3);
        for name in ["A-a-1", "A-b-1", "A-c-1", "B-d-1"] {
            assert_eq!(push(&mut queue, name), None);
        }
        assert_eq!(push(&mut queue, "A-KIM-1"), Some("A-c-1"));
        assert_eq!(push(&mut queue, "A-e-1"), Some("A-e-1"));
        assert_eq!(push(&mut queue, "A-KIM-2"), Some("A-b-1"));
        assert_eq!(push(&mut queue, "A-LEE-1"), Some("A-a-1"));
        assert_eq!(push(&mut queue, "A-OH-1"), Some("A-KIM-2"), "only known logins are left");
        assert_eq!(order(queue), ["B-d-1", "A-KIM-1", "A-LEE-1", "A-OH-1"]);
    }

    #[test]
    fn login_is_known_to_one_client_until_many_others_are() {
        let semaphore = FairSemaphore::new(1, 1, 1);
        let [first, second] = [1, 2].map(Client::new);
        let is_known = |client, login: &str| {
            semaphore.0.lock().known.contains(&(client, LoginHash::of(login)))
        };
        semaphore.remember(first, LoginHash::of("kim"));
        semaphore.remember(first, LoginHash::of("lee"));
        assert!(is_known(first, "kim") && !is_known(second, "kim"));
        semaphore.remember(first, LoginHash::of("kim"));
        for number in 0..MAX_KNOWN - 1 {
            semaphore.remember(second, LoginHash::of(&number.to_string()));
        }
        assert!(is_known(first, "kim") && !is_known(first, "lee"));
        assert_eq!(semaphore.0.lock().known.len(), MAX_KNOWN);
    }

    proptest! {
        /// One client sends as much as it likes, with any logins. Another that waits once is never shed, and waits for
        /// one turn of each other client at most.
        #[test]
        fn client_with_one_waiter_is_neither_shed_nor_delayed(
            steps in prop::collection::vec(
                (0_u128..3, 0_u8..6, any::<bool>(), any::<bool>()),
                1..200,
            ),
        ) {
            let honest = Client::new(9);
            let waiter = |client, login: &str, is_known| {
                Waiter { client, login: LoginHash::of(login), is_known, value: client }
            };
            let mut queue = FairQueue { waiters: Vec::new(), max_waiting: 6, max_waiting_per_client: 4 };
            let mut turns_until_honest = None;
            for (client, login, is_known, is_pop) in steps {
                if turns_until_honest.is_none() {
                    prop_assert_ne!(queue.push(waiter(honest, "kim", false)), Some(honest));
                    turns_until_honest = Some(0);
                }
                if is_pop {
                    let served = queue.pop();
                    turns_until_honest = turns_until_honest
                        .map(|turns| turns + 1)
                        .filter(|_| served != Some(honest));
                    prop_assert!(turns_until_honest.is_none_or(|turns| turns <= 3));
                } else {
                    let pushed = waiter(Client::new(client), &login.to_string(), is_known);
                    prop_assert_ne!(queue.push(pushed), Some(honest));
                }
                let mut of_client = BTreeMap::<_, usize>::new();
                for waiter in &queue.waiters {
                    *of_client.entry(format!("{:?}", waiter.client)).or_default() += 1;
                }
                prop_assert!(of_client.values().all(|count| *count <= 4));
                prop_assert!(queue.waiters.len() <= 6);
            }
        }
    }

    #[test]
    fn released_permit_goes_to_the_fair_next_and_shed_threads_return() {
        let semaphore = FairSemaphore::new(1, 3, 2);
        let (login, [flood, honest]) = (LoginHash::of("kim"), [1, 2].map(Client::new));
        let (sender, order) = channel();
        let held = semaphore.acquire(flood, login).unwrap();
        std::thread::scope(|scope| {
            let start = |client, name, waiting| {
                let (semaphore, sender) = (&semaphore, sender.clone());
                scope.spawn(move || {
                    let permit = semaphore.acquire(client, login);
                    sender.send((name, permit.is_some())).unwrap();
                    drop(permit);
                });
                while semaphore.waiting() < waiting {
                    std::thread::yield_now();
                }
            };
            start(flood, "first of the flood", 1);
            start(flood, "second of the flood", 2);
            start(flood, "third of the flood", 2);
            assert_eq!(order.recv().unwrap(), ("third of the flood", false));
            start(honest, "honest", 3);
            drop(held);
            let order: Vec<_> = order.iter().take(3).collect();
            assert_eq!(
                order,
                [("first of the flood", true), ("honest", true), ("second of the flood", true)]
            );
        });
        assert_eq!((semaphore.waiting(), semaphore.shed()), (0, 1));
        assert!(semaphore.acquire(honest, login).is_some());
    }
}
