//! Money: each balance is the sum of its ledger entries, and each successful charge has exactly one entry.

use super::Check;
use super::by_id::ById;
use super::problems::{Problems, or_none};
use crate::clock::Timestamp;
use crate::id::{ChargeId, CustomerId, LedgerEntryId};
use crate::model::wallet::{Account, ChargeRow, ChargeStatus, EntryKind, LedgerEntry};
use crate::money::Money;
use crate::store::Record;

const CHECK: &str = "wallet";

#[derive(Default)]
pub(super) struct Wallet {
    accounts: ById<CustomerId, AccountFacts>,
    charges: ById<ChargeId, ChargeFacts>,
}

/// The fields of an account, and the sums of its ledger entries so far.
struct AccountFacts {
    balance: Money,
    last_entry: Option<LedgerEntryId>,
    newest: Option<LedgerEntryId>,
    balance_after: Money,
    /// Wider than money, so that no damaged amount makes it overflow.
    sum: i128,
}

struct ChargeFacts {
    customer_id: CustomerId,
    amount: Money,
    status: ChargeStatus,
    balance_after: Option<Money>,
    /// The instant of its ledger entry, if it has one.
    done_at: Timestamp,
    is_entered: bool,
}

impl ChargeFacts {
    /// Returns true if its money is on the balance.
    fn is_done(&self) -> bool {
        self.status == ChargeStatus::Succeeded
    }
}

impl Check for Wallet {
    fn visit(&mut self, record: &Record, problems: &mut Problems) {
        match record {
            Record::Account(account) => {
                self.accounts.push(account.customer.id, AccountFacts::of(account));
            }
            Record::Charge(charge) => self.charge(charge, problems),
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
        let facts = ChargeFacts { customer_id, amount, status, balance_after, done_at, is_entered };
        self.charges.push(id, facts);
    }

    fn entry(&mut self, entry: &LedgerEntry, problems: &mut Problems) {
        let mut report = |detail| problems.add(CHECK, format!("ledger entry {}", entry.id), detail);
        if !has_valid_sign(entry) {
            report(format!("a {} cannot move {}", kind_name(entry.kind), entry.amount));
        }
        match self.accounts.get_mut(entry.customer_id) {
            Some(facts) => facts.add(entry, &mut report),
            None => report(format!("customer {} does not exist", entry.customer_id)),
        }
        match (entry.kind, entry.charge_id) {
            (EntryKind::Charge, Some(id)) => self.entered(id, entry, &mut report),
            (EntryKind::Charge, None) => report("is a charge and names no charge".to_owned()),
            (kind, Some(id)) => report(format!("is a {} and names charge {id}", kind_name(kind))),
            (_, None) => {}
        }
    }

    fn entered(&mut self, id: ChargeId, entry: &LedgerEntry, report: &mut dyn FnMut(String)) {
        let Some(charge) = self.charges.get_mut(id) else {
            return report(format!("names charge {id}, which does not exist"));
        };
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
        } else if charge.is_done() && charge.balance_after != Some(entry.balance_after) {
            let (entry, charge) = (entry.balance_after, or_none(charge.balance_after));
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
    }
}

pub(super) fn kind_name(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::Charge => "charge",
        EntryKind::Debit => "debit",
        EntryKind::Payment => "payment",
        EntryKind::Refund => "refund",
    }
}
