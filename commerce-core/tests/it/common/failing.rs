//! A store that fails at a chosen step in a chosen way.

use commerce_core::store::{Needs, Snapshot, State, Transaction};
use commerce_core::{Currency, Store, StoreError};
use std::sync::atomic::{AtomicI64, Ordering};

/// The failure to inject.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    Busy,
    Full,
    Unavailable,
    Corrupt,
    Constraint,
    Panic,
    /// A commit is carried out and then reported as unknown; other steps fail as unavailable.
    DoneButUnknown,
    /// A commit is not carried out and reported as unknown; other steps fail as unavailable.
    NotDoneAndUnknown,
}

/// A store in which the n-th step fails.
pub struct Failing<S> {
    store: S,
    fault: Fault,
    /// The number of steps until the failure; negative for never.
    left: AtomicI64,
}

impl<S> Failing<S> {
    pub fn new(store: S, fault: Fault) -> Self {
        Self { store, fault, left: AtomicI64::new(-1) }
    }

    /// Lets `step` steps succeed and the next one fail.
    pub fn fail_at(&self, step: i64) {
        self.left.store(step, Ordering::SeqCst);
    }

    /// Disables the failure; returns true if it has happened.
    pub fn heal(&self) -> bool {
        self.left.swap(-1, Ordering::SeqCst) < 0
    }

    fn is_due(&self) -> bool {
        self.left.fetch_sub(1, Ordering::SeqCst) == 0
    }

    fn failure(&self) -> StoreError {
        let text = "injected failure".to_owned();
        match self.fault {
            Fault::Busy => StoreError::Busy(None),
            Fault::Full => StoreError::Full(text),
            Fault::Corrupt => StoreError::Corrupt(text),
            Fault::Constraint => StoreError::ConstraintViolation(text),
            Fault::Panic => panic!("injected panic"),
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
        if self.is_due() {
            return Err(self.failure());
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
        if self.store.is_due() {
            return Err(self.store.failure());
        }
        self.transaction.load(needs, state)
    }

    fn apply(&mut self, state: &State) -> Result<(), StoreError> {
        if self.store.is_due() {
            // The failure comes after everything was written.
            self.transaction.apply(state)?;
            return Err(self.store.failure());
        }
        self.transaction.apply(state)
    }

    fn end_unchanged(self: Box<Self>) -> Result<(), StoreError> {
        self.transaction.end_unchanged()
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        if !self.store.is_due() {
            return self.transaction.commit();
        }
        let unknown = Err(StoreError::CommitUnknown("no answer to the commit".to_owned()));
        match self.store.fault {
            Fault::DoneButUnknown => self.transaction.commit().and(unknown),
            Fault::NotDoneAndUnknown => unknown,
            Fault::Busy
            | Fault::Full
            | Fault::Unavailable
            | Fault::Corrupt
            | Fault::Constraint
            | Fault::Panic => Err(self.store.failure()),
        }
    }
}
