//! `commerce charges`: pending charges, which the gateway has not answered.

use crate::context::CommandContext;
use crate::error::CliError;
use crate::gateway::GatewayArgs;
use crate::table::TextTable;
use crate::values::PageArgs;
use commerce_core::{CancellationToken, Charge};

/// Lists and settles pending charges, which the gateway has not answered.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum ChargesCommand {
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
