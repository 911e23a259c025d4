//! Places an order: stock, coupon, money, sales and event change together, or the order is refused and no row
//! changes.

use super::Rule;
use super::order_effects::{hold_units, pay};
use super::past_terms::PastTerms;
use super::validate::{Checks, checked_debit};
use crate::clock::Timestamp;
use crate::error::{OverLimit, Refusal, Shortage};
use crate::id::{CustomerId, OrderId, OwnedCouponId, ProductId};
use crate::limits::{MAX_BALANCE, MAX_ORDER_LINES, MAX_STOCK};
use crate::model::audit_trail::Action;
use crate::model::coupon::{Coupon, OwnedCoupon};
use crate::model::order::{Order, OrderLine, OrderStatus};
use crate::money::Money;
use crate::rule::context::{Context, Output};
use crate::state::{Needs, State};
use foldhash::{HashMap, HashMapExt};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// Places an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlaceOrder {
    /// The customer.
    pub customer_id: CustomerId,
    /// The items.
    pub items: OrderItems,
    /// The coupon to use.
    pub owned_coupon_id: Option<OwnedCouponId>,
    /// The time of payment.
    pub pay: PayWhen,
    /// The caller's own order number; no other order of the customer may have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The names, prices and discount of an order of the past, for imports. With a discount it needs a reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub past: Option<PastTerms>,
}

/// The items of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderItems {
    /// Product and quantity pairs. Repeated products are merged into one line with the sum.
    #[serde(serialize_with = "in_any_order")]
    Listed(Vec<(ProductId, i64)>),
    /// The content of the customer's cart.
    Cart,
}

/// Serializes the items for the idempotency fingerprint: the same products and quantities are the same request,
/// in any order and however they are split. A list with a quantity below 1 is invalid and is not merged, so that it
/// never has the fingerprint of a valid order.
pub(super) fn in_any_order<S: Serializer>(
    items: &[(ProductId, i64)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    if items.iter().any(|(_, quantity)| *quantity < 1) {
        return serializer.collect_seq(items);
    }
    let mut merged = BTreeMap::<ProductId, i64>::new();
    for (id, quantity) in items {
        let sum = merged.entry(*id).or_default();
        *sum = sum.saturating_add(*quantity);
    }
    serializer.collect_seq(merged)
}

/// The time at which an order is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PayWhen {
    /// At once, from the balance.
    Now,
    /// By a later call; until then stock and coupon are held for a limited time.
    Later,
}

impl PlaceOrder {
    /// Creates an order of these products, paid at once, without a coupon.
    #[must_use]
    pub fn new(customer_id: CustomerId, items: impl Into<Vec<(ProductId, i64)>>) -> Self {
        let items = OrderItems::Listed(items.into());
        let (owned_coupon_id, reference, past) = (None, None, None);
        Self { customer_id, items, owned_coupon_id, pay: PayWhen::Now, reference, past }
    }

    /// Creates an order of the cart's content, paid at once, without a coupon.
    #[must_use]
    pub fn from_cart(customer_id: CustomerId) -> Self {
        Self { items: OrderItems::Cart, ..Self::new(customer_id, []) }
    }

    fn validate(&self) -> Result<(), Refusal> {
        let mut checks = Checks::default();
        if let OrderItems::Listed(items) = &self.items {
            checks.that((1..=MAX_ORDER_LINES).contains(&items.len()), "/items", || {
                format!("an order has 1 to {MAX_ORDER_LINES} items, not {}", items.len())
            });
            for (index, (_, quantity)) in items.iter().enumerate().take(MAX_ORDER_LINES) {
                checks.integer(*quantity, 1..=MAX_STOCK, &format!("/items/{index}/quantity"));
            }
        }
        if let Some(reference) = &self.reference {
            checks.text(reference, "/reference");
        }
        if let Some(past) = &self.past {
            past.validate(&mut checks);
            checks.that(self.owned_coupon_id.is_none(), "/owned_coupon_id", || {
                "an order of the past has its discount, and uses no coupon".to_owned()
            });
            let is_explained = past.discount == Money::ZERO || self.reference.is_some();
            checks.that(is_explained, "/reference", || {
                "a discount without a coupon needs the order's number in the other system"
                    .to_owned()
            });
        }
        checks.done()
    }

