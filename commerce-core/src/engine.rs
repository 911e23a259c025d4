//! The engine: commands queue, and the leader commits all queued commands in one transaction (group commit).
//!
//! One thread at a time is the *leader*: the writer thread, or a caller that finds the engine idle. The writer thread
//! is started by the first command that its caller cannot carry out. A batch is what arrived during the last commit,
//! so that a lone caller never waits for others. A caller gets its own result, and only after the commit is durable.
//! It waits as a thread or as a task (`pending.rs`); no call blocks because the queue is long.
//!
//! A batch that fails because of one of its commands is split: each gets a transaction of its own, so that only the
//! command that violates a constraint fails, and only those that wait for a row of another session wait.

use crate::command::{Command, Decision, needs};
use crate::error::{Error, StoreError};
use crate::histogram::{Distribution, Histogram, SIZES, TIMES};
use crate::limits::{EXPIRY_BATCH, MAX_BATCH, MAX_BATCH_WEIGHT};
use crate::rule::context::Output;
use crate::sequence::Progress;
use crate::state::{Needs, State};
use crate::store::{Store, Transaction};
use crate::sync::{Condvar, Mutex};
use crate::threads;
use deadlines::Deadlines;
pub(crate) use notifier::EventNotifier;
pub(crate) use pending::Pending;
use pending::Slot;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

mod deadlines;
mod notifier;
mod pending;

/// The linger as a fraction of the last batch's duration. A fourth costs little if its callers do not return, and nearly
/// doubles the size of the next batch if they do.
const LINGER_FRACTION: u32 = 4;

/// The longest linger.
const MAX_LINGER: Duration = Duration::from_millis(2);

/// The pause after a store reported that it is busy.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// The longest pause between transactions of isolated jobs.
const MAX_ISOLATED_PAUSE: Duration = Duration::from_secs(2);

/// The longest wait of an isolated job for locks of others in its first transaction; all other commands wait meanwhile.
/// It grows with each further one, up to the factor below, because the server may only be slow.
const ISOLATED_WAIT: Duration = Duration::from_millis(250);

/// The greatest factor of [`ISOLATED_WAIT`].
const MAX_ISOLATED_FACTOR: u32 = 4;

/// The part of a timeout in which no transaction is begun any more, since it could not end in time. A tenth, at most
/// [`MAX_RESERVE`].
const RESERVE_FRACTION: u32 = 10;

/// Longer than a transaction takes that waits for no other session.
const MAX_RESERVE: Duration = Duration::from_secs(1);

/// Statistics of the engine since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Committed transactions.
    pub commits: u64,
    /// Commands with a result, including refusals.
    pub commands: u64,
    /// The sizes of batches: commands per committed transaction.
    pub batches: Distribution,
    /// Durations of commits in microseconds: saving the changes and waiting for the disk.
    pub commit_micros: Distribution,
    /// Times that commands waited for their transaction, in microseconds.
    pub wait_micros: Distribution,
    /// Commands in the queue now.
    pub waiting: usize,
}

pub(crate) struct Engine {
    writer: Arc<Writer>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Notified when the writer thread has work, or must end.
    work: Condvar,
    /// Notified of progress once the engine is closed.
    progress: Condvar,
    commands: AtomicU64,
    batches: Histogram,
    commit_micros: Histogram,
    wait_micros: Histogram,
    notifier: EventNotifier,
    /// The reason why the store is busy as a whole, if it is more than other writers.
    busy_cause: Mutex<Option<String>>,
    /// The error of the last write; `None` once a write has succeeded again.
    failure: Mutex<Option<StoreError>>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            queue: Mutex::default(),
            work: Condvar::new(),
            progress: Condvar::new(),
            commands: AtomicU64::new(0),
            batches: Histogram::new(SIZES),
            commit_micros: Histogram::new(TIMES),
            wait_micros: Histogram::new(TIMES),
            notifier: EventNotifier::default(),
            busy_cause: Mutex::default(),
            failure: Mutex::default(),
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Jobs that each get a transaction of their own: first those that were not alone yet, then those that were busy alone.
    isolated: VecDeque<Job>,
    /// The instant of the next transaction of an isolated job; `None` if there is no need to pause.
    isolated_at: Option<Instant>,
    /// True if there is a leader: a thread that has the store, or waits for it.
    has_leader: bool,
    /// True while the writer thread begins a transaction, which waits for other processes. It holds no job then.
    waiting_for_store: bool,
    closed: bool,
}

