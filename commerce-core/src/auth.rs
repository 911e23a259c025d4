//! Authentication: the calls of a [`Shop`] about passwords, sessions and tokens.
//!
//! The rules get only hashes and decide on them.

use crate::entropy;
use crate::error::{Error, Refusal, StoreError};
use crate::id::{CustomerId, Key, TokenId};
use crate::limits::{MAX_PASSWORD, MIN_PASSWORD, SESSION_SECONDS};
use crate::model::audit_trail::Actor;
use crate::model::auth::{
    Caller, Credentials, LoginHash, OpenedSession, Session, SessionInfo, SessionRow, TokenHash,
};
use crate::model::token::{CreatedToken, Token, day_of};
use crate::model::wallet::{Customer, Role};
use crate::password::{Client, PasswordStats, Permit};
use crate::query::{List, Page, PageRequest};
use crate::rule::add_customer::AddCustomer;
use crate::rule::change_password::ChangePassword;
use crate::rule::sessions::{
    CloseSession, OpenSession, RecordLoginAttempt, RevokeSession, check_login_wait, no_login,
};
use crate::rule::set_credentials::{NewLogin, SetCredentials};
use crate::rule::tokens::{CreateToken, RecordTokenUse};
use crate::shop::{Outcome, Shop, account};
use crate::text;
use common_passwords::is_common;

mod common_passwords;

/// The prefix of the token of a session, by which scanners for leaked secrets recognize one.
const SESSION_TOKEN_PREFIX: &str = "cs_";

/// The prefix of the token of a program.
const PROGRAM_TOKEN_PREFIX: &str = "ct_";

/// Random bytes of a token: 256 bits, which cannot be guessed.
const TOKEN_BYTES: usize = 32;

/// A token to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// The name of the program.
    pub name: String,
    /// The role: reader, clerk or admin.
    pub role: Role,
    /// The days until it expires, 1 to [`MAX_TOKEN_DAYS`](crate::limits::MAX_TOKEN_DAYS); `None` for never.
    pub days: Option<i64>,
}

/// Calls about logins, sessions and tokens.
///
/// # Errors
///
/// As for all calls; each method lists its refusals. Two passwords are hashed at a time, in turn for each [`Client`]
/// and for each of its logins. When too many callers wait for that, those of the client and login with most fail with
/// [`StoreError::Overloaded`].
#[expect(clippy::missing_errors_doc, reason = "documented once, above")]
impl Shop {
    /// Adds a customer who can log in.
    ///
    /// Refused as `invalid_request`, `login_taken`.
    pub fn register(
        &self,
        name: &str,
        login: &str,
        password: &str,
        role: Role,
    ) -> Result<Customer, Error> {
        self.register_from(Client::default(), name, login, password, role)
    }

    /// Adds a customer as [`Shop::register`] does, on behalf of a client.
    ///
    /// Refused as `invalid_request`, `login_taken`.
    pub fn register_from(
        &self,
        client: Client,
        name: &str,
        login: &str,
        password: &str,
        role: Role,
    ) -> Result<Customer, Error> {
        let login = self.new_login(client, login, password, Some(role))?;
        self.call(AddCustomer { login: Some(login), ..AddCustomer::new(name) }).run()
    }

    /// Sets a customer's login, password and role, and ends the customer's sessions. `None` keeps the role.
    ///
    /// Refused as `invalid_request`, `customer_not_found`, `login_taken`, `last_admin`.
    pub fn set_credentials(
        &self,
        customer: CustomerId,
        login: &str,
        password: &str,
        role: impl Into<Option<Role>>,
    ) -> Result<Customer, Error> {
        let login = self.new_login(Client::default(), login, password, role.into())?;
        self.call(SetCredentials { customer_id: customer, login }).run()
    }

    fn new_login(
        &self,
        client: Client,
        login: &str,
        password: &str,
        role: Option<Role>,
    ) -> Result<NewLogin, Error> {
        // The rule refuses an invalid login.
        let login = text::login(login).unwrap_or_else(|| login.to_owned());
        let password = acceptable(password, "/password", &login)?;
        let password = self.passwords().acquire(client, &login)?.hash(&password)?;
        Ok(NewLogin { login, password, role })
    }

