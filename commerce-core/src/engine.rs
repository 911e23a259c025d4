//! The engine: callers queue, whatever has queued up is committed as one, each gets its own answer.
//!
//! One at a time *leads*: the thread that writes, or a caller who found nobody else there. That thread is
//! started by the first command that cannot be carried out by its caller. A batch is
//! what arrived while the last commit ran, so a lone caller waits for nobody. Nobody is answered before
//! the commit is on disk.

use crate::command::{Command, Decision, needs};
use crate::error::{Error, StoreError};
use crate::histogram::{Distribution, Histogram, SIZES, TIMES};
use crate::limits::{EXPIRY_BATCH, MAX_BATCH, MAX_BATCH_WEIGHT, MAX_QUEUE};
use crate::rule::context::Output;
use crate::sequence::Progress;
use crate::state::{Needs, State};
use crate::store::{Store, Transaction};
use crate::sync::{Condvar, Mutex};
use crate::threads;
pub(crate) use notifier::EventNotifier;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

mod notifier;

/// The part of the last commit's time that is waited for callers to come back: a fourth costs little
/// when they do not, and nearly doubles what a commit takes on when they do.
const LINGER_FRACTION: u32 = 4;

/// The longest that is waited for callers to come back.
const MAX_LINGER: Duration = Duration::from_millis(2);

/// How long to leave a store alone that said it was busy.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// What the engine has done since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Transactions committed.
    pub commits: u64,
    /// Commands answered, refusals among them.
    pub commands: u64,
    /// How many commands were decided in each transaction that was committed.
    pub batches: Distribution,
    /// How long each commit took, in microseconds: saving what changed and waiting for the disk.
    pub commit_micros: Distribution,
    /// How long commands waited for their transaction, in microseconds.
    pub wait_micros: Distribution,
    /// Commands that wait now.
    pub waiting: usize,
}

pub(crate) struct Engine {
    writer: Arc<Writer>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Told when there is work for the thread that writes, or it is to end.
    work: Condvar,
    /// Told when there is room in the queue, or the last batch has ended.
    room: Condvar,
    commands: AtomicU64,
    batches: Histogram,
    commit_micros: Histogram,
    wait_micros: Histogram,
    notifier: EventNotifier,
    /// Why the last write failed; none once one has succeeded again.
    failure: Mutex<Option<StoreError>>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            queue: Mutex::default(),
            work: Condvar::new(),
            room: Condvar::new(),
            commands: AtomicU64::new(0),
            batches: Histogram::new(SIZES),
            commit_micros: Histogram::new(TIMES),
            wait_micros: Histogram::new(TIMES),
            notifier: EventNotifier::default(),
            failure: Mutex::default(),
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Somebody has the store, or waits for it.
    leading: bool,
    /// The thread that writes waits for other processes; it has no job in hand.
    waiting_for_store: bool,
    closed: bool,
}

#[derive(Debug)]
struct Job {
    command: Command,
    slot: Arc<Slot>,
    queued: Instant,
    /// It is decided in a transaction of its own: it was in one in which a guard fired.
    alone: bool,
}

impl Job {
    /// Keeps later calls of its sequence, if it has one, from being carried out.
    fn stop_sequence(&self) {
        if let Some(sequence) = self.command.sequence() {
            sequence.stop();
        }
    }
}

/// Where a caller finds its answer.
#[derive(Debug, Default)]
struct Slot {
    decision: Mutex<Option<Decision>>,
    ready: Condvar,
}

/// A command that was handed in, to be waited for.
#[derive(Debug)]
pub(crate) struct Pending {
    writer: Arc<Writer>,
    slot: Arc<Slot>,
    deadline: Instant,
}

impl Engine {
    /// An engine that has no thread yet: the first command that needs it starts the one that writes.
    pub(crate) fn new(store: Arc<dyn Store>, hold_seconds: i64) -> Self {
        let (shared, thread) = (Shared::default(), Mutex::default());
        Self { writer: Arc::new(Writer { shared, store, hold_seconds, thread }) }
    }

    /// Starts the thread that writes, unless it runs.
    pub(crate) fn start(&self) -> Result<(), StoreError> {
        self.writer.start()
    }

