//! Money of a charge that went back: refunds that the shop asked for, refunds that were made at the gateway, disputes.
//!
//! All of them have one course. The money leaves the balance in the commit that writes the row as pending; then it is
//! gone for good (succeeded), or comes back (failed).

use crate::clock::Timestamp;
use crate::id::{ChargeId, CustomerId, LedgerEntryId, RefundId};
use crate::model::wallet::EntryKind;
use crate::model::words::words;
use crate::money::{Currency, Money};
use serde::{Deserialize, Serialize};

/// The party that takes the money of a charge back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundKind {
    /// The shop asked for it. It takes only money that is on the balance.
    Requested,
    /// It was made at the gateway, for example in its dashboard. What was spent already becomes a debt.
    Outside,
    /// The payer's bank took the money back (chargeback). What was spent already becomes a debt.
    Dispute,
}

impl RefundKind {
    /// Returns the kind of its ledger entries.
    #[must_use]
    pub const fn entry_kind(self) -> EntryKind {
        match self {
            Self::Requested | Self::Outside => EntryKind::ChargeRefund,
            Self::Dispute => EntryKind::Chargeback,
        }
    }
}

/// The status of a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundStatus {
    /// The money has left the balance. The gateway's result, or the end of the dispute, is not known yet.
    Pending,
    /// The payer has the money; a dispute is lost.
    Succeeded,
    /// The money is back on the balance: the gateway refused the refund, or the dispute is won.
    Failed,
}

words! {
    RefundKind {
        Requested = "requested",
        Outside = "outside",
        Dispute = "dispute",
    }
    RefundStatus {
        Pending = "pending",
        Succeeded = "succeeded",
        Failed = "failed",
    }
}

/// Money of a charge that went back to its payer, or is about to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refund {
    /// The refund's id: that of its ledger entry.
    pub id: RefundId,
    /// The charge.
    pub charge_id: ChargeId,
    /// The customer.
    pub customer_id: CustomerId,
    /// The party that takes the money back.
    pub kind: RefundKind,
    /// The amount.
    pub amount: Money,
    /// The status.
    pub status: RefundStatus,
    /// The balance right after the money left it.
    pub balance: Money,
    /// The store's currency.
    pub currency: Currency,
    /// The gateway's reason, if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// The instant the money left the balance.
    pub created_at: Timestamp,
}

/// A refund, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundRow {
    /// The refund's id.
    pub id: RefundId,
    /// The customer.
    pub customer_id: CustomerId,
    /// The charge.
    pub charge_id: ChargeId,
    /// The party that takes the money back.
    pub kind: RefundKind,
    /// The amount.
    pub amount: Money,
    /// The status.
    pub status: RefundStatus,
    /// The balance right after the money left it.
    pub balance_after: Money,
    /// Its reference at the gateway: the idempotency key of a refund that was requested, the gateway's id of a dispute.
    /// `None` without a gateway, and for refunds made at the gateway.
    pub reference: Option<String>,
    /// The reason, if it failed.
    pub failure: Option<String>,
    /// The instant the money left the balance.
    pub created_at: Timestamp,
    /// The instant of the result.
    pub settled_at: Option<Timestamp>,
}

impl RefundRow {
    /// Returns the id of the refund that a ledger entry begins.
    pub(crate) const fn id_of(entry: LedgerEntryId) -> RefundId {
        RefundId::new(entry.get())
    }

    /// Returns the amount that the gateway has paid back or is about to; zero if it failed.
    #[must_use]
    pub const fn taken(&self) -> Money {
        match self.status {
            RefundStatus::Pending | RefundStatus::Succeeded => self.amount,
            RefundStatus::Failed => Money::ZERO,
        }
    }

    /// Builds the public refund.
    pub(crate) fn to_refund(&self, currency: Currency) -> Refund {
        Refund {
            id: self.id,
            charge_id: self.charge_id,
            customer_id: self.customer_id,
            kind: self.kind,
            amount: self.amount,
            status: self.status,
            balance: self.balance_after,
            currency,
            failure: self.failure.clone(),
            created_at: self.created_at,
        }
    }
}
