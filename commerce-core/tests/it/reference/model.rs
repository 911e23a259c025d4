//! An independent model of the rules: predicts the answer to every operation and the rows behind it.
//!
//! It is written from the contract of the product (README, `docs/api.md`, `docs/errors.md`, `docs/design.md`): plain maps, plain
//! arithmetic, its own constants. It uses the crate's types as vocabulary and calls none of its rules, so a
//! mistake in a rule shows as a difference between the prediction and the answer.
//!
//! Sentences are no part of a prediction: of an `invalid_request` the model predicts the pointers.

use commerce_core::{
    Account, AddCoupon, AddCustomer, AddProduct, AdjustStock, AnyOperation, BestSeller,
    BestSellers, Cart, CartEdit, CartItem, Charge, ChargeId, ChargeRow, ChargeSource, ChargeStatus,
    ClaimCoupon, Coupon, CouponId, Currency, Customer, CustomerId, Debit, DebitBalance, Discount,
    EditCart, EntryKind, EventId, EventKind, EventRow, Invalid, Key, LedgerEntry, LedgerEntryId,
    Money, NewLogin, OpenCharge, OpenSession, Order, OrderId, OrderItems, OrderLine, OrderStatus,
    OwnedCoupon, OwnedCouponId, OwnedCouponStatus, PayWhen, PlaceOrder, Product, ProductId,
    ProductStatus, Record, Refusal, Role, SettleCharge, Settlement, Shortage, StockMovement,
    StockMovementId, Timestamp, UpdateProduct,
};
use std::collections::{BTreeMap, BTreeSet};

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
    Debit(Debit),
    Cart(Cart),
    OwnedCoupon(OwnedCoupon),
    Order(Order),
    Expired(Vec<OrderId>),
    Done(()),
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
    Customer(Customer) Product(Product) Coupon(Coupon) Charge(Charge) Debit(Debit) Cart(Cart)
    OwnedCoupon(OwnedCoupon) Order(Order) Expired(Vec<OrderId>) Done(())
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
        let result = result.map_err(|refusal| match refusal {
            Refusal::InvalidRequest { errors } => invalid(errors.into_iter().map(|e| e.pointer)),
            other => other,
        });
        Self { result, replayed }
    }
}