    /// Carries a command out. A caller who finds nobody else at it does so on its own thread: handing
    /// over to another and back would cost it more than the commit.
    pub(crate) fn run(&self, command: Command, timeout: Duration) -> Decision {
        if !self.writer.take_lead() {
            return self.submit(command, timeout).map_or_else(failed, Pending::wait);
        }
        let (job, pending) = self.job(command, timeout);
        match catch_panics(|| self.writer.store.try_begin()) {
            Ok(Some(transaction)) => {
                let mut jobs = vec![job];
                jobs.extend(self.writer.take_batch());
                self.writer.process(transaction, jobs);
            }
            // Another process writes: the queue has a deadline, waiting here would have none.
            Ok(None) => self.writer.put_back(vec![job]),
            Err(error) => self.writer.fail(&[job], &error),
        }
        self.writer.release_lead();
        pending.wait()
    }

    /// Queues a command; while the queue is full, waits for room.
    pub(crate) fn submit(
        &self,
        command: Command,
        timeout: Duration,
    ) -> Result<Pending, StoreError> {
        let (job, pending) = self.job(command, timeout);
        let shared = &self.writer.shared;
        let mut queue = shared.queue.lock();
        while queue.jobs.len() >= MAX_QUEUE {
            let left = pending.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(queue);
                job.stop_sequence();
                return Err(StoreError::Busy);
            }
            queue = shared.room.wait_timeout(queue, left);
        }
        queue.jobs.push_back(job);
        let wake = !queue.leading && queue.jobs.len() == 1;
        drop(queue);
        if wake {
            self.writer.wake();
        }
        Ok(pending)
    }

    fn job(&self, command: Command, timeout: Duration) -> (Job, Pending) {
        let slot = Arc::new(Slot::default());
        let now = Instant::now();
        let deadline = now.checked_add(timeout).unwrap_or(now);
        let pending =
            Pending { writer: Arc::clone(&self.writer), slot: Arc::clone(&slot), deadline };
        (Job { command, slot, queued: now, alone: false }, pending)
    }

    /// What wakes who waits for events.
    pub(crate) fn notifier(&self) -> &EventNotifier {
        &self.writer.shared.notifier
    }

    /// Finds out whether the store can be written, where the last write has failed.
    pub(crate) fn can_write(&self) -> Result<(), StoreError> {
        let Some(failure) = self.writer.shared.failure.lock().clone() else { return Ok(()) };
        // A write that changes nothing tells whether the reason is gone. While others write, it is not known.
        let mut transaction = self.writer.store.try_begin()?.ok_or(failure)?;
        let needs = Needs { ids: true, ..Needs::default() };
        transaction.load(&needs, &mut State::new(self.writer.store.currency()))?;
        transaction.commit()?;
        self.writer.note(None);
        Ok(())
    }

    pub(crate) fn stats(&self) -> Stats {
        let shared = &self.writer.shared;
        let batches = shared.batches.distribution();
        Stats {
            commits: batches.count(),
            commands: shared.commands.load(Ordering::Relaxed),
            batches,
            commit_micros: shared.commit_micros.distribution(),
            wait_micros: shared.wait_micros.distribution(),
            waiting: shared.queue.lock().jobs.len(),
        }
    }
}

/// Finishes what was handed in, then ends the thread. A thread that waits for another process, with
/// nobody left who wants anything of it, is not waited for.
impl Drop for Engine {
    fn drop(&mut self) {
        let shared = &self.writer.shared;
        let mut queue = shared.queue.lock();
        queue.closed = true;
        shared.work.notify_one();
        while !queue.jobs.is_empty() || queue.leading && !queue.waiting_for_store {
            queue = shared.room.wait(queue);
        }
        let stuck = queue.waiting_for_store;
        drop(queue);
        let thread = self.writer.thread.lock().take();
        if let Some(thread) = thread.filter(|_| !stuck) {
            // A writer that panicked has nothing left to say: every job it held was answered.
            let _ = thread.join();
        }
    }
}

/// A panic counts as a guard that fired: what was begun is dropped, and the thread that everybody waits
/// for lives on.
fn catch_panics<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(StoreError::ConstraintViolation("a rule or a store panicked".to_owned()))
    })
}

