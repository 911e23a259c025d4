//! Charges by way of a gateway that gets lost, declines, dies and repeats itself: in the end the money at the
//! gateway is the money on the balances, to the unit.

use crate::common::failing::{Failing, Fault};
use crate::common::{NOW, On, assert_clean, cluster, key};
use commerce_core::limits::{MAX_BALANCE, MAX_GATEWAY_CALLS, SETTLE_AFTER_SECONDS};
use commerce_core::{
    AddCustomer, CancellationToken, Charge, ChargeResult, ChargeStatus, Code, CollectRequest,
    Currency, CustomerId, Error, InvalidWebhook, ManualClock, MemoryStore, Money, NewCharge,
    Outcome, PageRequest, PaymentGateway, ReconcileSummary, Refusal, Shop, SimulatedGateway,
    SqliteStore, Store, Timestamp, WebhookError, WebhookEvent, WebhookOutcome,
};
use commerce_postgres::PostgresStore;
use rstest::rstest;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex};
use tempfile::TempDir;

/// What the gateway does when it is asked, once; then it pays.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Play {
    Pay,
    Decline,
    /// The money is collected and the answer gets lost.
    PayUnheard,
    /// Nothing is collected and nobody answers.
    Nothing,
    /// It is declined and the answer gets lost.
    DeclineUnheard,
    /// Whoever asks dies before the gateway has heard of it.
    DieBefore,
    /// Whoever asks dies with the money collected.
    DieAfter,
}

/// A gateway that remembers every reference: its money can be counted.
#[derive(Default)]
struct Bank(Mutex<Books>);

#[derive(Default)]
struct Books {
    /// What was decided for each reference: the money, or that it was declined.
    known: BTreeMap<String, Option<Money>>,
    plays: VecDeque<Play>,
    asked: Vec<CollectRequest>,
}

impl Bank {
    fn will(&self, plays: &[Play]) {
        self.0.lock().unwrap().plays.extend(plays);
    }

    fn money(&self) -> i64 {
        self.0.lock().unwrap().known.values().flatten().map(|money| money.minor()).sum()
    }

    fn references(&self) -> Vec<String> {
        self.0.lock().unwrap().known.keys().cloned().collect()
    }

    fn asked(&self) -> Vec<CollectRequest> {
        self.0.lock().unwrap().asked.clone()
    }
}

impl PaymentGateway for Bank {
    fn name(&self) -> &'static str {
        "bank"
    }

    fn collect(&self, request: &CollectRequest) -> ChargeResult {
        let play = {
            let mut books = self.0.lock().unwrap();
            books.asked.push(request.clone());
            let play = books.plays.pop_front().unwrap_or(Play::Pay);
            let decided = match play {
                Play::Pay | Play::PayUnheard | Play::DieAfter => Some(Some(request.amount)),
                Play::Decline | Play::DeclineUnheard => Some(None),
                Play::Nothing | Play::DieBefore => None,
            };
            if let Some(decided) = decided {
                books.known.entry(request.reference.clone()).or_insert(decided);
            }
            play
        };
        let known = self.0.lock().unwrap().known.get(&request.reference).copied();
        match (play, known) {
            (Play::DieBefore | Play::DieAfter, _) => panic!("the process dies, on purpose"),
            (Play::Pay | Play::Decline, Some(Some(_))) => ChargeResult::Paid,
            (Play::Pay | Play::Decline, Some(None)) => {
                ChargeResult::Declined { reason: "no money".to_owned() }
            }
            _ => ChargeResult::Unknown { detail: "no answer".to_owned() },
        }
    }

    /// `REFERENCE AMOUNT paid|dollars|declined`, signed with the word `bank`.
    fn parse_webhook(
        &self,
        signature: Option<&str>,
        body: &[u8],
        _now: Timestamp,
    ) -> Result<Option<WebhookEvent>, InvalidWebhook> {
        if signature != Some("bank") {
            return Err(InvalidWebhook("not the bank's".to_owned()));
        }
        let words: Vec<_> = std::str::from_utf8(body).unwrap().split(' ').collect();
        let [reference, amount, what] = words[..] else { return Ok(None) };
        let result = match what {
            "declined" => ChargeResult::Declined { reason: "no money".to_owned() },
            _ => ChargeResult::Paid,
        };
        let currency = if what == "dollars" { "USD" } else { "KRW" };
        Ok(Some(WebhookEvent {
            reference: reference.to_owned(),
            amount: Money::from_minor(amount.parse().unwrap()),
            currency: Currency::from_code(currency).unwrap(),
            result,
        }))
    }
}

