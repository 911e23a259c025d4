//! Orders: placing, paying, cancelling, expiry, and the best sellers that follow from them.

use super::catalog::{check_window, price_at};
use super::{
    Decision, HOLD_SECONDS, MAX_BALANCE, MAX_LINES, MAX_PRICE, MAX_STOCK, Model, invalid, is_text,
    next_id,
};
use commerce_core::store::{EventRow, Purchase, Record};
use commerce_core::{
    CustomerId, Discount, EntryKind, EventId, EventKind, Money, Order, OrderId, OrderItems,
    OrderLine, OrderStatus, OverLimit, OwnedCouponId, OwnedCouponStatus, PastLine, PayWhen,
    PlaceOrder, Product, ProductId, ProductStatus, Refusal, Shortage, Timestamp,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Returns the pointers of wrong terms of an order of the past.
fn wrong_terms(request: &PlaceOrder) -> Vec<String> {
    let Some(past) = &request.past else { return Vec::new() };
    let mut wrong = Vec::new();
    if !(0..=MAX_BALANCE).contains(&past.discount.minor()) {
        wrong.push("/past/discount".to_owned());
    }
    for (id, line) in &past.lines {
        if line.name.as_deref() == Some("") {
            wrong.push(format!("/past/lines/{id}/name"));
        }
        if line.unit_price.is_some_and(|price| !(1..=MAX_PRICE).contains(&price.minor())) {
            wrong.push(format!("/past/lines/{id}/unit_price"));
        }
        let is_wrong = |price: Money| {
            price.minor() > MAX_PRICE || line.unit_price.is_none_or(|unit| unit > price)
        };
        if line.regular_price.is_some_and(is_wrong) {
            wrong.push(format!("/past/lines/{id}/regular_price"));
        }
    }
    if request.owned_coupon_id.is_some() {
        wrong.push("/owned_coupon_id".to_owned());
    }
    if past.discount != Money::ZERO && request.reference.is_none() {
        wrong.push("/reference".to_owned());
    }
    wrong
}

/// Replaces the names and prices of imported history; the amounts are exact.
fn apply_past_terms(request: &PlaceOrder, lines: &mut [(OrderLine, i128)]) {
    for (line, exact) in lines {
        let past = request.past.as_ref().and_then(|past| past.lines.get(&line.product_id));
        let Some(PastLine { name, unit_price, regular_price }) = past.cloned() else { continue };
        line.name = name.unwrap_or_else(|| line.name.clone());
        if let Some(unit_price) = unit_price {
            (line.unit_price, line.regular_price) = (unit_price, unit_price);
        }
        line.regular_price = regular_price.unwrap_or(line.regular_price);
        *exact = i128::from(line.unit_price.minor()) * i128::from(line.quantity);
        line.amount = Money::from_minor(i64::try_from(*exact).unwrap_or(i64::MAX));
    }
}

impl Model {
    pub(super) fn place_order(&mut self, request: &PlaceOrder, now: Timestamp) -> Decision {
        let customer_id = request.customer_id;
        let is_valid = request.reference.as_deref().is_none_or(is_text);
        let mut checks = vec![(is_valid, "/reference".to_owned())];
        if let OrderItems::Listed(items) = &request.items {
            checks.push(((1..=MAX_LINES).contains(&items.len()), "/items".to_owned()));
            checks.extend(items.iter().enumerate().map(|(index, (_, quantity))| {
                ((1..=MAX_STOCK).contains(quantity), format!("/items/{index}/quantity"))
            }));
        }
        let wrong = checks.into_iter().filter(|c| !c.0).map(|c| c.1);
        let wrong: Vec<String> = wrong.chain(wrong_terms(request)).collect();
        if !wrong.is_empty() {
            return Err(invalid(wrong));
        }
        let previous = self.known(customer_id)?.last_order;
        self.check_reference(request)?;
        let items = match &request.items {
            OrderItems::Listed(items) => merged(items),
            OrderItems::Cart => {
                self.carts.get(&customer_id).into_iter().flatten().map(|(k, v)| (*k, *v)).collect()
            }
        };
        if items.is_empty() {
            return Err(Refusal::CartEmpty { customer_id });
        }
        let mut lines = self.order_lines(&items, now)?;
        apply_past_terms(request, &mut lines);
        let exact: i128 = lines.iter().map(|(_, amount)| amount).sum();
        let Some(subtotal) = i64::try_from(exact).ok().filter(|sum| *sum <= MAX_BALANCE) else {
            return Err(invalid(["/items".to_owned()]));
        };
        let lines = lines.into_iter().map(|(line, _)| line).collect();
        let discount = match (&request.past, request.owned_coupon_id) {
            (Some(past), _) if past.discount.minor() > subtotal => {
                return Err(invalid(["/past/discount".to_owned()]));
            }
            (Some(past), _) => past.discount.minor(),
            (None, Some(id)) => self.discount(id, customer_id, subtotal, now)?,
            (None, None) => 0,
        };
        let is_over = |(id, requested): &(ProductId, i64)| {
            let (bought, limit) =
                (self.bought(*id, customer_id), self.products[id].limit_per_customer?);
            let over = OverLimit { product_id: *id, requested: *requested, bought, limit };
            (bought + requested > limit).then_some(over)
        };
        let over_limit: Vec<OverLimit> = items.iter().filter_map(is_over).collect();
        if !over_limit.is_empty() {
            return Err(Refusal::PurchaseLimit { over_limit });
        }
        let is_short = |(id, requested): &(ProductId, i64)| {
            let (requested, available) = (*requested, self.products[id].stock);
            (requested > available).then_some(Shortage { product_id: *id, requested, available })
        };
        let shortages: Vec<Shortage> = items.iter().filter_map(is_short).collect();
        if !shortages.is_empty() {
            return Err(Refusal::InsufficientStock { shortages });
        }
        if request.pay == PayWhen::Now {
            self.check_funds(customer_id, subtotal - discount)?;
        }

        let id = OrderId::new(next_id(self.orders.len()));
        for (product_id, units) in items {
            self.products.get_mut(&product_id).unwrap().stock -= units;
        }
        if let Some(owned) = request.owned_coupon_id {
            let owned = self.owned_coupons.get_mut(&owned).unwrap();
            (owned.order_id, owned.status) = (Some(id), OwnedCouponStatus::Used);
        }
        if request.items == OrderItems::Cart {
            self.carts.remove(&customer_id);
        }
        self.accounts.get_mut(&customer_id).unwrap().last_order = Some(id);
        let expires_at = Timestamp::from_unix(now.unix() + HOLD_SECONDS);
        let order = Order {
            cancellations: Vec::new(),
            id,
            customer_id,
            reference: request.reference.clone(),
            status: OrderStatus::Pending,
            lines,
            subtotal: Money::from_minor(subtotal),
            discount: Money::from_minor(discount),
            total: Money::from_minor(subtotal - discount),
            owned_coupon_id: request.owned_coupon_id,
            created_at: now,
            expires_at: (request.pay == PayWhen::Later).then_some(expires_at),
            paid_at: None,
            cancelled_at: None,
            previous,
        };
        self.orders.insert(id, order);
        if request.pay == PayWhen::Now {
            self.pay(id, now);
        }
        Ok(self.orders[&id].clone().into())
    }

    fn check_reference(&self, request: &PlaceOrder) -> Result<(), Refusal> {
        let Some(reference) = &request.reference else { return Ok(()) };
        let has_it = |order: &&Order| {
            order.customer_id == request.customer_id && order.reference.as_ref() == Some(reference)
        };
        let Some(order) = self.orders.values().find(has_it) else { return Ok(()) };
        Err(Refusal::ReferenceTaken { reference: reference.clone(), order_id: order.id })
    }

    /// Returns the units of a product in the pending and paid orders of a customer.
    fn bought(&self, product: ProductId, customer: CustomerId) -> i64 {
        let is_live =
            |order: &&Order| matches!(order.status, OrderStatus::Pending | OrderStatus::Paid);
        let orders = self.orders.values().filter(is_live);
        let own = orders.filter(|order| order.customer_id == customer);
        let lines = own.flat_map(|order| &order.lines).filter(|line| line.product_id == product);
        lines.map(|line| line.quantity).sum()
    }

    /// Predicts the purchases of products with a limit.
    pub(super) fn purchases(&self) -> Vec<Record> {
        let limited = self.products.values().filter(|product| product.limit_per_customer.is_some());
        let pairs = limited.flat_map(|product| self.accounts.keys().map(|id| (product.id, *id)));
        let rows = pairs.map(|(product_id, customer_id)| {
            let units = self.bought(product_id, customer_id);
            Purchase { product_id, customer_id, units }
        });
        rows.filter(|row| row.units > 0).map(Record::Purchase).collect()
    }

    /// Returns the lines at current names and prices, each with its exact amount.
    pub(super) fn order_lines(
        &self,
        items: &[(ProductId, i64)],
        now: Timestamp,
    ) -> Result<Vec<(OrderLine, i128)>, Refusal> {
        let ids = || items.iter().map(|(id, _)| *id);
        let product_ids: Vec<_> = ids().filter(|id| !self.products.contains_key(id)).collect();
        if !product_ids.is_empty() {
            return Err(Refusal::ProductNotFound { product_ids });
        }
        let is_archived = |id: &ProductId| self.products[id].status == ProductStatus::Archived;
        let product_ids: Vec<_> = ids().filter(is_archived).collect();
        if !product_ids.is_empty() {
            return Err(Refusal::ProductArchived { product_ids });
        }
        let line = |(id, quantity): &(ProductId, i64)| {
            let Product { id: product_id, name, regular_price, .. } = self.products[id].clone();
            let unit_price = price_at(&self.products[id], now);
            let exact = i128::from(unit_price.minor()) * i128::from(*quantity);
            let amount = Money::from_minor(i64::try_from(exact).unwrap_or(i64::MAX));
            let quantity = *quantity;
            let line = OrderLine { product_id, name, unit_price, regular_price, quantity, amount };
            (line, exact)
        };
        Ok(items.iter().map(line).collect())
    }

    pub(super) fn discount(
        &self,
        owned_coupon_id: OwnedCouponId,
        customer_id: CustomerId,
        subtotal: i64,
        now: Timestamp,
    ) -> Result<i64, Refusal> {
        let owned = self.owned_coupons.get(&owned_coupon_id);
        let Some(owned) = owned.filter(|owned| owned.customer_id == customer_id) else {
            let (coupon_id, owned_coupon_id) = (None, Some(owned_coupon_id));
            return Err(Refusal::CouponNotFound { coupon_id, owned_coupon_id });
        };
        if let Some(order_id) = owned.order_id {
            return Err(Refusal::CouponAlreadyUsed { owned_coupon_id, order_id });
        }
        let coupon = &self.coupons[&owned.coupon_id];
        check_window(coupon, now)?;
        if let Some(minimum) = coupon.min_order_amount.filter(|min| subtotal < min.minor()) {
            return Err(Refusal::CouponNotApplicable {
                owned_coupon_id,
                min_order_amount: minimum,
                subtotal: Money::from_minor(subtotal),
            });
        }
        let discount = match coupon.discount {
            Discount::Fixed { amount } => amount.minor(),
            Discount::Percent { percent, max_amount } => {
                let exact = i128::from(subtotal) * i128::from(percent) / 100;
                let rounded = i64::try_from(exact).unwrap();
                max_amount.map_or(rounded, |max| rounded.min(max.minor()))
            }
        };
        Ok(discount.min(subtotal))
    }

    pub(super) fn pay_order(&mut self, order_id: OrderId, now: Timestamp) -> Decision {
        let order = self.orders.get(&order_id).ok_or(Refusal::OrderNotFound { order_id })?;
        if order.status != OrderStatus::Pending {
            return Err(Refusal::OrderNotPayable { order_id, order_status: order.status });
        }
        self.check_funds(order.customer_id, order.total.minor())?;
        self.pay(order_id, now);
        Ok(self.orders[&order_id].clone().into())
    }

    pub(super) fn cancel_order(&mut self, order_id: OrderId, now: Timestamp) -> Decision {
        let order = self.orders.get(&order_id).ok_or(Refusal::OrderNotFound { order_id })?;
        let (customer_id, order_status) = (order.customer_id, order.status);
        let total = order.total.minor();
        match order_status {
            OrderStatus::Pending => {}
            OrderStatus::Paid => {
                self.check_room(customer_id, total)?;
                let entry = self.book(customer_id, EntryKind::Refund, total, Some(order_id), now);
                self.pay_debt(&entry, now);
                self.emit(EventKind::OrderCancelled, order_id, now);
            }
            OrderStatus::Cancelled | OrderStatus::Expired => {
                return Err(Refusal::OrderNotCancellable { order_id, order_status });
            }
        }
        self.end_order(order_id, OrderStatus::Cancelled);
        let order = self.orders.get_mut(&order_id).unwrap();
        order.cancelled_at = Some(now);
        Ok(order.clone().into())
    }

    pub(super) fn pay(&mut self, id: OrderId, now: Timestamp) {
        let order = self.orders.get_mut(&id).unwrap();
        (order.status, order.paid_at) = (OrderStatus::Paid, Some(now));
        let (customer_id, total) = (order.customer_id, order.total.minor());
        self.book(customer_id, EntryKind::Payment, -total, Some(id), now);
        self.emit(EventKind::OrderPaid, id, now);
    }

    /// Expires the orders with an ended hold, and returns their ids, the longest overdue first.
    pub(crate) fn expire(&mut self, clock: Timestamp) -> Vec<OrderId> {
        let is_overdue = |order: &&Order| {
            order.status == OrderStatus::Pending && order.expires_at.unwrap() <= clock
        };
        let mut overdue: Vec<(Timestamp, OrderId)> = self
            .orders
            .values()
            .filter(is_overdue)
            .map(|order| (order.expires_at.unwrap(), order.id))
            .collect();
        overdue.sort_unstable();
        for (_, id) in &overdue {
            self.end_order(*id, OrderStatus::Expired);
        }
        overdue.into_iter().map(|(_, id)| id).collect()
    }

    /// Returns the stock and the coupon of an order that is cancelled or expires.
    pub(super) fn end_order(&mut self, id: OrderId, status: OrderStatus) {
        let order = self.orders.get_mut(&id).unwrap();
        order.status = status;
        for line in &order.lines {
            self.products.get_mut(&line.product_id).unwrap().stock += line.quantity;
        }
        if let Some(owned) = order.owned_coupon_id {
            let owned = self.owned_coupons.get_mut(&owned).unwrap();
            (owned.order_id, owned.status) = (None, OwnedCouponStatus::Held);
        }
    }

    pub(super) fn emit(&mut self, kind: EventKind, order_id: OrderId, now: Timestamp) {
        let id = EventId::new(next_id(self.events.len()));
        self.events.push(EventRow { id, kind, order_id, trace: None, created_at: now });
    }

    /// Predicts the JSON of the five best sellers of the three days up to `at`, at the prices of `now`.
    pub(crate) fn best_sellers(&self, at: Timestamp, now: Timestamp) -> Value {
        let from = Timestamp::from_unix(at.unix() - 3 * 24 * 60 * 60);
        let is_counted = |order: &&Order| {
            order.status == OrderStatus::Paid
                && order.paid_at.is_some_and(|paid_at| from < paid_at && paid_at <= at)
        };
        let mut units = BTreeMap::<ProductId, i64>::new();
        for line in self.orders.values().filter(is_counted).flat_map(|order| &order.lines) {
            *units.entry(line.product_id).or_default() += line.quantity;
        }
        let mut ranking: Vec<(ProductId, i64)> = units.into_iter().collect();
        ranking.sort_by_key(|(id, units)| (-units, *id));
        let items = ranking.into_iter().take(5).enumerate().map(|(index, (id, units_sold))| {
            let Product { id: product_id, name, stock, status, .. } = self.products[&id].clone();
            let price = price_at(&self.products[&id], now);
            json!({
                "rank": index + 1, "product_id": product_id, "name": name, "price": price,
                "stock": stock, "status": status, "units_sold": units_sold,
            })
        });
        json!({ "from": from, "to": at, "items": items.collect::<Vec<_>>() })
    }
}

/// Sums the quantities of repeated products, in order of first mention.
pub(super) fn merged(items: &[(ProductId, i64)]) -> Vec<(ProductId, i64)> {
    let mut merged: Vec<(ProductId, i64)> = Vec::new();
    for (id, quantity) in items {
        match merged.iter_mut().find(|(known, _)| known == id) {
            Some((_, sum)) => *sum = sum.saturating_add(*quantity),
            None => merged.push((*id, *quantity)),
        }
    }
    merged
}
