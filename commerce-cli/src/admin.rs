//! `commerce admin`: who may keep products and coupons over HTTP, and act for any customer.

use crate::desk::Desk;
use crate::failure::Failure;
use crate::secret::{Password, PasswordArg};
use commerce_core::limits::MAX_SESSION_SECONDS;
use commerce_core::{Code, Customer, CustomerId, Role, Session};
use serde::Serialize;

const DAY: i64 = 24 * 60 * 60;

/// Whose token it is when nobody is named.
const FIRST: &str = "admin";

/// Makes admins, who may do everything over HTTP, and tokens for them.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Admin {
    /// Adds an admin.
    Create {
        /// The name to log in with.
        login: String,
        /// What people call them; the login when absent.
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        password: PasswordArg,
    },
    /// Opens a session without a password, and shows its token this once.
    Token {
        /// Who: the login of an admin or customer. Without it the admin of the login `admin`, who is
        /// added when there is none.
        login: Option<String>,
        /// How many days the token is good for, 1 to 366.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=366))]
        days: u16,
    },
}

/// What is shown of somebody who was just given a login.
#[derive(Serialize)]
pub(crate) struct Welcomed {
    #[serde(flatten)]
    customer: Customer,
    /// The password, when it was made up.
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
}

impl Admin {
    pub(crate) fn run(self, desk: &Desk) -> Result<(), Failure> {
        match self {
            Self::Create { login, name, password } => {
                let password = password.get()?;
                let name = name.unwrap_or_else(|| login.clone());
                let made = desk.shop.register(&name, &login, &password.text, Role::Admin)?;
                welcome(desk, made, password)
            }
            Self::Token { login, days } => {
                let customer = match login {
                    Some(login) => named(desk, &login)?,
                    None => first_admin(desk)?,
                };
                let seconds = i64::from(days).saturating_mul(DAY).min(MAX_SESSION_SECONDS);
                let session = desk.shop.open_session(customer, seconds)?;
                desk.output.give(&session, token)
            }
        }
    }
}

/// Shows somebody with their login, and with their password if it was made up.
pub(crate) fn welcome(desk: &Desk, customer: Customer, password: Password) -> Result<(), Failure> {
    let password = password.made_up.then_some(password.text);
    desk.output.give(&Welcomed { customer, password }, |Welcomed { customer, password }| {
        let login = customer.login.as_deref().unwrap_or_default();
        let text = format!("customer {} logs in as {login}", customer.id);
        match password {
            Some(password) => format!("{text} with the password {password}"),
            None => text,
        }
    })
}

fn first_admin(desk: &Desk) -> Result<CustomerId, Failure> {
    let password = PasswordArg::none().get()?;
    match desk.shop.register("Admin", FIRST, &password.text, Role::Admin) {
        Ok(customer) => Ok(customer.id),
        Err(error) if error.code() == Code::LoginTaken => {
            let known = desk.shop.customer_of(FIRST)?;
            if known.role == Role::Admin {
                return Ok(known.id);
            }
            // Anybody may register by that name.
            Err(Failure::usage(format!(
                "the login {FIRST} is customer {}'s, who is no admin: run `commerce admin create LOGIN`, \
                 then `commerce admin token LOGIN`",
                known.id
            )))
        }
        Err(error) => Err(error.into()),
    }
}

fn named(desk: &Desk, login: &str) -> Result<CustomerId, Failure> {
    desk.shop.customer_of(login).map(|customer| customer.id).map_err(|error| {
        let unknown = error.code() == Code::InvalidCredentials;
        let failure = Failure::from(error);
        if unknown {
            failure.saying(format!("nobody has the login {login}: check it"))
        } else {
            failure
        }
    })
}

fn token(session: &Session) -> String {
    session.token.clone()
}
