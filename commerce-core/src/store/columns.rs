//! Column tables of the SQL stores: one table an entity, from which both stores build their reader, `SELECT`,
//! `INSERT` and `UPDATE`.

use super::lists::has_status;
use super::values::{ColumnType, FromColumn, IntoValue, RowReader, Value, get, required};
use crate::clock::Timestamp;
use crate::id::{
    AuditEntryId, ChargeId, CouponId, CustomerId, EventId, LedgerEntryId, OrderId, OwnedCouponId,
    ProductId, RefundId, StockMovementId, TokenId,
};
use crate::idempotency::IdempotencyRecord;
use crate::model::audit_trail::{
    Action, Actor, ActorKind, AuditEntry, FieldChanges, Subject, SubjectKind,
};
use crate::model::auth::{Credentials, PasswordHash, SessionRow, TokenHash};
use crate::model::coupon::{
    BelowMinimum, Coupon, CouponUsage, Discount, OwnedCoupon, OwnedCouponStatus,
};
use crate::model::delivery::{DeliveryRow, DeliveryStatus};
use crate::model::event::{Epoch, EventKind, EventRow};
use crate::model::order::{LineCancellation, Order, OrderLine, OrderStatus};
use crate::model::product::{Product, ProductStatus, Purchase, SalePrice, StockMovement};
use crate::model::refund::{RefundKind, RefundRow, RefundStatus};
use crate::model::sale::FirstOrder;
use crate::model::settings::Settings;
use crate::model::token::Token;
use crate::model::wallet::{
    Account, ChargeRow, ChargeSource, ChargeStatus, Customer, CustomerStatus, EntryKind,
    LedgerEntry, Role,
};
use crate::money::Money;
use crate::state::{NextIds, State};

/// The part of a column in the statements that write a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnRole {
    /// The primary key, the first column of its table.
    Key,
    /// The customer of the row, which never changes; a cluster finds the machine of the row by it.
    Owner,
    /// Written by the insert only.
    Fixed,
    /// Written by the insert and by updates.
    Mutable,
    /// Written by the insert, and by the update of a row that was edited ([`Change::Edited`](crate::state::Change)): an
    /// order changes the stock of a product, and need not write its name and prices.
    Rare,
    /// Written by a statement of its own.
    Loaded,
}

/// A column of a table whose rows are of type `T`.
#[derive(Debug)]
pub struct Column<T> {
    /// The name.
    pub name: &'static str,
    /// The type.
    pub kind: ColumnType,
    /// The part in the statements that write a row.
    pub role: ColumnRole,
    /// Returns the value in a row that is saved with a state.
    pub value: for<'a> fn(&'a T, &State) -> Value<'a>,
}

/// A type that is kept as a row of a table.
pub trait Entity: Sized + 'static {
    /// The name of the table.
    const TABLE: &'static str;
    /// The columns of [`Entity::read`], in its order.
    const SELECT: &'static str;
    /// The columns, with the key first.
    const COLUMNS: &'static [Column<Self>];

    /// Reads a row of [`Entity::SELECT`].
    ///
    /// # Errors
    ///
    /// A column holds another type or an invalid value.
    fn read<R: RowReader>(row: &R) -> Result<Self, R::Error>;
}

/// Implements [`Entity`]: a line a column, as `role name: type = value of a row;`. The roles are those of
/// [`ColumnRole`], and two for columns that [`Entity::read`] leaves out: `derived` is mutable, `digest` fixed.
macro_rules! entity {
    ($entity:ty, $table:literal, |$row:ident, $state:ident| {
        $($role:ident $name:ident: $type:ty = $value:expr;)+
    } => $build:expr) => {
        impl Entity for $entity {
            const TABLE: &'static str = $table;
            const SELECT: &'static str = concat!($(entity!(@select $role $name)),+);
            const COLUMNS: &'static [Column<Self>] = &[$({
                fn value<'a>($row: &'a $entity, $state: &State) -> Value<'a> {
                    let _ = $state;
                    IntoValue::into_value($value)
                }
                let (name, kind) = (stringify!($name), <$type as FromColumn>::TYPE);
                Column { name, kind, role: entity!(@role $role), value }
            }),+];

            fn read<R: RowReader>($row: &R) -> Result<Self, R::Error> {
                let mut next = 0..;
                $(entity!(@read $role $row next $name: $type);)+
                Ok($build)
            }
        }
    };
    (@select key $name:ident) => { stringify!($name) };
    (@select derived $name:ident) => { "" };
    (@select digest $name:ident) => { "" };
    (@select $role:ident $name:ident) => { concat!(", ", stringify!($name)) };
    (@role key) => { ColumnRole::Key };
    (@role owner) => { ColumnRole::Owner };
    (@role fixed) => { ColumnRole::Fixed };
    (@role digest) => { ColumnRole::Fixed };
    (@role mutable) => { ColumnRole::Mutable };
    (@role rare) => { ColumnRole::Rare };
    (@role derived) => { ColumnRole::Mutable };
    (@role loaded) => { ColumnRole::Loaded };
    (@read derived $row:ident $next:ident $name:ident: $type:ty) => {};
    (@read digest $row:ident $next:ident $name:ident: $type:ty) => {};
    (@read $role:ident $row:ident $next:ident $name:ident: $type:ty) => {
        let $name: $type = get($row, $next.next().unwrap_or_default())?;
    };
}

