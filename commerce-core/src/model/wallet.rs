//! Customers and their prepaid balance, with the ledger, charges, debits and payments behind it.

use crate::clock::Timestamp;
use crate::id::{ChargeId, CustomerId, LedgerEntryId, OrderId};
use crate::model::sale::FirstOrder;
use crate::model::words::{row_codes, words};
use crate::money::{Currency, Money};
use serde::{Deserialize, Serialize};

/// A customer: the owner of a balance, a cart, coupons and orders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    /// The customer's id.
    pub id: CustomerId,
    /// The customer's name.
    pub name: String,
    /// The login name, if any.
    pub login: Option<String>,
    /// The role.
    pub role: Role,
    /// Active unless the customer was disabled or erased.
    #[serde(default)]
    pub status: CustomerStatus,
    /// The instant the customer was added.
    pub created_at: Timestamp,
}

impl Customer {
    /// The name of every erased customer.
    pub const ERASED_NAME: &'static str = "erased";

    /// Returns true for an admin who can log in. A shop that has one keeps one.
    #[must_use]
    pub fn is_acting_admin(&self) -> bool {
        self.role == Role::Admin && self.status == CustomerStatus::Active && self.login.is_some()
    }
}

/// The status of a customer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CustomerStatus {
    /// May log in.
    #[default]
    Active,
    /// Cannot log in and has no sessions.
    Disabled,
    /// Personal data was erased; ids and amounts remain.
    Erased,
}

/// The role of a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// May act only for themselves.
    Customer,
    /// Reads everything that an admin reads.
    Reader,
    /// Also acts for any customer, and adjusts stock.
    Clerk,
    /// Also changes prices, campaigns, roles and tokens.
    Admin,
}

/// A customer with their balance, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The customer.
    pub customer: Customer,
    /// Money that can be spent; never negative.
    pub balance: Money,
    /// Money that was spent and then taken back from a charge by its payer; later credits pay it first.
    pub debt: Money,
    /// The newest ledger entry; each entry links to the one before it.
    pub last_entry: Option<LedgerEntryId>,
    /// The newest order; each order links to the one before it.
    pub last_order: Option<OrderId>,
    /// The first order that was paid.
    pub first_order: Option<FirstOrder>,
}

/// A customer's balance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Balance {
    /// The customer.
    pub customer_id: CustomerId,
    /// Money that can be spent.
    pub balance: Money,
    /// Money that was spent and then taken back from a charge by its payer; later credits pay it first.
    pub debt: Money,
    /// The store's currency.
    pub currency: Currency,
}

/// The kind of a ledger entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// Money was put onto the balance.
    Charge,
    /// Money was used outside an order.
    Debit,
    /// An order was paid.
    Payment,
    /// A paid order was cancelled, or a part of it.
    Refund,
    /// Money of a charge was paid back, or came back because that failed.
    ChargeRefund,
    /// The payer's bank took money of a charge back, or gave it back.
    Chargeback,
    /// A debt: positive when it arises, negative when a credit pays it. All of them add up to the present debt.
    Debt,
}

/// One line of the append-only history of a balance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LedgerEntry {
    /// The entry's id.
    pub id: LedgerEntryId,
    /// The customer.
    pub customer_id: CustomerId,
    /// Why.
    pub kind: EntryKind,
    /// The amount added to the balance; negative for debits and payments.
    pub amount: Money,
    /// The balance right after this entry.
    pub balance_after: Money,
    /// The order that was paid or refunded.
    pub order_id: Option<OrderId>,
    /// The charge that brought the money, or of which it was taken back.
    pub charge_id: Option<ChargeId>,
    /// A note by the caller.
    pub note: Option<String>,
    /// The instant it was written.
    pub created_at: Timestamp,
    /// The customer's entry before this one.
    #[serde(skip)]
    pub previous: Option<LedgerEntryId>,
}

/// The status of a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChargeStatus {
    /// The gateway was asked, or is about to be, and its result is not known yet.
    Pending,
    /// The money is on the balance.
    Succeeded,
    /// The gateway declined: no money was moved.
    Failed,
}

/// Money put onto a balance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// The charge's id.
    pub id: ChargeId,
    /// The customer.
    pub customer_id: CustomerId,
    /// The amount.
    pub amount: Money,
    /// The status.
    pub status: ChargeStatus,
    /// The amount that was paid back, or is about to be.
    #[serde(default)]
    pub refunded: Money,
    /// The amount that the payer's bank took back.
    #[serde(default)]
    pub disputed: Money,
    /// The balance right after it; the current balance while the charge is pending, or if it failed.
    pub balance: Money,
    /// The store's currency.
    pub currency: Currency,
    /// The gateway's reason, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// The instant it was requested.
    pub created_at: Timestamp,
}

