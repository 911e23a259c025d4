//! Calls that arrive while the first load of a batch waits for other writers join the batch.

use crate::common::assert_clean;
use commerce_core::store::{Needs, Snapshot, State, Transaction};
use commerce_core::{
    AddCustomer, Currency, Customer, MemoryStore, PendingCall, Shop, Store, StoreError,
};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

#[derive(Default)]
struct Gate {
    is_closed: bool,
    /// The first loads that have begun.
    begun: usize,
    /// The next changes are refused, and the gate closes again.
    refuses: bool,
}

/// A memory store in which transactions wait in their first load while the gate is closed.
struct GatedLoads {
    store: MemoryStore,
    gate: Mutex<Gate>,
    changed: Condvar,
}

impl GatedLoads {
    fn change(&self, change: impl FnOnce(&mut Gate)) {
        change(&mut self.gate.lock().unwrap());
        self.changed.notify_all();
    }

    fn wait_while(&self, condition: impl Fn(&Gate) -> bool) -> MutexGuard<'_, Gate> {
        let gate = self.gate.lock().unwrap();
        self.changed.wait_while(gate, |gate| condition(gate)).unwrap()
    }
}

struct GatedTransaction<'a> {
    transaction: Box<dyn Transaction + 'a>,
    store: &'a GatedLoads,
    has_loaded: bool,
}

impl Store for GatedLoads {
    fn currency(&self) -> Currency {
        self.store.currency()
    }

    fn begin(&self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        let transaction = self.store.begin()?;
        Ok(Box::new(GatedTransaction { transaction, store: self, has_loaded: false }))
    }

    fn try_begin(&self) -> Result<Option<Box<dyn Transaction + '_>>, StoreError> {
        self.begin().map(Some)
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        self.store.snapshot()
    }
}

impl Transaction for GatedTransaction<'_> {
    fn load(&mut self, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
        if !std::mem::replace(&mut self.has_loaded, true) {
            self.store.change(|gate| gate.begun += 1);
            drop(self.store.wait_while(|gate| gate.is_closed));
        }
        self.transaction.load(needs, state)
    }

    fn apply(&mut self, state: &State) -> Result<(), StoreError> {
        let mut gate = self.store.gate.lock().unwrap();
        if std::mem::take(&mut gate.refuses) {
            gate.is_closed = true;
            return Err(StoreError::ConstraintViolation("planted".to_owned()));
        }
        drop(gate);
        self.transaction.apply(state)
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.transaction.commit()
    }
}

fn gated() -> (Arc<GatedLoads>, Shop) {
    let store = MemoryStore::new(Currency::KRW);
    let store = GatedLoads { store, gate: Mutex::default(), changed: Condvar::new() };
    let store = Arc::new(store);
    store.change(|gate| gate.is_closed = true);
    let shop = Shop::open(Arc::clone(&store));
    (store, shop)
}

fn submit(shop: &Shop, calls: usize) -> Vec<PendingCall<Customer>> {
    (0..calls).map(|_| shop.call(AddCustomer::new("Kim")).submit()).collect()
}

/// Waits for all calls; they must have been carried out in their order, in that many commits.
fn assert_commits(shop: &Shop, calls: Vec<PendingCall<Customer>>, commits: u64) {
    let ids = calls.into_iter().map(|call| call.wait().unwrap().id.get());
    assert!(ids.is_sorted());
    assert_eq!(shop.stats().commits, commits);
    assert_clean(shop);
}

#[test]
fn calls_that_double_the_batch_join_it() {
    let (store, shop) = gated();
    let mut calls = submit(&shop, 1);
    drop(store.wait_while(|gate| gate.begun < 1));
    calls.extend(submit(&shop, 2));
    store.change(|gate| gate.is_closed = false);
    assert_commits(&shop, calls, 1);
}

/// The batch of two is refused and split. Neither of the two is to fail because of a call that joins it.
#[test]
fn no_call_joins_one_that_has_a_transaction_of_its_own() {
    let (store, shop) = gated();
    let mut calls = submit(&shop, 1);
    drop(store.wait_while(|gate| gate.begun < 1));
    calls.extend(submit(&shop, 1));
    store.change(|gate| (gate.is_closed, gate.refuses) = (false, true));
    drop(store.wait_while(|gate| gate.begun < 2));
    calls.extend(submit(&shop, 3));
    store.change(|gate| gate.is_closed = false);
    assert_commits(&shop, calls, 3);
}
