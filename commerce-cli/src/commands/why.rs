//! `commerce why`: the explanation of an idempotency key.

use crate::context::CommandContext;
use crate::error::CliError;
use crate::table::{TextTable, properties};
use crate::values;
use commerce_core::{CustomerId, ExplainedShortage, Key, KeyExplanation};
use serde::Serialize;
use serde_json::Value;

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
    let mut head = vec![
        ("key", explained.key.to_string()),
        ("of", owner),
        ("at", explained.created_at.to_string()),
    ];
    head.extend(
        refusal.map(|refusal| ("refused", format!("{}: {}", refusal.code, refusal.detail))),
    );
    head.extend(explained.order_id.map(|id| ("order", id.to_string())));
    head.extend(explained.charge_id.map(|id| ("charge", id.to_string())));
    let mut parts = vec![properties(head)];
    for (title, value) in [("request", &explained.request), ("answer", &explained.answer)] {
        if let Some(value) = value {
            let mut lines = vec![title.to_owned()];
            members(value, 1, &mut lines);
            parts.push(lines.join("\n"));
        }
    }
    parts.extend(explained.shortages.iter().map(shortage));
    parts.join("\n\n")
}

/// Adds a line for each member that has a value, those of inner objects and lists indented.
fn members(value: &Value, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                match value {
                    Value::Null => {}
                    Value::Object(_) | Value::Array(_) => {
                        lines.push(format!("{indent}{name}"));
                        members(value, depth.saturating_add(1), lines);
                    }
                    Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                        lines.push(format!("{indent}{name} {}", plain(value)));
                    }
                }
            }
        }
        Value::Array(items) => {
            lines.extend(items.iter().map(|item| format!("{indent}{}", in_a_line(item))));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            lines.push(format!("{indent}{}", plain(value)));
        }
    }
}

/// An item of a list: `product_id 12, quantity 2`.
fn in_a_line(item: &Value) -> String {
    let object = match item {
        Value::Object(object) => object,
        Value::Array(items) => return items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return plain(item),
    };
    let members = object.iter().filter(|(_, value)| !value.is_null());
    members.map(|(name, value)| format!("{name} {}", plain(value))).collect::<Vec<_>>().join(", ")
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `1 unit`, `2 units`.
fn units(count: i64) -> String {
    format!("{count} {}", if count == 1 { "unit" } else { "units" })
}

fn shortage(shortage: &ExplainedShortage) -> String {
    let ExplainedShortage { product_id, requested, available, taken_by, removed_by, back, .. } =
        shortage;
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
    let removed = removed_by.iter().map(|row| {
        let by = row.actor.map(|actor| format!(", {actor}")).unwrap_or_default();
        format!("\n{} units by hand at {}: {}{by}", row.delta, row.created_at, row.reason)
    });
    let removed = removed.collect::<Vec<_>>().concat();
    let back = match back {
        None => "no units have come back since".to_owned(),
        Some(back) => {
            let of = back.order_id.map(|id| format!(", order {id}")).unwrap_or_default();
            format!("{} came back at {}: {}{of}", units(back.delta), back.created_at, back.reason)
        }
    };
    format!(
        "product {product_id} had {}, not {requested}; the last orders that took some:\n{table}{removed}\n{back}",
        units(*available)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn request_and_answer_are_lines_of_their_members() {
        let answer = json!({"order": {"id": 7, "reference": null, "status": "paid",
            "lines": [{"product_id": 12, "name": "Green tea"}, {"product_id": 10, "name": "Spoon"}]}});
        let mut lines = Vec::new();
        members(&answer, 1, &mut lines);
        let expected = [
            "  order",
            "    id 7",
            "    lines",
            "      name Green tea, product_id 12",
            "      name Spoon, product_id 10",
            "    status paid",
        ];
        assert_eq!(lines, expected);
        assert_eq!((units(1), units(0)), ("1 unit".to_owned(), "0 units".to_owned()));
    }
}
