//! Opening and closing sessions, and counting the tries to open one.

use super::{Needs, Rule};
use crate::command::{Answer, Context};
use crate::limits::{FREE_LOGIN_FAILURES, MAX_LOGIN_WAIT};
use crate::state::{SessionChange, State};
use crate::{CustomerId, LoginAttempts, LoginHash, Refusal, SessionRow, Timestamp, TokenHash};
use serde::Serialize;

/// Opens a session for a customer who has proven to be one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OpenSession {
    /// Who.
    pub customer_id: CustomerId,
    /// What they logged in with: its failed tries are forgotten.
    pub login: Option<String>,
    /// What their token hashes to.
    #[serde(skip)]
    pub token: TokenHash,
    /// From when it is good for nothing.
    pub expires_at: Timestamp,
}

/// Ends a session. Ended already, it stays so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CloseSession {
    /// What its token hashes to.
    #[serde(skip)]
    pub token: TokenHash,
}

/// Counts a try to log in as failed, until [`OpenSession`] tells otherwise; refuses one that comes too
/// soon after others that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TryLogin {
    /// The name that was tried, whether anybody has it or not.
    pub login: String,
}

impl Rule for OpenSession {
    fn needs(&self, state: &State, needs: &mut Needs) {
        needs.account(state, self.customer_id);
        if let Some(login) = &self.login {
            needs.attempts(state, LoginHash::of(login));
        }
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Answer, Refusal> {
        state.account(self.customer_id)?;

        if let Some(login) = &self.login {
            let hash = LoginHash::of(login);
            state
                .attempts
                .insert(hash, LoginAttempts { login: hash, failures: 0, last_at: context.now });
        }
        let Self { customer_id, token, expires_at, .. } = *self;
        let row = SessionRow { token, customer_id, created_at: context.now, expires_at };
        state.sessions.push(SessionChange::Ended(context.now));
        state.sessions.push(SessionChange::Opened(row));
        Ok(Answer::Done(()))
    }
}

impl Rule for CloseSession {
    fn needs(&self, _state: &State, _needs: &mut Needs) {}

    fn decide(&self, state: &mut State, _context: Context<'_>) -> Result<Answer, Refusal> {
        state.sessions.push(SessionChange::Closed(self.token));
        Ok(Answer::Done(()))
    }
}

impl Rule for TryLogin {
    fn needs(&self, state: &State, needs: &mut Needs) {
        needs.attempts(state, LoginHash::of(&self.login));
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Answer, Refusal> {
        let hash = LoginHash::of(&self.login);
        let (failures, last_at) = state
            .attempts
            .get(hash)
            .map_or((0, context.now), |before| (before.failures, before.last_at));
        // A clock that was set back must shut nobody out for longer than the wait itself.
        let since = context.now.unix().saturating_sub(last_at.unix()).max(0);
        let wait = wait_after(failures).saturating_sub(since);
        if wait > 0 {
            return Err(Refusal::TooManyRequests { retry_after: wait });
        }

        let failures = failures.saturating_add(1);
        state.attempts.insert(hash, LoginAttempts { login: hash, failures, last_at: context.now });
        Ok(Answer::Done(()))
    }
}

/// How many seconds after the last failure the next try may come: none at first, then 1, 2, 4 ...
fn wait_after(failures: i64) -> i64 {
    let waits = failures.saturating_sub(FREE_LOGIN_FAILURES);
    (1..waits.min(32)).fold(waits.clamp(0, 1), |wait, _| wait.saturating_mul(2)).min(MAX_LOGIN_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::testing::{World, code};
    use rstest::rstest;

    fn attempt(login: &str) -> TryLogin {
        TryLogin { login: login.to_owned() }
    }

    fn open(customer: i64, now: Timestamp) -> OpenSession {
        OpenSession {
            customer_id: CustomerId::new(customer),
            login: Some("kim".to_owned()),
            token: TokenHash::new([7; 32]),
            expires_at: now.plus_seconds(60),
        }
    }

    fn world() -> World {
        let mut world = World::default().with_customer(1, 0);
        world.state.attempts.loaded(LoginHash::of("kim"), None);
        world
    }

    #[rstest]
    #[case(0, 0)]
    #[case(FREE_LOGIN_FAILURES, 0)]
    #[case(FREE_LOGIN_FAILURES + 1, 1)]
    #[case(FREE_LOGIN_FAILURES + 4, 8)]
    #[case(FREE_LOGIN_FAILURES + 11, MAX_LOGIN_WAIT)]
    #[case(i64::MAX, MAX_LOGIN_WAIT)]
    fn each_failure_doubles_the_wait(#[case] failures: i64, #[case] wait: i64) {
        assert_eq!(wait_after(failures), wait);
    }

    #[test]
    fn a_login_that_fails_again_and_again_has_to_wait_until_it_succeeds() {
        let mut world = world();
        for _ in 0..=FREE_LOGIN_FAILURES {
            world.run(attempt("kim")).unwrap();
        }
        let refused = Refusal::TooManyRequests { retry_after: 1 };
        assert_eq!(world.refused(attempt("kim")), refused);
        world.now = world.now.plus_seconds(1);
        world.run(attempt("kim")).unwrap();
        assert_eq!(world.refused(attempt("kim")), Refusal::TooManyRequests { retry_after: 2 });
        world.run(open(1, world.now)).unwrap();
        world.run(attempt("kim")).unwrap();
    }

    #[test]
    fn a_clock_set_back_shuts_nobody_out() {
        let mut world = world();
        for _ in 0..=FREE_LOGIN_FAILURES {
            world.run(attempt("kim")).unwrap();
        }
        world.now = Timestamp::from_unix(0);
        assert_eq!(world.refused(attempt("kim")), Refusal::TooManyRequests { retry_after: 1 });
    }

    #[test]
    fn a_session_is_of_a_known_customer() {
        let mut world = world();
        world.run(open(1, world.now)).unwrap();
        assert!(matches!(world.state.sessions.last(), Some(SessionChange::Opened(_))));
        world.state.accounts.loaded(CustomerId::new(9), None);
        assert_eq!(code(world.refused(open(9, world.now))), "customer_not_found");
    }
}
