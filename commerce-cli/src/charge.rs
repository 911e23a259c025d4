//! `commerce charge` and `commerce debit`: moving money onto a balance, and off it.

use crate::context::CommandContext;
use crate::error::CliError;
use crate::gateway::GatewayArgs;
use crate::values::{self, KeyArg};
use commerce_core::{ChargeStatus, CustomerId, DebitBalance, Money, NewCharge};

/// Puts money onto a customer's balance: at once, or once a payment gateway has collected it.
///
/// When the gateway gives no answer, the charge is pending: run again with the same key, or `commerce charges
/// settle`, asks the gateway again, and nothing is collected twice.
#[derive(clap::Args, Debug)]
pub(crate) struct Charge {
    /// The customer's id.
    #[arg(value_parser = values::id::<CustomerId>)]
    customer: CustomerId,
    /// How much, in minor units: 1250 is 12.50 USD.
    #[arg(value_parser = values::amount, allow_negative_numbers = true)]
    amount: Money,
    /// What the gateway is to take it from, as it names it.
    #[arg(long, value_name = "ID")]
    payment_method: Option<String>,
    #[command(flatten)]
    key: KeyArg,
    #[command(flatten)]
    pub(crate) gateway: GatewayArgs,
}

impl Charge {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), CliError> {
        let Self { customer, amount, payment_method, key, .. } = self;
        let request = NewCharge { customer_id: customer, amount, payment_method };
        let mut used = String::new();
        let charge = context.call_with_key(&key, |made| {
            made.as_str().clone_into(&mut used);
            // Whoever stops it while the gateway is asked is to ask again, and not for a second charge.
            if context.shop.has_gateway() && !key.is_given() {
                context.output.warn(format_args!("asking the gateway with --key {used}"));
            }
            context.shop.charge_from(&request, made)
        })?;
        let amount = context.money(charge.amount);
        if charge.status == ChargeStatus::Pending {
            let told = format!(
                "charge {} of {amount} is pending, the gateway has not answered: ask again with --key {used}, \
                 or with commerce charges settle",
                charge.id
            );
            context.output.note_json_only(&told);
            return context.output.print(&charge, |_| told);
        }
        context.output.print(&charge, |charge| {
            let balance = context.money(charge.balance);
            format!("charged {amount}: the balance of customer {customer} is {balance}")
        })
    }
}

/// Uses money from a customer's balance outside an order.
#[derive(clap::Args, Debug)]
pub(crate) struct Debit {
    /// The customer's id.
    #[arg(value_parser = values::id::<CustomerId>)]
    customer: CustomerId,
    /// How much, in minor units: 1250 is 12.50 USD.
    #[arg(value_parser = values::amount, allow_negative_numbers = true)]
    amount: Money,
    /// A remark for the ledger.
    #[arg(long)]
    note: Option<String>,
    #[command(flatten)]
    key: KeyArg,
}

impl Debit {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), CliError> {
        let request =
            DebitBalance { customer_id: self.customer, amount: self.amount, note: self.note };
        let debit = context.call(request, &self.key)?;
        context.output.print(&debit, |debit| {
            let (amount, balance) = (context.money(debit.amount), context.money(debit.balance));
            format!("debited {amount}: the balance of customer {} is {balance}", debit.customer_id)
        })
    }
}
