//! Opens and closes sessions, and counts failed login attempts.

use super::Rule;
use crate::clock::Timestamp;
use crate::error::Refusal;
use crate::id::CustomerId;
use crate::limits::{FREE_LOGIN_FAILURES, MAX_LOGIN_WAIT, MAX_SESSION_SECONDS};
use crate::model::audit_trail::Action;
use crate::model::auth::{LoginAttempts, LoginHash, SessionRow, TokenHash};
use crate::model::wallet::CustomerStatus;
use crate::rule::context::{Context, Output};
use crate::state::{Needs, SessionChange, State};
use serde::Serialize;

/// Opens a session for an authenticated customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OpenSession {
    /// The customer.
    pub customer_id: CustomerId,
    /// The login name used; its failed attempts are reset.
    pub login: Option<String>,
    /// The hash of the session's token.
    #[serde(skip)]
    pub token: TokenHash,
    /// Expiry time.
    pub expires_at: Timestamp,
}

/// Ends a session; does nothing if it has ended already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CloseSession {
    /// The hash of the session's token.
    #[serde(skip)]
    pub token: TokenHash,
}

/// Ends a session on behalf of its customer or an operator; does nothing if it has ended already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RevokeSession {
    /// The customer of the session.
    pub customer_id: CustomerId,
    /// The hash of the session's token.
    #[serde(skip)]
    pub token: TokenHash,
}

/// Counts a login attempt as failed until [`OpenSession`] resets the count; refuses an attempt that comes too soon
/// after failed ones (exponential back-off).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecordLoginAttempt {
    /// The login name, which need not exist.
    pub login: String,
}

/// Resets a customer's failed login attempts, so that they can log in at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnlockLogin {
    /// The customer.
    pub customer_id: CustomerId,
}

impl Rule for OpenSession {
    fn needs(&self, state: &State, needs: &mut Needs) {
        needs.account(state, self.customer_id);
        if let Some(login) = &self.login {
            needs.attempts(state, LoginHash::of(login));
        }
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        let customer_id = self.customer_id;
        match state.known_customer(customer_id)?.customer.status {
            CustomerStatus::Active => {}
            CustomerStatus::Disabled | CustomerStatus::Erased => {
                return Err(Refusal::CustomerDisabled { customer_id });
            }
        }

        if let Some(login) = &self.login {
            reset_failures(state, login);
        }
        let token = self.token;
        // A clock that jumps between the request and this point must not open a session of years.
        let expires_at = self.expires_at.min(context.now.plus_seconds(MAX_SESSION_SECONDS));
        let row = SessionRow { token, customer_id, created_at: context.now, expires_at };
        end_expired(state, context.now);
        state.sessions.push(SessionChange::Opened(row));
        Ok(Output::Done(()))
    }
}

impl Rule for CloseSession {
    fn needs(&self, _state: &State, _needs: &mut Needs) {}

    fn decide(&self, state: &mut State, _context: Context<'_>) -> Result<Output, Refusal> {
        state.sessions.push(SessionChange::Closed(self.token));
        Ok(Output::Done(()))
    }
}

impl Rule for RevokeSession {
    fn key_scope(&self, _state: &State) -> Option<CustomerId> {
        Some(self.customer_id)
    }

    fn needs(&self, state: &State, needs: &mut Needs) {
        needs.account(state, self.customer_id);
    }

    fn action(&self) -> Option<Action> {
        Some(Action::SessionRevoked)
    }

    fn decide(&self, state: &mut State, _context: Context<'_>) -> Result<Output, Refusal> {
        let customer = state.account(self.customer_id)?.customer.clone();

        state.sessions.push(SessionChange::Closed(self.token));
        Ok(Output::Customer(customer))
    }
}

impl Rule for RecordLoginAttempt {
    fn needs(&self, state: &State, needs: &mut Needs) {
        needs.attempts(state, LoginHash::of(&self.login));
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        let hash = LoginHash::of(&self.login);
        let failures = check_login_wait(state.attempts.get(hash), context.now)?.saturating_add(1);
        state.attempts.insert(hash, LoginAttempts { login: hash, failures, last_at: context.now });
        Ok(Output::Done(()))
    }
}

