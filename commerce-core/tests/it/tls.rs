//! TLS to a real server that accepts only TLS: `sslmode` and `sslrootcert` decide which
//! certificates the store accepts.

use crate::common::cluster::{Cluster, give_to_server};
use crate::common::{assert_clean, key};
use commerce_core::{AddCustomer, Money, Shop, StoreError};
use commerce_postgres::PostgresStore;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rstest::rstest;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tempfile::TempDir;

/// A server with a certificate for `localhost`, and the file with the certificate of its authority.
struct Server {
    cluster: Cluster,
    folder: TempDir,
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let ours = authority(&folder.path().join("ours.pem"));
        authority(&folder.path().join("other.pem"));
        let cluster = Cluster::start_with(|data| certified(data, &ours));
        let role = "CREATE ROLE shop LOGIN SUPERUSER PASSWORD 'geheim'";
        cluster.admin("postgres").batch_execute(role).unwrap();
        Server { cluster, folder }
    })
}

/// Creates a certificate authority and writes its certificate to that file.
fn authority(file: &Path) -> Issuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let keys = KeyPair::generate().unwrap();
    fs::write(file, params.self_signed(&keys).unwrap().pem()).unwrap();
    Issuer::new(params, keys)
}

/// Writes a file that only the server may read.
fn write(data: &Path, name: &str, text: &str) {
    let file = data.join(name);
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    give_to_server(&file);
}

/// Gives the server a certificate, and lets it accept network connections only with TLS.
fn certified(data: &Path, authority: &Issuer<'_, KeyPair>) -> String {
    let keys = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&keys, authority).unwrap();
    write(data, "server.crt", &certificate.pem());
    write(data, "server.key", &keys.serialize_pem());
    write(data, "pg_hba.conf", "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n");
    "ssl = on".to_owned()
}

impl Server {
    fn url(&self, host: &str, password: &str, rest: &str) -> String {
        let database = self.cluster.database();
        let database = database.rsplit('/').next().unwrap();
        let roots = |name: &str| -> PathBuf { self.folder.path().join(name) };
        let rest = rest.replace("OURS", &roots("ours.pem").display().to_string());
        let rest = rest.replace("OTHER", &roots("other.pem").display().to_string());
        format!("postgres://shop:{password}@{host}:{}/{database}?{rest}", self.cluster.port())
    }
}

#[rstest]
#[case::as_it_comes("localhost", "")]
#[case::encrypted("localhost", "sslmode=require")]
#[case::encrypted_to_whomever("127.0.0.1", "sslmode=require")]
#[case::proven("localhost", "sslmode=verify-full&sslrootcert=OURS")]
#[case::proven_at_an_address(
    "localhost",
    "hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert=OURS"
)]
#[case::roots_are_asked("localhost", "sslmode=require&sslrootcert=OURS")]
#[case::no_less_than_full("localhost", "sslmode=verify-ca&sslrootcert=OURS")]
#[case::bound_to_the_channel(
    "localhost",
    "channel_binding=require&sslmode=verify-full&sslrootcert=OURS"
)]
fn store_works_over_verified_tls(#[case] host: &str, #[case] rest: &str) {
    let url = server().url(host, "geheim", rest);
    let shop = Shop::open(PostgresStore::open(&url).unwrap());
    shop.call(AddCustomer::new("Kim")).run().unwrap();
    shop.charge(1.into(), Money::from_minor(5), &key("charge")).unwrap();
    assert_clean(&shop);
    let sql = "SELECT count(*), count(*) FILTER (WHERE ssl) FROM pg_stat_ssl
               JOIN pg_stat_activity USING (pid) WHERE datname = $1";
    let database = url.split('?').next().unwrap().rsplit('/').next().unwrap();
    let row = server().cluster.admin("postgres").query_one(sql, &[&database]).unwrap();
    let (all, encrypted): (i64, i64) = (row.get(0), row.get(1));
    assert!(all >= 2 && encrypted == all, "{encrypted} of {all} are encrypted");
}

#[rstest]
#[case::other_authority(
    "localhost",
    "geheim",
    "sslmode=verify-full&sslrootcert=OTHER",
    "invalid peer certificate"
)]
#[case::other_authority_where_it_is_named(
    "localhost",
    "geheim",
    "sslmode=require&sslrootcert=OTHER",
    "invalid peer certificate"
)]
#[case::nobody_this_machine_knows("localhost", "geheim", "sslmode=verify-full", "UnknownIssuer")]
#[case::other_host(
    "127.0.0.1",
    "geheim",
    "sslmode=verify-full&sslrootcert=OURS",
    "not valid for name"
)]
#[case::other_host_by_the_right_authority(
    "127.0.0.1",
    "geheim",
    "sslmode=verify-ca&sslrootcert=OURS",
    "not valid for name"
)]
#[case::in_the_clear("localhost", "geheim", "sslmode=disable", "no encryption")]
#[case::wrong_password("localhost", "falsch", "sslmode=require", "password authentication failed")]
fn unverified_server_is_refused(
    #[case] host: &str,
    #[case] password: &str,
    #[case] rest: &str,
    #[case] message: &str,
) {
    let error = PostgresStore::open(&server().url(host, password, rest)).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, StoreError::Unavailable(_)) && text.contains(message), "{text}");
    assert!(!text.contains(password), "{text}");
}