entity!(Account, "customers", |row, state| {
    key id: CustomerId = row.customer.id;
    fixed name: String = row.customer.name.as_str();
    loaded login: Option<String> = row.customer.login.as_deref();
    fixed role: Role = row.customer.role;
    fixed status: CustomerStatus = row.customer.status;
    fixed created_at: Timestamp = row.customer.created_at;
    mutable balance: Money = row.balance;
    mutable last_entry: Option<LedgerEntryId> = row.last_entry;
    mutable last_order: Option<OrderId> = row.last_order;
    mutable first_order: Option<OrderId> = row.first_order.map(|first| first.order_id);
    mutable first_paid_at: Option<Timestamp> = row.first_order.map(|first| first.paid_at);
    mutable first_cancelled: i64 = i64::from(row.first_order.is_some_and(|first| first.is_cancelled));
    rare debt: Money = row.debt;
} => Account {
    customer: Customer { id, name, login, role, status, created_at },
    balance,
    debt,
    last_entry,
    last_order,
    first_order: first_order.zip(first_paid_at).map(|(order_id, paid_at)| FirstOrder {
        paid_at,
        order_id,
        is_cancelled: first_cancelled != 0,
    }),
});

entity!(Product, "products", |row, state| {
    key id: ProductId = row.id;
    rare name: String = row.name.as_str();
    rare price: Money = row.regular_price;
    mutable stock: i64 = row.stock;
    rare status: ProductStatus = row.status;
    rare sale_price: Option<Money> = row.sale.map(|sale| sale.price);
    rare sale_from: Option<Timestamp> = row.sale.map(|sale| sale.from);
    rare sale_until: Option<Timestamp> = row.sale.and_then(|sale| sale.until);
    rare low_stock_threshold: Option<i64> = row.low_stock_threshold;
    rare limit_per_customer: Option<i64> = row.limit_per_customer;
} => Product {
    id,
    name,
    price,
    regular_price: price,
    sale: match sale_price {
        Some(price) => {
            Some(SalePrice { price, from: required(row, 6, sale_from)?, until: sale_until })
        }
        None => None,
    },
    stock,
    low_stock_threshold,
    limit_per_customer,
    status,
});

entity!(StockMovement, "stock_movements", |row, state| {
    key id: StockMovementId = row.id;
    fixed product_id: ProductId = row.product_id;
    fixed delta: i64 = row.delta;
    fixed reason: String = row.reason.as_str();
    fixed created_at: Timestamp = row.created_at;
    fixed actor: Option<ActorKind> = row.actor.map(|actor| actor.parts().0);
    fixed actor_id: Option<i64> = row.actor.and_then(|actor| actor.parts().1);
} => StockMovement {
    id,
    product_id,
    delta,
    reason,
    actor: match actor {
        Some(kind) => Some(required(row, 5, Actor::from_parts(kind, actor_id))?),
        None => None,
    },
    created_at,
});

entity!(AuditEntry, "audit_trail", |row, state| {
    key id: AuditEntryId = row.id;
    fixed created_at: Timestamp = row.created_at;
    fixed actor: ActorKind = row.actor.parts().0;
    fixed actor_id: Option<i64> = row.actor.parts().1;
    fixed action: Action = row.action;
    fixed subject: SubjectKind = row.subject.parts().0;
    fixed subject_id: Option<i64> = row.subject.parts().1;
    fixed changes: Option<String> = row.changes.as_json();
} => AuditEntry {
    id,
    created_at,
    actor: required(row, 3, Actor::from_parts(actor, actor_id))?,
    action,
    subject: required(row, 6, Subject::from_parts(subject, subject_id))?,
    changes: FieldChanges::from_json(changes),
});

