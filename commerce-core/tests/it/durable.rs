//! A server that would lose acknowledged commits in a power failure is refused, also when its
//! settings change later. A caller that declares the data worthless may use it.

use crate::common::cluster::{Cluster, shared};
use commerce_core::{AddCustomer, Error, Shop, StoreError};
use commerce_postgres::PostgresStore;
use rstest::rstest;

#[rstest]
fn open_refuses_a_server_with_fsync_off(#[values("fsync", "full_page_writes")] setting: &str) {
    let cluster = Cluster::start_with(|_| format!("{setting} = off"));
    let url = cluster.database();
    let error = PostgresStore::open(&url).unwrap_err();
    let named = matches!(&error, StoreError::Incompatible(text) if text.contains(setting));
    assert!(named && error.to_string().contains("durable=no"), "{error}");
    let shop = Shop::open(PostgresStore::open(&format!("{url}?durable=no")).unwrap());
    shop.call(AddCustomer::new("Kim")).run().unwrap();

    let set = |value: &str| {
        let mut admin = cluster.admin("postgres");
        admin.batch_execute(&format!("ALTER SYSTEM SET {setting} = {value}")).unwrap();
        cluster.restart();
    };
    set("on");
    let shop = Shop::open(PostgresStore::open(&url).unwrap());
    set("off");
    let error = shop.call(AddCustomer::new("Lee")).run().unwrap_err();
    assert!(matches!(error, Error::Store(StoreError::Incompatible(_))), "{error}");
}

/// A database may set `synchronous_commit = off`: the store overrides it.
#[test]
fn commit_waits_for_the_disk_despite_database_settings() {
    let url = shared().database();
    let name = url.rsplit('/').next().unwrap();
    let mut admin = shared().admin(name);
    let set = |value: &str| format!("ALTER DATABASE {name} SET synchronous_commit = {value}");
    admin.batch_execute(&set("off")).unwrap();
    let shop = Shop::open(PostgresStore::open(&url).unwrap());
    let watch = "CREATE TABLE seen (value TEXT);
        CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NEW;
        END $$;
        CREATE TRIGGER see BEFORE INSERT ON customers FOR EACH ROW EXECUTE FUNCTION see()";
    admin.batch_execute(watch).unwrap();
    shop.call(AddCustomer::new("Kim")).run().unwrap();
    admin.batch_execute(&set("remote_apply")).unwrap();
    let other = Shop::open(PostgresStore::open(&url).unwrap());
    other.call(AddCustomer::new("Lee")).run().unwrap();
    let seen = admin.query("SELECT value FROM seen", &[]).unwrap();
    let seen: Vec<String> = seen.iter().map(|row| row.get(0)).collect();
    assert_eq!(seen, ["on", "remote_apply"]);
}
