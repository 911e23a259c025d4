//! What can go wrong, each with a permanent code, the numbers to act on, and a sentence that says how.

use crate::clock::Timestamp;
use crate::id::{
    ChargeId, CouponId, CustomerId, Key, LedgerEntryId, OrderId, OwnedCouponId, ProductId,
};
use crate::limits::MAX_PENDING_CHARGES;
use crate::model::order::OrderStatus;
use crate::money::{Currency, Money};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The name of an error, stable for ever. Tables from codes to statuses match it exhaustively.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each code is explained where its refusal is")]
pub enum Code {
    InvalidRequest,
    CustomerNotFound,
    CustomerExists,
    ProductNotFound,
    ProductExists,
    ProductArchived,
    OrderNotFound,
    ChargeNotFound,
    DebitNotFound,
    CouponNotFound,
    InsufficientBalance,
    BalanceLimit,
    InsufficientStock,
    NotInCart,
    CartEmpty,
    CouponSoldOut,
    CouponAlreadyClaimed,
    CouponNotStarted,
    CouponExpired,
    CouponAlreadyUsed,
    CouponNotApplicable,
    OrderNotPayable,
    OrderNotCancellable,
    IdempotencyKeyReused,
    PreconditionFailed,
    ChargeDeclined,
    LoginTaken,
    Unauthenticated,
    InvalidCredentials,
    Forbidden,
    TooManyRequests,
    Busy,
    Storage,
}

impl Code {
    /// Every code there is.
    pub const ALL: [Self; 33] = [
        Self::InvalidRequest,
        Self::CustomerNotFound,
        Self::CustomerExists,
        Self::ProductNotFound,
        Self::ProductExists,
        Self::ProductArchived,
        Self::OrderNotFound,
        Self::ChargeNotFound,
        Self::DebitNotFound,
        Self::CouponNotFound,
        Self::InsufficientBalance,
        Self::BalanceLimit,
        Self::InsufficientStock,
        Self::NotInCart,
        Self::CartEmpty,
        Self::CouponSoldOut,
        Self::CouponAlreadyClaimed,
        Self::CouponNotStarted,
        Self::CouponExpired,
        Self::CouponAlreadyUsed,
        Self::CouponNotApplicable,
        Self::OrderNotPayable,
        Self::OrderNotCancellable,
        Self::IdempotencyKeyReused,
        Self::PreconditionFailed,
        Self::ChargeDeclined,
        Self::LoginTaken,
        Self::Unauthenticated,
        Self::InvalidCredentials,
        Self::Forbidden,
        Self::TooManyRequests,
        Self::Busy,
        Self::Storage,
    ];

    /// The code as it is written everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::CustomerNotFound => "customer_not_found",
            Self::CustomerExists => "customer_exists",
            Self::ProductNotFound => "product_not_found",
            Self::ProductExists => "product_exists",
            Self::ProductArchived => "product_archived",
            Self::OrderNotFound => "order_not_found",
            Self::ChargeNotFound => "charge_not_found",
            Self::DebitNotFound => "debit_not_found",
            Self::CouponNotFound => "coupon_not_found",
            Self::InsufficientBalance => "insufficient_balance",
            Self::BalanceLimit => "balance_limit",
            Self::InsufficientStock => "insufficient_stock",
            Self::NotInCart => "not_in_cart",
            Self::CartEmpty => "cart_empty",
            Self::CouponSoldOut => "coupon_sold_out",
            Self::CouponAlreadyClaimed => "coupon_already_claimed",
            Self::CouponNotStarted => "coupon_not_started",
            Self::CouponExpired => "coupon_expired",
            Self::CouponAlreadyUsed => "coupon_already_used",
            Self::CouponNotApplicable => "coupon_not_applicable",
            Self::OrderNotPayable => "order_not_payable",
            Self::OrderNotCancellable => "order_not_cancellable",
            Self::IdempotencyKeyReused => "idempotency_key_reused",
            Self::PreconditionFailed => "precondition_failed",
            Self::ChargeDeclined => "charge_declined",
            Self::LoginTaken => "login_taken",
            Self::Unauthenticated => "unauthenticated",
            Self::InvalidCredentials => "invalid_credentials",
            Self::Forbidden => "forbidden",
            Self::TooManyRequests => "too_many_requests",
            Self::Busy => "busy",
            Self::Storage => "storage",
        }
    }

    /// Whether the same call, sent again unchanged and with its key, may succeed.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::TooManyRequests | Self::Busy | Self::Storage)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A value of a request that is not acceptable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invalid {
    /// What is wrong and what is wanted.
    pub detail: String,
    /// Where, as a JSON pointer into the request.
    pub pointer: String,
}

