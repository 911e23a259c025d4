//! Deliveries: each is of an event that was taken up, and of an order only the first may be sent.

use super::Check;
use super::by_id::ById;
use super::problems::Problems;
use crate::clock::Timestamp;
use crate::id::{EventId, OrderId};
use crate::model::delivery::{DeliveryRow, DeliveryStatus};
use crate::store::Record;
use std::collections::HashMap;

const CHECK: &str = "deliveries";

#[derive(Default)]
pub(super) struct Deliveries {
    orders: ById<EventId, OrderId>,
    next: i64,
    newest: i64,
    /// The first event of an order that has not arrived, and whether it is parked.
    first: HashMap<OrderId, (EventId, bool)>,
}

impl Check for Deliveries {
    fn see(&mut self, record: &Record, problems: &mut Problems) {
        match record {
            Record::Event(event) => {
                self.newest = event.id.get();
                self.orders.push(event.id, event.order_id);
            }
            Record::NextEvent(next) => {
                self.next = next.get();
                let last = self.newest.saturating_add(1);
                if !(1..=last).contains(&self.next) {
                    let detail = format!("goes on with event {next} and has events up to {last}");
                    problems.add(CHECK, "relay".to_owned(), detail);
                }
            }
            Record::Delivery(row) => {
                let mut wrong =
                    |detail| problems.add(CHECK, format!("event {}", row.event_id), detail);
                self.event(row, &mut wrong);
                form(row, &mut wrong);
                self.turn(row, &mut wrong);
            }
            _ => {}
        }
    }
}

impl Deliveries {
    fn event(&self, row: &DeliveryRow, wrong: &mut dyn FnMut(String)) {
        match self.orders.get(row.event_id) {
            None => wrong("is to be delivered and does not exist".to_owned()),
            Some(order) if *order != row.order_id => wrong(format!(
                "is of order {order} and to be delivered as one of order {}",
                row.order_id
            )),
            Some(_) => {}
        }
        if row.event_id.get() >= self.next {
            wrong(format!("is being delivered before the relay has come to it, at {}", self.next));
        }
    }

    /// Rows come by event, so that of an order the first one is seen first.
    fn turn(&mut self, row: &DeliveryRow, wrong: &mut dyn FnMut(String)) {
        let is_parked = row.status == DeliveryStatus::Parked;
        let Some((first, first_is_parked)) = self.first.get(&row.order_id) else {
            self.first.insert(row.order_id, (row.event_id, is_parked));
            return;
        };
        if *first_is_parked != is_parked || !is_parked && row.due_at < Timestamp::MAX {
            wrong(format!("does not wait for event {first} of its order"));
        }
    }
}

fn form(row: &DeliveryRow, wrong: &mut dyn FnMut(String)) {
    if row.token.is_some() != (row.status == DeliveryStatus::Sending) {
        wrong("must be of a relay while it is being sent, and of none otherwise".to_owned());
    }
    if row.attempts < 0 {
        wrong(format!("was tried {} times", row.attempts));
    }
}
