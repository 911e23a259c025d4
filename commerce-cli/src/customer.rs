//! `commerce customer`: adding customers and looking at them.

use crate::admin::welcome;
use crate::context::CommandContext;
use crate::error::CliError;
use crate::secret::PasswordArg;
use crate::table::{Rows, facts, or_dash};
use crate::values::{self, KeyArg, PageArgs};
use commerce_core::{AddCustomer, CustomerId, Role, UnlockLogin};

/// Adds customers and shows them.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Customer {
    /// Adds a customer.
    Add {
        /// What people call them.
        name: String,
        #[command(flatten)]
        key: KeyArg,
    },
    /// Lets a customer log in over HTTP. What they had is no longer good, and their sessions end.
    Login {
        /// The customer's id.
        #[arg(value_parser = values::id::<CustomerId>)]
        id: CustomerId,
        /// The name to log in with.
        login: String,
        #[command(flatten)]
        password: PasswordArg,
    },
    /// Lets a customer log in at once whose login failed too often. A new password does so too.
    Unlock {
        /// The customer's id.
        #[arg(value_parser = values::id::<CustomerId>)]
        id: CustomerId,
    },
    /// Lists the customers by id.
    List {
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

impl Customer {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), CliError> {
        match self {
            Self::Add { name, key } => {
                let customer = context.call(AddCustomer::new(name), &key)?;
                context.output.print(&customer, |c| format!("customer {} is {}", c.id, c.name))
            }
            Self::Login { id, login, password } => {
                let password = password.get()?;
                let role = context.shop.customer(id)?.role;
                let given = context.shop.set_credentials(id, &login, &password.text, role)?;
                welcome(context, given, password)
            }
            Self::Unlock { id } => {
                let customer = context.shop.call(UnlockLogin { customer_id: id }).run()?;
                context.output.print(&customer, |c| {
                    format!("customer {} can log in as {}", c.id, or_dash(c.login.clone()))
                })
            }
            Self::List { page } => {
                context.list(&page, |page| context.shop.customers(page), customers)
            }
            Self::Show { id } => context.output.print(&context.shop.customer(id)?, customer),
        }
    }
}

fn customers(customers: &[commerce_core::Customer]) -> String {
    Rows::new([">id", "name", "login", "role", "added"], "there are no customers")
        .each(customers, |c| {
            let role = role(c.role).to_owned();
            [
                c.id.to_string(),
                c.name.clone(),
                or_dash(c.login.clone()),
                role,
                c.created_at.to_string(),
            ]
        })
        .text()
}

fn customer(customer: &commerce_core::Customer) -> String {
    facts([
        ("customer", customer.id.to_string()),
        ("name", customer.name.clone()),
        ("login", or_dash(customer.login.clone())),
        ("role", role(customer.role).to_owned()),
        ("added", customer.created_at.to_string()),
    ])
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Customer => "customer",
        Role::Admin => "admin",
    }
}
