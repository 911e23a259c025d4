//! The table of error codes: code, class, title, meaning, remedy, and the fields and sentence of its refusal.
//!
//! [`Code`], [`Refusal`], and the problem documents and OpenAPI components of `commerce-http` are generated from the
//! table; a test compares the rows of `docs/errors.md` with it. A new code is one row here. Its HTTP status and its
//! exit status follow from its [`ErrorClass`].

use crate::clock::Timestamp;
use crate::id::{
    ChargeId, CouponId, CustomerId, Key, LedgerEntryId, OrderId, OwnedCouponId, ProductId,
    RefundId, TokenId,
};
use crate::limits::{MAX_BALANCE, MAX_PENDING_CHARGES};
use crate::model::order::OrderStatus;
use crate::model::wallet::ChargeStatus;
use crate::money::{Currency, Money};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The kind of error that a [`Code`] stands for. Shells map classes to statuses with one exhaustive match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The request is malformed or inconsistent.
    Invalid,
    /// The request names something that does not exist, or that the caller may not see.
    NotFound,
    /// The current state forbids the call.
    Conflict,
    /// An idempotency key was used for two different requests.
    KeyReused,
    /// A version given by the caller is out of date (optimistic concurrency).
    Precondition,
    /// The payment gateway declined.
    Declined,
    /// The caller is not authenticated.
    Unauthenticated,
    /// The caller is authenticated but not authorized.
    Forbidden,
    /// The caller has to wait before the next attempt.
    RateLimited,
    /// The service failed.
    Unavailable,
}

/// A row of the table without the refusal.
struct Row {
    word: &'static str,
    class: ErrorClass,
    title: &'static str,
    meaning: &'static str,
    remedy: &'static str,
    fields: &'static [&'static str],
}

