//! The next free ids, and their allocation.

use crate::id::{
    AuditEntryId, ChargeId, CouponId, CustomerId, EventId, LedgerEntryId, OrderId, OwnedCouponId,
    ProductId, StockMovementId, TokenId,
};
use crate::state::State;

/// The next free id of every kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the next id of the kind it is named after")]
pub struct NextIds {
    pub customer: i64,
    pub product: i64,
    pub coupon: i64,
    pub owned_coupon: i64,
    pub order: i64,
    pub charge: i64,
    pub ledger_entry: i64,
    pub stock_movement: i64,
    pub event: i64,
    pub audit_entry: i64,
    pub token: i64,
}

impl NextIds {
    /// The ids of a new store.
    pub const FIRST: Self = Self {
        customer: 1,
        product: 1,
        coupon: 1,
        owned_coupon: 1,
        order: 1,
        charge: 1,
        ledger_entry: 1,
        stock_movement: 1,
        event: 1,
        audit_entry: 1,
        token: 1,
    };
}

fn take(next: &mut i64) -> i64 {
    let id = *next;
    *next = id.saturating_add(1);
    id
}

impl State {
    /// Reserves an id that a caller chose, so that it is not allocated again.
    pub(crate) fn reserve_customer_id(&mut self, id: CustomerId) {
        let Some(ids) = self.misread.check(self.ids.as_mut()) else { return };
        ids.customer = id.get().saturating_add(1).max(ids.customer);
    }

    /// Does the same as [`State::reserve_customer_id`] for a product.
    pub(crate) fn reserve_product_id(&mut self, id: ProductId) {
        let Some(ids) = self.misread.check(self.ids.as_mut()) else { return };
        ids.product = id.get().saturating_add(1).max(ids.product);
    }
}

macro_rules! next_ids {
    ($($method:ident, $field:ident, $id:ident;)+) => {
        impl State {$(
            pub(crate) fn $method(&mut self) -> $id {
                let ids = self.misread.check(self.ids.as_mut());
                $id::new(ids.map_or(0, |ids| take(&mut ids.$field)))
            }
        )+}
    };
}

next_ids! {
    next_customer_id, customer, CustomerId;
    next_product_id, product, ProductId;
    next_coupon_id, coupon, CouponId;
    next_owned_coupon_id, owned_coupon, OwnedCouponId;
    next_order_id, order, OrderId;
    next_charge_id, charge, ChargeId;
    next_ledger_entry_id, ledger_entry, LedgerEntryId;
    next_stock_movement_id, stock_movement, StockMovementId;
    next_event_id, event, EventId;
    next_audit_entry_id, audit_entry, AuditEntryId;
    next_token_id, token, TokenId;
}
