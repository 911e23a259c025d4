//! The working set of a batch of commands (unit of work): the loaded rows, and their changes since.
//!
//! Stores fill a [`State`] and save its changes; rules read and write it. Neither knows the other. A rule may read
//! a row only after it asked for it in [`Needs`] (prefetch); any other read fails the command.

use crate::digest::{Digest, Digested, KeyUse};
use crate::error::Refusal;
use crate::id::{
    ChargeId, CouponId, CustomerId, EventId, Key, OrderId, OwnedCouponId, ProductId, RefundId,
    TokenId,
};
use crate::idempotency::IdempotencyRecord;
use crate::model::audit_trail::{AuditEntry, FieldChanges};
use crate::model::auth::{Credentials, LoginAttempts, LoginHash, PasswordHash};
use crate::model::cart::CartLines;
use crate::model::coupon::{Coupon, OwnedCoupon};
use crate::model::event::{Epoch, EventRow};
use crate::model::order::{LineCancellation, Order};
use crate::model::product::{Product, StockMovement};
use crate::model::refund::RefundRow;
use crate::model::sale::Sale;
use crate::model::settings::Settings;
use crate::model::token::Token;
use crate::model::wallet::{Account, ChargeRow, Customer, LedgerEntry};
use crate::money::Currency;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

mod changes;
mod deliveries;
mod misread;
mod next_ids;
mod personal;
mod purchases;
mod read_set;
mod rows;

pub(crate) use changes::Movement;
pub use changes::SessionChange;
pub use deliveries::{Deliveries, DueEventsQuery};
use misread::Misread;
pub use next_ids::NextIds;
pub use personal::{Erasure, PersonalData, may_be_personal};
pub use purchases::Purchases;
pub use read_set::Needs;
pub use rows::{Change, Rows};

/// The rows that were loaded for a batch of commands, and their changes.
#[derive(Debug)]
#[non_exhaustive]
pub struct State {
    /// The store's currency.
    pub currency: Currency,
    /// Customers with their balances.
    pub accounts: Rows<CustomerId, Account>,
    /// Products.
    pub products: Rows<ProductId, Product>,
    /// Carts. An empty cart is a row without lines.
    pub carts: Rows<CustomerId, (CustomerId, CartLines)>,
    /// Coupon campaigns.
    pub coupons: Rows<CouponId, Coupon>,
    /// Claimed coupons.
    pub owned_coupons: Rows<OwnedCouponId, OwnedCoupon>,
    /// The coupon that a customer claimed from a campaign.
    pub claims: Rows<(CouponId, CustomerId), OwnedCouponId>,
    /// Orders.
    pub orders: Rows<OrderId, Order>,
    /// New cancellations of parts of orders.
    pub cancellations: Vec<LineCancellation>,
    /// Purchases of products with a limit.
    pub purchases: Purchases,
    /// References of orders that were loaded, with the first order of the customer that has each.
    references: HashMap<(CustomerId, String), Option<OrderId>>,
    /// Pending orders that may be overdue: those that were loaded, and those placed since.
    pub due_orders: Option<Vec<OrderId>>,
    /// The next free ids.
    pub ids: Option<NextIds>,
    /// Idempotency records, loaded and new.
    keys: HashMap<(Key, CustomerId), (Option<IdempotencyRecord>, Change)>,
    /// The keys of the requests that created new rows.
    made_with: foldhash::HashMap<Digested, (Key, CustomerId)>,
    /// Digests of new rows that were copied from another store.
    copied_digests: foldhash::HashMap<Digested, i64>,
    /// New ledger entries.
    pub ledger: Vec<LedgerEntry>,
    /// Tokens of programs.
    pub tokens: Rows<TokenId, Token>,
    /// Charges.
    pub charges: Rows<ChargeId, ChargeRow>,
    /// The customers whose pending charges are all among `charges`.
    pub pending_charges: BTreeSet<CustomerId>,
    /// Refunds and disputes of charges.
    pub refunds: Rows<RefundId, RefundRow>,
    /// The charges of which all refunds are among `refunds`.
    pub refunded_charges: BTreeSet<ChargeId>,
    /// New stock movements.
    pub stock_movements: Vec<StockMovement>,
    /// New entries of the audit trail.
    pub audit_trail: Vec<AuditEntry>,
    /// The fields that the present command has changed, for its entry of the audit trail.
    pub(crate) field_changes: FieldChanges,
    /// New events.
    pub events: Vec<EventRow>,
    /// New epochs of events. An epoch replaces the one that begins with the same event.
    pub epochs: Vec<Epoch>,
    /// Events that were loaded.
    pub known_events: Rows<EventId, EventRow>,
    /// Deliveries of events.
    pub deliveries: Deliveries,
    /// New sales.
    pub sales: Vec<Sale>,
    /// The new settings, if they were changed.
    pub settings: Option<Settings>,
    /// Logins that were loaded, with their owners.
    logins: HashMap<String, Option<CustomerId>>,
    /// Marks a read of anything else that was not loaded.
    misread: Misread,
    /// Counts of failed login attempts.
    pub attempts: Rows<LoginHash, LoginAttempts>,
    /// New logins and passwords.
    pub credentials: Vec<Credentials>,
    /// Logins and passwords that were loaded.
    pub known_credentials: Rows<CustomerId, Credentials>,
    /// Customers with a new name, role or status, which the update of a balance does not write.
    pub profiles: BTreeSet<CustomerId>,
    /// Personal data that was loaded.
    personal: HashMap<CustomerId, PersonalData>,
    /// Erasures of personal data.
    pub erasures: Vec<Erasure>,
    /// The number of admins who can log in, if it was loaded.
    admins: Option<i64>,
    /// Changes of sessions.
    pub sessions: Vec<SessionChange>,
}

