//! The life of a customer on each store: password, sessions, disabling, erasure.

use crate::common::{NOW, On, World, assert_clean, cluster, key};
use commerce_core::limits::FREE_LOGIN_FAILURES;
use commerce_core::testing::{OpenCharge, RecordLoginAttempt, SettleCharge, Settlement};
use commerce_core::{
    AddCustomer, CancelOrder, CartEdit, ChargeBalance, ChargeId, Client, Code, Customer,
    CustomerId, CustomerStatus, DebitBalance, EditCart, EraseCustomer, Error, Money, NewLogin,
    PageRequest, PasswordHash, PayWhen, PlaceOrder, ProductId, Refusal, Role, Session, SessionInfo,
    Shop, SqliteStore, UpdateCustomer, copy,
};
use commerce_postgres::PostgresStore;
use rstest::rstest;
use rusqlite::Connection;

const PASSWORD: &str = "correct horse";
const NEW_PASSWORD: &str = "battery staple";

/// Words that occur in the personal data of the customer to erase and nowhere else.
const TRACES: [&str; 6] =
    ["Quillfeather", "quill.login", "gift for Q", "pm_quill", "Quill II", "quill.other"];

fn code<T>(result: Result<T, Error>) -> Option<Code> {
    result.err().map(|error| error.code())
}

fn set_status(shop: &Shop, customer: CustomerId, status: CustomerStatus) {
    shop.call(UpdateCustomer::to_status(customer, status)).run().unwrap();
}

fn change(shop: &Shop, session: &Session, current: &str, new: &str) -> Result<Customer, Error> {
    shop.change_password_from(Client::default(), &session.token, current, new)
}

fn open_sessions(shop: &Shop, of: Option<CustomerId>, session: &Session) -> Vec<SessionInfo> {
    shop.sessions(of, Some(&session.token), &PageRequest::default()).unwrap().items
}

#[rstest]
fn disabled_customer_is_logged_out_and_learns_why_only_with_the_password(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let shop = &world.shop;
    let kim = shop.register("Kim", "kim", PASSWORD, Role::Customer).unwrap().id;
    let session = shop.log_in("kim", PASSWORD).unwrap();
    set_status(shop, kim, CustomerStatus::Disabled);
    assert_eq!(code(shop.caller(&session.token)), Some(Code::Unauthenticated));
    assert_eq!(code(shop.log_in("kim", "a wrong guess")), Some(Code::InvalidCredentials));
    assert_eq!(code(shop.log_in("kim", PASSWORD)), Some(Code::CustomerDisabled));
    assert_eq!(code(shop.open_session(kim, 60)), Some(Code::CustomerDisabled));
    assert_eq!(shop.customer(kim).unwrap().status, CustomerStatus::Disabled);
    // Staff still acts for the customer.
    let tea = world.product(10, 5).id;
    shop.charge(kim, Money::from_minor(10), &key("charge")).unwrap();
    shop.place_order(PlaceOrder::new(kim, [(tea, 1)]), &key("order")).unwrap();
    set_status(shop, kim, CustomerStatus::Active);
    shop.log_in("kim", PASSWORD).unwrap();
    world.assert_clean();
}

#[rstest]
fn own_password_change_ends_the_other_sessions(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let shop = &world.shop;
    let kim = shop.register("Kim", "kim", PASSWORD, Role::Customer).unwrap().id;
    let (own, other) =
        (shop.log_in("kim", PASSWORD).unwrap(), shop.log_in("kim", PASSWORD).unwrap());
    assert_eq!(code(change(shop, &own, PASSWORD, "password")), Some(Code::InvalidRequest));
    change(shop, &own, PASSWORD, NEW_PASSWORD).unwrap();
    assert_eq!(shop.session(&own.token).unwrap().customer_id, kim);
    assert_eq!(code(shop.caller(&other.token)), Some(Code::Unauthenticated));
    assert_eq!(code(change(shop, &other, NEW_PASSWORD, PASSWORD)), Some(Code::Unauthenticated));
    assert_eq!(code(shop.log_in("kim", PASSWORD)), Some(Code::InvalidCredentials));
    shop.log_in("kim", NEW_PASSWORD).unwrap();
    shop.set_password(kim, PASSWORD).unwrap();
    assert_eq!(code(shop.caller(&own.token)), Some(Code::Unauthenticated));
    shop.log_in("kim", PASSWORD).unwrap();
    world.assert_clean();
}

