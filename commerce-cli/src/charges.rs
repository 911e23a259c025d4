//! `commerce charges`: charges whose gateway has not answered.

use crate::context::CommandContext;
use crate::error::CliError;
use crate::gateway::GatewayArgs;
use crate::table::Rows;
use crate::values::PageArgs;
use commerce_core::Charge;

/// Shows charges whose gateway has not answered, and asks it again.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Charges {
    /// Lists the charges whose gateway has not answered, by customer.
    Pending {
        #[command(flatten)]
        page: PageArgs,
    },
    /// Asks the gateway about every pending charge, and writes down what it did. `serve` does so by itself.
    Settle {
        #[command(flatten)]
        gateway: GatewayArgs,
    },
}

impl Charges {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), CliError> {
        match self {
            Self::Pending { page } => context.list(
                &page,
                |page| context.shop.pending_charges(page),
                |rows| pending(context, rows),
            ),
            Self::Settle { .. } if !context.shop.has_gateway() => {
                Err(CliError::usage("say which gateway is to be asked: --gateway stripe, for one"))
            }
            Self::Settle { .. } => {
                let settled = context.shop.settle_charges(0, &|| true)?;
                context.output.print(&settled, ToString::to_string)
            }
        }
    }
}

fn pending(context: &CommandContext, charges: &[Charge]) -> String {
    let head = [">id", "since", ">customer", &context.head("amount")];
    Rows::new(head, "no charge is pending")
        .each(charges, |charge| {
            [
                charge.id.to_string(),
                charge.created_at.to_string(),
                charge.customer_id.to_string(),
                context.number(charge.amount),
            ]
        })
        .text()
}
