//! Charges through a gateway with timeouts, declines, crashes and duplicate webhooks: in the end
//! the money at the gateway equals the money on the balances, to the unit.

use crate::common::failing::{Failing, Fault};
use crate::common::{NOW, On, assert_clean, cluster, key};
use commerce_core::limits::{MAX_BALANCE, MAX_GATEWAY_CALLS, SETTLE_AFTER_SECONDS};
use commerce_core::{
    AddCustomer, CancellationToken, Charge, ChargeBalance, ChargeResult, ChargeStatus, Code,
    CollectRequest, Currency, CustomerId, Error, InvalidWebhook, ManualClock, MemoryStore, Money,
    NewCharge, Outcome, PageRequest, PaymentGateway, ReconcileSummary, Refusal, Shop,
    SimulatedGateway, SqliteStore, Store, Timestamp, WebhookError, WebhookEvent, WebhookNotice,
    WebhookOutcome,
};
use commerce_postgres::PostgresStore;
use rstest::rstest;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex};
use tempfile::TempDir;

/// The gateway's behaviour for one request; further requests are paid.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Behavior {
    Pay,
    Decline,
    /// The money is collected and the answer is lost.
    PayAnswerLost,
    /// The request is lost: no money is collected, and there is no answer.
    RequestLost,
    /// The charge is declined and the answer is lost.
    DeclineAnswerLost,
    /// The calling process dies before the gateway receives the request.
    CrashBefore,
    /// The calling process dies after the money was collected.
    CrashAfter,
}

/// A gateway that records every reference, so that its money can be counted.
#[derive(Default)]
struct Bank(Mutex<Books>);

#[derive(Default)]
struct Books {
    /// The result for each reference: the collected money, or `None` if declined.
    known: BTreeMap<String, Option<Money>>,
    behaviors: VecDeque<Behavior>,
    requests: Vec<CollectRequest>,
}

impl Bank {
    fn will(&self, behaviors: &[Behavior]) {
        self.0.lock().unwrap().behaviors.extend(behaviors);
    }

    fn money(&self) -> i64 {
        self.0.lock().unwrap().known.values().flatten().map(|money| money.minor()).sum()
    }

    fn references(&self) -> Vec<String> {
        self.0.lock().unwrap().known.keys().cloned().collect()
    }

    fn requests(&self) -> Vec<CollectRequest> {
        self.0.lock().unwrap().requests.clone()
    }
}

impl PaymentGateway for Bank {
    fn name(&self) -> &'static str {
        "bank"
    }

    fn collect(&self, request: &CollectRequest) -> ChargeResult {
        let behavior = {
            let mut books = self.0.lock().unwrap();
            books.requests.push(request.clone());
            let behavior = books.behaviors.pop_front().unwrap_or(Behavior::Pay);
            let decided = match behavior {
                Behavior::Pay | Behavior::PayAnswerLost | Behavior::CrashAfter => {
                    Some(Some(request.amount))
                }
                Behavior::Decline | Behavior::DeclineAnswerLost => Some(None),
                Behavior::RequestLost | Behavior::CrashBefore => None,
            };
            if let Some(decided) = decided {
                books.known.entry(request.reference.clone()).or_insert(decided);
            }
            behavior
        };
        let known = self.0.lock().unwrap().known.get(&request.reference).copied();
        match (behavior, known) {
            (Behavior::CrashBefore | Behavior::CrashAfter, _) => panic!("injected crash"),
            (Behavior::Pay | Behavior::Decline, Some(Some(_))) => ChargeResult::Paid,
            (Behavior::Pay | Behavior::Decline, Some(None)) => {
                ChargeResult::Declined { reason: "no money".to_owned() }
            }
            _ => ChargeResult::Unknown { detail: "no answer".to_owned() },
        }
    }

    /// Parses `REFERENCE AMOUNT paid|dollars|declined`, with the signature `bank`.
    fn parse_webhook(
        &self,
        signature: Option<&str>,
        body: &[u8],
        _now: Timestamp,
    ) -> Result<Option<WebhookEvent>, InvalidWebhook> {
        if signature != Some("bank") {
            return Err(InvalidWebhook("wrong signature".to_owned()));
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
            notice: WebhookNotice::Charge(result),
        }))
    }
}

/// A store and a bank that outlive the shops opened on them.
struct Setup {
    store: Arc<dyn Store>,
    bank: Arc<Bank>,
    clock: Arc<ManualClock>,
    _folder: TempDir,
}

