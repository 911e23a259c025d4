//! Customers and their prepaid money: the balance, and the ledger that explains it.

use crate::clock::Timestamp;
use crate::id::{ChargeId, CustomerId, LedgerEntryId, OrderId};
use crate::money::{Currency, Money};
use serde::{Deserialize, Serialize};

/// Who owns a balance, a cart, coupons and orders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    /// The customer's id.
    pub id: CustomerId,
    /// What people call them.
    pub name: String,
    /// The name they log in with, when they have one.
    pub login: Option<String>,
    /// What they may do.
    pub role: Role,
    /// When they were added.
    pub created_at: Timestamp,
}

/// What a customer may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Acts for themselves.
    Customer,
    /// May act for any customer, and keeps products and coupons.
    Admin,
}

/// A customer with their money, as stores keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The customer.
    pub customer: Customer,
    /// Money that can be spent; never negative.
    pub balance: Money,
    /// The newest entry of the ledger; each entry names the one before it.
    pub last_entry: Option<LedgerEntryId>,
    /// The newest order; each order names the one before it.
    pub last_order: Option<OrderId>,
}

/// A customer's balance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// Whose it is.
    pub customer_id: CustomerId,
    /// Money that can be spent.
    pub balance: Money,
    /// The store's currency.
    pub currency: Currency,
}

/// Why a ledger entry was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// Money was put onto the balance.
    Charge,
    /// Money was used outside an order.
    Debit,
    /// An order was paid.
    Payment,
    /// A paid order was cancelled.
    Refund,
}

/// One line of the append-only history of a balance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LedgerEntry {
    /// The entry's id.
    pub id: LedgerEntryId,
    /// Whose balance it moved.
    pub customer_id: CustomerId,
    /// Why.
    pub kind: EntryKind,
    /// What was added; negative when money left.
    pub amount: Money,
    /// The balance once this entry was written.
    pub balance_after: Money,
    /// The order that was paid or refunded.
    pub order_id: Option<OrderId>,
    /// The charge that brought the money.
    pub charge_id: Option<ChargeId>,
    /// A remark of whoever asked for it.
    pub note: Option<String>,
    /// When.
    pub created_at: Timestamp,
    /// The customer's entry before this one.
    #[serde(skip)]
    pub previous: Option<LedgerEntryId>,
}

/// What became of a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChargeStatus {
    /// The gateway was asked, or is about to be, and nobody knows yet what it did.
    Pending,
    /// The money is on the balance.
    Succeeded,
    /// The gateway declined: nothing was moved.
    Failed,
}

/// Money put onto a balance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// The charge's id.
    pub id: ChargeId,
    /// Whose balance grew.
    pub customer_id: CustomerId,
    /// By how much.
    pub amount: Money,
    /// What became of it.
    pub status: ChargeStatus,
    /// The balance right after it; the balance as it is while the charge is pending, and when it failed.
    pub balance: Money,
    /// The store's currency.
    pub currency: Currency,
    /// Why it failed, in the gateway's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// When it was asked for.
    pub created_at: Timestamp,
}

/// A charge as stores keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChargeRow {
    /// The charge's id.
    pub id: ChargeId,
    /// Whose balance it is for.
    pub customer_id: CustomerId,
    /// How much.
    pub amount: Money,
    /// What became of it.
    pub status: ChargeStatus,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// The gateway that the money comes from; `None` when it came from none.
    pub source: Option<ChargeSource>,
    /// Why it failed, when it did.
    pub failure: Option<String>,
    /// When the gateway's answer was written down.
    pub settled_at: Option<Timestamp>,
    /// The balance right after it, as its ledger entry has it, once it succeeded.
    pub balance_after: Option<Money>,
}

/// Where the money of a charge comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChargeSource {
    /// The gateway's name.
    pub gateway: String,
    /// What the gateway knows the charge by.
    pub reference: String,
    /// What the gateway takes the money from, as it names it.
    pub payment_method: Option<String>,
}

impl ChargeRow {
    /// The charge as it is shown. `balance` is the customer's balance now.
    pub(crate) fn to_charge(&self, balance: Money, currency: Currency) -> Charge {
        Charge {
            id: self.id,
            customer_id: self.customer_id,
            amount: self.amount,
            status: self.status,
            balance: self.balance_after.unwrap_or(balance),
            currency,
            failure: self.failure.clone(),
            created_at: self.created_at,
        }
    }
}

/// Money used from a balance outside an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Debit {
    /// The debit's id: that of its ledger entry.
    pub id: LedgerEntryId,
    /// Whose balance shrank.
    pub customer_id: CustomerId,
    /// By how much; positive.
    pub amount: Money,
    /// What became of it.
    pub status: ChargeStatus,
    /// The balance right after it.
    pub balance: Money,
    /// The store's currency.
    pub currency: Currency,
    /// When.
    pub created_at: Timestamp,
}

/// A payment of an order, or its refund: a ledger entry as the shop's books call it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Payment {
    /// The payment's id: that of its ledger entry.
    pub id: LedgerEntryId,
    /// The order.
    pub order_id: OrderId,
    /// Who paid, or was paid back.
    pub customer_id: CustomerId,
    /// Which of the two.
    pub kind: PaymentKind,
    /// How much; positive either way.
    pub amount: Money,
    /// When.
    pub created_at: Timestamp,
}

/// Which way the money of a [`Payment`] went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentKind {
    /// From the balance to the order.
    Payment,
    /// From a cancelled order back to the balance.
    Refund,
}

impl LedgerEntry {
    /// The entry as a payment or refund; `None` when it is neither.
    #[must_use]
    pub fn as_payment(&self) -> Option<Payment> {
        let (kind, amount) = match self.kind {
            EntryKind::Payment => (PaymentKind::Payment, self.amount.negated()),
            EntryKind::Refund => (PaymentKind::Refund, self.amount),
            EntryKind::Charge | EntryKind::Debit => return None,
        };
        Some(Payment {
            id: self.id,
            order_id: self.order_id?,
            customer_id: self.customer_id,
            kind,
            amount,
            created_at: self.created_at,
        })
    }
}
