//! Business rules: one file per operation, each a pure function of the loaded state, the request and the
//! current instant.
//!
//! A rule makes all its checks before its first change, so that a refusal leaves no side effects. In `decide` a
//! blank line separates the two: after it the operation must succeed.

use crate::clock::Timestamp;
use crate::error::Refusal;
use crate::id::CustomerId;
use crate::model::audit_trail::Action;
use crate::rule::context::{Context, Output};
use crate::state::{Needs, State};
use crate::version::Version;

pub(crate) mod add_coupon;
pub(crate) mod add_customer;
pub(crate) mod add_product;
pub(crate) mod adjust_stock;
pub(crate) mod cancel_order;
pub(crate) mod change_password;
pub(crate) mod change_settings;
pub(crate) mod charge_balance;
pub(crate) mod claim_coupon;
pub(crate) mod context;
pub(crate) mod debit_balance;
pub(crate) mod edit_cart;
pub(crate) mod erase_customer;
pub(crate) mod expire_orders;
pub(crate) mod open_charge;
pub(crate) mod operation;
pub(crate) mod order_effects;
pub(crate) mod past_terms;
pub(crate) mod pay_order;
pub(crate) mod place_order;
pub(crate) mod record_notice;
pub(crate) mod refund_charge;
pub(crate) mod refund_effects;
pub(crate) mod relay_events;
pub(crate) mod replay_events;
pub(crate) mod retry_events;
pub(crate) mod sessions;
pub(crate) mod set_credentials;
pub(crate) mod set_role;
pub(crate) mod settle_charge;
pub(crate) mod settle_refund;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod tokens;
pub(crate) mod update_coupon;
pub(crate) mod update_customer;
pub(crate) mod update_product;
pub(crate) mod validate;

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

    /// Returns the version of the row it changes (optimistic concurrency): [`Version::of`] the body that clients receive at
    /// that instant.
    ///
    /// Refuses as not found if the row does not exist, and as `precondition_failed` if the operation changes no
    /// versioned row: ignoring the condition would overwrite what the caller wanted to protect.
    fn version(&self, _state: &State, _now: Timestamp) -> Result<Version, Refusal> {
        Err(Refusal::PreconditionFailed)
    }

    /// Returns the kind of the change for the audit trail; `None` if it records none.
    fn action(&self) -> Option<Action> {
        None
    }

    /// Estimates the number of rows it touches, from the request alone.
    fn weight(&self) -> usize {
        16
    }
}
