//! Customers after they were added: profile, password, sessions and erasure.

use super::{Decision, Model, Output, Stored, is_text, validate};
use commerce_core::store::Account;
use commerce_core::testing::{ChangePassword, OpenSession};
use commerce_core::{
    ChargeStatus, Customer, CustomerId, CustomerStatus, Money, OrderStatus, RefundStatus, Refusal,
    Role, Timestamp, UpdateCustomer,
};

/// The text in place of a name or login that was erased.
const ERASED: &str = "erased";

impl Model {
    /// Returns a customer who was not erased.
    pub(super) fn known(&self, customer_id: CustomerId) -> Result<&Account, Refusal> {
        let account = self.account(customer_id)?;
        match account.customer.status {
            CustomerStatus::Erased => Err(Refusal::CustomerErased { customer_id }),
            CustomerStatus::Active | CustomerStatus::Disabled => Ok(account),
        }
    }

    pub(super) fn update_customer(&mut self, request: &UpdateCustomer) -> Decision {
        let UpdateCustomer { customer_id, name, status } = request;
        validate(&[
            (name.is_some() || status.is_some(), ""),
            (*status != Some(CustomerStatus::Erased), "/status"),
            (name.as_deref().is_none_or(is_text), "/name"),
        ])?;
        self.known(*customer_id)?;
        self.keep_an_admin(*customer_id, *status != Some(CustomerStatus::Disabled))?;
        let customer = self.customer_mut(*customer_id);
        if let Some(name) = name {
            customer.name.clone_from(name);
        }
        customer.status = status.unwrap_or(customer.status);
        Ok(customer.clone().into())
    }

    pub(super) fn change_password(&mut self, request: &ChangePassword) -> Decision {
        let customer = self.known(request.customer_id)?.customer.clone();
        let Some(login) = &customer.login else {
            return Err(super::invalid(["/customer_id".to_owned()]));
        };
        let present = &self.passwords[&customer.id];
        if request.current.as_ref().is_some_and(|current| current != present) {
            return Err(Refusal::InvalidCredentials);
        }
        self.reset_attempts(login);
        self.passwords.insert(customer.id, request.password.clone());
        Ok(customer.into())
    }

    pub(super) fn open_session(&mut self, request: &OpenSession, now: Timestamp) -> Decision {
        let customer_id = request.customer_id;
        if self.known(customer_id)?.customer.status == CustomerStatus::Disabled {
            return Err(Refusal::CustomerDisabled { customer_id });
        }
        if let Some(login) = &request.login {
            self.reset_attempts(login);
        }
        self.forget_attempts(now);
        Ok(().into())
    }

    pub(super) fn erase(&mut self, customer_id: CustomerId) -> Decision {
        let account = self.account(customer_id)?.clone();
        let balance = account.balance;
        let orders = self.orders.values().filter(|order| order.customer_id == customer_id);
        let unpaid = orders.filter(|order| order.status == OrderStatus::Pending).count();
        let charges = self.charges.values().filter(|row| row.customer_id == customer_id);
        let pending = charges.filter(|row| row.status == ChargeStatus::Pending).count();
        let refunds = self.refunds.values().filter(|row| row.customer_id == customer_id);
        let refunds = refunds.filter(|row| row.status == RefundStatus::Pending).count();
        let debt = account.debt;
        let has_money = balance != Money::ZERO || debt != Money::ZERO;
        let is_settled = !has_money && (unpaid, pending, refunds) == (0, 0, 0);
        if account.customer.status != CustomerStatus::Erased && !is_settled {
            let (unpaid_orders, pending_charges) =
                (u64::try_from(unpaid).unwrap(), u64::try_from(pending).unwrap());
            return Err(Refusal::CustomerNotErasable {
                customer_id,
                balance,
                debt,
                unpaid_orders,
                pending_charges,
                pending_refunds: u64::try_from(refunds).unwrap(),
            });
        }
        self.keep_an_admin(customer_id, false)?;
        let login = account.customer.login;
        for ((scope, _), (_, stored)) in &mut self.keys {
            let Stored::Decision(decision) = stored else { continue };
            match decision {
                Ok(Output::Customer(customer)) if customer.id == customer_id => {
                    (customer.name, customer.login) = (ERASED.to_owned(), None);
                }
                Ok(Output::Cart(cart)) if *scope == customer_id => {
                    cart.items.clear();
                    cart.total = Money::ZERO;
                }
                Err(Refusal::LoginTaken { login: taken }) if Some(&*taken) == login.as_ref() => {
                    ERASED.clone_into(taken);
                }
                _ => {}
            }
        }
        for entry in self.ledger.iter_mut().filter(|entry| entry.customer_id == customer_id) {
            entry.note = None;
        }
        for charge in self.charges.values_mut().filter(|row| row.customer_id == customer_id) {
            if let Some(source) = &mut charge.source {
                source.payment_method = None;
            }
        }
        self.carts.remove(&customer_id);
        self.passwords.remove(&customer_id);
        if let Some(login) = login {
            self.reset_attempts(&login);
        }
        let customer = self.customer_mut(customer_id);
        (customer.name, customer.login) = (ERASED.to_owned(), None);
        (customer.role, customer.status) = (Role::Customer, CustomerStatus::Erased);
        Ok(customer.clone().into())
    }

    fn customer_mut(&mut self, id: CustomerId) -> &mut Customer {
        &mut self.accounts.get_mut(&id).unwrap().customer
    }
}
