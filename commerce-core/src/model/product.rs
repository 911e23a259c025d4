//! Products, and the changes of their stock other than orders.

use crate::clock::Timestamp;
use crate::id::{CustomerId, ProductId, StockMovementId};
use crate::model::audit_trail::Actor;
use crate::model::words::words;
use crate::money::Money;
use serde::{Deserialize, Serialize};

/// A product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "ProductBody")]
pub struct Product {
    /// The product's id.
    pub id: ProductId,
    /// Its name.
    pub name: String,
    /// The price of one unit, as of the instant it was read at: the sale price during a sale. Stores keep the regular price.
    pub price: Money,
    /// The price of one unit without a sale.
    pub regular_price: Money,
    /// The sale that is on or to come.
    #[serde(flatten)]
    pub sale: Option<SalePrice>,
    /// Units that can be sold right now.
    pub stock: i64,
    /// The stock at and below which the product is low on stock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low_stock_threshold: Option<i64>,
    /// The greatest number of units that a customer may hold or buy over all live orders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_per_customer: Option<i64>,
    /// Active if it is sold.
    pub status: ProductStatus,
}

/// A price that replaces the regular one from an instant until just before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SalePrice {
    /// The price of one unit.
    #[serde(rename = "sale_price")]
    pub price: Money,
    /// The start (inclusive).
    #[serde(rename = "sale_from")]
    pub from: Timestamp,
    /// The end (exclusive); `None` for no end.
    #[serde(rename = "sale_until", default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl SalePrice {
    /// Returns true if the sale has ended at `now`.
    #[must_use]
    pub fn is_over_at(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| now >= until)
    }

    /// Returns true if the sale has begun and not ended at `now`.
    #[must_use]
    pub fn is_on_at(&self, now: Timestamp) -> bool {
        self.from <= now && !self.is_over_at(now)
    }
}

/// The JSON of a product. Results that earlier versions stored with keys have no regular price.
#[derive(Deserialize)]
struct ProductBody {
    id: ProductId,
    name: String,
    price: Money,
    regular_price: Option<Money>,
    #[serde(flatten)]
    sale: Option<SalePrice>,
    stock: i64,
    low_stock_threshold: Option<i64>,
    limit_per_customer: Option<i64>,
    status: ProductStatus,
}

impl From<ProductBody> for Product {
    fn from(body: ProductBody) -> Self {
        let ProductBody { id, name, price, regular_price, sale, stock, .. } = body;
        let ProductBody { low_stock_threshold, limit_per_customer, status, .. } = body;
        Self {
            id,
            name,
            price,
            regular_price: regular_price.unwrap_or(price),
            sale,
            stock,
            low_stock_threshold,
            limit_per_customer,
            status,
        }
    }
}

/// The status of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProductStatus {
    /// On sale.
    Active,
    /// Hidden from lists; cannot be ordered.
    Archived,
}

words! {
    ProductStatus {
        Active = "active",
        Archived = "archived",
    }
}

impl Product {
    /// Returns true if the product can be ordered.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.status == ProductStatus::Active
    }

    /// Returns the price that a unit costs at `now`. A sale makes no product dearer, even if its regular price was reduced
    /// below the sale price since.
    #[must_use]
    pub fn price_at(&self, now: Timestamp) -> Money {
        let sale = self.sale.filter(|sale| sale.is_on_at(now));
        sale.map_or(self.regular_price, |sale| sale.price.min(self.regular_price))
    }

    /// Returns the product as of `now`: with the price that a unit costs then, and without a sale that is over.
    #[must_use]
    pub fn at(mut self, now: Timestamp) -> Self {
        self.price = self.price_at(now);
        self.sale = self.sale.filter(|sale| !sale.is_over_at(now));
        self
    }

    /// Returns true if the stock has reached the product's threshold. A product without one is never low on stock.
    #[must_use]
    pub fn is_low_on_stock(&self) -> bool {
        self.low_stock_threshold.is_some_and(|threshold| self.stock <= threshold)
    }
}

/// The units of a product with a purchase limit that a customer holds or has bought: those of pending and paid orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purchase {
    /// The product.
    pub product_id: ProductId,
    /// The customer.
    pub customer_id: CustomerId,
    /// The units of all live orders.
    pub units: i64,
}

/// A change of stock other than an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StockMovement {
    /// The movement's id.
    pub id: StockMovementId,
    /// The product.
    pub product_id: ProductId,
    /// Units added; negative if removed.
    pub delta: i64,
    /// The reason given.
    pub reason: String,
    /// The author, if it was an actor of the audit trail.
    pub actor: Option<Actor>,
    /// The instant of the change.
    pub created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const NOW: i64 = 1_767_225_600;

    fn on_sale(sale: i64, until: Option<i64>) -> Product {
        let instant = |seconds| Timestamp::from_unix(NOW + seconds);
        Product {
            id: ProductId::new(1),
            name: "Tea".to_owned(),
            price: Money::from_minor(100),
            regular_price: Money::from_minor(100),
            sale: Some(SalePrice {
                price: Money::from_minor(sale),
                from: instant(0),
                until: until.map(instant),
            }),
            stock: 5,
            low_stock_threshold: None,
            limit_per_customer: None,
            status: ProductStatus::Active,
        }
    }

    #[rstest]
    #[case::before(70, Some(10), -1, 100, true)]
    #[case::first_second(70, Some(10), 0, 70, true)]
    #[case::last_second(70, Some(10), 9, 70, true)]
    #[case::end(70, Some(10), 10, 100, false)]
    #[case::no_end(70, None, 1_000_000_000, 70, true)]
    #[case::never_dearer(130, None, 5, 100, true)]
    fn sale_is_half_open_and_makes_no_product_dearer(
        #[case] sale: i64,
        #[case] until: Option<i64>,
        #[case] seconds: i64,
        #[case] price: i64,
        #[case] is_shown: bool,
    ) {
        let product = on_sale(sale, until).at(Timestamp::from_unix(NOW + seconds));
        assert_eq!((product.price.minor(), product.regular_price.minor()), (price, 100));
        assert_eq!(product.sale.is_some(), is_shown);
    }

    #[test]
    fn json_of_a_product_leaves_out_what_it_has_not_and_is_read_back() {
        let plain = Product { sale: None, ..on_sale(70, None) };
        let json = serde_json::to_string(&plain).unwrap();
        let expected =
            r#"{"id":1,"name":"Tea","price":100,"regular_price":100,"stock":5,"status":"active"}"#;
        assert_eq!(json, expected);
        // As earlier versions stored it.
        let old = json.replace("\"regular_price\":100,", "");
        assert_eq!(serde_json::from_str::<Product>(&old).unwrap(), plain);
        for product in [plain, on_sale(70, Some(10)), on_sale(70, None)] {
            let json = serde_json::to_string(&product).unwrap();
            assert_eq!(serde_json::from_str::<Product>(&json).unwrap(), product, "{json}");
        }
    }

    #[rstest]
    #[case::none(None, false)]
    #[case::above(Some(4), false)]
    #[case::at(Some(5), true)]
    #[case::below(Some(6), true)]
    fn product_is_low_on_stock_at_and_below_its_threshold(
        #[case] low_stock_threshold: Option<i64>,
        #[case] is_low: bool,
    ) {
        let product = Product { low_stock_threshold, ..on_sale(70, None) };
        assert_eq!(product.is_low_on_stock(), is_low);
    }
}