/// A store and a bank that outlive the shops which are opened on them.
struct Town {
    store: Arc<dyn Store>,
    bank: Arc<Bank>,
    clock: Arc<ManualClock>,
    _folder: TempDir,
}

impl Town {
    fn new(on: On) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = match on {
            On::Memory => Arc::new(MemoryStore::new(Currency::KRW)),
            On::Sqlite => Arc::new(SqliteStore::open(&folder.path().join("shop.db")).unwrap()),
            On::Postgres => Arc::new(PostgresStore::open(&cluster::shared().database()).unwrap()),
        };
        let clock = Arc::new(ManualClock::new(NOW));
        Self { store, bank: Arc::default(), clock, _folder: folder }
    }

    fn shop(&self) -> Shop {
        let bank: Arc<Bank> = Arc::clone(&self.bank);
        Shop::builder().clock(Arc::clone(&self.clock)).gateway(bank).open(Arc::clone(&self.store))
    }

    /// Sweeps until nothing is pending, then counts.
    fn assert_even(&self, shop: &Shop) {
        let swept = (0..3).map(|_| sweep(shop).pending).find(|pending| *pending == 0);
        assert_eq!(swept, Some(0));
        let all = PageRequest { limit: 100, cursor: None };
        assert_eq!(shop.pending_charges(&all).unwrap().items, []);
        assert_eq!(shop.count_pending_charges().unwrap(), 0);
        let balances: i64 = shop
            .customers(&all)
            .unwrap()
            .items
            .iter()
            .map(|customer| shop.balance(customer.id).unwrap().balance.minor())
            .sum();
        assert_eq!(balances, self.bank.money(), "money at the gateway is money on balances");
        assert_clean(shop);
    }
}

fn customer(shop: &Shop) -> CustomerId {
    shop.call(AddCustomer::new("Kim")).run().unwrap().id
}

fn sweep(shop: &Shop) -> ReconcileSummary {
    shop.settle_charges(0, &CancellationToken::default()).unwrap()
}

fn charge(shop: &Shop, customer: CustomerId, amount: i64, name: &str) -> Outcome<Charge> {
    let amount = Money::from_minor(amount);
    let payment_method = Some("card".to_owned());
    shop.charge_from(&NewCharge { customer_id: customer, amount, payment_method }, &key(name))
}

fn balance(shop: &Shop, customer: CustomerId) -> i64 {
    shop.balance(customer).unwrap().balance.minor()
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> Code {
    result.unwrap_err().code()
}

#[rstest]
fn a_charge_is_collected_once_and_answered_the_same_way_ever_after(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let town = Town::new(on);
    let shop = town.shop();
    let kim = customer(&shop);
    let first = charge(&shop, kim, 500, "a");
    let done = first.result.clone().unwrap();
    assert_eq!((done.status, done.balance.minor()), (ChargeStatus::Succeeded, 500));
    shop.debit(kim, Money::from_minor(100), &key("debit")).unwrap();
    let again = charge(&shop, kim, 500, "a");
    assert_eq!((again.replayed, again.result), (true, first.result));
    assert_eq!(shop.charge_of(kim, done.id).unwrap(), done);
    assert_eq!(code(charge(&shop, kim, 501, "a").result), Code::IdempotencyKeyReused);
    let other = shop.charge(kim, Money::from_minor(500), &key("a"));
    assert_eq!(code(other), Code::IdempotencyKeyReused, "from another payment method");
    let asked = town.bank.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].payment_method.as_deref(), Some("card"));
    assert_eq!(asked[0].reference.len(), 32);
    let lee = customer(&shop);
    assert_eq!(code(shop.charge_of(lee, done.id)), Code::ChargeNotFound);
    shop.charge(kim, Money::from_minor(100), &key("back")).unwrap();
    assert_eq!(town.bank.money(), balance(&shop, kim) + 100);
    assert_clean(&shop);
}

#[rstest]
fn a_declined_charge_moves_nothing_and_stays_declined(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let town = Town::new(on);
    let shop = town.shop();
    let kim = customer(&shop);
    town.bank.will(&[Play::Decline]);
    for replayed in [false, true] {
        let outcome = charge(&shop, kim, 500, "a");
        assert_eq!(outcome.replayed, replayed);
        let Err(Error::Refused(Refusal::ChargeDeclined { charge_id, reason })) = outcome.result
        else {
            panic!()
        };
        assert_eq!(reason, "no money");
        let shown = shop.charge_of(kim, charge_id).unwrap();
        assert_eq!((shown.status, shown.failure), (ChargeStatus::Failed, Some(reason)));
    }
    charge(&shop, kim, 500, "b").result.unwrap();
    assert_eq!(balance(&shop, kim), 500);
    town.assert_even(&shop);
}

