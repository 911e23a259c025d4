//! `commerce charge` and `commerce debit`: adding money to a balance, and taking it off.

use crate::context::CommandContext;
use crate::error::CliError;
use crate::gateway::GatewayArgs;
use crate::values::{self, KeyArg};
use commerce_core::{ChargeStatus, CustomerId, DebitBalance, Money, NewCharge};

#[derive(clap::Args, Debug)]
pub(crate) struct ChargeCommand {
    /// The customer's id.
    #[arg(value_parser = values::id::<CustomerId>)]
    customer: CustomerId,
    /// Amount in minor units: 1250 is 12.50 USD.
    #[arg(value_parser = values::amount, allow_negative_numbers = true)]
    amount: Money,
    /// Payment method to collect from: the gateway's id of it, like `pm_...`.
    #[arg(long, value_name = "ID")]
    payment_method: Option<String>,
    #[command(flatten)]
    key: KeyArg,
    #[command(flatten)]
    pub(crate) gateway: GatewayArgs,
}

impl ChargeCommand {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), CliError> {
        let Self { customer, amount, payment_method, key, .. } = self;
        let request = NewCharge { customer_id: customer, amount, payment_method };
        let mut used_key = String::new();
        let charge = context.call_with_key(&key, |used| {
            used.as_str().clone_into(&mut used_key);
            // A caller that interrupts the request to the gateway needs the key to repeat the same charge
            // instead of making a second one.
            if context.shop.has_gateway() && !key.is_given() {
                context.output.warn(format_args!("asking the gateway with --key {used_key}"));
            }
            context.shop.charge_from(&request, used)
        })?;
        let amount = context.money(charge.amount);
        if charge.status == ChargeStatus::Pending {
            let message = format!(
                "charge {} of {amount} is pending, the gateway has not answered: repeat with --key {used_key}, or \
                 run `commerce charges settle` with the same --gateway",
                charge.id
            );
            context.output.note_json_only(&message);
            return context.output.print(&charge, |_| message);
        }
        context.output.print(&charge, |charge| {
            let balance = context.money(charge.balance);
            format!("charged {amount}: the balance of customer {customer} is {balance}")
        })
    }
}

#[derive(clap::Args, Debug)]
pub(crate) struct DebitCommand {
    /// The customer's id.
    #[arg(value_parser = values::id::<CustomerId>)]
    customer: CustomerId,
    /// Amount in minor units: 1250 is 12.50 USD.
    #[arg(value_parser = values::amount, allow_negative_numbers = true)]
    amount: Money,
    /// Note for the ledger.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    #[command(flatten)]
    key: KeyArg,
}

impl DebitCommand {
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
