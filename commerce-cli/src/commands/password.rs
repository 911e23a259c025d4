//! `commerce password`: a new password for a login.

use crate::commands::admin::print_login;
use crate::context::CommandContext;
use crate::error::CliError;
use crate::secret::PasswordArg;
use crate::values;
use commerce_core::CustomerId;

#[derive(clap::Args, Debug)]
pub(crate) struct PasswordCommand {
    /// The customer's id.
    #[arg(value_parser = values::id::<CustomerId>)]
    customer: CustomerId,
    #[command(flatten)]
    password: PasswordArg,
}

impl PasswordCommand {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), CliError> {
        let password = self.password.get()?;
        let customer = context.shop.set_password(self.customer, &password.text)?;
        print_login(context, customer, password)
    }
}
