//! Updates a product: its name, price, sale, thresholds or status. Existing orders keep the name and prices they were placed
//! with.

use super::Rule;
use super::validate::Checks;
use crate::clock::Timestamp;
use crate::error::Refusal;
use crate::id::{CustomerId, ProductId};
use crate::idempotency::GLOBAL_SCOPE;
use crate::limits::{MAX_PRICE, MAX_STOCK};
use crate::model::audit_trail::Action;
use crate::model::patch::Patch;
use crate::model::product::{Product, ProductStatus, SalePrice};
use crate::money::Money;
use crate::rule::context::{Context, Output};
use crate::state::{Needs, State};
use crate::version::Version;
use serde::Serialize;

/// Updates a product. An archived product (hidden from lists and not orderable) must be reactivated before, or in
/// the same call as, any other change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UpdateProduct {
    /// The product.
    pub product_id: ProductId,
    /// The new name; default: unchanged.
    pub name: Option<String>,
    /// The new regular price; default: unchanged.
    pub price: Option<Money>,
    /// The new status; default: unchanged.
    pub status: Option<ProductStatus>,
    /// The price during a sale, below the regular price; default: unchanged.
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub sale_price: Patch<Money>,
    /// The start of the sale (inclusive); default: unchanged, or now for a new sale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sale_from: Option<Timestamp>,
    /// The end of the sale (exclusive); default: unchanged, or no end for a new sale.
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub sale_until: Patch<Timestamp>,
    /// The stock at and below which the product is low on stock, 0 to [`MAX_STOCK`]; default: unchanged.
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub low_stock_threshold: Patch<i64>,
    /// The greatest number of units that a customer may hold or buy over all live orders, 1 to [`MAX_STOCK`], those of
    /// earlier orders included; default: unchanged.
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub limit_per_customer: Patch<i64>,
}

impl UpdateProduct {
    /// Creates an update without changes.
    #[must_use]
    pub fn new(product_id: ProductId) -> Self {
        Self {
            product_id,
            name: None,
            price: None,
            status: None,
            sale_price: Patch::Keep,
            sale_from: None,
            sale_until: Patch::Keep,
            low_stock_threshold: Patch::Keep,
            limit_per_customer: Patch::Keep,
        }
    }

    /// Creates an update that archives the product; archiving an archived product succeeds.
    #[must_use]
    pub fn archive(product_id: ProductId) -> Self {
        Self { status: Some(ProductStatus::Archived), ..Self::new(product_id) }
    }

    /// Creates an update that makes an archived product active again; for an active product it changes nothing.
    #[must_use]
    pub fn unarchive(product_id: ProductId) -> Self {
        Self { status: Some(ProductStatus::Active), ..Self::new(product_id) }
    }

    fn validate(&self) -> Result<(), Refusal> {
        let mut checks = Checks::default();
        let is_empty = *self == Self::new(self.product_id);
        checks.that(!is_empty, "", || {
            "give a new name, price, sale, threshold, limit or status".to_owned()
        });
        if let Some(name) = &self.name {
            checks.text(name, "/name");
        }
        for (price, pointer) in [(self.price, "/price"), (self.sale_price.value(), "/sale_price")] {
            if let Some(price) = price {
                checks.integer(price.minor(), 1..=MAX_PRICE.minor(), pointer);
            }
        }
        let has_period = self.sale_from.is_some() || !self.sale_until.is_keep();
        checks.that(!(self.sale_price == Patch::Remove && has_period), "/sale_price", || {
            "a sale that is removed has no start and no end: leave out sale_from and sale_until"
                .to_owned()
        });
        if let Some(threshold) = self.low_stock_threshold.value() {
            checks.integer(threshold, 0..=MAX_STOCK, "/low_stock_threshold");
        }
        if let Some(limit) = self.limit_per_customer.value() {
            checks.integer(limit, 1..=MAX_STOCK, "/limit_per_customer");
        }
        checks.done()
    }

    /// Returns true if it changes nothing but the status.
    fn is_status_only(&self) -> bool {
        Self { status: None, ..self.clone() } == Self::new(self.product_id)
    }

