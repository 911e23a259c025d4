//! Changes the password of a customer's login.

use super::Rule;
use super::sessions::{no_login, reset_failures};
use crate::error::Refusal;
use crate::id::CustomerId;
use crate::model::audit_trail::Action;
use crate::model::auth::{Credentials, PasswordHash, TokenHash};
use crate::rule::context::{Context, Output};
use crate::state::{Needs, SessionChange, State};
use serde::Serialize;

/// Changes a customer's password. The customer's sessions end, except the one that asks for the change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangePassword {
    /// The customer.
    pub customer_id: CustomerId,
    /// The hash that the caller's present password was compared with; `None` for an operator. It must still be the stored
    /// one, so that of two changes with the same password one succeeds.
    #[serde(skip)]
    pub current: Option<PasswordHash>,
    /// The hash of the new password.
    #[serde(skip)]
    pub password: PasswordHash,
    /// The session that stays open.
    #[serde(skip)]
    pub session: Option<TokenHash>,
}

impl Rule for ChangePassword {
    fn key_scope(&self, _state: &State) -> Option<CustomerId> {
        Some(self.customer_id)
    }

    fn needs(&self, state: &State, needs: &mut Needs) {
        needs.account(state, self.customer_id);
        needs.attempts_of(state, self.customer_id);
        if !state.known_credentials.is_loaded(self.customer_id) {
            needs.credentials.insert(self.customer_id);
        }
    }

    fn action(&self) -> Option<Action> {
        Some(Action::PasswordChanged)
    }

    fn decide(&self, state: &mut State, _context: Context<'_>) -> Result<Output, Refusal> {
        let customer_id = self.customer_id;
        let customer = state.known_customer(customer_id)?.customer.clone();
        let Some(login) = customer.login.clone() else {
            return Err(no_login(customer_id));
        };
        if self.current.is_some() && self.current.as_ref() != state.password(customer_id) {
            return Err(Refusal::InvalidCredentials);
        }

        reset_failures(state, &login);
        state.credentials.push(Credentials { customer_id, login, password: self.password.clone() });
        state.sessions.push(match self.session {
            Some(session) => SessionChange::ClosedOthers(customer_id, session),
            None => SessionChange::ClosedAll(customer_id),
        });
        Ok(Output::Customer(customer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::wallet::Role;
    use crate::rule::set_credentials::{NewLogin, SetCredentials};
    use crate::rule::testing::{World, code};
    use rstest::rstest;

    const KIM: CustomerId = CustomerId::new(1);
    const SESSION: TokenHash = TokenHash::new([7; 32]);

    fn hash(text: &str) -> PasswordHash {
        PasswordHash::new(text)
    }

    fn change(customer: i64, current: Option<&str>, new: &str) -> ChangePassword {
        let (current, password) = (current.map(hash), hash(new));
        let customer_id = CustomerId::new(customer);
        ChangePassword { customer_id, current, password, session: Some(SESSION) }
    }

    fn world() -> World {
        let world = World::default().with_customer(1, 0).with_customer(2, 0).with_erased(3);
        let mut world = world.with_logins(&["kim"]);
        let login =
            NewLogin { login: "kim".to_owned(), password: hash("old"), role: Some(Role::Customer) };
        world.run(SetCredentials { customer_id: KIM, login }).unwrap();
        world
    }

    #[test]
    fn new_password_ends_the_other_sessions_and_the_old_password() {
        let mut world = world();
        world.run(change(1, Some("old"), "new")).unwrap();
        assert_eq!(world.state.sessions.last(), Some(&SessionChange::ClosedOthers(KIM, SESSION)));
        assert_eq!(world.state.credentials.last().unwrap().password, hash("new"));
        assert_eq!(code(world.refused(change(1, Some("old"), "other"))), "invalid_credentials");
        world.run(ChangePassword { session: None, ..change(1, None, "by an operator") }).unwrap();
        assert_eq!(world.state.sessions.last(), Some(&SessionChange::ClosedAll(KIM)));
    }

    #[rstest]
    #[case::unknown(change(9, None, "new"), "customer_not_found")]
    #[case::erased(change(3, None, "new"), "customer_erased")]
    #[case::no_login(change(2, None, "new"), "invalid_request")]
    #[case::outdated(change(1, Some("older"), "new"), "invalid_credentials")]
    fn change_refuses_other_passwords_and_customers_without_login(
        #[case] request: ChangePassword,
        #[case] refused: &str,
    ) {
        assert_eq!(code(world().refused(request)), refused);
    }
}
