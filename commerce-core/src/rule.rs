//! Business rules: one file per operation, each a pure function of the loaded state, the request and the
//! current instant.
//!
//! A rule makes all its checks before its first change, so that a refusal leaves no side effects. In `decide` a
//! blank line separates the two: after it the operation must succeed.

use crate::error::Refusal;
use crate::id::CustomerId;
use crate::rule::context::{Context, Output};
use crate::state::{Needs, State};
use crate::version::Version;

mod add_coupon;
mod add_customer;
mod add_product;
mod adjust_stock;
mod cancel_order;
mod charge_balance;
mod claim_coupon;
pub(crate) mod context;
mod debit_balance;
mod edit_cart;
pub(crate) mod expire_orders;
mod open_charge;
mod order_effects;
mod pay_order;
mod place_order;
pub(crate) mod relay_events;
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

/// The interface between the engine and every operation.
pub(crate) trait Rule {
    /// Returns the customer whose idempotency keys apply, once it is known from the loaded state.
    fn key_scope(&self, _state: &State) -> Option<CustomerId> {
        None
    }

    /// Adds the rows of its read set that are not loaded yet (prefetch).
    fn needs(&self, state: &State, needs: &mut Needs);

    /// Decides the request, and changes the state on success.
    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal>;

    /// Returns the version of the row it changes (optimistic concurrency): [`Version::of`] the body sent to clients.
    ///
    /// Refuses as not found if the row does not exist, and as `precondition_failed` if the operation changes no
    /// versioned row: ignoring the condition would overwrite what the caller wanted to protect.
    fn version(&self, _state: &State) -> Result<Version, Refusal> {
        Err(Refusal::PreconditionFailed)
    }

    /// Estimates the number of rows it touches, from the request alone.
    fn weight(&self) -> usize {
        16
    }
}
