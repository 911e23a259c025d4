//! Rows of exports that no table of a store holds as they are.

use super::Export;
use crate::clock::Timestamp;
use crate::csv::Cell;
use crate::id::{CustomerId, OrderId, ProductId};
use crate::model::event::{Epoch, EventRow};
use crate::model::order::{Order, OrderLine, OrderStatus};
use crate::model::product::StockMovement;
use crate::model::stock_change::RETURN_OF_PART;
use crate::model::wallet::Customer;
use crate::money::Money;
use serde::Serialize;
use std::borrow::Cow;

/// A customer with the balance.
#[derive(Serialize)]
pub(super) struct CustomerRow {
    #[serde(flatten)]
    pub(super) customer: Customer,
    pub(super) balance: Money,
}

/// The beginning of the name that an order has by its id.
const NAME_BY_ID: &str = "id:";

impl Export {
    /// Returns true if a reference has the form of the name that an order without a reference has in an export, like
    /// `id:25`. An import of the order sets its reference to its name, so that it keeps its number in no other store: no
    /// two orders of an export then have the same one.
    #[must_use]
    pub fn is_name_by_id(reference: &str) -> bool {
        let digits = reference.strip_prefix(NAME_BY_ID).unwrap_or_default();
        !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit())
    }
}

/// A line of an order with its order, as imports read it.
pub(super) struct OrderRow<'a> {
    pub(super) order: &'a Order,
    pub(super) line: &'a OrderLine,
    /// The name of the order in the file: its reference, or else its id, like `id:25`.
    pub(super) name: Cow<'a, str>,
    is_first: bool,
}

impl<'a> OrderRow<'a> {
    pub(super) fn all_of(order: &'a Order) -> Vec<Self> {
        let is_kept = |reference: &&str| is_name(reference) && !Export::is_name_by_id(reference);
        let name = match order.reference.as_deref().filter(is_kept) {
            Some(reference) => Cow::Borrowed(reference),
            None => Cow::Owned(format!("{NAME_BY_ID}{}", order.id)),
        };
        let lines = order.lines.iter().enumerate();
        let row = |(index, line)| Self { order, line, name: name.clone(), is_first: index == 0 };
        lines.map(row).collect()
    }

    /// Returns a value of the whole order in the first row of the order, and nothing in the others.
    pub(super) fn first<'b>(&self, value: impl Into<Cell<'b>>) -> Cell<'b> {
        if self.is_first { value.into() } else { Cell::Absent }
    }
}

/// Returns true if imports accept a reference as the name of an order.
fn is_name(reference: &str) -> bool {
    !reference.is_empty() && reference.chars().all(|letter| letter.is_ascii_graphic())
}

/// A line of an order.
#[derive(Serialize)]
pub(super) struct LineRow<'a> {
    pub(super) order_id: OrderId,
    pub(super) customer_id: CustomerId,
    /// The position in the order, from 1.
    pub(super) position: usize,
    #[serde(flatten)]
    pub(super) line: &'a OrderLine,
    /// The amount less the line's share of the discount.
    pub(super) net: Money,
    pub(super) status: OrderStatus,
    pub(super) created_at: Timestamp,
    pub(super) paid_at: Option<Timestamp>,
    pub(super) cancelled_at: Option<Timestamp>,
    /// The units that were cancelled, by themselves or with the whole order.
    pub(super) cancelled_quantity: i64,
}

impl<'a> LineRow<'a> {
    pub(super) fn all_of(order: &'a Order) -> impl Iterator<Item = Self> {
        let lines = order.lines.iter().zip(order.line_nets()).zip(1..);
        lines.map(|((line, net), position)| Self {
            order_id: order.id,
            customer_id: order.customer_id,
            position,
            line,
            net,
            status: order.status,
            created_at: order.created_at,
            paid_at: order.paid_at,
            cancelled_at: order.cancelled_at,
            cancelled_quantity: order.cancelled_units(line.product_id),
        })
    }
}

/// A change of stock. The rows of a product add up to its stock.
#[derive(Serialize)]
pub(super) struct MovementRow<'a> {
    pub(super) product_id: ProductId,
    pub(super) delta: i64,
    pub(super) reason: Cow<'a, str>,
    pub(super) order_id: Option<OrderId>,
    pub(super) actor: Option<String>,
    pub(super) created_at: Timestamp,
}

impl<'a> MovementRow<'a> {
    pub(super) fn of_adjustment(row: &'a StockMovement) -> Self {
        Self {
            product_id: row.product_id,
            delta: row.delta,
            reason: Cow::Borrowed(&row.reason),
            order_id: None,
            actor: row.actor.map(|actor| actor.to_string()),
            created_at: row.created_at,
        }
    }

    /// Returns the units that an order took, and then those that it gave back.
    pub(super) fn all_of_order(order: &'a Order) -> impl Iterator<Item = Self> {
        let given_back = match order.status {
            OrderStatus::Pending | OrderStatus::Paid => None,
            OrderStatus::Cancelled => order.cancelled_at.map(|at| ("order cancelled", at)),
            // The hold ends at that instant, whenever the sweep writes it.
            OrderStatus::Expired => order.expires_at.map(|at| ("order expired", at)),
        };
        let taken = order.lines.iter().map(|line| {
            let units = line.quantity.saturating_neg();
            Self::of_line(order, line, units, "ordered", order.created_at)
        });
        let parts = order.cancellations.iter().filter(|row| row.is_restock()).map(|row| {
            Self::of_product(order, row.product_id, row.units, RETURN_OF_PART, row.created_at)
        });
        let given_back = given_back.into_iter().flat_map(move |(reason, at)| {
            let left = order.remainders().into_iter().filter(|left| left.units > 0);
            left.map(move |left| Self::of_line(order, left.line, left.units, reason, at))
        });
        taken.chain(parts).chain(given_back)
    }

    fn of_line(
        order: &Order,
        line: &OrderLine,
        delta: i64,
        reason: &'static str,
        created_at: Timestamp,
    ) -> Self {
        Self::of_product(order, line.product_id, delta, reason, created_at)
    }

    fn of_product(
        order: &Order,
        product_id: ProductId,
        delta: i64,
        reason: &'static str,
        created_at: Timestamp,
    ) -> Self {
        let order_id = Some(order.id);
        let (reason, actor) = (Cow::Borrowed(reason), None);
        Self { product_id, delta, reason, order_id, actor, created_at }
    }
}

/// An event without its order.
pub(super) struct EventLine {
    pub(super) event: EventRow,
    pub(super) public_id: String,
}

impl EventLine {
    pub(super) fn new(event: EventRow, epochs: &[Epoch]) -> Self {
        let public_id = Epoch::public_id(epochs, event.id);
        Self { event, public_id }
    }
}
