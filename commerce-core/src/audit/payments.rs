//! Payments: each paid order has exactly one payment, each cancellation of a paid order or of a part of it one refund, and
//! no other order has any.

use super::Check;
use super::by_id::ById;
use super::problems::{Problems, or_none};
use crate::clock::Timestamp;
use crate::id::{CustomerId, OrderId};
use crate::model::order::{Order, OrderStatus};
use crate::model::wallet::{EntryKind, LedgerEntry};
use crate::money::Money;
use crate::store::Record;
use std::collections::BTreeMap;

const CHECK: &str = "payments";

#[derive(Default)]
pub(super) struct Payments {
    orders: ById<OrderId, OrderFacts>,
    /// The refunds to come of orders of which parts were cancelled, the next one last.
    refunds: BTreeMap<OrderId, Vec<(Money, Timestamp)>>,
}

struct OrderFacts {
    customer_id: CustomerId,
    paid: Money,
    paid_at: Option<Timestamp>,
    cancelled_at: Option<Timestamp>,
    payment: Expected,
    refund: Expected,
}

/// The state of a ledger entry that an order must or must not have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    No,
    Missing,
    Seen,
}

impl Check for Payments {
    fn visit(&mut self, record: &Record, problems: &mut Problems) {
        match record {
            Record::Order(order) => {
                self.orders.push(order.id, OrderFacts::of(order));
                if !order.cancellations.is_empty() {
                    let refunds = order.refunds().into_iter().rev().collect();
                    self.refunds.insert(order.id, refunds);
                }
            }
            Record::LedgerEntry(entry) => self.entry(entry, problems),
            _ => {}
        }
    }

    fn finish(&mut self, problems: &mut Problems) {
        for (id, refunds) in &self.refunds {
            for (amount, at) in refunds.iter().rev() {
                let detail = format!("has no refund of {amount} at {at} in the ledger");
                problems.add(CHECK, format!("order {id}"), detail);
            }
        }
        for (id, order) in self.orders.iter() {
            for (entry, kind) in [(order.payment, "payment"), (order.refund, "refund")] {
                if entry == Expected::Missing {
                    let detail = format!("has no {kind} of {} in the ledger", order.paid);
                    problems.add(CHECK, format!("order {id}"), detail);
                }
            }
        }
    }
}

impl Payments {
    fn entry(&mut self, entry: &LedgerEntry, problems: &mut Problems) {
        let mut report = |detail| problems.add(CHECK, format!("ledger entry {}", entry.id), detail);
        let kind = entry.kind;
        let is_of_order = matches!(entry.kind, EntryKind::Payment | EntryKind::Refund);
        let id = match entry.order_id {
            Some(id) if is_of_order => id,
            // A debt that the refund of an order has paid.
            Some(_) if entry.kind == EntryKind::Debt => return,
            Some(id) => return report(format!("is a {kind} and names order {id}")),
            None if is_of_order => return report(format!("is a {kind} and names no order")),
            None => return,
        };
        match self.orders.get_mut(id) {
            Some(order) if entry.kind == EntryKind::Refund && self.refunds.contains_key(&id) => {
                let due = self.refunds.get_mut(&id).and_then(Vec::pop);
                if due != Some((entry.amount, entry.created_at)) {
                    let due = due.map_or("none".to_owned(), |(due, at)| format!("{due} at {at}"));
                    let (amount, at) = (entry.amount, entry.created_at);
                    report(format!(
                        "refunds {amount} at {at}; the next refund of order {id} is {due}"
                    ));
                }
                order.check_owner(id, entry, &mut report);
            }
            Some(order) => order.entry(id, entry, &mut report),
            None => report(format!("names order {id}, which does not exist")),
        }
    }
}

impl OrderFacts {
    fn of(order: &Order) -> Self {
        let due_if = |due| if due { Expected::Missing } else { Expected::No };
        let was_paid = order.paid_at.is_some();
        Self {
            customer_id: order.customer_id,
            paid: order.paid(),
            paid_at: order.paid_at,
            cancelled_at: order.cancelled_at,
            payment: due_if(was_paid),
            refund: due_if(
                was_paid
                    && order.status == OrderStatus::Cancelled
                    && order.cancellations.is_empty(),
            ),
        }
    }

    fn entry(&mut self, id: OrderId, entry: &LedgerEntry, report: &mut dyn FnMut(String)) {
        let kind = entry.kind;
        let (slot, due, at) = match entry.kind {
            EntryKind::Payment => (&mut self.payment, self.paid.negated(), self.paid_at),
            _ => (&mut self.refund, self.paid, self.cancelled_at),
        };
        if *slot == Expected::Missing && at != Some(entry.created_at) {
            let (created_at, at) = (entry.created_at, or_none(at));
            report(format!("is of {created_at} and the {kind} of order {id} of {at}"));
        }
        match std::mem::replace(slot, Expected::Seen) {
            Expected::Missing => {}
            Expected::Seen => report(format!("is a {kind} of order {id}, which has one already")),
            Expected::No => {
                *slot = Expected::No;
                report(format!("is a {kind} of order {id}, which should have none"));
            }
        }
        if entry.amount != due {
            report(format!("moves {} and the {kind} of order {id} is {due}", entry.amount));
        }
        self.check_owner(id, entry, report);
    }

    fn check_owner(&self, id: OrderId, entry: &LedgerEntry, report: &mut dyn FnMut(String)) {
        if entry.customer_id != self.customer_id {
            let (owner, customer) = (entry.customer_id, self.customer_id);
            report(format!("is of customer {owner} and order {id} of customer {customer}"));
        }
    }
}