    /// Returns the items with each product once, in order of first mention.
    fn merged(&self, state: &State) -> Result<Vec<(ProductId, i64)>, Refusal> {
        let listed = match &self.items {
            OrderItems::Listed(items) => items,
            OrderItems::Cart => {
                let lines = state.cart(self.customer_id).filter(|lines| !lines.is_empty());
                let empty = Refusal::CartEmpty { customer_id: self.customer_id };
                return Ok(lines.ok_or(empty)?.iter().map(|(id, units)| (*id, *units)).collect());
            }
        };
        let mut merged: Vec<(ProductId, i64)> = Vec::with_capacity(listed.len());
        let mut positions: HashMap<ProductId, usize> = HashMap::with_capacity(listed.len());
        for (id, quantity) in listed {
            let index = *positions.entry(*id).or_insert(merged.len());
            match merged.get_mut(index) {
                Some((_, sum)) => *sum = sum.saturating_add(*quantity),
                None => merged.push((*id, *quantity)),
            }
        }
        Ok(merged)
    }
}

impl Rule for PlaceOrder {
    fn key_scope(&self, _state: &State) -> Option<CustomerId> {
        Some(self.customer_id)
    }

    fn needs(&self, state: &State, needs: &mut Needs) {
        needs.account(state, self.customer_id);
        match &self.items {
            OrderItems::Listed(items) => {
                for (id, _) in items.iter().take(MAX_ORDER_LINES) {
                    needs.ordered_product(state, *id, self.customer_id);
                }
            }
            OrderItems::Cart => {
                needs.cart(state, self.customer_id);
                let cart = state.carts.loaded(self.customer_id).and_then(Option::as_ref);
                for &product in cart.into_iter().flat_map(|(_, lines)| lines.keys()) {
                    needs.ordered_product(state, product, self.customer_id);
                }
            }
        }
        if let Some(id) = self.owned_coupon_id {
            needs.owned_coupon(state, id);
        }
        // An invalid reference is refused before it is looked up; not every store could search for it.
        if let Some(reference) = self.reference.as_ref().filter(|_| self.validate().is_ok()) {
            needs.reference(state, self.customer_id, reference);
        }
    }

    fn weight(&self) -> usize {
        match &self.items {
            OrderItems::Listed(items) => items.len(),
            // An estimate: the cart is not loaded yet.
            OrderItems::Cart => 16,
        }
    }

    fn action(&self) -> Option<Action> {
        Some(Action::OrderPlaced)
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        self.validate()?;
        let account = state.known_customer(self.customer_id)?;
        let (balance, previous) = (account.balance, account.last_order);
        self.check_reference(state)?;
        let items = self.merged(state)?;
        let lines = priced(state, &items, context.now)?;
        let lines = match &self.past {
            Some(past) => past.apply(lines).ok_or_else(total_above_limit)?,
            None => lines,
        };
        let subtotal = subtotal(&lines)?;
        let discount = self.discount(state, subtotal, context.now)?;
        let total = subtotal.checked_sub(discount).unwrap_or_default();
        self.check_limits(state, &items)?;
        check_stock(state, &items)?;
        let balance_after = match self.pay {
            PayWhen::Now => checked_debit(balance, total)?,
            PayWhen::Later => balance,
        };

        let id = state.next_order_id();
        let expires_at =
            (self.pay == PayWhen::Later).then(|| context.now.plus_seconds(context.hold_seconds));
        let mut order = Order {
            id,
            customer_id: self.customer_id,
            reference: self.reference.clone(),
            status: OrderStatus::Pending,
            lines,
            subtotal,
            discount,
            total,
            owned_coupon_id: self.owned_coupon_id,
            created_at: context.now,
            expires_at,
            paid_at: None,
            cancelled_at: None,
            previous,
            cancellations: Vec::new(),
        };
        hold_units(state, &order);
        self.take_coupon_and_cart(state, id);
        match self.pay {
            PayWhen::Now => pay(state, &mut order, balance_after, context),
            // The order may already be overdue for a later command of the same batch.
            PayWhen::Later => state.due_orders.get_or_insert_default().push(id),
        }
        state.save_order(&order);
        Ok(Output::Order(order))
    }
}

