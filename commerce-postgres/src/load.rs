//! Loading what a batch may touch: each kind as a set, all kinds in one round trip, and the lines of
//! overdue orders, which are few, in a second one.

use crate::connection::Query;
use crate::rows::Row;
use crate::{auth, deliveries, rows};
use commerce_core::limits::EXPIRY_BATCH;
use commerce_core::store::columns::{
    ACCOUNT, CHARGE, COUPON, EVENT, ORDER, OWNED_COUPON, PRODUCT, TABLES_WITH_IDS, get, key_record,
    next_ids,
};
use commerce_core::store::{CartLines, Needs, Rows, State};
use commerce_core::{CustomerId, Key, Order, OrderId, OwnedCoupon, StoreError, Timestamp};
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

/// Says statements in one go, and gives what each answered.
pub(crate) type Execute<'a> =
    &'a mut dyn FnMut(Vec<Query<'_>>) -> Result<Vec<Vec<Row>>, StoreError>;

/// Puts what a statement answered into the state.
type RowHandler<'a> = Box<dyn FnOnce(Vec<Row>, &mut State) -> Result<(), StoreError> + 'a>;

/// Statements, each with what is done with its answer.
#[derive(Default)]
pub(crate) struct QueryBatch<'a> {
    steps: Vec<Query<'a>>,
    takes: Vec<RowHandler<'a>>,
}

impl<'a> QueryBatch<'a> {
    pub(crate) fn add(
        &mut self,
        step: Query<'a>,
        take: impl FnOnce(Vec<Row>, &mut State) -> Result<(), StoreError> + 'a,
    ) {
        self.steps.push(step);
        self.takes.push(Box::new(take));
    }

    fn execute(self, execute: Execute<'_>, state: &mut State) -> Result<(), StoreError> {
        let answers = execute(self.steps)?;
        self.takes.into_iter().zip(answers).try_for_each(|(take, rows)| take(rows, state))
    }
}

pub(crate) fn load(
    execute: Execute<'_>,
    needs: &Needs,
    state: &mut State,
) -> Result<(), StoreError> {
    let mut batch = QueryBatch::default();
    by_ids(&mut batch, needs);
    pending_charges(&mut batch, needs);
    carts(&mut batch, needs);
    claims(&mut batch, needs);
    keys(&mut batch, needs);
    auth::load(&mut batch, needs);
    deliveries::load(&mut batch, needs);
    orders(&mut batch, needs);
    if let Some(now) = needs.due_orders {
        due_orders(&mut batch, now);
    }
    if needs.ids {
        batch.add(newest_ids(), |rows, state| {
            state.ids = rows.first().map(next_ids).transpose()?;
            Ok(())
        });
    }
    batch.execute(execute, state)?;
    if needs.due_orders.is_some() {
        lines_of_due_orders(execute, state)?;
    }
    Ok(())
}

fn by_ids<'a>(batch: &mut QueryBatch<'a>, needs: &'a Needs) {
    let ids = |ids: Vec<i64>, table: &str, columns: &str| {
        let sql = format!("SELECT {columns} FROM {table} WHERE id = ANY($1::bigint[])");
        Query::new(sql).with(ids)
    };
    if !needs.accounts.is_empty() {
        let wanted = needs.accounts.iter().map(|id| id.get()).collect();
        batch.add(ids(wanted, "customers", ACCOUNT), |rows, state| {
            found(&needs.accounts, rows, &mut state.accounts, rows::account, |row| row.customer.id)
        });
    }
    if !needs.products.is_empty() {
        let wanted = needs.products.iter().map(|id| id.get()).collect();
        batch.add(ids(wanted, "products", PRODUCT), |rows, state| {
            found(&needs.products, rows, &mut state.products, rows::product, |row| row.id)
        });
    }
    if !needs.coupons.is_empty() {
        let wanted = needs.coupons.iter().map(|id| id.get()).collect();
        batch.add(ids(wanted, "coupons", COUPON), |rows, state| {
            found(&needs.coupons, rows, &mut state.coupons, rows::coupon, |row| row.id)
        });
    }
    if !needs.charges.is_empty() {
        let wanted = needs.charges.iter().map(|id| id.get()).collect();
        batch.add(ids(wanted, "charges", CHARGE), |rows, state| {
            found(&needs.charges, rows, &mut state.charges, rows::charge, |row| row.id)
        });
    }
    if !needs.events.is_empty() {
        let wanted = needs.events.iter().map(|id| id.get()).collect();
        batch.add(ids(wanted, "events", EVENT), |rows, state| {
            found(&needs.events, rows, &mut state.known_events, rows::event, |row| row.id)
        });
    }
    if !needs.owned_coupons.is_empty() {
        let wanted = needs.owned_coupons.iter().map(|id| id.get()).collect();
        batch.add(ids(wanted, "owned_coupons", OWNED_COUPON), |rows, state| {
            let (wanted, into) = (&needs.owned_coupons, &mut state.owned_coupons);
            found(wanted, rows, into, rows::owned_coupon, |row| row.id)
        });
    }
}