#[rstest]
#[case::collected(Play::PayUnheard, 500)]
#[case::not_even_heard_of(Play::Nothing, 500)]
#[case::declined(Play::DeclineUnheard, 0)]
fn a_lost_answer_leaves_a_charge_pending_until_somebody_asks_again(
    #[case] play: Play,
    #[case] in_the_end: i64,
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
    #[values(false, true)] swept: bool,
) {
    let town = Town::new(on);
    let shop = town.shop();
    let kim = customer(&shop);
    town.bank.will(&[play, Play::Nothing]);
    for _ in 0..2 {
        let pending = charge(&shop, kim, 500, "a").result.unwrap();
        assert_eq!((pending.status, pending.balance.minor()), (ChargeStatus::Pending, 0));
        let listed = shop.pending_charges(&PageRequest::default()).unwrap().items;
        assert_eq!(listed, [pending]);
        assert_eq!(shop.count_pending_charges().unwrap(), 1);
    }
    if swept {
        let settled = sweep(&shop);
        assert_eq!((settled.pending, settled.last_error), (0, None));
        assert_eq!(settled.succeeded == 1, in_the_end > 0);
        assert_eq!(settled.failed == 1, in_the_end == 0);
    }
    let answer = charge(&shop, kim, 500, "a");
    assert_eq!(answer.replayed, swept);
    match answer.result {
        Ok(charge) => assert_eq!(charge.balance.minor(), in_the_end),
        declined => assert_eq!((code(declined), in_the_end), (Code::ChargeDeclined, 0)),
    }
    let references: Vec<_> = town.bank.asked().into_iter().map(|asked| asked.reference).collect();
    assert!(references.iter().all(|reference| *reference == references[0]));
    town.assert_even(&shop);
}

/// The process dies: before the gateway hears of the charge, with the money collected, or with the answer in
/// hand. Another one finds the charge.
#[rstest]
fn a_crash_at_any_step_loses_no_money_and_makes_none(
    #[values(Play::DieBefore, Play::DieAfter)] play: Play,
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
    #[values(false, true)] repeated: bool,
) {
    let town = Town::new(on);
    let shop = town.shop();
    let kim = customer(&shop);
    town.bank.will(&[play]);
    catch_unwind(AssertUnwindSafe(|| charge(&shop, kim, 500, "a"))).unwrap_err();
    drop(shop);
    let shop = town.shop();
    assert_eq!(balance(&shop, kim), 0);
    if repeated {
        charge(&shop, kim, 500, "a").result.unwrap();
    }
    town.assert_even(&shop);
    assert_eq!(balance(&shop, kim), 500);
}

/// One charge whose n-th step at the store fails; then the caller repeats it, or never comes back. `false`
/// when it has fewer steps.
fn survives(fault: Fault, step: i64, play: Play, repeats: bool) -> bool {
    let town = Town::new(On::Sqlite);
    let kim = customer(&town.shop());
    let failing = Arc::new(Failing::new(Arc::clone(&town.store), fault));
    let shop = Shop::builder()
        .clock(Arc::clone(&town.clock))
        .gateway(Arc::<Bank>::clone(&town.bank))
        .open(Arc::clone(&failing));
    town.bank.will(&[play]);
    failing.fail_at(step);
    let first = charge(&shop, kim, 500, "a").result;
    let struck = failing.heal();
    if repeats {
        let again = charge(&shop, kim, 500, "a").result;
        assert_eq!(again.is_ok(), play != Play::Decline, "step {step}: {first:?} then {again:?}");
    }
    drop(shop);
    let shop = town.shop();
    town.assert_even(&shop);
    let was_told = first.is_ok_and(|charge| charge.status == ChargeStatus::Succeeded);
    assert!(!was_told || balance(&shop, kim) == 500, "step {step}");
    struck
}

