//! Roles, tokens, and the audit trail.

use super::{Decision, Model, Output, invalid, is_text, next_id, validate};
use commerce_core::testing::{AnyOperation, CreateToken};
use commerce_core::{
    Action, Actor, AuditEntry, AuditEntryId, Coupon, CustomerId, CustomerStatus, FieldChanges,
    Product, Refusal, Role, Subject, Timestamp, Token, TokenId,
};
use serde_json::{Map, Value, json};

const DAY: i64 = 86_400;
const MAX_TOKEN_DAYS: i64 = 3_650;

/// The values that an operation may change, as they were before it.
pub(super) struct Before {
    product: Option<Product>,
    coupon: Option<Coupon>,
    name: Option<String>,
    role: Option<Role>,
    status: Option<CustomerStatus>,
}

impl Model {
    pub(super) fn set_role(&mut self, customer_id: CustomerId, role: Role) -> Decision {
        let customer = &self.known(customer_id)?.customer;
        if customer.login.is_none() && role > customer.role {
            return Err(invalid(["/customer_id".to_owned()]));
        }
        self.keep_an_admin(customer_id, role == Role::Admin)?;
        let customer = &mut self.accounts.get_mut(&customer_id).unwrap().customer;
        customer.role = role;
        Ok(customer.clone().into())
    }

    /// Refuses a change after which the last admin who can log in is none.
    pub(super) fn keep_an_admin(
        &self,
        customer_id: CustomerId,
        stays: bool,
    ) -> Result<(), Refusal> {
        let all = self.accounts.values().map(|account| &account.customer);
        let admins = all.filter(|customer| {
            let is_active = customer.status == CustomerStatus::Active;
            customer.role == Role::Admin && is_active && customer.login.is_some()
        });
        let ids: Vec<CustomerId> = admins.map(|customer| customer.id).collect();
        if !stays && ids == [customer_id] {
            return Err(Refusal::LastAdmin { customer_id });
        }
        Ok(())
    }

    pub(super) fn create_token(&mut self, request: &CreateToken, now: Timestamp) -> Decision {
        let CreateToken { name, role, days, hash } = request.clone();
        validate(&[
            (is_text(&name), "/name"),
            (role != Role::Customer, "/role"),
            (days.is_none_or(|days| (1..=MAX_TOKEN_DAYS).contains(&days)), "/days"),
        ])?;
        let token = Token {
            id: TokenId::new(next_id(self.tokens.len())),
            name,
            role,
            created_at: now,
            expires_at: days.map(|days| now.plus_seconds(days * DAY)),
            revoked_at: None,
            last_used_at: None,
            hash,
        };
        self.tokens.push(token.clone());
        Ok(token.into())
    }

    pub(super) fn revoke_token(&mut self, token_id: TokenId, now: Timestamp) -> Decision {
        let token = self.tokens.iter_mut().find(|token| token.id == token_id);
        let token = token.ok_or(Refusal::TokenNotFound { token_id })?;
        token.revoked_at.get_or_insert(now);
        Ok(Token { last_used_at: None, ..token.clone() }.into())
    }

    pub(super) fn use_token(&mut self, token_id: TokenId, now: Timestamp) {
        if let Some(token) = self.tokens.iter_mut().find(|token| token.id == token_id) {
            let day = Timestamp::from_unix(now.unix() - now.unix() % DAY);
            token.last_used_at = token.last_used_at.max(Some(day));
        }
    }

    /// Returns the values that an operation may change.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other operations change none of them")]
    pub(super) fn present(&self, operation: &AnyOperation) -> Before {
        let (product, customer) = match operation {
            AnyOperation::UpdateProduct(request) => (Some(request.product_id), None),
            AnyOperation::SetCredentials(request) => (None, Some(request.customer_id)),
            AnyOperation::SetRole(request) => (None, Some(request.customer_id)),
            AnyOperation::UpdateCustomer(request) => (None, Some(request.customer_id)),
            AnyOperation::EraseCustomer(request) => (None, Some(request.customer_id)),
            _ => (None, None),
        };
        let coupon = match operation {
            AnyOperation::UpdateCoupon(request) => self.coupons.get(&request.coupon_id).cloned(),
            _ => None,
        };
        Before {
            coupon,
            product: product.and_then(|id| self.products.get(&id).cloned()),
            name: customer.and_then(|id| Some(self.accounts.get(&id)?.customer.name.clone())),
            role: customer.and_then(|id| Some(self.accounts.get(&id)?.customer.role)),
            status: customer.and_then(|id| Some(self.accounts.get(&id)?.customer.status)),
        }
    }