impl Setup {
    fn new(on: On) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = match on {
            On::Memory => Arc::new(MemoryStore::new(Currency::KRW)),
            On::Sqlite => Arc::new(SqliteStore::open(&folder.path().join("shop.db")).unwrap()),
            On::Postgres => Arc::new(PostgresStore::open(&cluster::shared().store()).unwrap()),
        };
        let clock = Arc::new(ManualClock::new(NOW));
        Self { store, bank: Arc::default(), clock, _folder: folder }
    }

    fn shop(&self) -> Shop {
        let bank: Arc<Bank> = Arc::clone(&self.bank);
        Shop::builder().clock(Arc::clone(&self.clock)).gateway(bank).open(Arc::clone(&self.store))
    }

    /// Reconciles until no charge is pending, then compares the sums.
    fn assert_balanced(&self, shop: &Shop) {
        let pending = (0..3).map(|_| reconcile(shop).pending).find(|pending| *pending == 0);
        assert_eq!(pending, Some(0));
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
        assert_eq!(balances, self.bank.money(), "the gateway's money equals the balances");
        assert_clean(shop);
    }
}

fn customer(shop: &Shop) -> CustomerId {
    shop.call(AddCustomer::new("Kim")).run().unwrap().id
}

/// The charges that succeeded, failed and are pending.
fn counts(summary: &ReconcileSummary) -> (u64, u64, u64) {
    (summary.succeeded, summary.failed, summary.pending)
}

fn reconcile(shop: &Shop) -> ReconcileSummary {
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
fn charge_is_collected_once_and_replayed_unchanged(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let setup = Setup::new(on);
    let shop = setup.shop();
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
    let requests = setup.bank.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].payment_method.as_deref(), Some("card"));
    assert_eq!(requests[0].reference.len(), 32);
    let lee = customer(&shop);
    assert_eq!(code(shop.charge_of(lee, done.id)), Code::ChargeNotFound);
    shop.charge(kim, Money::from_minor(100), &key("back")).unwrap();
    assert_eq!(setup.bank.money(), balance(&shop, kim) + 100);
    assert_clean(&shop);
}

#[rstest]
fn declined_charge_moves_no_money_and_stays_declined(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let setup = Setup::new(on);
    let shop = setup.shop();
    let kim = customer(&shop);
    setup.bank.will(&[Behavior::Decline]);
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
    setup.assert_balanced(&shop);
}

#[rstest]
#[case::collected(Behavior::PayAnswerLost, 500)]
#[case::not_even_heard_of(Behavior::RequestLost, 500)]
#[case::declined(Behavior::DeclineAnswerLost, 0)]
fn lost_answer_leaves_a_charge_pending_until_reconciled(
    #[case] behavior: Behavior,
    #[case] in_the_end: i64,
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
    #[values(false, true)] pending: bool,
) {
    let setup = Setup::new(on);
    let shop = setup.shop();
    let kim = customer(&shop);
    setup.bank.will(&[behavior, Behavior::RequestLost]);
    for _ in 0..2 {
        let pending = charge(&shop, kim, 500, "a").result.unwrap();
        assert_eq!((pending.status, pending.balance.minor()), (ChargeStatus::Pending, 0));
        let listed = shop.pending_charges(&PageRequest::default()).unwrap().items;
        assert_eq!(listed, [pending]);
        assert_eq!(shop.count_pending_charges().unwrap(), 1);
    }
    if pending {
        let settled = reconcile(&shop);
        assert_eq!((settled.pending, settled.last_error), (0, None));
        assert_eq!(settled.succeeded == 1, in_the_end > 0);
        assert_eq!(settled.failed == 1, in_the_end == 0);
    }
    let answer = charge(&shop, kim, 500, "a");
    assert_eq!(answer.replayed, pending);
    match answer.result {
        Ok(charge) => assert_eq!(charge.balance.minor(), in_the_end),
        declined => assert_eq!((code(declined), in_the_end), (Code::ChargeDeclined, 0)),
    }
    let references: Vec<_> =
        setup.bank.requests().into_iter().map(|requests| requests.reference).collect();
    assert!(references.iter().all(|reference| *reference == references[0]));
    setup.assert_balanced(&shop);
}

/// The process crashes: before the request, after the money was collected, or with the answer in
/// hand. Another process reconciles the charge.
#[rstest]
fn crash_at_any_step_of_a_charge_keeps_money_exact(
    #[values(Behavior::CrashBefore, Behavior::CrashAfter)] behavior: Behavior,
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
    #[values(false, true)] repeated: bool,
) {
    let setup = Setup::new(on);
    let shop = setup.shop();
    let kim = customer(&shop);
    setup.bank.will(&[behavior]);
    catch_unwind(AssertUnwindSafe(|| charge(&shop, kim, 500, "a"))).unwrap_err();
    drop(shop);
    let shop = setup.shop();
    assert_eq!(balance(&shop, kim), 0);
    if repeated {
        charge(&shop, kim, 500, "a").result.unwrap();
    }
    setup.assert_balanced(&shop);
    assert_eq!(balance(&shop, kim), 500);
}

