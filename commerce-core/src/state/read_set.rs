//! The read set of a batch: the rows that its commands need and that are not loaded yet.

use crate::clock::Timestamp;
use crate::id::{
    ChargeId, CouponId, CustomerId, EventId, Key, OrderId, OwnedCouponId, ProductId, RefundId,
    TokenId,
};
use crate::model::auth::LoginHash;
use crate::state::{DueEventsQuery, State};
use std::collections::BTreeSet;

/// The rows that commands may touch and that are not loaded yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Needs {
    /// Customers with their balances.
    pub accounts: BTreeSet<CustomerId>,
    /// Products.
    pub products: BTreeSet<ProductId>,
    /// Whole carts.
    pub carts: BTreeSet<CustomerId>,
    /// Coupon campaigns.
    pub coupons: BTreeSet<CouponId>,
    /// Claimed coupons by id.
    pub owned_coupons: BTreeSet<OwnedCouponId>,
    /// Claimed coupons by campaign and customer.
    pub claims: BTreeSet<(CouponId, CustomerId)>,
    /// Orders with their lines.
    pub orders: BTreeSet<OrderId>,
    /// The first order of a customer with each reference.
    pub references: BTreeSet<(CustomerId, String)>,
    /// The units of products with a purchase limit that customers hold or have bought, for
    /// [`Purchases::provide`](crate::state::Purchases::provide).
    pub purchases: BTreeSet<(ProductId, CustomerId)>,
    /// Products for which the units of all live orders are needed, by customer, for
    /// [`Purchases::provide_live`](crate::state::Purchases::provide_live). It may read all lines of orders.
    pub live_units: BTreeSet<ProductId>,
    /// Tokens by id.
    pub tokens: BTreeSet<TokenId>,
    /// Charges by id.
    pub charges: BTreeSet<ChargeId>,
    /// Customers whose pending charges are needed, all of them.
    pub pending_charges: BTreeSet<CustomerId>,
    /// Refunds of charges by id.
    pub refunds: BTreeSet<RefundId>,
    /// Charges of which all refunds are needed, for [`State::refunded_charges`].
    pub refunds_of: BTreeSet<ChargeId>,
    /// Idempotency keys with their scopes.
    pub keys: BTreeSet<(Key, CustomerId)>,
    /// Pending orders that are overdue at this instant, the longest overdue first and at most
    /// [`EXPIRY_BATCH`](crate::limits::EXPIRY_BATCH) of them.
    pub due_orders: Option<Timestamp>,
    /// Logins with their owners.
    pub logins: BTreeSet<String>,
    /// Counts of failed login attempts.
    pub attempts: BTreeSet<LoginHash>,
    /// Customers with their credentials, for `State::known_credentials`.
    pub credentials: BTreeSet<CustomerId>,
    /// Customers with all their personal data, for
    /// [`State::provide_personal_data`](crate::state::State::provide_personal_data).
    pub personal: BTreeSet<CustomerId>,
    /// The number of admins who can log in, for [`State::provide_admins`].
    pub admins: bool,
    /// The next free id of every kind.
    pub ids: bool,
    /// Events by id.
    pub events: BTreeSet<EventId>,
    /// Orders for which all deliveries are needed.
    pub deliveries: BTreeSet<OrderId>,
    /// Events to send, for `provide_due`, `provide_fresh`, `provide_next` and `provide_epochs` of
    /// [`Deliveries`](crate::state::Deliveries).
    pub due_events: Option<DueEventsQuery>,
    /// The maximum number of parked deliveries to load, the earliest events first, for
    /// [`Deliveries::provide_parked`](crate::state::Deliveries::provide_parked).
    pub parked: Option<usize>,
    /// The first event that no relay has leased yet, for
    /// [`Deliveries::provide_next`](crate::state::Deliveries::provide_next).
    pub next_event: bool,
}

