//! Loads the rows that a batch needs: one statement a table, all in one pipelined round trip. The lines of
//! overdue orders, which are few, take a second one.

use crate::query::{Execute, Query, QueryBatch};
use crate::rows::{self, Row, read};
use crate::statements::{select, select_by_ids};
use crate::{auth, deliveries};
use commerce_core::limits::EXPIRY_BATCH;
use commerce_core::store::columns::{Entity, KEY_RECORD, key_record, overdue, personal_keys};
use commerce_core::store::lists::{has_status, is_live};
use commerce_core::store::values::get;
use commerce_core::store::{CartLines, ChargeRow, Needs, PersonalData, RefundRow, Rows, State};
use commerce_core::{
    ChargeId, CouponId, CustomerId, EventId, Key, LedgerEntry, LineCancellation, Order, OrderId,
    OrderStatus, OwnedCoupon, OwnedCouponId, ProductId, RefundId, StoreError, Timestamp, TokenId,
};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::rc::Rc;
use std::sync::LazyLock;

/// Selects keys of owners.
static SELECT_KEYS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT known.key, known.owner, {KEY_RECORD}
         FROM unnest($1::text[], $2::bigint[]) AS wanted (key, owner)
         JOIN idempotency_keys AS known ON known.key = wanted.key AND known.owner = wanted.owner
         WHERE known.key = ANY($1)"
    )
});

/// Loads the rows, with the orders that are overdue at `due`. Returns the time at which the first pending order expires, if
/// it was asked for overdue ones.
pub(crate) fn load(
    execute: Execute<'_>,
    needs: &Needs,
    due: Option<Timestamp>,
    state: &mut State,
) -> Result<Option<i64>, StoreError> {
    let first_expiry = Cell::new(None);
    let mut batch = QueryBatch::default();
    by_ids(&mut batch, needs);
    pending_charges(&mut batch, needs);
    refunds(&mut batch, needs);
    carts(&mut batch, needs);
    claims(&mut batch, needs);
    keys(&mut batch, needs);
    auth::load(&mut batch, needs);
    personal_data(&mut batch, needs);
    deliveries::load(&mut batch, needs);
    orders(&mut batch, needs);
    references(&mut batch, needs);
    purchases(&mut batch, needs);
    live_units(&mut batch, needs);
    if let Some(now) = due {
        due_orders(&mut batch, now);
        batch.add(select_first_expiry(), |rows, _| {
            first_expiry.set(Some(rows.first().map_or(Ok(i64::MAX), |row| get(row, 0))?));
            Ok(())
        });
    }
    batch.execute(execute, state)?;
    if due.is_some() {
        lines_of_due_orders(execute, state)?;
    }
    Ok(first_expiry.get())
}

fn by_ids<'a>(batch: &mut QueryBatch<'a>, needs: &'a Needs) {
    by_id(batch, &needs.accounts, CustomerId::get, |s| &mut s.accounts, |row| row.customer.id);
    by_id(batch, &needs.products, ProductId::get, |s| &mut s.products, |row| row.id);
    by_id(batch, &needs.coupons, CouponId::get, |s| &mut s.coupons, |row| row.id);
    by_id(batch, &needs.tokens, TokenId::get, |s| &mut s.tokens, |row| row.id);
    by_id(batch, &needs.charges, ChargeId::get, |s| &mut s.charges, |row| row.id);
    by_id(batch, &needs.refunds, RefundId::get, |s| &mut s.refunds, |row| row.id);
    by_id(batch, &needs.events, EventId::get, |s| &mut s.known_events, |row| row.id);
    by_id(batch, &needs.owned_coupons, OwnedCouponId::get, |s| &mut s.owned_coupons, |row| row.id);
}

fn by_id<'a, K: Copy + Ord + Hash, T: Entity>(
    batch: &mut QueryBatch<'a>,
    needed: &'a BTreeSet<K>,
    number: fn(K) -> i64,
    rows_of: fn(&mut State) -> &mut Rows<K, T>,
    key: fn(&T) -> K,
) {
    if !needed.is_empty() {
        let ids: Vec<i64> = needed.iter().copied().map(number).collect();
        let query = select_by_ids::<T>(ids);
        batch.add(query, move |rows, state| provide(needed, &rows, rows_of(state), key));
    }
}

