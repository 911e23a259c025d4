//! What a batch of commands works on: the rows that were loaded, and what has changed since.
//!
//! Rules read and write a [`State`]; stores fill it and save what it says has changed. Neither knows
//! the other. A row must be asked for in [`Needs`] before a rule may look at it; a look at any other fails the
//! command.

use crate::clock::Timestamp;
use crate::command::IdempotencyRecord;
use crate::digest::{Digest, Digested, KeyUse};
use crate::id::{
    ChargeId, CouponId, CustomerId, EventId, Key, LedgerEntryId, OrderId, OwnedCouponId, ProductId,
    StockMovementId,
};
use crate::model::auth::{Credentials, LoginAttempts, LoginHash, SessionRow, TokenHash};
use crate::model::cart::CartLines;
use crate::model::coupon::{Coupon, OwnedCoupon};
use crate::model::event::{Epoch, EventRow};
use crate::model::order::Order;
use crate::model::product::{Product, StockMovement};
use crate::model::wallet::{Account, ChargeRow, LedgerEntry};
use crate::money::Currency;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

mod deliveries;
mod misread;

pub use deliveries::{Deliveries, DueEventsQuery};
use misread::Misread;

/// The rows that commands may touch and that are not loaded yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Customers with their money.
    pub accounts: BTreeSet<CustomerId>,
    /// Products.
    pub products: BTreeSet<ProductId>,
    /// Carts, whole.
    pub carts: BTreeSet<CustomerId>,
    /// Coupon campaigns.
    pub coupons: BTreeSet<CouponId>,
    /// Claimed coupons by id.
    pub owned_coupons: BTreeSet<OwnedCouponId>,
    /// Claimed coupons by campaign and customer.
    pub claims: BTreeSet<(CouponId, CustomerId)>,
    /// Orders with their lines.
    pub orders: BTreeSet<OrderId>,
    /// Charges by id.
    pub charges: BTreeSet<ChargeId>,
    /// Customers whose pending charges are wanted, all of them.
    pub pending_charges: BTreeSet<CustomerId>,
    /// Idempotency keys with their owners.
    pub keys: BTreeSet<(Key, CustomerId)>,
    /// Pending orders whose time is over at this instant, the longest overdue first and at most
    /// [`EXPIRY_BATCH`](crate::limits::EXPIRY_BATCH) of them.
    pub due_orders: Option<Timestamp>,
    /// Who has a login.
    pub logins: BTreeSet<String>,
    /// Counts of logins tried in vain.
    pub attempts: BTreeSet<LoginHash>,
    /// The next free ids of every kind.
    pub ids: bool,
    /// Events by id.
    pub events: BTreeSet<EventId>,
    /// Deliveries by order, all of each.
    pub deliveries: BTreeSet<OrderId>,
    /// Events to be sent: for [`Deliveries::provide_due`], [`Deliveries::provide_fresh`],
    /// [`Deliveries::provide_next`] and [`Deliveries::epochs_loaded`].
    pub wanted: Option<DueEventsQuery>,
    /// At most so many parked deliveries, by event: for [`Deliveries::provide_parked`].
    pub parked: Option<usize>,
    /// The first event that nobody has taken up: for [`Deliveries::provide_next`].
    pub next_event: bool,
}

impl Needs {
    /// Whether everything is loaded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kinds().next().is_none()
    }

    /// The kinds of rows that are asked for.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = &'static str> {
        let all = [
            ("customers", !self.accounts.is_empty()),
            ("products", !self.products.is_empty()),
            ("carts", !self.carts.is_empty()),
            ("coupons", !self.coupons.is_empty()),
            ("claimed coupons", !self.owned_coupons.is_empty()),
            ("claims", !self.claims.is_empty()),
            ("orders", !self.orders.is_empty()),
            ("charges", !self.charges.is_empty()),
            ("pending charges", !self.pending_charges.is_empty()),
            ("idempotency keys", !self.keys.is_empty()),
            ("overdue orders", self.due_orders.is_some()),
            ("logins", !self.logins.is_empty()),
            ("login attempts", !self.attempts.is_empty()),
            ("next ids", self.ids),
            ("events", !self.events.is_empty()),
            ("deliveries", !self.deliveries.is_empty()),
            ("due events", self.wanted.is_some()),
            ("parked events", self.parked.is_some()),
            ("the next event", self.next_event),
        ];
        all.into_iter().filter_map(|(kind, is_needed)| is_needed.then_some(kind))
    }
}

/// What has happened to a loaded row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// It is new.
    Inserted,
    /// It was changed.
    Updated,
}

/// Rows of one kind, by key, each known to exist or known not to.
#[derive(Debug)]
pub struct Rows<K, V> {
    rows: HashMap<K, (Option<V>, Change)>,
    misread: Misread,
}

