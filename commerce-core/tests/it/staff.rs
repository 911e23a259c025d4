//! Roles, tokens of programs, and the audit trail: on each store, and in two shops that share one.

use crate::common::{On, assert_clean, cluster};
use commerce_core::store::Store;
use commerce_core::{
    Action, Actor, AddCustomer, AddProduct, AdjustStock, Code, Currency, Customer, Error, Key,
    LogFilter, ManualClock, MemoryStore, Money, NewLogin, NewToken, PageRequest, PasswordHash,
    PlaceOrder, ProductId, RevokeToken, Role, SetRole, Shop, SqliteStore, Timestamp, TokenId,
    UpdateProduct,
};
use commerce_postgres::PostgresStore;
use rstest::rstest;
use std::sync::{Arc, Barrier};
use std::thread;

const START: Timestamp = Timestamp::from_unix(1_800_000_000);
const DAY: i64 = 86_400;

struct World {
    /// Two shops on one store, as in two processes.
    here: Shop,
    there: Shop,
    clock: Arc<ManualClock>,
    _folder: tempfile::TempDir,
}

fn world(on: On) -> World {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(START));
    let memory: Arc<dyn Store> = Arc::new(MemoryStore::new(Currency::KRW));
    let database = matches!(on, On::Postgres).then(|| cluster::shared().store());
    let open = || {
        let store: Arc<dyn Store> = match (&database, on) {
            (Some(url), _) => Arc::new(PostgresStore::open(url).unwrap()),
            (None, On::Memory) => Arc::clone(&memory),
            (None, _) => Arc::new(SqliteStore::open(&folder.path().join("shop.db")).unwrap()),
        };
        Shop::builder().clock(Arc::clone(&clock)).open(store)
    };
    let (here, there) = (open(), open());
    World { here, there, clock, _folder: folder }
}

impl World {
    /// Adds a customer with a login and a role.
    fn staff(&self, login: &str, role: Role) -> Customer {
        let password = PasswordHash::new("$argon2id$...");
        let login = NewLogin { login: login.to_owned(), password, role: Some(role) };
        self.here.call(AddCustomer { login: Some(login), ..AddCustomer::new("Kim") }).run().unwrap()
    }

    fn token(&self, role: Role, days: Option<i64>) -> (TokenId, String) {
        let new = NewToken { name: "till".to_owned(), role, days };
        let created = self.here.create_token(Some(Actor::Cli), &new, None).result.unwrap();
        (created.row.id, created.token.unwrap())
    }

    fn log(&self, filter: &LogFilter) -> Vec<(Action, Actor)> {
        let page = self.there.audit_log(filter, &PageRequest::first(100)).unwrap();
        page.items.iter().map(|entry| (entry.action, entry.actor)).collect()
    }
}

fn code<T>(result: Result<T, Error>) -> Option<Code> {
    result.err().map(|error| error.code())
}

fn set(customer: &Customer, role: Role) -> SetRole {
    SetRole { customer_id: customer.id, role }
}

#[rstest]
fn role_counts_at_once_in_open_sessions_of_every_shop(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = world(on);
    let clerk = world.staff("clerk", Role::Clerk);
    let token = world.there.open_session(clerk.id, 600).unwrap().token;
    for role in [Role::Reader, Role::Admin, Role::Admin] {
        world.here.call(set(&clerk, role)).run().unwrap();
        assert_eq!(world.there.caller(&token).unwrap().role, role);
        assert_eq!(world.there.customer(clerk.id).unwrap().role, role);
    }
    assert_eq!(code(world.there.call(set(&clerk, Role::Clerk)).run()), Some(Code::LastAdmin));
    assert_clean(&world.here);
}

/// Each of two admins demotes the other, or both themselves: one stays.
#[rstest]
fn racing_demotions_leave_one_admin(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
    #[values(false, true)] of_other: bool,
) {
    let world = world(on);
    let [one, other] = ["one", "other"].map(|login| world.staff(login, Role::Admin));
    for _ in 0..8 {
        world.here.call(set(&one, Role::Admin)).run().unwrap();
        world.here.call(set(&other, Role::Admin)).run().unwrap();
        let barrier = Barrier::new(2);
        let demote = |shop: &Shop, who: &Customer| {
            barrier.wait();
            code(shop.call(set(who, Role::Customer)).run())
        };
        let (here, there) = if of_other { (&other, &one) } else { (&one, &other) };
        let codes = thread::scope(|scope| {
            let demoted = scope.spawn(|| demote(&world.there, there));
            [demote(&world.here, here), demoted.join().unwrap()]
        });
        let refused = Some(Code::LastAdmin);
        assert!(codes == [None, refused] || codes == [refused, None], "{codes:?}");
    }
    assert_clean(&world.here);
}

#[rstest]
fn token_is_valid_in_every_shop_until_it_is_revoked_or_expires(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = world(on);
    let (id, token) = world.token(Role::Clerk, None);
    let caller = world.there.caller(&token).unwrap();
    assert_eq!(
        (caller.actor, caller.role, caller.customer_id()),
        (Actor::Token(id), Role::Clerk, None)
    );
    assert_eq!(code(world.there.caller("ct_0123456789")), Some(Code::Unauthenticated));
    assert_eq!(code(world.there.session(&token)), Some(Code::Unauthenticated), "no session");
    let revoked = world.here.call(RevokeToken { token_id: id }).run().unwrap();
    assert_eq!(revoked.revoked_at, Some(START));
    assert_eq!(code(world.there.caller(&token)), Some(Code::Unauthenticated));

    let (_, token) = world.token(Role::Reader, Some(2));
    world.clock.set(START.plus_seconds(2 * DAY - 1));
    assert_eq!(world.there.caller(&token).unwrap().role, Role::Reader);
    world.clock.set(START.plus_seconds(2 * DAY));
    assert_eq!(code(world.there.caller(&token)), Some(Code::Unauthenticated));
    assert_clean(&world.here);
}