/// Adds the rows that exist, and the knowledge that there are none with the other keys.
fn provide<K: Copy + Ord + Hash, T: Entity>(
    needed: &BTreeSet<K>,
    rows: &[Row],
    into: &mut Rows<K, T>,
    key: fn(&T) -> K,
) -> Result<(), StoreError> {
    for row in rows {
        let value = T::read(row)?;
        into.provide(key(&value), Some(value));
    }
    for key in needed {
        into.provide(*key, None);
    }
    Ok(())
}

fn pending_charges<'a>(batch: &mut QueryBatch<'a>, needs: &'a Needs) {
    if needs.pending_charges.is_empty() {
        return;
    }
    let customers: Vec<i64> = needs.pending_charges.iter().map(|id| id.get()).collect();
    let query = select::<ChargeRow>("WHERE status = 'pending' AND customer_id = ANY($1::bigint[])");
    batch.add(query.with(customers), |rows, state| {
        for row in &rows {
            let row: ChargeRow = read(row)?;
            state.charges.provide(row.id, Some(row));
        }
        state.pending_charges.extend(&needs.pending_charges);
        Ok(())
    });
}

fn refunds<'a>(batch: &mut QueryBatch<'a>, needs: &'a Needs) {
    if needs.refunds_of.is_empty() {
        return;
    }
    let charges: Vec<i64> = needs.refunds_of.iter().map(|id| id.get()).collect();
    let query = select::<RefundRow>("WHERE charge_id = ANY($1::bigint[])");
    batch.add(query.with(charges), |rows, state| {
        for row in &rows {
            let row: RefundRow = read(row)?;
            state.refunds.provide(row.id, Some(row));
        }
        state.refunded_charges.extend(&needs.refunds_of);
        Ok(())
    });
}

fn carts<'a>(batch: &mut QueryBatch<'a>, needs: &'a Needs) {
    if needs.carts.is_empty() {
        return;
    }
    let customers: Vec<i64> = needs.carts.iter().map(|id| id.get()).collect();
    let sql = "SELECT customer_id, product_id, quantity FROM cart_lines
               WHERE customer_id = ANY($1::bigint[])";
    batch.add(Query::new(sql).with(customers), |rows, state| {
        let mut carts: HashMap<CustomerId, CartLines> = HashMap::new();
        for row in &rows {
            carts.entry(get(row, 0)?).or_default().insert(get(row, 1)?, get(row, 2)?);
        }
        for customer in &needs.carts {
            let lines = carts.remove(customer).unwrap_or_default();
            state.carts.provide(*customer, Some((*customer, lines)));
        }
        Ok(())
    });
}

fn claims<'a>(batch: &mut QueryBatch<'a>, needs: &'a Needs) {
    if needs.claims.is_empty() {
        return;
    }
    let (coupons, customers): (Vec<i64>, Vec<i64>) =
        needs.claims.iter().map(|(coupon, customer)| (coupon.get(), customer.get())).unzip();
    let sql = format!(
        "SELECT {} FROM unnest($1::bigint[], $2::bigint[]) AS wanted (coupon, customer)
         JOIN owned_coupons ON coupon_id = coupon AND customer_id = customer
         WHERE customer_id = ANY($2)",
        OwnedCoupon::SELECT
    );
    batch.add(Query::new(sql).with(coupons).with(customers), |rows, state| {
        for row in &rows {
            let owned: OwnedCoupon = read(row)?;
            state.claims.provide((owned.coupon_id, owned.customer_id), Some(owned.id));
            state.owned_coupons.provide(owned.id, Some(owned));
        }
        for claim in &needs.claims {
            state.claims.provide(*claim, None);
        }
        Ok(())
    });
}

fn keys<'a>(batch: &mut QueryBatch<'a>, needs: &'a Needs) {
    if needs.keys.is_empty() {
        return;
    }
    let (keys, owners): (Vec<&str>, Vec<i64>) =
        needs.keys.iter().map(|(key, owner)| (key.as_str(), owner.get())).unzip();
    batch.add(Query::new(SELECT_KEYS.as_str()).with(keys).with(owners), |rows, state| {
        for row in &rows {
            let (key, owner): (Key, CustomerId) = (get(row, 0)?, get(row, 1)?);
            state.provide_key(key, owner, Some(key_record(row, 2)?));
        }
        for (key, owner) in &needs.keys {
            state.provide_key(key.clone(), *owner, None);
        }
        Ok(())
    });
}

