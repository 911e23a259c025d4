//! `commerce charge` and `commerce debit`: moving money onto a balance, and off it.

use crate::desk::Desk;
use crate::failure::Failure;
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
    pub(crate) fn run(self, desk: &Desk) -> Result<(), Failure> {
        let Self { customer, amount, payment_method, key, .. } = self;
        let request = NewCharge { customer_id: customer, amount, payment_method };
        let mut used = String::new();
        let charge = desk.ask(&key, |made| {
            made.as_str().clone_into(&mut used);
            // Whoever stops it while the gateway is asked is to ask again, and not for a second charge.
            if desk.shop.has_gateway() && !key.is_given() {
                desk.output.trouble(format_args!("asking the gateway with --key {used}"));
            }
            desk.shop.charge_from(&request, made)
        })?;
        let amount = desk.money(charge.amount);
        if charge.status == ChargeStatus::Pending {
            let told = format!(
                "charge {} of {amount} is pending, the gateway has not answered: ask again with --key {used}, \
                 or with commerce charges settle",
                charge.id
            );
            desk.output.note_to_programs(&told);
            return desk.output.give(&charge, |_| told);
        }
        desk.output.give(&charge, |charge| {
            let balance = desk.money(charge.balance);
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
    pub(crate) fn run(self, desk: &Desk) -> Result<(), Failure> {
        let request =
            DebitBalance { customer_id: self.customer, amount: self.amount, note: self.note };
        let debit = desk.call(request, &self.key)?;
        desk.output.give(&debit, |debit| {
            let (amount, balance) = (desk.money(debit.amount), desk.money(debit.balance));
            format!("debited {amount}: the balance of customer {} is {balance}", debit.customer_id)
        })
    }
}