impl Queue {
    fn len(&self) -> usize {
        self.jobs.len().saturating_add(self.isolated.len())
    }

    fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.isolated.is_empty()
    }

    /// Returns the time until an isolated job may be tried; `None` without one.
    fn isolated_pause(&self) -> Option<Duration> {
        let pause = |at: Instant| at.saturating_duration_since(Instant::now());
        (!self.isolated.is_empty()).then(|| self.isolated_at.map_or(Duration::ZERO, pause))
    }

    fn has_work(&self) -> bool {
        !self.jobs.is_empty() || self.isolated_pause() == Some(Duration::ZERO)
    }

    /// Takes the jobs that fit into a batch besides its own ones, and isolates those that are held.
    fn take_fitting(&mut self, batch: &[Job]) -> Vec<Job> {
        let mut taken = Vec::new();
        let mut weight: usize = batch.iter().map(|job| job.command.weight()).sum();
        let room = MAX_BATCH.saturating_sub(batch.len());
        while taken.len() < room
            && let Some(mut job) = self.jobs.pop_front()
        {
            if self.is_held(&job) {
                job.isolated = Some(0);
                self.isolated.push_back(job);
                continue;
            }
            weight = weight.saturating_add(job.command.weight());
            if weight > MAX_BATCH_WEIGHT && !(batch.is_empty() && taken.is_empty()) {
                self.jobs.push_front(job);
                break;
            }
            taken.push(job);
        }
        taken
    }

    /// Returns true if an earlier call of the job's sequence is isolated.
    fn is_held(&self, job: &Job) -> bool {
        !self.isolated.is_empty() && self.isolated.iter().any(|other| other.precedes(job))
    }
}

#[derive(Debug)]
struct Job {
    command: Command,
    slot: Arc<Slot>,
    queued: Instant,
    /// The instant after which the job is not begun any more.
    begin_until: Instant,
    /// Set once the job gets transactions of its own: the number of those that came back busy.
    isolated: Option<u32>,
    /// The reason why its last transaction was busy.
    cause: Option<String>,
}

impl Job {
    /// Returns true if both are of one sequence; the earlier one is asked.
    fn precedes(&self, later: &Self) -> bool {
        let own = self.command.sequence().zip(later.command.sequence());
        own.is_some_and(|(own, other)| Arc::ptr_eq(own, other))
    }

    /// Stops the job's sequence, if any, so that its later calls are not carried out.
    fn stop_sequence(&self) {
        if let Some(sequence) = self.command.sequence() {
            sequence.stop();
        }
    }
}

impl Engine {
    /// Returns an engine without a thread. The first command that needs the writer thread starts it.
    pub(crate) fn new(store: Arc<dyn Store>, hold_seconds: i64) -> Self {
        let (shared, thread, deadlines) =
            (Shared::default(), Mutex::default(), Deadlines::default());
        Self { writer: Arc::new(Writer { shared, store, hold_seconds, thread, deadlines }) }
    }

    /// Starts the writer thread, unless it runs.
    pub(crate) fn start(&self) -> Result<(), StoreError> {
        self.writer.start()
    }

    /// Carries a command out. A caller that finds the engine idle becomes the leader: handing the command to the writer
    /// thread and waiting for the result would cost more than the commit.
    pub(crate) fn run(&self, command: Command, timeout: Duration) -> Decision {
        // A leader has no deadline of its own.
        if !self.writer.store.begins_at_once() || !self.writer.take_lead() {
            return self.submit(command, timeout).wait();
        }
        let (job, pending) = self.job(command, timeout);
        match catch_panics(|| self.writer.store.try_begin()) {
            Ok(Some(transaction)) => {
                let mut jobs = vec![job];
                jobs.extend(self.writer.take_batch());
                self.writer.process(transaction, jobs);
            }
            // Another process writes. Jobs in the queue have a deadline; waiting here would have none.
            Ok(None) => self.writer.put_back(vec![job]),
            Err(error) => self.writer.fail(&[job], &error),
        }
        self.writer.release_lead();
        pending.wait()
    }

