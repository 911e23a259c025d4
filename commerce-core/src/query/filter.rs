//! Filters of lists. All conditions of a filter must hold.

use crate::clock::Timestamp;
use crate::error::Refusal;
use crate::id::{CouponId, CustomerId, ProductId};
use crate::model::order::{Order, OrderStatus};
use crate::model::product::{Product, ProductStatus};
use crate::model::wallet::{ChargeRow, ChargeStatus, Customer};
use crate::text;
use serde::{Deserialize, Serialize};

/// A filter of orders. The default one selects all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OrderFilter {
    /// The customer.
    pub customer_id: Option<CustomerId>,
    /// The present status.
    pub status: Option<OrderStatus>,
    /// The instant right before the window in which the order was placed.
    pub from: Option<Timestamp>,
    /// The last second of that window.
    pub to: Option<Timestamp>,
    /// A product of the order.
    pub product_id: Option<ProductId>,
    /// The order number of another system.
    pub reference: Option<String>,
    /// The campaign of the coupon that the order uses or has used.
    pub coupon_id: Option<CouponId>,
}

impl OrderFilter {
    /// Refuses a window that is empty.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        match (self.from, self.to) {
            (Some(from), Some(to)) if from >= to => {
                let detail = format!("from is {from} and must be before to, which is {to}");
                Err(Refusal::invalid("/from", detail))
            }
            _ => Ok(()),
        }
    }

    /// Returns true if an order matches; `coupon` is the campaign of its coupon.
    #[must_use]
    pub fn matches(&self, order: &Order, coupon: Option<CouponId>) -> bool {
        let Self { customer_id, status, from, to, product_id, reference, coupon_id } = self;
        customer_id.is_none_or(|id| order.customer_id == id)
            && status.is_none_or(|status| order.status == status)
            && from.is_none_or(|from| order.created_at > from)
            && to.is_none_or(|to| order.created_at <= to)
            && product_id.is_none_or(|id| order.lines.iter().any(|line| line.product_id == id))
            && (reference.is_none() || order.reference == *reference)
            && (coupon_id.is_none() || coupon == *coupon_id)
    }
}

/// A filter of charges. The default one selects all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ChargeFilter {
    /// The customer.
    pub customer_id: Option<CustomerId>,
    /// The present status.
    pub status: Option<ChargeStatus>,
}

impl ChargeFilter {
    /// Returns true if a charge matches.
    #[must_use]
    pub fn matches(&self, charge: &ChargeRow) -> bool {
        self.customer_id.is_none_or(|id| charge.customer_id == id)
            && self.status.is_none_or(|status| charge.status == status)
    }
}

/// A filter of products. The default one selects the active ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ProductFilter {
    /// A part of the name, in upper or lower case.
    pub search: Option<String>,
    /// The status.
    pub status: ProductSelection,
    /// Only products with stock at or below their low-stock threshold.
    pub low_stock: bool,
}

/// A selection of products by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProductSelection {
    /// Products on sale.
    #[default]
    Active,
    /// Archived products.
    Archived,
    /// All products.
    All,
}

impl ProductSelection {
    fn matches(self, status: ProductStatus) -> bool {
        match self {
            Self::Active => status == ProductStatus::Active,
            Self::Archived => status == ProductStatus::Archived,
            Self::All => true,
        }
    }
}

/// A text to search for.
pub(crate) struct Search(Option<String>);

impl Search {
    /// Returns the search for a text; without one, everything matches.
    pub(crate) fn of(text: Option<&str>) -> Self {
        Self(text.map(text::fold))
    }

    fn matches(&self, text: &str) -> bool {
        self.0.as_ref().is_none_or(|part| text::fold(text).contains(part))
    }

    /// Returns true if the product matches this search and the rest of its filter.
    pub(crate) fn selects_product(&self, filter: &ProductFilter, product: &Product) -> bool {
        filter.status.matches(product.status)
            && (!filter.low_stock || product.is_low_on_stock())
            && self.matches(&product.name)
    }

    /// Returns true if a customer's name or login matches.
    pub(crate) fn selects_customer(&self, customer: &Customer) -> bool {
        self.matches(&customer.name)
            || customer.login.as_deref().is_some_and(|login| self.matches(login))
    }
}
