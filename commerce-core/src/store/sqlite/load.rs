//! Loads the rows that a batch needs, by prepared statements of several rows.

use super::query::{groups, many, one, read, repeated, select, text};
use super::read::{cart, order};
use super::{auth, deliveries};
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::id::OrderId;
use crate::limits::EXPIRY_BATCH;
use crate::model::coupon::OwnedCoupon;
use crate::model::order::OrderStatus;
use crate::model::refund::RefundRow;
use crate::model::wallet::{ChargeRow, LedgerEntry};
use crate::state::{Needs, PersonalData, Rows, State};
use crate::store::columns::{self, Entity, KEY_RECORD, TABLES_WITH_IDS, personal_keys};
use crate::store::lists::{has_status, is_live};
use crate::store::values::get;
use rusqlite::types::FromSql;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params, params_from_iter};
use std::collections::BTreeSet;
use std::hash::Hash;
use std::sync::LazyLock;

/// Selects the greatest id of each table; needed by every transaction.
static NEWEST_IDS: LazyLock<String> = LazyLock::new(|| {
    let newest = TABLES_WITH_IDS.map(|table| format!("(SELECT max(id) FROM {table})"));
    format!("SELECT {}", newest.join(", "))
});

pub(super) fn load(db: &Connection, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
    by_id(db, &needs.accounts, &mut state.accounts)?;
    by_id(db, &needs.products, &mut state.products)?;
    by_id(db, &needs.coupons, &mut state.coupons)?;
    by_id(db, &needs.owned_coupons, &mut state.owned_coupons)?;
    by_id(db, &needs.tokens, &mut state.tokens)?;
    by_id(db, &needs.charges, &mut state.charges)?;
    pending_charges(db, needs, state)?;
    by_id(db, &needs.refunds, &mut state.refunds)?;
    refunds(db, needs, state)?;
    by_id(db, &needs.events, &mut state.known_events)?;
    deliveries::load(db, needs, &mut state.deliveries)?;
    for customer in &needs.carts {
        state.carts.provide(*customer, Some((*customer, cart(db, *customer)?)));
    }
    claims(db, needs, state)?;
    keys(db, needs, state)?;
    auth::load(db, needs, state)?;
    personal_data(db, needs, state)?;
    for id in &needs.orders {
        state.orders.provide(*id, order(db, *id)?);
    }
    references(db, needs, state)?;
    purchases(db, needs, state)?;
    if let Some(now) = needs.due_orders {
        due_orders(db, now, state)?;
    }
    if needs.ids {
        state.ids = one(db, &NEWEST_IDS, [], |row| columns::next_ids(row))?;
    }
    Ok(())
}

fn by_id<K: Copy + Ord + Hash + ToSql + FromSql, T: Entity>(
    db: &Connection,
    ids: &BTreeSet<K>,
    rows: &mut Rows<K, T>,
) -> Result<(), StoreError> {
    let ids: Vec<K> = ids.iter().copied().collect();
    for (size, groups) in groups(&ids) {
        let sql = text(T::TABLE, "by id", size, || {
            if size == 1 {
                return select::<T>("WHERE id = ?1");
            }
            // A cross join reads the left side first, and looks each id up on the right.
            let (columns, table, values) = (T::SELECT, T::TABLE, repeated("(?)", size));
            format!("SELECT {columns} FROM (VALUES {values}) CROSS JOIN {table} ON id = column1")
        });
        let mut select = db.prepare_cached(sql)?;
        for group in groups {
            let mut found = select.query(params_from_iter(group))?;
            while let Some(row) = found.next()? {
                rows.provide(row.get(0)?, Some(read(row)?));
            }
            for id in group {
                rows.provide(*id, None);
            }
        }
    }
    Ok(())
}

fn pending_charges(db: &Connection, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
    for customer in &needs.pending_charges {
        let sql = select::<ChargeRow>("WHERE status = 'pending' AND customer_id = ?1");
        let rows: Vec<ChargeRow> = many(db, &sql, [customer], read)?;
        for row in rows {
            state.charges.provide(row.id, Some(row));
        }
        state.pending_charges.insert(*customer);
    }
    Ok(())
}

fn refunds(db: &Connection, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
    for charge in &needs.refunds_of {
        let rows: Vec<RefundRow> =
            many(db, &select::<RefundRow>("WHERE charge_id = ?1"), [charge], read)?;
        for row in rows {
            state.refunds.provide(row.id, Some(row));
        }
        state.refunded_charges.insert(*charge);
    }
    Ok(())
}

fn claims(db: &Connection, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
    for claim in &needs.claims {
        let sql = select::<OwnedCoupon>("WHERE coupon_id = ?1 AND customer_id = ?2");
        let owned: Option<OwnedCoupon> = one(db, &sql, [claim.0.get(), claim.1.get()], read)?;
        state.claims.provide(*claim, owned.as_ref().map(|owned| owned.id));
        if let Some(owned) = owned {
            state.owned_coupons.provide(owned.id, Some(owned));
        }
    }
    Ok(())
}