/// A product that an order wants more of than there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortage {
    /// The product.
    pub product_id: ProductId,
    /// Units asked for.
    pub requested: i64,
    /// Units that can be sold right now.
    pub available: i64,
}

/// A rule said no. Nothing was changed, and the same call meets the same answer until something
/// else changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields are named after what they hold; the variant says the rest")]
pub enum Refusal {
    /// The request itself makes no sense.
    InvalidRequest { errors: Vec<Invalid> },
    /// There is no such customer.
    CustomerNotFound { customer_id: CustomerId },
    /// A customer with that id is there already.
    CustomerExists { customer_id: CustomerId },
    /// Some of the products do not exist.
    ProductNotFound { product_ids: Vec<ProductId> },
    /// A product with that id is there already.
    ProductExists { product_id: ProductId },
    /// Some of the products are no longer sold.
    ProductArchived { product_ids: Vec<ProductId> },
    /// There is no such order.
    OrderNotFound { order_id: OrderId },
    /// There is no such charge, or it is not this customer's.
    ChargeNotFound { charge_id: ChargeId },
    /// There is no such debit, or it is not this customer's.
    DebitNotFound { debit_id: LedgerEntryId },
    /// There is no such coupon, or it is not this customer's.
    CouponNotFound {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        coupon_id: Option<CouponId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owned_coupon_id: Option<OwnedCouponId>,
    },
    /// The balance is too small.
    InsufficientBalance { balance: Money, required: Money },
    /// The balance would grow beyond what a balance may hold.
    BalanceLimit { balance: Money, limit: Money },
    /// There are too few units; every product that is short is named.
    InsufficientStock { shortages: Vec<Shortage> },
    /// The product is not in the cart.
    NotInCart { product_id: ProductId },
    /// The cart that was to be ordered is empty.
    CartEmpty { customer_id: CustomerId },
    /// Every coupon of the campaign was given out.
    CouponSoldOut { coupon_id: CouponId, quantity: i64 },
    /// The customer has one of these already.
    CouponAlreadyClaimed { coupon_id: CouponId, owned_coupon_id: OwnedCouponId, rank: i64 },
    /// The campaign has not begun.
    CouponNotStarted { coupon_id: CouponId, valid_from: Timestamp },
    /// The campaign is over.
    CouponExpired { coupon_id: CouponId, valid_until: Timestamp },
    /// Another order holds or has used the coupon.
    CouponAlreadyUsed { owned_coupon_id: OwnedCouponId, order_id: OrderId },
    /// The order is too small for the coupon.
    CouponNotApplicable { owned_coupon_id: OwnedCouponId, min_order_amount: Money, subtotal: Money },
    /// The order is not waiting to be paid.
    OrderNotPayable { order_id: OrderId, order_status: OrderStatus },
    /// The order has ended already.
    OrderNotCancellable { order_id: OrderId, order_status: OrderStatus },
    /// The key was used for another request.
    IdempotencyKeyReused { key: Key },
    /// The caller wanted to change a version that is no longer the current one.
    PreconditionFailed,
    /// The payment gateway did not give the money. The reason is the gateway's, as the payer may be told.
    ChargeDeclined { charge_id: ChargeId, reason: String },
    /// Another customer logs in by that name.
    LoginTaken { login: String },
    /// It is not known who calls.
    Unauthenticated,
    /// Nobody has that login and password.
    InvalidCredentials,
    /// It is known who calls, and that they may not.
    Forbidden,
    /// It was tried too often of late; so many seconds later it may be tried again.
    TooManyRequests { retry_after: i64 },
    /// As many charges of the customer as may wait for the payment gateway do; so many seconds later it may
    /// have answered. To programs it is the same as having tried too often.
    #[serde(rename = "too_many_requests", skip_deserializing)]
    TooManyPendingCharges { retry_after: i64 },
}