impl PlaceOrder {
    /// Refuses a reference that another order of the customer has, whatever became of that order.
    fn check_reference(&self, state: &State) -> Result<(), Refusal> {
        let Some(reference) = &self.reference else { return Ok(()) };
        state.order_with_reference(self.customer_id, reference).map_or(Ok(()), |order_id| {
            Err(Refusal::ReferenceTaken { reference: reference.clone(), order_id })
        })
    }

    /// Refuses the order if the customer would have more units of a product than its limit, with every such product.
    fn check_limits(&self, state: &State, items: &[(ProductId, i64)]) -> Result<(), Refusal> {
        // Without a loaded purchase no product of the batch has a limit.
        if state.purchases.is_empty() {
            return Ok(());
        }
        let over = |(id, requested): &(ProductId, i64)| {
            let limit = state.products.get(*id)?.limit_per_customer?;
            let bought = state.purchases.units(*id, self.customer_id);
            let excess = OverLimit { product_id: *id, requested: *requested, bought, limit };
            (bought.saturating_add(*requested) > limit).then_some(excess)
        };
        let over_limit: Vec<OverLimit> = items.iter().filter_map(over).collect();
        if over_limit.is_empty() { Ok(()) } else { Err(Refusal::PurchaseLimit { over_limit }) }
    }

    /// Returns the coupon's discount, zero without a coupon; refuses a coupon that cannot be used.
    fn discount(&self, state: &State, subtotal: Money, now: Timestamp) -> Result<Money, Refusal> {
        if let Some(past) = &self.past {
            return past.checked_discount(subtotal);
        }
        let Some(owned_coupon_id) = self.owned_coupon_id else { return Ok(Money::ZERO) };
        let (owned, coupon) = self.coupon(state, owned_coupon_id)?;
        let coupon_id = coupon.id;
        if let Some(order_id) = owned.order_id {
            return Err(Refusal::CouponAlreadyUsed { owned_coupon_id, order_id });
        }
        if now < coupon.valid_from {
            return Err(Refusal::CouponNotStarted { coupon_id, valid_from: coupon.valid_from });
        }
        if let Some(valid_until) = coupon.valid_until.filter(|until| now >= *until) {
            return Err(Refusal::CouponExpired { coupon_id, valid_until });
        }
        if let Some(min_order_amount) =
            coupon.min_order_amount.filter(|minimum| subtotal < *minimum)
        {
            return Err(Refusal::CouponNotApplicable {
                owned_coupon_id,
                min_order_amount,
                subtotal,
            });
        }
        Ok(coupon.discount.off(subtotal))
    }

    fn coupon<'a>(
        &self,
        state: &'a State,
        id: OwnedCouponId,
    ) -> Result<(&'a OwnedCoupon, &'a Coupon), Refusal> {
        let unknown = || Refusal::CouponNotFound { coupon_id: None, owned_coupon_id: Some(id) };
        let owned =
            state.owned_coupons.get(id).filter(|owned| owned.customer_id == self.customer_id);
        let owned = owned.ok_or_else(unknown)?;
        Ok((owned, state.coupons.get(owned.coupon_id).ok_or_else(unknown)?))
    }

    /// Takes the coupon and the reference, empties the cart if its content is ordered, and links the order to its customer.
    fn take_coupon_and_cart(&self, state: &mut State, id: OrderId) {
        if let Some(owned) = self.owned_coupon_id.and_then(|id| state.owned_coupons.get_mut(id)) {
            owned.assign_order(Some(id));
        }
        if let Some(reference) = &self.reference {
            state.assign_reference(self.customer_id, reference, id);
        }
        if self.items == OrderItems::Cart {
            state
                .carts
                .insert(self.customer_id, (self.customer_id, crate::model::cart::CartLines::new()));
        }
        if let Some(account) = state.accounts.get_mut(self.customer_id) {
            account.last_order = Some(id);
        }
    }
}

