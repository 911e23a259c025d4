//! An independent model of the rules: predicts the answer to every operation and the rows behind it.
//!
//! It is written from the contract of the product (README, `docs/api.md`, `docs/errors.md`, `docs/design.md`):
//! plain maps, plain arithmetic, its own constants. It uses the crate's types as vocabulary and calls none of its
//! rules, so a mistake in a rule shows as a difference between the prediction and the answer.
//!
//! A prediction has no sentences: of an `invalid_request` the model predicts the pointers.

mod catalog;
mod customers;
mod lists;
mod orders;
mod parts;
mod refunds;
mod reports;
mod staff;
mod wallet;

use commerce_core::store::{Account, ChargeRow, EventRow, Record, RefundRow, StockMovement};
use commerce_core::testing::{AnyOperation, CreateToken};
use commerce_core::{
    Actor, AuditEntry, CancelOrder, Cart, Charge, ChargeId, ChargeStatus, Coupon, CouponId,
    Currency, Customer, CustomerId, Debit, Invalid, Key, LedgerEntry, Money, Order, OrderId,
    OrderItems, OwnedCoupon, OwnedCouponId, PasswordHash, PlaceOrder, Product, ProductId, Refund,
    RefundId, Refusal, Settings, Shortage, Timestamp, Token,
};
use orders::merged;
pub(crate) use reports::ZONES;
use std::collections::{BTreeMap, BTreeSet};
use wallet::is_login;

const CURRENCY: Currency = Currency::KRW;
const MAX_AMOUNT: i64 = 1_000_000_000_000;
const MAX_PRICE: i64 = 1_000_000_000_000;
const MAX_BALANCE: i64 = 9_007_199_254_740_991;
const MAX_STOCK: i64 = 1_000_000_000;
const MAX_LINES: usize = 1_000;
const MAX_TEXT: usize = 200;
const HOLD_SECONDS: i64 = 900;
const MAX_PENDING_CHARGES: usize = 10;
const PENDING_RETRY_AFTER: i64 = 60;
const FREE_LOGIN_FAILURES: i64 = 5;
const MAX_LOGIN_WAIT: i64 = 900;
const LOGIN_MEMORY: i64 = 3_600;
const CLOCK_SKEW: i64 = 60;
/// The scope of keys that belong to the shop and not to a customer.
const SHOP: CustomerId = CustomerId::new(0);

/// The output of an operation that succeeded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Output {
    Customer(Customer),
    Product(Product),
    Coupon(Coupon),
    Charge(Charge),
    Refund(Refund),
    Debit(Debit),
    Cart(Cart),
    OwnedCoupon(OwnedCoupon),
    Order(Order),
    Token(Token),
    Expired(Vec<OrderId>),
    Done(()),
    Settings(Settings),
}

macro_rules! outputs {
    ($($variant:ident($type:ty))+) => {$(
        impl From<$type> for Output {
            fn from(output: $type) -> Self {
                Self::$variant(output)
            }
        }
    )+};
}

outputs! {
    Customer(Customer) Product(Product) Coupon(Coupon) Charge(Charge) Refund(Refund) Debit(Debit) Cart(Cart)
    OwnedCoupon(OwnedCoupon) Order(Order) Expired(Vec<OrderId>) Done(()) Settings(Settings) Token(Token)
}

type Decision = Result<Output, Refusal>;

/// The answer to a call: output or refusal, and whether it is the replay of an earlier answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) result: Decision,
    pub(crate) replayed: bool,
}

impl Answer {
    /// Creates an answer without the sentences of an `invalid_request`.
    pub(crate) fn new(result: Decision, replayed: bool) -> Self {
        let result = match result {
            Err(Refusal::InvalidRequest { errors }) => {
                Err(invalid(errors.into_iter().map(|error| error.pointer)))
            }
            result => result,
        };
        Self { result, replayed }
    }
}

/// An answer kept under an idempotency key.
enum Stored {
    Decision(Decision),
    /// A charge that was pending: the answer follows from its current status.
    Charge(ChargeId),
    /// A refund: the answer is its present row.
    Refund(RefundId),
}

