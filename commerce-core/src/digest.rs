//! Digests of rows together with the keys they were made with, kept in the rows.
//!
//! A key that was lost or altered would let a repeated call be carried out a second time, and no other row would show
//! it. So an order, a charge, a debit and a claimed coupon hold 32 bits over their own unchangeable fields and over the
//! key that they were made with; a key that made none of them holds 32 bits over itself. The audit recomputes both.
//!
//! The digests guard against damage, and not against forgery. How they are computed is part of the format of a store
//! and never changes.

use crate::clock::Timestamp;
use crate::id::{ChargeId, CustomerId, Key, LedgerEntryId, OrderId, OwnedCouponId};
use crate::model::coupon::OwnedCoupon;
use crate::model::idempotency::StoredResult;
use crate::model::order::Order;
use crate::model::wallet::{ChargeRow, EntryKind, LedgerEntry};
use crate::store::Record;

/// The rows that hold a digest of themselves and of their key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is named after the row")]
pub enum Digested {
    Order(OrderId),
    Charge(ChargeId),
    Debit(LedgerEntryId),
    OwnedCoupon(OwnedCouponId),
}

impl Digested {
    /// The row that a call made which was answered so; `None` when it made none of these.
    pub(crate) fn answered_by(answer: &StoredResult) -> Option<Self> {
        match answer {
            StoredResult::Order(id, _) => Some(Self::Order(*id)),
            StoredResult::Charge(charge) => Some(Self::Charge(charge.id)),
            StoredResult::OpenedCharge(id) => Some(Self::Charge(*id)),
            StoredResult::Debit(debit) => Some(Self::Debit(debit.id)),
            StoredResult::OwnedCoupon(owned) => Some(Self::OwnedCoupon(owned.id)),
            StoredResult::Product(_)
            | StoredResult::Coupon(_)
            | StoredResult::Customer(_)
            | StoredResult::Cart(_)
            | StoredResult::Refused(_) => None,
        }
    }
}

/// A row that holds a digest.
pub(crate) trait Digest {
    /// Its name and the hash of its unchangeable fields; `None` for a row of a kind that has no digest.
    fn hashed(&self) -> Option<(Digested, Fnv)>;
}

impl Digest for Order {
    fn hashed(&self) -> Option<(Digested, Fnv)> {
        let mut hash = Fnv::default();
        hash.number(self.id.get());
        hash.number(self.customer_id.get());
        hash.text(self.reference.as_deref());
        hash.number(self.subtotal.minor());
        hash.number(self.discount.minor());
        hash.number(self.total.minor());
        hash.optional(self.owned_coupon_id.map(OwnedCouponId::get));
        hash.number(self.created_at.unix());
        hash.optional(self.expires_at.map(Timestamp::unix));
        hash.optional(self.previous.map(OrderId::get));
        for line in &self.lines {
            hash.number(line.product_id.get());
            hash.text(Some(&line.name));
            hash.number(line.unit_price.minor());
            hash.number(line.quantity);
        }
        Some((Digested::Order(self.id), hash))
    }
}

impl Digest for ChargeRow {
    fn hashed(&self) -> Option<(Digested, Fnv)> {
        let mut hash = Fnv::default();
        hash.number(self.id.get());
        hash.number(self.customer_id.get());
        hash.number(self.amount.minor());
        hash.number(self.created_at.unix());
        let source = self.source.as_ref();
        hash.text(source.map(|source| source.gateway.as_str()));
        hash.text(source.map(|source| source.reference.as_str()));
        hash.text(source.and_then(|source| source.payment_method.as_deref()));
        Some((Digested::Charge(self.id), hash))
    }
}

/// Of the ledger only debits: the other entries repeat what a charge or an order holds.
impl Digest for LedgerEntry {
    fn hashed(&self) -> Option<(Digested, Fnv)> {
        if self.kind != EntryKind::Debit {
            return None;
        }
        let mut hash = Fnv::default();
        hash.number(self.id.get());
        hash.number(self.customer_id.get());
        hash.number(self.amount.minor());
        hash.number(self.balance_after.minor());
        hash.text(self.note.as_deref());
        hash.number(self.created_at.unix());
        hash.optional(self.previous.map(LedgerEntryId::get));
        Some((Digested::Debit(self.id), hash))
    }
}

impl Digest for OwnedCoupon {
    fn hashed(&self) -> Option<(Digested, Fnv)> {
        let mut hash = Fnv::default();
        hash.number(self.id.get());
        hash.number(self.coupon_id.get());
        hash.number(self.customer_id.get());
        hash.number(self.rank);
        hash.number(self.claimed_at.unix());
        Some((Digested::OwnedCoupon(self.id), hash))
    }
}

impl Digest for Record {
    fn hashed(&self) -> Option<(Digested, Fnv)> {
        match self {
            Self::Order(row) => row.hashed(),
            Self::Charge(row) => row.hashed(),
            Self::LedgerEntry(row) => row.hashed(),
            Self::OwnedCoupon(row) => row.hashed(),
            Self::Account(_)
            | Self::Product(_)
            | Self::StockMovement(_)
            | Self::CartLine { .. }
            | Self::Coupon(_)
            | Self::Event(_)
            | Self::NextEvent(_)
            | Self::Delivery(_)
            | Self::Key { .. }
            | Self::SalesCount(_)
            | Self::Credentials(_)
            | Self::Session(_)
            | Self::Epoch(_)
            | Self::Digest { .. } => None,
        }
    }
}

