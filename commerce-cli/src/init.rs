//! `commerce init`: creates the store, or brings one of an older version up to date.

use crate::database::Database;
use crate::error::CliError;
use crate::output::Output;
use crate::values;
use commerce_core::Currency;
use serde::Serialize;

/// Creates the store, or brings one of an older version up to date.
#[derive(clap::Args, Debug)]
pub(crate) struct Init {
    /// The one currency of the store, by its ISO 4217 code. KRW when the store is new and none is
    /// given; it can never be changed.
    #[arg(long, value_name = "CODE", value_parser = values::currency)]
    currency: Option<Currency>,
    /// Spreads the tables of a new store over the machines of a Citus cluster: what is a customer's by
    /// customer, what is a product's by product.
    #[arg(long)]
    distribute: bool,
}

#[derive(Serialize)]
struct Initialised {
    database: String,
    currency: Currency,
    schema_version: i64,
}

impl Init {
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
        if let Some(wanted) = self.currency.filter(|wanted| *wanted != currency) {
            return Err(CliError::usage(format!(
                "{database} is kept in {currency} for good: name another --database for {wanted}"
            )));
        }
        let schema_version = database.schema_version();
        let body = Initialised { database: database.to_string(), currency, schema_version };
        output.print(&body, |_| {
            format!("{database} is ready: amounts in {currency}, schema version {schema_version}")
        })
    }
}