    /// Opens a session by login and password. An unknown login is refused like a wrong password, after the same
    /// work, so that neither the answer nor its time reveals which logins exist. A disabled customer is told so only
    /// after the right password, and is refused as for a wrong one before.
    ///
    /// Failed attempts delay the next one of that login with exponential back-off after the first few, in every
    /// process that shares the store.
    ///
    /// Refused as `invalid_credentials`, `too_many_requests`, `customer_disabled`.
    pub fn log_in(&self, login: &str, password: &str) -> Result<Session, Error> {
        self.log_in_from(Client::default(), login, password)
    }

    /// Opens a session as [`Shop::log_in`] does, on behalf of a client.
    ///
    /// Refused as `invalid_credentials`, `too_many_requests`, `customer_disabled`.
    pub fn log_in_from(
        &self,
        client: Client,
        login: &str,
        password: &str,
    ) -> Result<Session, Error> {
        // An invalid login or password gets the answer of an unknown one, after the same work.
        let login = &text::login(login).unwrap_or_else(|| login.to_owned());
        let (credentials, permit) = self.verify(client, login, password)?;
        drop(permit);
        let customer_id = credentials.customer_id;
        let session = self.begin_session(customer_id, Some(login.to_owned()), SESSION_SECONDS)?;
        // A password change ends the sessions that the old password opened, but not this one if it was opened after
        // the change had read them.
        if self.store().snapshot()?.credentials(login)?.as_ref() != Some(&credentials) {
            self.log_out(&session.token)?;
            return Err(Refusal::InvalidCredentials.into());
        }
        Ok(session)
    }

    /// Returns the credentials of a login if the password is right, with the permit to hash more. Counts the attempt.
    fn verify(
        &self,
        client: Client,
        login: &str,
        password: &str,
    ) -> Result<(Credentials, Permit<'_>), Error> {
        let password = &text::password(password).unwrap_or_else(|| password.to_owned());
        // A login that has to wait takes no place in the queue. The attempt is checked again when it is counted.
        let attempts = self.store().snapshot()?.login_attempts(LoginHash::of(login))?;
        check_login_wait(attempts.as_ref(), self.now())?;
        let mut permit = self.passwords().acquire(client, login)?;
        // Counted before the result is known, else many concurrent attempts would count as one.
        self.call(RecordLoginAttempt { login: login.to_owned() }).run()?;
        let credentials = self.store().snapshot()?.credentials(login)?;
        let hash = credentials.as_ref().map(|credentials| &credentials.password);
        let matches = permit.matches(password, hash)?;
        let credentials = credentials.filter(|_| matches).ok_or(Refusal::InvalidCredentials)?;
        Ok((credentials, permit))
    }

    /// Changes the password of the customer of a session on behalf of a client. The customer's other sessions end. Wrong
    /// present passwords count as failed logins, with the same back-off.
    ///
    /// Refused as `unauthenticated`, `invalid_request`, `invalid_credentials`, `too_many_requests`.
    pub fn change_password_from(
        &self,
        client: Client,
        token: &str,
        current: &str,
        new: &str,
    ) -> Result<Customer, Error> {
        let customer_id = self.session(token)?.customer_id;
        let login = self.customer(customer_id)?.login.ok_or_else(|| no_login(customer_id))?;
        let new = acceptable(new, "/new_password", &login)?;
        let (credentials, mut permit) = self.verify(client, &login, current)?;
        let password = permit.hash(&new)?;
        drop(permit);
        // The login may have moved to another customer meanwhile.
        if credentials.customer_id != customer_id {
            return Err(Refusal::InvalidCredentials.into());
        }
        let (current, session) = (Some(credentials.password), Some(TokenHash::of(token)));
        self.call(ChangePassword { customer_id, current, password, session }).run()
    }

    /// Sets the password of a customer with a login, for an operator. The customer's sessions end.
    ///
    /// Refused as `invalid_request`, `customer_not_found`, `customer_erased`.
    pub fn set_password(&self, customer_id: CustomerId, password: &str) -> Result<Customer, Error> {
        let customer = self.customer(customer_id)?;
        let login = customer.login.unwrap_or_default();
        let password = acceptable(password, "/password", &login)?;
        let password = self.passwords().acquire(Client::default(), &login)?.hash(&password)?;
        let (current, session) = (None, None);
        self.call(ChangePassword { customer_id, current, password, session }).run()
    }