/// An answer kept under an idempotency key.
enum Stored {
    Decision(Decision),
    /// A charge that was pending: the answer follows from its current status.
    Charge(ChargeId),
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
    ledger: Vec<LedgerEntry>,
    events: Vec<EventRow>,
    /// Failed attempts by login: their number, and the instant of the last one.
    attempts: BTreeMap<String, (i64, Timestamp)>,
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
        let decision = self.decide(operation, now);
        if let Some(slot) = slot.filter(|(scope, _)| *scope == SHOP || self.is_customer(*scope))
            && let Some(stored) = stored(&decision)
        {
            self.keys.insert(slot, (request, stored));
        }
        Answer::new(decision, false)
    }

    /// Expires the orders whose hold has ended, and returns their ids, the longest overdue first.
    pub(crate) fn expire(&mut self, clock: Timestamp) -> Vec<OrderId> {
        let is_overdue = |order: &&Order| {
            order.status == OrderStatus::Pending && order.expires_at.unwrap() <= clock
        };
        let mut overdue: Vec<(Timestamp, OrderId)> = self
            .orders
            .values()
            .filter(is_overdue)
            .map(|order| (order.expires_at.unwrap(), order.id))
            .collect();
        overdue.sort_unstable();
        for (_, id) in &overdue {
            self.end_order(*id, OrderStatus::Expired);
        }
        overdue.into_iter().map(|(_, id)| id).collect()
    }

    /// Predicts the five best sellers of the three days up to `at`.
    pub(crate) fn best_sellers(&self, at: Timestamp) -> BestSellers {
        let from = Timestamp::from_unix(at.unix() - 3 * 24 * 60 * 60);
        let is_counted = |order: &&Order| {
            order.status == OrderStatus::Paid
                && order.paid_at.is_some_and(|paid_at| from < paid_at && paid_at <= at)
        };
        let mut units = BTreeMap::<ProductId, i64>::new();
        for line in self.orders.values().filter(is_counted).flat_map(|order| &order.lines) {
            *units.entry(line.product_id).or_default() += line.quantity;
        }
        let mut ranking: Vec<(ProductId, i64)> = units.into_iter().collect();
        ranking.sort_by_key(|(id, units)| (-units, *id));
        let items = ranking.into_iter().take(5).enumerate().map(|(index, (id, units_sold))| {
            let Product { id: product_id, name, price, stock, status } = self.products[&id].clone();
            BestSeller { rank: index + 1, product_id, name, price, stock, status, units_sold }
        });
        BestSellers { from, to: at, items: items.collect() }
    }

    /// Predicts the rows of customers, products, movements, carts, coupons, claims, orders, charges, ledger and
    /// events.
    pub(crate) fn rows(&self) -> Vec<Record> {
        let cart_lines = self.carts.iter().flat_map(|(customer_id, lines)| {
            lines.iter().map(|(product_id, quantity)| Record::CartLine {
                customer_id: *customer_id,
                product_id: *product_id,
                quantity: *quantity,
            })
        });
        let accounts = self.accounts.values().cloned().map(Record::Account);
        accounts
            .chain(self.products.values().cloned().map(Record::Product))
            .chain(self.movements.iter().cloned().map(Record::StockMovement))
            .chain(cart_lines)
            .chain(self.coupons.values().cloned().map(Record::Coupon))
            .chain(self.owned_coupons.values().cloned().map(Record::OwnedCoupon))
            .chain(self.orders.values().cloned().map(Record::Order))
            .chain(self.charges.values().cloned().map(Record::Charge))
            .chain(self.ledger.iter().cloned().map(Record::LedgerEntry))
            .chain(self.events.iter().cloned().map(Record::Event))
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
            | AnyOperation::AddCoupon(_) => Some(SHOP),
            AnyOperation::ChargeBalance(request) => Some(request.customer_id),
            AnyOperation::OpenCharge(request) => Some(request.customer_id),
            AnyOperation::DebitBalance(request) => Some(request.customer_id),
            AnyOperation::EditCart(request) => Some(request.customer_id),
            AnyOperation::ClaimCoupon(request) => Some(request.customer_id),
            AnyOperation::PlaceOrder(request) => Some(request.customer_id),
            AnyOperation::PayOrder(request) => order_owner(&request.order_id),
            AnyOperation::CancelOrder(request) => order_owner(&request.order_id),
            _ => None,
        }
    }

    fn replay(&self, stored: &Stored) -> Decision {
        match stored {
            Stored::Decision(decision) => decision.clone(),
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
            AnyOperation::AddProduct(request) => self.add_product(request, now),
            AnyOperation::UpdateProduct(request) => self.update_product(request),
            AnyOperation::AdjustStock(request) => self.adjust_stock(request, now),
            AnyOperation::AddCoupon(request) => self.add_coupon(request, now),
            AnyOperation::ChargeBalance(request) => {
                self.charge(request.customer_id, request.amount, now)
            }
            AnyOperation::OpenCharge(request) => self.open_charge(request, now),
            AnyOperation::SettleCharge(request) => self.settle_charge(request, now),
            AnyOperation::DebitBalance(request) => self.debit(request, now),
            AnyOperation::EditCart(request) => self.edit_cart(request),
            AnyOperation::ClaimCoupon(request) => self.claim_coupon(request, now),
            AnyOperation::PlaceOrder(request) => self.place_order(request, now),
            AnyOperation::PayOrder(request) => self.pay_order(request.order_id, now),
            AnyOperation::CancelOrder(request) => self.cancel_order(request.order_id, now),
            AnyOperation::SetCredentials(request) => {
                validate(&[(is_login(&request.login), "/login")])?;
                self.account(request.customer_id)?;
                self.set_credentials(request.customer_id, &request.login)
            }
            AnyOperation::RecordLoginAttempt(request) => self.attempt_login(&request.login, now),
            AnyOperation::UnlockLogin(request) => {
                let customer = self.account(request.customer_id)?.customer.clone();
                let Some(login) = &customer.login else {
                    return Err(invalid(["/customer_id".to_owned()]));
                };
                self.reset_attempts(login);
                Ok(customer.into())
            }
            AnyOperation::OpenSession(request) => self.open_session(request, now),
            AnyOperation::CloseSession(_) => Ok(().into()),
            other => unreachable!("not part of these histories: {other:?}"),
        }
    }

    fn add_customer(&mut self, request: &AddCustomer, now: Timestamp) -> Decision {
        validate(&[
            (request.id.is_none_or(|id| is_assignable(id.get())), "/id"),
            (is_text(&request.name), "/name"),
            ((0..=MAX_AMOUNT).contains(&request.balance.minor()), "/balance"),
            (request.login.as_ref().is_none_or(is_login), "/login"),
        ])?;
        if let Some(customer_id) = request.id.filter(|id| self.is_customer(*id)) {
            return Err(Refusal::CustomerExists { customer_id });
        }
        if let Some(new) = request.login.as_ref().filter(|new| self.has_login(&new.login).is_some())
        {
            return Err(Refusal::LoginTaken { login: new.login.clone() });
        }
        let next = self.accounts.last_key_value().map_or(1, |(id, _)| id.get() + 1);
        let id = request.id.unwrap_or(CustomerId::new(next));
        let (name, role) = (request.name.clone(), Role::Customer);
        let customer = Customer { id, name, login: None, role, created_at: now };
        let balance = Money::ZERO;
        let account = Account { customer, balance, last_entry: None, last_order: None };
        self.accounts.insert(id, account);
        if request.balance.minor() > 0 {
            self.charge(id, request.balance, now)?;
        }
        match &request.login {
            Some(new) => self.set_credentials(id, new),
            None => Ok(self.accounts[&id].customer.clone().into()),
        }
    }

    fn add_product(&mut self, request: &AddProduct, now: Timestamp) -> Decision {
        validate(&[
            (request.id.is_none_or(|id| is_assignable(id.get())), "/id"),
            (is_text(&request.name), "/name"),
            ((1..=MAX_PRICE).contains(&request.price.minor()), "/price"),
            ((0..=MAX_STOCK).contains(&request.stock), "/stock"),
        ])?;
        if let Some(product_id) = request.id.filter(|id| self.products.contains_key(id)) {
            return Err(Refusal::ProductExists { product_id });
        }
        let next = self.products.last_key_value().map_or(1, |(id, _)| id.get() + 1);
        let id = request.id.unwrap_or(ProductId::new(next));
        let (name, price, status) = (request.name.clone(), request.price, ProductStatus::Active);
        let product = Product { id, name, price, stock: request.stock, status };
        self.products.insert(id, product.clone());
        if request.stock > 0 {
            self.record_movement(id, request.stock, "first stock", now);
        }
        Ok(product.into())
    }

    fn update_product(&mut self, request: &UpdateProduct) -> Decision {
        let UpdateProduct { product_id, name, price, status } = request;
        let has_change = name.is_some() || price.is_some() || status.is_some();
        validate(&[
            (has_change, ""),
            (name.as_deref().is_none_or(is_text), "/name"),
            (price.is_none_or(|price| (1..=MAX_PRICE).contains(&price.minor())), "/price"),
        ])?;
        let product = self.product(*product_id)?;
        let stays_archived =
            product.status == ProductStatus::Archived && *status != Some(ProductStatus::Active);
        if stays_archived && (name.is_some() || price.is_some()) {
            return Err(Refusal::ProductArchived { product_ids: vec![*product_id] });
        }
        let product = self.products.get_mut(product_id).unwrap();
        product.name = name.clone().unwrap_or(product.name.clone());
        product.price = price.unwrap_or(product.price);
        product.status = status.unwrap_or(product.status);
        Ok(product.clone().into())
    }

    fn adjust_stock(&mut self, request: &AdjustStock, now: Timestamp) -> Decision {
        let AdjustStock { product_id, delta, reason } = request;
        let is_delta = *delta != 0 && (-MAX_STOCK..=MAX_STOCK).contains(delta);
        validate(&[(is_delta, "/delta"), (is_text(reason), "/reason")])?;
        let available = self.product(*product_id)?.stock;
        if *delta > 0 && available + delta > MAX_STOCK {
            return Err(invalid(["/delta".to_owned()]));
        }
        if available + delta < 0 {
            return Err(short(*product_id, -delta, available));
        }
        self.record_movement(*product_id, *delta, reason, now);
        let product = self.products.get_mut(product_id).unwrap();
        product.stock += delta;
        Ok(product.clone().into())
    }

    fn record_movement(&mut self, product_id: ProductId, delta: i64, reason: &str, at: Timestamp) {
        let id = StockMovementId::new(next_id(self.movements.len()));
        let reason = reason.to_owned();
        self.movements.push(StockMovement { id, product_id, delta, reason, created_at: at });
    }

    fn add_coupon(&mut self, request: &AddCoupon, now: Timestamp) -> Decision {
        let valid_from = request.valid_from.unwrap_or(now);
        let (is_discount, pointer, is_cap) = match request.discount {
            Discount::Fixed { amount } => (is_amount(amount), "/discount/amount", true),
            Discount::Percent { percent, max_amount } => {
                let is_percent = (1..=100).contains(&percent);
                (is_percent, "/discount/percent", max_amount.is_none_or(is_amount))
            }
        };
        validate(&[
            (is_text(&request.name), "/name"),
            ((1..=MAX_STOCK).contains(&request.quantity), "/quantity"),
            (is_discount, pointer),
            (is_cap, "/discount/max_amount"),
            (request.min_order_amount.is_none_or(is_amount), "/min_order_amount"),
            (request.valid_until.is_none_or(|until| until > valid_from), "/valid_until"),
        ])?;
        let id = CouponId::new(next_id(self.coupons.len()));
        let coupon = Coupon {
            id,
            name: request.name.clone(),
            discount: request.discount,
            min_order_amount: request.min_order_amount,
            quantity: request.quantity,
            issued: 0,
            valid_from,
            valid_until: request.valid_until,
        };
        self.coupons.insert(id, coupon.clone());
        Ok(coupon.into())
    }

    fn charge(&mut self, customer_id: CustomerId, amount: Money, now: Timestamp) -> Decision {
        validate(&[(is_amount(amount), "/amount")])?;
        self.check_room(customer_id, amount.minor())?;
        let id = ChargeId::new(next_id(self.charges.len()));
        let row = ChargeRow {
            id,
            customer_id,
            amount,
            status: ChargeStatus::Succeeded,
            created_at: now,
            source: None,
            failure: None,
            settled_at: None,
            balance_after: None,
        };
        self.charges.insert(id, row);
        self.credit_charge(id, now);
        Ok(self.charge_output(&self.charges[&id]).into())
    }

    fn open_charge(&mut self, request: &OpenCharge, now: Timestamp) -> Decision {
        let OpenCharge { customer_id, amount, payment_method, gateway, reference } =
            request.clone();
        validate(&[
            (is_amount(amount), "/amount"),
            (payment_method.as_deref().is_none_or(is_text), "/payment_method"),
        ])?;
        self.account(customer_id)?;
        let is_pending = |row: &&ChargeRow| {
            row.customer_id == customer_id && row.status == ChargeStatus::Pending
        };
        let pending: Vec<i64> =
            self.charges.values().filter(is_pending).map(|row| row.amount.minor()).collect();
        if pending.len() >= MAX_PENDING_CHARGES {
            return Err(Refusal::TooManyPendingCharges { retry_after: PENDING_RETRY_AFTER });
        }
        self.check_room(customer_id, pending.iter().sum::<i64>() + amount.minor())?;
        let id = ChargeId::new(next_id(self.charges.len()));
        let row = ChargeRow {
            id,
            customer_id,
            amount,
            status: ChargeStatus::Pending,
            created_at: now,
            source: Some(ChargeSource { gateway, reference, payment_method }),
            failure: None,
            settled_at: None,
            balance_after: None,
        };
        self.charges.insert(id, row);
        Ok(self.charge_output(&self.charges[&id]).into())
    }

    fn settle_charge(&mut self, request: &SettleCharge, now: Timestamp) -> Decision {
        let charge_id = request.charge_id;
        let Some(row) = self.charges.get(&charge_id).cloned() else {
            return Err(Refusal::ChargeNotFound { charge_id });
        };
        let is_final = match request.settlement {
            Settlement::Paid => row.status == ChargeStatus::Succeeded,
            Settlement::Declined(_) => row.status != ChargeStatus::Pending,
        };
        if !is_final {
            if request.settlement == Settlement::Paid {
                self.check_room(row.customer_id, row.amount.minor())?;
                self.credit_charge(charge_id, now);
            }
            let row = self.charges.get_mut(&charge_id).unwrap();
            row.settled_at = Some(now);
            (row.status, row.failure) = match &request.settlement {
                Settlement::Paid => (ChargeStatus::Succeeded, None),
                Settlement::Declined(reason) => (ChargeStatus::Failed, Some(reason.clone())),
            };
        }
        Ok(self.charge_output(&self.charges[&charge_id]).into())
    }

    /// Adds the amount of a charge to the balance.
    fn credit_charge(&mut self, id: ChargeId, now: Timestamp) {
        let (customer_id, amount) = (self.charges[&id].customer_id, self.charges[&id].amount);
        let entry = self.book(customer_id, EntryKind::Charge, amount.minor(), None, now);
        self.ledger.last_mut().unwrap().charge_id = Some(id);
        self.charges.get_mut(&id).unwrap().balance_after = Some(entry.balance_after);
    }

    fn charge_output(&self, row: &ChargeRow) -> Charge {
        let balance = row.balance_after.unwrap_or(self.accounts[&row.customer_id].balance);
        Charge {
            id: row.id,
            customer_id: row.customer_id,
            amount: row.amount,
            status: row.status,
            balance,
            currency: CURRENCY,
            failure: row.failure.clone(),
            created_at: row.created_at,
        }
    }

    fn debit(&mut self, request: &DebitBalance, now: Timestamp) -> Decision {
        let DebitBalance { customer_id, amount, note } = request;
        validate(&[
            (is_amount(*amount), "/amount"),
            (note.as_deref().is_none_or(is_text), "/note"),
        ])?;
        self.check_funds(*customer_id, amount.minor())?;
        let entry = self.book(*customer_id, EntryKind::Debit, -amount.minor(), None, now);
        self.ledger.last_mut().unwrap().note.clone_from(note);
        Ok(Debit {
            id: entry.id,
            customer_id: *customer_id,
            amount: *amount,
            status: ChargeStatus::Succeeded,
            balance: entry.balance_after,
            currency: CURRENCY,
            created_at: now,
        }
        .into())
    }

    fn edit_cart(&mut self, request: &EditCart) -> Decision {
        let quantities = match request.edit {
            CartEdit::Set(_, quantity) => (0..=MAX_STOCK).contains(&quantity),
            CartEdit::Add(_, quantity) => (1..=MAX_STOCK).contains(&quantity),
            CartEdit::Remove(_) | CartEdit::Clear => true,
        };
        validate(&[(quantities, "/quantity")])?;
        self.account(request.customer_id)?;
        let mut lines = self.carts.get(&request.customer_id).cloned().unwrap_or_default();
        match request.edit {
            CartEdit::Clear => lines.clear(),
            CartEdit::Remove(product_id) | CartEdit::Set(product_id, 0) => {
                lines.remove(&product_id).ok_or(Refusal::NotInCart { product_id })?;
            }
            CartEdit::Set(id, quantity) | CartEdit::Add(id, quantity) => {
                let is_added = matches!(request.edit, CartEdit::Add(..));
                let before = lines.get(&id).copied().filter(|_| is_added).unwrap_or(0);
                let Product { stock, status, .. } = *self.product(id)?;
                if status == ProductStatus::Archived {
                    return Err(Refusal::ProductArchived { product_ids: vec![id] });
                }
                if before + quantity > stock {
                    return Err(short(id, before + quantity, stock));
                }
                lines.insert(id, before + quantity);
            }
        }
        let items = lines.iter().map(|(id, quantity)| {
            let Product { id: product_id, name, price, stock, status } = self.products[id].clone();
            let amount = capped(i128::from(price.minor()) * i128::from(*quantity));
            let (unit_price, quantity) = (price, *quantity);
            CartItem { product_id, name, unit_price, quantity, amount, stock, status }
        });
        let items: Vec<CartItem> = items.collect();
        let total = capped(items.iter().map(|item| i128::from(item.amount.minor())).sum());
        self.carts.insert(request.customer_id, lines);
        Ok(Cart { customer_id: request.customer_id, items, total }.into())
    }

    fn claim_coupon(&mut self, request: &ClaimCoupon, now: Timestamp) -> Decision {
        let ClaimCoupon { coupon_id, customer_id } = *request;
        self.account(customer_id)?;
        let Some(coupon) = self.coupons.get_mut(&coupon_id) else {
            let (coupon_id, owned_coupon_id) = (Some(coupon_id), None);
            return Err(Refusal::CouponNotFound { coupon_id, owned_coupon_id });
        };
        let is_claim =
            |owned: &&OwnedCoupon| (owned.coupon_id, owned.customer_id) == (coupon_id, customer_id);
        if let Some(OwnedCoupon { id, rank, .. }) = self.owned_coupons.values().find(is_claim) {
            let (owned_coupon_id, rank) = (*id, *rank);
            return Err(Refusal::CouponAlreadyClaimed { coupon_id, owned_coupon_id, rank });
        }
        check_window(coupon, now)?;
        if coupon.issued == coupon.quantity {
            return Err(Refusal::CouponSoldOut { coupon_id, quantity: coupon.quantity });
        }
        coupon.issued += 1;
        let owned = OwnedCoupon {
            id: OwnedCouponId::new(next_id(self.owned_coupons.len())),
            coupon_id,
            customer_id,
            rank: coupon.issued,
            status: OwnedCouponStatus::Held,
            order_id: None,
            claimed_at: now,
        };
        self.owned_coupons.insert(owned.id, owned.clone());
        Ok(owned.into())
    }

    fn place_order(&mut self, request: &PlaceOrder, now: Timestamp) -> Decision {
        let customer_id = request.customer_id;
        if let OrderItems::Listed(items) = &request.items {
            let mut checks = vec![((1..=MAX_LINES).contains(&items.len()), "/items".to_owned())];
            checks.extend(items.iter().enumerate().map(|(index, (_, quantity))| {
                ((1..=MAX_STOCK).contains(quantity), format!("/items/{index}/quantity"))
            }));
            let wrong: Vec<String> = checks.into_iter().filter(|c| !c.0).map(|c| c.1).collect();
            if !wrong.is_empty() {
                return Err(invalid(wrong));
            }
        }
        let previous = self.account(customer_id)?.last_order;
        let items = match &request.items {
            OrderItems::Listed(items) => merged(items),
            OrderItems::Cart => {
                self.carts.get(&customer_id).into_iter().flatten().map(|(k, v)| (*k, *v)).collect()
            }
        };
        if items.is_empty() {
            return Err(Refusal::CartEmpty { customer_id });
        }
        let lines = self.order_lines(&items)?;
        let exact: i128 = lines.iter().map(|(_, amount)| amount).sum();
        let Some(subtotal) = i64::try_from(exact).ok().filter(|sum| *sum <= MAX_BALANCE) else {
            return Err(invalid(["/items".to_owned()]));
        };
        let lines = lines.into_iter().map(|(line, _)| line).collect();
        let discount = match request.owned_coupon_id {
            Some(id) => self.discount(id, customer_id, subtotal, now)?,
            None => 0,
        };
        let is_short = |(id, requested): &(ProductId, i64)| {
            let (requested, available) = (*requested, self.products[id].stock);
            (requested > available).then_some(Shortage { product_id: *id, requested, available })
        };
        let shortages: Vec<Shortage> = items.iter().filter_map(is_short).collect();
        if !shortages.is_empty() {
            return Err(Refusal::InsufficientStock { shortages });
        }
        if request.pay == PayWhen::Now {
            self.check_funds(customer_id, subtotal - discount)?;
        }

        let id = OrderId::new(next_id(self.orders.len()));
        for (product_id, units) in items {
            self.products.get_mut(&product_id).unwrap().stock -= units;
        }
        if let Some(owned) = request.owned_coupon_id {
            let owned = self.owned_coupons.get_mut(&owned).unwrap();
            (owned.order_id, owned.status) = (Some(id), OwnedCouponStatus::Used);
        }
        if request.items == OrderItems::Cart {
            self.carts.remove(&customer_id);
        }
        self.accounts.get_mut(&customer_id).unwrap().last_order = Some(id);
        let expires_at = Timestamp::from_unix(now.unix() + HOLD_SECONDS);
        let order = Order {
            id,
            customer_id,
            reference: request.reference.clone(),
            status: OrderStatus::Pending,
            lines,
            subtotal: Money::from_minor(subtotal),
            discount: Money::from_minor(discount),
            total: Money::from_minor(subtotal - discount),
            owned_coupon_id: request.owned_coupon_id,
            created_at: now,
            expires_at: (request.pay == PayWhen::Later).then_some(expires_at),
            paid_at: None,
            cancelled_at: None,
            previous,
        };
        self.orders.insert(id, order);
        if request.pay == PayWhen::Now {
            self.pay(id, now);
        }
        Ok(self.orders[&id].clone().into())
    }

    /// Returns the lines at current names and prices, each with its exact amount.
    fn order_lines(&self, items: &[(ProductId, i64)]) -> Result<Vec<(OrderLine, i128)>, Refusal> {
        let ids = || items.iter().map(|(id, _)| *id);
        let product_ids: Vec<_> = ids().filter(|id| !self.products.contains_key(id)).collect();
        if !product_ids.is_empty() {
            return Err(Refusal::ProductNotFound { product_ids });
        }
        let is_archived = |id: &ProductId| self.products[id].status == ProductStatus::Archived;
        let product_ids: Vec<_> = ids().filter(is_archived).collect();
        if !product_ids.is_empty() {
            return Err(Refusal::ProductArchived { product_ids });
        }
        let line = |(id, quantity): &(ProductId, i64)| {
            let Product { id: product_id, name, price: unit_price, .. } = self.products[id].clone();
            let exact = i128::from(unit_price.minor()) * i128::from(*quantity);
            let amount = Money::from_minor(i64::try_from(exact).unwrap_or(i64::MAX));
            (OrderLine { product_id, name, unit_price, quantity: *quantity, amount }, exact)
        };
        Ok(items.iter().map(line).collect())
    }

    fn discount(
        &self,
        owned_coupon_id: OwnedCouponId,
        customer_id: CustomerId,
        subtotal: i64,
        now: Timestamp,
    ) -> Result<i64, Refusal> {
        let owned = self.owned_coupons.get(&owned_coupon_id);
        let Some(owned) = owned.filter(|owned| owned.customer_id == customer_id) else {
            let (coupon_id, owned_coupon_id) = (None, Some(owned_coupon_id));
            return Err(Refusal::CouponNotFound { coupon_id, owned_coupon_id });
        };
        if let Some(order_id) = owned.order_id {
            return Err(Refusal::CouponAlreadyUsed { owned_coupon_id, order_id });
        }
        let coupon = &self.coupons[&owned.coupon_id];
        check_window(coupon, now)?;
        if let Some(minimum) = coupon.min_order_amount.filter(|min| subtotal < min.minor()) {
            return Err(Refusal::CouponNotApplicable {
                owned_coupon_id,
                min_order_amount: minimum,
                subtotal: Money::from_minor(subtotal),
            });
        }
        let discount = match coupon.discount {
            Discount::Fixed { amount } => amount.minor(),
            Discount::Percent { percent, max_amount } => {
                let exact = i128::from(subtotal) * i128::from(percent) / 100;
                let rounded = i64::try_from(exact).unwrap();
                max_amount.map_or(rounded, |max| rounded.min(max.minor()))
            }
        };
        Ok(discount.min(subtotal))
    }

    fn pay_order(&mut self, order_id: OrderId, now: Timestamp) -> Decision {
        let order = self.orders.get(&order_id).ok_or(Refusal::OrderNotFound { order_id })?;
        if order.status != OrderStatus::Pending {
            return Err(Refusal::OrderNotPayable { order_id, order_status: order.status });
        }
        self.check_funds(order.customer_id, order.total.minor())?;
        self.pay(order_id, now);
        Ok(self.orders[&order_id].clone().into())
    }

    fn cancel_order(&mut self, order_id: OrderId, now: Timestamp) -> Decision {
        let order = self.orders.get(&order_id).ok_or(Refusal::OrderNotFound { order_id })?;
        let (customer_id, order_status) = (order.customer_id, order.status);
        let total = order.total.minor();
        match order_status {
            OrderStatus::Pending => {}
            OrderStatus::Paid => {
                self.check_room(customer_id, total)?;
                self.book(customer_id, EntryKind::Refund, total, Some(order_id), now);
                self.emit(EventKind::OrderCancelled, order_id, now);
            }
            OrderStatus::Cancelled | OrderStatus::Expired => {
                return Err(Refusal::OrderNotCancellable { order_id, order_status });
            }
        }
        self.end_order(order_id, OrderStatus::Cancelled);
        let order = self.orders.get_mut(&order_id).unwrap();
        order.cancelled_at = Some(now);
        Ok(order.clone().into())
    }

    fn pay(&mut self, id: OrderId, now: Timestamp) {
        let order = self.orders.get_mut(&id).unwrap();
        (order.status, order.paid_at) = (OrderStatus::Paid, Some(now));
        let (customer_id, total) = (order.customer_id, order.total.minor());
        self.book(customer_id, EntryKind::Payment, -total, Some(id), now);
        self.emit(EventKind::OrderPaid, id, now);
    }

    /// Returns the stock and the coupon of an order that is cancelled or expires.
    fn end_order(&mut self, id: OrderId, status: OrderStatus) {
        let order = self.orders.get_mut(&id).unwrap();
        order.status = status;
        for line in &order.lines {
            self.products.get_mut(&line.product_id).unwrap().stock += line.quantity;
        }
        if let Some(owned) = order.owned_coupon_id {
            let owned = self.owned_coupons.get_mut(&owned).unwrap();
            (owned.order_id, owned.status) = (None, OwnedCouponStatus::Held);
        }
    }

    fn emit(&mut self, kind: EventKind, order_id: OrderId, now: Timestamp) {
        let id = EventId::new(next_id(self.events.len()));
        self.events.push(EventRow { id, kind, order_id, trace: None, created_at: now });
    }

    /// Moves money on a balance and appends the ledger entry.
    fn book(
        &mut self,
        customer_id: CustomerId,
        kind: EntryKind,
        amount: i64,
        order_id: Option<OrderId>,
        now: Timestamp,
    ) -> LedgerEntry {
        let id = LedgerEntryId::new(next_id(self.ledger.len()));
        let account = self.accounts.get_mut(&customer_id).unwrap();
        account.balance = Money::from_minor(account.balance.minor() + amount);
        let entry = LedgerEntry {
            id,
            customer_id,
            kind,
            amount: Money::from_minor(amount),
            balance_after: account.balance,
            order_id,
            charge_id: None,
            note: None,
            created_at: now,
            previous: account.last_entry.replace(id),
        };
        self.ledger.push(entry.clone());
        entry
    }

    fn set_credentials(&mut self, customer_id: CustomerId, new: &NewLogin) -> Decision {
        if self.has_login(&new.login).is_some_and(|owner| owner != customer_id) {
            return Err(Refusal::LoginTaken { login: new.login.clone() });
        }
        self.reset_attempts(&new.login);
        let customer = &mut self.accounts.get_mut(&customer_id).unwrap().customer;
        (customer.login, customer.role) = (Some(new.login.clone()), new.role);
        Ok(customer.clone().into())
    }

    fn attempt_login(&mut self, login: &str, now: Timestamp) -> Decision {
        let recent = self.attempts.get(login).copied().filter(|(_, last)| is_recent(*last, now));
        let (failures, last) = recent.unwrap_or((0, now));
        let excess = failures - FREE_LOGIN_FAILURES;
        if excess > 0 {
            let lock = MAX_LOGIN_WAIT.min(1 << (excess - 1).min(20));
            let retry_after = last.unix() + lock - now.unix();
            if retry_after > 0 {
                return Err(Refusal::TooManyRequests { retry_after });
            }
        }
        self.attempts.insert(login.to_owned(), (failures + 1, now));
        Ok(().into())
    }

    fn open_session(&mut self, request: &OpenSession, now: Timestamp) -> Decision {
        self.account(request.customer_id)?;
        if let Some(login) = &request.login {
            self.reset_attempts(login);
        }
        self.attempts.retain(|_, (_, last)| is_recent(*last, now));
        Ok(().into())
    }

    fn reset_attempts(&mut self, login: &str) {
        self.attempts.remove(login);
    }

    fn has_login(&self, login: &str) -> Option<CustomerId> {
        let mut customers = self.accounts.values().map(|account| &account.customer);
        customers.find(|customer| customer.login.as_deref() == Some(login)).map(|found| found.id)
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

    fn check_room(&self, customer_id: CustomerId, amount: i64) -> Result<(), Refusal> {
        let balance = self.account(customer_id)?.balance;
        if balance.minor() + amount <= MAX_BALANCE {
            return Ok(());
        }
        Err(Refusal::BalanceLimit { balance, limit: Money::from_minor(MAX_BALANCE) })
    }

    fn check_funds(&self, customer_id: CustomerId, amount: i64) -> Result<(), Refusal> {
        let balance = self.account(customer_id)?.balance;
        if amount <= balance.minor() {
            return Ok(());
        }
        Err(Refusal::InsufficientBalance { balance, required: Money::from_minor(amount) })
    }
}