impl<K, V> Default for Rows<K, V> {
    fn default() -> Self {
        Self { rows: HashMap::new(), misread: Misread::default() }
    }
}

impl<K: Copy + Ord + Hash, V> Rows<K, V> {
    /// Whether the row was looked for.
    #[must_use]
    pub fn is_loaded(&self, key: K) -> bool {
        self.rows.contains_key(&key)
    }

    /// Takes in what the store has under that key. A row known already stays as it is.
    pub fn provide(&mut self, key: K, row: Option<V>) {
        self.rows.entry(key).or_insert((row, Change::None));
    }

    /// The row, when it exists.
    #[must_use]
    pub fn get(&self, key: K) -> Option<&V> {
        let (row, _) = self.misread.check(self.rows.get(&key))?;
        row.as_ref()
    }

    /// The row to be changed, when it exists.
    pub fn get_mut(&mut self, key: K) -> Option<&mut V> {
        let (row, change) = self.misread.check(self.rows.get_mut(&key))?;
        if row.is_some() && *change == Change::None {
            *change = Change::Updated;
        }
        row.as_mut()
    }

    /// The row to be completed by the store that loads it; to the rules nothing has happened to it.
    pub fn fill(&mut self, key: K) -> Option<&mut V> {
        self.rows.get_mut(&key).and_then(|(row, _)| row.as_mut())
    }

    /// Adds a row.
    pub fn insert(&mut self, key: K, row: V) {
        self.rows.insert(key, (Some(row), Change::Inserted));
    }

    /// What was inserted or updated, by key.
    #[must_use]
    pub fn changed(&self) -> Vec<(&V, Change)> {
        let mut changed: Vec<_> = self
            .rows
            .iter()
            .filter(|(_, (_, change))| *change != Change::None)
            .filter_map(|(key, (row, change))| Some((*key, row.as_ref()?, *change)))
            .collect();
        changed.sort_unstable_by_key(|(key, ..)| *key);
        changed.into_iter().map(|(_, row, change)| (row, change)).collect()
    }

    /// The rows that exist, in no order.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.rows.values().filter_map(|(row, _)| row.as_ref())
    }

    fn has_changed(&self) -> bool {
        self.rows.values().any(|(_, change)| *change != Change::None)
    }
}

/// The next free id of every kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the next id of what it names")]
pub struct NextIds {
    pub customer: i64,
    pub product: i64,
    pub coupon: i64,
    pub owned_coupon: i64,
    pub order: i64,
    pub charge: i64,
    pub ledger_entry: i64,
    pub stock_movement: i64,
    pub event: i64,
}

impl NextIds {
    /// Those of a new store.
    pub const FIRST: Self = Self {
        customer: 1,
        product: 1,
        coupon: 1,
        owned_coupon: 1,
        order: 1,
        charge: 1,
        ledger_entry: 1,
        stock_movement: 1,
        event: 1,
    };
}

fn take(next: &mut i64) -> i64 {
    let id = *next;
    *next = id.saturating_add(1);
    id
}

/// Units of a product that were paid for (or given back, when negative) at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sale {
    /// When the order was paid.
    pub paid_at: Timestamp,
    /// What was sold.
    pub product_id: ProductId,
    /// How many units.
    pub units: i64,
}

/// What happens to sessions, in that order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionChange {
    /// One begins.
    Opened(SessionRow),
    /// The one of that token ends.
    Closed(TokenHash),
    /// All of a customer end.
    ClosedAll(CustomerId),
    /// Those that are not valid then ([`SessionRow::is_valid_at`]) are forgotten, and so are the failed
    /// logins that do not count then ([`LoginAttempts::counts_at`]).
    Ended(Timestamp),
}