    /// Appends the entry of an operation by someone other than the customer concerned.
    pub(super) fn record(
        &mut self,
        operation: &AnyOperation,
        output: &Output,
        before: &Before,
        actor: Actor,
        clock: Timestamp,
    ) {
        let Some(action) = action_of(operation) else { return };
        let of_customer =
            [Action::OrderPlaced, Action::OrderPaid, Action::CartChanged, Action::CouponClaimed];
        if actor == Actor::Cli && of_customer.contains(&action) {
            return;
        }
        let subject = match output {
            Output::Customer(customer) => Subject::Customer(customer.id),
            Output::Product(product) => Subject::Product(product.id),
            Output::Coupon(coupon) => Subject::Coupon(coupon.id),
            Output::Charge(charge) => Subject::Charge(charge.id),
            Output::Refund(refund) => Subject::Charge(refund.charge_id),
            Output::Debit(debit) => Subject::LedgerEntry(debit.id),
            Output::Cart(cart) => Subject::Customer(cart.customer_id),
            Output::OwnedCoupon(owned) => Subject::Customer(owned.customer_id),
            Output::Order(order) => Subject::Order(order.id),
            Output::Token(token) => Subject::Token(token.id),
            Output::Expired(_) | Output::Done(()) | Output::Settings(_) => Subject::Shop,
        };
        let of_oneself = [Action::CustomerUpdated, Action::PasswordChanged, Action::SessionRevoked];
        if of_oneself.contains(&action)
            && let (Actor::Customer(id), Subject::Customer(own)) = (actor, subject)
            && id == own
        {
            return;
        }
        let id = AuditEntryId::new(next_id(self.trail.len()));
        let changes = FieldChanges::of(self.changes(operation, output, before));
        let of_fields = [
            Action::ProductUpdated,
            Action::CouponUpdated,
            Action::CouponStopped,
            Action::CustomerUpdated,
            Action::CustomerDisabled,
            Action::CustomerEnabled,
            Action::CustomerErased,
            Action::RoleChanged,
        ];
        if of_fields.contains(&action) && changes.as_json().is_none() {
            return;
        }
        self.trail.push(AuditEntry { id, created_at: clock, actor, action, subject, changes });
    }

    fn changes(
        &self,
        operation: &AnyOperation,
        output: &Output,
        before: &Before,
    ) -> Map<String, Value> {
        let mut fields = Map::new();
        let given = given(operation, output);
        let mut changed = |field: &str, from: Value, to: Value| {
            if from != to {
                fields.insert(field.to_owned(), json!({ "from": from, "to": to }));
            }
        };
        match (operation, output) {
            (AnyOperation::UpdateProduct(_), Output::Product(now)) => {
                let before = before.product.as_ref().unwrap();
                // An answer leaves out a sale that has ended.
                let now = &self.products[&now.id];
                let (was, is) = (before.sale.as_ref(), now.sale.as_ref());
                let prices = [was, is].map(|sale| json!(sale.map(|sale| sale.price)));
                let begins = [was, is].map(|sale| json!(sale.map(|sale| sale.from)));
                let ends = [was, is].map(|sale| json!(sale.map(|sale| sale.until)));
                for (field, [from, to]) in
                    [("sale_price", prices), ("sale_from", begins), ("sale_until", ends)]
                {
                    changed(field, from, to);
                }
                let (from, to) = (before.low_stock_threshold, now.low_stock_threshold);
                changed("low_stock_threshold", json!(from), json!(to));
                let (from, to) = (before.limit_per_customer, now.limit_per_customer);
                changed("limit_per_customer", json!(from), json!(to));
                changed("price", json!(before.regular_price), json!(now.regular_price));
                changed("status", json!(before.status), json!(now.status));
                if before.name != now.name {
                    fields.insert("name".to_owned(), json!("changed"));
                }
            }
            (AnyOperation::SetCredentials(_) | AnyOperation::SetRole(_), Output::Customer(now)) => {
                changed("role", json!(before.role), json!(now.role));
            }
            (AnyOperation::UpdateCoupon(_), Output::Coupon(now)) => {
                let before = before.coupon.as_ref().unwrap();
                changed("quantity", json!(before.quantity), json!(now.quantity));
                changed("valid_until", json!(before.valid_until), json!(now.valid_until));
                changed("stopped_at", json!(before.stopped_at), json!(now.stopped_at));
                if before.name != now.name {
                    fields.insert("name".to_owned(), json!("changed"));
                }
            }
            (
                AnyOperation::UpdateCustomer(_) | AnyOperation::EraseCustomer(_),
                Output::Customer(now),
            ) => {
                changed("status", json!(before.status), json!(now.status));
                let is_renamed = before.name.as_ref() != Some(&now.name);
                if matches!(operation, AnyOperation::UpdateCustomer(_)) && is_renamed {
                    fields.insert("name".to_owned(), json!("changed"));
                }
            }
            _ => {}
        }
        fields.extend(given.into_iter().map(|(field, value)| (field.to_owned(), value)));
        fields
    }
}