#[derive(Default)]
pub(crate) struct Model {
    accounts: BTreeMap<CustomerId, Account>,
    products: BTreeMap<ProductId, Product>,
    movements: Vec<StockMovement>,
    carts: BTreeMap<CustomerId, BTreeMap<ProductId, i64>>,
    coupons: BTreeMap<CouponId, Coupon>,
    owned_coupons: BTreeMap<OwnedCouponId, OwnedCoupon>,
    orders: BTreeMap<OrderId, Order>,
    charges: BTreeMap<ChargeId, ChargeRow>,
    refunds: BTreeMap<RefundId, RefundRow>,
    ledger: Vec<LedgerEntry>,
    events: Vec<EventRow>,
    /// Failed attempts by login: their number, and the instant of the last one.
    attempts: BTreeMap<String, (i64, Timestamp)>,
    passwords: BTreeMap<CustomerId, PasswordHash>,
    settings: Settings,
    tokens: Vec<Token>,
    trail: Vec<AuditEntry>,
    keys: BTreeMap<(CustomerId, Key), (String, Stored)>,
}

impl Model {
    /// Predicts the answer to an operation decided at `now` while the clock shows `clock`.
    pub(crate) fn answer(
        &mut self,
        operation: &AnyOperation,
        key: Option<&Key>,
        now: Timestamp,
        clock: Timestamp,
        actor: Option<Actor>,
    ) -> Answer {
        let expired = self.expire(clock);
        if now <= clock && matches!(operation, AnyOperation::ExpireOrders(_)) {
            return Answer::new(Ok(Output::Expired(expired)), false);
        }
        let slot = self.key_scope(operation).zip(key.cloned());
        let request = identity(operation);
        if let Some((known, stored)) = slot.as_ref().and_then(|slot| self.keys.get(slot)) {
            if *known == request {
                return Answer::new(self.replay(stored), true);
            }
            let key = key.unwrap().clone();
            return Answer::new(Err(Refusal::IdempotencyKeyReused { key }), false);
        }
        if now > clock {
            return Answer::new(Err(invalid([String::new()])), false);
        }
        let owner = self.key_scope(operation);
        // Only staff may add money without a gateway, refund, disable and enable: recorded for themselves, too.
        let is_of_staff = matches!(
            operation,
            AnyOperation::ChargeBalance(_) | AnyOperation::RefundCharge(_)
        ) || matches!(operation, AnyOperation::UpdateCustomer(request) if request.status.is_some());
        let is_own = |actor: &Actor| owner.map(Actor::Customer) == Some(*actor);
        let actor = actor.filter(|actor| is_of_staff || !is_own(actor));
        let before = self.present(operation);
        let movements = self.movements.len();
        let decision = self.decide(operation, now);
        if let (Ok(output), Some(actor)) = (&decision, actor) {
            self.record(operation, output, &before, actor, clock);
            for movement in &mut self.movements[movements..] {
                movement.actor = Some(actor);
            }
        }
        if let Some(slot) = slot.filter(|(scope, _)| *scope == SHOP || self.is_customer(*scope))
            && let Some(stored) = stored(&decision)
        {
            self.keys.insert(slot, (request, stored));
        }
        Answer::new(decision, false)
    }