/// Returns the lines with current names and prices; refuses unknown and archived products.
fn priced(
    state: &State,
    items: &[(ProductId, i64)],
    now: Timestamp,
) -> Result<Vec<OrderLine>, Refusal> {
    let ids = || items.iter().map(|(id, _)| *id);
    let unknown: Vec<_> = ids().filter(|id| state.products.get(*id).is_none()).collect();
    if !unknown.is_empty() {
        return Err(Refusal::ProductNotFound { product_ids: unknown });
    }
    let archived: Vec<_> = ids()
        .filter(|id| state.products.get(*id).is_some_and(|product| !product.is_active()))
        .collect();
    if !archived.is_empty() {
        return Err(Refusal::ProductArchived { product_ids: archived });
    }
    items
        .iter()
        .map(|(id, quantity)| {
            let product = state.known_product(*id)?;
            let unit_price = product.price_at(now);
            let amount = unit_price.checked_mul(*quantity).ok_or_else(total_above_limit)?;
            let (name, regular_price) = (product.name.clone(), product.regular_price);
            let (product_id, quantity) = (*id, *quantity);
            Ok(OrderLine { product_id, name, unit_price, regular_price, quantity, amount })
        })
        .collect()
}

fn subtotal(lines: &[OrderLine]) -> Result<Money, Refusal> {
    let sum = lines.iter().try_fold(Money::ZERO, |sum, line| sum.checked_add(line.amount));
    sum.filter(|sum| *sum <= MAX_BALANCE).ok_or_else(total_above_limit)
}

fn total_above_limit() -> Refusal {
    Refusal::invalid(
        "/items",
        format!("an order costs at most {MAX_BALANCE} minor units: use a smaller quantity"),
    )
}