/// A stolen session must not be a way to guess the password without the back-off of logins.
#[rstest]
fn guesses_of_the_present_password_count_as_failed_logins(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let shop = &world.shop;
    shop.register("Kim", "kim", PASSWORD, Role::Customer).unwrap();
    let session = shop.log_in("kim", PASSWORD).unwrap();
    for _ in 0..=FREE_LOGIN_FAILURES {
        let refused = change(shop, &session, "a wrong guess", NEW_PASSWORD);
        assert_eq!(code(refused), Some(Code::InvalidCredentials));
    }
    let locked = [
        change(shop, &session, PASSWORD, NEW_PASSWORD).map(drop),
        shop.log_in("kim", PASSWORD).map(drop),
    ];
    assert_eq!(locked.map(code), [Some(Code::TooManyRequests); 2]);
    world.clock.set(NOW.plus_seconds(1));
    change(shop, &session, PASSWORD, NEW_PASSWORD).unwrap();
    shop.log_in("kim", NEW_PASSWORD).unwrap();
}

#[rstest]
fn sessions_are_listed_and_revoked_by_public_id(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let shop = &world.shop;
    let (kim, lee) = (world.customer(0).id, world.customer(0).id);
    let open = |customer, seconds| shop.open_session(customer, seconds).unwrap();
    let (own, other, short, of_lee) =
        (open(kim, 600), open(kim, 600), open(kim, 5), open(lee, 600));
    world.clock.set(NOW.plus_seconds(10));
    assert_eq!(code(shop.caller(&short.token)), Some(Code::Unauthenticated));
    let listed = open_sessions(shop, Some(kim), &own);
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().all(|row| row.id.len() == 16 && row.customer_id == kim));
    assert_eq!(listed.iter().filter(|row| row.current).count(), 1);
    assert_eq!(open_sessions(shop, None, &own).len(), 3);
    let other_id = &listed.iter().find(|row| !row.current).unwrap().id;
    // Pages of one row reach the same sessions.
    let (mut paged, mut cursor) = (Vec::new(), None);
    loop {
        let page = shop.sessions(None, None, &PageRequest { limit: 1, cursor }).unwrap();
        paged.extend(page.items.into_iter().map(|row| row.id));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(
        paged,
        open_sessions(shop, None, &own).into_iter().map(|row| row.id).collect::<Vec<_>>()
    );

    for (of, id) in
        [(Some(lee), other_id.as_str()), (None, "0123456789abcdef"), (None, "x"), (None, "")]
    {
        assert_eq!(code(shop.revoke_session(None, of, id)), Some(Code::SessionNotFound), "{id}");
    }
    assert_eq!(shop.revoke_session(None, Some(kim), other_id).unwrap().id, kim);
    assert_eq!(code(shop.caller(&other.token)), Some(Code::Unauthenticated));
    shop.caller(&own.token).unwrap();
    shop.caller(&of_lee.token).unwrap();
    assert_eq!(code(shop.revoke_session(None, Some(kim), other_id)), Some(Code::SessionNotFound));
    assert_eq!(
        code(shop.sessions(Some(9.into()), None, &PageRequest::default())),
        Some(Code::CustomerNotFound)
    );
}