/// What was loaded for a batch of commands, and what they changed.
#[derive(Debug)]
pub struct State {
    /// The store's currency.
    pub currency: Currency,
    /// Customers with their money.
    pub accounts: Rows<CustomerId, Account>,
    /// Products.
    pub products: Rows<ProductId, Product>,
    /// Carts. An empty cart is a row without lines.
    pub carts: Rows<CustomerId, (CustomerId, CartLines)>,
    /// Coupon campaigns.
    pub coupons: Rows<CouponId, Coupon>,
    /// Claimed coupons.
    pub owned_coupons: Rows<OwnedCouponId, OwnedCoupon>,
    /// Which coupon a customer claimed from a campaign.
    pub claims: Rows<(CouponId, CustomerId), OwnedCouponId>,
    /// Orders.
    pub orders: Rows<OrderId, Order>,
    /// Pending orders that may be overdue: those that were loaded, and those placed since.
    pub due_orders: Option<Vec<OrderId>>,
    /// The next free ids.
    pub ids: Option<NextIds>,
    /// What idempotency keys stand for; new ones among them.
    keys: HashMap<(Key, CustomerId), (Option<IdempotencyRecord>, Change)>,
    /// The keys that new rows were made with.
    made_with: HashMap<Digested, (Key, CustomerId)>,
    /// Digests of new rows that were copied from another store.
    copied_digests: HashMap<Digested, i64>,
    /// New ledger entries.
    pub ledger: Vec<LedgerEntry>,
    /// Charges.
    pub charges: Rows<ChargeId, ChargeRow>,
    /// The customers whose pending charges are all among `charges`.
    pub pending_charges: BTreeSet<CustomerId>,
    /// New changes of stock.
    pub stock_movements: Vec<StockMovement>,
    /// New events.
    pub events: Vec<EventRow>,
    /// New epochs of events; one that begins with the same event as another takes its place.
    pub epochs: Vec<Epoch>,
    /// Events that were there before.
    pub known_events: Rows<EventId, EventRow>,
    /// How far events have been delivered.
    pub deliveries: Deliveries,
    /// New sales.
    pub sales: Vec<Sale>,
    /// Who has a login, as far as it was looked for.
    logins: HashMap<String, Option<CustomerId>>,
    /// Marks a look at anything else that was not loaded.
    misread: Misread,
    /// Counts of logins tried in vain.
    pub attempts: Rows<LoginHash, LoginAttempts>,
    /// New logins and passwords.
    pub credentials: Vec<Credentials>,
    /// Changes of sessions.
    pub sessions: Vec<SessionChange>,
}

impl State {
    /// A state with nothing loaded.
    #[must_use]
    pub fn new(currency: Currency) -> Self {
        Self {
            currency,
            accounts: Rows::default(),
            products: Rows::default(),
            carts: Rows::default(),
            coupons: Rows::default(),
            owned_coupons: Rows::default(),
            claims: Rows::default(),
            orders: Rows::default(),
            due_orders: None,
            ids: None,
            keys: HashMap::new(),
            made_with: HashMap::new(),
            copied_digests: HashMap::new(),
            ledger: Vec::new(),
            charges: Rows::default(),
            pending_charges: BTreeSet::new(),
            stock_movements: Vec::new(),
            events: Vec::new(),
            epochs: Vec::new(),
            known_events: Rows::default(),
            deliveries: Deliveries::default(),
            sales: Vec::new(),
            logins: HashMap::new(),
            misread: Misread::default(),
            attempts: Rows::default(),
            credentials: Vec::new(),
            sessions: Vec::new(),
        }
    }

