//! Updates a customer: the name, and the status.

use super::Rule;
use super::validate::Checks;
use crate::error::Refusal;
use crate::id::CustomerId;
use crate::model::audit_trail::Action;
use crate::model::wallet::{Customer, CustomerStatus};
use crate::rule::context::{Context, Output};
use crate::state::{Needs, SessionChange, State};
use serde::Serialize;

/// Renames, disables or enables a customer.
///
/// A disabled customer cannot log in, and the customer's sessions end in the same commit. Everything else goes on: staff
/// may still place and cancel orders for the customer, and charges in progress are settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UpdateCustomer {
    /// The customer.
    pub customer_id: CustomerId,
    /// The new name, if it changes.
    pub name: Option<String>,
    /// The new status, if it changes: active or disabled.
    pub status: Option<CustomerStatus>,
}

impl UpdateCustomer {
    /// Returns a request that disables or enables a customer.
    #[must_use]
    pub fn to_status(customer_id: CustomerId, status: CustomerStatus) -> Self {
        Self { customer_id, name: None, status: Some(status) }
    }
}

impl Rule for UpdateCustomer {
    fn key_scope(&self, _state: &State) -> Option<CustomerId> {
        Some(self.customer_id)
    }

    fn needs(&self, state: &State, needs: &mut Needs) {
        needs.account(state, self.customer_id);
        needs.admins_beside(state, self.customer_id);
    }

    fn action(&self) -> Option<Action> {
        Some(match self.status {
            None => Action::CustomerUpdated,
            Some(CustomerStatus::Active) => Action::CustomerEnabled,
            Some(CustomerStatus::Disabled | CustomerStatus::Erased) => Action::CustomerDisabled,
        })
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        let mut checks = Checks::default();
        let has_change = self.name.is_some() || self.status.is_some();
        checks.that(has_change, "", || "give a new name or status".to_owned()).that(
            self.status != Some(CustomerStatus::Erased),
            "/status",
            || "status must be active or disabled: erase a customer by `customer erase`".to_owned(),
        );
        if let Some(name) = &self.name {
            checks.text(name, "/name");
        }
        checks.done()?;
        let before = state.known_customer(self.customer_id)?.customer.clone();
        let status = self.status.unwrap_or(before.status);
        state.keep_an_admin(&before, &Customer { status, ..before.clone() })?;

        if let Some(name) = &self.name {
            context.record_name(state, &before.name, name);
        }
        context.record_change(state, "status", &before.status, &status);
        if status == CustomerStatus::Disabled {
            state.sessions.push(SessionChange::ClosedAll(self.customer_id));
        }
        let customer = state.change_profile(self.customer_id, |customer| {
            if let Some(name) = &self.name {
                customer.name.clone_from(name);
            }
            customer.status = status;
        });
        customer.map(Output::Customer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::model::audit_trail::Actor;
    use crate::model::auth::TokenHash;
    use crate::rule::erase_customer::EraseCustomer;
    use crate::rule::sessions::OpenSession;
    use crate::rule::testing::{NOW, World, code};
    use rstest::rstest;

    const KIM: CustomerId = CustomerId::new(1);

    fn rename(customer: i64, name: &str) -> UpdateCustomer {
        let (customer_id, name) = (CustomerId::new(customer), Some(name.to_owned()));
        UpdateCustomer { customer_id, name, status: None }
    }

    fn session(expires_at: Timestamp) -> OpenSession {
        let token = TokenHash::new([7; 32]);
        OpenSession { customer_id: KIM, login: None, token, expires_at }
    }

    #[test]
    fn name_changes_and_status_stays() {
        let mut world = World::default().with_customer(1, 0);
        let Ok(Output::Customer(kim)) = world.run(rename(1, "Kim")) else { panic!() };
        assert_eq!((kim.name.as_str(), kim.status), ("Kim", CustomerStatus::Active));
        assert!(world.state.profiles.contains(&KIM));
        assert!(world.state.sessions.is_empty());
    }

    #[test]
    fn disabled_customer_has_no_session_until_enabled() {
        let mut world = World::default().with_customer(1, 0);
        let session = session(NOW.plus_seconds(60));
        world.run(UpdateCustomer::to_status(KIM, CustomerStatus::Disabled)).unwrap();
        assert_eq!(world.state.sessions, [SessionChange::ClosedAll(KIM)]);
        assert_eq!(code(world.refused(session.clone())), "customer_disabled");
        world.run(UpdateCustomer::to_status(KIM, CustomerStatus::Active)).unwrap();
        world.run(session).unwrap();
    }

    /// A name is recorded without its text, and a request for the present state is not recorded.
    #[test]
    fn trail_has_changes_only() {
        let mut world = World { actor: Some(Actor::Cli), ..World::default() }.with_customer(1, 0);
        let (active, disabled) = (CustomerStatus::Active, CustomerStatus::Disabled);
        world.run(UpdateCustomer::to_status(KIM, active)).unwrap();
        for _ in 0..2 {
            world.run(rename(1, "Kim Jr.")).unwrap();
            world.run(UpdateCustomer::to_status(KIM, disabled)).unwrap();
        }
        for _ in 0..2 {
            world.run(EraseCustomer { customer_id: KIM }).unwrap();
        }
        let trail = world.state.audit_trail.iter();
        let entries: Vec<_> =
            trail.map(|row| (row.action, row.changes.as_json().unwrap())).collect();
        let expected = [
            (Action::CustomerUpdated, r#"{"name":"changed"}"#),
            (Action::CustomerDisabled, r#"{"status":{"from":"active","to":"disabled"}}"#),
            (Action::CustomerErased, r#"{"status":{"from":"disabled","to":"erased"}}"#),
        ];
        assert_eq!(entries, expected);
    }

    #[rstest]
    #[case::no_change(UpdateCustomer { customer_id: KIM, name: None, status: None }, "invalid_request")]
    #[case::blank_name(rename(1, " "), "invalid_request")]
    #[case::erased_status(
        UpdateCustomer::to_status(KIM, CustomerStatus::Erased),
        "invalid_request"
    )]
    #[case::unknown(rename(9, "Lee"), "customer_not_found")]
    #[case::erased(rename(2, "Lee"), "customer_erased")]
    fn update_refuses_invalid_requests_and_customers(
        #[case] request: UpdateCustomer,
        #[case] refused: &str,
    ) {
        let mut world = World::default().with_customer(1, 0).with_erased(2);
        assert_eq!(code(world.refused(request)), refused);
    }
}