/// Refuses an attempt that comes too soon after failed ones. Returns the number of failures that count.
pub(crate) fn check_login_wait(
    attempts: Option<&LoginAttempts>,
    now: Timestamp,
) -> Result<i64, Refusal> {
    // An attempt recorded by a clock that was ahead does not count: the login would stay locked until the clock
    // reaches that instant again.
    let earlier = attempts.filter(|attempts| attempts.counts_at(now));
    let (failures, last_at) =
        earlier.map_or((0, now), |earlier| (earlier.failures, earlier.last_at));
    let since = now.unix().saturating_sub(last_at.unix());
    // Without a lock there is no wait, even if the last attempt was recorded by a clock that is ahead.
    let lock = wait_after(failures);
    let wait = if lock > 0 { lock.saturating_sub(since) } else { 0 };
    if wait > 0 { Err(Refusal::TooManyRequests { retry_after: wait }) } else { Ok(failures) }
}

impl Rule for UnlockLogin {
    fn needs(&self, state: &State, needs: &mut Needs) {
        needs.account(state, self.customer_id);
        needs.attempts_of(state, self.customer_id);
    }

    fn action(&self) -> Option<Action> {
        Some(Action::LoginUnlocked)
    }

    fn decide(&self, state: &mut State, _context: Context<'_>) -> Result<Output, Refusal> {
        let customer = state.known_customer(self.customer_id)?.customer.clone();
        let Some(login) = &customer.login else {
            return Err(no_login(self.customer_id));
        };

        reset_failures(state, login);
        Ok(Output::Customer(customer))
    }
}

/// The refusal of a customer without a login.
pub(crate) fn no_login(customer_id: CustomerId) -> Refusal {
    let detail = format!("customer {customer_id} has no login: set one first");
    Refusal::invalid("/customer_id", detail)
}

/// Removes sessions that have expired and failed attempts that no longer count. The store removes the rows; those in
/// the state are reset, so that later calls of the batch decide as if they were in a commit of their own.
fn end_expired(state: &mut State, now: Timestamp) {
    state.sessions.push(SessionChange::Ended(now));
    let attempts = state.attempts.values().filter(|attempts| !attempts.counts_at(now));
    let forgotten: Vec<LoginHash> = attempts.map(|attempts| attempts.login).collect();
    for login in forgotten {
        if let Some(attempts) = state.attempts.get_mut(login) {
            attempts.failures = 0;
        }
    }
}

/// Resets the failed attempts of a login, if there are any.
pub(super) fn reset_failures(state: &mut State, login: &str) {
    if let Some(attempts) = state.attempts.get_mut(LoginHash::of(login)) {
        attempts.failures = 0;
    }
}