    /// Whether there is anything to save.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        // Ledger, movements, events and sales never change alone: a row changes with them.
        self.accounts.has_changed()
            || self.products.has_changed()
            || self.carts.has_changed()
            || self.coupons.has_changed()
            || self.owned_coupons.has_changed()
            || self.orders.has_changed()
            || self.charges.has_changed()
            || self.attempts.has_changed()
            || self.deliveries.has_changed()
            || !self.sessions.is_empty()
            || self.keys.values().any(|(_, change)| *change != Change::None)
    }

    /// The kind of rows that a rule looked at without asking for them in its needs; such a look finds
    /// nothing, and what was decided after it is wrong.
    pub(crate) fn misread(&self) -> Option<&'static str> {
        let all = [
            ("customers", &self.accounts.misread),
            ("products", &self.products.misread),
            ("carts", &self.carts.misread),
            ("coupons", &self.coupons.misread),
            ("claimed coupons", &self.owned_coupons.misread),
            ("claims", &self.claims.misread),
            ("orders", &self.orders.misread),
            ("charges", &self.charges.misread),
            ("events", &self.known_events.misread),
            ("login attempts", &self.attempts.misread),
            ("deliveries", self.deliveries.misread()),
            ("logins, keys, ids, overdue orders or pending charges", &self.misread),
        ];
        all.into_iter().find_map(|(kind, misread)| misread.happened().then_some(kind))
    }

    /// The orders that may be overdue, for a rule that asked for them.
    pub(crate) fn overdue_orders(&self) -> &[OrderId] {
        self.misread.check(self.due_orders.as_deref()).unwrap_or_default()
    }

    /// The loaded and new charges of a customer, for a rule that asked for the pending ones.
    pub(crate) fn charges_of(&self, customer: CustomerId) -> impl Iterator<Item = &ChargeRow> {
        let asked = self.misread.check(self.pending_charges.get(&customer));
        let charges = asked.into_iter().flat_map(|_| self.charges.values());
        charges.filter(move |row| row.customer_id == customer)
    }

    /// Whether the login was looked for.
    #[must_use]
    pub fn is_login_loaded(&self, login: &str) -> bool {
        self.logins.contains_key(login)
    }

    /// Takes in who has that login in the store.
    pub fn provide_login(&mut self, login: String, owner: Option<CustomerId>) {
        self.logins.entry(login).or_insert(owner);
    }

    pub(crate) fn login_owner(&self, login: &str) -> Option<CustomerId> {
        self.misread.check(self.logins.get(login)).copied().flatten()
    }

    /// Gives a login to a customer, in place of the one they had.
    pub(crate) fn assign_login(&mut self, before: Option<&str>, login: &str, customer: CustomerId) {
        if let Some(before) = before {
            self.logins.insert(before.to_owned(), None);
        }
        self.logins.insert(login.to_owned(), Some(customer));
    }

    /// Whether the key was looked for.
    #[must_use]
    pub fn is_key_loaded(&self, key: &Key, owner: CustomerId) -> bool {
        self.keys.contains_key(&(key.clone(), owner))
    }

    /// Takes in what the store has under that key.
    pub fn provide_key(&mut self, key: Key, owner: CustomerId, record: Option<IdempotencyRecord>) {
        self.keys.entry((key, owner)).or_insert((record, Change::None));
    }

    /// What the key stands for.
    #[must_use]
    pub fn key(&self, key: &Key, owner: CustomerId) -> Option<&IdempotencyRecord> {
        let found = self.misread.check(self.keys.get(&(key.clone(), owner)));
        found.and_then(|(record, _)| record.as_ref())
    }

    pub(crate) fn add_key(&mut self, key: Key, owner: CustomerId, record: IdempotencyRecord) {
        if let Entry::Occupied(mut slot) = self.keys.entry((key, owner)) {
            slot.insert((Some(record), Change::Inserted));
        }
    }

    /// Takes note of the key that a new row is made with.
    pub(crate) fn made_with_key(&mut self, row: Digested, key: Key, owner: CustomerId) {
        self.made_with.insert(row, (key, owner));
    }

    /// Takes in the digest of a row that is copied from another store.
    pub(crate) fn digest_copied(&mut self, row: Digested, digest: i64) {
        self.copied_digests.insert(row, digest);
    }

    /// The digest that a new row is saved with; `None` for a row of a kind that has none.
    pub(crate) fn digest(&self, row: &impl Digest) -> Option<i64> {
        let (of, hash) = row.hashed()?;
        if let Some(copied) = self.copied_digests.get(&of) {
            return Some(*copied);
        }
        let made_with = self.made_with.get(&of).and_then(|(key, owner)| {
            let IdempotencyRecord { fingerprint, created_at, .. } = *self.key(key, *owner)?;
            Some(KeyUse { key, owner: *owner, fingerprint, created_at })
        });
        Some(made_with.map_or(hash.digest(), |used| hash.digest_with(&used)))
    }

    /// The keys that were given a meaning, with their owners, in order.
    #[must_use]
    pub fn new_keys(&self) -> Vec<(&Key, CustomerId, &IdempotencyRecord)> {
        let mut new: Vec<_> = self
            .keys
            .iter()
            .filter(|(_, (_, change))| *change != Change::None)
            .filter_map(|((key, owner), (record, _))| Some((key, *owner, record.as_ref()?)))
            .collect();
        new.sort_unstable_by_key(|(key, owner, _)| (*key, *owner));
        new
    }
}

impl State {
    /// Keeps an id that a caller chose from being given out again.
    pub(crate) fn reserve_customer_id(&mut self, id: CustomerId) {
        let Some(ids) = self.misread.check(self.ids.as_mut()) else { return };
        ids.customer = id.get().saturating_add(1).max(ids.customer);
    }

    /// As [`State::reserve_customer_id`], for a product.
    pub(crate) fn reserve_product_id(&mut self, id: ProductId) {
        let Some(ids) = self.misread.check(self.ids.as_mut()) else { return };
        ids.product = id.get().saturating_add(1).max(ids.product);
    }
}

macro_rules! next_ids {
    ($($method:ident, $field:ident, $id:ident;)+) => {
        impl State {$(
            pub(crate) fn $method(&mut self) -> $id {
                let ids = self.misread.check(self.ids.as_mut());
                $id::new(ids.map_or(0, |ids| take(&mut ids.$field)))
            }
        )+}
    };
}

next_ids! {
    next_customer_id, customer, CustomerId;
    next_product_id, product, ProductId;
    next_coupon_id, coupon, CouponId;
    next_owned_coupon_id, owned_coupon, OwnedCouponId;
    next_order_id, order, OrderId;
    next_charge_id, charge, ChargeId;
    next_ledger_entry_id, ledger_entry, LedgerEntryId;
    next_stock_movement_id, stock_movement, StockMovementId;
    next_event_id, event, EventId;
}
