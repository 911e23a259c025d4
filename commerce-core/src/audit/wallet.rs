//! Money: each balance is the sum of its ledger entries, each debt the sum of those of debts, each successful charge has
//! exactly one entry, and what went back of a charge agrees with its refunds and with the ledger. Together they prove that
//! what the gateway holds is what is on the balances and was spent, less the debts.

use super::Check;
use super::by_id::ById;
use super::problems::{Problems, or_none};
use crate::clock::Timestamp;
use crate::id::{ChargeId, CustomerId, LedgerEntryId, RefundId};
use crate::model::refund::{RefundKind, RefundRow, RefundStatus};
use crate::model::wallet::{Account, ChargeRow, ChargeStatus, EntryKind, LedgerEntry};
use crate::money::Money;
use crate::store::Record;

const CHECK: &str = "wallet";

#[derive(Default)]
pub(super) struct Wallet {
    accounts: ById<CustomerId, AccountFacts>,
    charges: ById<ChargeId, ChargeFacts>,
    refunds: ById<RefundId, RefundFacts>,
}

/// The fields of an account, and the sums of its ledger entries so far.
struct AccountFacts {
    balance: Money,
    last_entry: Option<LedgerEntryId>,
    newest: Option<LedgerEntryId>,
    balance_after: Money,
    /// Wider than money, so that no damaged amount makes it overflow.
    sum: i128,
    debt: Money,
    debts: i128,
}

/// A refund, and true once its first ledger entry was seen.
struct RefundFacts {
    row: RefundRow,
    is_entered: bool,
}

struct ChargeFacts {
    customer_id: CustomerId,
    amount: Money,
    status: ChargeStatus,
    balance_after: Option<Money>,
    /// The instant of its ledger entry, if it has one.
    done_at: Timestamp,
    is_entered: bool,
    back: Option<Box<MoneyBack>>,
}

/// The money of a charge that went back: by its own row, by its refunds, and by the ledger.
struct MoneyBack {
    refunded: Money,
    disputed: Money,
    /// The refunds that the gateway has reported and the shop did not ask for, and those of them that were taken.
    reported: Money,
    outside: i128,
    by_refunds: [i128; 2],
    by_ledger: [i128; 2],
}

/// The place of an amount in [`MoneyBack`]: refunds, then disputes.
fn place(kind: EntryKind) -> usize {
    usize::from(kind == EntryKind::Chargeback)
}

impl ChargeFacts {
    /// Returns true if its money is on the balance.
    fn is_done(&self) -> bool {
        self.status == ChargeStatus::Succeeded
    }
}

/// Sums of refunds and of disputes.
trait Sums {
    fn add(&mut self, kind: EntryKind, amount: Money);
}

impl Sums for [i128; 2] {
    fn add(&mut self, kind: EntryKind, amount: Money) {
        if let Some(sum) = self.get_mut(place(kind)) {
            *sum = sum.saturating_add(i128::from(amount.minor()));
        }
    }
}

impl MoneyBack {
    const fn new(refunded: Money, disputed: Money, reported: Money) -> Self {
        Self { refunded, disputed, reported, outside: 0, by_refunds: [0; 2], by_ledger: [0; 2] }
    }
}

impl ChargeFacts {
    fn back(&mut self) -> &mut MoneyBack {
        self.back
            .get_or_insert_with(|| Box::new(MoneyBack::new(Money::ZERO, Money::ZERO, Money::ZERO)))
    }

    fn check_money_back(&self, report: &mut dyn FnMut(String)) {
        let Some(back) = &self.back else { return };
        let by_row = [back.refunded, back.disputed].map(|amount| i128::from(amount.minor()));
        let kinds = ["refunded", "disputed"].into_iter().zip(by_row);
        for ((kind, row), (refunds, ledger)) in
            kinds.zip(back.by_refunds.into_iter().zip(back.by_ledger))
        {
            if row != refunds || row != ledger {
                report(format!("has {row} {kind}, its refunds {refunds}, and the ledger {ledger}"));
            }
        }
        let reported = i128::from(back.reported.minor());
        // A charge with nothing left to refund may have less taken than was reported, until another refund fails.
        if back.outside > reported || (back.outside < reported && back.refunded < self.amount) {
            let (reported, outside) = (back.reported, back.outside);
            report(format!(
                "has {reported} refunded at the gateway, and {outside} of it was taken"
            ));
        }
        if back.refunded > self.amount {
            report(format!("is of {} and has {} refunded", self.amount, back.refunded));
        }
        if !self.is_done() {
            report("has money paid back and did not succeed".to_owned());
        }
    }
}

impl Check for Wallet {
    fn visit(&mut self, record: &Record, problems: &mut Problems) {
        match record {
            Record::Account(account) => {
                self.accounts.push(account.customer.id, AccountFacts::of(account));
            }
            Record::Charge(charge) => self.charge(charge, problems),
            Record::Refund(refund) => self.refund(refund, problems),
            Record::LedgerEntry(entry) => self.entry(entry, problems),
            _ => {}
        }
    }