/// Of two admins who disable or erase themselves at once, one remains.
#[rstest]
fn last_admin_is_neither_disabled_nor_erased(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let shop = &world.shop;
    let admin = |login: &str| shop.register("Admin", login, PASSWORD, Role::Admin).unwrap().id;
    let (first, second) = (admin("first"), admin("second"));
    let disable = |id| shop.call(UpdateCustomer::to_status(id, CustomerStatus::Disabled));
    let results = std::thread::scope(|scope| {
        let calls = [first, second].map(|id| scope.spawn(move || code(disable(id).run())));
        calls.map(|call| call.join().unwrap())
    });
    let refused = results.iter().filter(|code| **code == Some(Code::LastAdmin)).count();
    assert_eq!((refused, results.contains(&None)), (1, true), "{results:?}");
    let left = if results[0].is_none() { second } else { first };
    assert_eq!(code(shop.call(EraseCustomer { customer_id: left }).run()), Some(Code::LastAdmin));
    shop.call(UpdateCustomer { customer_id: left, name: Some("Root".to_owned()), status: None })
        .run()
        .unwrap();
    assert_eq!(shop.customer(left).unwrap().role, Role::Admin);
    world.assert_clean();
}

/// A customer with personal data in every table, and keys to all of it.
struct Personal {
    id: CustomerId,
    tea: ProductId,
    add: AddCustomer,
}

fn personal(world: &World) -> Personal {
    let shop = &world.shop;
    let tea = world.product(10, 50).id;
    let other = AddCustomer::new("Lee");
    shop.call(other).run().unwrap();
    let login = |login: &str| {
        let password = PasswordHash::new("$argon2id$v=19$...");
        Some(NewLogin { login: login.to_owned(), password, role: Some(Role::Clerk) })
    };
    let balance = Money::from_minor(100);
    let add =
        AddCustomer { balance, login: login("quill.login"), ..AddCustomer::new("Quillfeather") };
    let id = shop.call(add.clone()).key(&key("add")).run().unwrap().id;
    let again = shop.call(AddCustomer { balance: Money::ZERO, ..add.clone() });
    assert_eq!(code(again.key(&key("taken")).run()), Some(Code::LoginTaken));
    let name = Some("Quill II".to_owned());
    shop.call(UpdateCustomer { customer_id: id, name, status: None })
        .key(&key("rename"))
        .run()
        .unwrap();
    shop.open_session(id, 600).unwrap();
    shop.call(RecordLoginAttempt { login: "quill.login".to_owned() }).run().unwrap();
    shop.place_order(PlaceOrder::new(id, [(tea, 1)]), &key("order")).unwrap();
    let note = Some("gift for Q".to_owned());
    for (name, amount) in [("debit", 30), ("debit 2", 10)] {
        let amount = Money::from_minor(amount);
        let debit = shop.call(DebitBalance { customer_id: id, amount, note: note.clone() });
        debit.key(&key(name.replace(' ', "-").as_str())).run().unwrap();
    }
    let without_key = DebitBalance { customer_id: id, amount: Money::from_minor(50), note };
    shop.call(without_key).run().unwrap();
    for (number, settlement) in
        [(1, Settlement::Declined("no money".into())), (2, Settlement::Paid)]
    {
        let charge = OpenCharge {
            customer_id: id,
            amount: Money::from_minor(7),
            payment_method: Some("pm_quill".to_owned()),
            gateway: "double".into(),
            reference: format!("reference-{number}"),
        };
        let charge = shop.call(charge).key(&key(&format!("charge-{number}"))).run().unwrap();
        shop.call(SettleCharge { charge_id: charge.id, settlement }).run().unwrap();
    }
    let edit = CartEdit::Set(tea, 2);
    shop.call(EditCart { customer_id: id, edit }).key(&key("cart")).run().unwrap();
    Personal { id, tea, add }
}

