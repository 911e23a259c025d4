//! Reads and changes of the state that several rules share.

use crate::clock::Timestamp;
use crate::error::Refusal;
use crate::id::{ChargeId, CustomerId, OrderId, ProductId, RefundId};
use crate::model::auth::{SessionRow, TokenHash};
use crate::model::cart::CartLines;
use crate::model::order::Order;
use crate::model::product::Product;
use crate::model::refund::RefundRow;
use crate::model::wallet::{Account, ChargeRow, CustomerStatus, EntryKind, LedgerEntry};
use crate::money::{InCurrency, Money};
use crate::state::State;
use crate::version::Version;
use serde::Serialize;

/// A change of sessions. Changes apply in the order of the list they are in, and before the batch's login attempts are
/// saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionChange {
    /// A new session.
    Opened(SessionRow),
    /// The end of the session with this token.
    Closed(TokenHash),
    /// The end of all sessions of a customer.
    ClosedAll(CustomerId),
    /// The end of all sessions of a customer but the one with this token.
    ClosedOthers(CustomerId, TokenHash),
    /// The removal of sessions that are not valid at this instant ([`SessionRow::is_valid_at`]), and of failed
    /// logins that no longer count at it
    /// ([`LoginAttempts::counts_at`](crate::model::auth::LoginAttempts::counts_at)).
    Ended(Timestamp),
}

impl State {
    /// The version of a body as clients receive it.
    pub(crate) fn version_of(&self, body: impl Serialize) -> Version {
        Version::of(&InCurrency { body, currency: self.currency })
    }

    pub(crate) fn cart(&self, id: CustomerId) -> Option<&CartLines> {
        self.carts.get(id).map(|(_, lines)| lines)
    }

    pub(crate) fn account(&self, id: CustomerId) -> Result<&Account, Refusal> {
        self.accounts.get(id).ok_or(Refusal::CustomerNotFound { customer_id: id })
    }

    /// A customer who was not erased.
    pub(crate) fn known_customer(&self, id: CustomerId) -> Result<&Account, Refusal> {
        let account = self.account(id)?;
        if account.customer.status == CustomerStatus::Erased {
            return Err(Refusal::CustomerErased { customer_id: id });
        }
        Ok(account)
    }

    pub(crate) fn known_product(&self, id: ProductId) -> Result<&Product, Refusal> {
        self.products.get(id).ok_or_else(|| Refusal::ProductNotFound { product_ids: vec![id] })
    }

    pub(crate) fn active_product(&self, id: ProductId) -> Result<&Product, Refusal> {
        let product = self.known_product(id)?;
        if product.is_active() {
            return Ok(product);
        }
        Err(Refusal::ProductArchived { product_ids: vec![id] })
    }

    /// Changes a product and returns it as of `now`.
    pub(crate) fn change_product(
        &mut self,
        id: ProductId,
        now: Timestamp,
        change: impl FnOnce(&mut Product),
    ) -> Result<Product, Refusal> {
        let unknown = || Refusal::ProductNotFound { product_ids: vec![id] };
        let product = self.products.edit(id).ok_or_else(unknown)?;
        change(product);
        Ok(product.clone().at(now))
    }

    pub(crate) fn known_order(&self, id: OrderId) -> Result<&Order, Refusal> {
        self.orders.get(id).ok_or(Refusal::OrderNotFound { order_id: id })
    }

    /// Adds an order, or replaces it by the same one with another status and more cancellations, and counts the use of its
    /// coupon.
    pub(crate) fn save_order(&mut self, order: &Order) {
        let is_loaded = self.orders.is_loaded(order.id);
        let before = if is_loaded { self.orders.get(order.id) } else { None };
        let is_new = before.is_none();
        let known = before.map_or(0, |before| before.cancellations.len());
        self.cancellations.extend(order.cancellations.iter().skip(known).cloned());
        let owned = order.owned_coupon_id.and_then(|id| self.owned_coupons.get(id));
        if let Some(coupon) = owned.and_then(|owned| self.coupons.get_mut(owned.coupon_id)) {
            coupon.usage.replace(before, order);
        }
        if is_new {
            self.orders.insert(order.id, order.clone());
        } else if let Some(row) = self.orders.get_mut(order.id) {
            row.clone_from(order);
        }
    }