/// Generates [`Code`] and [`Refusal`].
///
/// A field carries its example: `name: Type = example`. `or { .. }` adds a second example. `$money` is the function
/// that writes amounts in sentences. `aliases` are further refusals under a code of the table.
macro_rules! codes {
    (
        refusals($money:ident) {$(
            $name:ident $word:literal $class:ident $title:literal $meaning:literal $remedy:literal
            $({ $($(#[$attr:meta])* $field:ident: $type:ty = $example:expr),* $(,)? })?
            $(or { $($other:ident: $value:expr),* $(,)? })?
            => $sentence:expr;
        )*}
        aliases {$(
            $(#[$alias_attr:meta])*
            $alias:ident $aliased:ident { $($alias_field:ident: $alias_type:ty),* } => $alias_sentence:expr;
        )*}
        failures {$(
            $failure:ident $failure_word:literal $failure_class:ident $failure_title:literal
            $failure_meaning:literal $failure_remedy:literal;
        )*}
    ) => {
        /// The name of an error. Names are permanent.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        pub enum Code {
            $(#[doc = $meaning] #[serde(rename = $word)] $name,)*
            $(#[doc = $failure_meaning] #[serde(rename = $failure_word)] $failure,)*
        }

        impl Code {
            const COUNT: usize = [$($word,)* $($failure_word,)*].len();

            /// All codes, in the order of the table.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$name,)* $(Self::$failure,)*];

            const fn row(self) -> Row {
                match self {
                    $(Self::$name => Row {
                        word: $word,
                        class: ErrorClass::$class,
                        title: $title,
                        meaning: $meaning,
                        remedy: $remedy,
                        fields: &[$($(stringify!($field),)*)?],
                    },)*
                    $(Self::$failure => Row {
                        word: $failure_word,
                        class: ErrorClass::$failure_class,
                        title: $failure_title,
                        meaning: $failure_meaning,
                        remedy: $failure_remedy,
                        fields: &[],
                    },)*
                }
            }
        }

        /// A rule refused the call. Nothing was changed, and the same call is refused again until something
        /// else changes.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "code")]
        #[non_exhaustive]
        #[expect(missing_docs, reason = "fields are named after their content; the variant documents the rest")]
        pub enum Refusal {
            $(
                #[doc = $meaning]
                #[serde(rename = $word)]
                $name $({ $($(#[$attr])* $field: $type),* })?,
            )*
            $($(#[$alias_attr])* $alias { $($alias_field: $alias_type),* },)*
        }

        impl Refusal {
            /// The refusal's code.
            #[must_use]
            pub const fn code(&self) -> Code {
                match self {
                    $(Self::$name { .. } => Code::$name,)*
                    $(Self::$alias { .. } => Code::$aliased,)*
                }
            }

            fn write_with(&self, $money: &dyn Fn(Money) -> String) -> String {
                match self {
                    $(Self::$name $({ $($field),* })? => $sentence,)*
                    $(Self::$alias { $($alias_field),* } => $alias_sentence,)*
                }
            }

            /// Example refusals of a code, for documentation; none when the code is that of a failure.
            pub(crate) fn examples(code: Code) -> Option<Vec<Self>> {
                Some(match code {
                    $(Code::$name => vec![
                        Self::$name $({ $($field: $example),* })?,
                        $(Self::$name { $($other: $value),* },)?
                    ],)*
                    $(Code::$failure => return None,)*
                })
            }
        }
    };
}

codes! {
    refusals(money) {
        InvalidRequest "invalid_request" Invalid "Invalid request"
            "The request is invalid."
            "Correct what `errors` names."
            { errors: Vec<Invalid> = vec![Invalid::new("/amount", "amount must be at least 1")] }
            => join("; ", errors.iter().map(|error| &error.detail));

        CustomerNotFound "customer_not_found" NotFound "Unknown customer"
            "There is no such customer."
            "Check the id."
            { customer_id: CustomerId = CustomerId::new(1) }
            => format!("there is no customer {customer_id}: add one first, or check the id");

        CustomerExists "customer_exists" Conflict "Customer id in use"
            "A customer with that id exists."
            "Omit the id."
            { customer_id: CustomerId = CustomerId::new(1) }
            => format!("customer {customer_id} exists already: leave the id out to get a new one");

        CustomerDisabled "customer_disabled" Forbidden "Disabled customer"
            "The customer is disabled and cannot log in."
            "Ask an admin."
            { customer_id: CustomerId = CustomerId::new(1) }
            => format!("customer {customer_id} is disabled and cannot log in: ask an admin to enable the customer");

        CustomerErased "customer_erased" Conflict "Erased customer"
            "The customer was erased. Only the ids and amounts of the past remain."
            "Add a new customer."
            { customer_id: CustomerId = CustomerId::new(1) }
            => format!("customer {customer_id} was erased: add a new customer");

        CustomerNotErasable "customer_not_erasable" Conflict "Customer not erasable"
            "The customer has money, a debt, unpaid orders, or pending charges, refunds or disputes."
            "Debit the balance, charge the debt, cancel the orders, and settle the charges and refunds first."
            { customer_id: CustomerId = CustomerId::new(1), balance: Money = Money::from_minor(500),
              debt: Money = Money::ZERO, unpaid_orders: u64 = 1, pending_charges: u64 = 0, pending_refunds: u64 = 0 }
            => format!(
                "customer {customer_id} has a balance of {}, a debt of {}, {}, {} and {}: debit the balance, charge the debt, cancel the orders and settle the charges and refunds first",
                money(*balance),
                money(*debt),
                counted(*unpaid_orders, "unpaid order"),
                counted(*pending_charges, "pending charge"),
                counted(*pending_refunds, "pending refund or dispute")
            );

        SessionNotFound "session_not_found" NotFound "Unknown session"
            "There is no such session, or it has ended."
            "List the sessions."
            { session_id: String = "0f1e2d3c4b5a6978".to_owned() }
            => format!("there is no open session {session_id}: list the sessions");

        LastAdmin "last_admin" Conflict "Last admin"
            "The customer is the only active admin with a login."
            "Make another customer an admin first."
            { customer_id: CustomerId = CustomerId::new(1) }
            => format!("customer {customer_id} is the only admin who can log in: make another customer an admin first");

        TokenNotFound "token_not_found" NotFound "Unknown token"
            "There is no token with that id."
            "List the tokens."
            { token_id: TokenId = TokenId::new(1) }
            => format!("there is no token {token_id}: list the tokens");

        ProductNotFound "product_not_found" NotFound "Unknown product"
            "Some of the products do not exist."
            "Check the ids."
            { product_ids: Vec<ProductId> = vec![ProductId::new(1)] }
            => no_such("product", &join(", ", product_ids));

        ProductExists "product_exists" Conflict "Product id in use"
            "A product with that id exists."
            "Omit the id."
            { product_id: ProductId = ProductId::new(1) }
            => format!("product {product_id} exists already: leave the id out to get a new one");

        ProductArchived "product_archived" Conflict "Archived product"
            "Some of the products are archived."
            "Omit them, or make them active again."
            { product_ids: Vec<ProductId> = vec![ProductId::new(1)] }
            => format!("product {} is archived: choose another, or reactivate it", join(", ", product_ids));

        OrderNotFound "order_not_found" NotFound "Unknown order"
            "There is no such order."
            "Check the id."
            { order_id: OrderId = OrderId::new(7) }
            => no_such("order", order_id);

        ChargeNotFound "charge_not_found" NotFound "Unknown charge"
            "There is no such charge of this customer."
            "Check the id."
            { charge_id: ChargeId = ChargeId::new(3) }
            => no_such("charge", charge_id);

        DebitNotFound "debit_not_found" NotFound "Unknown debit"
            "There is no such debit of this customer."
            "Check the id."
            { debit_id: LedgerEntryId = LedgerEntryId::new(2) }
            => no_such("debit", debit_id);

        CouponNotFound "coupon_not_found" NotFound "Unknown coupon"
            "There is no such campaign, or no such coupon of this customer."
            "Check the id, or claim one."
            {
                #[serde(default, skip_serializing_if = "Option::is_none")]
                coupon_id: Option<CouponId> = Some(CouponId::new(1)),
                #[serde(default, skip_serializing_if = "Option::is_none")]
                owned_coupon_id: Option<OwnedCouponId> = None,
            }
            or { coupon_id: None, owned_coupon_id: Some(OwnedCouponId::new(5)) }
            => match (coupon_id, owned_coupon_id) {
                (Some(id), _) => no_such("coupon", id),
                (None, id) => format!(
                    "the customer has no coupon {}: claim one first, or check the id",
                    id.map_or(0, OwnedCouponId::get)
                ),
            };

        InsufficientBalance "insufficient_balance" Conflict "Insufficient balance"
            "The balance is too small."
            "Charge the difference."
            { balance: Money = Money::from_minor(500), required: Money = Money::from_minor(9_000) }
            => format!(
                "the balance is {} and {} is needed: charge {} more",
                money(*balance),
                money(*required),
                money(required.checked_sub(*balance).unwrap_or_default())
            );

        BalanceLimit "balance_limit" Conflict "Balance limit"
            "The balance would exceed its limit."
            "Charge less, or spend some first."
            { balance: Money = Money::from_minor(9_007_199_254_740_000), limit: Money = MAX_BALANCE }
            => format!(
                "a balance may hold {} at most and this one has {}: move less, or use some of it first",
                money(*limit),
                money(*balance)
            );

        InsufficientStock "insufficient_stock" Conflict "Insufficient stock"
            "Stock is too low. `shortages` has every product that is short."
            "Order what is available."
            { shortages: Vec<Shortage> =
                vec![Shortage { product_id: ProductId::new(1), requested: 11, available: 10 }] }
            => format!("too little stock: {}: use a smaller quantity", join(", ", shortages));

        PurchaseLimit "purchase_limit" Conflict "Purchase limit"
            "A customer may buy only so many. `over_limit` has every product that is over."
            "Order at most `limit` less `bought`."
            { over_limit: Vec<OverLimit> =
                vec![OverLimit { product_id: ProductId::new(1), requested: 2, bought: 2, limit: 3 }] }
            => format!("over the limit per customer: {}: order fewer, or cancel an order", join(", ", over_limit));

        NotInCart "not_in_cart" Conflict "Product not in the cart"
            "The product is not in the cart."
            "Read the cart."
            { product_id: ProductId = ProductId::new(1) }
            => format!("product {product_id} is not in the cart: read the cart first");

        CartEmpty "cart_empty" Conflict "Empty cart"
            "The cart to be ordered is empty."
            "Add a product."
            { customer_id: CustomerId = CustomerId::new(1) }
            => format!("the cart of customer {customer_id} is empty: add a product first");

        CouponSoldOut "coupon_sold_out" Conflict "Sold-out coupon"
            "Every coupon of the campaign is claimed."
            "No retry helps."
            { coupon_id: CouponId = CouponId::new(1), quantity: i64 = 100 }
            => format!("all {quantity} coupons of campaign {coupon_id} are claimed: no retry helps");

        CouponAlreadyClaimed "coupon_already_claimed" Conflict "Coupon already claimed"
            "The customer has a coupon of this campaign."
            "Use `owned_coupon_id`."
            { coupon_id: CouponId = CouponId::new(1), owned_coupon_id: OwnedCouponId = OwnedCouponId::new(5),
              rank: i64 = 5 }
            => format!(
                "the customer has claimed campaign {coupon_id} already (rank {rank}): order with coupon \
                 {owned_coupon_id}"
            );

        CouponNotStarted "coupon_not_started" Conflict "Coupon before its start"
            "The campaign has not started."
            "Claim or use it from `valid_from` on."
            { coupon_id: CouponId = CouponId::new(1),
              valid_from: Timestamp = Timestamp::from_unix(1_769_860_800) }
            => format!("coupon {coupon_id} starts at {valid_from}: claim or use it from then on");

        CouponExpired "coupon_expired" Conflict "Expired coupon"
            "The campaign has ended."
            "No retry helps."
            { coupon_id: CouponId = CouponId::new(1),
              valid_until: Timestamp = Timestamp::from_unix(1_769_860_800) }
            => format!("coupon {coupon_id} expired or was stopped at {valid_until}: use another or none");

        CouponAlreadyUsed "coupon_already_used" Conflict "Coupon already used"
            "Another order holds or has used the coupon."
            "Cancel that order, or use another coupon."
            { owned_coupon_id: OwnedCouponId = OwnedCouponId::new(5), order_id: OrderId = OrderId::new(7) }
            => format!("coupon {owned_coupon_id} is used by order {order_id}: cancel that order to get it back");

        CouponNotApplicable "coupon_not_applicable" Conflict "Inapplicable coupon"
            "The subtotal is below the coupon's minimum."
            "Order for at least `min_order_amount`."
            { owned_coupon_id: OwnedCouponId = OwnedCouponId::new(5),
              min_order_amount: Money = Money::from_minor(10_000), subtotal: Money = Money::from_minor(9_000) }
            => format!(
                "coupon {owned_coupon_id} needs an order of {} and this one is {}: order more or omit it",
                money(*min_order_amount),
                money(*subtotal)
            );

        OrderNotPayable "order_not_payable" Conflict "Order not payable"
            "The order is not `pending`."
            "If it is paid, it needs no payment. Otherwise place it again."
            { order_id: OrderId = OrderId::new(7), order_status: OrderStatus = OrderStatus::Paid }
            => {
                let paid = *order_status == OrderStatus::Paid;
                let hint = if paid { "nothing is left to pay" } else { "place the order again" };
                format!("order {order_id} is {order_status} and cannot be paid: {hint}")
            };

        OrderNotCancellable "order_not_cancellable" Conflict "Order not cancellable"
            "The order is cancelled or expired."
            "It needs no cancellation."
            { order_id: OrderId = OrderId::new(7), order_status: OrderStatus = OrderStatus::Cancelled }
            => format!("order {order_id} is {order_status} already and cannot be cancelled: nothing is left to cancel");

        ItemsNotCancellable "items_not_cancellable" Conflict "Items not cancellable"
            "The order has fewer units that are not cancelled. `shortages` has every such product."
            "Cancel what is left."
            { order_id: OrderId = OrderId::new(7), shortages: Vec<Shortage> =
                vec![Shortage { product_id: ProductId::new(1), requested: 3, available: 2 }] }
            => format!(
                "order {order_id} has fewer units left to cancel: {}: cancel what is left",
                join(", ", shortages)
            );

        ChargeNotRefundable "charge_not_refundable" Conflict "Charge not refundable"
            "The charge is pending or failed: no money of it was collected."
            "Wait until it has succeeded."
            { charge_id: ChargeId = ChargeId::new(3), charge_status: ChargeStatus = ChargeStatus::Pending }
            => format!("charge {charge_id} is {charge_status} and cannot be paid back: wait until it has succeeded");

        RefundAboveCharge "refund_above_charge" Conflict "Refund above the charge"
            "The charge has less money that was not paid back or disputed; `refundable` is the rest."
            "Refund at most the rest."
            { charge_id: ChargeId = ChargeId::new(3), requested: Money = Money::from_minor(700),
              refundable: Money = Money::from_minor(500) }
            => format!(
                "{} of charge {charge_id} can be paid back, less than {}: refund at most that",
                money(*refundable),
                money(*requested)
            );

        RefundNotFound "refund_not_found" NotFound "Unknown refund"
            "There is no such refund."
            "List the refunds of the charge."
            { refund_id: RefundId = RefundId::new(9) }
            => format!("there is no refund {refund_id}: list the refunds of the charge");

        ReferenceTaken "reference_taken" Conflict "Reference in use"
            "Another order of the customer has that reference."
            "Read `order_id`, or use another reference."
            { reference: String = "web-1042".to_owned(), order_id: OrderId = OrderId::new(7) }
            => format!("order {order_id} has the reference {reference:?}: read that order, or use another reference");

        IdempotencyKeyReused "idempotency_key_reused" KeyReused "Idempotency key reused"
            "The key was used for another request."
            "Use a new key."
            { key: Key = Key::new("order-1")? }
            => format!("the key {key} was used for another request: repeat that request, or use a new key");

        PreconditionFailed "precondition_failed" Precondition "Outdated version"
            "The resource no longer has the version in `If-Match`, or has no version."
            "Read it again, and repeat the change with its new `ETag`."
            => "the resource has changed since that version was read: read it again, and repeat the change with its \
                new ETag".to_owned();

        ChargeDeclined "charge_declined" Declined "Declined charge"
            "The payment gateway declined; `reason` is its text."
            "Use another payment method, with a new key."
            { charge_id: ChargeId = ChargeId::new(3), reason: String = "insufficient_funds".to_owned() }
            => format!("charge {charge_id} was declined ({reason}): use another payment method, with a new key");

        LoginTaken "login_taken" Conflict "Login in use"
            "Another customer has that login."
            "Choose another."
            { login: String = "kim".to_owned() }
            => format!("the login {login} is taken: choose another");

        Unauthenticated "unauthenticated" Unauthenticated "Authentication required"
            "The token is missing, unknown or expired."
            "Log in."
            => "the token is missing, unknown, expired or revoked: log in to get one".to_owned();

        InvalidCredentials "invalid_credentials" Unauthenticated "Invalid credentials"
            "The login or the password is wrong."
            "Check both."
            => "login or password is wrong: check both and try again".to_owned();

        Forbidden "forbidden" Forbidden "Insufficient permission"
            "The resource is another customer's, or for staff of a higher role."
            "Ask an admin."
            => "this belongs to another customer, or needs a higher role: ask an admin".to_owned();

        TooManyRequests "too_many_requests" RateLimited "Too many requests"
            "Too many failed logins, or ten charges of the customer are pending."
            "Retry after `retry_after` seconds. An operator can unlock the login, or settle the charges."
            { retry_after: i64 = 2 }
            => format!("too many attempts: try again in {retry_after} s");
    }
    aliases {
        /// The customer has as many pending charges as allowed. To programs the same as too many requests.
        #[serde(rename = "too_many_requests", skip_deserializing)]
        TooManyPendingCharges TooManyRequests { retry_after: i64 } => format!(
            "{MAX_PENDING_CHARGES} charges of this customer wait for the payment gateway: try again in \
             {retry_after} s, or have an operator settle them"
        );
    }
    failures {
        Busy "busy" Unavailable "Busy: retry"
            "The store was locked for the whole timeout, its server was unreachable, too many requests or logins wait, or \
             memory is too short to check a password. The command line and the log have the last cause."
            "Retry with the same key.";

        Storage "storage" Unavailable "Store failure: see server log"
            "The store failed: disk full, file or server unreachable, data damaged, or the outcome of a commit unknown."
            "Client: retry with the same key; it has one effect. Operator: read `detail` in the log, then `/readyz`.";
    }
}

impl Code {
    /// The code as written in JSON, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().word
    }

    /// The kind of error, from which HTTP and exit statuses follow.
    #[must_use]
    pub const fn class(self) -> ErrorClass {
        self.row().class
    }

    /// A short title for people, the same for every error with this code.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.row().title
    }

    /// The meaning, in Markdown.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        self.row().meaning
    }

    /// The action to take, in Markdown.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        self.row().remedy
    }

    /// The names of the refusal's fields.
    #[must_use]
    pub const fn fields(self) -> &'static [&'static str] {
        self.row().fields
    }

    /// Returns true if the same call, sent again unchanged and with its key, may succeed.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self.class(), ErrorClass::RateLimited | ErrorClass::Unavailable)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An invalid value in a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invalid {
    /// The mistake and the expected value, in a sentence.
    pub detail: String,
    /// The position, as a JSON pointer into the request.
    pub pointer: String,
}

impl Invalid {
    fn new(pointer: &str, detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), pointer: pointer.to_owned() }
    }
}

/// A product with fewer units than an order requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortage {
    /// The product.
    pub product_id: ProductId,
    /// Units requested.
    pub requested: i64,
    /// Units available now.
    pub available: i64,
}

/// A product of which an order requests more units than a customer may still buy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverLimit {
    /// The product.
    pub product_id: ProductId,
    /// Units requested.
    pub requested: i64,
    /// Units of the customer's pending and paid orders.
    pub bought: i64,
    /// Units that a customer may buy.
    pub limit: i64,
}

impl Refusal {
    /// A refusal for one invalid value of the request.
    #[must_use]
    pub fn invalid(pointer: &str, detail: impl Into<String>) -> Self {
        Self::InvalidRequest { errors: vec![Invalid::new(pointer, detail)] }
    }

    /// The sentence for a person, with amounts formatted in that currency.
    #[must_use]
    pub fn sentence(&self, currency: Currency) -> String {
        self.write_with(&|amount| currency.show(amount))
    }
}

/// The sentence with amounts in plain minor units; [`Refusal::sentence`] formats them in a currency.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.write_with(&|amount| amount.to_string()))
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { product_id, requested, available } = self;
        write!(f, "product {product_id} has {available}, not {requested}")
    }
}

impl fmt::Display for OverLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { product_id, requested, bought, limit } = self;
        write!(
            f,
            "product {product_id} has a limit of {limit}, {bought} bought and {requested} requested"
        )
    }
}