impl State {
    /// Returns a state with nothing loaded.
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
            cancellations: Vec::new(),
            purchases: Purchases::default(),
            references: HashMap::new(),
            due_orders: None,
            ids: None,
            keys: HashMap::new(),
            made_with: foldhash::HashMap::default(),
            copied_digests: foldhash::HashMap::default(),
            ledger: Vec::new(),
            tokens: Rows::default(),
            charges: Rows::default(),
            pending_charges: BTreeSet::new(),
            refunds: Rows::default(),
            refunded_charges: BTreeSet::new(),
            stock_movements: Vec::new(),
            audit_trail: Vec::new(),
            field_changes: FieldChanges::default(),
            events: Vec::new(),
            epochs: Vec::new(),
            known_events: Rows::default(),
            deliveries: Deliveries::default(),
            sales: Vec::new(),
            settings: None,
            logins: HashMap::new(),
            misread: Misread::default(),
            attempts: Rows::default(),
            credentials: Vec::new(),
            admins: None,
            known_credentials: Rows::default(),
            profiles: BTreeSet::new(),
            personal: HashMap::new(),
            erasures: Vec::new(),
            sessions: Vec::new(),
        }
    }

    /// Returns true if there is anything to save.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        // Without `..`, so that a new field cannot be left out. What is matched by `_` is either not saved, or
        // never changes alone: a row changes with each entry of the ledger, stock movement, event and sale.
        let Self {
            currency: _,
            accounts,
            products,
            carts,
            coupons,
            owned_coupons,
            claims: _,
            orders,
            cancellations: _,
            purchases: _,
            references: _,
            due_orders: _,
            ids: _,
            keys,
            made_with: _,
            copied_digests: _,
            ledger: _,
            tokens,
            charges,
            pending_charges: _,
            refunds,
            refunded_charges: _,
            stock_movements: _,
            audit_trail,
            field_changes: _,
            events: _,
            epochs: _,
            known_events: _,
            deliveries,
            sales: _,
            settings,
            logins: _,
            misread: _,
            attempts,
            credentials: _,
            admins: _,
            known_credentials: _,
            profiles: _,
            personal: _,
            erasures: _,
            sessions,
        } = self;
        accounts.has_changed()
            || products.has_changed()
            || carts.has_changed()
            || coupons.has_changed()
            || owned_coupons.has_changed()
            || orders.has_changed()
            || tokens.has_changed()
            || charges.has_changed()
            || refunds.has_changed()
            || attempts.has_changed()
            || deliveries.has_changed()
            || !sessions.is_empty()
            || !audit_trail.is_empty()
            || settings.is_some()
            || keys.values().any(|(_, change)| *change != Change::None)
    }

    /// The kind of rows that a rule read outside its read set. Such a read returns nothing, and the decision
    /// that was made on it is wrong.
    pub(crate) fn misread(&self) -> Option<&'static str> {
        let all = [
            ("customers", self.accounts.misread()),
            ("products", self.products.misread()),
            ("carts", self.carts.misread()),
            ("coupons", self.coupons.misread()),
            ("claimed coupons", self.owned_coupons.misread()),
            ("claims", self.claims.misread()),
            ("orders", self.orders.misread()),
            ("tokens", self.tokens.misread()),
            ("charges", self.charges.misread()),
            ("refunds", self.refunds.misread()),
            ("events", self.known_events.misread()),
            ("login attempts", self.attempts.misread()),
            ("credentials", self.known_credentials.misread()),
            ("deliveries", self.deliveries.misread()),
            (
                "logins, admins, keys, ids, references, overdue orders, pending charges, refunds of charges or personal data",
                &self.misread,
            ),
        ];
        if self.purchases.misread() {
            return Some("purchases");
        }
        all.into_iter().find_map(|(kind, misread)| misread.happened().then_some(kind))
    }

    /// The orders that may be overdue, for a rule with them in its read set.
    pub(crate) fn overdue_orders(&self) -> &[OrderId] {
        self.misread.check(self.due_orders.as_deref()).unwrap_or_default()
    }

    /// The loaded and new charges of a customer, for a rule with the pending ones in its read set.
    pub(crate) fn charges_of(&self, customer: CustomerId) -> impl Iterator<Item = &ChargeRow> {
        let loaded = self.misread.check(self.pending_charges.get(&customer));
        let charges = loaded.into_iter().flat_map(|_| self.charges.values());
        charges.filter(move |row| row.customer_id == customer)
    }

    /// The loaded and new refunds of a charge, for a rule with all of them in its read set.
    pub(crate) fn refunds_of(&self, charge: ChargeId) -> impl Iterator<Item = &RefundRow> {
        let loaded = self.misread.check(self.refunded_charges.get(&charge));
        let refunds = loaded.into_iter().flat_map(|_| self.refunds.values());
        refunds.filter(move |row| row.charge_id == charge)
    }

    /// Returns true if the login was loaded, whether or not it has an owner.
    #[must_use]
    pub fn is_login_loaded(&self, login: &str) -> bool {
        self.logins.contains_key(login)
    }

    /// Adds the owner that the login has in the store, if any.
    pub fn provide_login(&mut self, login: String, owner: Option<CustomerId>) {
        self.logins.entry(login).or_insert(owner);
    }

    pub(crate) fn login_owner(&self, login: &str) -> Option<CustomerId> {
        self.misread.check(self.logins.get(login)).copied().flatten()
    }

    /// The present password of a customer, for a rule with the credentials in its read set.
    pub(crate) fn password(&self, customer: CustomerId) -> Option<&PasswordHash> {
        let known = self.known_credentials.get(customer);
        let new = self.credentials.iter().rev().find(|row| row.customer_id == customer);
        new.or(known).map(|row| &row.password)
    }

    /// Returns true if the number of admins was loaded.
    #[must_use]
    pub const fn are_admins_counted(&self) -> bool {
        self.admins.is_some()
    }

    /// Adds the number of admins who can log in ([`Customer::is_acting_admin`]).
    pub fn provide_admins(&mut self, admins: i64) {
        self.admins = self.admins.or(Some(admins));
    }

    /// Refuses a change after which no admin could log in.
    pub(crate) fn keep_an_admin(&self, before: &Customer, after: &Customer) -> Result<(), Refusal> {
        if !before.is_acting_admin() || after.is_acting_admin() {
            return Ok(());
        }
        let admins = self.misread.check(self.admins).unwrap_or(0);
        if admins > 1 { Ok(()) } else { Err(Refusal::LastAdmin { customer_id: before.id }) }
    }

    /// Changes the name, login, role or status of a customer. The rule has checked it with [`State::keep_an_admin`].
    pub(crate) fn change_profile(
        &mut self,
        customer_id: CustomerId,
        change: impl FnOnce(&mut Customer),
    ) -> Result<Customer, Refusal> {
        let unknown = Refusal::CustomerNotFound { customer_id };
        let customer = &mut self.accounts.get_mut(customer_id).ok_or(unknown)?.customer;
        let before = i64::from(customer.is_acting_admin());
        change(customer);
        let more = i64::from(customer.is_acting_admin()).saturating_sub(before);
        let customer = customer.clone();
        self.admins = self.admins.map(|admins| admins.saturating_add(more));
        self.profiles.insert(customer_id);
        Ok(customer)
    }

    /// Assigns a login to a customer, in place of the previous one.
    pub(crate) fn assign_login(&mut self, before: Option<&str>, login: &str, customer: CustomerId) {
        if let Some(before) = before {
            self.logins.insert(before.to_owned(), None);
        }
        self.logins.insert(login.to_owned(), Some(customer));
    }

    /// Returns true if the reference was loaded, whether or not an order has it.
    #[must_use]
    pub fn is_reference_loaded(&self, customer: CustomerId, reference: &str) -> bool {
        self.references.contains_key(&(customer, reference.to_owned()))
    }

    /// Adds the first order of the customer that has the reference in the store, if any.
    pub fn provide_reference(
        &mut self,
        customer: CustomerId,
        reference: String,
        order: Option<OrderId>,
    ) {
        self.references.entry((customer, reference)).or_insert(order);
    }

    pub(crate) fn order_with_reference(
        &self,
        customer: CustomerId,
        reference: &str,
    ) -> Option<OrderId> {
        let order = self.references.get(&(customer, reference.to_owned()));
        self.misread.check(order).copied().flatten()
    }

    /// Records the reference of a new order.
    pub(crate) fn assign_reference(
        &mut self,
        customer: CustomerId,
        reference: &str,
        order: OrderId,
    ) {
        self.references.insert((customer, reference.to_owned()), Some(order));
    }

    /// Returns true if the key was loaded, whether or not it has a record.
    #[must_use]
    pub fn is_key_loaded(&self, key: &Key, scope: CustomerId) -> bool {
        self.keys.contains_key(&(key.clone(), scope))
    }

    /// Adds the record that the key has in the store, if any.
    pub fn provide_key(&mut self, key: Key, scope: CustomerId, record: Option<IdempotencyRecord>) {
        self.keys.entry((key, scope)).or_insert((record, Change::None));
    }

    /// The record of the key, if it has one.
    #[must_use]
    pub fn key(&self, key: &Key, scope: CustomerId) -> Option<&IdempotencyRecord> {
        let entry = self.misread.check(self.keys.get(&(key.clone(), scope)));
        entry.and_then(|(record, _)| record.as_ref())
    }

    pub(crate) fn add_key(&mut self, key: Key, scope: CustomerId, record: IdempotencyRecord) {
        if let Entry::Occupied(mut slot) = self.keys.entry((key, scope)) {
            slot.insert((Some(record), Change::Inserted));
        }
    }

    /// Records the key of the request that creates a new row.
    pub(crate) fn made_with_key(&mut self, row: Digested, key: Key, scope: CustomerId) {
        self.made_with.insert(row, (key, scope));
    }

    /// Records the digest of a row that is copied from another store.
    pub(crate) fn copy_digest(&mut self, row: Digested, digest: i64) {
        self.copied_digests.insert(row, digest);
    }

    /// The digest that a new row is saved with; `None` for a kind of row without one.
    pub(crate) fn digest(&self, row: &impl Digest) -> Option<i64> {
        let (of, hash) = row.hashed()?;
        if let Some(copied) = self.copied_digests.get(&of) {
            return Some(*copied);
        }
        let made_with = self.made_with.get(&of).and_then(|(key, scope)| {
            let IdempotencyRecord { fingerprint, created_at, .. } = *self.key(key, *scope)?;
            Some(KeyUse { key, scope: *scope, fingerprint, created_at })
        });
        Some(made_with.map_or(hash.digest(), |used| hash.digest_with(&used)))
    }

    /// The new records with their keys and scopes, in order.
    #[must_use]
    pub fn new_keys(&self) -> Vec<(&Key, CustomerId, &IdempotencyRecord)> {
        let mut new: Vec<_> = self
            .keys
            .iter()
            .filter(|(_, (_, change))| *change != Change::None)
            .filter_map(|((key, scope), (record, _))| Some((key, *scope, record.as_ref()?)))
            .collect();
        new.sort_unstable_by_key(|(key, scope, _)| (*key, *scope));
        new
    }
}
