//! The terms of an order of the past: an import keeps the names, prices and discount that the order had.

use super::validate::Checks;
use crate::error::Refusal;
use crate::id::ProductId;
use crate::limits::{MAX_BALANCE, MAX_PRICE};
use crate::model::order::OrderLine;
use crate::money::Money;
use serde::Serialize;
use std::collections::BTreeMap;

/// The terms of an order of the past, which take the place of those of today.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PastTerms {
    /// The lines by product. A product that is not among them has the name and price that it has now.
    pub lines: BTreeMap<ProductId, PastLine>,
    /// The discount of the whole order. Its coupon belongs to another store, so the order has none.
    pub discount: Money,
}

/// A product as it was ordered. What is absent is as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PastLine {
    /// The product's name.
    pub name: Option<String>,
    /// The price of one unit.
    pub unit_price: Option<Money>,
    /// The price of one unit without a sale, at least `unit_price`; default: `unit_price`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regular_price: Option<Money>,
}

impl PastTerms {
    pub(super) fn validate(&self, checks: &mut Checks) {
        checks.integer(self.discount.minor(), 0..=MAX_BALANCE.minor(), "/past/discount");
        for (product, PastLine { name, unit_price, regular_price }) in &self.lines {
            if let Some(name) = name {
                checks.text(name, &format!("/past/lines/{product}/name"));
            }
            if let Some(price) = unit_price {
                let pointer = format!("/past/lines/{product}/unit_price");
                checks.integer(price.minor(), 1..=MAX_PRICE.minor(), &pointer);
            }
            if let Some(regular) = regular_price {
                let is_above = unit_price.is_some_and(|price| price <= *regular);
                let pointer = format!("/past/lines/{product}/regular_price");
                checks.that(is_above && *regular <= MAX_PRICE, &pointer, || {
                    format!("regular_price is {regular} and must be from unit_price to {MAX_PRICE}")
                });
            }
        }
    }

    /// Replaces names and prices. Returns `None` if an amount is too large.
    pub(super) fn apply(&self, lines: Vec<OrderLine>) -> Option<Vec<OrderLine>> {
        let past = |mut line: OrderLine| {
            if let Some(PastLine { name, unit_price, regular_price }) =
                self.lines.get(&line.product_id)
            {
                if let Some(price) = *unit_price {
                    (line.unit_price, line.regular_price) = (price, price);
                }
                line.regular_price = regular_price.unwrap_or(line.regular_price);
                line.amount = line.unit_price.checked_mul(line.quantity)?;
                line.name = name.clone().unwrap_or(line.name);
            }
            Some(line)
        };
        lines.into_iter().map(past).collect()
    }