    /// Returns the product after the update.
    fn updated(&self, before: &Product, now: Timestamp) -> Result<Product, Refusal> {
        let price = self.price.unwrap_or(before.regular_price);
        Ok(Product {
            id: before.id,
            name: self.name.as_ref().unwrap_or(&before.name).clone(),
            price,
            regular_price: price,
            sale: self.sale(before, now)?,
            stock: before.stock,
            low_stock_threshold: self.low_stock_threshold.apply(before.low_stock_threshold),
            limit_per_customer: self.limit_per_customer.apply(before.limit_per_customer),
            status: self.status.unwrap_or(before.status),
        })
    }

    /// Returns the sale after the update; refuses one that is not below the regular price or ends before it starts.
    fn sale(&self, product: &Product, now: Timestamp) -> Result<Option<SalePrice>, Refusal> {
        let is_unchanged =
            self.sale_price.is_keep() && self.sale_from.is_none() && self.sale_until.is_keep();
        if is_unchanged {
            return Ok(product.sale);
        }
        if self.sale_price == Patch::Remove {
            return Ok(None);
        }
        // A sale that is over leaves nothing to the next one.
        let before = product.sale.filter(|sale| !sale.is_over_at(now));
        let price = self.sale_price.apply(before.map(|sale| sale.price)).ok_or_else(|| {
            Refusal::invalid("/sale_price", "the product has no sale: give its sale_price too")
        })?;
        let from = self.sale_from.or(before.map(|sale| sale.from)).unwrap_or(now);
        let until = self.sale_until.apply(before.and_then(|sale| sale.until));
        let regular_price = self.price.unwrap_or(product.regular_price);
        Checks::default()
            .that(price < regular_price, "/sale_price", || {
                format!("sale_price is {price} and must be below the regular price, which is {regular_price}")
            })
            .that(until.is_none_or(|until| from < until), "/sale_until", || {
                format!("sale_until must be after sale_from, which is {from}")
            })
            .done()?;
        Ok(Some(SalePrice { price, from, until }))
    }
}

impl Rule for UpdateProduct {
    fn key_scope(&self, _state: &State) -> Option<CustomerId> {
        Some(GLOBAL_SCOPE)
    }

    fn needs(&self, state: &State, needs: &mut Needs) {
        needs.product(state, self.product_id);
        let gets_limit = self.limit_per_customer.value().is_some() && self.validate().is_ok();
        if gets_limit && state.products.is_loaded(self.product_id) {
            let product = state.products.get(self.product_id);
            // A product that has a limit is counted already.
            let is_counted = product.is_none_or(|product| product.limit_per_customer.is_some());
            if !is_counted && !state.purchases.is_live_loaded(self.product_id) {
                needs.live_units.insert(self.product_id);
            }
        }
    }

    fn version(&self, state: &State, now: Timestamp) -> Result<Version, Refusal> {
        Ok(state.version_of(state.known_product(self.product_id)?.clone().at(now)))
    }

    fn action(&self) -> Option<Action> {
        Some(Action::ProductUpdated)
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        self.validate()?;
        let reactivates = self.status == Some(ProductStatus::Active);
        let product = if reactivates || self.is_status_only() {
            state.known_product(self.product_id)?
        } else {
            state.active_product(self.product_id)?
        };
        let before = product.clone();
        let after = self.updated(&before, context.now)?;

        match (before.limit_per_customer, after.limit_per_customer) {
            (None, Some(_)) => state.purchases.begin(self.product_id),
            (Some(_), None) => state.purchases.end(self.product_id),
            (None, None) | (Some(_), Some(_)) => {}
        }
        record_changes(state, context, &before, &after);
        let change = |product: &mut Product| product.clone_from(&after);
        state.change_product(self.product_id, context.now, change).map(Output::Product)
    }
}

