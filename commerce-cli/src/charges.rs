//! `commerce charges`: charges whose gateway has not answered.

use crate::desk::Desk;
use crate::failure::Failure;
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
    pub(crate) fn run(self, desk: &Desk) -> Result<(), Failure> {
        match self {
            Self::Pending { page } => {
                desk.list(&page, |page| desk.shop.pending_charges(page), |rows| pending(desk, rows))
            }
            Self::Settle { .. } if !desk.shop.has_gateway() => {
                Err(Failure::usage("say which gateway is to be asked: --gateway stripe, for one"))
            }
            Self::Settle { .. } => {
                let settled = desk.shop.settle_charges(0, &|| true)?;
                desk.output.give(&settled, ToString::to_string)
            }
        }
    }
}

fn pending(desk: &Desk, charges: &[Charge]) -> String {
    let head = [">id", "since", ">customer", &desk.head("amount")];
    Rows::new(head, "no charge is pending")
        .each(charges, |charge| {
            [
                charge.id.to_string(),
                charge.created_at.to_string(),
                charge.customer_id.to_string(),
                desk.number(charge.amount),
            ]
        })
        .text()
}