/// Refuses the order if stock is short, with every short product.
fn check_stock(state: &State, items: &[(ProductId, i64)]) -> Result<(), Refusal> {
    let shortages: Vec<Shortage> = items
        .iter()
        .filter_map(|(id, requested)| {
            let available = state.products.get(*id).map_or(0, |product| product.stock);
            let shortage = Shortage { product_id: *id, requested: *requested, available };
            (*requested > available).then_some(shortage)
        })
        .collect();
    if shortages.is_empty() { Ok(()) } else { Err(Refusal::InsufficientStock { shortages }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::EventKind;
    use crate::model::patch::Patch;
    use crate::model::sale::Figure;
    use crate::model::wallet::EntryKind;
    use crate::rule::edit_cart::{CartEdit, EditCart};
    use crate::rule::testing::{NOW, World, code};
    use crate::rule::update_product::UpdateProduct;
    use rstest::rstest;

    fn items(pairs: &[(i64, i64)]) -> Vec<(ProductId, i64)> {
        pairs.iter().map(|(id, units)| (ProductId::new(*id), *units)).collect()
    }

    fn order(pairs: &[(i64, i64)]) -> PlaceOrder {
        PlaceOrder::new(CustomerId::new(1), items(pairs))
    }

    /// Customer 1 has 1,000; product 3 costs 100 (5 in stock), product 4 costs 30 (10), product 5 is
    /// archived; coupon 1 takes 10 % off orders of 180 and more, and customer 1 has claimed number 1 of it.
    fn world() -> World {
        World::default()
            .with_customer(1, 1_000)
            .with_customer(2, 1_000)
            .with_product(3, 100, 5)
            .with_product(4, 30, 10)
            .with_archived(5)
            .with_coupon(1, 5)
            .with_claim(1, 1)
    }

    fn placed(world: &mut World, request: PlaceOrder) -> Order {
        let Ok(Output::Order(order)) = world.run(request) else { panic!("refused") };
        order
    }

    #[test]
    fn paid_order_moves_stock_money_sales_and_event_together() {
        let mut world = world();
        let order = placed(&mut world, order(&[(3, 2), (4, 1)]));
        assert_eq!((order.status, order.total.minor()), (OrderStatus::Paid, 230));
        assert_eq!((world.balance(1), world.stock(3), world.stock(4)), (770, 3, 9));
        let entry = world.state.ledger.last().unwrap();
        assert_eq!((entry.kind, entry.amount.minor()), (EntryKind::Payment, -230));
        assert_eq!(world.state.sales[0].products.len(), 2);
        let figures: Vec<_> = world.state.sales[0].figures.iter().collect();
        let expected = [
            (Figure::Orders, 1),
            (Figure::Units, 3),
            (Figure::Gross, 230),
            (Figure::FirstOrders, 1),
        ];
        assert_eq!(figures, expected);
        assert_eq!(world.state.events[0].kind, EventKind::OrderPaid);
        assert_eq!((order.paid_at, order.expires_at), (Some(NOW), None));
    }

    #[test]
    fn repeated_products_merge_into_one_line_and_one_stock_check() {
        let mut world = world();
        let refusal = world.refused(order(&[(3, 3), (4, 1), (3, 3)]));
        let short = Shortage { product_id: ProductId::new(3), requested: 6, available: 5 };
        assert_eq!(refusal, Refusal::InsufficientStock { shortages: vec![short] });
        let order = placed(&mut world, order(&[(3, 1), (4, 1), (3, 2)]));
        let lines: Vec<_> = order.lines.iter().map(|l| (l.product_id.get(), l.quantity)).collect();
        assert_eq!(lines, [(3, 3), (4, 1)]);
    }

    #[test]
    fn insufficient_stock_lists_every_short_product() {
        let refusal = world().refused(order(&[(3, 6), (4, 11)]));
        let Refusal::InsufficientStock { shortages } = refusal else { panic!() };
        let short: Vec<_> = shortages.iter().map(|s| (s.product_id.get(), s.available)).collect();
        assert_eq!(short, [(3, 5), (4, 10)]);
    }

    #[test]
    fn coupon_is_applied_and_assigned_to_the_order() {
        let mut world = world();
        let request =
            PlaceOrder { owned_coupon_id: Some(OwnedCouponId::new(1)), ..order(&[(3, 3), (4, 1)]) };
        let order = placed(&mut world, request);
        assert_eq!(
            (order.subtotal.minor(), order.discount.minor(), order.total.minor()),
            (330, 33, 297)
        );
        let owned = world.state.owned_coupons.get(OwnedCouponId::new(1)).unwrap();
        assert_eq!(owned.order_id, Some(order.id));
    }

    #[test]
    fn unpaid_order_holds_stock_and_coupon_but_no_money() {
        let mut world = world();
        let request = PlaceOrder {
            owned_coupon_id: Some(OwnedCouponId::new(1)),
            pay: PayWhen::Later,
            ..order(&[(3, 5)])
        };
        let order = placed(&mut world, request);
        assert_eq!(
            (order.status, order.expires_at),
            (OrderStatus::Pending, Some(NOW.plus_seconds(900)))
        );
        assert_eq!((world.balance(1), world.stock(3)), (1_000, 0));
        assert!(world.state.sales.is_empty() && world.state.events.is_empty());
    }

    #[test]
    fn order_from_cart_empties_it_only_on_success() {
        let mut world = world();
        let cart = |edit| EditCart { customer_id: CustomerId::new(1), edit };
        world.run(cart(CartEdit::Set(ProductId::new(4), 10))).unwrap();
        world.run(order(&[(4, 1)])).unwrap();
        let refused = world.refused(PlaceOrder::from_cart(CustomerId::new(1)));
        assert_eq!(code(refused), "insufficient_stock");
        assert_eq!(world.state.cart(CustomerId::new(1)).unwrap().len(), 1);
        world.run(cart(CartEdit::Set(ProductId::new(4), 9))).unwrap();
        placed(&mut world, PlaceOrder::from_cart(CustomerId::new(1)));
        assert!(world.state.cart(CustomerId::new(1)).unwrap().is_empty());
        let refused = world.refused(PlaceOrder::from_cart(CustomerId::new(1)));
        assert_eq!(code(refused), "cart_empty");
    }

    #[test]
    fn order_can_empty_the_balance_or_be_free() {
        let mut world = world().with_customer(6, 100).with_coupon_off(2, 500).with_claim(2, 6);
        let mut request = PlaceOrder::new(CustomerId::new(6), items(&[(3, 1)]));
        assert_eq!(placed(&mut world, request.clone()).total.minor(), 100);
        assert_eq!(world.balance(6), 0);
        request.owned_coupon_id = Some(OwnedCouponId::new(2));
        assert_eq!(placed(&mut world, request).total.minor(), 0);
    }

    // The rows are in the order of the checks: each request also has the faults of the rows below it.
    #[rstest]
    #[case::no_items(1, &[], None, "invalid_request")]
    #[case::no_units(9, &[(9, 0)], None, "invalid_request")]
    #[case::negative_units(9, &[(3, 5), (9, -5)], None, "invalid_request")]
    #[case::too_many_units(9, &[(9, MAX_STOCK + 1)], None, "invalid_request")]
    #[case::unknown_customer(9, &[(9, 1), (5, 1), (3, 99)], Some(99), "customer_not_found")]
    #[case::unknown_product(1, &[(9, 1), (5, 1), (3, 99)], Some(99), "product_not_found")]
    #[case::archived_product(1, &[(5, 1), (3, 99)], Some(99), "product_archived")]
    #[case::unknown_coupon(1, &[(3, 99)], Some(99), "coupon_not_found")]
    #[case::coupon_of_another(2, &[(3, 99)], Some(1), "coupon_not_found")]
    #[case::below_coupon_minimum(1, &[(4, 1)], Some(1), "coupon_not_applicable")]
    #[case::short_stock(1, &[(3, 99)], None, "insufficient_stock")]
    fn place_order_refuses_in_documented_precedence(
        #[case] customer: i64,
        #[case] pairs: &[(i64, i64)],
        #[case] coupon: Option<i64>,
        #[case] refused: &str,
    ) {
        let request = PlaceOrder {
            owned_coupon_id: coupon.map(OwnedCouponId::new),
            ..PlaceOrder::new(CustomerId::new(customer), items(pairs))
        };
        assert_eq!(code(world().refused(request)), refused);
    }

    fn referenced(customer: i64, reference: &str) -> PlaceOrder {
        let reference = Some(reference.to_owned());
        PlaceOrder { reference, ..PlaceOrder::new(CustomerId::new(customer), items(&[(4, 1)])) }
    }

    #[test]
    fn reference_is_unique_for_each_customer_and_stays_so_after_a_cancellation() {
        let mut world = world().with_references(&["web-1", "web-2"]);
        let first = placed(&mut world, referenced(1, "web-1"));
        assert_eq!(first.reference.as_deref(), Some("web-1"));
        placed(&mut world, referenced(2, "web-1"));
        placed(&mut world, referenced(1, "web-2"));
        let taken = Refusal::ReferenceTaken { reference: "web-1".to_owned(), order_id: first.id };
        assert_eq!(world.refused(referenced(1, "web-1")), taken);
        world.run(crate::rule::cancel_order::CancelOrder::new(first.id)).unwrap();
        assert_eq!(world.refused(referenced(1, "web-1")), taken);
    }

    #[rstest]
    #[case::blank(" ")]
    #[case::control("a\u{0}b")]
    #[case::too_long(&"x".repeat(201))]
    fn invalid_reference_is_refused_and_not_looked_up(#[case] reference: &str) {
        let mut world = world();
        let mut needs = Needs::default();
        referenced(1, reference).needs(&world.state, &mut needs);
        assert!(needs.references.is_empty());
        assert_eq!(code(world.refused(referenced(1, reference))), "invalid_request");
    }

    fn limit(product: i64, limit_per_customer: Patch<i64>) -> UpdateProduct {
        UpdateProduct { limit_per_customer, ..UpdateProduct::new(ProductId::new(product)) }
    }

    #[test]
    fn purchase_limit_lists_every_product_that_is_over_and_counts_earlier_orders() {
        let mut world = world();
        placed(&mut world, order(&[(3, 2)]));
        for product in [3, 4] {
            world.run(limit(product, Patch::Set(3))).unwrap();
        }
        let over = |product, requested, bought| OverLimit {
            product_id: ProductId::new(product),
            requested,
            bought,
            limit: 3,
        };
        let over_limit = vec![over(3, 2, 2), over(4, 4, 0)];
        let refusal = world.refused(order(&[(3, 2), (4, 4)]));
        assert_eq!(refusal, Refusal::PurchaseLimit { over_limit });
        placed(&mut world, order(&[(3, 1), (4, 3)]));
        let other = PlaceOrder::new(CustomerId::new(2), items(&[(4, 3)]));
        placed(&mut world, other);
    }

    #[test]
    fn cancelled_and_expired_orders_give_their_units_back_to_the_limit() {
        let mut world = world();
        world.run(limit(4, Patch::Set(3))).unwrap();
        let first = placed(&mut world, order(&[(4, 2)]));
        let later = PlaceOrder { pay: PayWhen::Later, ..order(&[(4, 1)]) };
        placed(&mut world, later);
        assert_eq!(code(world.refused(order(&[(4, 1)]))), "purchase_limit");
        world.run(crate::rule::cancel_order::CancelOrder::new(first.id)).unwrap();
        assert_eq!(code(world.refused(order(&[(4, 3)]))), "purchase_limit");
        world.now = NOW.plus_seconds(900);
        placed(&mut world, order(&[(4, 3)]));
    }

    #[test]
    fn limit_that_is_removed_and_set_again_counts_what_was_bought_meanwhile() {
        let mut world = world();
        world.run(limit(4, Patch::Set(1))).unwrap();
        placed(&mut world, order(&[(4, 1)]));
        world.run(limit(4, Patch::Remove)).unwrap();
        placed(&mut world, order(&[(4, 4)]));
        world.run(limit(4, Patch::Set(6))).unwrap();
        assert_eq!(code(world.refused(order(&[(4, 2)]))), "purchase_limit");
        placed(&mut world, order(&[(4, 1)]));
    }

    #[test]
    fn purchase_limit_is_checked_after_the_coupon_and_before_the_stock() {
        let mut world = world();
        world.run(limit(3, Patch::Set(1))).unwrap();
        let request =
            PlaceOrder { owned_coupon_id: Some(OwnedCouponId::new(99)), ..order(&[(3, 99)]) };
        assert_eq!(code(world.refused(request)), "coupon_not_found");
        assert_eq!(code(world.refused(order(&[(3, 99)]))), "purchase_limit");
    }

    #[test]
    fn insufficient_balance_is_checked_last() {
        let mut world = world().with_customer(6, 99);
        let refusal = world.refused(PlaceOrder::new(CustomerId::new(6), items(&[(3, 1)])));
        let (balance, required) = (Money::from_minor(99), Money::from_minor(100));
        assert_eq!(refusal, Refusal::InsufficientBalance { balance, required });
    }

    #[rstest]
    #[case::over(2_000, "coupon_expired")]
    #[case::used(0, "coupon_already_used")]
    fn place_order_refuses_used_and_expired_coupons(#[case] seconds: i64, #[case] refused: &str) {
        let mut world = world();
        let request =
            PlaceOrder { owned_coupon_id: Some(OwnedCouponId::new(1)), ..order(&[(3, 2)]) };
        if seconds == 0 {
            placed(&mut world, request.clone());
        }
        world.now = NOW.plus_seconds(seconds);
        assert_eq!(code(world.refused(request)), refused);
    }

    #[test]
    fn order_above_any_balance_is_refused_without_overflow() {
        let price = crate::limits::MAX_PRICE.minor();
        let mut world = world().with_product(8, price, MAX_STOCK);
        assert_eq!(code(world.refused(order(&[(8, MAX_STOCK)]))), "invalid_request");
        assert_eq!(code(world.refused(order(&[(8, 9_008)]))), "invalid_request");
    }
}