    fn finish(&mut self, problems: &mut Problems) {
        for (id, facts) in self.accounts.iter() {
            facts.finish(&mut |detail| problems.add(CHECK, format!("customer {id}"), detail));
        }
        let missing = |charge: &ChargeFacts| charge.is_done() && !charge.is_entered;
        for (id, _) in self.charges.iter().filter(|(_, charge)| missing(charge)) {
            let detail = "succeeded and has no ledger entry".to_owned();
            problems.add(CHECK, format!("charge {id}"), detail);
        }
        for (id, charge) in self.charges.iter() {
            let mut report = |detail| problems.add(CHECK, format!("charge {id}"), detail);
            charge.check_money_back(&mut report);
        }
        for (id, _) in self.refunds.iter().filter(|(_, refund)| !refund.is_entered) {
            problems.add(CHECK, format!("refund {id}"), "has no ledger entry".to_owned());
        }
    }
}

impl Wallet {
    fn charge(&mut self, charge: &ChargeRow, problems: &mut Problems) {
        let ChargeRow { id, customer_id, amount, status, balance_after, .. } = *charge;
        if !self.accounts.has(customer_id) {
            let detail = format!("customer {customer_id} does not exist");
            problems.add(CHECK, format!("charge {id}"), detail);
        }
        let done_at = charge.settled_at.unwrap_or(charge.created_at);
        let is_entered = false;
        let ChargeRow { refunded, disputed, reported_refunds, .. } = *charge;
        let went_back = [refunded, disputed, reported_refunds] != [Money::ZERO; 3];
        let back =
            went_back.then(|| Box::new(MoneyBack::new(refunded, disputed, reported_refunds)));
        let facts =
            ChargeFacts { customer_id, amount, status, balance_after, done_at, is_entered, back };
        self.charges.push(id, facts);
    }

    /// Checks a refund. Refunds come after the charges and before the ledger.
    fn refund(&mut self, refund: &RefundRow, problems: &mut Problems) {
        let mut report = |detail| problems.add(CHECK, format!("refund {}", refund.id), detail);
        let id = refund.charge_id;
        match self.charges.get_mut(id) {
            None => report(format!("is of charge {id}, which does not exist")),
            Some(charge) => {
                if charge.customer_id != refund.customer_id {
                    let (of, owner) = (refund.customer_id, charge.customer_id);
                    report(format!("is of customer {of}, and charge {id} of customer {owner}"));
                }
                let back = charge.back();
                back.by_refunds.add(refund.kind.entry_kind(), refund.taken());
                if refund.kind == RefundKind::Outside {
                    back.outside = back.outside.saturating_add(i128::from(refund.taken().minor()));
                }
            }
        }
        let has_failed = refund.status == RefundStatus::Failed;
        if has_failed != refund.failure.is_some() {
            let reason = or_none(refund.failure.as_ref());
            report(format!("is {} and has {reason} as the reason of a failure", refund.status));
        }
        if (refund.status == RefundStatus::Pending) != refund.settled_at.is_none() {
            let settled_at = or_none(refund.settled_at);
            report(format!("is {} and was settled at {settled_at}", refund.status));
        }
        self.refunds.push(refund.id, RefundFacts { row: refund.clone(), is_entered: false });
    }

    /// Checks the entry that began a refund.
    fn began(&mut self, entry: &LedgerEntry, report: &mut dyn FnMut(String)) {
        let Some(refund) = self.refunds.get_mut(RefundRow::id_of(entry.id)) else { return };
        refund.is_entered = true;
        let row = &refund.row;
        // The notice that a dispute was won came before that of its beginning: no money was moved.
        let is_void = row.status == RefundStatus::Failed && entry.amount == Money::ZERO;
        let amount = if is_void { Money::ZERO } else { row.amount.negated() };
        let due = (row.kind.entry_kind(), Some(row.charge_id), amount, row.balance_after);
        if row.created_at != entry.created_at {
            let (of, refund) = (entry.created_at, row.created_at);
            report(format!("is of {of}, and refund {}, which it begins, of {refund}", row.id));
        }
        if due != (entry.kind, entry.charge_id, entry.amount, entry.balance_after) {
            report(format!(
                "is a {} of {} and leaves {}; refund {} of charge {} is one of {amount} and leaves {}",
                entry.kind,
                entry.amount,
                entry.balance_after,
                row.id,
                row.charge_id,
                row.balance_after
            ));
        }
    }