/// Takes in the rows that were found, and that there are none for the other keys.
fn found<K: Copy + Ord + Hash, V>(
    wanted: &BTreeSet<K>,
    rows: Vec<Row>,
    into: &mut Rows<K, V>,
    read: fn(&Row) -> Result<V, StoreError>,
    key: fn(&V) -> K,
) -> Result<(), StoreError> {
    for row in rows {
        let value = read(&row)?;
        into.provide(key(&value), Some(value));
    }
    for key in wanted {
        into.provide(*key, None);
    }
    Ok(())
}

fn pending_charges<'a>(batch: &mut QueryBatch<'a>, needs: &'a Needs) {
    if needs.pending_charges.is_empty() {
        return;
    }
    let customers: Vec<i64> = needs.pending_charges.iter().map(|id| id.get()).collect();
    let sql = format!(
        "SELECT {CHARGE} FROM charges
         WHERE status = 'pending' AND customer_id = ANY($1::bigint[])"
    );
    batch.add(Query::new(sql).with(customers), |rows, state| {
        for row in &rows {
            let row = rows::charge(row)?;
            state.charges.provide(row.id, Some(row));
        }
        state.pending_charges.extend(&needs.pending_charges);
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
        "SELECT {OWNED_COUPON} FROM unnest($1::bigint[], $2::bigint[]) AS wanted (coupon, customer)
         JOIN owned_coupons ON coupon_id = coupon AND customer_id = customer
         WHERE customer_id = ANY($2)"
    );
    batch.add(Query::new(sql).with(coupons).with(customers), |rows, state| {
        for row in &rows {
            let owned: OwnedCoupon = rows::owned_coupon(row)?;
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
    let sql = "SELECT known.key, known.owner, fingerprint, answer, created_at, digest
               FROM unnest($1::text[], $2::bigint[]) AS wanted (key, owner)
               JOIN idempotency_keys AS known
                    ON known.key = wanted.key AND known.owner = wanted.owner
               WHERE known.key = ANY($1)";
    batch.add(Query::new(sql).with(keys).with(owners), |rows, state| {
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

fn orders<'a>(batch: &mut QueryBatch<'a>, needs: &'a Needs) {
    if needs.orders.is_empty() {
        return;
    }
    let ids: Vec<i64> = needs.orders.iter().map(|id| id.get()).collect();
    let sql = format!("SELECT {ORDER} FROM orders WHERE id = ANY($1::bigint[])");
    batch.add(Query::new(sql).with(ids.clone()), |rows, state| {
        found(&needs.orders, rows, &mut state.orders, rows::order, |row| row.id)
    });
    batch.add(Query::new(rows::select_lines()).with(ids), |rows, state| {
        rows::lines(&rows, |order, line| {
            if let Some(order) = state.orders.fill(order) {
                order.lines.push(line);
            }
        })
    });
}

fn due_orders(batch: &mut QueryBatch<'_>, now: Timestamp) {
    let sql = format!(
        "SELECT {ORDER} FROM orders WHERE status = 'pending' AND expires_at <= $1
         ORDER BY expires_at, id LIMIT $2"
    );
    let limit = i64::try_from(EXPIRY_BATCH).unwrap_or(i64::MAX);
    batch.add(Query::new(sql).with(now.unix()).with(limit), |rows, state| {
        let due: Vec<Order> = rows.iter().map(rows::order).collect::<Result<_, _>>()?;
        state.due_orders = Some(due.iter().map(|order| order.id).collect());
        for order in due {
            state.orders.provide(order.id, Some(order));
        }
        Ok(())
    });
}

/// Orders have a line at least: one without has just been loaded, and by its id only.
fn lines_of_due_orders(execute: Execute<'_>, state: &mut State) -> Result<(), StoreError> {
    let due = state.due_orders.iter().flatten().copied();
    let bare = |id: &OrderId| state.orders.get(*id).is_some_and(|order| order.lines.is_empty());
    let ids: Vec<i64> = due.filter(bare).map(OrderId::get).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let read = execute(vec![Query::new(rows::select_lines()).with(ids)])?;
    rows::lines(read.first().map_or(&[], Vec::as_slice), |order, line| {
        if let Some(order) = state.orders.fill(order) {
            order.lines.push(line);
        }
    })
}

/// The greatest id of each kind in use.
fn newest_ids() -> Query<'static> {
    // Not max(id), which is read from end to end once it was planned while the table was empty.
    let newest = |table| format!("(SELECT id FROM {table} ORDER BY id DESC LIMIT 1)");
    Query::new(format!("SELECT {}", TABLES_WITH_IDS.map(newest).join(", ")))
}
