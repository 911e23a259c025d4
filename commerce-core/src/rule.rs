//! The rules: one file an operation, each a plain function of what is loaded, what is asked, and now.
//!
//! A rule makes all its checks before its first change, so that a refusal leaves nothing behind.

use crate::clock::Timestamp;
use crate::command::{Context, Output};
use crate::error::Refusal;
use crate::id::{ChargeId, CouponId, CustomerId, EventId, OrderId, OwnedCouponId, ProductId};
use crate::model::auth::LoginHash;
use crate::model::order::Order;
use crate::model::product::Product;
use crate::model::wallet::{Account, ChargeRow, EntryKind, LedgerEntry};
use crate::money::{InCurrency, Money};
use crate::state::{Needs, State};
use crate::version::Version;
use serde::Serialize;

mod add_coupon;
mod add_customer;
mod add_product;
mod adjust_stock;
mod cancel_order;
mod charge_balance;
mod claim_coupon;
mod debit_balance;
mod edit_cart;
pub(crate) mod expire_orders;
mod open_charge;
mod order_effects;
mod pay_order;
mod place_order;
mod relay_events;
mod replay_events;
mod retry_events;
mod sessions;
mod set_credentials;
mod settle_charge;
#[cfg(test)]
pub(crate) mod testing;
mod update_product;
mod validate;

pub use add_coupon::AddCoupon;
pub use add_customer::AddCustomer;
pub use add_product::AddProduct;
pub use adjust_stock::AdjustStock;
pub use cancel_order::CancelOrder;
pub use charge_balance::ChargeBalance;
pub use claim_coupon::ClaimCoupon;
pub use debit_balance::DebitBalance;
pub use edit_cart::{CartEdit, EditCart};
pub use expire_orders::ExpireOrders;
pub use open_charge::OpenCharge;
pub use pay_order::PayOrder;
pub use place_order::{OrderItems, PayWhen, PlaceOrder};
pub use relay_events::{AttemptResult, DeliveryOutcome, EventLease, LeasedEvent, RelayEvents};
pub use replay_events::ReplayEvents;
pub use retry_events::RetryEvents;
pub use sessions::{CloseSession, OpenSession, RecordLoginAttempt, UnlockLogin};
pub use set_credentials::{NewLogin, SetCredentials};
pub use settle_charge::{SettleCharge, Settlement};
pub use update_product::UpdateProduct;

/// What the engine asks of every operation.
pub(crate) trait Rule {
    /// Whose idempotency keys apply, as far as it is known yet.
    fn owner(&self, _state: &State) -> Option<CustomerId> {
        None
    }

    /// Adds the rows it may touch that are not loaded yet.
    fn needs(&self, state: &State, needs: &mut Needs);

    /// Decides, and changes the state when the answer is yes.
    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal>;

    /// The version of what it changes, as [`Version::of`] the body that clients are shown of it.
    ///
    /// Refused as not found when it does not exist, and as `precondition_failed` where nothing with a version is
    /// changed: to ignore a condition would overwrite what the caller wanted to protect.
    fn version(&self, _state: &State) -> Result<Version, Refusal> {
        Err(Refusal::PreconditionFailed)
    }

    /// About how many rows it touches, as far as the request tells.
    fn weight(&self) -> usize {
        16
    }
}

impl Needs {
    pub(crate) fn account(&mut self, state: &State, id: CustomerId) {
        if !state.accounts.is_loaded(id) {
            self.accounts.insert(id);
        }
    }

    pub(crate) fn product(&mut self, state: &State, id: ProductId) {
        if !state.products.is_loaded(id) {
            self.products.insert(id);
        }
    }

    pub(crate) fn cart(&mut self, state: &State, id: CustomerId) {
        if !state.carts.is_loaded(id) {
            self.carts.insert(id);
            return;
        }
        for &product in state.cart(id).into_iter().flat_map(|lines| lines.keys()) {
            self.product(state, product);
        }
    }

    pub(crate) fn coupon(&mut self, state: &State, id: CouponId) {
        if !state.coupons.is_loaded(id) {
            self.coupons.insert(id);
        }
    }

    pub(crate) fn login(&mut self, state: &State, login: &str) {
        if !state.is_login_loaded(login) {
            self.logins.insert(login.to_owned());
        }
    }

    pub(crate) fn attempts(&mut self, state: &State, login: LoginHash) {
        if !state.attempts.is_loaded(login) {
            self.attempts.insert(login);
        }
    }

    /// A claimed coupon and its campaign.
    pub(crate) fn owned_coupon(&mut self, state: &State, id: OwnedCouponId) {
        if !state.owned_coupons.is_loaded(id) {
            self.owned_coupons.insert(id);
        } else if let Some(owned) = state.owned_coupons.get(id) {
            self.coupon(state, owned.coupon_id);
        }
    }