    /// Queues a command, without waiting. Behind a full queue it stays only as long as its caller waits, so that memory is
    /// bounded by the callers.
    pub(crate) fn submit(&self, command: Command, timeout: Duration) -> Pending {
        let (job, pending) = self.job(command, timeout);
        let mut queue = self.writer.shared.queue.lock();
        queue.jobs.push_back(job);
        let wake = !queue.has_leader && queue.jobs.len() == 1;
        drop(queue);
        if wake {
            self.writer.wake();
        }
        pending
    }

    fn job(&self, command: Command, timeout: Duration) -> (Job, Pending) {
        let now = Instant::now();
        let deadline = now.checked_add(timeout).unwrap_or(now);
        let reserve = timeout.checked_div(RESERVE_FRACTION).unwrap_or_default().min(MAX_RESERVE);
        let begin_until = deadline.checked_sub(reserve).unwrap_or(deadline);
        let slot = Arc::new(Slot::new(deadline));
        let pending = Pending::new(Arc::clone(&self.writer), Arc::clone(&slot));
        let (isolated, cause) = (None, None);
        (Job { command, slot, queued: now, begin_until, isolated, cause }, pending)
    }

    /// The notifier that relays wait on.
    pub(crate) fn notifier(&self) -> &EventNotifier {
        &self.writer.shared.notifier
    }

    /// Checks that the store is writable if the last write failed.
    pub(crate) fn can_write(&self) -> Result<(), StoreError> {
        let Some(failure) = self.writer.shared.failure.lock().clone() else { return Ok(()) };
        // A commit without changes shows whether the cause is gone. While another process writes, the last error stands.
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
            waiting: shared.queue.lock().len(),
        }
    }
}

/// Finishes the submitted commands, then ends the threads (graceful shutdown). A writer thread that waits for another
/// process while the queue is empty is not joined.
impl Drop for Engine {
    fn drop(&mut self) {
        let shared = &self.writer.shared;
        // A task that is woken may drop the shop at once. A thread of the engine cannot wait for itself.
        let is_own = threads::is_current(self.writer.thread.lock().as_ref())
            || self.writer.deadlines.is_current();
        let mut queue = shared.queue.lock();
        queue.closed = true;
        shared.work.notify_one();
        while !is_own && (!queue.is_empty() || queue.has_leader && !queue.waiting_for_store) {
            queue = shared.progress.wait(queue);
        }
        let stuck = queue.waiting_for_store;
        drop(queue);
        let deadlines = self.writer.deadlines.close();
        if is_own {
            return;
        }
        let thread = self.writer.thread.lock().take();
        for thread in thread.filter(|_| !stuck).into_iter().chain(deadlines) {
            // The error of a thread that panicked is of no use: every job it held has its result.
            let _ = thread.join();
        }
    }
}

/// Runs `work` and reports a panic as a constraint violation: the transaction is dropped, and the writer thread, on
/// which every caller depends, survives.
fn catch_panics<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(StoreError::ConstraintViolation("a rule or a store panicked".to_owned()))
    })
}

/// Fails if a rule read a row outside its read set. Its decision is wrong, and must change nothing.
fn check_misread(state: &State) -> Result<(), StoreError> {
    state.misread().map_or(Ok(()), |kind| {
        Err(StoreError::ConstraintViolation(format!("a command read {kind} outside its read set")))
    })
}

fn failed(error: StoreError) -> Decision {
    Decision { result: Err(error.into()), replayed: false }
}

impl Shared {
    /// Wakes the engine's owner if it waits for the last jobs.
    fn note_progress(&self, queue: &Queue) {
        if queue.closed {
            self.progress.notify_all();
        }
    }
}

