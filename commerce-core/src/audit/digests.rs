//! Digests: each row that was made with a key is as it was written, and is still found by that key.

use super::Check;
use super::by_id::{ById, RowId};
use super::problems::Problems;
use crate::digest::{self, Digest, Digested, Fnv, KeyUse};
use crate::id::{ChargeId, CustomerId, Key, LedgerEntryId, OrderId, OwnedCouponId};
use crate::model::idempotency::{GLOBAL_SCOPE, IdempotencyRecord};
use crate::store::Record;

const CHECK: &str = "digests";

#[derive(Default)]
pub(super) struct Digests {
    /// The digest of the row that comes next.
    next: Option<(Digested, i64)>,
    orders: ById<OrderId, Made>,
    charges: ById<ChargeId, Made>,
    debits: ById<LedgerEntryId, Made>,
    owned_coupons: ById<OwnedCouponId, Made>,
}

/// A row whose digest is not that of the row alone, so that it was made with a key.
struct Made {
    row: Fnv,
    digest: i64,
    is_found: bool,
}

impl Check for Digests {
    fn see(&mut self, record: &Record, problems: &mut Problems) {
        match record {
            Record::Digest { of, digest } => self.next = Some((*of, *digest)),
            Record::Key { key, owner, record } => self.key(key, *owner, record, problems),
            record => {
                let Some((of, row)) = record.hashed() else { return };
                // Rows of earlier versions have none.
                let digest = self.next.take().filter(|(next, _)| *next == of);
                if let Some((_, digest)) = digest.filter(|(_, digest)| *digest != row.digest()) {
                    self.push(of, Made { row, digest, is_found: false });
                }
            }
        }
    }

    fn finish(&mut self, problems: &mut Problems) {
        missing(&self.orders, "order", problems);
        missing(&self.charges, "charge", problems);
        missing(&self.debits, "ledger entry", problems);
        missing(&self.owned_coupons, "owned coupon", problems);
    }
}

impl Digests {
    fn push(&mut self, of: Digested, made: Made) {
        match of {
            Digested::Order(id) => self.orders.push(id, made),
            Digested::Charge(id) => self.charges.push(id, made),
            Digested::Debit(id) => self.debits.push(id, made),
            Digested::OwnedCoupon(id) => self.owned_coupons.push(id, made),
        }
    }

    fn made(&mut self, of: Digested) -> Option<&mut Made> {
        match of {
            Digested::Order(id) => self.orders.get_mut(id),
            Digested::Charge(id) => self.charges.get_mut(id),
            Digested::Debit(id) => self.debits.get_mut(id),
            Digested::OwnedCoupon(id) => self.owned_coupons.get_mut(id),
        }
    }

    fn key(
        &mut self,
        key: &Key,
        owner: CustomerId,
        record: &IdempotencyRecord,
        problems: &mut Problems,
    ) {
        let IdempotencyRecord { fingerprint, created_at, digest, .. } = *record;
        let used = KeyUse { key, scope: owner, fingerprint, created_at };
        if let Some(digest) = digest {
            if digest != digest::of_key(&used, &record.answer) {
                let of = if owner == GLOBAL_SCOPE {
                    "the shop".to_owned()
                } else {
                    format!("customer {owner}")
                };
                let detail = "it is not the key that was written: the call it was for, repeated, would be carried out \
                              a second time";
                problems.add(CHECK, format!("key {key} of {of}"), detail.to_owned());
            }
            return;
        }
        let Some(of) = Digested::answered_by(&record.answer) else { return };
        if let Some(made) = self.made(of).filter(|made| made.digest == made.row.digest_with(&used))
        {
            made.is_found = true;
        }
    }
}

fn missing<I: RowId + std::fmt::Display>(
    rows: &ById<I, Made>,
    kind: &str,
    problems: &mut Problems,
) {
    for (id, _) in rows.iter().filter(|(_, made)| !made.is_found) {
        let detail = "no key leads to it: the row or its key is not what was written, or the key is gone, and the call \
                      that made it, repeated, would be carried out a second time";
        problems.add(CHECK, format!("{kind} {id}"), detail.to_owned());
    }
}