    pub(crate) fn event(&mut self, state: &State, id: EventId) {
        if !state.known_events.is_loaded(id) {
            self.events.insert(id);
        }
    }

    /// All deliveries of an order.
    pub(crate) fn deliveries(&mut self, state: &State, order: OrderId) {
        if !state.deliveries.is_order_loaded(order) {
            self.deliveries.insert(order);
        }
    }

    pub(crate) fn order(&mut self, state: &State, id: OrderId) {
        if !state.orders.is_loaded(id) {
            self.orders.insert(id);
        }
    }

    pub(crate) fn charge(&mut self, state: &State, id: ChargeId) {
        if !state.charges.is_loaded(id) {
            self.charges.insert(id);
        }
    }

    /// An order and all that changes with its status.
    pub(crate) fn whole_order(&mut self, state: &State, id: OrderId) {
        self.order(state, id);
        if !state.orders.is_loaded(id) {
            return;
        }
        let Some(order) = state.orders.get(id) else { return };
        self.account(state, order.customer_id);
        for line in &order.lines {
            self.product(state, line.product_id);
        }
        if let Some(owned) = order.owned_coupon_id {
            self.owned_coupon(state, owned);
        }
    }
}

impl State {
    /// The version of a body as clients are shown it.
    fn version_of(&self, body: impl Serialize) -> Version {
        Version::of(&InCurrency { body, currency: self.currency })
    }

    fn cart(&self, id: CustomerId) -> Option<&crate::model::cart::CartLines> {
        self.carts.get(id).map(|(_, lines)| lines)
    }

    fn account(&self, id: CustomerId) -> Result<&Account, Refusal> {
        self.accounts.get(id).ok_or(Refusal::CustomerNotFound { customer_id: id })
    }

    fn known_product(&self, id: ProductId) -> Result<&Product, Refusal> {
        self.products.get(id).ok_or_else(|| Refusal::ProductNotFound { product_ids: vec![id] })
    }

    fn active_product(&self, id: ProductId) -> Result<&Product, Refusal> {
        let product = self.known_product(id)?;
        if product.is_active() {
            return Ok(product);
        }
        Err(Refusal::ProductArchived { product_ids: vec![id] })
    }

    fn change_product(
        &mut self,
        id: ProductId,
        change: impl FnOnce(&mut Product),
    ) -> Result<Output, Refusal> {
        let unknown = || Refusal::ProductNotFound { product_ids: vec![id] };
        let product = self.products.get_mut(id).ok_or_else(unknown)?;
        change(product);
        Ok(Output::Product(product.clone()))
    }

    fn known_order(&self, id: OrderId) -> Result<&Order, Refusal> {
        self.orders.get(id).ok_or(Refusal::OrderNotFound { order_id: id })
    }

    fn change_order(&mut self, order: Order) -> Result<Output, Refusal> {
        let row =
            self.orders.get_mut(order.id).ok_or(Refusal::OrderNotFound { order_id: order.id })?;
        row.clone_from(&order);
        Ok(Output::Order(order))
    }

    /// A charge, once it is loaded.
    fn loaded_charge(&self, id: ChargeId) -> Option<&ChargeRow> {
        self.charges.is_loaded(id).then(|| self.charges.get(id)).flatten()
    }

    /// Whose order it is, once it is loaded.
    fn order_owner(&self, id: OrderId) -> Option<CustomerId> {
        self.orders
            .is_loaded(id)
            .then(|| self.orders.get(id).map(|order| order.customer_id))
            .flatten()
    }

    /// Moves money on a balance and writes the ledger. The rule has found `balance_after` to be right.
    fn move_money(&mut self, movement: &Movement<'_>, now: Timestamp) -> LedgerEntry {
        let id = self.next_ledger_entry_id();
        let previous = self.accounts.get_mut(movement.customer_id).and_then(|account| {
            account.balance = movement.balance_after;
            account.last_entry.replace(id)
        });
        let entry = LedgerEntry {
            id,
            customer_id: movement.customer_id,
            kind: movement.kind,
            amount: movement.amount,
            balance_after: movement.balance_after,
            order_id: movement.order_id,
            charge_id: movement.charge_id,
            note: movement.note.map(str::to_owned),
            created_at: now,
            previous,
        };
        self.ledger.push(entry.clone());
        entry
    }
}

/// Money about to move on a balance.
struct Movement<'a> {
    customer_id: CustomerId,
    kind: EntryKind,
    amount: Money,
    balance_after: Money,
    order_id: Option<OrderId>,
    charge_id: Option<ChargeId>,
    note: Option<&'a str>,
}
