//! `commerce admin`: who may keep products and coupons over HTTP, and act for any customer.

use crate::context::CommandContext;
use crate::error::CliError;
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
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), CliError> {
        match self {
            Self::Create { login, name, password } => {
                let password = password.get()?;
                let name = name.unwrap_or_else(|| login.clone());
                let made = context.shop.register(&name, &login, &password.text, Role::Admin)?;
                welcome(context, made, password)
            }
            Self::Token { login, days } => {
                let customer = match login {
                    Some(login) => named(context, &login)?,
                    None => first_admin(context)?,
                };
                let seconds = i64::from(days).saturating_mul(DAY).min(MAX_SESSION_SECONDS);
                let session = context.shop.open_session(customer, seconds)?;
                context.output.print(&session, token)
            }
        }
    }
}

/// Shows somebody with their login, and with their password if it was made up.
pub(crate) fn welcome(
    context: &CommandContext,
    customer: Customer,
    password: Password,
) -> Result<(), CliError> {
    let password = password.generated_key.then_some(password.text);
    context.output.print(&Welcomed { customer, password }, |Welcomed { customer, password }| {
        let login = customer.login.as_deref().unwrap_or_default();
        let text = format!("customer {} logs in as {login}", customer.id);
        match password {
            Some(password) => format!("{text} with the password {password}"),
            None => text,
        }
    })
}

fn first_admin(context: &CommandContext) -> Result<CustomerId, CliError> {
    let password = PasswordArg::none().get()?;
    match context.shop.register("Admin", FIRST, &password.text, Role::Admin) {
        Ok(customer) => Ok(customer.id),
        Err(error) if error.code() == Code::LoginTaken => {
            let known = context.shop.customer_of(FIRST)?;
            if known.role == Role::Admin {
                return Ok(known.id);
            }
            // Anybody may register by that name.
            Err(CliError::usage(format!(
                "the login {FIRST} is customer {}'s, who is no admin: run `commerce admin create LOGIN`, \
                 then `commerce admin token LOGIN`",
                known.id
            )))
        }
        Err(error) => Err(error.into()),
    }
}

fn named(context: &CommandContext, login: &str) -> Result<CustomerId, CliError> {
    context.shop.customer_of(login).map(|customer| customer.id).map_err(|error| {
        let unknown = error.code() == Code::InvalidCredentials;
        let error = CliError::from(error);
        if unknown {
            error.with_message(format!("nobody has the login {login}: check it"))
        } else {
            error
        }
    })
}

fn token(session: &Session) -> String {
    session.token.clone()
}