    /// Returns the discount; refuses one above the subtotal.
    pub(super) fn checked_discount(&self, subtotal: Money) -> Result<Money, Refusal> {
        if self.discount <= subtotal {
            return Ok(self.discount);
        }
        let detail = format!("discount is {} and must be at most {subtotal}", self.discount);
        Err(Refusal::invalid("/past/discount", detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{CustomerId, OwnedCouponId};
    use crate::rule::context::Output;
    use crate::rule::place_order::PlaceOrder;
    use crate::rule::testing::{World, code};
    use rstest::rstest;

    /// Three units of a product that costs 100 now and cost 90 then.
    fn order(discount: i64) -> PlaceOrder {
        let (product, unit_price) = (ProductId::new(3), Some(Money::from_minor(90)));
        let line = PastLine { name: Some("Old tea".to_owned()), unit_price, regular_price: None };
        let lines = BTreeMap::from([(product, line)]);
        PlaceOrder {
            reference: Some("A-1".to_owned()),
            past: Some(PastTerms { lines, discount: Money::from_minor(discount) }),
            ..PlaceOrder::new(CustomerId::new(1), [(product, 3), (ProductId::new(4), 2)])
        }
    }

    fn world() -> World {
        let mut world = World::default()
            .with_customer(1, 1_000)
            .with_product(3, 100, 5)
            .with_product(4, 30, 10);
        world.state.provide_reference(CustomerId::new(1), "A-1".to_owned(), None);
        world
    }

    fn with(change: impl FnOnce(&mut PlaceOrder, &mut PastTerms)) -> PlaceOrder {
        let mut order = order(50);
        let mut past = order.past.take().unwrap();
        change(&mut order, &mut past);
        PlaceOrder { past: Some(past), ..order }
    }

    fn price(past: &mut PastTerms, price: i64) {
        past.lines.get_mut(&ProductId::new(3)).unwrap().unit_price = Some(Money::from_minor(price));
    }

    fn regular_price(past: &mut PastTerms, price: Option<i64>) {
        past.lines.get_mut(&ProductId::new(3)).unwrap().regular_price =
            price.map(Money::from_minor);
    }

    #[test]
    fn order_of_the_past_keeps_its_names_prices_and_discount() {
        let mut world = world();
        let Ok(Output::Order(placed)) = world.run(order(50)) else { panic!() };
        let lines: Vec<_> = placed.lines.iter().map(|line| (&*line.name, line.amount)).collect();
        let now = world.state.products.get(ProductId::new(4)).unwrap();
        assert_eq!(
            lines,
            [("Old tea", Money::from_minor(270)), (&now.name, Money::from_minor(60))]
        );
        let amounts = [placed.subtotal, placed.discount, placed.total].map(Money::minor);
        assert_eq!(amounts, [330, 50, 280]);
        let kim = world.state.account(CustomerId::new(1)).unwrap();
        assert_eq!(kim.balance, Money::from_minor(720));
        let tea = world.state.products.get(ProductId::new(3)).unwrap();
        assert_eq!((tea.price, tea.stock), (Money::from_minor(100), 2));
    }

    #[rstest]
    #[case::of_a_sale(Some(120), 120)]
    #[case::unknown(None, 90)]
    fn line_of_the_past_keeps_its_regular_price(#[case] regular: Option<i64>, #[case] kept: i64) {
        let order = with(|_, past| regular_price(past, regular));
        let Ok(Output::Order(placed)) = world().run(order) else { panic!() };
        let line = &placed.lines[0];
        let amounts = [line.unit_price, line.regular_price, line.amount].map(Money::minor);
        assert_eq!(amounts, [90, kept, 270]);
    }

    #[rstest]
    #[case::all(330, true)]
    #[case::more(331, false)]
    #[case::negative(-1, false)]
    fn discount_is_at_most_the_subtotal(#[case] discount: i64, #[case] is_placed: bool) {
        assert_eq!(world().run(order(discount)).is_ok(), is_placed);
    }

    #[rstest]
    #[case::coupon(with(|order, _| order.owned_coupon_id = Some(OwnedCouponId::new(1))), "invalid_request")]
    #[case::no_reference(with(|order, _| order.reference = None), "invalid_request")]
    #[case::no_price(with(|_, past| price(past, 0)), "invalid_request")]
    #[case::price_above_limit(with(|_, past| price(past, MAX_PRICE.minor() + 1)), "invalid_request")]
    #[case::regular_price_below(with(|_, past| regular_price(past, Some(89))), "invalid_request")]
    #[case::regular_price_above_limit(
        with(|_, past| regular_price(past, Some(MAX_PRICE.minor() + 1))),
        "invalid_request"
    )]
    #[case::regular_price_alone(
        with(|_, past| {
            regular_price(past, Some(120));
            past.lines.values_mut().for_each(|line| line.unit_price = None);
        }),
        "invalid_request"
    )]
    #[case::balance(with(|_, past| price(past, 500)), "insufficient_balance")]
    #[case::no_name(
        with(|_, past| past.lines.values_mut().for_each(|line| line.name = Some(" ".into()))),
        "invalid_request"
    )]
    fn order_of_the_past_is_refused(#[case] order: PlaceOrder, #[case] refused: &str) {
        assert_eq!(code(world().refused(order)), refused);
    }
}
