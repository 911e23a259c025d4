//! `commerce init`: creates the store, or migrates one of an older version.

use crate::database::Database;
use crate::error::CliError;
use crate::output::Output;
use crate::values;
use commerce_core::{ChangeSettings, Currency, Shop, Zone};
use serde::Serialize;
use std::num::NonZeroU32;
use std::sync::Arc;

#[derive(clap::Args, Debug)]
pub(crate) struct InitCommand {
    /// Currency of the store, an ISO 4217 code. It cannot be changed later (default for a new store: KRW).
    #[arg(long, value_name = "CODE", value_parser = values::currency)]
    currency: Option<Currency>,
    /// Zone of the days in reports, an IANA name like Asia/Seoul (default for a new store: UTC).
    #[arg(long, value_name = "ZONE")]
    zone: Option<Zone>,
    /// Distributes the tables of a new store over the machines of a Citus cluster: customer data by
    /// customer, product data by product.
    #[arg(long)]
    distribute: bool,
    /// Keeps the tables of a new store on one machine, in the database of a Citus cluster too.
    #[arg(long, conflicts_with = "distribute")]
    local: bool,
    /// Number of shards of each distributed table, up to 64,000 (default: twice the number of workers).
    #[arg(long, value_name = "N", requires = "distribute", value_parser = values::shards)]
    shards: Option<NonZeroU32>,
}

#[derive(Serialize)]
struct InitReport {
    database: String,
    currency: Currency,
    zone: Zone,
    schema_version: i64,
}

impl InitCommand {
    pub(crate) fn run(&self, database: &Database, output: Output) -> Result<(), CliError> {
        let found = database.find()?;
        let is_new = found.is_none();
        let currency = found.as_ref().map(|store| store.currency()).or(self.currency);
        let currency_of_new = currency.unwrap_or(Currency::KRW);
        let store = match found {
            _ if self.distribute => database.distribute(currency_of_new, self.shards)?,
            _ if self.local => database.create_local(currency_of_new)?,
            Some(store) => store,
            None => database.create(self.currency)?,
        };
        let currency = store.currency();
        if let Some(requested) = self.currency.filter(|requested| *requested != currency) {
            return Err(CliError::usage(format!(
                "the currency of {database} is {currency} and cannot be changed: name another --database for {requested}"
            )));
        }
        let shop = Shop::open(Arc::clone(&store));
        if let Some(zone) = self.zone.filter(|_| is_new) {
            shop.call(ChangeSettings { zone }).run()?;
        }
        let zone = shop.settings()?.zone;
        if let Some(requested) = self.zone.filter(|requested| *requested != zone) {
            return Err(CliError::usage(format!(
                "the zone of {database} is {zone}: change it with `commerce settings zone {requested}`"
            )));
        }
        let schema_version = database.schema_version();
        let body = InitReport { database: database.to_string(), currency, zone, schema_version };
        output.print(&body, |_| {
            format!("{database} is ready: amounts in {currency}, days of {zone}, schema version {schema_version}")
        })
    }
}