    /// Returns the open sessions of a customer, or of all, in the order of their ids. `current` is the token of the session
    /// that asks. A page may have fewer items than asked for, since sessions that have expired are left out.
    ///
    /// Refused as `customer_not_found`.
    pub fn sessions(
        &self,
        customer: Option<CustomerId>,
        current: Option<&str>,
        page: &PageRequest,
    ) -> Result<Page<SessionInfo>, Error> {
        let list = match customer {
            Some(customer) => List::of_customer("sessions", customer),
            None => List::of_shop("sessions"),
        };
        // A cursor is a positive number: the first 63 bits of the hash.
        let start = u64::try_from(page.start(list, 0)?).unwrap_or_default();
        let number = |row: &SessionRow| i64::try_from(row.token.prefix() / 2).unwrap_or(i64::MAX);
        let snapshot = self.store().snapshot()?;
        if let Some(customer) = customer {
            account(&*snapshot, customer)?;
        }
        let start = TokenHash::with_prefix(start.saturating_mul(2));
        let rows = snapshot.sessions(customer, start, page.rows())?;
        let Page { mut items, next_cursor } = Page::of(rows, page, list, number);
        let (now, current) = (self.now(), current.map(TokenHash::of));
        items.retain(|row| row.is_valid_at(now));
        let page = Page { items, next_cursor };
        Ok(page.map(|row| SessionInfo {
            id: row.public_id(),
            customer_id: row.customer_id,
            created_at: row.created_at,
            expires_at: row.expires_at,
            current: Some(row.token) == current,
        }))
    }

    /// Ends the session with that public id, of one customer or of any. It is refused from then on by every process that
    /// shares the store. `actor` is its author instead of the shop's. Returns its customer.
    ///
    /// Refused as `session_not_found`.
    pub fn revoke_session(
        &self,
        actor: Option<Actor>,
        customer: Option<CustomerId>,
        id: &str,
    ) -> Result<Customer, Error> {
        let unknown = || Refusal::SessionNotFound { session_id: id.to_owned() };
        let prefix = u64::from_str_radix(id, 16).map_err(|_| unknown())?;
        let start = TokenHash::with_prefix(prefix);
        let found = self.store().snapshot()?.sessions(customer, start, 1)?;
        let found =
            found.first().filter(|row| row.public_id() == id && row.is_valid_at(self.now()));
        let SessionRow { customer_id, token, .. } = *found.ok_or_else(unknown)?;
        self.call(RevokeSession { customer_id, token }).by(actor).run()
    }

    /// The load of password hashing.
    pub fn password_stats(&self) -> PasswordStats {
        self.passwords().stats()
    }

    /// Opens a session of that many seconds without a password, for programs with access to the store itself.
    ///
    /// Refused as `customer_not_found`, `customer_erased`, `customer_disabled`.
    pub fn open_session(&self, customer: CustomerId, seconds: i64) -> Result<Session, Error> {
        self.begin_session(customer, None, seconds)
    }

    fn begin_session(
        &self,
        customer_id: CustomerId,
        login: Option<String>,
        seconds: i64,
    ) -> Result<Session, Error> {
        let token = random_token(SESSION_TOKEN_PREFIX)?;
        let expires_at = self.now().plus_seconds(seconds);
        let opened = OpenSession { customer_id, login, token: TokenHash::of(&token), expires_at };
        self.call(opened).run()?;
        Ok(Session { token, customer_id, expires_at })
    }

    /// Returns the customer of a login. Refused as `invalid_credentials` for an unknown login.
    pub fn customer_of(&self, login: &str) -> Result<Customer, Error> {
        let login = text::login(login).ok_or(Refusal::InvalidCredentials)?;
        let credentials = self.store().snapshot()?.credentials(&login)?;
        self.customer(credentials.ok_or(Refusal::InvalidCredentials)?.customer_id)
    }

