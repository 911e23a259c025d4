//! Creates and revokes tokens of programs, and records the day of their use.

use super::Rule;
use super::validate::Checks;
use crate::clock::DAY_SECONDS;
use crate::error::Refusal;
use crate::id::{CustomerId, TokenId};
use crate::idempotency::GLOBAL_SCOPE;
use crate::limits::MAX_TOKEN_DAYS;
use crate::model::audit_trail::Action;
use crate::model::token::Token;
use crate::model::wallet::Role;
use crate::rule::context::{Context, Output};
use crate::state::{Needs, State};
use serde::Serialize;

/// Creates a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CreateToken {
    /// The name of the program.
    pub name: String,
    /// The role: reader, clerk or admin.
    pub role: Role,
    /// The days until it expires; `None` for never.
    pub days: Option<i64>,
    /// The SHA-256 of the token in hexadecimal digits. A repeated request has another one.
    #[serde(skip)]
    pub hash: String,
}

/// Revokes a token; does nothing more if it was revoked already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RevokeToken {
    /// The token.
    pub token_id: TokenId,
}

/// Records that a token was used today.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecordTokenUse {
    /// The token.
    pub token_id: TokenId,
}

impl Rule for CreateToken {
    fn key_scope(&self, _state: &State) -> Option<CustomerId> {
        Some(GLOBAL_SCOPE)
    }

    fn needs(&self, _state: &State, _needs: &mut Needs) {}

    fn action(&self) -> Option<Action> {
        Some(Action::TokenCreated)
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        Checks::default()
            .text(&self.name, "/name")
            .that(self.role > Role::Customer, "/role", || {
                "role must be reader, clerk or admin".to_owned()
            })
            .integer(self.days.unwrap_or(1), 1..=MAX_TOKEN_DAYS, "/days")
            .done()?;

        let seconds = self.days.map(|days| days.saturating_mul(DAY_SECONDS));
        let token = Token {
            id: state.next_token_id(),
            name: self.name.clone(),
            role: self.role,
            created_at: context.now,
            expires_at: seconds.map(|seconds| context.now.plus_seconds(seconds)),
            revoked_at: None,
            last_used_at: None,
            hash: self.hash.clone(),
        };
        context.record_field(state, "role", token.role);
        if let Some(end) = token.expires_at {
            context.record_field(state, "expires_at", end);
        }
        state.tokens.insert(token.id, token.clone());
        Ok(Output::Token(token))
    }
}

impl Rule for RevokeToken {
    fn key_scope(&self, _state: &State) -> Option<CustomerId> {
        Some(GLOBAL_SCOPE)
    }

    fn needs(&self, state: &State, needs: &mut Needs) {
        needs.token(state, self.token_id);
    }

    fn action(&self) -> Option<Action> {
        Some(Action::TokenRevoked)
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        let token_id = self.token_id;
        let Some(token) = state.tokens.get_mut(token_id) else {
            return Err(Refusal::TokenNotFound { token_id });
        };

        token.revoked_at = token.revoked_at.or(Some(context.now));
        // The last use is not part of the answer, which is kept with the key.
        Ok(Output::Token(Token { last_used_at: None, ..token.clone() }))
    }
}

impl Rule for RecordTokenUse {
    fn needs(&self, state: &State, needs: &mut Needs) {
        needs.token(state, self.token_id);
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        // A request that comes together with others of the day changes no row.
        let is_first = |token: &Token| token.is_unused_on(context.now);
        if state.tokens.get(self.token_id).is_some_and(is_first)
            && let Some(token) = state.tokens.get_mut(self.token_id)
        {
            token.record_use(context.now);
        }
        Ok(Output::Done(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::audit_trail::{Actor, Subject};
    use crate::rule::testing::{NOW, World, code};
    use rstest::rstest;

    fn create(name: &str, role: Role, days: Option<i64>) -> CreateToken {
        CreateToken { name: name.to_owned(), role, days, hash: "0".repeat(64) }
    }

    #[rstest]
    #[case::no_name("", Role::Reader, None)]
    #[case::role_of_customers("till", Role::Customer, None)]
    #[case::no_days("till", Role::Clerk, Some(0))]
    #[case::too_many_days("till", Role::Clerk, Some(MAX_TOKEN_DAYS + 1))]
    fn create_token_refuses_invalid_requests(
        #[case] name: &str,
        #[case] role: Role,
        #[case] days: Option<i64>,
    ) {
        assert_eq!(code(World::default().refused(create(name, role, days))), "invalid_request");
    }

    #[test]
    fn token_ends_after_its_days_or_when_it_is_revoked() {
        let mut world = World { actor: Some(Actor::Cli), ..World::default() };
        let Ok(Output::Token(token)) = world.run(create("till", Role::Clerk, Some(2))) else {
            panic!()
        };
        let end = NOW.plus_seconds(2 * DAY_SECONDS);
        assert!(token.is_valid_at(end.plus_seconds(-1)) && !token.is_valid_at(end));
        for _ in 0..2 {
            let revoked = world.run(RevokeToken { token_id: token.id });
            let Ok(Output::Token(revoked)) = revoked else { panic!() };
            assert_eq!(revoked.revoked_at, Some(NOW), "the first time counts");
            assert!(!revoked.is_valid_at(NOW));
            world.now = world.now.plus_seconds(1);
        }
        let entries: Vec<_> =
            world.state.audit_trail.iter().map(|e| (e.action, e.subject)).collect();
        let subject = Subject::Token(token.id);
        let revoked = (Action::TokenRevoked, subject);
        assert_eq!(entries, [(Action::TokenCreated, subject), revoked, revoked]);
    }

    #[test]
    fn unknown_token_is_refused() {
        let refused = World::default().refused(RevokeToken { token_id: TokenId::new(9) });
        assert_eq!(code(refused), "token_not_found");
    }
}