/// Returns all that the store holds as text: each table, or the bytes of the file after it was compacted.
fn everything(world: &World) -> String {
    if let Some(url) = &world.url {
        let mut db = cluster::shared().admin(url.rsplit('/').next().unwrap());
        let tables = "SELECT relname FROM pg_stat_user_tables ORDER BY 1";
        let tables = db.query(tables, &[]).unwrap();
        let mut text = String::new();
        for table in tables {
            let name: String = table.get(0);
            for row in db.query(&format!("SELECT t::text FROM {name} t"), &[]).unwrap() {
                text.push_str(row.get(0));
            }
        }
        return text;
    }
    let path = world.folder.path().join("shop.db");
    let db = Connection::open(&path).unwrap();
    db.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);").unwrap();
    String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
}

fn traces(world: &World) -> Vec<&'static str> {
    let text = everything(world);
    TRACES.into_iter().filter(|trace| text.contains(trace)).collect()
}

#[rstest]
fn erased_customer_leaves_ids_and_amounts_only(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let shop = &world.shop;
    let Personal { id, tea, add } = personal(&world);
    let erase = || shop.call(EraseCustomer { customer_id: id });
    let balance = Money::from_minor(7);
    let (unpaid_orders, pending_charges) = (0, 0);
    let refused = Refusal::CustomerNotErasable {
        customer_id: id,
        balance,
        debt: Money::ZERO,
        unpaid_orders,
        pending_charges,
        pending_refunds: 0,
    };
    assert_eq!(erase().run(), Err(refused.into()));
    shop.call(DebitBalance { customer_id: id, amount: balance, note: None }).run().unwrap();
    let ledger = shop.ledger(id, &PageRequest::first(100)).unwrap().items;
    let is_file = !matches!(on, On::Memory);
    if is_file {
        // The former name was overwritten, but is in the answer of a key.
        let expected: Vec<_> = TRACES.into_iter().filter(|trace| *trace != "quill.other").collect();
        assert_eq!(traces(&world), expected);
    }

    let erased = erase().run().unwrap();
    assert_eq!((erased.id, erased.name.as_str(), erased.login.as_deref()), (id, "erased", None));
    assert_eq!((erased.role, erased.status), (Role::Customer, CustomerStatus::Erased));
    world.assert_clean();
    if is_file {
        assert_eq!(traces(&world), Vec::<&str>::new());
    }

    // Repeated calls get their answers, without the personal data.
    let replay = |name: &str| shop.call(add.clone()).key(&key(name)).outcome();
    let added = replay("add");
    assert!(added.replayed);
    assert_eq!(added.result.as_ref().map(|row| (row.id, row.name.as_str())), Ok((id, "erased")));
    assert_eq!(added.result.unwrap().login, None);
    let again = AddCustomer { balance: Money::ZERO, ..add.clone() };
    let taken = shop.call(again).key(&key("taken")).outcome();
    assert_eq!(taken.result, Err(Refusal::LoginTaken { login: "erased".to_owned() }.into()));
    let edit = CartEdit::Set(tea, 2);
    let cart = shop.call(EditCart { customer_id: id, edit }).key(&key("cart")).outcome();
    assert!(cart.replayed && cart.result.unwrap().items.is_empty());
    let (amount, note) = (Money::from_minor(30), Some("gift for Q".to_owned()));
    let debit =
        shop.call(DebitBalance { customer_id: id, amount, note }).key(&key("debit")).outcome();
    assert!(debit.replayed && debit.result.is_ok());
    let order = shop.place_order(PlaceOrder::new(id, [(tea, 1)]), &key("order")).unwrap();

    // Nothing new begins, and the login is free.
    let refused = [
        code(shop.call(AddCustomer { login: None, ..add.clone() }).run().map(drop)),
        code(shop.call(ChargeBalance { customer_id: id, amount }).run()),
        code(shop.place_order(PlaceOrder::new(id, [(tea, 1)]), &key("order-2"))),
        code(shop.call(UpdateCustomer::to_status(id, CustomerStatus::Active)).run()),
        code(shop.set_credentials(id, "quill.new", PASSWORD, Role::Customer)),
        code(shop.set_password(id, PASSWORD)),
        code(shop.open_session(id, 60)),
        code(shop.log_in("quill.login", PASSWORD)),
    ];
    let erased_code = Some(Code::CustomerErased);
    let expected = [
        None,
        erased_code,
        erased_code,
        erased_code,
        erased_code,
        erased_code,
        erased_code,
        Some(Code::InvalidCredentials),
    ];
    assert_eq!(refused, expected);
    shop.register("Park", "quill.login", PASSWORD, Role::Customer).unwrap();

    // The history stays, and money that comes back can be paid out.
    let kept = shop.ledger(id, &PageRequest::first(100)).unwrap().items;
    let amounts = |rows: &[commerce_core::LedgerEntry]| -> Vec<_> {
        rows.iter().map(|row| (row.id, row.kind, row.amount, row.balance_after)).collect()
    };
    assert_eq!(amounts(&kept), amounts(&ledger));
    assert!(kept.iter().all(|row| row.note.is_none()));
    let cancelled = shop.call(CancelOrder::new(order.id)).key(&key("cancel")).run().unwrap();
    let note = Some("paid out to quill.other".to_owned());
    let debit = DebitBalance { customer_id: id, amount: cancelled.total, note };
    shop.call(debit).key(&key("late")).run().unwrap();
    erase().run().unwrap();
    assert_eq!(erase().run().unwrap(), erased);
    let late = &shop.ledger(id, &PageRequest::first(1)).unwrap().items[0];
    assert_eq!(late.note, None);
    world.assert_clean();
}

