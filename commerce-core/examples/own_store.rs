//! A store of an embedding program: it wraps another store and counts its transactions. A store from scratch implements
//! the same traits; `commerce-postgres` is one outside this crate.
//! Run it with `cargo run -p commerce-core --example own_store`.

use commerce_core::store::{Needs, Snapshot, State, Transaction};
use commerce_core::{AddCustomer, Currency, Key, MemoryStore, Money, Shop, Store, StoreError};
use std::io::{Write, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A store that counts the loads and commits of another one.
struct Counting<S> {
    store: S,
    loads: AtomicU64,
    commits: AtomicU64,
}

impl<S: Store> Store for Counting<S> {
    fn currency(&self) -> Currency {
        self.store.currency()
    }

    fn begin(&self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        let transaction = self.store.begin()?;
        Ok(Box::new(CountingTransaction { transaction, store: self }))
    }

    fn try_begin(&self) -> Result<Option<Box<dyn Transaction + '_>>, StoreError> {
        let Some(transaction) = self.store.try_begin()? else { return Ok(None) };
        Ok(Some(Box::new(CountingTransaction { transaction, store: self })))
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        self.store.snapshot()
    }
}

struct CountingTransaction<'a, S> {
    transaction: Box<dyn Transaction + 'a>,
    store: &'a Counting<S>,
}

impl<S> Transaction for CountingTransaction<'_, S> {
    /// Fills `state` with every row in `needs`. The engine calls it until no row is missing.
    fn load(&mut self, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
        self.store.loads.fetch_add(1, Ordering::Relaxed);
        self.transaction.load(needs, state)
    }

    /// Saves the changes in `state`: inserted and updated rows, ledger entries, events and so on.
    fn apply(&mut self, state: &State) -> Result<(), StoreError> {
        self.transaction.apply(state)
    }

    /// Ends a transaction that has changed nothing; its answers must be based on durable commits.
    fn end_unchanged(self: Box<Self>) -> Result<(), StoreError> {
        self.transaction.end_unchanged()
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.transaction.commit()?;
        self.store.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = MemoryStore::new(Currency::KRW);
    let (loads, commits) = (AtomicU64::new(0), AtomicU64::new(0));
    let store = Arc::new(Counting { store, loads, commits });
    let shop = Shop::open(Arc::clone(&store));
    let kim = shop.call(AddCustomer::new("Kim")).run()?.id;
    let key = Key::new("charge-1").ok_or("a key is visible ASCII")?;
    for _ in 0..2 {
        shop.charge(kim, Money::from_minor(5_000), &key)?;
    }
    let (loads, commits) = (&store.loads, &store.commits);
    let (loads, commits) = (loads.load(Ordering::Relaxed), commits.load(Ordering::Relaxed));
    let balance = shop.currency().show(shop.balance(kim)?.balance);
    writeln!(stdout().lock(), "balance {balance} after {commits} commits and {loads} loads")?;
    Ok(())
}
