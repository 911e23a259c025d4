//! How callers become known: passwords, tokens, and the calls of a [`Shop`] about them.
//!
//! Rules get hashes and decide on them.

use crate::entropy;
use crate::error::{Error, Refusal, StoreError};
use crate::id::CustomerId;
use crate::limits::{MAX_PASSWORD, MIN_PASSWORD, SESSION_SECONDS};
use crate::model::auth::{Caller, OpenedSession, Session, TokenHash};
use crate::model::wallet::{Customer, Role};
use crate::rule::AddCustomer;
use crate::rule::{CloseSession, NewLogin, OpenSession, RecordLoginAttempt, SetCredentials};
use crate::shop::Shop;
use crate::text;
use common_passwords::is_common;
pub(crate) use password::Passwords;

mod common_passwords;
mod password;

/// What every token begins with, so that scanners for leaked secrets know one when they see it.
const TOKEN_PREFIX: &str = "cs_";

/// Random bytes of a token: 256 bits, beyond any guessing.
const TOKEN_BYTES: usize = 32;

/// Calls about who may call.
///
/// # Errors
///
/// As all calls; the refusals are named at each. Passwords are hashed two at a time; when too many wait
/// for that, the refusal is `too_many_requests`.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
impl Shop {
    /// Adds a customer who can log in.
    ///
    /// Refused as `invalid_request`, `login_taken`, `too_many_requests`.
    pub fn register(
        &self,
        name: &str,
        login: &str,
        password: &str,
        role: Role,
    ) -> Result<Customer, Error> {
        let login = self.new_login(login, password, role)?;
        self.call(AddCustomer { login: Some(login), ..AddCustomer::new(name) }).run()
    }

    /// Lets a customer log in by that name and password, in that role. Sessions of theirs end.
    ///
    /// Refused as `invalid_request`, `customer_not_found`, `login_taken`, `too_many_requests`.
    pub fn set_credentials(
        &self,
        customer: CustomerId,
        login: &str,
        password: &str,
        role: Role,
    ) -> Result<Customer, Error> {
        let login = self.new_login(login, password, role)?;
        self.call(SetCredentials { customer_id: customer, login }).run()
    }

    fn new_login(&self, login: &str, password: &str, role: Role) -> Result<NewLogin, Error> {
        // The rule refuses what can be no login.
        let login = text::login(login).unwrap_or_else(|| login.to_owned());
        let password = acceptable(password, &login)?;
        let password = self.passwords().acquire()?.hash(&password)?;
        Ok(NewLogin { login, password, role })
    }

    /// Opens a session for whoever knows the password. A login that nobody has is answered like a wrong
    /// password, after the same work.
    ///
    /// Each try that fails makes the next one of that login wait, twice as long each time after the
    /// first few, at every process that shares the store.
    ///
    /// Refused as `invalid_credentials`, `too_many_requests`.
    pub fn log_in(&self, login: &str, password: &str) -> Result<Session, Error> {
        // What can be no login or password is unknown like any other, after the same work.
        let login = &text::login(login).unwrap_or_else(|| login.to_owned());
        let password = &text::password(password).unwrap_or_else(|| password.to_owned());
        let mut permit = self.passwords().acquire()?;
        // Counted before it is known whether it fails, or many tries at once would count as one.
        self.call(RecordLoginAttempt { login: login.to_owned() }).run()?;
        let known = self.store().snapshot()?.credentials(login)?;
        let matches = permit.matches(password, known.as_ref().map(|known| &known.password))?;
        drop(permit);
        let known = known.filter(|_| matches).ok_or(Refusal::InvalidCredentials)?;
        let session =
            self.begin_session(known.customer_id, Some(login.to_owned()), SESSION_SECONDS)?;
        // A new password ends all sessions that the old one opened; not this one, if it came in between.
        if self.store().snapshot()?.credentials(login)?.as_ref() != Some(&known) {
            self.log_out(&session.token)?;
            return Err(Refusal::InvalidCredentials.into());
        }
        Ok(session)
    }

    /// Opens a session of so many seconds without a password: for whoever holds the store itself.
    ///
    /// Refused as `customer_not_found`.
    pub fn open_session(&self, customer: CustomerId, seconds: i64) -> Result<Session, Error> {
        self.begin_session(customer, None, seconds)
    }

    fn begin_session(
        &self,
        customer_id: CustomerId,
        login: Option<String>,
        seconds: i64,
    ) -> Result<Session, Error> {
        let token = random_token()?;
        let expires_at = self.now().plus_seconds(seconds);
        let opened = OpenSession { customer_id, login, token: TokenHash::of(&token), expires_at };
        self.call(opened).run()?;
        Ok(Session { token, customer_id, expires_at })
    }

    /// Who logs in by that name. Refused as `invalid_credentials` when nobody does.
    pub fn customer_of(&self, login: &str) -> Result<Customer, Error> {
        let login = text::login(login).ok_or(Refusal::InvalidCredentials)?;
        let known = self.store().snapshot()?.credentials(&login)?;
        self.customer(known.ok_or(Refusal::InvalidCredentials)?.customer_id)
    }

    /// Ends the session of a token. Ended already, it stays so.
    pub fn log_out(&self, token: &str) -> Result<(), Error> {
        self.call(CloseSession { token: TokenHash::of(token) }).run()
    }

    /// Whose token it is. Refused as `unauthenticated` when it is nobody's, or no longer good.
    pub fn caller(&self, token: &str) -> Result<Caller, Error> {
        self.session(token).map(|session| session.caller)
    }

    /// The session of a token. Refused as `unauthenticated` when it is nobody's, or no longer good.
    pub fn session(&self, token: &str) -> Result<OpenedSession, Error> {
        let session = self.store().snapshot()?.session(TokenHash::of(token))?;
        let good = session.filter(|(session, _)| session.is_valid_at(self.now()));
        let opened = good.map(|(session, role)| OpenedSession {
            caller: Caller { customer_id: session.customer_id, role },
            expires_at: session.expires_at,
        });
        opened.ok_or_else(|| Refusal::Unauthenticated.into())
    }
}

/// The form in which a password is hashed, when it is acceptable for that login.
fn acceptable(password: &str, login: &str) -> Result<String, Refusal> {
    let refused = |detail| Err(Refusal::invalid("/password", detail));
    let Some(password) = text::password(password) else {
        let detail = "password must have no control characters and no byte order mark: remove them";
        return refused(detail.to_owned());
    };
    let length = password.chars().count();
    if !(MIN_PASSWORD..=MAX_PASSWORD).contains(&length) {
        return refused(format!(
            "password must have {MIN_PASSWORD} to {MAX_PASSWORD} characters, not {length}"
        ));
    }
    if text::login(&password).as_deref() == Some(login) {
        return refused("password must not be the login: choose another".to_owned());
    }
    if is_common(&password) {
        let detail =
            "password is among those that are guessed first: choose another, such as several words";
        return refused(detail.to_owned());
    }
    Ok(password)
}

fn random_token() -> Result<String, StoreError> {
    Ok(format!("{TOKEN_PREFIX}{}", entropy::hex::<TOKEN_BYTES>()?))
}
