//! `commerce events`: what the outside is told of orders.

use crate::desk::Desk;
use crate::failure::Failure;
use crate::table::Rows;
use crate::values::PageArgs;
use commerce_core::{Event, EventKind};

/// Shows what the outside is told of orders.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Events {
    /// Lists the events, oldest first.
    List {
        #[command(flatten)]
        page: PageArgs,
    },
}

impl Events {
    pub(crate) fn run(self, desk: &Desk) -> Result<(), Failure> {
        let Self::List { page } = self;
        desk.list(&page, |page| desk.shop.events(page), |rows| events(desk, rows))
    }
}

fn events(desk: &Desk, events: &[Event]) -> String {
    let head = [">id", "when", "what", ">order", ">customer", &desk.head("total")];
    Rows::new(head, "nothing has happened")
        .each(events, |event| {
            let what = match event.kind {
                EventKind::OrderPaid => "order paid",
                EventKind::OrderCancelled => "order cancelled",
            };
            [
                event.id.to_string(),
                event.created_at.to_string(),
                what.to_owned(),
                event.order_id.to_string(),
                event.data.customer_id.to_string(),
                desk.number(event.data.total),
            ]
        })
        .text()
}