struct Writer {
    shared: Shared,
    store: Arc<dyn Store>,
    hold_seconds: i64,
    thread: Mutex<Option<JoinHandle<()>>>,
    deadlines: Deadlines,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl Writer {
    /// Starts the writer thread, unless it runs.
    fn start(self: &Arc<Self>) -> Result<(), StoreError> {
        let mut thread = self.thread.lock();
        if thread.is_none() {
            let writer = Arc::clone(self);
            *thread = Some(threads::start("writer", move || writer.run())?);
        }
        Ok(())
    }

    /// Wakes the writer thread. If it cannot be started, all queued jobs fail.
    fn wake(self: &Arc<Self>) {
        match self.start() {
            Ok(()) => self.shared.work.notify_one(),
            Err(error) => {
                let mut queue = self.shared.queue.lock();
                let mut jobs = std::mem::take(&mut queue.isolated);
                jobs.append(&mut queue.jobs);
                self.shared.note_progress(&queue);
                drop(queue);
                self.fail(jobs.make_contiguous(), &error);
            }
        }
    }

    fn run(self: &Arc<Self>) {
        while self.wait_for_work() {
            // The batch is taken after the transaction has begun, so that commands that arrive during the wait join
            // it, and commands that timed out have left the queue.
            let transaction = catch_panics(|| self.store.begin());
            let begun = Instant::now();
            self.shared.queue.lock().waiting_for_store = false;
            if let Err(StoreError::Busy(cause)) = transaction {
                *self.shared.busy_cause.lock() = cause;
                self.expire();
                self.release_lead();
                // There is no notification when another process releases the store.
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

    /// Lingers for the callers of the last batch to submit again, which most do at once: committing them together is
    /// worth a wait of a fraction of that batch's duration. There is no linger after a batch of one.
    fn linger(&self, callers: usize, batch_time: Duration) {
        let begun = Instant::now();
        let timeout = batch_time.checked_div(LINGER_FRACTION).unwrap_or_default().min(MAX_LINGER);
        let is_incomplete = || {
            let queue = self.shared.queue.lock();
            queue.jobs.len() < callers && !queue.closed
        };
        while callers > 1 && is_incomplete() && begun.elapsed() < timeout {
            std::thread::yield_now();
        }
    }

    /// Waits until there are jobs and no leader, then takes the lead. Returns false when the thread must end.
    fn wait_for_work(&self) -> bool {
        let mut queue = self.shared.queue.lock();
        while queue.has_leader || !(queue.has_work() || queue.closed && queue.is_empty()) {
            let pause = queue.isolated_pause().filter(|_| !queue.has_leader);
            queue = match pause {
                Some(pause) => self.shared.work.wait_timeout(queue, pause),
                None => self.shared.work.wait(queue),
            };
        }
        queue.has_leader = queue.has_work();
        queue.waiting_for_store = queue.has_leader;
        queue.has_leader
    }

    /// Takes the lead if there is no leader and the queue is empty.
    fn take_lead(&self) -> bool {
        let mut queue = self.shared.queue.lock();
        let free = !queue.has_leader && queue.is_empty();
        queue.has_leader |= free;
        free
    }

    /// Releases the lead, and wakes the writer thread for jobs that arrived meanwhile.
    fn release_lead(self: &Arc<Self>) {
        let mut queue = self.shared.queue.lock();
        queue.has_leader = false;
        let (has_jobs, closed) = (!queue.is_empty(), queue.closed);
        self.shared.note_progress(&queue);
        drop(queue);
        if has_jobs {
            self.wake();
        } else if closed {
            self.shared.work.notify_one();
        }
    }

    /// Removes a job from the queue if its place is at least `from`. Returns it if it was there.
    fn withdraw(&self, slot: &Arc<Slot>, from: usize) -> Option<Job> {
        let mut queue = self.shared.queue.lock();
        let Queue { jobs, isolated, .. } = &mut *queue;
        // Isolated jobs have the first places.
        let behind = from.saturating_sub(isolated.len());
        let withdrawn = [(isolated, from), (jobs, behind)].into_iter().find_map(|(list, from)| {
            let mut places = list.iter().enumerate().skip(from);
            let (index, _) = places.find(|(_, job)| Arc::ptr_eq(&job.slot, slot))?;
            list.remove(index)
        });
        if let Some(job) = &withdrawn {
            // While the queue is locked, since the later calls of the sequence are still in it.
            job.stop_sequence();
        }
        self.shared.note_progress(&queue);
        withdrawn
    }

    /// Takes the next isolated job if it is due, or a batch of the others.
    fn take_batch(&self) -> Vec<Job> {
        self.expire();
        let mut queue = self.shared.queue.lock();
        if queue.isolated_pause() == Some(Duration::ZERO) {
            return queue.isolated.pop_front().into_iter().collect();
        }
        queue.take_fitting(&[])
    }

    /// Adds the jobs that have arrived during the first load, which may have waited for other processes, if they at least
    /// double the batch: they cost another load. Returns true if it added any.
    fn join(&self, jobs: &mut Vec<Job>) -> bool {
        if isolated(jobs).is_some() {
            return false;
        }
        self.expire();
        let mut queue = self.shared.queue.lock();
        let joining = queue.take_fitting(jobs);
        let worthwhile = joining.len() >= jobs.len();
        if worthwhile {
            jobs.extend(joining);
        } else {
            joining.into_iter().rev().for_each(|job| queue.jobs.push_front(job));
        }
        worthwhile
    }

    /// Returns jobs to the front of the queue. Their callers may withdraw them again.
    fn put_back(&self, jobs: Vec<Job>) {
        let mut deadline = None;
        let mut queue = self.shared.queue.lock();
        for job in jobs.into_iter().rev() {
            deadline = deadline.into_iter().chain(job.slot.awaited_until()).min();
            let list = if job.isolated.is_some() { &mut queue.isolated } else { &mut queue.jobs };
            list.push_front(job);
        }
        drop(queue);
        // It may have passed while the jobs were not in the queue.
        if let Some(deadline) = deadline {
            self.deadlines.set(deadline);
        }
        self.expire();
    }

    /// Gives each job of a failed batch a transaction of its own.
    fn split(&self, jobs: Vec<Job>) {
        let isolated = jobs.into_iter().map(|job| Job { isolated: Some(0), ..job }).collect();
        self.put_back(isolated);
        self.shared.queue.lock().isolated_at = None;
    }

    /// Puts a job that was busy alone behind the other isolated ones. It is tried again after a pause that grows with
    /// the number of its attempts and their duration (back-off), in which other jobs are carried out.
    fn defer(&self, job: Job, duration: Duration) {
        let attempts = job.isolated.unwrap_or_default().saturating_add(1);
        let job = Job { isolated: Some(attempts), ..job };
        let pause = duration.saturating_mul(attempts).clamp(BUSY_PAUSE, MAX_ISOLATED_PAUSE);
        let mut queue = self.shared.queue.lock();
        queue.isolated_at = Instant::now().checked_add(pause);
        let isolated = std::mem::take(&mut queue.isolated);
        // The later calls of its sequence stay behind it.
        let (later, others): (VecDeque<Job>, _) =
            isolated.into_iter().partition(|other| job.precedes(other));
        queue.isolated = others;
        queue.isolated.push_back(job);
        queue.isolated.extend(later);
        drop(queue);
        self.expire();
    }

    /// Answers the jobs that could not be carried out by their deadline any more: they are busy. A call that no caller waits
    /// for has no deadline, but a closed shop waits no longer for locks of others. Called by the leader, so that no later
    /// call of their sequences is taken meanwhile.
    fn expire(&self) {
        let now = Instant::now();
        let mut queue = self.shared.queue.lock();
        let Queue { jobs, isolated, closed, .. } = &mut *queue;
        let mut expired = Vec::new();
        for list in [jobs, isolated] {
            let ends = |job: &Job| job.slot.has_waiter() || *closed && job.isolated.is_some();
            let is_late = |job: &Job| job.begin_until <= now && ends(job);
            if list.iter().any(is_late) {
                let all = std::mem::take(list).into_iter();
                let (late, left): (VecDeque<Job>, _) = all.partition(is_late);
                *list = left;
                expired.extend(late);
            }
        }
        drop(queue);
        for job in &expired {
            self.complete(job, failed(self.busy(job)));
        }
    }

    fn process(&self, mut transaction: Box<dyn Transaction + '_>, mut jobs: Vec<Job>) {
        let start = Instant::now();
        // The first load may wait for other writers.
        if let Some(left) = time_left(&jobs) {
            transaction.limit_waits(left);
        }
        let isolated = isolated(&jobs);
        let mut begun = None;
        match self.attempt(transaction, &mut jobs, &mut begun) {
            Ok(decisions) => {
                let begun = begun.unwrap_or(start);
                for job in jobs.iter().take(decisions.len()) {
                    let waited = begun.saturating_duration_since(job.queued);
                    self.shared.wait_micros.add(micros(waited));
                }
                let rest = jobs.split_off(decisions.len().min(jobs.len()));
                for (job, decision) in jobs.iter().zip(decisions) {
                    self.complete(job, decision);
                }
                self.put_back(rest);
            }
            // The store was busy as a whole: a transaction may begin as late as with its first load.
            Err(StoreError::Busy(cause)) if begun.is_none() && isolated.is_none() => {
                *self.shared.busy_cause.lock() = cause;
                self.put_back(jobs);
            }
            Err(StoreError::ConstraintViolation(_) | StoreError::Busy(_)) if jobs.len() > 1 => {
                self.split(jobs);
            }
            Err(StoreError::Busy(cause)) => {
                for job in jobs {
                    self.defer(
                        Job { cause: cause.clone(), ..job },
                        begun.unwrap_or(start).elapsed(),
                    );
                }
            }
            Err(error) => self.fail(&jobs, &error),
        }
    }

    /// Loads, decides, applies and commits. Returns a decision for each job that could be decided on the loaded rows:
    /// at least the first, unless a backlog of overdue orders was released instead. Sets `begun` after the first load, up to
    /// which the store may be busy as a whole, and adds the jobs that join then.
    fn attempt(
        &self,
        mut transaction: Box<dyn Transaction + '_>,
        jobs: &mut Vec<Job>,
        begun: &mut Option<Instant>,
    ) -> Result<Vec<Decision>, StoreError> {
        catch_panics(|| {
            let mut state = State::new(self.store.currency());
            let missing =
                |jobs: &[Job], state: &State| needs(jobs.iter().map(|job| &job.command), state);
            // Prefetch: loaded rows may extend the read set, so that it is recomputed until nothing is missing.
            let mut needs = missing(jobs, &state);
            while !needs.is_empty() {
                transaction.load(&needs, &mut state)?;
                let left = missing(jobs, &state);
                if left == needs {
                    // Without progress the loop would never end, and it holds the write lock.
                    let kinds = left.kinds().collect::<Vec<_>>().join(", ");
                    return Err(StoreError::ConstraintViolation(format!(
                        "the store was asked for {kinds} and loaded none"
                    )));
                }
                needs = left;
                if begun.is_none() {
                    *begun = Some(Instant::now());
                    if self.join(jobs) {
                        // More may be overdue at their time.
                        state.due_orders = None;
                        needs = missing(jobs, &state);
                    }
                    if let Some(wait) = time_left(jobs).into_iter().chain(isolated_wait(jobs)).min()
                    {
                        transaction.limit_waits(wait);
                    }
                }
            }
            // More orders may be overdue than one commit releases. The batch then ends after their release, because the
            // remaining ones still hold stock and coupons that the next command may need.
            let expiry_backlog =
                state.due_orders.as_ref().is_some_and(|due| due.len() >= EXPIRY_BATCH);
            let mut decisions = Vec::with_capacity(jobs.len());
            // Sequences that end in this transaction. Their flag is set after the commit.
            let mut ended: Vec<&Arc<Progress>> = Vec::new();
            for Job { command, .. } in &*jobs {
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
            check_misread(&state)?;
            if state.has_changed() {
                self.save(transaction, &state)?;
                self.shared.batches.add(u64::try_from(decisions.len()).unwrap_or(u64::MAX));
            } else if decisions.iter().any(|decision| decision.replayed) {
                // The replayed result may have been committed by a process that died before it was durable, or by a
                // server that died before its standby had it. This commit makes it durable.
                transaction.commit()?;
            } else {
                // A wait that is too long for one of the jobs is so for all.
                transaction.end_unchanged().inspect_err(|_| *begun = None)?;
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
        check_misread(state)?;
        transaction.commit()?;
        self.note(None);
        *self.shared.busy_cause.lock() = None;
        self.shared.commit_micros.add(micros(begun.elapsed()));
        let due_events = state.events.len().saturating_add(state.deliveries.released());
        self.shared.notifier.notify(due_events);
        Ok(())
    }

    /// The error of a job that was not carried out by its deadline, with the last cause.
    fn busy(&self, job: &Job) -> StoreError {
        StoreError::Busy(job.cause.clone().or_else(|| self.shared.busy_cause.lock().clone()))
    }

    fn note(&self, failure: Option<&StoreError>) {
        *self.shared.failure.lock() = failure.cloned();
    }

    fn fail(&self, jobs: &[Job], error: &StoreError) {
        // A constraint violation concerns one command, and not the state of the store.
        if !matches!(error, StoreError::ConstraintViolation(_) | StoreError::Busy(_)) {
            self.note(Some(error));
        }
        for job in jobs {
            let result: Result<Output, Error> = Err(error.clone().into());
            self.complete(job, Decision { result, replayed: false });
        }
    }

    fn complete(&self, job: &Job, decision: Decision) {
        self.shared.commands.fetch_add(1, Ordering::Relaxed);
        if job.command.sequence().is_some_and(|own| own.ends_with(&decision.result)) {
            job.stop_sequence();
        }
        job.slot.complete(decision);
    }
}

/// Returns the attempts of the jobs if they are isolated: then it is one.
fn isolated(jobs: &[Job]) -> Option<u32> {
    jobs.first().and_then(|job| job.isolated)
}

/// Returns how long isolated jobs may wait for locks of others while they hold the store.
fn isolated_wait(jobs: &[Job]) -> Option<Duration> {
    let factor = |attempts: u32| attempts.saturating_add(1).min(MAX_ISOLATED_FACTOR);
    isolated(jobs).map(|attempts| ISOLATED_WAIT.saturating_mul(factor(attempts)))
}

/// Returns the time until the earliest deadline. One that has passed is that of a call without a caller that waits.
fn time_left(jobs: &[Job]) -> Option<Duration> {
    let now = Instant::now();
    let left = jobs.iter().map(|job| job.slot.deadline().saturating_duration_since(now));
    left.filter(|left| !left.is_zero()).min()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use crate::error::{Error, StoreError};
    use crate::id::{CustomerId, Key};
    use crate::money::{Currency, Money};
    use crate::rule::add_customer::AddCustomer;
    use crate::rule::testing::Careless;
    use crate::shop::Shop;
    use crate::store::Store;
    use crate::store::memory::MemoryStore;
    use crate::store::sqlite::SqliteStore;

    /// In every build: a business refusal would be wrong, and would be stored with the key.
    fn assert_misread_is_an_error(store: impl Store + 'static) {
        let shop = Shop::open(store);
        let kim = AddCustomer { balance: Money::from_minor(10), ..AddCustomer::new("Kim") };
        let kim = shop.call(kim).run().unwrap().id;
        let key = Key::new("careless").unwrap();
        for customer_id in [kim, CustomerId::new(9)] {
            let outcome = shop.call(Careless { customer_id }).key(&key).outcome();
            let Err(Error::Store(StoreError::ConstraintViolation(message))) = outcome.result else {
                panic!("{outcome:?}")
            };
            assert_eq!(message, "a command read customers outside its read set");
            assert!(!outcome.replayed, "no result is stored");
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
    fn rule_that_reads_outside_its_read_set_is_an_error() {
        assert_misread_is_an_error(MemoryStore::new(Currency::KRW));
        let folder = tempfile::tempdir().unwrap();
        assert_misread_is_an_error(SqliteStore::open(&folder.path().join("shop.db")).unwrap());
    }
}