/// A command that read what it had not asked for was decided on a guess, and must leave nothing behind.
fn deny_misread(state: &State) -> Result<(), StoreError> {
    state.misread().map_or(Ok(()), |kind| {
        Err(StoreError::ConstraintViolation(format!(
            "a command read {kind} that it had not asked for"
        )))
    })
}

fn failed(error: StoreError) -> Decision {
    Decision { result: Err(error.into()), replayed: false }
}

impl Pending {
    /// Waits for the answer. A command that nobody has begun with in time is withdrawn.
    pub(crate) fn wait(self) -> Decision {
        let mut decision = self.slot.decision.lock();
        let mut withdrawable = true;
        loop {
            if let Some(decision) = decision.take() {
                return decision;
            }
            let left = self.deadline.saturating_duration_since(Instant::now());
            if withdrawable && left.is_zero() {
                drop(decision);
                if self.withdraw() {
                    return failed(StoreError::Busy);
                }
                withdrawable = false;
                decision = self.slot.decision.lock();
            } else if withdrawable {
                decision = self.slot.ready.wait_timeout(decision, left);
            } else {
                decision = self.slot.ready.wait(decision);
            }
        }
    }

    fn withdraw(&self) -> bool {
        let mut queue = self.writer.shared.queue.lock();
        let index = queue.jobs.iter().position(|job| Arc::ptr_eq(&job.slot, &self.slot));
        let withdrawn = index.and_then(|index| queue.jobs.remove(index));
        if let Some(job) = &withdrawn {
            // While the queue is locked: whatever follows in the sequence is still in it.
            job.stop_sequence();
        }
        drop(queue);
        self.writer.shared.room.notify_all();
        withdrawn.is_some()
    }
}