    /// Predicts the rows of customers, products, movements, carts, coupons, claims, orders, charges, refunds, ledger,
    /// events, tokens, settings and the audit trail.
    pub(crate) fn rows(&self) -> Vec<Record> {
        let cart_lines = self.carts.iter().flat_map(|(customer_id, lines)| {
            lines.iter().map(|(product_id, quantity)| Record::CartLine {
                customer_id: *customer_id,
                product_id: *product_id,
                quantity: *quantity,
            })
        });
        let first = self.first_orders();
        let accounts = self.accounts.values().cloned().map(|mut account| {
            account.first_order = first.get(&account.customer.id).copied();
            Record::Account(account)
        });
        let coupons = self.coupons.values().cloned().map(|mut coupon| {
            coupon.usage = self.usage(coupon.id);
            Record::Coupon(coupon)
        });
        accounts
            .chain(self.products.values().cloned().map(Record::Product))
            .chain(self.movements.iter().cloned().map(Record::StockMovement))
            .chain(cart_lines)
            .chain(coupons)
            .chain(self.owned_coupons.values().cloned().map(Record::OwnedCoupon))
            .chain(self.orders.values().cloned().map(Record::Order))
            .chain(self.purchases())
            .chain(self.charges.values().cloned().map(Record::Charge))
            .chain(self.refunds.values().cloned().map(Record::Refund))
            .chain(self.ledger.iter().cloned().map(Record::LedgerEntry))
            .chain(self.events.iter().cloned().map(Record::Event))
            .chain(self.tokens.iter().cloned().map(Record::Token))
            .chain([Record::Settings(self.settings)])
            .chain(self.trail.iter().cloned().map(Record::AuditEntry))
            .collect()
    }

    /// Returns the customer whose keys apply, or [`SHOP`]; `None` for operations without keys.
    fn key_scope(&self, operation: &AnyOperation) -> Option<CustomerId> {
        let order_owner = |id| self.orders.get(id).map(|order| order.customer_id);
        match operation {
            AnyOperation::AddCustomer(_)
            | AnyOperation::AddProduct(_)
            | AnyOperation::UpdateProduct(_)
            | AnyOperation::AdjustStock(_)
            | AnyOperation::CreateToken(_)
            | AnyOperation::RevokeToken(_)
            | AnyOperation::AddCoupon(_)
            | AnyOperation::UpdateCoupon(_) => Some(SHOP),
            AnyOperation::UpdateCustomer(request) => Some(request.customer_id),
            AnyOperation::ChangePassword(request) => Some(request.customer_id),
            AnyOperation::RevokeSession(request) => Some(request.customer_id),
            AnyOperation::ChargeBalance(request) => Some(request.customer_id),
            AnyOperation::OpenCharge(request) => Some(request.customer_id),
            AnyOperation::DebitBalance(request) => Some(request.customer_id),
            AnyOperation::EditCart(request) => Some(request.customer_id),
            AnyOperation::ClaimCoupon(request) => Some(request.customer_id),
            AnyOperation::PlaceOrder(request) => Some(request.customer_id),
            AnyOperation::PayOrder(request) => order_owner(&request.order_id),
            AnyOperation::CancelOrder(request) => order_owner(&request.order_id),
            AnyOperation::RefundCharge(request) => {
                self.charges.get(&request.charge_id).map(|row| row.customer_id)
            }
            AnyOperation::SettleRefund(_)
            | AnyOperation::RecordNotice(_)
            | AnyOperation::SettleCharge(_)
            | AnyOperation::ChangeSettings(_)
            | AnyOperation::ExpireOrders(_)
            | AnyOperation::SetCredentials(_)
            | AnyOperation::SetRole(_)
            | AnyOperation::RecordTokenUse(_)
            | AnyOperation::RecordLoginAttempt(_)
            | AnyOperation::UnlockLogin(_)
            | AnyOperation::OpenSession(_)
            | AnyOperation::CloseSession(_)
            | AnyOperation::EraseCustomer(_)
            | AnyOperation::RelayEvents(_)
            | AnyOperation::RetryEvents(_)
            | AnyOperation::ReplayEvents(_) => None,
        }
    }

    fn replay(&self, stored: &Stored) -> Decision {
        match stored {
            Stored::Decision(decision) => decision.clone(),
            Stored::Refund(id) => Ok(refunds::output(&self.refunds[id]).into()),
            Stored::Charge(id) => match &self.charges[id] {
                ChargeRow { failure: Some(reason), .. } => {
                    Err(Refusal::ChargeDeclined { charge_id: *id, reason: reason.clone() })
                }
                row => Ok(self.charge_output(row).into()),
            },
        }
    }

