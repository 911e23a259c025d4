//! Money: every balance is what its ledger says, and every charge is in the ledger once.

use super::Check;
use super::by_id::ById;
use super::problems::{Problems, shown};
use crate::clock::Timestamp;
use crate::id::{ChargeId, CustomerId, LedgerEntryId};
use crate::model::wallet::{Account, ChargeRow, ChargeStatus, EntryKind, LedgerEntry};
use crate::money::Money;
use crate::store::Record;

const CHECK: &str = "wallet";

#[derive(Default)]
pub(super) struct Wallet {
    purses: ById<CustomerId, Purse>,
    charges: ById<ChargeId, ChargeFacts>,
}

/// What the account says, and what its ledger said so far.
struct Purse {
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
    /// The instant at which its money came, as far as it did.
    done_at: Timestamp,
    is_entered: bool,
}

impl ChargeFacts {
    /// Whether its money is on the balance.
    fn is_done(&self) -> bool {
        self.status == ChargeStatus::Succeeded
    }
}

impl Check for Wallet {
    fn see(&mut self, record: &Record, problems: &mut Problems) {
        match record {
            Record::Account(account) => self.purses.push(account.customer.id, Purse::of(account)),
            Record::Charge(charge) => self.charge(charge, problems),
            Record::LedgerEntry(entry) => self.entry(entry, problems),
            _ => {}
        }
    }

    fn finish(&mut self, problems: &mut Problems) {
        for (id, purse) in self.purses.iter() {
            purse.finish(&mut |detail| problems.add(CHECK, format!("customer {id}"), detail));
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
        if !self.purses.has(customer_id) {
            let detail = format!("customer {customer_id} does not exist");
            problems.add(CHECK, format!("charge {id}"), detail);
        }
        let done_at = charge.settled_at.unwrap_or(charge.created_at);
        let is_entered = false;
        let facts = ChargeFacts { customer_id, amount, status, balance_after, done_at, is_entered };
        self.charges.push(id, facts);
    }

    fn entry(&mut self, entry: &LedgerEntry, problems: &mut Problems) {
        let mut wrong = |detail| problems.add(CHECK, format!("ledger entry {}", entry.id), detail);
        if !sign_fits(entry) {
            wrong(format!("a {} cannot move {}", kind_name(entry.kind), entry.amount));
        }
        match self.purses.get_mut(entry.customer_id) {
            Some(purse) => purse.add(entry, &mut wrong),
            None => wrong(format!("customer {} does not exist", entry.customer_id)),
        }
        match (entry.kind, entry.charge_id) {
            (EntryKind::Charge, Some(id)) => self.entered(id, entry, &mut wrong),
            (EntryKind::Charge, None) => wrong("is a charge and names none".to_owned()),
            (kind, Some(id)) => wrong(format!("is a {} and names charge {id}", kind_name(kind))),
            (_, None) => {}
        }
    }

    fn entered(&mut self, id: ChargeId, entry: &LedgerEntry, wrong: &mut dyn FnMut(String)) {
        let Some(charge) = self.charges.get_mut(id) else {
            return wrong(format!("names charge {id}, which does not exist"));
        };
        if !charge.is_done() {
            wrong(format!("names charge {id}, which brought no money"));
        }
        if charge.is_entered {
            wrong(format!("names charge {id}, which an entry before it names already"));
        }
        if (charge.customer_id, charge.amount) != (entry.customer_id, entry.amount) {
            wrong(format!(
                "has {} of customer {} and names charge {id}, which has {} of customer {}",
                entry.amount, entry.customer_id, charge.amount, charge.customer_id
            ));
        } else if charge.is_done() && charge.balance_after != Some(entry.balance_after) {
            let (is, said) = (entry.balance_after, shown(charge.balance_after));
            wrong(format!("balance_after is {is} and charge {id}, which it names, has {said}"));
        } else if charge.is_done() && charge.done_at != entry.created_at {
            let (is, should) = (entry.created_at, charge.done_at);
            wrong(format!("is of {is} and charge {id}, which it names, of {should}"));
        }
        charge.is_entered = true;
    }
}

impl Purse {
    fn of(account: &Account) -> Self {
        Self {
            balance: account.balance,
            last_entry: account.last_entry,
            newest: None,
            balance_after: Money::ZERO,
            sum: 0,
        }
    }

    fn add(&mut self, entry: &LedgerEntry, wrong: &mut dyn FnMut(String)) {
        let due = self.balance_after.checked_add(entry.amount);
        if due != Some(entry.balance_after) {
            wrong(format!(
                "balance_after is {} and should be {}: {} and {} more",
                entry.balance_after,
                shown(due),
                self.balance_after,
                entry.amount
            ));
        }
        if entry.balance_after < Money::ZERO {
            wrong(format!("balance_after is {}, below zero", entry.balance_after));
        }
        if entry.previous != self.newest {
            let (is, should) = (shown(entry.previous), shown(self.newest));
            wrong(format!("the entry before it is {should} and it names {is}"));
        }
        self.newest = Some(entry.id);
        self.balance_after = entry.balance_after;
        self.sum = self.sum.saturating_add(i128::from(entry.amount.minor()));
    }

    fn finish(&self, wrong: &mut dyn FnMut(String)) {
        if self.balance < Money::ZERO {
            wrong(format!("the balance is {}, below zero", self.balance));
        }
        if i128::from(self.balance.minor()) != self.sum {
            wrong(format!(
                "the balance is {} and the ledger adds up to {}",
                self.balance, self.sum
            ));
        }
        if self.last_entry != self.newest {
            let (is, should) = (shown(self.last_entry), shown(self.newest));
            wrong(format!("the newest ledger entry is {should} and last_entry names {is}"));
        }
    }
}

fn sign_fits(entry: &LedgerEntry) -> bool {
    match entry.kind {
        EntryKind::Charge | EntryKind::Refund => entry.amount >= Money::ZERO,
        EntryKind::Debit => entry.amount < Money::ZERO,
        // An order may cost nothing once its coupon is taken off.
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