/// Returns the seconds from the last failure to the next allowed attempt: 0 at first, then 1, 2, 4 ... (exponential
/// back-off).
fn wait_after(failures: i64) -> i64 {
    let waits = failures.saturating_sub(FREE_LOGIN_FAILURES);
    (1..waits.min(32)).fold(waits.clamp(0, 1), |wait, _| wait.saturating_mul(2)).min(MAX_LOGIN_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_CLOCK_SKEW;
    use crate::model::auth::PasswordHash;
    use crate::rule::operation::AnyOperation;
    use crate::rule::set_credentials::{NewLogin, SetCredentials};
    use crate::rule::testing::{NOW, World, code};
    use rstest::rstest;

    fn attempt(login: &str) -> RecordLoginAttempt {
        RecordLoginAttempt { login: login.to_owned() }
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
        world.state.attempts.provide(LoginHash::of("kim"), None);
        world
    }

    #[rstest]
    #[case(0, 0)]
    #[case(FREE_LOGIN_FAILURES, 0)]
    #[case(FREE_LOGIN_FAILURES + 1, 1)]
    #[case(FREE_LOGIN_FAILURES + 4, 8)]
    #[case(FREE_LOGIN_FAILURES + 11, MAX_LOGIN_WAIT)]
    #[case(i64::MAX, MAX_LOGIN_WAIT)]
    fn login_back_off_doubles_with_each_failure(#[case] failures: i64, #[case] wait: i64) {
        assert_eq!(wait_after(failures), wait);
    }

    #[test]
    fn login_is_throttled_after_failures_until_it_succeeds() {
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

    /// On a clock that is slightly behind, the lock lasts that much longer; on one that was set back, it ends.
    #[rstest]
    #[case::set_forward(1, None)]
    #[case::same(0, Some(1))]
    #[case::other_machine(-MAX_CLOCK_SKEW, Some(1 + MAX_CLOCK_SKEW))]
    #[case::set_back(-MAX_CLOCK_SKEW - 1, None)]
    #[case::epoch(i64::MIN, None)]
    fn login_lock_is_bounded_when_clocks_differ(#[case] seconds: i64, #[case] wait: Option<i64>) {
        let mut world = world();
        for _ in 0..=FREE_LOGIN_FAILURES {
            world.run(attempt("kim")).unwrap();
        }
        world.now = world.now.plus_seconds(seconds);
        match wait {
            Some(retry_after) => {
                assert_eq!(world.refused(attempt("kim")), Refusal::TooManyRequests { retry_after });
                world.now = world.now.plus_seconds(retry_after);
                world.run(attempt("kim")).unwrap();
            }
            None => assert!(world.run(attempt("kim")).is_ok()),
        }
    }

    #[test]
    fn free_login_attempts_never_wait_when_clocks_differ() {
        let mut world = world();
        for skew in [0, -1, -MAX_CLOCK_SKEW] {
            world.now = NOW.plus_seconds(skew);
            world.run(attempt("kim")).unwrap();
        }
        world.now = NOW;
        world.run(open(1, NOW)).unwrap();
        world.now = NOW.plus_seconds(-MAX_CLOCK_SKEW);
        world.run(attempt("kim")).unwrap();
    }

    #[test]
    fn unlock_and_new_credentials_lift_the_login_lock() {
        let mut world = world().with_customer(2, 0).with_logins(&["kim"]);
        let login = NewLogin {
            login: "kim".to_owned(),
            password: PasswordHash::new("$argon2id$..."),
            role: None,
        };
        let set = SetCredentials { customer_id: CustomerId::new(1), login };
        let unlock = |customer| UnlockLogin { customer_id: CustomerId::new(customer) };
        world.run(set.clone()).unwrap();
        for operation in [unlock(1).into(), AnyOperation::from(set)] {
            while world.run(attempt("kim")).is_ok() {}
            world.run(operation).unwrap();
            world.run(attempt("kim")).unwrap();
        }
        assert_eq!(code(world.refused(unlock(2))), "invalid_request");
        assert_eq!(code(world.refused(unlock(9))), "customer_not_found");
    }

    #[test]
    fn revoke_ends_one_session_and_refuses_unknown_customers() {
        let mut world = world();
        let revoke = |customer| RevokeSession {
            customer_id: CustomerId::new(customer),
            token: TokenHash::new([7; 32]),
        };
        world.run(revoke(1)).unwrap();
        assert_eq!(world.state.sessions, [SessionChange::Closed(TokenHash::new([7; 32]))]);
        assert_eq!(code(world.refused(revoke(9))), "customer_not_found");
    }

    #[test]
    fn open_session_and_unlock_refuse_erased_customers() {
        let mut world = world().with_erased(2);
        assert_eq!(code(world.refused(open(2, NOW))), "customer_erased");
        assert_eq!(
            code(world.refused(UnlockLogin { customer_id: CustomerId::new(2) })),
            "customer_erased"
        );
    }

    #[test]
    fn open_session_refuses_unknown_customers() {
        let mut world = world();
        world.run(open(1, world.now)).unwrap();
        assert!(matches!(world.state.sessions.last(), Some(SessionChange::Opened(_))));
        world.state.accounts.provide(CustomerId::new(9), None);
        assert_eq!(code(world.refused(open(9, world.now))), "customer_not_found");
    }
}
