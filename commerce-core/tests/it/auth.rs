//! Logins and sessions through the library: on each store, and in two shops that share one.

use crate::common::{On, cluster};
use commerce_core::limits::{FREE_LOGIN_FAILURES, SESSION_SECONDS};
use commerce_core::{
    Actor, AddCustomer, Code, Currency, CustomerId, Error, ManualClock, MemoryStore, Role, Shop,
    SqliteStore, Store, Timestamp,
};
use commerce_postgres::PostgresStore;
use rstest::rstest;
use std::sync::Arc;

const PASSWORD: &str = "correct horse";

struct TwoShops {
    open: [Shop; 2],
    clock: Arc<ManualClock>,
    _folder: tempfile::TempDir,
}

/// Opens two shops on one store, like two processes.
fn two_shops(on: On) -> TwoShops {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp::from_unix(1_800_000_000)));
    let open = |store: Arc<dyn Store>| Shop::builder().clock(Arc::clone(&clock)).open(store);
    let file = folder.path().join("shop.db");
    let memory: Arc<dyn Store> = Arc::new(MemoryStore::new(Currency::KRW));
    let database = matches!(on, On::Postgres).then(|| cluster::shared().store());
    let store = || -> Arc<dyn Store> {
        match &database {
            Some(url) => Arc::new(PostgresStore::open(url).unwrap()),
            None if matches!(on, On::Memory) => Arc::clone(&memory),
            None => Arc::new(SqliteStore::open(&file).unwrap()),
        }
    };
    let shops = [open(store()), open(store())];
    TwoShops { open: shops, clock, _folder: folder }
}

fn code<T>(result: Result<T, Error>) -> Option<Code> {
    result.err().map(|error| error.code())
}

/// Text that no store can hold must not reach one.
#[rstest]
fn login_with_nul_is_invalid_on_every_store(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let TwoShops { open: [shop, _], .. } = &two_shops(on);
    assert_eq!(code(shop.log_in("ki\0m", PASSWORD)), Some(Code::InvalidCredentials));
    let refused = shop.register("Kim", "ki\0m", PASSWORD, Role::Customer);
    assert_eq!(code(refused), Some(Code::InvalidRequest));
}

#[test]
fn charge_reference_with_nul_is_not_found() {
    let store = PostgresStore::open(&cluster::shared().store()).unwrap();
    let found = store.snapshot().unwrap().charge_by_reference("re\0ference").unwrap();
    assert_eq!(found, None);
}

#[rstest]
fn session_is_valid_in_every_shop_until_it_ends(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let TwoShops { open: [here, there], clock, .. } = &two_shops(on);
    let kim = here.register("Kim", "kim", PASSWORD, Role::Customer).unwrap();
    let session = there.log_in("kim", PASSWORD).unwrap();
    assert_eq!(session.customer_id, kim.id);
    let caller = here.caller(&session.token).unwrap();
    assert_eq!((caller.actor, caller.role), (Actor::Customer(kim.id), Role::Customer));
    let is_allowed = |customer| caller.is_customer_or(customer, Role::Reader);
    assert!(is_allowed(kim.id) && !is_allowed(CustomerId::new(99)));

    here.log_out(&session.token).unwrap();
    assert_eq!(code(there.caller(&session.token)), Some(Code::Unauthenticated));

    let session = here.log_in("kim", PASSWORD).unwrap();
    clock.set(here.now().plus_seconds(SESSION_SECONDS));
    assert_eq!(code(there.caller(&session.token)), Some(Code::Unauthenticated));
}

#[rstest]
fn new_password_revokes_sessions_of_the_old_one(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let TwoShops { open: [here, there], .. } = &two_shops(on);
    let kim = here.call(AddCustomer::new("Kim")).run().unwrap();
    here.set_credentials(kim.id, "kim", PASSWORD, Role::Clerk).unwrap();
    let session = there.log_in("kim", PASSWORD).unwrap();
    assert_eq!(there.caller(&session.token).unwrap().role, Role::Clerk);
    here.set_credentials(kim.id, "kim", "another horse", Role::Customer).unwrap();
    assert_eq!(code(there.caller(&session.token)), Some(Code::Unauthenticated));
    assert_eq!(code(there.log_in("kim", PASSWORD)), Some(Code::InvalidCredentials));
    let session = there.log_in("kim", "another horse").unwrap();
    assert_eq!(here.caller(&session.token).unwrap().role, Role::Customer);
}

/// The same for an existing login name and an unknown one, so that guesses reveal no names.
#[rstest]
fn failed_logins_are_rate_limited_in_every_shop(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
    #[values("kim", "unknown")] login: &str,
) {
    let TwoShops { open: [here, there], clock, .. } = &two_shops(on);
    here.register("Kim", "kim", PASSWORD, Role::Customer).unwrap();
    for _ in 0..=FREE_LOGIN_FAILURES {
        assert_eq!(code(here.log_in(login, "a wrong guess")), Some(Code::InvalidCredentials));
    }
    assert_eq!(code(there.log_in(login, PASSWORD)), Some(Code::TooManyRequests));
    clock.set(here.now().plus_seconds(1));
    assert_eq!(there.log_in(login, PASSWORD).is_ok(), login == "kim");
    assert_eq!(there.log_in(login, PASSWORD).is_ok(), login == "kim");
}