    /// A charge; `None` until it is loaded.
    pub(crate) fn loaded_charge(&self, id: ChargeId) -> Option<&ChargeRow> {
        self.charges.is_loaded(id).then(|| self.charges.get(id)).flatten()
    }

    /// A refund; `None` until it is loaded.
    pub(crate) fn loaded_refund(&self, id: RefundId) -> Option<&RefundRow> {
        self.refunds.is_loaded(id).then(|| self.refunds.get(id)).flatten()
    }

    /// Saves a charge that was loaded.
    pub(crate) fn save_charge(&mut self, charge: ChargeRow) {
        if let Some(row) = self.charges.get_mut(charge.id) {
            *row = charge;
        }
    }

    /// The customer of an order; `None` until it is loaded.
    pub(crate) fn order_owner(&self, id: OrderId) -> Option<CustomerId> {
        self.orders
            .is_loaded(id)
            .then(|| self.orders.get(id).map(|order| order.customer_id))
            .flatten()
    }

    /// Moves money on a balance and writes the ledger entry. The rule has checked `balance_after`. A credit pays debts
    /// first, so that the account may end with less than `balance_after`.
    pub(crate) fn move_money(&mut self, movement: &Movement<'_>, now: Timestamp) -> LedgerEntry {
        let entry = self.write_entry(movement, now);
        if movement.kind != EntryKind::Debt && movement.amount > Money::ZERO {
            self.pay_debt(movement, now);
        }
        entry
    }

    /// Pays the debt of a customer from a credit.
    fn pay_debt(&mut self, credit: &Movement<'_>, now: Timestamp) {
        let id = credit.customer_id;
        let Some(debt) = self.accounts.get(id).map(|account| account.debt.min(credit.amount))
        else {
            return;
        };
        if debt == Money::ZERO {
            return;
        }
        let balance_after = credit.balance_after.checked_sub(debt).unwrap_or_default();
        let movement = Movement { balance_after, note: None, ..credit.of_debt(debt.negated()) };
        self.write_entry(&movement, now);
        self.add_debt(id, debt.negated());
    }

    /// Adds to the debt of a customer.
    pub(crate) fn add_debt(&mut self, id: CustomerId, more: Money) {
        if let Some(account) = self.accounts.edit(id) {
            account.debt = Money::from_minor(account.debt.minor().saturating_add(more.minor()));
        }
    }

    fn write_entry(&mut self, movement: &Movement<'_>, now: Timestamp) -> LedgerEntry {
        let id = self.next_ledger_entry_id();
        let previous = self.accounts.get_mut(movement.customer_id).and_then(|account| {
            account.balance = movement.balance_after;
            account.last_entry.replace(id)
        });
        let entry = LedgerEntry {
            id,
            customer_id: movement.customer_id,
            kind: movement.kind,
            amount: movement.amount,
            balance_after: movement.balance_after,
            order_id: movement.order_id,
            charge_id: movement.charge_id,
            note: movement.note.map(str::to_owned),
            created_at: now,
            previous,
        };
        self.ledger.push(entry.clone());
        entry
    }
}

/// A movement of money on a balance.
pub(crate) struct Movement<'a> {
    pub(crate) customer_id: CustomerId,
    pub(crate) kind: EntryKind,
    pub(crate) amount: Money,
    pub(crate) balance_after: Money,
    pub(crate) order_id: Option<OrderId>,
    pub(crate) charge_id: Option<ChargeId>,
    pub(crate) note: Option<&'a str>,
}

impl Movement<'_> {
    /// An entry of debt that belongs to this movement, with the same `balance_after`.
    pub(crate) const fn of_debt(&self, amount: Money) -> Self {
        Self { kind: EntryKind::Debt, amount, ..*self }
    }
}