/// Makes a charge with a failing n-th step at the store; then the caller repeats it, or does not.
/// Returns false if it has fewer steps.
fn survives(fault: Fault, step: i64, behavior: Behavior, repeats: bool) -> bool {
    let setup = Setup::new(On::Sqlite);
    let kim = customer(&setup.shop());
    let failing = Arc::new(Failing::new(Arc::clone(&setup.store), fault));
    let shop = Shop::builder()
        .clock(Arc::clone(&setup.clock))
        .gateway(Arc::<Bank>::clone(&setup.bank))
        .open(Arc::clone(&failing));
    setup.bank.will(&[behavior]);
    failing.fail_at(step);
    let first = charge(&shop, kim, 500, "a").result;
    let struck = failing.heal();
    if repeats {
        let again = charge(&shop, kim, 500, "a").result;
        assert_eq!(
            again.is_ok(),
            behavior != Behavior::Decline,
            "step {step}: {first:?} then {again:?}"
        );
    }
    drop(shop);
    let shop = setup.shop();
    setup.assert_balanced(&shop);
    let acknowledged = first.is_ok_and(|charge| charge.status == ChargeStatus::Succeeded);
    assert!(!acknowledged || balance(&shop, kim) == 500, "step {step}");
    struck
}

#[rstest]
fn store_fault_at_any_step_of_a_charge_keeps_money_exact(
    #[values(
        Fault::Full,
        Fault::Constraint,
        Fault::Panic,
        Fault::DoneButUnknown,
        Fault::NotDoneAndUnknown
    )]
    fault: Fault,
    #[values(Behavior::Pay, Behavior::Decline, Behavior::PayAnswerLost)] behavior: Behavior,
    #[values(false, true)] repeats: bool,
) {
    let steps = (0..1_000).take_while(|step| survives(fault, *step, behavior, repeats)).count();
    assert!((4..40).contains(&steps), "a charge opens and settles: {steps} steps");
}