#[rstest]
#[case::too_short("kim", "1234567", Code::InvalidRequest)]
#[case::too_long("kim", &"x".repeat(129), Code::InvalidRequest)]
#[case::common("kim", "password", Code::InvalidRequest)]
#[case::digits("kim", "12345678", Code::InvalidRequest)]
#[case::keyboard("kim", "1q2w3e4r", Code::InvalidRequest)]
#[case::common_with_a_capital("kim", "Sunshine", Code::InvalidRequest)]
#[case::the_login("kim.park@shop.example", "Kim.Park@shop.example", Code::InvalidRequest)]
#[case::byte_order_mark("kim", "\u{feff}correct horse", Code::InvalidRequest)]
#[case::no_login("", PASSWORD, Code::InvalidRequest)]
#[case::unseen_login("kim\u{200b}", PASSWORD, Code::InvalidRequest)]
#[case::two_words("kim lee", PASSWORD, Code::InvalidRequest)]
#[case::taken_in_capitals("LEE", PASSWORD, Code::LoginTaken)]
#[case::taken("lee", PASSWORD, Code::LoginTaken)]
fn register_refuses_unusable_credentials(
    #[case] login: &str,
    #[case] password: &str,
    #[case] expected: Code,
) {
    let TwoShops { open: [shop, _], .. } = &two_shops(On::Sqlite);
    shop.register("Lee", "lee", PASSWORD, Role::Customer).unwrap();
    assert_eq!(code(shop.register("Kim", login, password, Role::Customer)), Some(expected));
    assert_eq!(shop.customers(&commerce_core::PageRequest::default()).unwrap().items.len(), 1);
}

/// Keyboards and systems produce different Unicode forms of the same letters.
#[rstest]
fn login_and_password_match_in_any_unicode_form(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
    #[values(
        ("Jos\u{e9}", "jose\u{301}", "caf\u{e9} con leche", "cafe\u{301}\u{a0}con leche"),
        ("\u{ae40}", "\u{1100}\u{1175}\u{11b7}", "\u{be44}\u{bc00}\u{bc88}\u{d638} \u{1f970} 1", "\u{1107}\u{1175}\u{1106}\u{1175}\u{11af}\u{1107}\u{1165}\u{11ab}\u{1112}\u{1169} \u{1f970} 1"),
    )]
    typed: (&str, &str, &str, &str),
) {
    let TwoShops { open: [here, there], .. } = &two_shops(on);
    let (login, other_login, password, other_password) = typed;
    let kim = here.register("Kim", login, password, Role::Customer).unwrap();
    let again = there.register("Lee", other_login, password, Role::Customer);
    assert_eq!(code(again), Some(Code::LoginTaken));
    let session = there.log_in(other_login, other_password).unwrap();
    assert_eq!(session.customer_id, kim.id);
    assert_eq!(there.customer_of(other_login).unwrap(), kim);
    // Failed attempts with one form count for the other.
    for _ in 0..=FREE_LOGIN_FAILURES {
        assert_eq!(code(here.log_in(login, "a wrong guess")), Some(Code::InvalidCredentials));
    }
    assert_eq!(code(here.log_in(other_login, password)), Some(Code::TooManyRequests));
}

#[test]
fn secrets_are_neither_debug_printed_nor_stored() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.db");
    let shop = Shop::open(SqliteStore::open(&file).unwrap());
    shop.register("Kim", "kim", PASSWORD, Role::Customer).unwrap();
    let session = shop.log_in("kim", PASSWORD).unwrap();
    assert!(!format!("{session:?}").contains(&session.token));
    drop(shop);
    let bytes = std::fs::read(&file).unwrap();
    for secret in [PASSWORD, session.token.as_str()] {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
}

/// A login that races with the change must not leave a session of the old password.
#[rstest]
fn racing_login_leaves_no_session_of_an_old_password(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let TwoShops { open: [here, there], .. } = &two_shops(on);
    let kim = here.register("Kim", "kim", PASSWORD, Role::Customer).unwrap();
    let opened: Vec<_> = std::thread::scope(|scope| {
        let attempts: Vec<_> =
            (0..6).map(|_| scope.spawn(|| there.log_in("kim", PASSWORD))).collect();
        here.set_credentials(kim.id, "kim", "another horse", Role::Customer).unwrap();
        attempts.into_iter().map(|attempt| attempt.join().unwrap()).collect()
    });
    for session in opened.into_iter().flatten() {
        assert_eq!(code(here.caller(&session.token)), Some(Code::Unauthenticated));
    }
}
