//! `commerce charge` and `commerce debit`: moving money onto a balance, and off it.

use crate::desk::Desk;
use crate::failure::Failure;
use crate::values::{self, KeyArg};
use commerce_core::{ChargeBalance, CustomerId, DebitBalance, Money};

/// Puts money onto a customer's balance.
#[derive(clap::Args, Debug)]
pub(crate) struct Charge {
    /// The customer's id.
    #[arg(value_parser = values::id::<CustomerId>)]
    customer: CustomerId,
    /// How much, in minor units: 1250 is 12.50 USD.
    #[arg(value_parser = values::amount, allow_negative_numbers = true)]
    amount: Money,
    #[command(flatten)]
    key: KeyArg,
}

impl Charge {
    pub(crate) fn run(self, desk: &Desk) -> Result<(), Failure> {
        let request = ChargeBalance { customer_id: self.customer, amount: self.amount };
        let charge = desk.call(request, &self.key)?;
        desk.output.give(&charge, |charge| {
            let (amount, balance) = (desk.money(charge.amount), desk.money(charge.balance));
            format!("charged {amount}: the balance of customer {} is {balance}", charge.customer_id)
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