#[rstest]
fn a_fault_at_any_step_loses_no_money_and_makes_none(
    #[values(
        Fault::Full,
        Fault::Constraint,
        Fault::Panic,
        Fault::DoneButUnknown,
        Fault::NotDoneAndUnknown
    )]
    fault: Fault,
    #[values(Play::Pay, Play::Decline, Play::PayUnheard)] play: Play,
    #[values(false, true)] repeats: bool,
) {
    let steps = (0..1_000).take_while(|step| survives(fault, *step, play, repeats)).count();
    assert!((4..40).contains(&steps), "a charge opens and settles: {steps} steps");
}

#[rstest]
fn many_who_repeat_a_charge_and_sweep_meanwhile_collect_it_once(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let town = Town::new(on);
    let shop = town.shop();
    let customers: Vec<_> = (0..4).map(|_| customer(&shop)).collect();
    for turn in 0..8 {
        town.bank.will(&[Play::PayUnheard, Play::Nothing, Play::Decline, Play::DeclineUnheard]);
        std::thread::scope(|scope| {
            for number in 0..12 {
                let (shop, customers, bank) = (&shop, &customers, &town.bank);
                scope.spawn(move || {
                    let kim = customers[number % 4];
                    match number / 4 {
                        0 | 1 => drop(charge(shop, kim, 10, &format!("turn-{turn}"))),
                        _ => {
                            sweep(shop);
                            for reference in bank.references() {
                                let says = format!("{reference} 10 declined");
                                shop.handle_webhook(Some("bank"), says.as_bytes()).unwrap();
                            }
                        }
                    }
                });
            }
        });
    }
    // A notice that a charge was declined was a lie now and then: the truth of the bank goes before it.
    for (reference, money) in town.bank.0.lock().unwrap().known.clone() {
        if money.is_some() {
            shop.handle_webhook(Some("bank"), format!("{reference} 10 paid").as_bytes()).unwrap();
        }
    }
    town.assert_even(&shop);
}

#[rstest]
fn notices_settle_a_charge_in_any_order_and_however_often(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
    #[values("paid", "declined paid", "paid declined", "paid paid declined", "declined declined")]
    said: &str,
) {
    let town = Town::new(on);
    let shop = town.shop();
    let kim = customer(&shop);
    town.bank.will(&[Play::PayUnheard]);
    charge(&shop, kim, 500, "a").result.unwrap();
    let reference = town.bank.references().remove(0);
    let tell = |signature, body: &str| shop.handle_webhook(Some(signature), body.as_bytes());
    for what in said.split(' ') {
        let told = tell("bank", &format!("{reference} 500 {what}")).unwrap();
        let WebhookOutcome::Charge(charge) = told else { panic!() };
        assert_ne!(charge.status, ChargeStatus::Pending);
    }
    assert_eq!(balance(&shop, kim), if said.contains("paid") { 500 } else { 0 });
    assert_clean(&shop);
}

#[test]
fn a_notice_is_believed_when_it_is_signed_known_and_of_the_right_amount() {
    let town = Town::new(On::Memory);
    let shop = town.shop();
    let kim = customer(&shop);
    town.bank.will(&[Play::PayUnheard]);
    charge(&shop, kim, 500, "a").result.unwrap();
    let reference = town.bank.references().remove(0);
    let tell = |signature, body: &str| shop.handle_webhook(signature, body.as_bytes());
    let bad = |told| matches!(told, Err(WebhookError::Invalid(_)));
    assert!(bad(tell(None, &format!("{reference} 500 paid"))));
    assert!(bad(tell(Some("thief"), &format!("{reference} 500 paid"))));
    assert!(bad(tell(Some("bank"), &format!("{reference} 501 paid"))));
    assert!(bad(tell(Some("bank"), &format!("{reference} 500 dollars"))));
    assert_eq!(tell(Some("bank"), "hello").unwrap(), WebhookOutcome::Ignored);
    let unknown = WebhookOutcome::UnknownCharge { reference: "x".to_owned() };
    assert_eq!(tell(Some("bank"), "x 500 paid").unwrap(), unknown);
    assert_eq!(balance(&shop, kim), 0);
    let without = Shop::open(Arc::clone(&town.store));
    assert!(bad(without.handle_webhook(Some("bank"), b"x 500 paid")));
    town.assert_even(&shop);
}