entity!(Token, "tokens", |row, state| {
    key id: TokenId = row.id;
    fixed name: String = row.name.as_str();
    fixed role: Role = row.role;
    fixed hash: String = row.hash.as_str();
    fixed created_at: Timestamp = row.created_at;
    fixed expires_at: Option<Timestamp> = row.expires_at;
    mutable revoked_at: Option<Timestamp> = row.revoked_at;
    mutable last_used_at: Option<Timestamp> = row.last_used_at;
} => Token { id, name, role, created_at, expires_at, revoked_at, last_used_at, hash });

entity!(Coupon, "coupons", |row, state| {
    key id: CouponId = row.id;
    rare name: String = row.name.as_str();
    fixed amount: Option<Money> = discount_columns(row).0;
    fixed percent: Option<i64> = discount_columns(row).1;
    fixed max_amount: Option<Money> = discount_columns(row).2;
    fixed min_order_amount: Option<Money> = row.min_order_amount;
    rare quantity: i64 = row.quantity;
    mutable issued: i64 = row.issued;
    fixed valid_from: Timestamp = row.valid_from;
    rare valid_until: Option<Timestamp> = row.valid_until;
    mutable used: i64 = row.usage.used;
    mutable given_back: i64 = row.usage.given_back;
    mutable discounts: Money = row.usage.discounts;
    mutable net: Money = row.usage.net;
    rare stopped_at: Option<Timestamp> = row.stopped_at;
    fixed below_minimum: BelowMinimum = row.below_minimum;
} => Coupon {
    id,
    name,
    discount: match amount {
        Some(amount) => Discount::Fixed { amount },
        None => Discount::Percent { percent: required(row, 3, percent)?, max_amount },
    },
    min_order_amount,
    below_minimum,
    quantity,
    issued,
    valid_from,
    valid_until,
    stopped_at,
    usage: CouponUsage { used, given_back, discounts, net },
});

/// The amount of a fixed discount, or the percentage and the maximum of another.
fn discount_columns(coupon: &Coupon) -> (Option<Money>, Option<i64>, Option<Money>) {
    match coupon.discount {
        Discount::Fixed { amount } => (Some(amount), None, None),
        Discount::Percent { percent, max_amount } => (None, Some(percent), max_amount),
    }
}

// The status depends on the order only. The reader of a coupon knows whether its campaign has ended.
entity!(OwnedCoupon, "owned_coupons", |row, state| {
    key id: OwnedCouponId = row.id;
    fixed coupon_id: CouponId = row.coupon_id;
    owner customer_id: CustomerId = row.customer_id;
    fixed rank: i64 = row.rank;
    mutable order_id: Option<OrderId> = row.order_id;
    fixed claimed_at: Timestamp = row.claimed_at;
    digest digest: Option<i64> = state.digest(row);
} => OwnedCoupon {
    id,
    coupon_id,
    customer_id,
    rank,
    status: order_id.map_or(OwnedCouponStatus::Held, |_| OwnedCouponStatus::Used),
    order_id,
    claimed_at,
});

// Lines have a table of their own, with another key in each store.
entity!(Order, "orders", |row, state| {
    key id: OrderId = row.id;
    owner customer_id: CustomerId = row.customer_id;
    fixed reference: Option<String> = row.reference.as_deref();
    mutable status: OrderStatus = row.status;
    fixed subtotal: Money = row.subtotal;
    fixed discount: Money = row.discount;
    derived paid: Money = row.paid();
    derived refunded: Money = row.refunded();
    fixed owned_coupon_id: Option<OwnedCouponId> = row.owned_coupon_id;
    fixed created_at: Timestamp = row.created_at;
    fixed expires_at: Option<Timestamp> = row.expires_at;
    mutable paid_at: Option<Timestamp> = row.paid_at;
    mutable cancelled_at: Option<Timestamp> = row.cancelled_at;
    fixed previous: Option<OrderId> = row.previous;
    digest digest: Option<i64> = state.digest(row);
} => Order {
    id,
    customer_id,
    reference,
    status,
    lines: Vec::new(),
    subtotal,
    discount,
    total: subtotal.checked_sub(discount).ok_or_else(|| {
        row.invalid(5, format!("an order has the subtotal {subtotal} and the discount {discount}"))
    })?,
    owned_coupon_id,
    created_at,
    expires_at,
    paid_at,
    cancelled_at,
    previous,
    cancellations: Vec::new(),
});