fn record_changes(state: &mut State, context: Context<'_>, before: &Product, after: &Product) {
    let sale = |product: &Product| product.sale.map(|sale| sale.price);
    let from = |product: &Product| product.sale.map(|sale| sale.from);
    let until = |product: &Product| product.sale.and_then(|sale| sale.until);
    context.record_name(state, &before.name, &after.name);
    context.record_change(state, "price", &before.regular_price, &after.regular_price);
    context.record_change(state, "status", &before.status, &after.status);
    context.record_change(state, "sale_price", &sale(before), &sale(after));
    context.record_change(state, "sale_from", &from(before), &from(after));
    context.record_change(state, "sale_until", &until(before), &until(after));
    let (from, to) = (before.low_stock_threshold, after.low_stock_threshold);
    context.record_change(state, "low_stock_threshold", &from, &to);
    let (from, to) = (before.limit_per_customer, after.limit_per_customer);
    context.record_change(state, "limit_per_customer", &from, &to);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::audit_trail::Actor;
    use crate::rule::place_order::PlaceOrder;
    use crate::rule::testing::{NOW, World, code};
    use rstest::rstest;

    const TEA: ProductId = ProductId::new(3);

    fn money(units: i64) -> Patch<Money> {
        Patch::Set(Money::from_minor(units))
    }

    fn after(seconds: i64) -> Timestamp {
        NOW.plus_seconds(seconds)
    }

    fn updated(world: &mut World, request: UpdateProduct) -> Product {
        let Ok(Output::Product(product)) = world.run(request) else { panic!("refused") };
        product
    }

    /// A sale of 7 instead of 10, from 100 to 200 seconds after [`NOW`].
    fn sale() -> UpdateProduct {
        UpdateProduct {
            sale_price: money(7),
            sale_from: Some(after(100)),
            sale_until: Patch::Set(after(200)),
            ..UpdateProduct::new(TEA)
        }
    }

    #[test]
    fn trail_has_changes_only() {
        let mut world =
            World { actor: Some(Actor::Cli), ..World::default() }.with_product(1, 100, 5);
        let tea = ProductId::new(1);
        let same = UpdateProduct { status: None, ..UpdateProduct::archive(tea) };
        let renamed = UpdateProduct { name: Some("Black tea".to_owned()), ..same.clone() };
        let unlimited = UpdateProduct { limit_per_customer: Patch::Remove, ..same };
        for request in [unlimited, renamed, UpdateProduct::archive(tea)] {
            for _ in 0..2 {
                let _ = world.run(request.clone());
            }
        }
        let trail = world.state.audit_trail.iter();
        let changes: Vec<_> = trail.filter_map(|row| row.changes.as_json()).collect();
        let archived = r#"{"status":{"from":"active","to":"archived"}}"#;
        assert_eq!(changes, [r#"{"name":"changed"}"#, archived]);
        assert_eq!(world.state.audit_trail.len(), 2);
    }

    #[rstest]
    #[case::before(99, 10)]
    #[case::first_second(100, 7)]
    #[case::last_second(199, 7)]
    #[case::end(200, 10)]
    fn orders_pay_the_sale_price_from_its_start_until_just_before_its_end(
        #[case] seconds: i64,
        #[case] price: i64,
    ) {
        let mut world = World::default().with_customer(1, 100).with_product(3, 10, 10);
        assert_eq!(updated(&mut world, sale()).price.minor(), 10);
        world.now = after(seconds);
        let order = PlaceOrder::new(CustomerId::new(1), [(TEA, 2)]);
        let Ok(Output::Order(order)) = world.run(order) else { panic!("refused") };
        let line = &order.lines[0];
        let prices = (line.unit_price.minor(), line.regular_price.minor());
        assert_eq!((prices, order.total.minor()), ((price, 10), 2 * price));
    }

    #[test]
    fn sale_keeps_what_an_update_leaves_out() {
        let mut world = World::default().with_product(3, 10, 10);
        updated(&mut world, sale());
        let longer = UpdateProduct { sale_until: Patch::Remove, ..UpdateProduct::new(TEA) };
        let product = updated(&mut world, longer);
        let kept = SalePrice { price: Money::from_minor(7), from: after(100), until: None };
        assert_eq!(product.sale, Some(kept));
        let none = UpdateProduct { sale_price: Patch::Remove, ..UpdateProduct::new(TEA) };
        assert_eq!(updated(&mut world, none).sale, None);
        let now = UpdateProduct { sale_price: money(6), ..UpdateProduct::new(TEA) };
        let product = updated(&mut world, now);
        assert_eq!((product.price.minor(), product.sale.unwrap().from), (6, NOW));
    }

    #[test]
    fn sale_that_is_over_leaves_nothing_to_the_next_one() {
        let mut world = World::default().with_product(3, 10, 10);
        updated(&mut world, sale());
        world.now = after(200);
        let longer = UpdateProduct { sale_until: Patch::Remove, ..UpdateProduct::new(TEA) };
        assert_eq!(code(world.refused(longer)), "invalid_request");
        let next = UpdateProduct { sale_price: money(6), ..UpdateProduct::new(TEA) };
        let next = updated(&mut world, next).sale.unwrap();
        assert_eq!((next.from, next.until), (after(200), None));
    }

    #[test]
    fn price_reduced_below_the_sale_price_is_what_is_paid() {
        let mut world = World::default().with_product(3, 10, 10);
        updated(&mut world, sale());
        world.now = after(100);
        let price = Some(Money::from_minor(5));
        let product = updated(&mut world, UpdateProduct { price, ..UpdateProduct::new(TEA) });
        assert_eq!((product.price.minor(), product.regular_price.minor()), (5, 5));
    }

    #[rstest]
    #[case::not_below_the_price(UpdateProduct { sale_price: money(10), ..sale() }, "/sale_price")]
    #[case::not_below_the_new_price(
        UpdateProduct { price: Some(Money::from_minor(7)), ..sale() },
        "/sale_price"
    )]
    #[case::zero(UpdateProduct { sale_price: money(0), ..sale() }, "/sale_price")]
    #[case::no_price(UpdateProduct { sale_price: Patch::Keep, ..sale() }, "/sale_price")]
    #[case::removed_with_an_end(UpdateProduct { sale_price: Patch::Remove, ..sale() }, "/sale_price")]
    #[case::empty(UpdateProduct { sale_until: Patch::Set(after(100)), ..sale() }, "/sale_until")]
    #[case::negative_threshold(
        UpdateProduct { low_stock_threshold: Patch::Set(-1), ..UpdateProduct::new(TEA) },
        "/low_stock_threshold"
    )]
    #[case::no_units(
        UpdateProduct { limit_per_customer: Patch::Set(0), ..UpdateProduct::new(TEA) },
        "/limit_per_customer"
    )]
    fn update_product_refuses_invalid_sales_thresholds_and_limits(
        #[case] request: UpdateProduct,
        #[case] pointer: &str,
    ) {
        let mut world = World::default().with_product(3, 10, 10);
        let Refusal::InvalidRequest { errors } = world.refused(request) else { panic!() };
        assert_eq!(errors[0].pointer, pointer);
    }

    #[test]
    fn threshold_is_set_and_removed() {
        let mut world = World::default().with_product(3, 10, 10);
        let set =
            |low_stock_threshold| UpdateProduct { low_stock_threshold, ..UpdateProduct::new(TEA) };
        assert!(updated(&mut world, set(Patch::Set(10))).is_low_on_stock());
        assert!(!updated(&mut world, set(Patch::Remove)).is_low_on_stock());
    }

    #[test]
    fn update_product_keeps_fields_that_are_absent() {
        let mut world = World::default().with_product(3, 10, 10);
        let price = Some(Money::from_minor(12));
        let request = UpdateProduct { price, ..UpdateProduct::new(ProductId::new(3)) };
        let Ok(Output::Product(product)) = world.run(request) else { panic!() };
        assert_eq!(
            (product.price.minor(), product.name.as_str(), product.stock),
            (12, "Product 3", 10)
        );
    }

    #[test]
    fn archived_product_keeps_stock_and_can_be_reactivated() {
        let mut world = World::default().with_product(3, 10, 10);
        let id = ProductId::new(3);
        for _ in 0..2 {
            let Ok(Output::Product(product)) = world.run(UpdateProduct::archive(id)) else {
                panic!()
            };
            assert_eq!((product.status, product.stock), (ProductStatus::Archived, 10));
        }
        let status = Some(ProductStatus::Active);
        let back = UpdateProduct { status, name: Some("Tea".to_owned()), ..UpdateProduct::new(id) };
        let Ok(Output::Product(product)) = world.run(back) else { panic!() };
        assert_eq!((product.is_active(), product.name.as_str()), (true, "Tea"));
    }

    #[rstest]
    #[case::no_change(3, None, None, "invalid_request")]
    #[case::no_name(3, Some(""), None, "invalid_request")]
    #[case::zero_price(3, None, Some(0), "invalid_request")]
    #[case::unknown(9, Some("a"), None, "product_not_found")]
    #[case::archived(4, Some("a"), None, "product_archived")]
    fn update_product_refuses_invalid_requests(
        #[case] id: i64,
        #[case] name: Option<&str>,
        #[case] price: Option<i64>,
        #[case] refused: &str,
    ) {
        let mut world = World::default().with_product(3, 10, 10).with_archived(4);
        let request = UpdateProduct {
            name: name.map(str::to_owned),
            price: price.map(Money::from_minor),
            ..UpdateProduct::new(ProductId::new(id))
        };
        assert_eq!(code(world.refused(request)), refused);
    }
}
