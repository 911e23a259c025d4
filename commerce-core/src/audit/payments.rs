//! Payments: each paid order was paid once, each taken back refunded once, and nothing else was.

use super::Check;
use super::by_id::ById;
use super::problems::{Problems, shown};
use super::wallet::kind_name;
use crate::clock::Timestamp;
use crate::id::{CustomerId, OrderId};
use crate::model::order::{Order, OrderStatus};
use crate::model::wallet::{EntryKind, LedgerEntry};
use crate::money::Money;
use crate::store::Record;

const CHECK: &str = "payments";

#[derive(Default)]
pub(super) struct Payments {
    orders: ById<OrderId, OrderFacts>,
}

struct OrderFacts {
    customer_id: CustomerId,
    total: Money,
    paid_at: Option<Timestamp>,
    cancelled_at: Option<Timestamp>,
    payment: Entry,
    refund: Entry,
}

/// An entry that an order must have, or must not have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    NotDue,
    Due,
    Seen,
}

impl Check for Payments {
    fn see(&mut self, record: &Record, problems: &mut Problems) {
        match record {
            Record::Order(order) => self.orders.push(order.id, OrderFacts::of(order)),
            Record::LedgerEntry(entry) => self.entry(entry, problems),
            _ => {}
        }
    }

    fn finish(&mut self, problems: &mut Problems) {
        for (id, order) in self.orders.iter() {
            for (entry, kind) in [(order.payment, "payment"), (order.refund, "refund")] {
                if entry == Entry::Due {
                    let detail = format!("has no {kind} of {} in the ledger", order.total);
                    problems.add(CHECK, format!("order {id}"), detail);
                }
            }
        }
    }
}

impl Payments {
    fn entry(&mut self, entry: &LedgerEntry, problems: &mut Problems) {
        let mut wrong = |detail| problems.add(CHECK, format!("ledger entry {}", entry.id), detail);
        let kind = kind_name(entry.kind);
        let is_of_order = matches!(entry.kind, EntryKind::Payment | EntryKind::Refund);
        let id = match entry.order_id {
            Some(id) if is_of_order => id,
            Some(id) => return wrong(format!("is a {kind} and names order {id}")),
            None if is_of_order => return wrong(format!("is a {kind} and names no order")),
            None => return,
        };
        match self.orders.get_mut(id) {
            Some(order) => order.entry(id, entry, &mut wrong),
            None => wrong(format!("names order {id}, which does not exist")),
        }
    }
}

impl OrderFacts {
    fn of(order: &Order) -> Self {
        let due_if = |due| if due { Entry::Due } else { Entry::NotDue };
        let was_paid = order.paid_at.is_some();
        Self {
            customer_id: order.customer_id,
            total: order.total,
            paid_at: order.paid_at,
            cancelled_at: order.cancelled_at,
            payment: due_if(was_paid),
            refund: due_if(was_paid && order.status == OrderStatus::Cancelled),
        }
    }

    fn entry(&mut self, id: OrderId, entry: &LedgerEntry, wrong: &mut dyn FnMut(String)) {
        let kind = kind_name(entry.kind);
        let (slot, due, at) = match entry.kind {
            EntryKind::Payment => (&mut self.payment, self.total.negated(), self.paid_at),
            _ => (&mut self.refund, self.total, self.cancelled_at),
        };
        if *slot == Entry::Due && at != Some(entry.created_at) {
            let (is, should) = (entry.created_at, shown(at));
            wrong(format!("is of {is} and the {kind} of order {id} of {should}"));
        }
        match std::mem::replace(slot, Entry::Seen) {
            Entry::Due => {}
            Entry::Seen => wrong(format!("is a {kind} of order {id}, which has one already")),
            Entry::NotDue => {
                *slot = Entry::NotDue;
                wrong(format!("is a {kind} of order {id}, which should have none"));
            }
        }
        if entry.amount != due {
            wrong(format!("moves {} and the {kind} of order {id} is {due}", entry.amount));
        }
        if entry.customer_id != self.customer_id {
            let (is, should) = (entry.customer_id, self.customer_id);
            wrong(format!("is of customer {is} and order {id} of customer {should}"));
        }
    }
}