fn keys(db: &Connection, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
    if needs.keys.is_empty() {
        return Ok(());
    }
    let sql = text("idempotency_keys", "by key", 1, || {
        format!("SELECT {KEY_RECORD} FROM idempotency_keys WHERE key = ?1 AND owner = ?2")
    });
    let mut select = db.prepare_cached(sql)?;
    for (key, owner) in &needs.keys {
        let read = |row: &Row<'_>| columns::key_record(row, 0);
        let record = select.query_row(params![key.as_str(), owner], read).optional()?;
        state.provide_key(key.clone(), *owner, record);
    }
    Ok(())
}

fn references(db: &Connection, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
    for (customer, reference) in &needs.references {
        let sql = "SELECT min(id) FROM orders WHERE reference = ?1 AND customer_id = ?2";
        let order: Option<Option<OrderId>> =
            one(db, sql, params![reference, customer], |row| row.get(0))?;
        state.provide_reference(*customer, reference.clone(), order.flatten());
    }
    Ok(())
}

/// Loads personal data by scans of three tables: erasing a customer is rare, and an index would cost every order.
fn personal_data(db: &Connection, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
    for &customer in &needs.personal {
        let is_pending = has_status(OrderStatus::Pending);
        let pending = format!("SELECT id FROM orders WHERE {is_pending} AND customer_id = ?1");
        let keys = format!(
            "SELECT key, owner, {KEY_RECORD} FROM idempotency_keys WHERE {} ORDER BY 1, 2",
            personal_keys("?1")
        );
        let refunds = "SELECT count(*) FROM refunds WHERE status = 'pending' AND customer_id = ?1";
        let refunds: Option<i64> = one(db, refunds, [customer], |row| row.get(0))?;
        let data = PersonalData {
            pending_refunds: u64::try_from(refunds.unwrap_or(0)).unwrap_or(0),
            pending_orders: many(db, &pending, [customer], |row| row.get(0))?.into_iter().collect(),
            notes: many(db, &with_digest::<LedgerEntry>("note"), [customer], read_with_digest)?,
            payment_methods: many(
                db,
                &with_digest::<ChargeRow>("payment_method"),
                [customer],
                read_with_digest,
            )?,
            keys: many(db, &keys, [customer], |row| {
                Ok((get(row, 0)?, row.get(1)?, columns::key_record(row, 2)?))
            })?,
        };
        state.provide_personal_data(customer, data);
    }
    Ok(())
}

fn purchases(db: &Connection, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
    for (product, customer) in &needs.purchases {
        let sql = "SELECT units FROM purchases WHERE product_id = ?1 AND customer_id = ?2";
        let units: Option<i64> = one(db, sql, params![product, customer], |row| row.get(0))?;
        state.purchases.provide(*product, *customer, units.unwrap_or(0));
    }
    for product in &needs.live_units {
        // The key of a line begins with its order.
        let is_live = is_live();
        let sql = format!(
            "SELECT customer_id, sum(quantity) FROM (
                 SELECT customer_id, quantity FROM order_lines JOIN orders ON orders.id = order_lines.order_id
                 WHERE product_id = ?1 AND {is_live}
                 UNION ALL
                 SELECT parts.customer_id, -units FROM line_cancellations AS parts
                 JOIN orders ON orders.id = parts.order_id
                 WHERE product_id = ?1 AND {is_live}
             ) GROUP BY customer_id HAVING sum(quantity) > 0"
        );
        let units = many(db, &sql, [product], |row| Ok((row.get(0)?, row.get(1)?)))?;
        state.purchases.provide_live(*product, units.into_iter().collect());
    }
    Ok(())
}

/// Selects the rows of a customer with a value in that column, each followed by its digest.
fn with_digest<T: Entity>(column: &str) -> String {
    format!(
        "SELECT {}, digest FROM {} WHERE customer_id = ?1 AND {column} IS NOT NULL ORDER BY id",
        T::SELECT,
        T::TABLE
    )
}

fn read_with_digest<T: Entity>(row: &Row<'_>) -> rusqlite::Result<(T, Option<i64>)> {
    Ok((read(row)?, row.get(T::SELECT.split(", ").count())?))
}

fn due_orders(db: &Connection, now: Timestamp, state: &mut State) -> Result<(), StoreError> {
    let sql = text("orders", "overdue", EXPIRY_BATCH, || {
        let overdue = columns::overdue("?1");
        format!("SELECT id FROM orders WHERE {overdue} ORDER BY expires_at, id LIMIT ?2")
    });
    let limit = super::query::limit(EXPIRY_BATCH);
    let due: Vec<OrderId> = many(db, sql, params![now, limit], |row| row.get(0))?;
    for id in &due {
        state.orders.provide(*id, order(db, *id)?);
    }
    state.due_orders = Some(due);
    Ok(())
}
