//! `commerce why`: the explanation of an idempotency key.

use crate::context::CommandContext;
use crate::error::CliError;
use crate::table::{TextTable, or_dash, properties};
use crate::values;
use commerce_core::{CustomerId, ExplainedShortage, Key, KeyExplanation};
use serde::Serialize;

/// Explains an idempotency key: the request that it was used for, the answer or the refusal with its numbers, and
/// the order or charge that it made.
///
/// For a refusal for want of stock, the orders that took the last units before it, and when units came back.
#[derive(clap::Args, Debug)]
pub(crate) struct WhyCommand {
    /// The key.
    #[arg(value_parser = values::key)]
    key: Key,
    /// Only the use by this customer (default: all uses).
    #[arg(long, value_name = "ID", value_parser = values::id::<CustomerId>)]
    customer: Option<CustomerId>,
}

#[derive(Serialize)]
struct Explanations {
    items: Vec<KeyExplanation>,
}

impl WhyCommand {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), CliError> {
        let items = context.shop.explain_key(&self.key, self.customer)?;
        context.print(Explanations { items }, |body| match body.items.as_slice() {
            [] => "no call has used this key, or only one that bound no answer to it".to_owned(),
            items => items.iter().map(text).collect::<Vec<_>>().join("\n\n"),
        })
    }
}

fn text(explained: &KeyExplanation) -> String {
    let owner =
        explained.customer_id.map_or_else(|| "the shop".to_owned(), |id| format!("customer {id}"));
    let refusal = explained.refusal.as_ref();
    let outcome = refusal.map_or_else(
        || or_dash(explained.answer.as_ref()),
        |refusal| format!("{}: {}", refusal.code, refusal.detail),
    );
    let mut parts = vec![properties([
        ("key", explained.key.to_string()),
        ("of", owner),
        ("at", explained.created_at.to_string()),
        ("request", or_dash(explained.request.as_ref())),
        (if refusal.is_some() { "refused" } else { "answer" }, outcome),
        ("order", or_dash(explained.order_id)),
        ("charge", or_dash(explained.charge_id)),
    ])];
    parts.extend(explained.shortages.iter().map(shortage));
    parts.join("\n\n")
}

fn shortage(shortage: &ExplainedShortage) -> String {
    let ExplainedShortage { product_id, requested, available, taken_by, back, .. } = shortage;
    let table = TextTable::new(
        [">order", ">customer", ">units", "placed", "status"],
        "no order had taken units",
    )
    .rows(taken_by, |taker| {
        [
            taker.order_id.to_string(),
            taker.customer_id.to_string(),
            taker.quantity.to_string(),
            taker.created_at.to_string(),
            taker.status.to_string(),
        ]
    })
    .text();
    let back = match back {
        None => "no units have come back since".to_owned(),
        Some(back) => {
            let of = back.order_id.map(|id| format!(", order {id}")).unwrap_or_default();
            format!("{} units came back at {}: {}{of}", back.delta, back.created_at, back.reason)
        }
    };
    format!(
        "product {product_id} had {available} units, not {requested}; the last orders that took some:\n{table}\n{back}"
    )
}