/// A certificate of X.509 version 1, and its key: what Citus creates, and the manual of PostgreSQL
/// describes. Nothing but these tests uses them.
const V1_CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBIzCBywIUO0U9H1ZIcF7PybDxCsb3QQNoUMIwCgYIKoZIzj0EAwIwFDESMBAG
A1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyOTEyMTAyNloYDzIxMjYxMTA1MTIxMDI2
WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AASy0Xdz+uwsz0OutwnH6KLZSk5e5RKWHOHDavKMEGWgBnvxQxTnBbVAvZ6xrSkg
veGC2OUgpdwljqrJME24DZ7oMAoGCCqGSM49BAMCA0cAMEQCIGZmaX0HYabzFscS
5iXLLpKrFGLtra28cHz3ihbjZrYVAiASxUCG33w/CUwUSPL51jPr5Eeat2xQZzwJ
K4OlRQGeBg==
-----END CERTIFICATE-----
";
const V1_KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgHH4MHqE59nMECNCr
RJHj9mEDraIyE7FKMO/g74yIVTChRANCAASy0Xdz+uwsz0OutwnH6KLZSk5e5RKW
HOHDavKMEGWgBnvxQxTnBbVAvZ6xrSkgveGC2OUgpdwljqrJME24DZ7o
-----END PRIVATE KEY-----
";

/// Starts a server with a certificate of version 1.
fn server_of_version_1(hba: &str, setting: &str) -> Cluster {
    let cluster = Cluster::start_with(|data| {
        write(data, "server.crt", V1_CERTIFICATE);
        write(data, "server.key", V1_KEY);
        write(data, "pg_hba.conf", &format!("local all all trust\n{hba}\n"));
        format!("ssl = on\n{setting}")
    });
    let role = "CREATE ROLE shop LOGIN SUPERUSER PASSWORD 'geheim'";
    cluster.admin("postgres").batch_execute(role).unwrap();
    cluster
}

fn open(cluster: &Cluster, rest: &str) -> Result<PostgresStore, StoreError> {
    let port = cluster.port();
    PostgresStore::open(&format!("postgres://shop:geheim@localhost:{port}/postgres?{rest}"))
}

/// Returns true if the store's connections are encrypted.
fn is_encrypted(cluster: &Cluster) -> bool {
    let sql = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
               WHERE application_name = 'commerce'";
    cluster.admin("postgres").query_one(sql, &[]).unwrap().get(0)
}

#[rstest]
fn certificate_of_version_1_is_accepted_without_verification(
    #[values("TLSv1.2", "TLSv1.3")] version: &str,
) {
    let setting =
        format!("ssl_min_protocol_version = '{version}'\nssl_max_protocol_version = '{version}'");
    let cluster = server_of_version_1("hostssl all all 127.0.0.1/32 scram-sha-256", &setting);
    for rest in ["", "sslmode=prefer", "sslmode=require", "sslmode=require&channel_binding=require"]
    {
        let shop = Shop::open(open(&cluster, rest).unwrap());
        shop.call(AddCustomer::new("Kim")).run().unwrap();
        assert!(is_encrypted(&cluster), "{rest}");
    }
    let error = open(&cluster, "sslmode=verify-full").unwrap_err();
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
}

#[rstest]
#[case::by_its_rules("hostnossl all all 127.0.0.1/32 scram-sha-256", "", "SSL encryption")]
#[case::by_its_protocol(
    "host all all 127.0.0.1/32 scram-sha-256",
    "ssl_min_protocol_version = 'TLSv1'\nssl_max_protocol_version = 'TLSv1.1'",
    "fatal alert"
)]
fn prefer_connects_in_the_clear_to_a_server_that_refuses_tls(
    #[case] hba: &str,
    #[case] setting: &str,
    #[case] reason: &str,
) {
    let cluster = server_of_version_1(hba, setting);
    for rest in ["", "sslmode=prefer"] {
        let shop = Shop::open(open(&cluster, rest).unwrap());
        shop.call(AddCustomer::new("Kim")).run().unwrap();
        assert!(!is_encrypted(&cluster));
    }
    let error = open(&cluster, "sslmode=require").unwrap_err();
    assert!(error.to_string().contains(reason), "{error}");
}
