//! Changes the role of a customer.

use super::Rule;
use crate::error::Refusal;
use crate::id::CustomerId;
use crate::model::audit_trail::Action;
use crate::model::wallet::{Customer, Role};
use crate::rule::context::{Context, Output};
use crate::state::{Needs, State};
use serde::Serialize;

/// Changes the role of a customer, from the next request on also in open sessions. The last admin stays one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetRole {
    /// The customer.
    pub customer_id: CustomerId,
    /// The new role.
    pub role: Role,
}

impl Rule for SetRole {
    fn needs(&self, state: &State, needs: &mut Needs) {
        needs.account(state, self.customer_id);
        needs.admins_beside(state, self.customer_id);
    }

    fn action(&self) -> Option<Action> {
        Some(Action::RoleChanged)
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        let before = state.known_customer(self.customer_id)?.customer.clone();
        let after = Customer { role: self.role, ..before.clone() };
        if before.login.is_none() && self.role > before.role {
            let detail = format!("customer {} has no login: set one first", before.id);
            return Err(Refusal::invalid("/customer_id", detail));
        }
        state.keep_an_admin(&before, &after)?;

        context.record_change(state, "role", &before.role, &after.role);
        state.change_profile(before.id, |customer| customer.role = self.role).map(Output::Customer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::audit_trail::Actor;
    use crate::rule::testing::{World, code};
    use rstest::rstest;

    fn set(customer: i64, role: Role) -> SetRole {
        SetRole { customer_id: CustomerId::new(customer), role }
    }

    /// Customer 1 is an admin and 2 a clerk, both with logins; 3 has none.
    fn world() -> World {
        let mut world =
            World::default().with_customer(1, 0).with_customer(2, 0).with_customer(3, 0);
        for (id, role) in [(1, Role::Admin), (2, Role::Clerk)] {
            let account = world.state.accounts.get_mut(CustomerId::new(id)).unwrap();
            account.customer.login = Some(format!("login{id}"));
            account.customer.role = role;
        }
        world.state.provide_admins(1);
        world
    }

    #[rstest]
    #[case::unknown(9, Role::Clerk, "customer_not_found")]
    #[case::without_login(3, Role::Reader, "invalid_request")]
    #[case::last_admin(1, Role::Clerk, "last_admin")]
    fn set_role_refuses(#[case] customer: i64, #[case] role: Role, #[case] refused: &str) {
        assert_eq!(code(world().refused(set(customer, role))), refused);
    }

    #[test]
    fn admin_is_demoted_once_there_is_another() {
        let mut world = world();
        world.run(set(1, Role::Admin)).unwrap();
        world.run(set(2, Role::Admin)).unwrap();
        world.run(set(1, Role::Customer)).unwrap();
        assert_eq!(code(world.refused(set(2, Role::Reader))), "last_admin");
        assert_eq!(world.state.profiles.len(), 2);
    }

    #[test]
    fn trail_has_the_role_before_and_after() {
        let mut world = world();
        world.actor = Some(Actor::Customer(CustomerId::new(1)));
        world.run(set(2, Role::Reader)).unwrap();
        let changes = r#"{"role":{"from":"clerk","to":"reader"}}"#;
        let entry = world.state.audit_trail.last().unwrap();
        assert_eq!((entry.action, entry.changes.as_json()), (Action::RoleChanged, Some(changes)));
    }
}
