//! A store that fails, at any step and in any way.

use commerce_core::{Currency, Needs, Snapshot, State, Store, StoreError, Transaction};
use std::sync::atomic::{AtomicI64, Ordering};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    Busy,
    Full,
    Unavailable,
    Unsound,
    Guard,
    Panic,
    /// A commit is carried out and then reported as unknown; other steps fail as unavailable.
    DoneButUnknown,
    /// A commit is not carried out and reported as unknown; other steps fail as unavailable.
    NotDoneAndUnknown,
}

/// A store whose n-th step fails.
pub struct Failing<S> {
    store: S,
    fault: Fault,
    /// Steps until it fails; negative for never.
    left: AtomicI64,
}

impl<S> Failing<S> {
    pub fn new(store: S, fault: Fault) -> Self {
        Self { store, fault, left: AtomicI64::new(-1) }
    }

    /// So many steps go well, and then one does not.
    pub fn fail_at(&self, step: i64) {
        self.left.store(step, Ordering::SeqCst);
    }

    /// Lets it fail no more; whether it had.
    pub fn heal(&self) -> bool {
        self.left.swap(-1, Ordering::SeqCst) < 0
    }

    fn strikes(&self) -> bool {
        self.left.fetch_sub(1, Ordering::SeqCst) == 0
    }

    fn strike(&self) -> StoreError {
        let text = "on purpose".to_owned();
        match self.fault {
            Fault::Busy => StoreError::Busy,
            Fault::Full => StoreError::Full(text),
            Fault::Unsound => StoreError::Corrupt(text),
            Fault::Guard => StoreError::ConstraintViolation(text),
            Fault::Panic => panic!("a defect, on purpose"),
            Fault::Unavailable | Fault::DoneButUnknown | Fault::NotDoneAndUnknown => {
                StoreError::Unavailable(text)
            }
        }
    }
}

impl<S: Store> Store for Failing<S> {
    fn currency(&self) -> Currency {
        self.store.currency()
    }

    fn begin(&self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        if self.strikes() {
            return Err(self.strike());
        }
        let transaction = self.store.begin()?;
        Ok(Box::new(FailingTransaction { transaction, store: self }))
    }

    fn try_begin(&self) -> Result<Option<Box<dyn Transaction + '_>>, StoreError> {
        self.begin().map(Some)
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        self.store.snapshot()
    }
}

struct FailingTransaction<'a, S> {
    transaction: Box<dyn Transaction + 'a>,
    store: &'a Failing<S>,
}

impl<S: Store> Transaction for FailingTransaction<'_, S> {
    fn load(&mut self, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
        if self.store.strikes() {
            return Err(self.store.strike());
        }
        self.transaction.load(needs, state)
    }

    fn apply(&mut self, state: &State) -> Result<(), StoreError> {
        if self.store.strikes() {
            // All of it is written already when it fails.
            self.transaction.apply(state)?;
            return Err(self.store.strike());
        }
        self.transaction.apply(state)
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        if !self.store.strikes() {
            return self.transaction.commit();
        }
        let unknown = Err(StoreError::CommitUnknown("the answer never came".to_owned()));
        match self.store.fault {
            Fault::DoneButUnknown => self.transaction.commit().and(unknown),
            Fault::NotDoneAndUnknown => unknown,
            Fault::Busy
            | Fault::Full
            | Fault::Unavailable
            | Fault::Unsound
            | Fault::Guard
            | Fault::Panic => Err(self.store.strike()),
        }
    }
}
