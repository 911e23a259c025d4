//! `commerce init`: creates the store, or migrates one of an older version.

use crate::database::Database;
use crate::error::CliError;
use crate::output::Output;
use crate::values;
use commerce_core::Currency;
use serde::Serialize;

/// Creates the store, or migrates one of an older version.
#[derive(clap::Args, Debug)]
pub(crate) struct InitCommand {
    /// Currency of the store, an ISO 4217 code. It cannot be changed later (default for a new store: KRW).
    #[arg(long, value_name = "CODE", value_parser = values::currency)]
    currency: Option<Currency>,
    /// Distributes the tables of a new store over the machines of a Citus cluster: customer data by
    /// customer, product data by product.
    #[arg(long)]
    distribute: bool,
}

#[derive(Serialize)]
struct InitReport {
    database: String,
    currency: Currency,
    schema_version: i64,
}

impl InitCommand {
    pub(crate) fn run(&self, database: &Database, output: Output) -> Result<(), CliError> {
        let store = match database.find()? {
            Some(store) if !self.distribute => store,
            Some(store) => database.distribute(store.currency())?,
            None if self.distribute => {
                database.distribute(self.currency.unwrap_or(Currency::KRW))?
            }
            None => database.create(self.currency)?,
        };
        let currency = store.currency();
        if let Some(requested) = self.currency.filter(|requested| *requested != currency) {
            return Err(CliError::usage(format!(
                "the currency of {database} is {currency} and cannot be changed: name another --database for {requested}"
            )));
        }
        let schema_version = database.schema_version();
        let body = InitReport { database: database.to_string(), currency, schema_version };
        output.print(&body, |_| {
            format!("{database} is ready: amounts in {currency}, schema version {schema_version}")
        })
    }
}
