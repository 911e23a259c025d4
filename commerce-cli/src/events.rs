//! `commerce events`: what the outside is told of orders.

use crate::args::ExitKind;
use crate::context::CommandContext;
use crate::error::CliError;
use crate::table::Rows;
use crate::values::{self, PageArgs};
use commerce_core::{DeliveryState, EventId, EventKind, PageRequest, TrackedEvent};
use relay::Relay;
use serde::Serialize;

pub(crate) mod relay;

/// Shows what the outside is told of orders, and tells it.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Events {
    /// Lists the events, oldest first, and how far the delivery of each has come.
    List {
        /// Only those that were given up after eleven tries.
        #[arg(long)]
        parked: bool,
        #[command(flatten)]
        page: PageArgs,
    },
    Relay(Relay),
    /// Lets parked events be sent again: these, or all of them. With an event go the other parked ones of
    /// its order.
    Retry {
        /// The events' ids.
        #[arg(value_name = "ID", value_parser = values::id::<EventId>)]
        events: Vec<EventId>,
    },
    /// Lets all events from one on be sent again, whatever became of them.
    Replay {
        /// The first event's id.
        #[arg(long, value_name = "ID", value_parser = values::id::<EventId>)]
        from: EventId,
    },
}

#[derive(Serialize)]
struct Returned {
    events: u64,
}

impl Events {
    pub(crate) fn run(self, context: &CommandContext) -> Result<ExitKind, CliError> {
        let shop = &context.shop;
        match self {
            Self::List { parked: false, page } => context.list_priced(
                &page,
                |page| shop.tracked_events(page),
                |rows| events(context, rows),
            ),
            Self::List { parked: true, page } => context.list_priced(
                &page,
                |page| shop.parked_events(page),
                |rows| events(context, rows),
            ),
            Self::Relay(relay) => return relay.run(context),
            Self::Retry { events } => {
                let wanted = Some(events).filter(|events| !events.is_empty());
                let are_named = wanted.is_some();
                let returned = shop.retry_events(wanted)?;
                if are_named && returned == 0 {
                    let told = "no event of that id is parked: see commerce events list --parked";
                    return Err(CliError::usage(told));
                }
                give_returned(context, returned)
            }
            Self::Replay { from } => {
                let one = PageRequest::of_events(1, from);
                if shop.tracked_events(&one)?.items.is_empty() {
                    let told = format!(
                        "there is no event {from}, nor any after it: see commerce events list"
                    );
                    return Err(CliError::usage(told));
                }
                give_returned(context, shop.replay_events(from)?)
            }
        }?;
        Ok(ExitKind::Success)
    }
}

fn give_returned(context: &CommandContext, events: u64) -> Result<(), CliError> {
    context.output.print(&Returned { events }, |_| match events {
        0 => "there is nothing to send again".to_owned(),
        1 => "1 event is to be sent again".to_owned(),
        events => format!("{events} events are to be sent again"),
    })
}

fn events(context: &CommandContext, events: &[TrackedEvent]) -> String {
    let head = [">id", "when", "what", ">order", ">customer", &context.head("total"), "delivery"];
    Rows::new(head, "there are no events")
        .each(events, |TrackedEvent { event, delivery }| {
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
                context.number(event.data.total),
                progress(delivery),
            ]
        })
        .text()
}

fn progress(delivery: &DeliveryState) -> String {
    let tried = |attempts: i64, error: &Option<String>| match (attempts, error) {
        (0, None) => String::new(),
        (0, Some(error)) => format!(": {error}"),
        (attempts, error) => {
            let error = error.as_deref().unwrap_or("failed");
            let tries = if attempts == 1 { "try" } else { "tries" };
            format!(" after {attempts} {tries}: {error}")
        }
    };
    match delivery {
        DeliveryState::Delivered => "delivered".to_owned(),
        DeliveryState::Sending { until, .. } => format!("sending, until {until}"),
        DeliveryState::Waiting { attempts: 0, .. } => "waiting".to_owned(),
        DeliveryState::Waiting { attempts, due_at, error } => {
            let from = due_at.map(|at| format!(" until {at}")).unwrap_or_default();
            format!("waiting{from}{}", tried(*attempts, error))
        }
        DeliveryState::Parked { attempts, error, .. } => {
            format!("parked{}", tried(*attempts, error))
        }
    }
}
