//! Lists of the back office after a history: as the model predicts them, and the same on every store.

use super::model::Model;
use crate::common::NOW;
use commerce_core::{
    ChargeFilter, ChargeStatus, Error, Key, OrderFilter, OrderStatus, Page, PageRequest, Shop,
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Reads a list in pages of seven items.
fn all<T>(read: impl Fn(&PageRequest) -> Result<Page<T>, Error>) -> Vec<T> {
    let mut request = PageRequest::first(7);
    let mut items = Vec::new();
    loop {
        let page = read(&request).unwrap();
        items.extend(page.items);
        request.cursor = page.next_cursor;
        if request.cursor.is_none() {
            return items;
        }
    }
}

/// Filters by each field alone, and by all pairs of a few of their values.
fn order_filters(model: &Model) -> Vec<OrderFilter> {
    let none = OrderFilter::default();
    let (products, customers, coupons) = model.ids();
    let mut parts: Vec<OrderFilter> = Vec::new();
    for status in OrderStatus::ALL {
        parts.push(OrderFilter { status: Some(*status), ..none.clone() });
    }
    for (from, to) in [(0, 500), (500, 1_500), (-1, 3_000)] {
        let at = |seconds| Some(NOW.plus_seconds(seconds));
        parts.push(OrderFilter { from: at(from), to: at(to), ..none.clone() });
    }
    for product in products.into_iter().take(2) {
        parts.push(OrderFilter { product_id: Some(product), ..none.clone() });
    }
    for customer in customers.into_iter().take(2) {
        parts.push(OrderFilter { customer_id: Some(customer), ..none.clone() });
    }
    for coupon in coupons.into_iter().take(2) {
        parts.push(OrderFilter { coupon_id: Some(coupon), ..none.clone() });
    }
    parts.push(OrderFilter { reference: Some("web-1".to_owned()), ..none.clone() });
    let mut filters = vec![none];
    for (index, one) in parts.iter().enumerate() {
        for other in &parts[index..] {
            filters.push(OrderFilter {
                status: one.status.or(other.status),
                from: one.from.or(other.from),
                to: one.to.or(other.to),
                product_id: one.product_id.or(other.product_id),
                customer_id: one.customer_id.or(other.customer_id),
                coupon_id: one.coupon_id.or(other.coupon_id),
                reference: one.reference.clone().or_else(|| other.reference.clone()),
            });
        }
    }
    filters.retain(|filter| filter.from.is_none() || filter.from < filter.to);
    filters
}

/// Checks the lists against the model, and returns what all stores must agree on.
pub(super) fn check(shop: &Shop, model: &Model) -> Result<Vec<Value>, TestCaseError> {
    for filter in order_filters(model) {
        let orders = all(|page| shop.list_orders(&filter, page));
        prop_assert_eq!(model.orders_of(&filter), orders, "{:?}", filter);
    }
    let (products, customers, coupons) = model.ids();
    for status in [None].into_iter().chain(ChargeStatus::ALL.iter().copied().map(Some)) {
        for customer_id in [None].into_iter().chain(customers.iter().copied().map(Some)) {
            let filter = ChargeFilter { customer_id, status };
            let charges = all(|page| shop.list_charges(&filter, page));
            prop_assert_eq!(model.charges_of(filter), charges, "{:?}", filter);
        }
    }
    for coupon in coupons {
        let claims = all(|page| shop.claims(coupon, page));
        prop_assert_eq!(model.claims_of(coupon, shop.now()), claims);
    }
    let mut agreed = Vec::new();
    for product in products {
        let history = all(|page| shop.product_history(product, page));
        let mut stock = 0;
        for change in history.iter().rev() {
            stock += change.delta;
            prop_assert_eq!(stock, change.stock_after, "{:?}", history);
            prop_assert!(stock >= 0, "{:?}", history);
        }
        prop_assert_eq!(stock, shop.product(product).unwrap().stock);
        let changes = history.iter().map(|change| {
            (change.created_at, change.delta, change.reason.clone(), change.order_id)
        });
        let mut changes: Vec<_> = changes.collect();
        changes.sort();
        prop_assert_eq!(model.changes_of(product), changes);
        agreed.push(json!(history));
    }
    for number in 0..30 {
        let key = Key::new(&format!("key-{number}")).unwrap();
        agreed.push(json!(shop.explain_key(&key, None).unwrap()));
    }
    Ok(agreed)
}
