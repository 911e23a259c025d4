//! `commerce admin`: admins, who manage products and coupons over HTTP and act for any customer.

use crate::context::CommandContext;
use crate::error::CliError;
use crate::secret::{Password, PasswordArg};
use commerce_core::limits::MAX_SESSION_SECONDS;
use commerce_core::{Code, Customer, CustomerId, Role, Session};
use serde::Serialize;

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// The default login of `admin token`.
const DEFAULT_LOGIN: &str = "admin";

/// Creates admins, who may call every route of the HTTP API, and tokens.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum AdminCommand {
    /// Creates an admin.
    Create {
        /// Login name.
        login: String,
        /// Display name (default: the login).
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        password: PasswordArg,
    },
    /// Opens a session without a password, and prints its token. The token cannot be shown again.
    Token {
        /// Login of an admin or customer (default: `admin`, an admin who is created if missing).
        login: Option<String>,
        /// Days until the token expires, 1 to 366.
        #[arg(long, value_name = "DAYS", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=366))]
        days: u16,
    },
}

/// The result of setting a login.
#[derive(Serialize)]
pub(crate) struct LoginReport {
    #[serde(flatten)]
    customer: Customer,
    /// The password, if it was generated.
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
}

impl AdminCommand {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), CliError> {
        match self {
            Self::Create { login, name, password } => {
                let password = password.get()?;
                let name = name.unwrap_or_else(|| login.clone());
                let admin = context.shop.register(&name, &login, &password.text, Role::Admin)?;
                print_login(context, admin, password)
            }
            Self::Token { login, days } => {
                let customer = match login {
                    Some(login) => customer_of_login(context, &login)?,
                    None => default_admin(context)?,
                };
                let seconds = i64::from(days).saturating_mul(DAY_SECONDS).min(MAX_SESSION_SECONDS);
                let session = context.shop.open_session(customer, seconds)?;
                context.output.print(&session, token)
            }
        }
    }
}

/// Prints a customer with the login, and the password if it was generated.
pub(crate) fn print_login(
    context: &CommandContext,
    customer: Customer,
    password: Password,
) -> Result<(), CliError> {
    let password = password.is_generated.then_some(password.text);
    context.output.print(
        &LoginReport { customer, password },
        |LoginReport { customer, password }| {
            let login = customer.login.as_deref().unwrap_or_default();
            let text = format!("customer {} logs in as {login}", customer.id);
            match password {
                Some(password) => format!("{text} with the password {password}"),
                None => text,
            }
        },
    )
}

fn default_admin(context: &CommandContext) -> Result<CustomerId, CliError> {
    let password = PasswordArg::generated().get()?;
    match context.shop.register("Admin", DEFAULT_LOGIN, &password.text, Role::Admin) {
        Ok(customer) => Ok(customer.id),
        Err(error) if error.code() == Code::LoginTaken => {
            let owner = context.shop.customer_of(DEFAULT_LOGIN)?;
            if owner.role == Role::Admin {
                return Ok(owner.id);
            }
            // Anyone may register a customer with that login over HTTP.
            Err(CliError::usage(format!(
                "the login {DEFAULT_LOGIN} belongs to customer {}, who is not an admin: run `commerce admin create LOGIN`, \
                 then `commerce admin token LOGIN`",
                owner.id
            )))
        }
        Err(error) => Err(error.into()),
    }
}

fn customer_of_login(context: &CommandContext, login: &str) -> Result<CustomerId, CliError> {
    context.shop.customer_of(login).map(|customer| customer.id).map_err(|error| {
        let unknown = error.code() == Code::InvalidCredentials;
        let error = CliError::from(error);
        if unknown {
            error.with_message(format!("unknown login {login}: check the spelling"))
        } else {
            error
        }
    })
}

fn token(session: &Session) -> String {
    session.token.clone()
}