#[test]
fn money_that_finds_no_room_waits_for_it() {
    let town = Town::new(On::Sqlite);
    let shop = town.shop();
    let kim = customer(&shop);
    town.bank.will(&[Play::PayUnheard]);
    charge(&shop, kim, 500, "a").result.unwrap();
    let reference = town.bank.references().remove(0);
    let without = Shop::open(Arc::clone(&town.store));
    let most = Money::from_minor(1_000_000_000_000);
    let mut number = 0;
    while without.charge(kim, most, &key(&format!("fill-{number}"))).is_ok() {
        number += 1;
    }
    let rest = Money::from_minor(MAX_BALANCE.minor() - balance(&shop, kim));
    without.charge(kim, rest, &key("rest")).unwrap();

    let settled = sweep(&shop);
    assert_eq!(settled.pending, 1);
    assert!(settled.last_error.unwrap().contains("a balance may hold"));
    let pending = charge(&shop, kim, 500, "a").result.unwrap();
    assert_eq!(pending.status, ChargeStatus::Pending);
    let told = shop.handle_webhook(Some("bank"), format!("{reference} 500 paid").as_bytes());
    let WebhookError::NotSettled(error) = told.unwrap_err() else { panic!() };
    assert_eq!(error.code(), Code::BalanceLimit, "it is to come again");
    assert_eq!(code(charge(&shop, kim, 1, "b").result), Code::BalanceLimit);
    shop.debit(kim, Money::from_minor(500), &key("debit")).unwrap();
    assert_eq!(sweep(&shop), ReconcileSummary { succeeded: 1, ..ReconcileSummary::default() });
    assert_eq!(balance(&shop, kim), MAX_BALANCE.minor());
    assert_clean(&shop);
}

#[rstest]
#[case::just_made_by_a_clock_that_is_ahead(5, 0)]
#[case::of_a_clock_that_was_ahead(24 * 60 * 60, 1)]
fn a_charge_of_the_future_is_asked_about_as_others_are(#[case] ahead: i64, #[case] paid: u64) {
    let town = Town::new(On::Memory);
    let shop = town.shop();
    let kim = customer(&shop);
    town.bank.will(&[Play::PayUnheard]);
    town.clock.set(NOW.plus_seconds(ahead));
    charge(&shop, kim, 500, "a").result.unwrap();
    town.clock.set(NOW);
    let settled = shop.settle_charges(SETTLE_AFTER_SECONDS, &CancellationToken::default()).unwrap();
    assert_eq!(settled, ReconcileSummary { succeeded: paid, ..ReconcileSummary::default() });
    assert_eq!(sweep(&shop).succeeded, 1 - paid);
    town.assert_even(&shop);
}

#[test]
fn a_key_stands_for_its_charge_with_a_gateway_and_without() {
    let town = Town::new(On::Memory);
    let (with, without) = (town.shop(), Shop::open(Arc::clone(&town.store)));
    let kim = customer(&with);
    let ask = |shop: &Shop, name| shop.charge(kim, Money::from_minor(5), &key(name)).unwrap();
    assert_eq!(ask(&without, "a"), ask(&with, "a"));
    assert_eq!(town.bank.asked().len(), 0, "the answer of then");
    town.bank.will(&[Play::PayUnheard]);
    let pending = ask(&with, "b");
    assert_eq!(ask(&without, "b"), pending, "it is the gateway's to say");
    assert_eq!(ask(&with, "b").status, ChargeStatus::Succeeded);
    assert_eq!(balance(&with, kim), 10);
    let method = NewCharge {
        customer_id: kim,
        amount: Money::from_minor(5),
        payment_method: Some("card".to_owned()),
    };
    let refused = without.charge_from(&method, &key("c")).result;
    assert_eq!(code(refused), Code::InvalidRequest, "nobody could take it from there");
    assert_clean(&with);
}

#[test]
fn a_gateway_is_asked_about_its_own_charges_only() {
    let town = Town::new(On::Memory);
    let shop = town.shop();
    let kim = customer(&shop);
    town.bank.will(&[Play::PayUnheard]);
    charge(&shop, kim, 500, "a").result.unwrap();
    let other = Shop::builder().gateway(Arc::new(SimulatedGateway)).open(Arc::clone(&town.store));
    assert_eq!(charge(&other, kim, 500, "a").result.unwrap().status, ChargeStatus::Pending);
    assert_eq!(sweep(&other).pending, 1);
    assert_eq!(sweep(&Shop::open(Arc::clone(&town.store))).pending, 1);
    town.assert_even(&shop);
}

