//! The personal data of a customer in all tables, and its erasure.

use crate::error::Refusal;
use crate::id::{ChargeId, CustomerId, Key, LedgerEntryId, OrderId};
use crate::idempotency::{GLOBAL_SCOPE, IdempotencyRecord, StoredResult};
use crate::model::auth::LoginHash;
use crate::model::wallet::{ChargeRow, LedgerEntry};
use crate::state::State;
use std::collections::BTreeSet;

/// The rows of one customer that hold personal data or keep the customer from being erased, beside the account, the cart
/// and the pending charges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PersonalData {
    /// The customer's pending orders.
    pub pending_orders: BTreeSet<OrderId>,
    /// The number of the customer's pending refunds and open disputes.
    pub pending_refunds: u64,
    /// Ledger entries with a note, each with its digest, by id.
    pub notes: Vec<(LedgerEntry, Option<i64>)>,
    /// Charges with a payment method, each with its digest, by id.
    pub payment_methods: Vec<(ChargeRow, Option<i64>)>,
    /// The keys for which [`may_be_personal`] holds, with their scopes. A store may add others.
    pub keys: Vec<(Key, CustomerId, IdempotencyRecord)>,
}

/// The end of the personal data of a customer. The store deletes the credentials, and empties what is listed here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// The customer.
    pub customer_id: CustomerId,
    /// The login with failed attempts.
    pub login: Option<LoginHash>,
    /// Ledger entries that lose their notes, with their new digests.
    pub notes: Vec<(LedgerEntryId, Option<i64>)>,
    /// Charges that lose their payment methods, with their new digests.
    pub payment_methods: Vec<(ChargeId, Option<i64>)>,
    /// Keys that get another answer.
    pub answers: Vec<(Key, CustomerId, StoredResult)>,
}

/// Returns true if the answer of a key may hold personal data of a customer, or leads to a row that does: any in the
/// customer's own scope except orders and refusals, which hold numbers and the references of orders, and those of the shop about the customer or
/// about a login.
#[must_use]
pub fn may_be_personal(customer: CustomerId, scope: CustomerId, answer: &StoredResult) -> bool {
    match answer {
        StoredResult::Customer(row) if scope == GLOBAL_SCOPE => row.id == customer,
        StoredResult::Refused(Refusal::LoginTaken { .. }) => scope == GLOBAL_SCOPE,
        StoredResult::Order(..)
        | StoredResult::OrderAfter(..)
        | StoredResult::Token(_)
        | StoredResult::Refused(_) => false,
        StoredResult::Charge(_)
        | StoredResult::Refund(_)
        | StoredResult::OpenedCharge(_)
        | StoredResult::Debit(_)
        | StoredResult::OwnedCoupon(_)
        | StoredResult::Product(_)
        | StoredResult::Coupon(_)
        | StoredResult::Customer(_)
        | StoredResult::Cart(_) => scope == customer,
    }
}

impl State {
    /// Returns true if the personal data of a customer was loaded.
    #[must_use]
    pub fn is_personal_data_loaded(&self, customer: CustomerId) -> bool {
        self.personal.contains_key(&customer)
    }

    /// Adds the personal data that the store has of a customer.
    pub fn provide_personal_data(&mut self, customer: CustomerId, data: PersonalData) {
        self.personal.entry(customer).or_insert(data);
    }

    /// The personal data of a customer, for a rule with it in its read set.
    pub(crate) fn personal_data(&self, customer: CustomerId) -> Option<&PersonalData> {
        self.misread.check(self.personal.get(&customer))
    }
}
