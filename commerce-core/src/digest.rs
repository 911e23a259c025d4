//! Digests of rows and of the idempotency keys that made them, stored in the rows.
//!
//! A key that is lost or altered would let a repeated call be carried out a second time, and no other row would show
//! it. Therefore an order, a charge, a debit and a claimed coupon hold a 32-bit digest of their own immutable fields and
//! of the key that made them; a key that made none of them holds a 32-bit digest of itself. The audit recomputes both.
//!
//! The digests detect damage, and not forgery. Their computation is part of the store format and never changes.

use crate::clock::Timestamp;
use crate::id::{ChargeId, CustomerId, Key, LedgerEntryId, OrderId, OwnedCouponId, RefundId};
use crate::idempotency::StoredResult;
use crate::model::coupon::OwnedCoupon;
use crate::model::order::Order;
use crate::model::refund::RefundRow;
use crate::model::wallet::{ChargeRow, EntryKind, LedgerEntry};

/// The rows that hold a digest of themselves and of their key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is named after the row")]
pub enum Digested {
    Order(OrderId),
    Charge(ChargeId),
    Debit(LedgerEntryId),
    Refund(RefundId),
    OwnedCoupon(OwnedCouponId),
}

impl Digested {
    /// The row that a call with this result made; `None` if it made none of these.
    pub(crate) fn answered_by(answer: &StoredResult) -> Option<Self> {
        match answer {
            StoredResult::Order(id, _) | StoredResult::OrderAfter(id, ..) => Some(Self::Order(*id)),
            StoredResult::Refund(id) => Some(Self::Refund(*id)),
            StoredResult::Charge(charge) => Some(Self::Charge(charge.id)),
            StoredResult::OpenedCharge(id) => Some(Self::Charge(*id)),
            StoredResult::Debit(debit) => Some(Self::Debit(debit.id)),
            StoredResult::OwnedCoupon(owned) => Some(Self::OwnedCoupon(owned.id)),
            StoredResult::Product(_)
            | StoredResult::Coupon(_)
            | StoredResult::Customer(_)
            | StoredResult::Token(_)
            | StoredResult::Cart(_)
            | StoredResult::Refused(_) => None,
        }
    }
}

/// A row that holds a digest.
pub(crate) trait Digest {
    /// The row's identity and the hash of its immutable fields; `None` for a kind of row without a digest.
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
            // Lines without a sale keep the digest that earlier versions gave them.
            if let Some(regular_price) = line.reduced_from() {
                hash.text(Some("regular_price"));
                hash.number(regular_price.minor());
            }
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

impl Digest for RefundRow {
    fn hashed(&self) -> Option<(Digested, Fnv)> {
        let mut hash = Fnv::default();
        hash.number(self.id.get());
        hash.number(self.customer_id.get());
        hash.number(self.charge_id.get());
        hash.text(Some(self.kind.as_str()));
        hash.number(self.amount.minor());
        hash.number(self.balance_after.minor());
        hash.text(self.reference.as_deref());
        hash.number(self.created_at.unix());
        Some((Digested::Refund(self.id), hash))
    }
}

/// Only debits have a digest: other ledger entries repeat fields of a charge or an order.
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

/// 64-bit FNV-1a. The hash must be the same in every version and on every machine, which std's hashers do not promise.
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

    /// Hashes a text with its length, so that the boundary between two texts matters.
    fn text(&mut self, text: Option<&str>) {
        self.optional(text.map(|text| i64::try_from(text.len()).unwrap_or(i64::MAX)));
        self.bytes(text.unwrap_or_default().as_bytes());
    }

    /// All 64 bits.
    pub(crate) fn all(self) -> i64 {
        self.0.cast_signed()
    }

    /// The digest of a row made without a key.
    pub(crate) fn digest(self) -> i64 {
        let folded = (self.0 ^ self.0.wrapping_shr(32)) & u64::from(u32::MAX);
        // Signed, so that SQLite stores it in four bytes.
        i64::from(u32::try_from(folded).unwrap_or_default().cast_signed())
    }

    /// The digest of a row made with that key.
    pub(crate) fn digest_with(mut self, key: &KeyUse<'_>) -> i64 {
        self.text(Some(key.key.as_str()));
        self.number(key.scope.get());
        self.number(key.fingerprint);
        self.number(key.created_at.unix());
        self.digest()
    }
}

/// The digest of a key that made no row with a digest, and of the row in its result.
pub(crate) fn of_key(key: &KeyUse<'_>, answer: &StoredResult) -> i64 {
    let mut hash = Fnv::default();
    match answer {
        StoredResult::Order(id, status) => {
            hash.number(id.get());
            hash.text(Some(status.as_str()));
        }
        StoredResult::OrderAfter(id, status, cancellations) => {
            hash.number(id.get());
            hash.text(Some(status.as_str()));
            hash.number(i64::try_from(*cancellations).unwrap_or(i64::MAX));
        }
        StoredResult::Product(row) => hash.number(row.id.get()),
        StoredResult::Coupon(row) => hash.number(row.id.get()),
        StoredResult::Customer(row) => hash.number(row.id.get()),
        StoredResult::Token(row) => hash.number(row.id.get()),
        StoredResult::Cart(cart) => hash.number(cart.customer_id.get()),
        // The audit compares the other results with their rows; a refusal has none.
        StoredResult::Charge(_)
        | StoredResult::OpenedCharge(_)
        | StoredResult::Refund(_)
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

/// The use of a key: the fields that identify it.
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

    fn owned_coupon() -> OwnedCoupon {
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

    fn debit() -> LedgerEntry {
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

    /// The digests are part of the store format: these numbers never change.
    #[test]
    fn digest_algorithm_is_stable_across_versions() {
        let key = Key::new("order-1").unwrap();
        let key_use = KeyUse {
            key: &key,
            scope: CustomerId::new(2),
            fingerprint: 12_345,
            created_at: Timestamp::from_unix(1_767_225_600),
        };
        let (_, hash) = owned_coupon().hashed().unwrap();
        let answer =
            StoredResult::Order(OrderId::new(4), crate::model::order::OrderStatus::Cancelled);
        let digests = [hash.digest(), hash.digest_with(&key_use), of_key(&key_use, &answer)];
        assert_eq!(digests, [-1_278_375_524, 1_914_261_400, -2_041_216_800]);
        let (_, hash) = debit().hashed().unwrap();
        assert_eq!(hash.digest(), 455_114_206);
    }

    #[test]
    fn digest_covers_immutable_fields_only() {
        let digest = |row: &OwnedCoupon| row.hashed().unwrap().1.digest();
        let known = digest(&owned_coupon());
        assert_ne!(digest(&OwnedCoupon { rank: 8, ..owned_coupon() }), known);
        assert_ne!(
            digest(&OwnedCoupon { customer_id: CustomerId::new(1), ..owned_coupon() }),
            known
        );
        let used = OwnedCoupon { order_id: Some(OrderId::new(1)), ..owned_coupon() };
        assert_eq!(digest(&used), known);
        let digest = |row: &LedgerEntry| row.hashed().unwrap().1.digest();
        assert_ne!(digest(&LedgerEntry { note: None, ..debit() }), digest(&debit()));
        assert!(LedgerEntry { kind: EntryKind::Refund, ..debit() }.hashed().is_none());
    }
}
