//! `commerce charges`: charges, and those that the gateway has not answered.

use crate::context::CommandContext;
use crate::error::CliError;
use crate::gateway::GatewayArgs;
use crate::table::TextTable;
use crate::values::{self, PageArgs};
use commerce_core::{CancellationToken, Charge, ChargeFilter, ChargeStatus, CustomerId};

/// Lists charges, and settles pending ones, which the gateway has not answered.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum ChargesCommand {
    /// Lists charges, newest first. Filters combine.
    List {
        /// Present status.
        #[arg(long, value_parser = values::words(ChargeStatus::ALL, ChargeStatus::as_str))]
        status: Option<ChargeStatus>,
        /// Only charges of this customer.
        #[arg(long, value_name = "ID", value_parser = values::id::<CustomerId>)]
        customer: Option<CustomerId>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Lists the pending charges, by customer.
    Pending {
        #[command(flatten)]
        page: PageArgs,
    },
    /// Queries the gateway about every pending charge, and records the outcomes. `serve` does this by itself.
    Settle {
        #[command(flatten)]
        gateway: GatewayArgs,
    },
}

impl ChargesCommand {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), CliError> {
        match self {
            Self::List { status, customer: customer_id, page } => {
                let filter = ChargeFilter { customer_id, status };
                let read = |page: &_| context.shop.list_charges(&filter, page);
                context.search(&page, read, |rows| charges(context, rows))
            }
            Self::Pending { page } => context.list(
                &page,
                |page| context.shop.pending_charges(page),
                |rows| pending(context, rows),
            ),
            Self::Settle { .. } if !context.shop.has_gateway() => {
                Err(CliError::usage("no gateway selected: name one, for example --gateway stripe"))
            }
            Self::Settle { .. } => {
                let summary = context.shop.settle_charges(0, &CancellationToken::default())?;
                context.output.print(&summary, ToString::to_string)
            }
        }
    }
}

fn charges(context: &CommandContext, charges: &[Charge]) -> String {
    let headers = [">id", "at", ">customer", &context.head("amount"), "status", "~failure"];
    TextTable::new(headers, "no charges")
        .rows(charges, |charge| {
            [
                charge.id.to_string(),
                charge.created_at.to_string(),
                charge.customer_id.to_string(),
                context.number(charge.amount),
                charge.status.to_string(),
                charge.failure.clone().unwrap_or_default(),
            ]
        })
        .text()
}

fn pending(context: &CommandContext, charges: &[Charge]) -> String {
    let headers = [">id", "since", ">customer", &context.head("amount")];
    TextTable::new(headers, "no charge is pending")
        .rows(charges, |charge| {
            [
                charge.id.to_string(),
                charge.created_at.to_string(),
                charge.customer_id.to_string(),
                context.number(charge.amount),
            ]
        })
        .text()
}
