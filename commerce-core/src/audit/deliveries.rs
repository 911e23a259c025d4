//! Deliveries: each is of an event that the relay has reached, and only the first one of an order may be under way.

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
    fn visit(&mut self, record: &Record, problems: &mut Problems) {
        match record {
            Record::Event(event) => {
                self.newest = event.id.get();
                self.orders.push(event.id, event.order_id);
            }
            Record::NextEvent(next) => {
                self.next = next.get();
                let last = self.newest.saturating_add(1);
                if !(1..=last).contains(&self.next) {
                    let detail =
                        format!("continues with event {next}, and the events end before {last}");
                    problems.add(CHECK, "relay".to_owned(), detail);
                }
            }
            Record::Delivery(row) => {
                let mut report =
                    |detail| problems.add(CHECK, format!("event {}", row.event_id), detail);
                self.check_event(row, &mut report);
                check_fields(row, &mut report);
                self.check_order(row, &mut report);
            }
            _ => {}
        }
    }
}

impl Deliveries {
    fn check_event(&self, row: &DeliveryRow, report: &mut dyn FnMut(String)) {
        match self.orders.get(row.event_id) {
            None => report("is to be delivered and does not exist".to_owned()),
            Some(order) if *order != row.order_id => {
                report(format!("is of order {order}, and its delivery of order {}", row.order_id));
            }
            Some(_) => {}
        }
        if row.event_id.get() >= self.next {
            report(format!(
                "has a delivery before the relay has reached it: the relay is at {}",
                self.next
            ));
        }
    }

    /// Checks that later events of an order wait for the first one. Rows come in the order of events.
    fn check_order(&mut self, row: &DeliveryRow, report: &mut dyn FnMut(String)) {
        let is_parked = row.status == DeliveryStatus::Parked;
        let Some((first, first_is_parked)) = self.first.get(&row.order_id) else {
            self.first.insert(row.order_id, (row.event_id, is_parked));
            return;
        };
        if *first_is_parked != is_parked || !is_parked && row.due_at < Timestamp::MAX {
            report(format!("does not wait for event {first} of its order"));
        }
    }
}

fn check_fields(row: &DeliveryRow, report: &mut dyn FnMut(String)) {
    if row.token.is_some() != (row.status == DeliveryStatus::Sending) {
        report("must have a lease token while it is being sent, and none otherwise".to_owned());
    }
    if row.attempts < 0 {
        report(format!("was tried {} times", row.attempts));
    }
}
