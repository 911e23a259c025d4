//! A fixture for the unit tests of rules: a state with every row loaded, and no store.

use crate::clock::Timestamp;
use crate::command::Command;
use crate::error::{Error, Refusal};
use crate::id::{
    ChargeId, CouponId, CustomerId, Key, OrderId, OwnedCouponId, ProductId, RefundId, TokenId,
};
use crate::limits::HOLD_SECONDS;
use crate::model::audit_trail::Actor;
use crate::model::cart::CartLines;
use crate::model::coupon::{Coupon, CouponUsage, Discount};
use crate::model::order::OrderStatus;
use crate::model::product::{Product, ProductStatus};
use crate::model::wallet::{Account, Customer, CustomerStatus, Role};
use crate::money::{Currency, Money};
use crate::rule::context::Output;
use crate::rule::operation::AnyOperation;
use crate::state::{NextIds, PersonalData, State};

/// The instant tests start at: 2026-01-01T00:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_unix(1_767_225_600);

pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) now: Timestamp,
    /// The author of the operations.
    pub(crate) actor: Option<Actor>,
}

impl Default for World {
    fn default() -> Self {
        let mut state = State::new(Currency::KRW);
        state.ids = Some(NextIds::FIRST);
        state.due_orders = Some(Vec::new());
        for id in 0..100 {
            state.orders.provide(OrderId::new(id), None);
        }
        Self { state, now: NOW, actor: None }
    }
}

/// A rule with a defect: it reads a customer that its read set does not contain.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Careless {
    pub(crate) customer_id: CustomerId,
}

impl super::Rule for Careless {
    fn key_scope(&self, _state: &State) -> Option<CustomerId> {
        Some(crate::idempotency::GLOBAL_SCOPE)
    }

    fn needs(&self, _state: &State, _needs: &mut crate::state::Needs) {}

    fn decide(
        &self,
        state: &mut State,
        _context: crate::rule::context::Context<'_>,
    ) -> Result<Output, Refusal> {
        state.account(self.customer_id)?;
        Ok(Output::Done(()))
    }
}

pub(crate) fn code(refusal: Refusal) -> &'static str {
    refusal.code().as_str()
}

impl World {
    /// Marks these logins as loaded and unused.
    pub(crate) fn with_logins(mut self, logins: &[&str]) -> Self {
        for login in logins {
            self.state.provide_login((*login).to_owned(), None);
            self.state.attempts.provide(crate::model::auth::LoginHash::of(login), None);
        }
        self
    }

    /// Marks these references of the customers with small ids as loaded and unused.
    pub(crate) fn with_references(mut self, references: &[&str]) -> Self {
        for reference in references {
            for customer in 0..10 {
                let reference = (*reference).to_owned();
                self.state.provide_reference(CustomerId::new(customer), reference, None);
            }
        }
        self
    }

    pub(crate) fn with_customer(mut self, id: i64, balance: i64) -> Self {
        let id = CustomerId::new(id);
        self.state.reserve_customer_id(id);
        let customer = Customer {
            id,
            name: format!("Customer {id}"),
            login: None,
            role: Role::Customer,
            status: CustomerStatus::Active,
            created_at: NOW,
        };
        let balance = Money::from_minor(balance);
        let account = Account {
            customer,
            balance,
            debt: Money::ZERO,
            last_entry: None,
            last_order: None,
            first_order: None,
        };
        self.state.accounts.insert(id, account);
        self.state.carts.insert(id, (id, CartLines::new()));
        self
    }

    pub(crate) fn with_erased(mut self, id: i64) -> Self {
        self = self.with_customer(id, 0);
        let account = self.state.accounts.get_mut(CustomerId::new(id)).unwrap();
        account.customer.status = CustomerStatus::Erased;
        self
    }

    pub(crate) fn with_product(mut self, id: i64, price: i64, stock: i64) -> Self {
        let id = ProductId::new(id);
        self.state.reserve_product_id(id);
        let product = Product {
            id,
            name: format!("Product {id}"),
            price: Money::from_minor(price),
            regular_price: Money::from_minor(price),
            sale: None,
            stock,
            low_stock_threshold: None,
            limit_per_customer: None,
            status: ProductStatus::Active,
        };
        self.state.products.insert(id, product);
        self
    }

    pub(crate) fn with_archived(mut self, id: i64) -> Self {
        self = self.with_product(id, 10, 10);
        self.state.products.get_mut(ProductId::new(id)).unwrap().status = ProductStatus::Archived;
        self
    }

    /// 10 % off orders of 180 and more, valid for 1,000 seconds from [`NOW`].
    pub(crate) fn with_coupon(self, id: i64, quantity: i64) -> Self {
        let discount = Discount::Percent { percent: 10, max_amount: None };
        self.with_campaign(id, quantity, discount, Some(Money::from_minor(180)))
    }