/// Loads personal data by scans: erasing a customer is rare, and an index would cost every order.
fn personal_data<'a>(batch: &mut QueryBatch<'a>, needs: &'a Needs) {
    for &customer in &needs.personal {
        let rows: Rc<RefCell<PersonalData>> = Rc::default();
        let is_pending = has_status(OrderStatus::Pending);
        let pending = format!("SELECT id FROM orders WHERE {is_pending} AND customer_id = $1");
        let into = Rc::clone(&rows);
        batch.add(Query::new(pending).with(customer.get()), move |rows, _| {
            let orders = rows.iter().map(|row| get(row, 0));
            into.borrow_mut().pending_orders = orders.collect::<Result<_, _>>()?;
            Ok(())
        });
        let refunds = "SELECT count(*) FROM refunds WHERE status = 'pending' AND customer_id = $1";
        let into = Rc::clone(&rows);
        batch.add(Query::new(refunds).with(customer.get()), move |rows, _| {
            let count: i64 = rows.first().map_or(Ok(0), |row| get(row, 0))?;
            into.borrow_mut().pending_refunds = u64::try_from(count).unwrap_or(0);
            Ok(())
        });
        let into = Rc::clone(&rows);
        batch.add(with_digest::<LedgerEntry>("note").with(customer.get()), move |rows, _| {
            into.borrow_mut().notes =
                rows.iter().map(read_with_digest).collect::<Result<_, _>>()?;
            Ok(())
        });
        let into = Rc::clone(&rows);
        batch.add(
            with_digest::<ChargeRow>("payment_method").with(customer.get()),
            move |rows, _| {
                let methods = rows.iter().map(read_with_digest);
                into.borrow_mut().payment_methods = methods.collect::<Result<_, _>>()?;
                Ok(())
            },
        );
        let keys = format!(
            "SELECT key, owner, {KEY_RECORD} FROM idempotency_keys WHERE {} ORDER BY 1, 2",
            personal_keys("$1::bigint")
        );
        batch.add(Query::new(keys).with(customer.get()), move |keys, state| {
            let mut data = rows.take();
            for row in &keys {
                data.keys.push((get(row, 0)?, get(row, 1)?, key_record(row, 2)?));
            }
            state.provide_personal_data(customer, data);
            Ok(())
        });
    }
}

/// Selects the rows of a customer with a value in that column, each followed by its digest.
fn with_digest<T: Entity>(column: &str) -> Query<'static> {
    Query::new(format!(
        "SELECT {}, digest FROM {} WHERE customer_id = $1 AND {column} IS NOT NULL ORDER BY id",
        T::SELECT,
        T::TABLE
    ))
}

fn read_with_digest<T: Entity>(row: &Row) -> Result<(T, Option<i64>), StoreError> {
    Ok((read(row)?, get(row, T::SELECT.split(", ").count())?))
}

fn orders<'a>(batch: &mut QueryBatch<'a>, needs: &'a Needs) {
    if needs.orders.is_empty() {
        return;
    }
    let ids: Vec<i64> = needs.orders.iter().map(|id| id.get()).collect();
    batch.add(select_by_ids::<Order>(ids.clone()), |rows, state| {
        provide(&needs.orders, &rows, &mut state.orders, |row| row.id)
    });
    batch.add(Query::new(rows::select_lines()).with(ids.clone()), |rows, state| {
        add_lines(&rows, state)
    });
    let parts = select::<LineCancellation>(rows::OF_ORDERS).with(ids);
    batch.add(parts, |rows, state| add_cancellations(&rows, state));
}

fn references<'a>(batch: &mut QueryBatch<'a>, needs: &'a Needs) {
    if needs.references.is_empty() {
        return;
    }
    let (customers, references): (Vec<i64>, Vec<&str>) =
        needs.references.iter().map(|(customer, text)| (customer.get(), text.as_str())).unzip();
    // Rows of a customer are on one machine of a cluster, which finds it by the customer.
    let sql = "SELECT orders.customer_id, orders.reference, min(orders.id)
               FROM unnest($1::bigint[], $2::text[]) AS wanted (customer, reference)
               JOIN orders ON orders.reference = wanted.reference AND orders.customer_id = customer
               WHERE orders.reference = ANY($2) AND orders.customer_id = ANY($1)
               GROUP BY orders.customer_id, orders.reference";
    batch.add(Query::new(sql).with(customers).with(references), |rows, state| {
        for row in &rows {
            let order: OrderId = get(row, 2)?;
            state.provide_reference(get(row, 0)?, get(row, 1)?, Some(order));
        }
        for (customer, reference) in &needs.references {
            state.provide_reference(*customer, reference.clone(), None);
        }
        Ok(())
    });
}