/// The numbers and words that an operation was given.
fn given(operation: &AnyOperation, output: &Output) -> Vec<(&'static str, Value)> {
    match (operation, output) {
        (AnyOperation::ChargeBalance(request), _) => vec![("amount", json!(request.amount))],
        (AnyOperation::OpenCharge(request), _) => vec![("amount", json!(request.amount))],
        (AnyOperation::DebitBalance(request), _) => vec![("amount", json!(request.amount))],
        (AnyOperation::RefundCharge(_), Output::Refund(refund)) => {
            vec![("amount", json!(refund.amount))]
        }
        (AnyOperation::AdjustStock(request), _) => vec![("delta", json!(request.delta))],
        (AnyOperation::ChangeSettings(request), _) => vec![("zone", json!(request.zone.name()))],
        (AnyOperation::AddCustomer(_), Output::Customer(new)) if new.role != Role::Customer => {
            vec![("role", json!(new.role))]
        }
        (AnyOperation::CreateToken(_), Output::Token(token)) => {
            let end = token.expires_at.map(|end| ("expires_at", json!(end)));
            end.into_iter().chain([("role", json!(token.role))]).collect()
        }
        _ => vec![],
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the trail records no others")]
fn action_of(operation: &AnyOperation) -> Option<Action> {
    Some(match operation {
        AnyOperation::AddCustomer(_) => Action::CustomerAdded,
        AnyOperation::AddProduct(_) => Action::ProductAdded,
        AnyOperation::UpdateProduct(_) => Action::ProductUpdated,
        AnyOperation::AdjustStock(_) => Action::StockAdjusted,
        AnyOperation::AddCoupon(_) => Action::CouponAdded,
        AnyOperation::ChargeBalance(_) => Action::BalanceCharged,
        AnyOperation::OpenCharge(_) => Action::ChargeOpened,
        AnyOperation::RefundCharge(_) => Action::ChargeRefunded,
        AnyOperation::DebitBalance(_) => Action::BalanceDebited,
        AnyOperation::EditCart(_) => Action::CartChanged,
        AnyOperation::ClaimCoupon(_) => Action::CouponClaimed,
        AnyOperation::PlaceOrder(_) => Action::OrderPlaced,
        AnyOperation::PayOrder(_) => Action::OrderPaid,
        AnyOperation::CancelOrder(request) if request.items.is_some() => {
            Action::OrderPartiallyCancelled
        }
        AnyOperation::CancelOrder(_) => Action::OrderCancelled,
        AnyOperation::ChangeSettings(_) => Action::SettingsChanged,
        AnyOperation::SetCredentials(_) => Action::LoginSet,
        AnyOperation::SetRole(_) => Action::RoleChanged,
        AnyOperation::UnlockLogin(_) => Action::LoginUnlocked,
        AnyOperation::UpdateCustomer(request) => match request.status {
            None => Action::CustomerUpdated,
            Some(CustomerStatus::Active) => Action::CustomerEnabled,
            Some(_) => Action::CustomerDisabled,
        },
        AnyOperation::UpdateCoupon(request) if request.stopped == Some(true) => {
            Action::CouponStopped
        }
        AnyOperation::UpdateCoupon(_) => Action::CouponUpdated,
        AnyOperation::EraseCustomer(_) => Action::CustomerErased,
        AnyOperation::ChangePassword(_) => Action::PasswordChanged,
        AnyOperation::RevokeSession(_) => Action::SessionRevoked,
        AnyOperation::CreateToken(_) => Action::TokenCreated,
        AnyOperation::RevokeToken(_) => Action::TokenRevoked,
        _ => return None,
    })
}