#[rstest]
fn last_use_of_a_token_is_recorded_once_a_day(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let World { here, there, clock, .. } = &world(on);
    let new = NewToken { name: "till".to_owned(), role: Role::Reader, days: None };
    let created = here.create_token(None, &new, None).result.unwrap();
    let (id, token) = (created.row.id, created.token.unwrap());
    let last = || here.token(id).unwrap().last_used_on();
    assert_eq!(last(), None);
    for (seconds, day) in [(0, "2027-01-15"), (60, "2027-01-15"), (DAY, "2027-01-16")] {
        clock.set(START.plus_seconds(seconds));
        there.caller(&token).unwrap();
        // A call that is submitted later waits for the record, which no request waits for.
        there.call(AddCustomer::new("Kim")).run().unwrap();
        assert_eq!(last().as_deref(), Some(day));
    }
}

/// The key makes one token; its secret is in the first answer only.
#[rstest]
fn repeated_creation_returns_the_token_without_its_secret(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = world(on);
    let (new, key) = (
        NewToken { name: "till".to_owned(), role: Role::Admin, days: Some(9) },
        Key::new("a").unwrap(),
    );
    let first = world.here.create_token(None, &new, Some(&key));
    let again = world.there.create_token(None, &new, Some(&key));
    let (first, second) = (first.result.unwrap(), again.result.unwrap());
    assert!(again.replayed && first.token.is_some() && second.token.is_none());
    assert_eq!((second.row.id, second.row.expires_at), (first.row.id, first.row.expires_at));
    assert_eq!(world.here.tokens(&PageRequest::default()).unwrap().items.len(), 1);
    assert_clean(&world.here);
}

#[rstest]
fn log_has_every_change_of_staff_newest_first(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = world(on);
    let (clerk, kim) = (world.staff("clerk", Role::Clerk), world.staff("kim", Role::Customer));
    let (id, _) = world.token(Role::Clerk, None);
    let (clerk, token) = (Actor::Customer(clerk.id), Actor::Token(id));
    let shop = &world.here;
    let tea = AddProduct::new("Tea", Money::from_minor(100), 9);
    let tea: ProductId = shop.call(tea).actor(Some(clerk)).run().unwrap().id;
    let order = PlaceOrder::new(kim.id, [(tea, 1)]);
    let charge = |actor, key: &str| {
        let new = commerce_core::NewCharge {
            customer_id: kim.id,
            amount: Money::from_minor(500),
            payment_method: None,
        };
        shop.charge_by(actor, &new, &Key::new(key).unwrap(), &mut |_| {}).result.unwrap();
    };
    charge(Some(token), "by-token");
    world.clock.set(START.plus_seconds(100));
    charge(Some(Actor::Customer(kim.id)), "by-kim");
    shop.call(order.clone()).actor(Some(Actor::Customer(kim.id))).run().unwrap();
    shop.call(order.clone()).actor(Some(Actor::Cli)).run().unwrap();
    shop.call(order).actor(Some(clerk)).run().unwrap();
    let refused = AdjustStock { product_id: tea, delta: -99, reason: "lost".to_owned() };
    assert!(shop.call(refused).actor(Some(clerk)).run().is_err());
    let price =
        UpdateProduct { price: Some(Money::from_minor(120)), ..UpdateProduct::archive(tea) };
    shop.call(UpdateProduct { status: None, ..price }).actor(Some(Actor::Cli)).run().unwrap();

    let all = LogFilter::default();
    let expected = [
        (Action::ProductUpdated, Actor::Cli),
        (Action::OrderPlaced, clerk),
        // Without a gateway only staff add money: recorded for themselves, too.
        (Action::BalanceCharged, Actor::Customer(kim.id)),
        (Action::BalanceCharged, token),
        (Action::ProductAdded, clerk),
        (Action::TokenCreated, Actor::Cli),
    ];
    assert_eq!(world.log(&all), expected);
    let of = |actor| expected.into_iter().filter(|(_, own)| *own == actor).collect::<Vec<_>>();
    for actor in [clerk, token, Actor::Cli, Actor::Token(TokenId::new(9))] {
        assert_eq!(world.log(&LogFilter { actor: Some(actor), from: None }), of(actor));
    }
    let from = Some(START.plus_seconds(100));
    assert_eq!(world.log(&LogFilter { actor: None, from }), expected[..3]);
    assert_eq!(world.log(&LogFilter { actor: Some(clerk), from }), expected[1..2]);

    let page = world.there.audit_log(&all, &PageRequest::first(1)).unwrap();
    let changes = serde_json::to_string(&page.items[0].changes).unwrap();
    assert_eq!(changes, r#"{"price":{"from":100,"to":120}}"#);
    let (mut actions, mut request) = (Vec::new(), PageRequest::first(2));
    loop {
        let page = world.there.audit_log(&all, &request).unwrap();
        actions.extend(page.items.into_iter().map(|entry| (entry.action, entry.actor)));
        request.cursor = page.next_cursor;
        if request.cursor.is_none() {
            break;
        }
    }
    assert_eq!(actions, expected);
    let other = PageRequest { limit: 2, cursor: page.next_cursor };
    let filtered = LogFilter { actor: Some(clerk), from: None };
    assert_eq!(code(world.there.audit_log(&filtered, &other)), Some(Code::InvalidRequest));
    assert_clean(&world.here);
}
