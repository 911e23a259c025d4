//! `commerce events`: order events in the outbox, and their delivery.

use crate::context::CommandContext;
use crate::error::CliError;
use crate::exit::ExitKind;
use crate::table::TextTable;
use crate::values::{self, PageArgs};
use commerce_core::{DeliveryState, EventId, PageRequest, TrackedEvent};
use relay::RelayCommand;
use serde::Serialize;

pub(crate) mod relay;

/// Lists order events and delivers them.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum EventsCommand {
    /// Lists the events, oldest first, with the state of their delivery.
    List {
        /// Lists parked events (dead letters) only, which failed eleven attempts.
        #[arg(long)]
        parked: bool,
        #[command(flatten)]
        page: PageArgs,
    },
    Relay(RelayCommand),
    /// Queues parked events for delivery again: the given ones, or all. The other parked events of the same
    /// order are queued too.
    Retry {
        /// Event ids.
        #[arg(value_name = "ID", value_parser = values::id::<EventId>)]
        events: Vec<EventId>,
    },
    /// Queues all events from one id on for delivery again, including delivered ones.
    Replay {
        /// Id of the first event.
        #[arg(long, value_name = "ID", value_parser = values::id::<EventId>)]
        from: EventId,
    },
}

#[derive(Serialize)]
struct RequeueReport {
    events: u64,
}

impl EventsCommand {
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
                let ids = Some(events).filter(|events| !events.is_empty());
                let has_ids = ids.is_some();
                let requeued = shop.retry_events(ids)?;
                if has_ids && requeued == 0 {
                    return Err(CliError::usage(
                        "no event with that id is parked: see commerce events list --parked",
                    ));
                }
                print_requeued(context, requeued)
            }
            Self::Replay { from } => {
                let first = PageRequest::of_events(1, from);
                if shop.tracked_events(&first)?.items.is_empty() {
                    return Err(CliError::usage(format!(
                        "there is no event {from} or later: see commerce events list"
                    )));
                }
                print_requeued(context, shop.replay_events(from)?)
            }
        }?;
        Ok(ExitKind::Success)
    }
}

fn print_requeued(context: &CommandContext, events: u64) -> Result<(), CliError> {
    context.output.print(&RequeueReport { events }, |_| match events {
        0 => "no events to send again".to_owned(),
        1 => "1 event queued to be sent again".to_owned(),
        events => format!("{events} events queued to be sent again"),
    })
}

fn events(context: &CommandContext, events: &[TrackedEvent]) -> String {
    let headers =
        [">id", "time", "event", ">order", ">customer", &context.head("total"), "delivery"];
    TextTable::new(headers, "no events")
        .rows(events, |TrackedEvent { event, delivery, .. }| {
            [
                event.id.to_string(),
                event.created_at.to_string(),
                event.kind.as_str().replace(['.', '_'], " "),
                event.order_id.to_string(),
                event.data.customer_id.to_string(),
                context.number(event.data.total),
                delivery_text(delivery),
            ]
        })
        .text()
}

fn delivery_text(delivery: &DeliveryState) -> String {
    let failure = |attempts: i64, error: &Option<String>| match (attempts, error) {
        (0, None) => String::new(),
        (0, Some(error)) => format!(": {error}"),
        (attempts, error) => {
            let error = error.as_deref().unwrap_or("failed");
            let noun = if attempts == 1 { "attempt" } else { "attempts" };
            format!(" after {attempts} {noun}: {error}")
        }
    };
    match delivery {
        DeliveryState::Delivered => "delivered".to_owned(),
        DeliveryState::Sending { until, .. } => format!("sending, until {until}"),
        DeliveryState::Waiting { attempts: 0, .. } => "waiting".to_owned(),
        DeliveryState::Waiting { attempts, due_at, error } => {
            let until = due_at.map(|at| format!(" until {at}")).unwrap_or_default();
            format!("waiting{until}{}", failure(*attempts, error))
        }
        DeliveryState::Parked { attempts, error, .. } => {
            format!("parked{}", failure(*attempts, error))
        }
    }
}
