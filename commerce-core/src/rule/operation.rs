//! The table of operations: for each one its request, and its output.

use crate::error::StoreError;
use crate::id::OrderId;
use crate::model::cart::Cart;
use crate::model::coupon::{Coupon, OwnedCoupon};
use crate::model::delivery::EventLease;
use crate::model::order::Order;
use crate::model::product::Product;
use crate::model::wallet::{Charge, Customer, Debit};
use crate::rule::Rule;
use crate::rule::add_coupon::AddCoupon;
use crate::rule::add_customer::AddCustomer;
use crate::rule::add_product::AddProduct;
use crate::rule::adjust_stock::AdjustStock;
use crate::rule::cancel_order::CancelOrder;
use crate::rule::charge_balance::ChargeBalance;
use crate::rule::claim_coupon::ClaimCoupon;
use crate::rule::context::Output;
use crate::rule::debit_balance::DebitBalance;
use crate::rule::edit_cart::EditCart;
use crate::rule::expire_orders::ExpireOrders;
use crate::rule::open_charge::OpenCharge;
use crate::rule::pay_order::PayOrder;
use crate::rule::place_order::PlaceOrder;
use crate::rule::relay_events::RelayEvents;
use crate::rule::replay_events::ReplayEvents;
use crate::rule::retry_events::RetryEvents;
use crate::rule::sessions::{CloseSession, OpenSession, RecordLoginAttempt, UnlockLogin};
use crate::rule::set_credentials::SetCredentials;
use crate::rule::settle_charge::SettleCharge;
#[cfg(test)]
use crate::rule::testing::Careless;
use crate::rule::update_product::UpdateProduct;
use serde::Serialize;

/// A request that changes the store, with the type of its output. Only the request types of this crate implement
/// it.
pub trait Operation: sealed::Operation<<Self as Operation>::Output> {
    /// The result when the request is not refused.
    type Output;
}

mod sealed {
    use super::{AnyOperation, Output, StoreError};

    pub trait Operation<T> {
        fn into_any(self) -> AnyOperation;
        fn output(output: Output) -> Result<T, StoreError>;
    }
}

macro_rules! operations {
    ($($(#[$meta:meta])* $([$only:meta])? $request:ident => $variant:ident($output:ty);)+) => {
        /// Any operation. Its JSON is what the fingerprint of a request is computed from, so that the names of
        /// variants and fields are a stored format.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
        #[serde(rename_all = "snake_case")]
        #[allow(missing_docs, reason = "each variant is documented at the request it holds")]
        pub enum AnyOperation {
            $($(#[$meta])* $(#[$only])? $request($request),)+
        }

        impl AnyOperation {
            pub(crate) fn rule(&self) -> &dyn Rule {
                match self {
                    $($(#[$only])? Self::$request(request) => request,)+
                }
            }
        }

        $(
            $(#[$only])?
            impl From<$request> for AnyOperation {
                fn from(request: $request) -> Self {
                    Self::$request(request)
                }
            }

            $(#[$only])?
            impl Operation for $request {
                type Output = $output;
            }

            $(#[$only])?
            impl sealed::Operation<$output> for $request {
                fn into_any(self) -> AnyOperation {
                    self.into()
                }

                fn output(output: Output) -> Result<$output, StoreError> {
                    match output {
                        Output::$variant(output) => Ok(output),
                        other => Err(StoreError::Corrupt(format!(
                            "the result of another operation: {other:?}"
                        ))),
                    }
                }
            }
        )+
    };
}

operations! {
    AddCustomer => Customer(Customer);
    AddProduct => Product(Product);
    UpdateProduct => Product(Product);
    AdjustStock => Product(Product);
    AddCoupon => Coupon(Coupon);
    ChargeBalance => Charge(Charge);
    #[serde(rename = "charge_balance")]
    OpenCharge => Charge(Charge);
    SettleCharge => Charge(Charge);
    DebitBalance => Debit(Debit);
    EditCart => Cart(Cart);
    ClaimCoupon => OwnedCoupon(OwnedCoupon);
    PlaceOrder => Order(Order);
    PayOrder => Order(Order);
    CancelOrder => Order(Order);
    ExpireOrders => Expired(Vec<OrderId>);
    SetCredentials => Customer(Customer);
    RecordLoginAttempt => Done(());
    UnlockLogin => Customer(Customer);
    OpenSession => Done(());
    CloseSession => Done(());
    RelayEvents => EventLease(EventLease);
    RetryEvents => Count(u64);
    ReplayEvents => Count(u64);
    [cfg(test)] Careless => Done(());
}
