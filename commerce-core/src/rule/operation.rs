//! The table of operations: for each one its request, its output, and the codes of its refusals.

use crate::error::{Code, StoreError};
use crate::id::OrderId;
use crate::model::cart::Cart;
use crate::model::coupon::{Coupon, OwnedCoupon};
use crate::model::delivery::EventLease;
use crate::model::order::Order;
use crate::model::product::Product;
use crate::model::refund::Refund;
use crate::model::settings::Settings;
use crate::model::token::Token;
use crate::model::wallet::{Charge, Customer, Debit};
use crate::rule::Rule;
use crate::rule::add_coupon::AddCoupon;
use crate::rule::add_customer::AddCustomer;
use crate::rule::add_product::AddProduct;
use crate::rule::adjust_stock::AdjustStock;
use crate::rule::cancel_order::CancelOrder;
use crate::rule::change_password::ChangePassword;
use crate::rule::change_settings::ChangeSettings;
use crate::rule::charge_balance::ChargeBalance;
use crate::rule::claim_coupon::ClaimCoupon;
use crate::rule::context::Output;
use crate::rule::debit_balance::DebitBalance;
use crate::rule::edit_cart::EditCart;
use crate::rule::erase_customer::EraseCustomer;
use crate::rule::expire_orders::ExpireOrders;
use crate::rule::open_charge::OpenCharge;
use crate::rule::pay_order::PayOrder;
use crate::rule::place_order::PlaceOrder;
use crate::rule::record_notice::RecordNotice;
use crate::rule::refund_charge::RefundCharge;
use crate::rule::relay_events::RelayEvents;
use crate::rule::replay_events::ReplayEvents;
use crate::rule::retry_events::RetryEvents;
use crate::rule::sessions::{
    CloseSession, OpenSession, RecordLoginAttempt, RevokeSession, UnlockLogin,
};
use crate::rule::set_credentials::SetCredentials;
use crate::rule::set_role::SetRole;
use crate::rule::settle_charge::SettleCharge;
use crate::rule::settle_refund::SettleRefund;
#[cfg(test)]
use crate::rule::testing::Careless;
use crate::rule::tokens::{CreateToken, RecordTokenUse, RevokeToken};
use crate::rule::update_coupon::UpdateCoupon;
use crate::rule::update_customer::UpdateCustomer;
use crate::rule::update_product::UpdateProduct;
use serde::Serialize;

/// A request that changes the store, with the type of its output. Only the request types of this crate implement
/// it.
pub trait Operation: sealed::Operation<<Self as Operation>::Output> {
    /// The result when the request is not refused.
    type Output;
    /// The codes of its refusals, beyond `invalid_request`, which most requests can get. A key adds
    /// `idempotency_key_reused`, and a condition `precondition_failed`.
    const REFUSALS: &'static [Code];
}

mod sealed {
    use super::{AnyOperation, Output, StoreError};

    pub trait Operation<T> {
        fn into_any(self) -> AnyOperation;
        fn output(output: Output) -> Result<T, StoreError>;
    }
}