impl Refusal {
    /// One value of the request that is not acceptable.
    #[must_use]
    pub fn invalid(pointer: &str, detail: impl Into<String>) -> Self {
        let error = Invalid { detail: detail.into(), pointer: pointer.to_owned() };
        Self::InvalidRequest { errors: vec![error] }
    }

    /// The refusal's code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::InvalidRequest { .. } => Code::InvalidRequest,
            Self::CustomerNotFound { .. } => Code::CustomerNotFound,
            Self::CustomerExists { .. } => Code::CustomerExists,
            Self::ProductNotFound { .. } => Code::ProductNotFound,
            Self::ProductExists { .. } => Code::ProductExists,
            Self::ProductArchived { .. } => Code::ProductArchived,
            Self::OrderNotFound { .. } => Code::OrderNotFound,
            Self::ChargeNotFound { .. } => Code::ChargeNotFound,
            Self::DebitNotFound { .. } => Code::DebitNotFound,
            Self::CouponNotFound { .. } => Code::CouponNotFound,
            Self::InsufficientBalance { .. } => Code::InsufficientBalance,
            Self::BalanceLimit { .. } => Code::BalanceLimit,
            Self::InsufficientStock { .. } => Code::InsufficientStock,
            Self::NotInCart { .. } => Code::NotInCart,
            Self::CartEmpty { .. } => Code::CartEmpty,
            Self::CouponSoldOut { .. } => Code::CouponSoldOut,
            Self::CouponAlreadyClaimed { .. } => Code::CouponAlreadyClaimed,
            Self::CouponNotStarted { .. } => Code::CouponNotStarted,
            Self::CouponExpired { .. } => Code::CouponExpired,
            Self::CouponAlreadyUsed { .. } => Code::CouponAlreadyUsed,
            Self::CouponNotApplicable { .. } => Code::CouponNotApplicable,
            Self::OrderNotPayable { .. } => Code::OrderNotPayable,
            Self::OrderNotCancellable { .. } => Code::OrderNotCancellable,
            Self::IdempotencyKeyReused { .. } => Code::IdempotencyKeyReused,
            Self::PreconditionFailed => Code::PreconditionFailed,
            Self::ChargeDeclined { .. } => Code::ChargeDeclined,
            Self::LoginTaken { .. } => Code::LoginTaken,
            Self::Unauthenticated => Code::Unauthenticated,
            Self::InvalidCredentials => Code::InvalidCredentials,
            Self::Forbidden => Code::Forbidden,
            Self::TooManyRequests { .. } | Self::TooManyPendingCharges { .. } => {
                Code::TooManyRequests
            }
        }
    }

    /// The sentence for a person, with amounts as that currency writes them.
    #[must_use]
    pub fn sentence(&self, currency: Currency) -> String {
        self.write_with(&|amount| currency.show(amount))
    }

    #[expect(clippy::too_many_lines, reason = "a sentence for each refusal")]
    fn write_with(&self, money: &dyn Fn(Money) -> String) -> String {
        match self {
            Self::InvalidRequest { errors } => {
                let details: Vec<&str> = errors.iter().map(|error| error.detail.as_str()).collect();
                details.join("; ")
            }
            Self::CustomerNotFound { customer_id } => {
                format!("there is no customer {customer_id}: add one first, or check the id")
            }
            Self::CustomerExists { customer_id } => {
                format!("customer {customer_id} exists already: leave the id out to get a new one")
            }
            Self::ProductNotFound { product_ids } => no_such("product", &list(product_ids)),
            Self::ProductExists { product_id } => {
                format!("product {product_id} exists already: leave the id out to get a new one")
            }
            Self::ProductArchived { product_ids } => {
                format!(
                    "product {} is no longer sold: leave it out, or have it sold again first",
                    list(product_ids)
                )
            }
            Self::OrderNotFound { order_id } => no_such("order", order_id),
            Self::ChargeNotFound { charge_id } => no_such("charge", charge_id),
            Self::DebitNotFound { debit_id } => no_such("debit", debit_id),
            Self::CouponNotFound { coupon_id: Some(id), .. } => no_such("coupon", id),
            Self::CouponNotFound { owned_coupon_id, .. } => {
                let id = owned_coupon_id.map_or(0, OwnedCouponId::get);
                format!("the customer has no coupon {id}: claim one first, or check the id")
            }
            Self::InsufficientBalance { balance, required } => {
                let short = money(required.checked_sub(*balance).unwrap_or_default());
                let (balance, required) = (money(*balance), money(*required));
                format!("the balance is {balance} and {required} is needed: charge {short} more")
            }
            Self::BalanceLimit { balance, limit } => {
                let (balance, limit) = (money(*balance), money(*limit));
                format!(
                    "a balance may hold {limit} at most and this one has {balance}: move less, \
                     or use some of it first"
                )
            }
            Self::InsufficientStock { shortages } => {
                let short: Vec<String> = shortages.iter().map(Shortage::to_string).collect();
                format!("too little stock: {}: ask for fewer", short.join(", "))
            }
            Self::NotInCart { product_id } => {
                format!("product {product_id} is not in the cart: look at what is")
            }
            Self::CartEmpty { customer_id } => {
                format!("the cart of customer {customer_id} is empty: put something in first")
            }
            Self::CouponSoldOut { coupon_id, quantity } => {
                format!("all {quantity} of coupon {coupon_id} are given out")
            }
            Self::CouponAlreadyClaimed { coupon_id, owned_coupon_id, rank } => format!(
                "coupon {coupon_id} was claimed already: it is coupon {owned_coupon_id} of this \
                 customer, number {rank} to claim one"
            ),
            Self::CouponNotStarted { coupon_id, valid_from } => {
                format!("coupon {coupon_id} starts at {valid_from}: come back then")
            }
            Self::CouponExpired { coupon_id, valid_until } => {
                format!("coupon {coupon_id} was over at {valid_until}")
            }
            Self::CouponAlreadyUsed { owned_coupon_id, order_id } => format!(
                "coupon {owned_coupon_id} is used by order {order_id}: cancel that order to get it back"
            ),
            Self::CouponNotApplicable { owned_coupon_id, min_order_amount, subtotal } => {
                let (least, subtotal) = (money(*min_order_amount), money(*subtotal));
                format!(
                    "coupon {owned_coupon_id} needs an order of {least} and this one is {subtotal}"
                )
            }
            Self::OrderNotPayable { order_id, order_status } => {
                let paid = *order_status == OrderStatus::Paid;
                let hint = if paid { "nothing is left to pay" } else { "place the order again" };
                format!("order {order_id} is {order_status} and cannot be paid: {hint}")
            }
            Self::OrderNotCancellable { order_id, order_status } => {
                format!("order {order_id} is {order_status} already and cannot be cancelled")
            }
            Self::IdempotencyKeyReused { key } => format!(
                "the key {key} was used for another request: repeat that request, or take a new key"
            ),
            Self::ChargeDeclined { charge_id, reason } => format!(
                "charge {charge_id} was declined ({reason}): try another way to pay, with a new key"
            ),
            Self::PreconditionFailed => {
                "it has changed since that version was read: read it again, and repeat the \
                 change with the version it has now"
                    .to_owned()
            }
            Self::LoginTaken { login } => format!("the login {login} is taken: choose another"),
            Self::Unauthenticated => {
                "the token is missing, unknown or no longer good: log in to get one".to_owned()
            }
            Self::InvalidCredentials => {
                "login or password is wrong: check both and try again".to_owned()
            }
            Self::Forbidden => "that is another customer's, or for admins only".to_owned(),
            Self::TooManyRequests { retry_after } => {
                format!("that was tried too often: try again in {retry_after} s")
            }
            Self::TooManyPendingCharges { retry_after } => too_many_pending(*retry_after),
        }
    }
}