fn purchases<'a>(batch: &mut QueryBatch<'a>, needs: &'a Needs) {
    if needs.purchases.is_empty() {
        return;
    }
    let (products, customers): (Vec<i64>, Vec<i64>) =
        needs.purchases.iter().map(|(product, customer)| (product.get(), customer.get())).unzip();
    let sql = "SELECT product_id, customer_id, units
               FROM unnest($1::bigint[], $2::bigint[]) AS wanted (product, customer)
               JOIN purchases ON product_id = product AND customer_id = customer
               WHERE product_id = ANY($1) AND customer_id = ANY($2)";
    batch.add(Query::new(sql).with(products).with(customers), |rows, state| {
        for row in &rows {
            state.purchases.provide(get(row, 0)?, get(row, 1)?, get(row, 2)?);
        }
        for (product, customer) in &needs.purchases {
            state.purchases.provide(*product, *customer, 0);
        }
        Ok(())
    });
}

fn live_units<'a>(batch: &mut QueryBatch<'a>, needs: &'a Needs) {
    if needs.live_units.is_empty() {
        return;
    }
    let products: Vec<i64> = needs.live_units.iter().map(|id| id.get()).collect();
    // Orders and lines of a customer are on one machine of a cluster.
    let sql = format!(
        "SELECT product_id, orders.customer_id,
                sum(quantity - coalesce((
                    SELECT sum(units) FROM line_cancellations AS parts
                    WHERE parts.order_id = orders.id AND parts.customer_id = orders.customer_id
                      AND parts.product_id = order_lines.product_id
                ), 0))::bigint
         FROM order_lines JOIN orders
           ON orders.id = order_lines.order_id AND orders.customer_id = order_lines.customer_id
         WHERE product_id = ANY($1::bigint[]) AND {}
         GROUP BY product_id, orders.customer_id",
        is_live()
    );
    batch.add(Query::new(sql).with(products), |rows, state| {
        let mut units: HashMap<ProductId, BTreeMap<CustomerId, i64>> = HashMap::new();
        for row in &rows {
            let of_customer: i64 = get(row, 2)?;
            if of_customer > 0 {
                units.entry(get(row, 0)?).or_default().insert(get(row, 1)?, of_customer);
            }
        }
        for product in &needs.live_units {
            state.purchases.provide_live(*product, units.remove(product).unwrap_or_default());
        }
        Ok(())
    });
}

fn due_orders(batch: &mut QueryBatch<'_>, now: Timestamp) {
    let overdue = overdue("$1");
    let query = select::<Order>(&format!("WHERE {overdue} ORDER BY expires_at, id LIMIT $2"));
    batch.add(query.with(now.unix()).with(rows::limit(EXPIRY_BATCH)), |rows, state| {
        let due: Vec<Order> = rows.iter().map(read).collect::<Result<_, _>>()?;
        state.due_orders = Some(due.iter().map(|order| order.id).collect());
        for order in due {
            state.orders.provide(order.id, Some(order));
        }
        Ok(())
    });
}

/// Selects the time at which the first pending order expires.
pub(crate) fn select_first_expiry() -> Query<'static> {
    Query::new(format!(
        "SELECT expires_at FROM orders WHERE {} ORDER BY expires_at, id LIMIT 1",
        has_status(OrderStatus::Pending)
    ))
}

/// Loads the missing lines of overdue orders. Every order has lines: one without was loaded as overdue only.
fn lines_of_due_orders(execute: Execute<'_>, state: &mut State) -> Result<(), StoreError> {
    let due = state.due_orders.iter().flatten().copied();
    let is_bare = |id: &OrderId| state.orders.get(*id).is_some_and(|order| order.lines.is_empty());
    let ids: Vec<i64> = due.filter(is_bare).map(OrderId::get).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let lines = Query::new(rows::select_lines()).with(ids.clone());
    let parts = select::<LineCancellation>(rows::OF_ORDERS).with(ids);
    let results = execute(vec![lines, parts])?;
    add_lines(results.first().map_or(&[], Vec::as_slice), state)?;
    add_cancellations(results.get(1).map_or(&[], Vec::as_slice), state)
}

fn add_cancellations(rows: &[Row], state: &mut State) -> Result<(), StoreError> {
    for row in rows {
        let row: LineCancellation = read(row)?;
        if let Some(order) = state.orders.fill(row.order_id) {
            order.cancellations.push(row);
        }
    }
    Ok(())
}

fn add_lines(rows: &[Row], state: &mut State) -> Result<(), StoreError> {
    rows::lines(rows, |order, line| {
        if let Some(order) = state.orders.fill(order) {
            order.lines.push(line);
        }
    })
}