    /// A fixed amount off any order.
    pub(crate) fn with_coupon_off(self, id: i64, amount: i64) -> Self {
        self.with_campaign(id, 5, Discount::Fixed { amount: Money::from_minor(amount) }, None)
    }

    fn with_campaign(
        mut self,
        id: i64,
        quantity: i64,
        discount: Discount,
        min_order_amount: Option<Money>,
    ) -> Self {
        let id = CouponId::new(id);
        let coupon = Coupon {
            below_minimum: crate::model::coupon::BelowMinimum::Keep,
            id,
            name: format!("Coupon {id}"),
            discount,
            min_order_amount,
            quantity,
            issued: 0,
            valid_from: NOW,
            valid_until: Some(NOW.plus_seconds(1_000)),
            stopped_at: None,
            usage: CouponUsage::default(),
        };
        self.state.coupons.insert(id, coupon);
        self
    }

    /// Claims coupon `coupon` for customer `customer`.
    pub(crate) fn with_claim(mut self, coupon: i64, customer: i64) -> Self {
        let (coupon_id, customer_id) = (CouponId::new(coupon), CustomerId::new(customer));
        self.run(super::claim_coupon::ClaimCoupon { coupon_id, customer_id }).unwrap();
        self
    }

    pub(crate) fn run(&mut self, operation: impl Into<AnyOperation>) -> Result<Output, Error> {
        self.decide(&Command::new(operation, self.now).with_actor(self.actor))
    }

    /// Runs an operation of customer 1 with a key, and marks the key as loaded.
    pub(crate) fn run_with_key(
        &mut self,
        operation: impl Into<AnyOperation>,
        key: &Key,
    ) -> Result<Output, Error> {
        let scope = CustomerId::new(1);
        if !self.state.is_key_loaded(key, scope) {
            self.state.provide_key(key.clone(), scope, None);
        }
        let command = Command::new(operation, self.now).with_actor(self.actor);
        self.decide(&command.with_key(key.clone()))
    }

    fn decide(&mut self, command: &Command) -> Result<Output, Error> {
        self.mark_all_loaded();
        let decision = command.decide(&mut self.state, HOLD_SECONDS);
        assert_eq!(self.state.misread(), None, "a rule reads only its read set");
        let pending = |id: &OrderId| {
            self.state.orders.get(*id).is_some_and(|order| order.status == OrderStatus::Pending)
        };
        self.state.due_orders = Some((0..100).map(OrderId::new).filter(pending).collect());
        decision.result
    }

    /// Runs an operation that must be refused, and asserts that it changed no ledger entry, event or sale.
    pub(crate) fn refused(&mut self, operation: impl Into<AnyOperation>) -> Refusal {
        let before = (self.state.ledger.len(), self.state.events.len(), self.state.sales.len());
        match self.run(operation) {
            Err(Error::Refused(refusal)) => {
                let after =
                    (self.state.ledger.len(), self.state.events.len(), self.state.sales.len());
                assert_eq!(before, after, "a refusal leaves no side effects");
                refusal
            }
            other => panic!("not refused: {other:?}"),
        }
    }

    /// Marks the small ids that tests use as loaded.
    fn mark_all_loaded(&mut self) {
        if self.state.refunded_charges.contains(&ChargeId::new(99)) {
            return;
        }
        for id in 0..100 {
            self.state.accounts.provide(CustomerId::new(id), None);
            self.state.charges.provide(ChargeId::new(id), None);
            self.state.refunds.provide(RefundId::new(id), None);
            self.state.refunded_charges.insert(ChargeId::new(id));
            self.state.tokens.provide(TokenId::new(id), None);
            self.state.pending_charges.insert(CustomerId::new(id));
            self.state.known_credentials.provide(CustomerId::new(id), None);
            self.state.provide_personal_data(CustomerId::new(id), PersonalData::default());
            self.state.carts.provide(CustomerId::new(id), None);
            self.state.products.provide(ProductId::new(id), None);
            self.state.coupons.provide(CouponId::new(id), None);
            self.state.owned_coupons.provide(OwnedCouponId::new(id), None);
            self.state
                .purchases
                .provide_live(ProductId::new(id), std::collections::BTreeMap::new());
            for customer in 0..100 {
                self.state.purchases.provide(ProductId::new(id), CustomerId::new(customer), 0);
                self.state.claims.provide((CouponId::new(id), CustomerId::new(customer)), None);
            }
        }
    }

    pub(crate) fn balance(&self, id: i64) -> i64 {
        self.state.accounts.get(CustomerId::new(id)).unwrap().balance.minor()
    }

    pub(crate) fn set_balance(&mut self, id: i64, balance: i64) {
        let account = self.state.accounts.get_mut(CustomerId::new(id)).unwrap();
        account.balance = Money::from_minor(balance);
    }

    pub(crate) fn stock(&self, id: i64) -> i64 {
        self.state.products.get(ProductId::new(id)).unwrap().stock
    }
}