// The key has two columns: the order, and the number in it.
entity!(LineCancellation, "line_cancellations", |row, state| {
    key order_id: OrderId = row.order_id;
    fixed customer_id: CustomerId = row.customer_id;
    fixed number: i64 = row.number;
    fixed product_id: ProductId = row.product_id;
    fixed units: i64 = row.units;
    fixed amount: Money = row.amount;
    fixed is_restocked: i64 = i64::from(row.is_restocked);
    fixed event_id: Option<EventId> = row.event_id;
    fixed created_at: Timestamp = row.created_at;
    fixed line_units: i64 = row.line_units;
    fixed line_amount: Money = row.line_amount;
    fixed quantity: i64 = row.quantity;
    fixed net: Money = row.net;
} => LineCancellation {
    order_id,
    customer_id,
    number,
    product_id,
    units,
    amount,
    is_restocked: is_restocked != 0,
    event_id,
    created_at,
    line_units,
    line_amount,
    quantity,
    net,
});

entity!(ChargeRow, "charges", |row, state| {
    key id: ChargeId = row.id;
    owner customer_id: CustomerId = row.customer_id;
    fixed amount: Money = row.amount;
    mutable status: ChargeStatus = row.status;
    fixed created_at: Timestamp = row.created_at;
    fixed gateway: Option<String> = row.source.as_ref().map(|source| source.gateway.as_str());
    fixed reference: Option<String> = row.source.as_ref().map(|source| source.reference.as_str());
    fixed payment_method: Option<String> =
        row.source.as_ref().and_then(|source| source.payment_method.as_deref());
    mutable failure: Option<String> = row.failure.as_deref();
    mutable settled_at: Option<Timestamp> = row.settled_at;
    mutable balance_after: Option<Money> = row.balance_after;
    mutable refunded: Money = row.refunded;
    mutable disputed: Money = row.disputed;
    mutable reported_refunds: Money = row.reported_refunds;
    digest digest: Option<i64> = state.digest(row);
} => ChargeRow {
    id,
    customer_id,
    amount,
    status,
    created_at,
    source: match gateway {
        Some(gateway) => {
            Some(ChargeSource { gateway, reference: required(row, 6, reference)?, payment_method })
        }
        None => None,
    },
    failure,
    settled_at,
    balance_after,
    refunded,
    disputed,
    reported_refunds,
});

entity!(RefundRow, "refunds", |row, state| {
    key id: RefundId = row.id;
    owner customer_id: CustomerId = row.customer_id;
    fixed charge_id: ChargeId = row.charge_id;
    fixed kind: RefundKind = row.kind;
    fixed amount: Money = row.amount;
    mutable status: RefundStatus = row.status;
    fixed balance_after: Money = row.balance_after;
    fixed reference: Option<String> = row.reference.as_deref();
    mutable failure: Option<String> = row.failure.as_deref();
    fixed created_at: Timestamp = row.created_at;
    mutable settled_at: Option<Timestamp> = row.settled_at;
    digest digest: Option<i64> = state.digest(row);
} => RefundRow {
    id,
    customer_id,
    charge_id,
    kind,
    amount,
    status,
    balance_after,
    reference,
    failure,
    created_at,
    settled_at,
});

entity!(LedgerEntry, "ledger", |row, state| {
    key id: LedgerEntryId = row.id;
    fixed customer_id: CustomerId = row.customer_id;
    fixed kind: EntryKind = row.kind;
    fixed amount: Money = row.amount;
    fixed balance_after: Money = row.balance_after;
    fixed order_id: Option<OrderId> = row.order_id;
    fixed charge_id: Option<ChargeId> = row.charge_id;
    fixed note: Option<String> = row.note.as_deref();
    fixed created_at: Timestamp = row.created_at;
    fixed previous: Option<LedgerEntryId> = row.previous;
    digest digest: Option<i64> = state.digest(row);
} => LedgerEntry {
    id,
    customer_id,
    kind,
    amount,
    balance_after,
    order_id,
    charge_id,
    note,
    created_at,
    previous,
});