    fn entry(&mut self, entry: &LedgerEntry, problems: &mut Problems) {
        let mut report = |detail| problems.add(CHECK, format!("ledger entry {}", entry.id), detail);
        if !has_valid_sign(entry) {
            report(format!("a {} cannot move {}", entry.kind, entry.amount));
        }
        match self.accounts.get_mut(entry.customer_id) {
            Some(facts) => facts.add(entry, &mut report),
            None => report(format!("customer {} does not exist", entry.customer_id)),
        }
        self.began(entry, &mut report);
        match (entry.kind, entry.charge_id) {
            (EntryKind::Debt, _) => {}
            (EntryKind::Charge, Some(id)) => self.entered(id, entry, &mut report),
            (EntryKind::ChargeRefund | EntryKind::Chargeback, Some(id)) => {
                match self.charges.get_mut(id) {
                    Some(charge) => charge.back().by_ledger.add(entry.kind, entry.amount.negated()),
                    None => report(format!("names charge {id}, which does not exist")),
                }
            }
            (
                kind @ (EntryKind::Charge | EntryKind::ChargeRefund | EntryKind::Chargeback),
                None,
            ) => {
                report(format!("is a {kind} and names no charge"));
            }
            (kind, Some(id)) => report(format!("is a {kind} and names charge {id}")),
            (_, None) => {}
        }
    }

    fn entered(&mut self, id: ChargeId, entry: &LedgerEntry, report: &mut dyn FnMut(String)) {
        let Some(charge) = self.charges.get_mut(id) else {
            return report(format!("names charge {id}, which does not exist"));
        };
        // A charge pays debts first, by an entry of its own.
        let owed = self.accounts.get(entry.customer_id).map_or(0, |facts| facts.debts);
        let owed = Money::from_minor(i64::try_from(owed.max(0)).unwrap_or(i64::MAX));
        let paid = owed.min(entry.amount);
        let balance_after = entry.balance_after.checked_sub(paid).unwrap_or_default();
        if !charge.is_done() {
            report(format!("names charge {id}, which did not succeed"));
        }
        if charge.is_entered {
            report(format!("names charge {id}, which an entry before it names already"));
        }
        if (charge.customer_id, charge.amount) != (entry.customer_id, entry.amount) {
            report(format!(
                "has {} of customer {} and names charge {id}, which has {} of customer {}",
                entry.amount, entry.customer_id, charge.amount, charge.customer_id
            ));
        } else if charge.is_done() && charge.balance_after != Some(balance_after) {
            let (entry, charge) = (balance_after, or_none(charge.balance_after));
            report(format!(
                "balance_after is {entry}, and {charge} in charge {id}, which it names"
            ));
        } else if charge.is_done() && charge.done_at != entry.created_at {
            let (entry, charge) = (entry.created_at, charge.done_at);
            report(format!("is of {entry}, and charge {id}, which it names, of {charge}"));
        }
        charge.is_entered = true;
    }
}

impl AccountFacts {
    fn of(account: &Account) -> Self {
        Self {
            balance: account.balance,
            last_entry: account.last_entry,
            newest: None,
            balance_after: Money::ZERO,
            sum: 0,
            debt: account.debt,
            debts: 0,
        }
    }

    fn add(&mut self, entry: &LedgerEntry, report: &mut dyn FnMut(String)) {
        let due = self.balance_after.checked_add(entry.amount);
        if due != Some(entry.balance_after) {
            report(format!(
                "balance_after is {} and should be {}: {} and {} more",
                entry.balance_after,
                or_none(due),
                self.balance_after,
                entry.amount
            ));
        }
        if entry.balance_after < Money::ZERO {
            report(format!("balance_after is {}, below zero", entry.balance_after));
        }
        if entry.previous != self.newest {
            let (previous, before) = (or_none(entry.previous), or_none(self.newest));
            report(format!("the entry before it is {before} and previous is {previous}"));
        }
        self.newest = Some(entry.id);
        self.balance_after = entry.balance_after;
        self.sum = self.sum.saturating_add(i128::from(entry.amount.minor()));
        if entry.kind == EntryKind::Debt {
            self.debts = self.debts.saturating_add(i128::from(entry.amount.minor()));
        }
    }

    fn finish(&self, report: &mut dyn FnMut(String)) {
        if self.balance < Money::ZERO {
            report(format!("the balance is {}, below zero", self.balance));
        }
        if i128::from(self.balance.minor()) != self.sum {
            report(format!(
                "the balance is {} and the ledger adds up to {}",
                self.balance, self.sum
            ));
        }
        if self.debt < Money::ZERO || i128::from(self.debt.minor()) != self.debts {
            report(format!("the debt is {} and the ledger has {}", self.debt, self.debts));
        }
        if self.last_entry != self.newest {
            let (last_entry, newest) = (or_none(self.last_entry), or_none(self.newest));
            report(format!("the newest ledger entry is {newest} and last_entry is {last_entry}"));
        }
    }
}

fn has_valid_sign(entry: &LedgerEntry) -> bool {
    match entry.kind {
        EntryKind::Charge | EntryKind::Refund => entry.amount >= Money::ZERO,
        EntryKind::Debit => entry.amount < Money::ZERO,
        // An order may cost 0 after its discount.
        EntryKind::Payment => entry.amount <= Money::ZERO,
        EntryKind::ChargeRefund | EntryKind::Chargeback | EntryKind::Debt => true,
    }
}
