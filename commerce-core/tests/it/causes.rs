//! The error of a busy store has its last cause, and settings that a server has for other programs
//! are overridden.

use crate::common::{assert_clean, cluster, key};
use commerce_core::{AddCustomer, CustomerId, Error, Money, Shop, StoreError};
use commerce_postgres::PostgresStore;
use postgres::{Client, NoTls};
use std::time::Duration;

/// Returns the text of the error of a charge, which is busy.
fn busy(shop: &Shop) -> String {
    let error = shop.charge(CustomerId::new(1), Money::from_minor(5), &key("charge")).unwrap_err();
    assert!(matches!(error, Error::Store(StoreError::Busy(_))), "{error}");
    error.to_string()
}

fn hasty(url: &str) -> Shop {
    Shop::builder().timeout(Duration::from_secs(2)).open(PostgresStore::open(url).unwrap())
}

#[test]
fn busy_names_the_lock_of_another_session() {
    let url = cluster::shared().database();
    let shop = hasty(&url);
    shop.call(AddCustomer::new("Kim")).run().unwrap();
    let mut psql = Client::connect(&url, NoTls).unwrap();
    let mut session = psql.transaction().unwrap();
    session.execute("SELECT id FROM customers WHERE id = 1 FOR UPDATE", &[]).unwrap();
    let text = busy(&shop);
    assert!(text.contains("lock timeout (55P03)"), "{text}");
}

#[test]
fn busy_names_too_many_connections() {
    let url = cluster::shared().database();
    let (rest, database) = url.rsplit_once('/').unwrap();
    let mut admin = cluster::shared().admin(database);
    let role = format!("few_{database}");
    let sql = format!(
        "CREATE ROLE {role} LOGIN CONNECTION LIMIT 2; ALTER DATABASE {database} OWNER TO {role};
         GRANT EXECUTE ON FUNCTION pg_control_system() TO {role}"
    );
    admin.batch_execute(&sql).unwrap();
    let url = format!("{}/{database}", rest.replace("postgres@", &format!("{role}@")));
    admin.batch_execute(&format!("GRANT ALL ON SCHEMA public TO {role}")).unwrap();
    let shop = hasty(&url);
    shop.call(AddCustomer::new("Kim")).run().unwrap();
    let _other = Client::connect(&url, NoTls).unwrap();
    let end = "SELECT count(pg_terminate_backend(pid, 60000)) FROM pg_stat_activity
               WHERE usename = $1 AND application_name = 'commerce'";
    assert_eq!(admin.query_one(end, &[&role]).unwrap().get::<_, i64>(0), 1);
    let _another = Client::connect(&url, NoTls).unwrap();
    let text = busy(&shop);
    assert!(text.contains("too many connections") && text.contains("53300"), "{text}");
}

/// A setting that administrators make for readers of reports.
#[test]
fn read_only_default_of_a_database_is_overridden() {
    let url = cluster::shared().database();
    let database = url.rsplit('/').next().unwrap();
    let sql = format!("ALTER DATABASE {database} SET default_transaction_read_only = on");
    cluster::shared().admin("postgres").batch_execute(&sql).unwrap();
    let shop = Shop::open(PostgresStore::open(&url).unwrap());
    shop.call(AddCustomer::new("Kim")).run().unwrap();
    assert_clean(&shop);
}
