//! Events: numbered without a gap, each with a unique public id, and exactly one for each payment and each refund.

use super::Check;
use super::by_id::ById;
use super::problems::{Problems, or_none};
use crate::clock::Timestamp;
use crate::id::{EventId, OrderId};
use crate::model::event::{Epoch, EventKind, EventRow};
use crate::model::order::Order;
use crate::store::Record;
use std::collections::{BTreeMap, HashSet};

const CHECK: &str = "events";

#[derive(Default)]
pub(super) struct Events {
    orders: ById<OrderId, OrderFacts>,
    /// The events of cancellations of parts that were not seen yet, with the order and the instant of each.
    parts: BTreeMap<EventId, (OrderId, Timestamp)>,
    last: i64,
    epochs: HashSet<String>,
}

/// The states of the events of an order.
struct OrderFacts {
    paid: Fact,
    cancelled: Fact,
}

/// The state of an event that an order may have, and the instant it must have.
#[derive(Clone, Copy)]
struct Fact {
    expected: Expected,
    at: Option<Timestamp>,
}

/// The state of an event that an order must or must not have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    No,
    Missing,
    Seen,
}

impl Check for Events {
    fn visit(&mut self, record: &Record, problems: &mut Problems) {
        match record {
            Record::Order(order) => {
                self.orders.push(order.id, OrderFacts::of(order));
                for row in &order.cancellations {
                    self.parts
                        .extend(row.event_id.map(|event| (event, (order.id, row.created_at))));
                }
            }
            Record::Event(event) => {
                self.check_number(event, problems);
                self.event(event, problems);
            }
            Record::Epoch(epoch) => self.epoch(epoch, problems),
            _ => {}
        }
    }

    fn finish(&mut self, problems: &mut Problems) {
        if self.epochs.is_empty() {
            problems.add(CHECK, "epochs".to_owned(), "are missing".to_owned());
        }
        for (event, (id, _)) in &self.parts {
            let detail = format!("has no event {event}, which reports a cancellation of a part");
            problems.add(CHECK, format!("order {id}"), detail);
        }
        for (id, order) in self.orders.iter() {
            let mut report = |detail| problems.add(CHECK, format!("order {id}"), detail);
            for (kind, fact) in
                [(EventKind::OrderPaid, &order.paid), (EventKind::OrderCancelled, &order.cancelled)]
            {
                if fact.expected == Expected::Missing {
                    report(format!("has no event {kind}"));
                }
            }
        }
    }
}

impl Events {
    fn check_number(&mut self, event: &EventRow, problems: &mut Problems) {
        let due = self.last.saturating_add(1);
        self.last = event.id.get();
        if self.last != due {
            let detail = format!("is missing: event {} follows instead", event.id);
            problems.add(CHECK, format!("event {due}"), detail);
        }
    }

    /// Checks an epoch. Epochs come after the events, in the order of their first events.
    fn epoch(&mut self, epoch: &Epoch, problems: &mut Problems) {
        let first = epoch.first_event.get();
        let mut report = |detail| problems.add(CHECK, format!("epoch {first}"), detail);
        if self.epochs.is_empty() && first != 1 {
            report("is the first one and leaves events before it without a public id".to_owned());
        }
        let next = self.last.saturating_add(1);
        if first > next {
            report(format!("begins after the next event, {next}"));
        }
        if !self.epochs.insert(epoch.name.clone()) {
            report(
                "has the name of another epoch, so that two events have one public id".to_owned(),
            );
        }
    }

    fn event(&mut self, event: &EventRow, problems: &mut Problems) {
        let (id, kind) = (event.order_id, event.kind);
        let mut report = |detail| problems.add(CHECK, format!("event {}", event.id), detail);
        let Some(order) = self.orders.get_mut(id) else {
            return report(format!("is about order {id}, which does not exist"));
        };
        let is_of_order = |part: &(OrderId, Timestamp)| part.0 == id;
        let part = if self.parts.get(&event.id).is_some_and(is_of_order) {
            self.parts.remove(&event.id)
        } else {
            None
        };
        if let Some((_, at)) = part.filter(|(_, at)| *at != event.created_at) {
            let created_at = event.created_at;
            report(format!("is of {created_at}, and its cancellation of order {id} of {at}"));
        }
        let Fact { expected, at } = match kind {
            EventKind::OrderPaid => &mut order.paid,
            EventKind::OrderCancelled => &mut order.cancelled,
            EventKind::OrderPartiallyCancelled => {
                if part.is_none() {
                    report(format!("is the {kind} of order {id}, which has none"));
                }
                return;
            }
        };
        if *expected == Expected::Missing && *at != Some(event.created_at) {
            let (created_at, at) = (event.created_at, or_none(*at));
            report(format!("is of {created_at}, and the {kind} of order {id} of {at}"));
        }
        match *expected {
            Expected::Missing => *expected = Expected::Seen,
            Expected::Seen => report(format!("repeats the {kind} of order {id}")),
            Expected::No => report(format!("is the {kind} of order {id}, which has none")),
        }
    }
}

impl OrderFacts {
    fn of(order: &Order) -> Self {
        let fact = |at: Option<Timestamp>| Fact {
            expected: if at.is_some() { Expected::Missing } else { Expected::No },
            at,
        };
        Self { paid: fact(order.paid_at), cancelled: fact(order.paid_at.and(order.cancelled_at)) }
    }
}
