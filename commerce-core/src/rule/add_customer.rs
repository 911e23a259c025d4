//! Adds a customer, optionally with an opening balance (imports) and a login.

use super::Rule;
use super::charge_balance::write_charge;
use super::set_credentials::{NewLogin, write_login};
use super::validate::Checks;
use crate::error::Refusal;
use crate::id::CustomerId;
use crate::idempotency::GLOBAL_SCOPE;
use crate::limits::MAX_AMOUNT;
use crate::model::audit_trail::Action;
use crate::model::wallet::{Account, Customer, CustomerStatus, Role};
use crate::money::Money;
use crate::rule::context::{Context, Output};
use crate::state::{Needs, State};
use serde::Serialize;

/// Adds a customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AddCustomer {
    /// The id; default: the next free one.
    pub id: Option<CustomerId>,
    /// The customer's name.
    pub name: String,
    /// The opening balance, charged in the same commit; zero for none.
    pub balance: Money,
    /// The login and password; default: none.
    pub login: Option<NewLogin>,
}

impl AddCustomer {
    /// Creates a request for a customer of that name, with the next free id and no money.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { id: None, name: name.into(), balance: Money::ZERO, login: None }
    }
}

impl Rule for AddCustomer {
    fn key_scope(&self, _state: &State) -> Option<CustomerId> {
        Some(GLOBAL_SCOPE)
    }

    fn needs(&self, state: &State, needs: &mut Needs) {
        if let Some(id) = self.id {
            needs.account(state, id);
        }
        if let Some(login) = &self.login {
            login.needs(state, needs);
        }
    }

    fn action(&self) -> Option<Action> {
        Some(Action::CustomerAdded)
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        let mut checks = Checks::default();
        checks
            .integer(self.id.map_or(1, CustomerId::get), 1..=i64::MAX / 2, "/id")
            .text(&self.name, "/name")
            .integer(self.balance.minor(), 0..=MAX_AMOUNT.minor(), "/balance");
        if let Some(login) = &self.login {
            login.check(&mut checks);
        }
        checks.done()?;
        if let Some(id) = self.id.filter(|id| state.accounts.get(*id).is_some()) {
            return Err(Refusal::CustomerExists { customer_id: id });
        }
        if let Some(login) = &self.login {
            login.check_available(state, self.id)?;
        }

        let id = match self.id {
            Some(id) => id,
            None => state.next_customer_id(),
        };
        state.reserve_customer_id(id);
        let customer = Customer {
            id,
            name: self.name.clone(),
            login: None,
            role: Role::Customer,
            status: CustomerStatus::Active,
            created_at: context.now,
        };
        let account = Account {
            customer: customer.clone(),
            balance: Money::ZERO,
            debt: Money::ZERO,
            last_entry: None,
            last_order: None,
            first_order: None,
        };
        state.accounts.insert(id, account);
        if self.balance > Money::ZERO {
            write_charge(state, id, self.balance, self.balance, context.now);
        }
        let role = self.login.as_ref().and_then(|login| login.role);
        if let Some(role) = role.filter(|role| *role != Role::Customer) {
            context.record_field(state, "role", role);
        }
        match &self.login {
            Some(login) => write_login(state, id, login),
            None => Ok(Output::Customer(customer)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::testing::{World, code};
    use rstest::rstest;

    #[test]
    fn add_customer_takes_the_next_free_id_and_zero_balance() {
        let mut world = World::default().with_customer(7, 0);
        let Ok(Output::Customer(customer)) = world.run(AddCustomer::new("Kim")) else { panic!() };
        assert_eq!((customer.id.get(), customer.role), (8, Role::Customer));
        assert_eq!(world.balance(8), 0);
    }

    #[test]
    fn opening_balance_is_a_charge_in_the_ledger() {
        let mut world = World::default();
        let id = Some(CustomerId::new(5));
        world
            .run(AddCustomer { id, balance: Money::from_minor(300), ..AddCustomer::new("Lee") })
            .unwrap();
        assert_eq!(world.balance(5), 300);
        assert_eq!(world.state.charges.values().count(), 1);
        assert_eq!(world.state.ledger[0].balance_after, Money::from_minor(300));
    }

    #[rstest]
    #[case::no_name(None, "", 0, "invalid_request")]
    #[case::blank_name(None, "  ", 0, "invalid_request")]
    #[case::invisible_name(None, "\u{200b}\u{2060}", 0, "invalid_request")]
    #[case::bidi_control(None, "Kim \u{202e}2026", 0, "invalid_request")]
    #[case::two_lines(None, "Kim\u{2028}Lee", 0, "invalid_request")]
    #[case::control_character(None, "a\u{7}", 0, "invalid_request")]
    #[case::negative_balance(None, "a", -1, "invalid_request")]
    #[case::zero_id(Some(0), "a", 0, "invalid_request")]
    #[case::id_in_use(Some(7), "a", 0, "customer_exists")]
    fn add_customer_refuses_invalid_requests_and_ids_in_use(
        #[case] id: Option<i64>,
        #[case] name: &str,
        #[case] balance: i64,
        #[case] refused: &str,
    ) {
        let mut world = World::default().with_customer(7, 0);
        let request = AddCustomer {
            id: id.map(CustomerId::new),
            balance: Money::from_minor(balance),
            ..AddCustomer::new(name)
        };
        assert_eq!(code(world.refused(request)), refused);
    }
}