/// The sentence with amounts in plain minor units; [`Refusal::sentence`] knows the currency.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.write_with(&|amount| amount.to_string()))
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { product_id, requested, available } = self;
        write!(f, "product {product_id} has {available} of {requested}")
    }
}

fn no_such(what: &str, id: &dyn fmt::Display) -> String {
    format!("there is no {what} {id}: check the id")
}

fn too_many_pending(retry_after: i64) -> String {
    format!(
        "{MAX_PENDING_CHARGES} charges of this customer wait for the payment gateway: try again in \
         {retry_after} s, or have an operator run commerce charges settle"
    )
}

fn list(ids: &[ProductId]) -> String {
    let texts: Vec<String> = ids.iter().map(ProductId::to_string).collect();
    texts.join(", ")
}

/// Why a store could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Others held the store for longer than a caller waits.
    #[error("the store is busy: try again in a moment, with the same key")]
    Busy,
    /// An earlier call of the same [`Sequence`](crate::sequence::Sequence) failed. Nothing was changed.
    #[error(
        "not attempted, since an earlier call of its sequence failed: repeat it after that one"
    )]
    NotAttempted,
    /// There is not enough memory for the call. Nothing was changed.
    #[error("there is not enough memory: try again in a moment, or allow the program more of it")]
    OutOfMemory,
    /// The disk has no room. Nothing was changed.
    #[error("the disk of the store is full: free some space and try again ({0})")]
    Full(String),
    /// The store cannot be reached, opened or read. Nothing was changed.
    #[error("the store cannot be used: {0}")]
    Unavailable(String),
    /// A copy of the store could not be made; the store itself is sound and in use.
    #[error("the copy was not made: {0}")]
    Copy(String),
    /// A file of the store was removed or replaced while it was open. Nothing was changed.
    #[error(
        "{0} was removed or replaced while this process had it open: put the file back, or end this process \
         and start it again on the file that is there now"
    )]
    Replaced(String),
    /// The contents of the store are damaged.
    #[error("the store is corrupt: {0}")]
    Corrupt(String),
    /// The store, or its server, cannot be used by this program: another program's tables, a newer version,
    /// another currency, a missing extension or an unsafe setting. Nothing was changed.
    #[error("the store is incompatible: {0}")]
    Incompatible(String),
    /// A guard of the store fired: a defect of this program. Nothing was changed.
    #[error("the store refused a change that the rules allowed, please report it: {0}")]
    ConstraintViolation(String),
    /// The commit failed in a way that leaves open whether it happened.
    #[error(
        "it is not known whether the change was saved: repeat it with the same key to learn it ({0})"
    )]
    CommitUnknown(String),
}