/// A charge, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChargeRow {
    /// The charge's id.
    pub id: ChargeId,
    /// The customer.
    pub customer_id: CustomerId,
    /// The amount.
    pub amount: Money,
    /// The status.
    pub status: ChargeStatus,
    /// The instant it was requested.
    pub created_at: Timestamp,
    /// The source of the money; `None` without a gateway.
    pub source: Option<ChargeSource>,
    /// The reason, if it failed.
    pub failure: Option<String>,
    /// The instant the gateway's result was recorded.
    pub settled_at: Option<Timestamp>,
    /// The balance right after it and after the debts that it paid, once it succeeded.
    pub balance_after: Option<Money>,
    /// The amount of its refunds that have not failed.
    pub refunded: Money,
    /// The amount of its disputes that were not won.
    pub disputed: Money,
    /// The greatest amount of refunds that the gateway has reported and the shop did not ask for.
    pub reported_refunds: Money,
}

/// The source of a charge's money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChargeSource {
    /// The gateway's name.
    pub gateway: String,
    /// The charge's reference at the gateway.
    pub reference: String,
    /// The payment method, as the gateway names it.
    pub payment_method: Option<String>,
}

impl ChargeRow {
    /// Returns the amount that was neither paid back nor disputed.
    #[must_use]
    pub fn refundable(&self) -> Money {
        let gone = self.refunded.minor().saturating_add(self.disputed.minor());
        Money::from_minor(self.amount.minor().saturating_sub(gone).max(0))
    }

    /// Builds the public charge. `balance` is the customer's current balance.
    pub(crate) fn to_charge(&self, balance: Money, currency: Currency) -> Charge {
        Charge {
            id: self.id,
            customer_id: self.customer_id,
            amount: self.amount,
            status: self.status,
            refunded: self.refunded,
            disputed: self.disputed,
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
    /// The customer.
    pub customer_id: CustomerId,
    /// The amount; positive.
    pub amount: Money,
    /// The status.
    pub status: ChargeStatus,
    /// The balance right after it.
    pub balance: Money,
    /// The store's currency.
    pub currency: Currency,
    /// The instant it was written.
    pub created_at: Timestamp,
}

/// A payment of an order, or its refund: a view of a ledger entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Payment {
    /// The payment's id: that of its ledger entry.
    pub id: LedgerEntryId,
    /// The order.
    pub order_id: OrderId,
    /// The customer.
    pub customer_id: CustomerId,
    /// Payment or refund.
    pub kind: PaymentKind,
    /// The amount; positive for both kinds.
    pub amount: Money,
    /// The instant it was written.
    pub created_at: Timestamp,
}

/// The direction of a [`Payment`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentKind {
    /// From the balance to the order.
    Payment,
    /// From a cancelled order back to the balance.
    Refund,
}

words! {
    Role {
        Customer = "customer",
        Reader = "reader",
        Clerk = "clerk",
        Admin = "admin",
    }
    CustomerStatus {
        Active = "active",
        Disabled = "disabled",
        Erased = "erased",
    }
    ChargeStatus {
        Pending = "pending",
        Succeeded = "succeeded",
        Failed = "failed",
    }
    EntryKind {
        Charge = "charge",
        Debit = "debit",
        Payment = "payment",
        Refund = "refund",
        ChargeRefund = "charge_refund",
        Chargeback = "chargeback",
        Debt = "debt",
    }
    PaymentKind {
        Payment = "payment",
        Refund = "refund",
    }
}

row_codes! {
    EntryKind {
        Payment = 0,
        Charge = 1,
        ChargeRefund = 2,
        Chargeback = 3,
        Refund = 4,
        Debit = 5,
        Debt = 6,
    }
}

impl LedgerEntry {
    /// Returns the entry as a payment or refund; `None` for other kinds.
    #[must_use]
    pub fn as_payment(&self) -> Option<Payment> {
        let (kind, amount) = match self.kind {
            EntryKind::Payment => (PaymentKind::Payment, self.amount.negated()),
            EntryKind::Refund => (PaymentKind::Refund, self.amount),
            EntryKind::Charge
            | EntryKind::Debit
            | EntryKind::ChargeRefund
            | EntryKind::Chargeback
            | EntryKind::Debt => return None,
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
