//! `commerce balance`, `ledger` and `payments`: a customer's money, and how it came to be so.

use crate::context::CommandContext;
use crate::error::CliError;
use crate::table::{Rows, or_dash};
use crate::values::{self, PageArgs};
use commerce_core::{CustomerId, EntryKind, LedgerEntry, Payment, PaymentKind};

/// Shows a customer's balance.
#[derive(clap::Args, Debug)]
pub(crate) struct Balance {
    /// The customer's id.
    #[arg(value_parser = values::id::<CustomerId>)]
    customer: CustomerId,
}

impl Balance {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), CliError> {
        let balance = context.shop.balance(self.customer)?;
        context.output.print(&balance, |balance| context.money(balance.balance))
    }
}

/// Lists every movement of a customer's balance, newest first.
#[derive(clap::Args, Debug)]
pub(crate) struct Ledger {
    /// The customer's id.
    #[arg(value_parser = values::id::<CustomerId>)]
    customer: CustomerId,
    #[command(flatten)]
    page: PageArgs,
}

impl Ledger {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), CliError> {
        let read = |page: &_| context.shop.ledger(self.customer, page);
        context.list_priced(&self.page, read, |entries| ledger(context, entries))
    }
}

/// Lists a customer's payments and refunds of orders, newest first.
#[derive(clap::Args, Debug)]
pub(crate) struct Payments {
    /// The customer's id.
    #[arg(value_parser = values::id::<CustomerId>)]
    customer: CustomerId,
    #[command(flatten)]
    page: PageArgs,
}

impl Payments {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), CliError> {
        let read = |page: &_| context.shop.payments(self.customer, page);
        context.list_priced(&self.page, read, |rows| payments(context, rows))
    }
}

fn ledger(context: &CommandContext, entries: &[LedgerEntry]) -> String {
    let (amount, balance) = (context.head("amount"), context.head("balance"));
    let head = [">id", "when", "what", &amount, &balance, ">order", "note"];
    Rows::new(head, "nothing has moved on this balance")
        .each(entries, |entry| {
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
    let head = [">id", "when", "what", &context.head("amount"), ">order"];
    Rows::new(head, "no order was paid by this customer")
        .each(payments, |payment| {
            let what = match payment.kind {
                PaymentKind::Payment => "payment",
                PaymentKind::Refund => "refund",
            };
            let (id, when) = (payment.id.to_string(), payment.created_at.to_string());
            [
                id,
                when,
                what.to_owned(),
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
    }
}