    /// Ends the session of a token; does nothing if it has ended already.
    pub fn log_out(&self, token: &str) -> Result<(), Error> {
        self.call(CloseSession { token: TokenHash::of(token) }).run()
    }

    /// Returns the caller that a token identifies: a customer with a session, or a program. Refused as `unauthenticated` for
    /// an unknown, expired or revoked token.
    pub fn caller(&self, token: &str) -> Result<Caller, Error> {
        if token.starts_with(PROGRAM_TOKEN_PREFIX) {
            return self.program(token);
        }
        self.session(token).map(|session| session.caller())
    }

    fn program(&self, token: &str) -> Result<Caller, Error> {
        let hash = TokenHash::of(token).to_hex();
        let (found, now) = (self.store().snapshot()?.token(&hash)?, self.now());
        let valid = found.filter(|token| token.is_valid_at(now));
        let token = valid.ok_or(Refusal::Unauthenticated)?;
        if token.is_unused_on(now) && self.is_first_use(token.id, day_of(now)) {
            // The request does not wait for the record, and succeeds without it.
            drop(self.call(RecordTokenUse { token_id: token.id }).submit());
        }
        Ok(Caller { actor: Actor::Token(token.id), role: token.role })
    }

    /// Creates a token for a program, on behalf of that author instead of the shop's
    /// ([`ShopBuilder::actor`](crate::ShopBuilder::actor)). A repeated call with the same key returns the token without its
    /// secret, which is not stored.
    ///
    /// Refused as `invalid_request`.
    #[must_use]
    pub fn create_token(
        &self,
        actor: Option<Actor>,
        new: &NewToken,
        key: Option<&Key>,
    ) -> Outcome<CreatedToken> {
        let secret = match random_token(PROGRAM_TOKEN_PREFIX) {
            Ok(secret) => secret,
            Err(error) => return Outcome { result: Err(error.into()), replayed: false },
        };
        let hash = TokenHash::of(&secret).to_hex();
        let NewToken { name, role, days } = new.clone();
        let call = self.call(CreateToken { name, role, days, hash: hash.clone() }).by(actor);
        let Outcome { result, replayed } = match key {
            Some(key) => call.key(key).outcome(),
            None => call.outcome(),
        };
        let result = result.map(|row| {
            let token = (row.hash == hash).then_some(secret);
            CreatedToken { row, token }
        });
        Outcome { result, replayed }
    }

    /// Returns one token of a program. Refused as `token_not_found`.
    pub fn token(&self, id: TokenId) -> Result<Token, Error> {
        let from = self.store().snapshot()?.tokens(id, 1)?.into_iter().next();
        let found = from.filter(|token| token.id == id);
        found.ok_or_else(|| Refusal::TokenNotFound { token_id: id }.into())
    }

    /// Returns the tokens of programs by id.
    pub fn tokens(&self, page: &PageRequest) -> Result<Page<Token>, Error> {
        const LIST: List = List::of_shop("tokens");
        let start = TokenId::new(page.start(LIST, 1)?);
        let rows = self.store().snapshot()?.tokens(start, page.rows())?;
        Ok(Page::of(rows, page, LIST, |token| token.id.get()))
    }

    /// Returns the session of a token. Refused as `unauthenticated` for an unknown or expired token.
    pub fn session(&self, token: &str) -> Result<OpenedSession, Error> {
        let session = self.store().snapshot()?.session(TokenHash::of(token))?;
        let valid = session.filter(|(session, _)| session.is_valid_at(self.now()));
        let opened = valid.map(|(session, role)| OpenedSession {
            customer_id: session.customer_id,
            role,
            expires_at: session.expires_at,
        });
        opened.ok_or_else(|| Refusal::Unauthenticated.into())
    }
}

/// Returns the form in which a password is hashed, if it is acceptable for that login.
fn acceptable(password: &str, pointer: &str, login: &str) -> Result<String, Refusal> {
    let refused = |detail| Err(Refusal::invalid(pointer, detail));
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
        let detail = "password is too common: choose another, such as several words";
        return refused(detail.to_owned());
    }
    Ok(password)
}

fn random_token(prefix: &str) -> Result<String, StoreError> {
    Ok(format!("{prefix}{}", entropy::hex::<TOKEN_BYTES>()?))
}
