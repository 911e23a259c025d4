//! `commerce charges`: charges, their refunds, and those that the gateway has not answered.

use crate::context::CommandContext;
use crate::error::CliError;
use crate::exit::ExitKind;
use crate::gateway::GatewayArgs;
use crate::table::TextTable;
use crate::values::{self, KeyArg, PageArgs};
use commerce_core::{
    CancellationToken, Charge, ChargeFilter, ChargeId, ChargeStatus, CustomerId, Money, NewRefund,
    Refund, RefundKind, RefundStatus,
};

/// Lists and refunds charges, and settles pending ones, which the gateway has not answered.
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
    /// Queries the gateway about every pending charge and refund, and records the outcomes. `serve` does this by itself.
    Settle {
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    Refund(RefundArgs),
    /// Lists the refunds and disputes of a charge, oldest first.
    Refunds {
        /// The charge's id.
        #[arg(value_parser = values::id::<ChargeId>)]
        id: ChargeId,
        #[command(flatten)]
        page: PageArgs,
    },
}

/// Pays money of a charge back to its payer. It leaves the balance at once; only money that is there is paid back.
///
/// If the gateway does not answer, the refund is pending. Repeat the command with the same key, or run
/// `commerce charges settle`, to query the gateway again: the money is paid back only once. If the gateway declines,
/// the money is back on the balance, and the exit status is 3.
#[derive(clap::Args, Debug)]
pub(crate) struct RefundArgs {
    /// The charge's id.
    #[arg(value_parser = values::id::<ChargeId>)]
    id: ChargeId,
    /// Amount in minor units (default: all of the charge that was not paid back).
    #[arg(long, value_parser = values::amount, allow_negative_numbers = true)]
    amount: Option<Money>,
    #[command(flatten)]
    key: KeyArg,
    #[command(flatten)]
    pub(crate) gateway: GatewayArgs,
}

impl RefundArgs {
    fn run(self, context: &CommandContext) -> Result<ExitKind, CliError> {
        let Self { id, amount, key, .. } = self;
        let request = NewRefund { charge_id: id, customer_id: None, amount };
        let (mut used_key, mut reason) = (String::new(), String::new());
        let refund = context.call_with_key(&key, |used| {
            used.as_str().clone_into(&mut used_key);
            // As for a charge: the key repeats the same refund instead of making a second one.
            if context.shop.has_gateway() && !key.is_given() {
                context.output.warn(format_args!("asking the gateway with --key {used_key}"));
            }
            context.shop.refund_charge(None, &request, used, &mut |why| {
                why.clone_into(&mut reason);
            })
        })?;
        let amount = context.money(refund.amount);
        match refund.status {
            RefundStatus::Succeeded => {
                let charge = context.shop.charge_of(refund.customer_id, id)?;
                context.output.print(&refund, |refund| {
                    let balance = context.money(refund.balance);
                    let left = context.money(refundable(&charge));
                    format!(
                        "paid back {amount} of charge {id}, {left} of it can still be paid back: the balance of \
                         customer {} is {balance}",
                        refund.customer_id
                    )
                })?;
                Ok(ExitKind::Success)
            }
            RefundStatus::Pending => {
                let message = format!(
                    "refund {} of {amount} is pending, {reason}: repeat with --key {used_key}, or run `commerce \
                     charges settle`, both with the --gateway that collected the charge",
                    refund.id
                );
                context.output.note_json_only(&message);
                context.output.print(&refund, |_| message)?;
                Ok(ExitKind::Success)
            }
            RefundStatus::Failed => {
                context.output.print(&refund, |refund| {
                    let why = refund.failure.as_deref().unwrap_or("no reason given");
                    format!(
                        "refund {} of {amount} was declined ({why}): the money is back on the balance of customer {}",
                        refund.id, refund.customer_id
                    )
                })?;
                Ok(ExitKind::Declined)
            }
        }
    }
}

/// Returns the amount of a charge that was neither paid back nor disputed.
fn refundable(charge: &Charge) -> Money {
    let rest = charge.amount.checked_sub(charge.refunded);
    let rest = rest.and_then(|rest| rest.checked_sub(charge.disputed));
    rest.unwrap_or_default().max(Money::ZERO)
}

impl ChargesCommand {
    pub(crate) fn run(self, context: &CommandContext) -> Result<ExitKind, CliError> {
        match self {
            Self::Refund(refund) => return refund.run(context),
            Self::Refunds { id, page } => context.list(
                &page,
                |page| context.shop.refunds(id, None, page),
                |rows| refunds(context, rows),
            ),
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
        }?;
        Ok(ExitKind::Success)
    }
}

fn charges(context: &CommandContext, charges: &[Charge]) -> String {
    let (amount, refunded) = (context.head("amount"), context.head("refunded"));
    let disputed = context.head("disputed");
    let headers = [">id", "at", ">customer", &amount, "status", &refunded, &disputed, "~failure"];
    TextTable::new(headers, "no charges")
        .rows(charges, |charge| {
            [
                charge.id.to_string(),
                charge.created_at.to_string(),
                charge.customer_id.to_string(),
                context.number(charge.amount),
                charge.status.to_string(),
                context.number(charge.refunded),
                context.number(charge.disputed),
                charge.failure.clone().unwrap_or_default(),
            ]
        })
        .hide_if(5, charges.iter().all(|charge| charge.refunded == Money::ZERO))
        .hide_if(6, charges.iter().all(|charge| charge.disputed == Money::ZERO))
        .text()
}

fn refunds(context: &CommandContext, refunds: &[Refund]) -> String {
    let headers = [">id", "at", "kind", &context.head("amount"), "status", "~failure"];
    TextTable::new(headers, "nothing of this charge was paid back or disputed")
        .rows(refunds, |refund| {
            let kind = match refund.kind {
                RefundKind::Requested => "refund",
                RefundKind::Outside => "refund at the gateway",
                RefundKind::Dispute => "dispute",
            };
            [
                refund.id.to_string(),
                refund.created_at.to_string(),
                kind.to_owned(),
                context.number(refund.amount),
                refund.status.to_string(),
                refund.failure.clone().unwrap_or_default(),
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