macro_rules! operations {
    ($(
        $(#[$meta:meta])* $([$only:meta])?
        $request:ident => $variant:ident($output:ty), refused as [$($code:ident),*];
    )+) => {
        /// Any operation. Its JSON is what the fingerprint of a request is computed from, so that the names of
        /// variants and fields are a stored format.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
        #[serde(rename_all = "snake_case")]
        #[allow(missing_docs, reason = "each variant is documented at the request it holds")]
        pub enum AnyOperation {
            $($(#[$meta])* $(#[$only])? $request($request),)+
        }

        impl AnyOperation {
            /// The name of each operation, and the codes of its refusals.
            #[cfg(feature = "testing")]
            pub const REFUSALS: &'static [(&'static str, &'static [Code])] = &[
                $($(#[$only])? (stringify!($request), <$request as Operation>::REFUSALS),)+
            ];

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
                const REFUSALS: &'static [Code] = &[$(Code::$code),*];
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
    AddCustomer => Customer(Customer), refused as [CustomerExists, LoginTaken];
    UpdateCustomer => Customer(Customer), refused as [CustomerNotFound, CustomerErased, LastAdmin];
    EraseCustomer => Customer(Customer), refused as [CustomerNotFound, CustomerNotErasable, LastAdmin];
    AddProduct => Product(Product), refused as [ProductExists];
    UpdateProduct => Product(Product), refused as [ProductNotFound, ProductArchived];
    AdjustStock => Product(Product), refused as [ProductNotFound, InsufficientStock];
    AddCoupon => Coupon(Coupon), refused as [];
    UpdateCoupon => Coupon(Coupon), refused as [CouponNotFound];
    ChargeBalance => Charge(Charge), refused as [CustomerNotFound, CustomerErased, BalanceLimit];
    #[serde(rename = "charge_balance")]
    OpenCharge => Charge(Charge),
        refused as [CustomerNotFound, CustomerErased, BalanceLimit, ChargeDeclined, TooManyRequests];
    SettleCharge => Charge(Charge), refused as [ChargeNotFound, BalanceLimit];
    RefundCharge => Refund(Refund),
        refused as [ChargeNotFound, ChargeNotRefundable, RefundAboveCharge, InsufficientBalance];
    SettleRefund => Refund(Refund), refused as [RefundNotFound, BalanceLimit];
    RecordNotice => Charge(Charge), refused as [ChargeNotFound, BalanceLimit];
    DebitBalance => Debit(Debit), refused as [CustomerNotFound, InsufficientBalance];
    EditCart => Cart(Cart),
        refused as [CustomerNotFound, CustomerErased, ProductNotFound, ProductArchived, InsufficientStock,
            NotInCart];
    ClaimCoupon => OwnedCoupon(OwnedCoupon),
        refused as [CustomerNotFound, CustomerErased, CouponNotFound, CouponAlreadyClaimed, CouponNotStarted,
            CouponExpired, CouponSoldOut];
    PlaceOrder => Order(Order),
        refused as [CustomerNotFound, CustomerErased, ReferenceTaken, CartEmpty, ProductNotFound, ProductArchived, CouponNotFound,
            CouponAlreadyUsed, CouponNotStarted, CouponExpired, CouponNotApplicable, PurchaseLimit, InsufficientStock,
            InsufficientBalance];
    PayOrder => Order(Order), refused as [OrderNotFound, OrderNotPayable, InsufficientBalance];
    CancelOrder => Order(Order), refused as [OrderNotFound, OrderNotCancellable, ItemsNotCancellable, BalanceLimit];
    ChangeSettings => Settings(Settings), refused as [];
    ExpireOrders => Expired(Vec<OrderId>), refused as [];
    SetCredentials => Customer(Customer),
        refused as [CustomerNotFound, CustomerErased, LoginTaken, LastAdmin];
    SetRole => Customer(Customer), refused as [CustomerNotFound, CustomerErased, LastAdmin];
    ChangePassword => Customer(Customer),
        refused as [CustomerNotFound, CustomerErased, InvalidCredentials];
    RecordLoginAttempt => Done(()), refused as [TooManyRequests];
    UnlockLogin => Customer(Customer), refused as [CustomerNotFound, CustomerErased];
    OpenSession => Done(()), refused as [CustomerNotFound, CustomerErased, CustomerDisabled];
    CloseSession => Done(()), refused as [];
    RevokeSession => Customer(Customer), refused as [CustomerNotFound];
    CreateToken => Token(Token), refused as [];
    RevokeToken => Token(Token), refused as [TokenNotFound];
    RecordTokenUse => Done(()), refused as [];
    RelayEvents => EventLease(EventLease), refused as [];
    RetryEvents => Count(u64), refused as [];
    ReplayEvents => Count(u64), refused as [];
    [cfg(test)] Careless => Done(()), refused as [];
}