impl Needs {
    /// Returns true if everything is loaded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kinds().next().is_none()
    }

    /// The kinds of rows in the set.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = &'static str> {
        // Without `..`, so that a new field cannot be left out.
        let Self {
            accounts,
            products,
            carts,
            coupons,
            owned_coupons,
            claims,
            orders,
            references,
            purchases,
            live_units,
            tokens,
            charges,
            pending_charges,
            refunds,
            refunds_of,
            keys,
            due_orders,
            logins,
            attempts,
            credentials,
            personal,
            admins,
            ids,
            events,
            deliveries,
            due_events,
            parked,
            next_event,
        } = self;
        let all = [
            ("customers", !accounts.is_empty()),
            ("products", !products.is_empty()),
            ("carts", !carts.is_empty()),
            ("coupons", !coupons.is_empty()),
            ("claimed coupons", !owned_coupons.is_empty()),
            ("claims", !claims.is_empty()),
            ("orders", !orders.is_empty()),
            ("references", !references.is_empty()),
            ("purchases", !purchases.is_empty()),
            ("units of live orders", !live_units.is_empty()),
            ("tokens", !tokens.is_empty()),
            ("charges", !charges.is_empty()),
            ("pending charges", !pending_charges.is_empty()),
            ("refunds", !refunds.is_empty()),
            ("refunds of charges", !refunds_of.is_empty()),
            ("idempotency keys", !keys.is_empty()),
            ("overdue orders", due_orders.is_some()),
            ("logins", !logins.is_empty()),
            ("login attempts", !attempts.is_empty()),
            ("credentials", !credentials.is_empty()),
            ("personal data", !personal.is_empty()),
            ("the number of admins", *admins),
            ("next ids", *ids),
            ("events", !events.is_empty()),
            ("deliveries", !deliveries.is_empty()),
            ("due events", due_events.is_some()),
            ("parked events", parked.is_some()),
            ("the next event", *next_event),
        ];
        all.into_iter().filter_map(|(kind, is_needed)| is_needed.then_some(kind))
    }
}

/// Helpers for rules: each adds a row unless `state` has it.
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

    /// A product of an order, and what the customer holds or has bought of it if it has a limit.
    pub(crate) fn ordered_product(&mut self, state: &State, id: ProductId, customer: CustomerId) {
        let Some(product) = state.products.loaded(id) else {
            self.products.insert(id);
            return;
        };
        let has_limit =
            product.as_ref().is_some_and(|product| product.limit_per_customer.is_some());
        if has_limit && !state.purchases.is_loaded(id, customer) {
            self.purchases.insert((id, customer));
        }
    }

    /// A cart and its products.
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

    /// The failed attempts of a customer's login, once the customer is loaded.
    pub(crate) fn attempts_of(&mut self, state: &State, id: CustomerId) {
        if state.accounts.is_loaded(id)
            && let Some(account) = state.accounts.get(id)
            && let Some(login) = &account.customer.login
        {
            self.attempts(state, LoginHash::of(login));
        }
    }

    /// The number of admins, if the customer is one.
    pub(crate) fn admins_beside(&mut self, state: &State, id: CustomerId) {
        let is_admin = state.accounts.is_loaded(id)
            && state.accounts.get(id).is_some_and(|account| account.customer.is_acting_admin());
        self.admins |= is_admin && !state.are_admins_counted();
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

    pub(crate) fn reference(&mut self, state: &State, customer: CustomerId, reference: &str) {
        if !state.is_reference_loaded(customer, reference) {
            self.references.insert((customer, reference.to_owned()));
        }
    }

    pub(crate) fn token(&mut self, state: &State, id: TokenId) {
        if !state.tokens.is_loaded(id) {
            self.tokens.insert(id);
        }
    }

    pub(crate) fn charge(&mut self, state: &State, id: ChargeId) {
        if !state.charges.is_loaded(id) {
            self.charges.insert(id);
        }
    }

    pub(crate) fn refund(&mut self, state: &State, id: RefundId) {
        if !state.refunds.is_loaded(id) {
            self.refunds.insert(id);
        }
    }

    /// A charge, its customer, and all its refunds.
    pub(crate) fn whole_charge(&mut self, state: &State, id: ChargeId) {
        self.charge(state, id);
        if let Some(row) = state.loaded_charge(id) {
            self.account(state, row.customer_id);
        }
        if !state.refunded_charges.contains(&id) {
            self.refunds_of.insert(id);
        }
    }

    /// An order and everything that changes with its status.
    pub(crate) fn whole_order(&mut self, state: &State, id: OrderId) {
        self.order(state, id);
        if !state.orders.is_loaded(id) {
            return;
        }
        let Some(order) = state.orders.get(id) else { return };
        self.account(state, order.customer_id);
        for line in &order.lines {
            self.ordered_product(state, line.product_id, order.customer_id);
        }
        if let Some(owned) = order.owned_coupon_id {
            self.owned_coupon(state, owned);
        }
    }
}