#[rstest]
fn concurrent_retries_webhooks_and_reconciling_collect_once(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let setup = Setup::new(on);
    let shop = setup.shop();
    let customers: Vec<_> = (0..4).map(|_| customer(&shop)).collect();
    for turn in 0..8 {
        setup.bank.will(&[
            Behavior::PayAnswerLost,
            Behavior::RequestLost,
            Behavior::Decline,
            Behavior::DeclineAnswerLost,
        ]);
        std::thread::scope(|scope| {
            for number in 0..12 {
                let (shop, customers, bank) = (&shop, &customers, &setup.bank);
                scope.spawn(move || {
                    let kim = customers[number % 4];
                    match number / 4 {
                        0 | 1 => drop(charge(shop, kim, 10, &format!("turn-{turn}"))),
                        _ => {
                            reconcile(shop);
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
    // Some webhooks reported a paid charge as declined: the bank's final state takes precedence.
    for (reference, money) in setup.bank.0.lock().unwrap().known.clone() {
        if money.is_some() {
            shop.handle_webhook(Some("bank"), format!("{reference} 10 paid").as_bytes()).unwrap();
        }
    }
    setup.assert_balanced(&shop);
}

#[rstest]
fn webhooks_settle_a_charge_in_any_order_and_number(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
    #[values("paid", "declined paid", "paid declined", "paid paid declined", "declined declined")]
    webhooks: &str,
) {
    let setup = Setup::new(on);
    let shop = setup.shop();
    let kim = customer(&shop);
    setup.bank.will(&[Behavior::PayAnswerLost]);
    charge(&shop, kim, 500, "a").result.unwrap();
    let reference = setup.bank.references().remove(0);
    let send_webhook =
        |signature, body: &str| shop.handle_webhook(Some(signature), body.as_bytes());
    for what in webhooks.split(' ') {
        let outcome = send_webhook("bank", &format!("{reference} 500 {what}")).unwrap();
        let WebhookOutcome::Charge(charge) = outcome else { panic!() };
        assert_ne!(charge.status, ChargeStatus::Pending);
    }
    assert_eq!(balance(&shop, kim), if webhooks.contains("paid") { 500 } else { 0 });
    assert_clean(&shop);
}

#[test]
fn webhook_needs_signature_known_charge_and_right_amount() {
    let setup = Setup::new(On::Memory);
    let shop = setup.shop();
    let kim = customer(&shop);
    setup.bank.will(&[Behavior::PayAnswerLost]);
    charge(&shop, kim, 500, "a").result.unwrap();
    let reference = setup.bank.references().remove(0);
    let send_webhook = |signature, body: &str| shop.handle_webhook(signature, body.as_bytes());
    let bad = |outcome| matches!(outcome, Err(WebhookError::Invalid(_)));
    assert!(bad(send_webhook(None, &format!("{reference} 500 paid"))));
    assert!(bad(send_webhook(Some("thief"), &format!("{reference} 500 paid"))));
    assert!(bad(send_webhook(Some("bank"), &format!("{reference} 501 paid"))));
    assert!(bad(send_webhook(Some("bank"), &format!("{reference} 500 dollars"))));
    assert_eq!(send_webhook(Some("bank"), "hello").unwrap(), WebhookOutcome::Ignored);
    let unknown = WebhookOutcome::UnknownCharge { reference: "x".to_owned() };
    assert_eq!(send_webhook(Some("bank"), "x 500 paid").unwrap(), unknown);
    assert_eq!(balance(&shop, kim), 0);
    let without = Shop::open(Arc::clone(&setup.store));
    assert!(bad(without.handle_webhook(Some("bank"), b"x 500 paid")));
    setup.assert_balanced(&shop);
}

#[test]
fn paid_charge_waits_for_room_below_the_balance_limit() {
    let setup = Setup::new(On::Sqlite);
    let shop = setup.shop();
    let kim = customer(&shop);
    setup.bank.will(&[Behavior::PayAnswerLost]);
    charge(&shop, kim, 500, "a").result.unwrap();
    let reference = setup.bank.references().remove(0);
    let without = Shop::open(Arc::clone(&setup.store));
    let most = Money::from_minor(1_000_000_000_000);
    let charges = MAX_BALANCE.minor() / most.minor();
    let fill = |_| without.call(ChargeBalance { customer_id: kim, amount: most }).submit();
    let filled: Vec<_> = (0..charges).map(fill).collect();
    assert!(filled.into_iter().all(|charge| charge.wait().is_ok()));
    let rest = Money::from_minor(MAX_BALANCE.minor() - balance(&shop, kim));
    without.charge(kim, rest, &key("rest")).unwrap();

    let settled = reconcile(&shop);
    assert_eq!(settled.pending, 1);
    assert!(settled.last_error.unwrap().contains("a balance may hold"));
    let pending = charge(&shop, kim, 500, "a").result.unwrap();
    assert_eq!(pending.status, ChargeStatus::Pending);
    let outcome = shop.handle_webhook(Some("bank"), format!("{reference} 500 paid").as_bytes());
    let WebhookError::NotSettled(error) = outcome.unwrap_err() else { panic!() };
    assert_eq!(error.code(), Code::BalanceLimit, "the gateway must send it again");
    assert_eq!(code(charge(&shop, kim, 1, "b").result), Code::BalanceLimit);
    shop.debit(kim, Money::from_minor(500), &key("debit")).unwrap();
    assert_eq!(counts(&reconcile(&shop)), (1, 0, 0));
    assert_eq!(balance(&shop, kim), MAX_BALANCE.minor());
    assert_clean(&shop);
}

#[rstest]
#[case::just_made_by_a_clock_that_is_ahead(5, 0)]
#[case::of_a_clock_that_was_ahead(24 * 60 * 60, 1)]
fn charge_with_a_future_timestamp_is_reconciled(#[case] ahead: i64, #[case] paid: u64) {
    let setup = Setup::new(On::Memory);
    let shop = setup.shop();
    let kim = customer(&shop);
    setup.bank.will(&[Behavior::PayAnswerLost]);
    setup.clock.set(NOW.plus_seconds(ahead));
    charge(&shop, kim, 500, "a").result.unwrap();
    setup.clock.set(NOW);
    let settled = shop.settle_charges(SETTLE_AFTER_SECONDS, &CancellationToken::default()).unwrap();
    assert_eq!(counts(&settled), (paid, 0, 0));
    assert_eq!(reconcile(&shop).succeeded, 1 - paid);
    setup.assert_balanced(&shop);
}

#[test]
fn idempotency_key_keeps_its_charge_without_the_gateway() {
    let setup = Setup::new(On::Memory);
    let (with, without) = (setup.shop(), Shop::open(Arc::clone(&setup.store)));
    let kim = customer(&with);
    let ask = |shop: &Shop, name| shop.charge(kim, Money::from_minor(5), &key(name)).unwrap();
    assert_eq!(ask(&without, "a"), ask(&with, "a"));
    assert_eq!(setup.bank.requests().len(), 0, "the stored result");
    setup.bank.will(&[Behavior::PayAnswerLost]);
    let pending = ask(&with, "b");
    assert_eq!(ask(&without, "b"), pending, "only the gateway can settle it");
    assert_eq!(ask(&with, "b").status, ChargeStatus::Succeeded);
    assert_eq!(balance(&with, kim), 10);
    let method = NewCharge {
        customer_id: kim,
        amount: Money::from_minor(5),
        payment_method: Some("card".to_owned()),
    };
    let refused = without.charge_from(&method, &key("c")).result;
    assert_eq!(code(refused), Code::InvalidRequest, "no gateway to collect it");
    assert_clean(&with);
}

#[test]
fn gateway_is_asked_about_its_own_charges_only() {
    let setup = Setup::new(On::Memory);
    let shop = setup.shop();
    let kim = customer(&shop);
    setup.bank.will(&[Behavior::PayAnswerLost]);
    charge(&shop, kim, 500, "a").result.unwrap();
    let other = Shop::builder().gateway(Arc::new(SimulatedGateway)).open(Arc::clone(&setup.store));
    assert_eq!(charge(&other, kim, 500, "a").result.unwrap().status, ChargeStatus::Pending);
    assert_eq!(reconcile(&other).pending, 1);
    assert_eq!(reconcile(&Shop::open(Arc::clone(&setup.store))).pending, 1);
    setup.assert_balanced(&shop);
}

#[test]
fn pending_charges_of_one_customer_are_limited() {
    let setup = Setup::new(On::Memory);
    let shop = setup.shop();
    let (kim, lee) = (customer(&shop), customer(&shop));
    setup.bank.will(&[Behavior::RequestLost; 20]);
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
    setup.clock.set(NOW.plus_seconds(30));
    assert_eq!(
        shop.settle_charges(30, &CancellationToken::default()).unwrap().pending,
        9,
        "the bank is still down"
    );
    setup.assert_balanced(&shop);
    charge(&shop, kim, 1, "more").result.unwrap();
    assert_eq!(balance(&shop, kim), 11);
}

/// A gateway that blocks every request until it is released.
#[derive(Default)]
struct Hanging {
    requests: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl PaymentGateway for Hanging {
    fn name(&self) -> &'static str {
        "hanging"
    }

    fn collect(&self, _request: &CollectRequest) -> ChargeResult {
        let mut requests = self.requests.lock().unwrap();
        requests.0 += 1;
        self.changed.notify_all();
        drop(self.changed.wait_while(requests, |(_, answers)| !*answers).unwrap());
        ChargeResult::Paid
    }
}

#[test]
fn hanging_gateway_blocks_a_bounded_number_of_callers() {
    let hanging = Arc::new(Hanging::default());
    let gateway = Arc::<Hanging>::clone(&hanging);
    let shop = Shop::builder().gateway(gateway).open(MemoryStore::new(Currency::KRW));
    let customers: Vec<_> = (0..=MAX_GATEWAY_CALLS).map(|_| customer(&shop)).collect();
    let ask = |customer| charge(&shop, customer, 5, "a").result.unwrap().status;
    std::thread::scope(|scope| {
        let held: Vec<_> =
            customers[1..].iter().map(|customer| scope.spawn(|| ask(*customer))).collect();
        let requests = hanging.requests.lock().unwrap();
        let all = |(requests, _): &mut (usize, bool)| *requests < MAX_GATEWAY_CALLS;
        drop(hanging.changed.wait_while(requests, all).unwrap());
        assert_eq!(ask(customers[0]), ChargeStatus::Pending, "pending at once");
        hanging.requests.lock().unwrap().1 = true;
        hanging.changed.notify_all();
        for caller in held {
            assert_eq!(caller.join().unwrap(), ChargeStatus::Succeeded);
        }
    });
    assert_eq!(counts(&reconcile(&shop)), (1, 0, 0));
    assert_eq!(ask(customers[0]), ChargeStatus::Succeeded);
    assert_clean(&shop);
}

#[rstest]
#[case::usual(20_000, "succeeded", "succeeded")]
#[case::declined(402_402, "charge_declined", "charge_declined")]
#[case::lost(408_408, "pending", "succeeded")]
#[case::broken(500_500, "pending", "charge_declined")]
fn simulated_gateway_follows_its_documented_amounts(
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