/// `1 order`, `2 orders`.
fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

fn no_such(kind: &str, id: &dyn fmt::Display) -> String {
    format!("there is no {kind} {id}: check the id")
}

fn join(separator: &str, items: impl IntoIterator<Item = impl fmt::Display>) -> String {
    let texts: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    texts.join(separator)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_serialize_as_their_names_which_are_unique() {
        let names: BTreeSet<&str> = Code::ALL.into_iter().map(Code::as_str).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }

    /// Refusals are stored with idempotency keys, so the JSON of each must be readable.
    #[test]
    fn refusal_examples_survive_json_with_their_code_and_fields() {
        for code in Code::ALL {
            for refusal in Refusal::examples(code).unwrap_or_default() {
                let json = serde_json::to_value(&refusal).unwrap();
                assert_eq!((&json["code"], refusal.code()), (&code.as_str().into(), code));
                let named = |name: &&String| {
                    name.as_str() == "code" || code.fields().contains(&name.as_str())
                };
                assert!(json.as_object().unwrap().keys().all(|name| named(&name)), "{json}");
                assert_eq!(serde_json::from_value::<Refusal>(json).unwrap(), refusal);
            }
        }
    }

    #[test]
    fn refusal_sentence_formats_amounts_in_the_currency() {
        let refusal = Refusal::InsufficientBalance {
            balance: Money::from_minor(500),
            required: Money::from_minor(1_200),
        };
        assert_eq!(
            refusal.sentence(Currency::KRW),
            "the balance is 500 KRW and 1,200 KRW is needed: charge 700 KRW more"
        );
    }

    #[test]
    fn pending_charge_limit_has_the_code_of_rate_limits_and_its_own_sentence() {
        let charges = Refusal::TooManyPendingCharges { retry_after: 60 };
        let attempts = Refusal::TooManyRequests { retry_after: 60 };
        assert_eq!(charges.code(), attempts.code());
        let json = serde_json::to_value(&charges).unwrap();
        assert_eq!(json, serde_json::to_value(&attempts).unwrap());
        assert!(charges.to_string().starts_with("10 charges of this customer wait"), "{charges}");
    }
}