    fn decide(&mut self, operation: &AnyOperation, now: Timestamp) -> Decision {
        match operation {
            AnyOperation::AddCustomer(request) => self.add_customer(request, now),
            AnyOperation::UpdateCustomer(request) => self.update_customer(request),
            AnyOperation::EraseCustomer(request) => self.erase(request.customer_id),
            AnyOperation::ChangePassword(request) => self.change_password(request),
            AnyOperation::RevokeSession(request) => {
                Ok(self.account(request.customer_id)?.customer.clone().into())
            }
            AnyOperation::AddProduct(request) => self.add_product(request, now),
            AnyOperation::UpdateProduct(request) => self.update_product(request, now),
            AnyOperation::AdjustStock(request) => self.adjust_stock(request, now),
            AnyOperation::AddCoupon(request) => self.add_coupon(request, now),
            AnyOperation::UpdateCoupon(request) => self.update_coupon(request, now),
            AnyOperation::ChargeBalance(request) => {
                self.charge(request.customer_id, request.amount, now)
            }
            AnyOperation::OpenCharge(request) => self.open_charge(request, now),
            AnyOperation::SettleCharge(request) => self.settle_charge(request, now),
            AnyOperation::DebitBalance(request) => self.debit(request, now),
            AnyOperation::EditCart(request) => self.edit_cart(request, now),
            AnyOperation::ClaimCoupon(request) => self.claim_coupon(request, now),
            AnyOperation::PlaceOrder(request) => self.place_order(request, now),
            AnyOperation::PayOrder(request) => self.pay_order(request.order_id, now),
            AnyOperation::CancelOrder(request) => self.cancel_order(request, now),
            AnyOperation::SetCredentials(request) => {
                validate(&[(is_login(&request.login), "/login")])?;
                self.known(request.customer_id)?;
                self.set_credentials(request.customer_id, &request.login)
            }
            AnyOperation::SetRole(request) => self.set_role(request.customer_id, request.role),
            AnyOperation::CreateToken(request) => self.create_token(request, now),
            AnyOperation::RevokeToken(request) => self.revoke_token(request.token_id, now),
            AnyOperation::RecordTokenUse(request) => {
                self.use_token(request.token_id, now);
                Ok(().into())
            }
            AnyOperation::RecordLoginAttempt(request) => self.attempt_login(&request.login, now),
            AnyOperation::UnlockLogin(request) => {
                let customer = self.known(request.customer_id)?.customer.clone();
                let Some(login) = &customer.login else {
                    return Err(invalid(["/customer_id".to_owned()]));
                };
                self.reset_attempts(login);
                Ok(customer.into())
            }
            AnyOperation::OpenSession(request) => self.open_session(request, now),
            AnyOperation::CloseSession(_) => Ok(().into()),
            AnyOperation::ChangeSettings(request) => {
                self.settings = Settings::new(request.zone);
                Ok(self.settings.into())
            }
            AnyOperation::ExpireOrders(_) => unreachable!("answered before"),
            AnyOperation::RefundCharge(request) => self.refund_charge(request, now),
            AnyOperation::SettleRefund(request) => self.settle_refund(request, now),
            AnyOperation::RecordNotice(request) => self.notice(request, now),
            AnyOperation::RelayEvents(_)
            | AnyOperation::RetryEvents(_)
            | AnyOperation::ReplayEvents(_) => unreachable!("not generated"),
        }
    }

    fn is_customer(&self, id: CustomerId) -> bool {
        self.accounts.contains_key(&id)
    }

    fn account(&self, customer_id: CustomerId) -> Result<&Account, Refusal> {
        self.accounts.get(&customer_id).ok_or(Refusal::CustomerNotFound { customer_id })
    }

    fn product(&self, id: ProductId) -> Result<&Product, Refusal> {
        self.products.get(&id).ok_or(Refusal::ProductNotFound { product_ids: vec![id] })
    }
}