/// Returns the text that two calls with one key must have in common. Order lines are the same request in any
/// order and however they are split; a charge is the same with and without a gateway.
fn identity(operation: &AnyOperation) -> String {
    match operation {
        AnyOperation::ChargeBalance(charge) => {
            format!("charge {} {} {:?}", charge.customer_id, charge.amount, None::<String>)
        }
        AnyOperation::OpenCharge(charge) => {
            let method = &charge.payment_method;
            format!("charge {} {} {method:?}", charge.customer_id, charge.amount)
        }
        AnyOperation::PlaceOrder(PlaceOrder { items: OrderItems::Listed(items), .. })
            if items.iter().all(|(_, quantity)| *quantity > 0) =>
        {
            let sums: BTreeSet<_> = merged(items).into_iter().collect();
            let AnyOperation::PlaceOrder(mut order) = operation.clone() else { unreachable!() };
            order.items = OrderItems::Listed(sums.into_iter().collect());
            format!("{order:?}")
        }
        other => format!("{other:?}"),
    }
}

/// Sums the quantities of repeated products, in order of first mention.
fn merged(items: &[(ProductId, i64)]) -> Vec<(ProductId, i64)> {
    let mut merged: Vec<(ProductId, i64)> = Vec::new();
    for (id, quantity) in items {
        match merged.iter_mut().find(|(known, _)| known == id) {
            Some((_, sum)) => *sum = sum.saturating_add(*quantity),
            None => merged.push((*id, *quantity)),
        }
    }
    merged
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
        decision => Some(Stored::Decision(decision.clone())),
    }
}

/// Checks that `now` is in the half-open window of a campaign.
fn check_window(coupon: &Coupon, now: Timestamp) -> Result<(), Refusal> {
    let (coupon_id, valid_from) = (coupon.id, coupon.valid_from);
    if now < valid_from {
        return Err(Refusal::CouponNotStarted { coupon_id, valid_from });
    }
    match coupon.valid_until {
        Some(valid_until) if valid_until <= now => {
            Err(Refusal::CouponExpired { coupon_id, valid_until })
        }
        _ => Ok(()),
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

fn capped(amount: i128) -> Money {
    Money::from_minor(i64::try_from(amount).unwrap_or(i64::MAX).min(MAX_BALANCE))
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

/// Logins of these histories are plain ASCII.
fn is_login(new: &NewLogin) -> bool {
    is_text(&new.login) && !new.login.contains(' ')
}

fn is_recent(last: Timestamp, now: Timestamp) -> bool {
    let age = now.unix() - last.unix();
    (-CLOCK_SKEW..=LOGIN_MEMORY).contains(&age)
}

fn next_id(count: usize) -> i64 {
    i64::try_from(count).unwrap() + 1
}
