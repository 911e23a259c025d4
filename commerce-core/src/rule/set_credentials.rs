//! Sets a customer's login and password.

use super::Rule;
use super::sessions::reset_failures;
use super::validate::Checks;
use crate::error::Refusal;
use crate::id::CustomerId;
use crate::model::audit_trail::Action;
use crate::model::auth::{Credentials, LoginHash, PasswordHash};
use crate::model::wallet::{Customer, Role};
use crate::rule::context::{Context, Output};
use crate::state::{Needs, SessionChange, State};
use crate::text;
use serde::Serialize;

/// Sets a customer's login and password. The previous ones become invalid, and the customer's sessions end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetCredentials {
    /// The customer.
    pub customer_id: CustomerId,
    /// The new credentials.
    pub login: NewLogin,
}

/// New credentials of a customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewLogin {
    /// The login name in its normalized form (lower case, composed), as
    /// [`Shop::register`](crate::shop::Shop::register) writes it.
    pub login: String,
    /// The password's hash.
    #[serde(skip)]
    pub password: PasswordHash,
    /// The new role; `None` keeps the present one.
    pub role: Option<Role>,
}

impl NewLogin {
    pub(super) fn needs(&self, state: &State, needs: &mut Needs) {
        needs.login(state, &self.login);
        needs.attempts(state, LoginHash::of(&self.login));
    }

    pub(super) fn check(&self, checks: &mut Checks) {
        let form = text::login(&self.login);
        checks.text(&self.login, "/login").that(
            self.login.is_empty() || form.is_some(),
            "/login",
            || "login must have letters, digits and ASCII punctuation only".to_owned(),
        );
        if let Some(form) = form.filter(|form| *form != self.login) {
            checks
                .that(false, "/login", || format!("login must be in its normalized form: {form}"));
        }
    }

    /// Refuses the login if another customer has it.
    pub(super) fn check_available(
        &self,
        state: &State,
        customer: Option<CustomerId>,
    ) -> Result<(), Refusal> {
        match state.login_owner(&self.login) {
            Some(owner) if Some(owner) != customer => {
                Err(Refusal::LoginTaken { login: self.login.clone() })
            }
            _ => Ok(()),
        }
    }
}

impl Rule for SetCredentials {
    fn needs(&self, state: &State, needs: &mut Needs) {
        needs.account(state, self.customer_id);
        if self.login.role.is_some() {
            needs.admins_beside(state, self.customer_id);
        }
        self.login.needs(state, needs);
    }

    fn action(&self) -> Option<Action> {
        Some(Action::LoginSet)
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        let mut checks = Checks::default();
        self.login.check(&mut checks);
        checks.done()?;
        let before = state.known_customer(self.customer_id)?.customer.clone();
        self.login.check_available(state, Some(self.customer_id))?;
        let role = self.login.role.unwrap_or(before.role);
        state.keep_an_admin(&before, &Customer { role, ..before.clone() })?;

        context.record_change(state, "role", &before.role, &role);
        write_login(state, self.customer_id, &self.login)
    }
}

/// Writes checked credentials.
pub(super) fn write_login(
    state: &mut State,
    customer_id: CustomerId,
    new: &NewLogin,
) -> Result<Output, Refusal> {
    let previous = state.account(customer_id)?.customer.login.clone();
    let customer = state.change_profile(customer_id, |customer| {
        customer.login = Some(new.login.clone());
        customer.role = new.role.unwrap_or(customer.role);
    })?;
    state.assign_login(previous.as_deref(), &new.login, customer_id);
    let (login, password) = (new.login.clone(), new.password.clone());
    state.credentials.push(Credentials { customer_id, login, password });
    state.sessions.push(SessionChange::ClosedAll(customer_id));
    // A new password lifts the lock that guesses of the old one have caused.
    reset_failures(state, &new.login);
    Ok(Output::Customer(customer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::add_customer::AddCustomer;
    use crate::rule::testing::{World, code};
    use rstest::rstest;

    fn login(login: &str) -> NewLogin {
        let password = PasswordHash::new("$argon2id$...");
        NewLogin { login: login.to_owned(), password, role: None }
    }

    fn set(customer: i64, name: &str) -> SetCredentials {
        SetCredentials { customer_id: CustomerId::new(customer), login: login(name) }
    }

    fn world() -> World {
        World::default().with_customer(1, 0).with_customer(2, 0).with_logins(&["kim", "lee"])
    }

    #[test]
    fn login_is_available_once_its_owner_changes_it() {
        let mut world = world();
        let Ok(Output::Customer(kim)) = world.run(set(1, "kim")) else { panic!() };
        assert_eq!(kim.login.as_deref(), Some("kim"));
        assert_eq!(code(world.refused(set(2, "kim"))), "login_taken");
        world.run(set(1, "kim")).unwrap();
        world.run(set(1, "lee")).unwrap();
        world.run(set(2, "kim")).unwrap();
        let last = world.state.credentials.last().unwrap();
        assert_eq!((last.customer_id.get(), last.login.as_str()), (2, "kim"));
        let ended = SessionChange::ClosedAll(CustomerId::new(2));
        assert_eq!(world.state.sessions.last(), Some(&ended));
    }

    #[test]
    fn add_customer_with_a_taken_login_is_refused() {
        let mut world = world();
        let add = AddCustomer { login: Some(login("kim")), ..AddCustomer::new("Kim") };
        let Ok(Output::Customer(kim)) = world.run(add.clone()) else { panic!() };
        assert_eq!(world.state.login_owner("kim"), Some(kim.id));
        assert_eq!(code(world.refused(add)), "login_taken");
    }

    #[rstest]
    #[case::no_login(1, "", "invalid_request")]
    #[case::two_words(1, "kim lee", "invalid_request")]
    #[case::upper_case(1, "Kim", "invalid_request")]
    #[case::decomposed(1, "jose\u{301}", "invalid_request")]
    #[case::invisible(1, "\u{200b}", "invalid_request")]
    #[case::unknown_customer(9, "kim", "customer_not_found")]
    fn set_credentials_refuses_invalid_logins(
        #[case] customer: i64,
        #[case] login: &str,
        #[case] refused: &str,
    ) {
        assert_eq!(code(world().with_logins(&[login]).refused(set(customer, login))), refused);
    }
}