/// Returns the text that two calls with one key must have in common. Order lines are the same request in any
/// order and however they are split; a charge is the same with and without a gateway; passwords and tokens are not part of
/// a request.
fn identity(operation: &AnyOperation) -> String {
    let charge = |customer_id, amount, method: &Option<String>| {
        format!("charge {customer_id:?} {amount:?} {method:?}")
    };
    if let AnyOperation::ChargeBalance(request) = operation {
        return charge(request.customer_id, request.amount, &None);
    }
    if let AnyOperation::OpenCharge(request) = operation {
        return charge(request.customer_id, request.amount, &request.payment_method);
    }
    if let AnyOperation::ChangePassword(request) = operation {
        return format!("password {}", request.customer_id);
    }
    if let AnyOperation::RevokeSession(request) = operation {
        return format!("session {}", request.customer_id);
    }
    if let AnyOperation::PlaceOrder(order) = operation
        && let OrderItems::Listed(items) = &order.items
        && items.iter().all(|(_, quantity)| *quantity > 0)
    {
        let sums = BTreeSet::from_iter(merged(items));
        let items = OrderItems::Listed(sums.into_iter().collect());
        return format!("{:?}", PlaceOrder { items, ..order.clone() });
    }
    if let AnyOperation::CancelOrder(request) = operation
        && let Some(items) = &request.items
        && items.iter().all(|(_, quantity)| *quantity > 0)
    {
        let items = Some(BTreeSet::from_iter(merged(items)).into_iter().collect());
        return format!("{:?}", CancelOrder { items, ..request.clone() });
    }
    if let AnyOperation::RefundCharge(request) = operation {
        return format!("refund {} {:?}", request.charge_id, request.amount);
    }
    if let AnyOperation::CreateToken(request) = operation {
        return format!("{:?}", CreateToken { hash: String::new(), ..request.clone() });
    }
    format!("{operation:?}")
}

/// Returns the answer to keep under a key. Invalid requests, early attempts and bare acknowledgements are not kept.
fn stored(decision: &Decision) -> Option<Stored> {
    match decision {
        Err(
            Refusal::InvalidRequest { .. }
            | Refusal::TooManyRequests { .. }
            | Refusal::TooManyPendingCharges { .. },
        )
        | Ok(Output::Expired(_) | Output::Done(())) => None,
        Ok(Output::Charge(charge)) if charge.status == ChargeStatus::Pending => {
            Some(Stored::Charge(charge.id))
        }
        Ok(Output::Refund(refund)) => Some(Stored::Refund(refund.id)),
        // The hash of a token is not kept.
        Ok(Output::Token(token)) => {
            let token = Token { hash: String::new(), ..token.clone() };
            Some(Stored::Decision(Ok(token.into())))
        }
        decision => Some(Stored::Decision(decision.clone())),
    }
}

/// Refuses with the pointers of the checks that failed.
fn validate(checks: &[(bool, &str)]) -> Result<(), Refusal> {
    let wrong: Vec<_> = checks.iter().filter(|(ok, _)| !ok).map(|(_, p)| (*p).to_owned()).collect();
    if wrong.is_empty() { Ok(()) } else { Err(invalid(wrong)) }
}

/// An `invalid_request` with each pointer once, sorted, and without sentences.
fn invalid(pointers: impl IntoIterator<Item = String>) -> Refusal {
    let pointers: BTreeSet<String> = pointers.into_iter().collect();
    let error = |pointer| Invalid { detail: String::new(), pointer };
    Refusal::InvalidRequest { errors: pointers.into_iter().map(error).collect() }
}

fn short(product_id: ProductId, requested: i64, available: i64) -> Refusal {
    Refusal::InsufficientStock { shortages: vec![Shortage { product_id, requested, available }] }
}

fn is_amount(amount: Money) -> bool {
    (1..=MAX_AMOUNT).contains(&amount.minor())
}

/// Ids up to half of the range may be chosen, so that there is always a next one.
fn is_assignable(id: i64) -> bool {
    (1..=i64::MAX / 2).contains(&id)
}

fn is_text(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= MAX_TEXT && !text.contains(char::is_control)
}

fn next_id(count: usize) -> i64 {
    i64::try_from(count).unwrap() + 1
}
