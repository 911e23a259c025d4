//! Events: numbered without a gap, each with one public id, and each payment and refund is told exactly once.

use super::Check;
use super::by_id::ById;
use super::problems::{Problems, shown};
use crate::clock::Timestamp;
use crate::id::OrderId;
use crate::model::event::{Epoch, EventKind, EventRow};
use crate::model::order::{Order, OrderStatus};
use crate::store::Record;
use std::collections::HashSet;

const CHECK: &str = "events";

#[derive(Default)]
pub(super) struct Events {
    orders: ById<OrderId, OrderFacts>,
    last: i64,
    epochs: HashSet<String>,
}

struct OrderFacts {
    paid: News,
    cancelled: News,
    paid_at: Option<Timestamp>,
    cancelled_at: Option<Timestamp>,
}

/// What is to be told of an order, or not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum News {
    None,
    Due,
    Told,
}

impl Check for Events {
    fn see(&mut self, record: &Record, problems: &mut Problems) {
        match record {
            Record::Order(order) => self.orders.push(order.id, OrderFacts::of(order)),
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
        for (id, order) in self.orders.iter() {
            for (news, kind) in [(order.paid, "order.paid"), (order.cancelled, "order.cancelled")] {
                if news == News::Due {
                    problems.add(CHECK, format!("order {id}"), format!("has no event {kind}"));
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
            let detail = format!("is missing: event {} comes in its place", event.id);
            problems.add(CHECK, format!("event {due}"), detail);
        }
    }

    /// Epochs come after the events, by the first event of each.
    fn epoch(&mut self, epoch: &Epoch, problems: &mut Problems) {
        let first = epoch.first_event.get();
        let mut wrong = |detail| problems.add(CHECK, format!("epoch {first}"), detail);
        if self.epochs.is_empty() && first != 1 {
            wrong("is the first one and leaves events before it without a public id".to_owned());
        }
        let next = self.last.saturating_add(1);
        if first > next {
            wrong(format!("begins behind the next event, {next}"));
        }
        if !self.epochs.insert(epoch.name.clone()) {
            wrong(
                "has the name of another epoch, so that two events have one public id".to_owned(),
            );
        }
    }

    fn event(&mut self, event: &EventRow, problems: &mut Problems) {
        let id = event.order_id;
        let mut wrong = |detail| problems.add(CHECK, format!("event {}", event.id), detail);
        let Some(order) = self.orders.get_mut(id) else {
            return wrong(format!("is about order {id}, which does not exist"));
        };
        let (news, happened, at) = match event.kind {
            EventKind::OrderPaid => (&mut order.paid, "was paid", order.paid_at),
            EventKind::OrderCancelled => {
                (&mut order.cancelled, "was cancelled after it was paid", order.cancelled_at)
            }
        };
        if *news == News::Due && at != Some(event.created_at) {
            let (is, should) = (event.created_at, shown(at));
            wrong(format!("is of {is} and order {id} {happened} at {should}"));
        }
        match *news {
            News::Due => *news = News::Told,
            News::Told => wrong(format!("tells again that order {id} {happened}")),
            News::None => wrong(format!("tells that order {id} {happened}, which is not so")),
        }
    }
}

impl OrderFacts {
    fn of(order: &Order) -> Self {
        let due_if = |due| if due { News::Due } else { News::None };
        let was_paid = order.paid_at.is_some();
        let was_cancelled = was_paid && order.status == OrderStatus::Cancelled;
        let Order { paid_at, cancelled_at, .. } = *order;
        Self { paid: due_if(was_paid), cancelled: due_if(was_cancelled), paid_at, cancelled_at }
    }
}