/// What a call may be answered instead of its result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A rule said no.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The service failed.
    #[error("{0}")]
    Store(#[from] StoreError),
}

impl Error {
    /// The error's code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Store(StoreError::Busy | StoreError::NotAttempted | StoreError::OutOfMemory) => {
                Code::Busy
            }
            Self::Store(_) => Code::Storage,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_is_listed_once_and_written_as_serde_writes_it() {
        let listed: BTreeSet<Code> = Code::ALL.into_iter().collect();
        assert_eq!(listed.len(), Code::ALL.len());
        for code in Code::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }

    #[test]
    fn a_refusal_carries_its_code_and_its_numbers() {
        let refusal = Refusal::InsufficientBalance {
            balance: Money::from_minor(500),
            required: Money::from_minor(1_200),
        };
        let json = serde_json::to_value(&refusal).unwrap();
        assert_eq!(json["code"], refusal.code().as_str());
        assert_eq!(
            refusal.sentence(Currency::KRW),
            "the balance is 500 KRW and 1,200 KRW is needed: charge 700 KRW more"
        );
        assert_eq!(serde_json::from_value::<Refusal>(json).unwrap(), refusal);
    }

    #[test]
    fn too_many_charges_and_too_many_tries_are_alike_to_programs_and_told_apart_to_people() {
        let charges = Refusal::TooManyPendingCharges { retry_after: 60 };
        let tries = Refusal::TooManyRequests { retry_after: 60 };
        assert_eq!(charges.code(), tries.code());
        let json = serde_json::to_value(&charges).unwrap();
        assert_eq!(json, serde_json::to_value(&tries).unwrap());
        assert!(charges.to_string().starts_with("10 charges of this customer wait"), "{charges}");
    }
}
