//! The digests of scanned rows.

use crate::digest::{Digest, Digested, Fnv};
use crate::store::Record;

impl Digest for Record {
    fn hashed(&self) -> Option<(Digested, Fnv)> {
        match self {
            Self::Order(row) => row.hashed(),
            Self::Charge(row) => row.hashed(),
            Self::Refund(row) => row.hashed(),
            Self::LedgerEntry(row) => row.hashed(),
            Self::OwnedCoupon(row) => row.hashed(),
            Self::Account(_)
            | Self::Product(_)
            | Self::StockMovement(_)
            | Self::CartLine { .. }
            | Self::Coupon(_)
            | Self::Purchase(_)
            | Self::Event(_)
            | Self::NextEvent(_)
            | Self::Delivery(_)
            | Self::Key { .. }
            | Self::SalesCount(_)
            | Self::Credentials(_)
            | Self::Session(_)
            | Self::Settings(_)
            | Self::Token(_)
            | Self::AuditEntry(_)
            | Self::Epoch(_)
            | Self::Digest { .. } => None,
        }
    }
}