/// 64-bit FNV-1a. It must be the same in every version and on every machine, which std's hashers do not promise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn number(&mut self, number: i64) {
        self.bytes(&number.to_le_bytes());
    }

    fn optional(&mut self, number: Option<i64>) {
        self.bytes(&[u8::from(number.is_some())]);
        self.number(number.unwrap_or_default());
    }

    /// A text with its length, so that no two texts after each other are taken for two others.
    fn text(&mut self, text: Option<&str>) {
        self.optional(text.map(|text| i64::try_from(text.len()).unwrap_or(i64::MAX)));
        self.bytes(text.unwrap_or_default().as_bytes());
    }

    /// All 64 bits.
    pub(crate) fn all(self) -> i64 {
        self.0.cast_signed()
    }

    /// The digest of a row that was made without a key.
    pub(crate) fn digest(self) -> i64 {
        let folded = (self.0 ^ self.0.wrapping_shr(32)) & u64::from(u32::MAX);
        // Signed, so that SQLite keeps it in four bytes.
        i64::from(u32::try_from(folded).unwrap_or_default().cast_signed())
    }

    /// The digest of a row that was made with that key.
    pub(crate) fn digest_with(mut self, key: &KeyUse<'_>) -> i64 {
        self.text(Some(key.key.as_str()));
        self.number(key.scope.get());
        self.number(key.fingerprint);
        self.number(key.created_at.unix());
        self.digest()
    }
}

/// The digest of a key that made no row with a digest, and of the row that it answers with.
pub(crate) fn of_key(key: &KeyUse<'_>, answer: &StoredResult) -> i64 {
    let mut hash = Fnv::default();
    match answer {
        StoredResult::Order(id, status) => {
            hash.number(id.get());
            hash.text(Some(status.as_str()));
        }
        StoredResult::Product(row) => hash.number(row.id.get()),
        StoredResult::Coupon(row) => hash.number(row.id.get()),
        StoredResult::Customer(row) => hash.number(row.id.get()),
        StoredResult::Cart(cart) => hash.number(cart.customer_id.get()),
        // The rest of an answer is compared with its row; a refusal has none.
        StoredResult::Charge(_)
        | StoredResult::OpenedCharge(_)
        | StoredResult::Debit(_)
        | StoredResult::OwnedCoupon(_)
        | StoredResult::Refused(_) => {}
    }
    hash.digest_with(key)
}

impl std::io::Write for Fnv {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The use of a key: all that tells it from others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyUse<'a> {
    pub(crate) key: &'a Key,
    pub(crate) scope: CustomerId,
    pub(crate) fingerprint: i64,
    pub(crate) created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Money;

    fn claimed() -> OwnedCoupon {
        OwnedCoupon {
            id: OwnedCouponId::new(3),
            coupon_id: crate::id::CouponId::new(1),
            customer_id: CustomerId::new(2),
            rank: 7,
            status: crate::model::coupon::OwnedCouponStatus::Held,
            order_id: None,
            claimed_at: Timestamp::from_unix(1_767_225_600),
        }
    }

    fn debited() -> LedgerEntry {
        LedgerEntry {
            id: LedgerEntryId::new(9),
            customer_id: CustomerId::new(2),
            kind: EntryKind::Debit,
            amount: Money::from_minor(-40),
            balance_after: Money::from_minor(60),
            order_id: None,
            charge_id: None,
            note: Some("gift".to_owned()),
            created_at: Timestamp::from_unix(1_767_225_600),
            previous: None,
        }
    }

    /// The digests are a part of the format of a store: these numbers never change.
    #[test]
    fn digests_are_the_same_in_every_version() {
        let key = Key::new("order-1").unwrap();
        let made = KeyUse {
            key: &key,
            scope: CustomerId::new(2),
            fingerprint: 12_345,
            created_at: Timestamp::from_unix(1_767_225_600),
        };
        let (_, hash) = claimed().hashed().unwrap();
        let answer =
            StoredResult::Order(OrderId::new(4), crate::model::order::OrderStatus::Cancelled);
        let digests = [hash.digest(), hash.digest_with(&made), of_key(&made, &answer)];
        assert_eq!(digests, [-1_278_375_524, 1_914_261_400, -2_041_216_800]);
        let (_, hash) = debited().hashed().unwrap();
        assert_eq!(hash.digest(), 455_114_206);
    }

    #[test]
    fn a_digest_changes_with_each_unchangeable_field_and_no_other() {
        let digest = |row: &OwnedCoupon| row.hashed().unwrap().1.digest();
        let known = digest(&claimed());
        assert_ne!(digest(&OwnedCoupon { rank: 8, ..claimed() }), known);
        assert_ne!(digest(&OwnedCoupon { customer_id: CustomerId::new(1), ..claimed() }), known);
        let used = OwnedCoupon { order_id: Some(OrderId::new(1)), ..claimed() };
        assert_eq!(digest(&used), known);
        let digest = |row: &LedgerEntry| row.hashed().unwrap().1.digest();
        assert_ne!(digest(&LedgerEntry { note: None, ..debited() }), digest(&debited()));
        assert!(LedgerEntry { kind: EntryKind::Refund, ..debited() }.hashed().is_none());
    }
}