entity!(EventRow, "events", |row, state| {
    key id: EventId = row.id;
    fixed kind: EventKind = row.kind;
    fixed order_id: OrderId = row.order_id;
    fixed trace: Option<String> = row.trace.as_deref();
    fixed created_at: Timestamp = row.created_at;
} => EventRow { id, kind, order_id, trace, created_at });

entity!(Epoch, "epochs", |row, state| {
    key first_event: EventId = row.first_event;
    mutable name: String = row.name.as_str();
} => Epoch { first_event, name });

entity!(DeliveryRow, "deliveries", |row, state| {
    key event_id: EventId = row.event_id;
    fixed order_id: OrderId = row.order_id;
    mutable status: DeliveryStatus = row.status;
    mutable attempts: i64 = row.attempts;
    mutable due_at: Timestamp = row.due_at;
    mutable token: Option<i64> = row.token;
    mutable error: Option<String> = row.error.as_deref();
    mutable updated_at: Timestamp = row.updated_at;
} => DeliveryRow { event_id, order_id, status, attempts, due_at, token, error, updated_at });

/// The columns of an [`OrderLine`], before the key of the store. The regular price is NULL if it was paid.
pub const LINE: &str = "product_id, name, unit_price, quantity, regular_price";
/// The number of columns of [`LINE`].
pub const LINE_COLUMNS: usize = 5;
/// The columns of an [`IdempotencyRecord`].
pub const KEY_RECORD: &str = "fingerprint, answer, created_at, digest, request";
/// The columns of [`Credentials`], from `customers` joined to `credentials`.
pub const CREDENTIALS: &str = "id, login, password";

/// The columns of a [`Purchase`].
pub const PURCHASE: &str = "product_id, customer_id, units";

/// Reads a row of [`PURCHASE`].
///
/// # Errors
///
/// A column holds another type.
pub fn purchase<R: RowReader>(row: &R) -> Result<Purchase, R::Error> {
    Ok(Purchase { product_id: get(row, 0)?, customer_id: get(row, 1)?, units: get(row, 2)? })
}

/// The tables whose rows have consecutive ids, in the order of [`next_ids`].
pub const TABLES_WITH_IDS: [&str; 11] = [
    Account::TABLE,
    Product::TABLE,
    Coupon::TABLE,
    OwnedCoupon::TABLE,
    Order::TABLE,
    ChargeRow::TABLE,
    LedgerEntry::TABLE,
    StockMovement::TABLE,
    EventRow::TABLE,
    AuditEntry::TABLE,
    Token::TABLE,
];

/// Reads an order line, whose columns are those of [`LINE`].
///
/// # Errors
///
/// A column holds another type or an invalid value.
pub fn line<R: RowReader>(row: &R) -> Result<OrderLine, R::Error> {
    let (unit_price, quantity): (Money, i64) = (get(row, 2)?, get(row, 3)?);
    Ok(OrderLine {
        product_id: get(row, 0)?,
        name: get(row, 1)?,
        unit_price,
        regular_price: get::<Option<Money>, R>(row, 4)?.unwrap_or(unit_price),
        quantity,
        amount: unit_price.checked_mul(quantity).unwrap_or(Money::from_minor(i64::MAX)),
    })
}

/// Reads the columns of [`KEY_RECORD`], which begin at index `first`.
///
/// # Errors
///
/// A column holds another type or an invalid value.
pub fn key_record<R: RowReader>(row: &R, first: usize) -> Result<IdempotencyRecord, R::Error> {
    Ok(IdempotencyRecord {
        fingerprint: get(row, first)?,
        answer: get(row, first.saturating_add(1))?,
        created_at: get(row, first.saturating_add(2))?,
        digest: get(row, first.saturating_add(3))?,
        request: get(row, first.saturating_add(4))?,
    })
}

/// Selects the settings.
pub const SETTINGS: &str = "SELECT zone FROM store";

/// Reads a row of [`SETTINGS`].
///
/// # Errors
///
/// A column holds another type or an invalid value.
pub fn settings<R: RowReader>(row: &R) -> Result<Settings, R::Error> {
    Ok(Settings::new(get(row, 0)?))
}

/// Reads the columns of [`CREDENTIALS`].
///
/// # Errors
///
/// A column holds another type or an invalid value.
pub fn credentials<R: RowReader>(row: &R) -> Result<Credentials, R::Error> {
    let password = PasswordHash::new(get::<String, R>(row, 2)?);
    Ok(Credentials { customer_id: get(row, 0)?, login: get(row, 1)?, password })
}