#[rstest]
fn customer_with_open_business_is_not_erased(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let shop = &world.shop;
    let (kim, tea) = (world.customer(0).id, world.product(10, 5).id);
    let later = PlaceOrder { pay: PayWhen::Later, ..PlaceOrder::new(kim, [(tea, 1)]) };
    shop.place_order(later, &key("order")).unwrap();
    let charge = OpenCharge {
        customer_id: kim,
        amount: Money::from_minor(7),
        payment_method: None,
        gateway: "double".into(),
        reference: "reference".into(),
    };
    shop.call(charge).run().unwrap();
    let erase = || shop.call(EraseCustomer { customer_id: kim }).run();
    let refused = |unpaid_orders, pending_charges| {
        let (customer_id, balance) = (kim, Money::ZERO);
        Refusal::CustomerNotErasable {
            customer_id,
            balance,
            debt: Money::ZERO,
            unpaid_orders,
            pending_charges,
            pending_refunds: 0,
        }
    };
    assert_eq!(erase(), Err(refused(1, 1).into()));
    let settlement = Settlement::Declined("no".to_owned());
    shop.call(SettleCharge { charge_id: ChargeId::new(1), settlement }).run().unwrap();
    assert_eq!(erase(), Err(refused(1, 0).into()));
    // The hold of the order ends in the commit that erases.
    world.clock.set(NOW.plus_seconds(900));
    erase().unwrap();
    world.assert_clean();
}

#[test]
fn copy_of_a_store_keeps_erased_customers_erased() {
    let world = World::new(On::Sqlite);
    let Personal { id, .. } = personal(&world);
    let amount = Money::from_minor(7);
    world.shop.call(DebitBalance { customer_id: id, amount, note: None }).run().unwrap();
    world.shop.call(EraseCustomer { customer_id: id }).run().unwrap();
    let from = SqliteStore::open(&world.folder.path().join("shop.db")).unwrap();
    let to = PostgresStore::open(&cluster::shared().database()).unwrap();
    copy(&from, &to, &mut |_| {}).unwrap();
    let copied = Shop::open(to);
    assert_eq!(copied.customer(id).unwrap().status, CustomerStatus::Erased);
    assert_clean(&copied);
}
