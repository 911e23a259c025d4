//! `commerce balance`, `ledger` and `payments`: the balance of a customer and its history.

use crate::context::CommandContext;
use crate::error::CliError;
use crate::table::{TextTable, or_dash};
use crate::values::{self, PageArgs};
use commerce_core::{CustomerId, EntryKind, LedgerEntry, Money, Payment, PaymentKind};

#[derive(clap::Args, Debug)]
pub(crate) struct BalanceCommand {
    /// The customer's id.
    #[arg(value_parser = values::id::<CustomerId>)]
    customer: CustomerId,
}

impl BalanceCommand {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), CliError> {
        let balance = context.shop.balance(self.customer)?;
        context.output.print(&balance, |balance| {
            let money = context.money(balance.balance);
            if balance.debt == Money::ZERO {
                return money;
            }
            format!(
                "{money}, and a debt of {}, which later charges pay",
                context.money(balance.debt)
            )
        })
    }
}

#[derive(clap::Args, Debug)]
pub(crate) struct LedgerCommand {
    /// The customer's id.
    #[arg(value_parser = values::id::<CustomerId>)]
    customer: CustomerId,
    #[command(flatten)]
    page: PageArgs,
}

impl LedgerCommand {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), CliError> {
        let read = |page: &_| context.shop.ledger(self.customer, page);
        context.list_priced(&self.page, read, |entries| ledger(context, entries))
    }
}

#[derive(clap::Args, Debug)]
pub(crate) struct PaymentsCommand {
    /// The customer's id.
    #[arg(value_parser = values::id::<CustomerId>)]
    customer: CustomerId,
    #[command(flatten)]
    page: PageArgs,
}

impl PaymentsCommand {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), CliError> {
        let read = |page: &_| context.shop.payments(self.customer, page);
        context.list_priced(&self.page, read, |rows| payments(context, rows))
    }
}

fn ledger(context: &CommandContext, entries: &[LedgerEntry]) -> String {
    let (amount, balance) = (context.head("amount"), context.head("balance"));
    let headers = [">id", "time", "kind", &amount, &balance, ">order", "note"];
    TextTable::new(headers, "this balance has not changed yet")
        .rows(entries, |entry| {
            [
                entry.id.to_string(),
                entry.created_at.to_string(),
                kind(entry.kind).to_owned(),
                context.number(entry.amount),
                context.number(entry.balance_after),
                or_dash(entry.order_id),
                entry.note.clone().unwrap_or_default(),
            ]
        })
        .text()
}

fn payments(context: &CommandContext, payments: &[Payment]) -> String {
    let headers = [">id", "time", "kind", &context.head("amount"), ">order"];
    TextTable::new(headers, "this customer has no payments")
        .rows(payments, |payment| {
            let kind = match payment.kind {
                PaymentKind::Payment => "payment",
                PaymentKind::Refund => "refund",
            };
            [
                payment.id.to_string(),
                payment.created_at.to_string(),
                kind.to_owned(),
                context.number(payment.amount),
                payment.order_id.to_string(),
            ]
        })
        .text()
}

fn kind(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::Charge => "charge",
        EntryKind::Debit => "debit",
        EntryKind::Payment => "payment",
        EntryKind::Refund => "refund",
        EntryKind::ChargeRefund => "charge refund",
        EntryKind::Chargeback => "chargeback",
        EntryKind::Debt => "debt",
    }
}