struct Writer {
    shared: Shared,
    store: Arc<dyn Store>,
    hold_seconds: i64,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl Writer {
    /// Starts the thread that writes, unless it runs.
    fn start(self: &Arc<Self>) -> Result<(), StoreError> {
        let mut thread = self.thread.lock();
        if thread.is_none() {
            let writer = Arc::clone(self);
            *thread = Some(threads::start("writer", move || writer.run())?);
        }
        Ok(())
    }

    /// Has the thread that writes look at the queue. When it cannot be started, what waits there fails.
    fn wake(self: &Arc<Self>) {
        match self.start() {
            Ok(()) => self.shared.work.notify_one(),
            Err(error) => {
                let jobs: Vec<Job> = self.shared.queue.lock().jobs.drain(..).collect();
                self.fail(&jobs, &error);
                self.shared.room.notify_all();
            }
        }
    }

    fn run(self: &Arc<Self>) {
        while self.wait_for_work() {
            // Jobs are taken once the store is ours: whoever comes while we wait for it joins in, and
            // whoever has waited too long has left.
            let transaction = catch_panics(|| self.store.begin());
            let begun = Instant::now();
            self.shared.queue.lock().waiting_for_store = false;
            if matches!(transaction, Err(StoreError::Busy)) {
                // Who still waits, waits on; who will not has left the queue.
                self.release_lead();
                // Nobody tells when another process is done.
                std::thread::sleep(BUSY_PAUSE);
                continue;
            }
            let jobs = self.take_batch();
            let callers = jobs.len();
            match transaction {
                Ok(transaction) => self.process(transaction, jobs),
                Err(error) => self.fail(&jobs, &error),
            }
            self.release_lead();
            self.linger(callers, begun.elapsed());
        }
    }

    /// Those who were answered together mostly ask again at once: to commit them together again is worth
    /// a wait of a part of what the last commit took. After a batch of one there is none.
    fn linger(&self, callers: usize, took: Duration) {
        let begun = Instant::now();
        let timeout = took.checked_div(LINGER_FRACTION).unwrap_or_default().min(MAX_LINGER);
        let nobody_new = || {
            let queue = self.shared.queue.lock();
            queue.jobs.len() < callers && !queue.closed
        };
        while callers > 1 && nobody_new() && begun.elapsed() < timeout {
            std::thread::yield_now();
        }
    }

    /// Waits until there are jobs and nobody leads; then leads. `false` when it is time to end.
    fn wait_for_work(&self) -> bool {
        let mut queue = self.shared.queue.lock();
        while queue.leading || queue.jobs.is_empty() && !queue.closed {
            queue = self.shared.work.wait(queue);
        }
        queue.leading = !queue.jobs.is_empty();
        queue.waiting_for_store = queue.leading;
        queue.leading
    }

    /// Leads when nobody does and nobody waits.
    fn take_lead(&self) -> bool {
        let mut queue = self.shared.queue.lock();
        let free = !queue.leading && queue.jobs.is_empty();
        queue.leading |= free;
        free
    }

    /// Lets the thread that writes go on with what has come meanwhile.
    fn release_lead(self: &Arc<Self>) {
        let mut queue = self.shared.queue.lock();
        queue.leading = false;
        let (has_jobs, closed) = (!queue.jobs.is_empty(), queue.closed);
        drop(queue);
        if has_jobs {
            self.wake();
        } else if closed {
            self.shared.work.notify_one();
        }
        self.shared.room.notify_all();
    }

    fn take_batch(&self) -> Vec<Job> {
        let mut queue = self.shared.queue.lock();
        let mut weight = 0_usize;
        let fits = |job: &&Job| {
            weight = weight.saturating_add(job.command.weight());
            weight <= MAX_BATCH_WEIGHT && !job.alone
        };
        let fitting = queue.jobs.iter().take(MAX_BATCH).take_while(fits).count();
        let count = fitting.max(1).min(queue.jobs.len());
        queue.jobs.drain(..count).collect()
    }

    /// Puts jobs back to where they were taken from, to be taken again; their callers may leave.
    fn put_back(&self, jobs: Vec<Job>) {
        let mut queue = self.shared.queue.lock();
        for job in jobs.into_iter().rev() {
            queue.jobs.push_front(job);
        }
    }

    fn process(&self, transaction: Box<dyn Transaction + '_>, mut jobs: Vec<Job>) {
        let begun = Instant::now();
        match self.attempt(transaction, &jobs) {
            Ok(decisions) => {
                for job in jobs.iter().take(decisions.len()) {
                    let waited = begun.saturating_duration_since(job.queued);
                    self.shared.wait_micros.add(micros(waited));
                }
                let rest = jobs.split_off(decisions.len().min(jobs.len()));
                for (job, decision) in jobs.iter().zip(decisions) {
                    self.answer(job, decision);
                }
                self.put_back(rest);
            }
            // One of them did it; alone, each shows whether it was the one.
            Err(StoreError::ConstraintViolation(_)) if jobs.len() > 1 => {
                for job in &mut jobs {
                    job.alone = true;
                }
                self.put_back(jobs);
            }
            // Waited for as long as each caller bears it.
            Err(StoreError::Busy) => self.put_back(jobs),
            Err(error) => self.fail(&jobs, &error),
        }
    }

    /// Loads, decides, applies and commits; answers the decisions of as many jobs as could be decided
    /// on what was loaded: the first at least, unless a expiry_backlog of overdue orders went before it.
    fn attempt(
        &self,
        mut transaction: Box<dyn Transaction + '_>,
        jobs: &[Job],
    ) -> Result<Vec<Decision>, StoreError> {
        catch_panics(|| {
            let mut state = State::new(self.store.currency());
            let wanted = |state: &State| needs(jobs.iter().map(|job| &job.command), state);
            let mut needs = wanted(&state);
            while !needs.is_empty() {
                transaction.load(&needs, &mut state)?;
                let left = wanted(&state);
                if left == needs {
                    // Asked again it would answer the same, with the write lock held all the while.
                    let kinds = left.kinds().collect::<Vec<_>>().join(", ");
                    return Err(StoreError::ConstraintViolation(format!(
                        "it was asked for {kinds} and loaded none"
                    )));
                }
                needs = left;
            }
            // More may be overdue than one commit takes on. Then a batch ends where they were released:
            // the others still hold what the next command may want.
            let expiry_backlog =
                state.due_orders.as_ref().is_some_and(|due| due.len() >= EXPIRY_BATCH);
            let mut decisions = Vec::with_capacity(jobs.len());
            // Sequences that end in this transaction. Their flag is set once it is committed.
            let mut ended: Vec<&Arc<Progress>> = Vec::new();
            for Job { command, .. } in jobs {
                let sequence = command.sequence();
                let ended_here =
                    |own: &Arc<Progress>| ended.iter().any(|other| Arc::ptr_eq(own, other));
                if sequence.is_some_and(|own| own.is_stopped() || ended_here(own)) {
                    decisions.push(failed(StoreError::NotAttempted));
                    continue;
                }
                if !command.is_ready(&state) || expiry_backlog && command.releases(&mut state) {
                    break;
                }
                let decision = command.decide(&mut state, self.hold_seconds);
                ended.extend(sequence.filter(|own| own.ends_with(&decision.result)));
                decisions.push(decision);
                if expiry_backlog && command.is_sweep() {
                    break;
                }
            }
            deny_misread(&state)?;
            if state.has_changed() {
                self.save(transaction, &state)?;
                self.shared.batches.add(u64::try_from(decisions.len()).unwrap_or(u64::MAX));
            } else if decisions.iter().any(|decision| decision.replayed) {
                // What is answered again may have been committed by a process that died before it was on
                // disk, or by a server that died before its standby had it. A commit of ours covers it.
                transaction.commit()?;
            }
            Ok(decisions)
        })
    }

    fn save(
        &self,
        mut transaction: Box<dyn Transaction + '_>,
        state: &State,
    ) -> Result<(), StoreError> {
        let begun = Instant::now();
        transaction.apply(state)?;
        deny_misread(state)?;
        transaction.commit()?;
        self.note(None);
        self.shared.commit_micros.add(micros(begun.elapsed()));
        let due = state.events.len().saturating_add(state.deliveries.released());
        self.shared.notifier.notify(due);
        Ok(())
    }

    fn note(&self, failure: Option<&StoreError>) {
        *self.shared.failure.lock() = failure.cloned();
    }

    fn fail(&self, jobs: &[Job], error: &StoreError) {
        // A guard fires for one command, not for every write.
        if !matches!(error, StoreError::ConstraintViolation(_) | StoreError::Busy) {
            self.note(Some(error));
        }
        for job in jobs {
            let result: Result<Output, Error> = Err(error.clone().into());
            self.answer(job, Decision { result, replayed: false });
        }
    }

    fn answer(&self, job: &Job, decision: Decision) {
        self.shared.commands.fetch_add(1, Ordering::Relaxed);
        if job.command.sequence().is_some_and(|own| own.ends_with(&decision.result)) {
            job.stop_sequence();
        }
        *job.slot.decision.lock() = Some(decision);
        job.slot.ready.notify_one();
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use crate::error::{Error, StoreError};
    use crate::id::{CustomerId, Key};
    use crate::money::{Currency, Money};
    use crate::rule::AddCustomer;
    use crate::rule::testing::Careless;
    use crate::shop::Shop;
    use crate::store::Store;
    use crate::store::memory::MemoryStore;
    use crate::store::sqlite::SqliteStore;

    /// In every build: a business refusal would be untrue, and be remembered with the key.
    fn deny_a_careless_rule(store: impl Store + 'static) {
        let shop = Shop::open(store);
        let kim = AddCustomer { balance: Money::from_minor(10), ..AddCustomer::new("Kim") };
        let kim = shop.call(kim).run().unwrap().id;
        let key = Key::new("careless").unwrap();
        for customer_id in [kim, CustomerId::new(9)] {
            let outcome = shop.call(Careless { customer_id }).key(&key).outcome();
            let Err(Error::Store(StoreError::ConstraintViolation(told))) = outcome.result else {
                panic!("{outcome:?}")
            };
            assert_eq!(told, "a command read customers that it had not asked for");
            assert!(!outcome.replayed, "nothing is remembered");
        }
        let others = [1, 2].map(|_| shop.call(AddCustomer::new("Lee")).submit());
        let careless = shop.call(Careless { customer_id: CustomerId::new(9) }).submit();
        assert!(matches!(careless.wait(), Err(Error::Store(StoreError::ConstraintViolation(_)))));
        for other in others {
            other.wait().unwrap();
        }
        assert!(shop.audit().unwrap().ok);
    }

    #[test]
    fn a_rule_that_reads_what_it_did_not_ask_for_is_an_error() {
        deny_a_careless_rule(MemoryStore::new(Currency::KRW));
        let folder = tempfile::tempdir().unwrap();
        deny_a_careless_rule(SqliteStore::open(&folder.path().join("shop.db")).unwrap());
    }
}
