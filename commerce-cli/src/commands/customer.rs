//! `commerce customer`: customers and their logins.

use crate::commands::admin::print_login;
use crate::context::CommandContext;
use crate::error::CliError;
use crate::secret::PasswordArg;
use crate::table::{TextTable, or_dash, properties};
use crate::values::{self, KeyArg, PageArgs};
use commerce_core::{AddCustomer, CustomerId, UnlockLogin};

/// Adds and shows customers, and sets their logins.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum CustomerCommand {
    /// Adds a customer.
    Add {
        /// Display name.
        name: String,
        #[command(flatten)]
        key: KeyArg,
    },
    /// Sets the login and password of a customer for the HTTP API. The previous ones become invalid, and
    /// existing sessions end.
    Login {
        /// The customer's id.
        #[arg(value_parser = values::id::<CustomerId>)]
        id: CustomerId,
        /// Login name.
        login: String,
        #[command(flatten)]
        password: PasswordArg,
    },
    /// Unlocks a login that is locked after too many failed attempts. A new password unlocks it too.
    Unlock {
        /// The customer's id.
        #[arg(value_parser = values::id::<CustomerId>)]
        id: CustomerId,
    },
    /// Lists the customers by id.
    List {
        /// Only customers with this text in their names or logins, in upper or lower case.
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Shows one customer.
    Show {
        /// The customer's id.
        #[arg(value_parser = values::id::<CustomerId>)]
        id: CustomerId,
    },
}

impl CustomerCommand {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), CliError> {
        match self {
            Self::Add { name, key } => {
                let customer = context.call(AddCustomer::new(name), &key)?;
                context.output.print(&customer, |c| format!("customer {} is {}", c.id, c.name))
            }
            Self::Login { id, login, password } => {
                let password = password.get()?;
                let role = context.shop.customer(id)?.role;
                let customer = context.shop.set_credentials(id, &login, &password.text, role)?;
                print_login(context, customer, password)
            }
            Self::Unlock { id } => {
                let customer = context.shop.call(UnlockLogin { customer_id: id }).run()?;
                context.output.print(&customer, |c| {
                    format!("customer {} can log in as {}", c.id, or_dash(c.login.clone()))
                })
            }
            Self::List { search, page } => {
                let read = |page: &_| context.shop.search_customers(search.as_deref(), page);
                context.search(&page, read, customers)
            }
            Self::Show { id } => context.output.print(&context.shop.customer(id)?, customer),
        }
    }
}

fn customers(customers: &[commerce_core::Customer]) -> String {
    TextTable::new([">id", "name", "login", "role", "added"], "no customers")
        .rows(customers, |c| {
            [
                c.id.to_string(),
                c.name.clone(),
                or_dash(c.login.clone()),
                c.role.to_string(),
                c.created_at.to_string(),
            ]
        })
        .text()
}

fn customer(customer: &commerce_core::Customer) -> String {
    properties([
        ("customer", customer.id.to_string()),
        ("name", customer.name.clone()),
        ("login", or_dash(customer.login.clone())),
        ("role", customer.role.to_string()),
        ("status", customer.status.to_string()),
        ("added", customer.created_at.to_string()),
    ])
}
