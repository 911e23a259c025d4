//! Digests: each row that was created with an idempotency key is unaltered, and its key still leads to it.

use super::Check;
use super::by_id::{ById, RowId};
use super::problems::Problems;
use crate::digest::{self, Digest, Digested, Fnv, KeyUse};
use crate::id::{ChargeId, CustomerId, Key, LedgerEntryId, OrderId, OwnedCouponId, RefundId};
use crate::idempotency::{GLOBAL_SCOPE, IdempotencyRecord};
use crate::store::Record;

const CHECK: &str = "digests";

#[derive(Default)]
pub(super) struct Digests {
    /// The digest of the next row.
    next: Option<(Digested, i64)>,
    orders: ById<OrderId, KeyedRow>,
    charges: ById<ChargeId, KeyedRow>,
    debits: ById<LedgerEntryId, KeyedRow>,
    owned_coupons: ById<OwnedCouponId, KeyedRow>,
    refunds: ById<RefundId, KeyedRow>,
}

/// A row whose digest is not that of the row alone: it was created with a key.
struct KeyedRow {
    hash: Fnv,
    digest: i64,
    is_found: bool,
}

impl Check for Digests {
    fn visit(&mut self, record: &Record, problems: &mut Problems) {
        match record {
            Record::Digest { of, digest } => self.next = Some((*of, *digest)),
            Record::Key { key, owner, record } => self.key(key, *owner, record, problems),
            record => {
                let Some((of, row)) = record.hashed() else { return };
                // Rows that earlier versions wrote have no digest.
                let digest = self.next.take().filter(|(next, _)| *next == of);
                if let Some((_, digest)) = digest.filter(|(_, digest)| *digest != row.digest()) {
                    self.push(of, KeyedRow { hash: row, digest, is_found: false });
                }
            }
        }
    }

    fn finish(&mut self, problems: &mut Problems) {
        report_unreachable(&self.orders, "order", problems);
        report_unreachable(&self.charges, "charge", problems);
        report_unreachable(&self.debits, "ledger entry", problems);
        report_unreachable(&self.owned_coupons, "owned coupon", problems);
        report_unreachable(&self.refunds, "refund", problems);
    }
}

impl Digests {
    fn push(&mut self, of: Digested, row: KeyedRow) {
        match of {
            Digested::Order(id) => self.orders.push(id, row),
            Digested::Charge(id) => self.charges.push(id, row),
            Digested::Debit(id) => self.debits.push(id, row),
            Digested::OwnedCoupon(id) => self.owned_coupons.push(id, row),
            Digested::Refund(id) => self.refunds.push(id, row),
        }
    }

    fn row(&mut self, of: Digested) -> Option<&mut KeyedRow> {
        match of {
            Digested::Order(id) => self.orders.get_mut(id),
            Digested::Charge(id) => self.charges.get_mut(id),
            Digested::Debit(id) => self.debits.get_mut(id),
            Digested::OwnedCoupon(id) => self.owned_coupons.get_mut(id),
            Digested::Refund(id) => self.refunds.get_mut(id),
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
                let detail = "the key was altered: its call, when repeated, would be carried out a second time";
                problems.add(CHECK, format!("key {key} of {of}"), detail.to_owned());
            }
            return;
        }
        let Some(of) = Digested::answered_by(&record.answer) else { return };
        if let Some(row) = self.row(of).filter(|row| row.digest == row.hash.digest_with(&used)) {
            row.is_found = true;
        }
    }
}

fn report_unreachable<I: RowId + std::fmt::Display>(
    rows: &ById<I, KeyedRow>,
    kind: &str,
    problems: &mut Problems,
) {
    for (id, _) in rows.iter().filter(|(_, row)| !row.is_found) {
        let detail = "no key leads to it: the row or its key was altered, or the key is missing, and the call that \
                      created it, when repeated, would be carried out a second time";
        problems.add(CHECK, format!("{kind} {id}"), detail.to_owned());
    }
}