#[test]
fn a_gateway_that_is_down_lets_few_charges_of_one_customer_wait() {
    let town = Town::new(On::Memory);
    let shop = town.shop();
    let (kim, lee) = (customer(&shop), customer(&shop));
    town.bank.will(&[Play::Nothing; 20]);
    for number in 0..10 {
        charge(&shop, kim, 1, &format!("{number}")).result.unwrap();
    }
    assert_eq!(code(charge(&shop, kim, 1, "more").result), Code::TooManyRequests);
    charge(&shop, lee, 1, "a").result.unwrap();
    let page = PageRequest { limit: 4, cursor: None };
    let first = shop.pending_charges(&page).unwrap();
    let second = PageRequest { cursor: first.next_cursor.clone(), ..page };
    let second = shop.pending_charges(&second).unwrap();
    let ids: Vec<_> = first.items.iter().chain(&second.items).map(|row| row.id.get()).collect();
    assert_eq!(ids, (1..=8).collect::<Vec<_>>());
    assert_eq!(
        shop.settle_charges(1, &CancellationToken::default()).unwrap(),
        ReconcileSummary::default(),
        "too young"
    );
    let cancelled = CancellationToken::default();
    cancelled.cancel();
    assert_eq!(shop.settle_charges(0, &cancelled).unwrap(), ReconcileSummary::default());
    town.clock.set(NOW.plus_seconds(30));
    assert_eq!(
        shop.settle_charges(30, &CancellationToken::default()).unwrap().pending,
        9,
        "the bank is down still"
    );
    town.assert_even(&shop);
    charge(&shop, kim, 1, "more").result.unwrap();
    assert_eq!(balance(&shop, kim), 11);
}

/// A gateway that answers nobody until it is let go.
#[derive(Default)]
struct Hanging {
    asked: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl PaymentGateway for Hanging {
    fn name(&self) -> &'static str {
        "hanging"
    }

    fn collect(&self, _request: &CollectRequest) -> ChargeResult {
        let mut asked = self.asked.lock().unwrap();
        asked.0 += 1;
        self.changed.notify_all();
        drop(self.changed.wait_while(asked, |(_, answers)| !*answers).unwrap());
        ChargeResult::Paid
    }
}

#[test]
fn a_gateway_that_hangs_holds_so_many_callers_and_no_more() {
    let hanging = Arc::new(Hanging::default());
    let gateway = Arc::<Hanging>::clone(&hanging);
    let shop = Shop::builder().gateway(gateway).open(MemoryStore::new(Currency::KRW));
    let customers: Vec<_> = (0..=MAX_GATEWAY_CALLS).map(|_| customer(&shop)).collect();
    let ask = |customer| charge(&shop, customer, 5, "a").result.unwrap().status;
    std::thread::scope(|scope| {
        let held: Vec<_> =
            customers[1..].iter().map(|customer| scope.spawn(|| ask(*customer))).collect();
        let asked = hanging.asked.lock().unwrap();
        let all = |(asked, _): &mut (usize, bool)| *asked < MAX_GATEWAY_CALLS;
        drop(hanging.changed.wait_while(asked, all).unwrap());
        assert_eq!(ask(customers[0]), ChargeStatus::Pending, "answered at once");
        hanging.asked.lock().unwrap().1 = true;
        hanging.changed.notify_all();
        for caller in held {
            assert_eq!(caller.join().unwrap(), ChargeStatus::Succeeded);
        }
    });
    assert_eq!(sweep(&shop), ReconcileSummary { succeeded: 1, ..ReconcileSummary::default() });
    assert_eq!(ask(customers[0]), ChargeStatus::Succeeded);
    assert_clean(&shop);
}

#[rstest]
#[case::usual(20_000, "succeeded", "succeeded")]
#[case::declined(402_402, "charge_declined", "charge_declined")]
#[case::lost(408_408, "pending", "succeeded")]
#[case::broken(500_500, "pending", "charge_declined")]
fn the_simulated_gateway_does_as_it_says(
    #[case] amount: i64,
    #[case] at_first: &str,
    #[case] later: &str,
) {
    let clock = Arc::new(ManualClock::new(NOW));
    let shop = Shop::builder()
        .clock(Arc::clone(&clock))
        .gateway(Arc::new(SimulatedGateway))
        .open(MemoryStore::new(Currency::KRW));
    let kim = customer(&shop);
    let ask = || match shop.charge(kim, Money::from_minor(amount), &key("a")) {
        Ok(charge) => serde_json::to_value(charge.status).unwrap(),
        Err(error) => error.code().as_str().into(),
    };
    assert_eq!(ask(), at_first);
    clock.set(NOW.plus_seconds(1));
    assert_eq!(ask(), later);
    assert_clean(&shop);
}
