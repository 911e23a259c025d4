//! `commerce customer`: customers and their logins.

use crate::commands::admin::print_login;
use crate::context::CommandContext;
use crate::error::CliError;
use crate::secret::PasswordArg;
use crate::table::{TextTable, or_dash, properties};
use crate::values::{self, KeyArg, PageArgs, RoleArg};
use commerce_core::{
    AddCustomer, CustomerId, CustomerStatus, EraseCustomer, Role, SetRole, UnlockLogin,
    UpdateCustomer,
};

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
        /// New role (default: unchanged).
        #[arg(long)]
        role: Option<RoleArg>,
        #[command(flatten)]
        password: PasswordArg,
    },
    /// Renames a customer.
    Update {
        /// The customer's id.
        #[arg(value_parser = values::id::<CustomerId>)]
        id: CustomerId,
        /// New display name.
        #[arg(long)]
        name: Option<String>,
    },
    /// Disables a customer: the customer cannot log in, and existing sessions end.
    Disable {
        /// The customer's id.
        #[arg(value_parser = values::id::<CustomerId>)]
        id: CustomerId,
    },
    /// Enables a customer who was disabled.
    Enable {
        /// The customer's id.
        #[arg(value_parser = values::id::<CustomerId>)]
        id: CustomerId,
    },
    /// Erases the personal data of a customer: name, login, password, sessions, notes, cart and payment methods. Orders and
    /// amounts stay. It cannot be undone.
    Erase {
        /// The customer's id.
        #[arg(value_parser = values::id::<CustomerId>)]
        id: CustomerId,
    },
    /// Changes the role of a customer who has a login. It counts at once, also in open sessions. The last admin stays one.
    Role {
        /// The customer's id.
        #[arg(value_parser = values::id::<CustomerId>)]
        id: CustomerId,
        /// The new role.
        role: RoleArg,
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
            Self::Login { id, login, role, password } => {
                let password = password.get()?;
                let role = role.map(Role::from);
                let customer = context.shop.set_credentials(id, &login, &password.text, role)?;
                print_login(context, customer, password)
            }
            Self::Update { id, name } => {
                let request = UpdateCustomer { customer_id: id, name, status: None };
                let updated = context.shop.call(request).run()?;
                context.output.print(&updated, |c| format!("customer {} is {}", c.id, c.name))
            }
            Self::Disable { id } => set_status(context, id, CustomerStatus::Disabled),
            Self::Enable { id } => set_status(context, id, CustomerStatus::Active),
            Self::Erase { id } => {
                let erased = context.shop.call(EraseCustomer { customer_id: id }).run()?;
                context.output.print(&erased, |c| format!("customer {} is erased", c.id))?;
                context.output.note(format_args!(
                    "(backups and copies made before keep the personal data: delete them when they are due)"
                ));
                Ok(())
            }
            Self::Role { id, role } => {
                let request = SetRole { customer_id: id, role: role.into() };
                let customer = context.shop.call(request).run()?;
                context.output.print(&customer, |c| format!("customer {} is {}", c.id, c.role))
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

fn set_status(
    context: &CommandContext,
    id: CustomerId,
    status: CustomerStatus,
) -> Result<(), CliError> {
    let customer = context.shop.call(UpdateCustomer::to_status(id, status)).run()?;
    context.output.print(&customer, |c| format!("customer {} is {}", c.id, c.status))
}

fn customers(customers: &[commerce_core::Customer]) -> String {
    TextTable::new([">id", "~name", "~login", "role", "status", "added"], "no customers")
        .rows(customers, |c| {
            [
                c.id.to_string(),
                c.name.clone(),
                or_dash(c.login.clone()),
                c.role.to_string(),
                c.status.to_string(),
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