/// Returns the condition of keys that may hold personal data of a customer
/// ([`may_be_personal`](crate::state::may_be_personal)) in SQL. It finds some others too.
#[must_use]
pub fn personal_keys(customer: &str) -> String {
    [
        "owner = ",
        customer,
        " AND answer NOT LIKE '{\"order%' AND answer NOT LIKE '{\"refused\":%' \
         OR owner = 0 AND (answer LIKE '{\"refused\":{\"code\":\"login_taken\"%' \
         OR answer LIKE '{\"customer\":{\"id\":' || ",
        customer,
        " || ',%')",
    ]
    .concat()
}

/// Reads the columns `customer_id, created_at, expires_at` of the session of a token.
///
/// # Errors
///
/// A column holds another type or an invalid value.
pub fn session<R: RowReader>(row: &R, token: TokenHash) -> Result<SessionRow, R::Error> {
    let (customer_id, created_at, expires_at) = (get(row, 0)?, get(row, 1)?, get(row, 2)?);
    Ok(SessionRow { token, customer_id, created_at, expires_at })
}

/// Reads the greatest id of each of [`TABLES_WITH_IDS`] and returns the ids after them. Rows are never deleted
/// and transactions that write run one at a time, so ids are in commit order and have no gaps.
///
/// # Errors
///
/// A column holds another type.
pub fn next_ids<R: RowReader>(row: &R) -> Result<NextIds, R::Error> {
    let next =
        |column| get(row, column).map(|newest: Option<i64>| newest.unwrap_or(0).saturating_add(1));
    Ok(NextIds {
        customer: next(0)?,
        product: next(1)?,
        coupon: next(2)?,
        owned_coupon: next(3)?,
        order: next(4)?,
        charge: next(5)?,
        ledger_entry: next(6)?,
        stock_movement: next(7)?,
        event: next(8)?,
        audit_entry: next(9)?,
        token: next(10)?,
    })
}

/// Counts the admins who can log in
/// ([`Customer::is_acting_admin`](crate::model::wallet::Customer::is_acting_admin)). The condition `role <> 'customer'` lets
/// `SQLite` use the index of staff.
pub const ADMINS: &str = "SELECT count(*) FROM customers
    WHERE role = 'admin' AND role <> 'customer' AND status = 'active' AND login IS NOT NULL";

/// Returns the condition of overdue orders at a time: [`Order::is_due_at`] in SQL.
#[must_use]
pub fn overdue(now: &str) -> String {
    format!("{} AND expires_at <= {now}", has_status(OrderStatus::Pending))
}

/// Selects the orders whose `paid` and `refunded` do not follow from the rest of their rows and from their cancellations
/// of parts.
#[must_use]
pub fn wrong_payments() -> String {
    format!(
        "SELECT id FROM orders LEFT JOIN (
             SELECT order_id, customer_id,
                    sum(CASE WHEN event_id IS NULL THEN amount ELSE 0 END) AS unpaid,
                    sum(CASE WHEN event_id IS NULL THEN 0 ELSE amount END) AS back
             FROM line_cancellations GROUP BY order_id, customer_id
         ) AS parts ON parts.order_id = orders.id AND parts.customer_id = orders.customer_id
         WHERE paid <> CASE WHEN paid_at IS NULL THEN 0 ELSE subtotal - discount - coalesce(unpaid, 0) END
            OR refunded <> CASE WHEN {} THEN paid ELSE coalesce(back, 0) END",
        has_status(OrderStatus::Cancelled)
    )
}

/// Describes a row of [`wrong_payments`].
#[must_use]
pub fn wrong_payment(order: i64) -> String {
    format!("order {order} has an amount paid or refunded that its status and total do not match")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_columns_leave_out_derived_columns_when_read() {
        let select = "id, customer_id, reference, status, subtotal, discount, owned_coupon_id, created_at, expires_at, \
                      paid_at, cancelled_at, previous";
        assert_eq!(Order::SELECT, select);
        let written: Vec<&str> = Order::COLUMNS.iter().map(|column| column.name).collect();
        let written = written.join(", ");
        assert_eq!(
            written,
            format!("{}, digest", select.replace(" discount, ", " discount, paid, refunded, "))
        );
    }
}
