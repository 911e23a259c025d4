//! Refunds and disputes through a gateway with timeouts, declines, crashes, and notices that come late, twice and in any
//! order: in the end the gateway holds what is on the balances and was spent, less the debts, and money is never both at the
//! payer and spendable.

use crate::common::failing::{Failing, Fault};
use crate::common::{NOW, On, assert_clean, cluster, key};
use commerce_core::{
    AddCustomer, CancellationToken, ChargeResult, Code, CollectRequest, Currency, CustomerId,
    EraseCustomer, Error, InvalidWebhook, ManualClock, MemoryStore, Money, NewCharge, NewRefund,
    Outcome, PageRequest, PaymentGateway, ReconcileSummary, Refund, RefundKind, RefundRequest,
    RefundStatus, Refusal, ReportedRefund, Shop, SimulatedGateway, SqliteStore, Store, Timestamp,
    WebhookError, WebhookEvent, WebhookNotice, WebhookOutcome,
};
use commerce_postgres::PostgresStore;
use rstest::rstest;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// The gateway's behaviour for one request of a refund; further requests are paid back.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Behavior {
    PayBack,
    Decline,
    /// The money is paid back and the answer is lost.
    PayBackAnswerLost,
    /// The request is lost: no money is paid back, and there is no answer.
    RequestLost,
    /// The refund is declined and the answer is lost.
    DeclineAnswerLost,
    /// The calling process dies before the gateway receives the request.
    CrashBefore,
    /// The calling process dies after the money was paid back.
    CrashAfter,
}

#[derive(Default)]
struct Bank(Mutex<Books>);

#[derive(Default)]
struct Books {
    charges: BTreeMap<String, Account>,
    behaviors: VecDeque<Behavior>,
    requests: Vec<RefundRequest>,
}

/// A charge at the bank.
#[derive(Default)]
struct Account {
    collected: i64,
    /// The decision for each reference.
    refunds: BTreeMap<String, (i64, bool)>,
    dashboard: i64,
    /// Disputes, and whether each one has the money.
    disputes: BTreeMap<String, (i64, bool)>,
}

impl Account {
    fn refunded(&self) -> i64 {
        let made = self.refunds.values().filter(|(_, is_made)| *is_made);
        made.map(|(amount, _)| amount).sum::<i64>() + self.dashboard
    }

    fn held(&self) -> i64 {
        let taken = self.disputes.values().filter(|(_, is_taken)| *is_taken);
        self.collected - self.refunded() - taken.map(|(amount, _)| amount).sum::<i64>()
    }
}

impl Bank {
    fn will(&self, behaviors: &[Behavior]) {
        self.0.lock().unwrap().behaviors.extend(behaviors);
    }

    /// The money that the gateway holds.
    fn held(&self) -> i64 {
        self.0.lock().unwrap().charges.values().map(Account::held).sum()
    }

    fn requests(&self) -> Vec<RefundRequest> {
        self.0.lock().unwrap().requests.clone()
    }

    fn references(&self) -> Vec<String> {
        self.0.lock().unwrap().charges.keys().cloned().collect()
    }

    /// Refunds in the dashboard. Returns the notice, or `None` if the charge has no money left.
    fn refund_in_dashboard(&self, charge: &str, amount: i64) -> Option<String> {
        let mut books = self.0.lock().unwrap();
        let account = books.charges.get_mut(charge).unwrap();
        if account.held() < amount {
            return None;
        }
        account.dashboard += amount;
        drop(books);
        Some(self.refunded(charge))
    }

    /// The notice of the refunds so far.
    fn refunded(&self, charge: &str) -> String {
        let books = self.0.lock().unwrap();
        let account = &books.charges[charge];
        let made = account.refunds.iter().filter(|(_, (_, is_made))| *is_made);
        let made = made.map(|(reference, (amount, _))| format!("{reference}={amount}"));
        let all: Vec<_> = made.chain([format!("={}", account.dashboard)]).collect();
        format!("{charge} {} refunded {}", account.refunded(), all.join(","))
    }

    fn dispute(&self, charge: &str, id: &str, amount: i64) -> String {
        let mut books = self.0.lock().unwrap();
        let account = books.charges.get_mut(charge).unwrap();
        account.disputes.insert(id.to_owned(), (amount, true));
        format!("{charge} {amount} opened {id}")
    }

    fn close(&self, charge: &str, id: &str, is_won: bool) -> String {
        let mut books = self.0.lock().unwrap();
        let dispute = books.charges.get_mut(charge).unwrap().disputes.get_mut(id).unwrap();
        dispute.1 = !is_won;
        format!("{charge} {} {} {id}", dispute.0, if is_won { "won" } else { "lost" })
    }
}

impl PaymentGateway for Bank {
    fn name(&self) -> &'static str {
        "bank"
    }

    fn collect(&self, request: &CollectRequest) -> ChargeResult {
        let mut books = self.0.lock().unwrap();
        let account = books.charges.entry(request.reference.clone()).or_default();
        account.collected = request.amount.minor();
        ChargeResult::Paid
    }

    fn refund(&self, request: &RefundRequest) -> ChargeResult {
        let (behavior, known) = {
            let mut books = self.0.lock().unwrap();
            books.requests.push(request.clone());
            let behavior = books.behaviors.pop_front().unwrap_or(Behavior::PayBack);
            let account = books.charges.get_mut(&request.charge_reference).unwrap();
            let amount = request.amount.minor();
            let is_covered = amount <= account.collected - account.refunded();
            let decided = match behavior {
                Behavior::PayBack | Behavior::PayBackAnswerLost | Behavior::CrashAfter => {
                    Some((amount, is_covered))
                }
                Behavior::Decline | Behavior::DeclineAnswerLost => Some((amount, false)),
                Behavior::RequestLost | Behavior::CrashBefore => None,
            };
            if let Some(decided) = decided {
                account.refunds.entry(request.reference.clone()).or_insert(decided);
            }
            (behavior, account.refunds.get(&request.reference).copied())
        };
        match (behavior, known) {
            (Behavior::CrashBefore | Behavior::CrashAfter, _) => panic!("injected crash"),
            (Behavior::PayBack | Behavior::Decline, Some((_, true))) => ChargeResult::Paid,
            (Behavior::PayBack | Behavior::Decline, Some((_, false))) => {
                ChargeResult::Declined { reason: "no money".to_owned() }
            }
            _ => ChargeResult::Unknown { detail: "no answer".to_owned() },
        }
    }

    /// Parses `CHARGE TOTAL refunded REFERENCE=AMOUNT,...` and `CHARGE AMOUNT opened|won|lost DISPUTE`.
    fn parse_webhook(
        &self,
        _signature: Option<&str>,
        body: &[u8],
        _now: Timestamp,
    ) -> Result<Option<WebhookEvent>, InvalidWebhook> {
        let words: Vec<_> = std::str::from_utf8(body).unwrap().split(' ').collect();
        let [reference, amount, what, about] = words[..] else { return Ok(None) };
        let reported = |pair: &str| {
            let (reference, amount) = pair.split_once('=').unwrap();
            ReportedRefund {
                reference: Some(reference.to_owned()).filter(|name| !name.is_empty()),
                amount: Money::from_minor(amount.parse().unwrap()),
            }
        };
        let dispute = about.to_owned();
        let notice = match what {
            "refunded" => {
                WebhookNotice::Refunded { refunds: about.split(',').map(reported).collect() }
            }
            "opened" => WebhookNotice::DisputeOpened { dispute },
            _ => WebhookNotice::DisputeClosed { dispute, is_won: what == "won" },
        };
        let currency = if about == "dollars" { "USD" } else { "KRW" };
        Ok(Some(WebhookEvent {
            reference: reference.to_owned(),
            amount: Money::from_minor(amount.parse().unwrap()),
            currency: Currency::from_code(currency).unwrap(),
            notice,
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
        self.shop_on(Arc::clone(&self.store))
    }

    fn shop_on(&self, store: impl Store + 'static) -> Shop {
        let bank: Arc<Bank> = Arc::clone(&self.bank);
        Shop::builder().clock(Arc::clone(&self.clock)).gateway(bank).open(store)
    }

    /// The money of the customers by our books: balances and spent, less debts.
    fn owed(shop: &Shop) -> i64 {
        let all = PageRequest { limit: 100, cursor: None };
        let mut owed = 0;
        for customer in shop.customers(&all).unwrap().items {
            let balance = shop.balance(customer.id).unwrap();
            assert!(balance.balance >= Money::ZERO && balance.debt >= Money::ZERO);
            owed += balance.balance.minor() - balance.debt.minor();
            let entries = shop.ledger(customer.id, &all).unwrap().items;
            let spent = entries.iter().filter(|entry| entry.kind.as_str() == "debit");
            owed -= spent.map(|entry| entry.amount.minor()).sum::<i64>();
        }
        owed
    }

    /// Asserts that no money is both at the payer and on a balance or spent.
    fn assert_covered(&self, shop: &Shop) {
        let (owed, held) = (Self::owed(shop), self.bank.held());
        assert!(owed <= held, "our books have {owed} and the bank {held}");
    }

    /// Reconciles until nothing is pending, then compares the books.
    fn assert_balanced(&self, shop: &Shop) {
        let pending = (0..3).map(|_| reconcile(shop).pending).find(|pending| *pending == 0);
        assert_eq!(pending, Some(0));
        assert_eq!(shop.count_pending_refunds().unwrap(), 0);
        assert_eq!(Self::owed(shop), self.bank.held(), "the books agree");
        assert_clean(shop);
    }

    /// A customer with a charge of 100.
    fn charged(&self, shop: &Shop) -> (CustomerId, String) {
        let customer_id = shop.call(AddCustomer::new("Kim")).run().unwrap().id;
        let known = self.bank.references();
        let charge =
            NewCharge { customer_id, amount: Money::from_minor(100), payment_method: None };
        shop.charge_from(&charge, &key("charge")).result.unwrap();
        let new = |reference: &String| !known.contains(reference);
        (customer_id, self.bank.references().into_iter().find(new).unwrap())
    }
}

fn reconcile(shop: &Shop) -> ReconcileSummary {
    shop.settle_charges(0, &CancellationToken::default()).unwrap()
}

fn refund_of(shop: &Shop, charge: i64, amount: i64, name: &str) -> Outcome<Refund> {
    let amount = Some(Money::from_minor(amount));
    let refund = NewRefund { charge_id: charge.into(), customer_id: None, amount };
    shop.refund_charge(None, &refund, &key(name), &mut |_| {})
}

fn refund(shop: &Shop, amount: i64, name: &str) -> Outcome<Refund> {
    refund_of(shop, 1, amount, name)
}

fn spend(shop: &Shop, customer: CustomerId, amount: i64, name: &str) -> bool {
    shop.debit(customer, Money::from_minor(amount), &key(name)).is_ok()
}

fn send(shop: &Shop, body: &str) {
    let outcome = shop.handle_webhook(None, body.as_bytes()).unwrap();
    assert!(matches!(outcome, WebhookOutcome::Charge(_)), "{outcome:?}");
}

/// The balance and the debt.
fn money(shop: &Shop, customer: CustomerId) -> (i64, i64) {
    let balance = shop.balance(customer).unwrap();
    (balance.balance.minor(), balance.debt.minor())
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> Code {
    result.unwrap_err().code()
}

fn statuses(shop: &Shop) -> Vec<(RefundKind, RefundStatus)> {
    let refunds = shop.refunds(1.into(), None, &PageRequest::default()).unwrap().items;
    refunds.iter().map(|refund| (refund.kind, refund.status)).collect()
}

#[rstest]
fn refund_is_paid_back_once_and_replayed_unchanged(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let setup = Setup::new(on);
    let shop = setup.shop();
    let (kim, charge) = setup.charged(&shop);
    let first = refund(&shop, 30, "a");
    let done = first.result.clone().unwrap();
    assert_eq!(
        (done.status, done.balance.minor(), first.replayed),
        (RefundStatus::Succeeded, 70, false)
    );
    assert!(spend(&shop, kim, 10, "spend"));
    let again = refund(&shop, 30, "a");
    assert_eq!((again.replayed, again.result), (true, first.result));
    assert_eq!(code(refund(&shop, 31, "a").result), Code::IdempotencyKeyReused);
    assert_eq!(code(refund(&shop, 61, "b").result), Code::InsufficientBalance);
    assert_eq!(code(refund(&shop, 71, "c").result), Code::RefundAboveCharge);
    let requests = setup.bank.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!((requests[0].reference.len(), &requests[0].charge_reference), (32, &charge));
    let page = PageRequest { limit: 1, cursor: None };
    refund(&shop, 20, "d").result.unwrap();
    let listed = shop.refunds(1.into(), Some(kim), &page).unwrap();
    assert_eq!(listed.items, [done]);
    let rest = PageRequest { cursor: listed.next_cursor, ..page };
    assert_eq!(shop.refunds(1.into(), None, &rest).unwrap().items[0].amount.minor(), 20);
    assert_eq!(shop.charge_of(kim, 1.into()).unwrap().refunded.minor(), 50);
    let lee = shop.call(AddCustomer::new("Lee")).run().unwrap().id;
    assert_eq!(code(shop.refunds(1.into(), Some(lee), &page)), Code::ChargeNotFound);
    let of_lee = NewRefund { charge_id: 1.into(), customer_id: Some(lee), amount: None };
    let of_lee = shop.refund_charge(None, &of_lee, &key("e"), &mut |_| {});
    assert_eq!(code(of_lee.result), Code::ChargeNotFound);
    setup.assert_balanced(&shop);
}

#[rstest]
#[case::declined(Behavior::Decline, RefundStatus::Failed)]
#[case::paid_back(Behavior::PayBackAnswerLost, RefundStatus::Succeeded)]
#[case::not_even_heard_of(Behavior::RequestLost, RefundStatus::Succeeded)]
#[case::declined_without_an_answer(Behavior::DeclineAnswerLost, RefundStatus::Failed)]
fn lost_answer_leaves_a_refund_pending_and_its_money_unspendable(
    #[case] behavior: Behavior,
    #[case] in_the_end: RefundStatus,
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
    #[values(false, true)] reconciled: bool,
) {
    let setup = Setup::new(on);
    let shop = setup.shop();
    let (kim, charge) = setup.charged(&shop);
    setup.bank.will(&[behavior]);
    let first = refund(&shop, 60, "a").result.unwrap();
    if behavior != Behavior::Decline {
        assert_eq!((first.status, money(&shop, kim)), (RefundStatus::Pending, (40, 0)));
        assert_eq!(shop.count_pending_refunds().unwrap(), 1);
    }
    setup.assert_covered(&shop);
    assert!(spend(&shop, kim, 40, "spend"));
    for _ in 0..10 {
        send(&shop, &setup.bank.refunded(&charge));
        setup.assert_covered(&shop);
    }
    setup.clock.set(NOW.plus_seconds(60));
    if reconciled {
        let settled = reconcile(&shop);
        let number = u64::from(behavior != Behavior::Decline);
        assert_eq!((settled.pending, settled.succeeded + settled.failed), (0, number));
    }
    let last = refund(&shop, 60, "a").result.unwrap();
    assert_eq!((last.status, last.id), (in_the_end, first.id));
    assert_eq!(last.failure.is_some(), in_the_end == RefundStatus::Failed);
    let back = if in_the_end == RefundStatus::Failed { 60 } else { 0 };
    assert_eq!(money(&shop, kim), (back, 0));
    send(&shop, &setup.bank.refunded(&charge));
    let requests = setup.bank.requests();
    assert!(requests.iter().all(|request| request.reference == requests[0].reference));
    setup.assert_balanced(&shop);
}

/// The process crashes: before the request, or after the money was paid back. Another process reconciles the refund.
#[rstest]
fn crash_at_any_step_of_a_refund_keeps_money_exact(
    #[values(Behavior::CrashBefore, Behavior::CrashAfter)] behavior: Behavior,
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
    #[values(false, true)] repeated: bool,
) {
    let setup = Setup::new(on);
    let shop = setup.shop();
    let (kim, _) = setup.charged(&shop);
    setup.bank.will(&[behavior]);
    catch_unwind(AssertUnwindSafe(|| refund(&shop, 60, "a"))).unwrap_err();
    drop(shop);
    let shop = setup.shop();
    assert_eq!(money(&shop, kim), (40, 0));
    setup.assert_covered(&shop);
    if repeated {
        assert_eq!(refund(&shop, 60, "a").result.unwrap().status, RefundStatus::Succeeded);
    }
    setup.assert_balanced(&shop);
    assert_eq!(money(&shop, kim), (40, 0));
}

/// Makes a refund with a failing n-th step at the store; then the caller repeats it, or does not. Returns false if it has
/// fewer steps.
fn survives(fault: Fault, step: i64, behavior: Behavior, repeats: bool) -> bool {
    let setup = Setup::new(On::Memory);
    let (kim, charge) = setup.charged(&setup.shop());
    let failing = Arc::new(Failing::new(Arc::clone(&setup.store), fault));
    let shop = setup.shop_on(Arc::clone(&failing));
    setup.bank.will(&[behavior]);
    failing.fail_at(step);
    let first = refund(&shop, 60, "a").result;
    let struck = failing.heal();
    setup.assert_covered(&setup.shop());
    if repeats {
        refund(&shop, 60, "a").result.unwrap();
    }
    drop(shop);
    let shop = setup.shop();
    send(&shop, &setup.bank.refunded(&charge));
    setup.assert_balanced(&shop);
    if first.is_ok_and(|refund| refund.status == RefundStatus::Succeeded) {
        assert_eq!(money(&shop, kim), (40, 0), "step {step}");
    }
    struck
}

#[rstest]
fn store_fault_at_any_step_of_a_refund_keeps_money_exact(
    #[values(
        Fault::Full,
        Fault::Constraint,
        Fault::Panic,
        Fault::DoneButUnknown,
        Fault::NotDoneAndUnknown
    )]
    fault: Fault,
    #[values(Behavior::PayBack, Behavior::Decline, Behavior::PayBackAnswerLost)] behavior: Behavior,
    #[values(false, true)] repeats: bool,
) {
    let steps = (0..1_000).take_while(|step| survives(fault, *step, behavior, repeats)).count();
    assert!((4..40).contains(&steps), "a refund opens and settles: {steps} steps");
}

#[rstest]
fn refund_in_the_dashboard_is_taken_once_and_becomes_a_debt_if_spent(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let setup = Setup::new(on);
    let shop = setup.shop();
    let (kim, charge) = setup.charged(&shop);
    assert!(spend(&shop, kim, 80, "spend"));
    let first = setup.bank.refund_in_dashboard(&charge, 15).unwrap();
    let second = setup.bank.refund_in_dashboard(&charge, 35).unwrap();
    for _ in 0..10 {
        for body in [&second, &first] {
            send(&shop, body);
            assert_eq!(money(&shop, kim), (0, 30));
        }
    }
    assert_eq!(statuses(&shop), [(RefundKind::Outside, RefundStatus::Succeeded)]);
    assert_eq!(code(refund(&shop, 50, "a").result), Code::InsufficientBalance);
    setup.assert_balanced(&shop);
    shop.charge(kim, Money::from_minor(50), &key("more")).unwrap();
    assert_eq!(money(&shop, kim), (20, 0));
    setup.assert_balanced(&shop);
}

/// The dashboard refunds while a refund is under way: the bank declines ours, for want of money.
#[rstest]
fn refund_that_the_dashboard_has_made_impossible_fails(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
    #[values("notice first", "result first", "both ways")] order: &str,
) {
    let setup = Setup::new(on);
    let shop = setup.shop();
    let (kim, charge) = setup.charged(&shop);
    setup.bank.will(&[Behavior::RequestLost]);
    refund(&shop, 60, "a").result.unwrap();
    let notice = setup.bank.refund_in_dashboard(&charge, 70).unwrap();
    if order != "result first" {
        send(&shop, &notice);
        assert_eq!(money(&shop, kim), (0, 0));
        setup.assert_covered(&shop);
    }
    reconcile(&shop);
    if order != "notice first" {
        send(&shop, &notice);
    }
    assert_eq!(money(&shop, kim), (30, 0));
    let failed = refund(&shop, 60, "a").result.unwrap();
    assert_eq!(
        (failed.status, failed.failure.as_deref()),
        (RefundStatus::Failed, Some("no money"))
    );
    setup.assert_balanced(&shop);
}

#[rstest]
#[case::lost(&["opened", "lost"], (0, 40), RefundStatus::Succeeded)]
#[case::won(&["opened", "won"], (20, 0), RefundStatus::Failed)]
#[case::lost_first(&["lost", "opened"], (0, 40), RefundStatus::Succeeded)]
#[case::won_first(&["won", "opened"], (20, 0), RefundStatus::Failed)]
fn dispute_is_settled_by_its_notices_in_any_order(
    #[case] notices: &[&str],
    #[case] expected: (i64, i64),
    #[case] status: RefundStatus,
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let setup = Setup::new(on);
    let shop = setup.shop();
    let (kim, charge) = setup.charged(&shop);
    assert!(spend(&shop, kim, 80, "spend"));
    let opened = setup.bank.dispute(&charge, "dp_1", 60);
    let closed = setup.bank.close(&charge, "dp_1", notices.contains(&"won"));
    for notice in notices {
        for _ in 0..10 {
            send(&shop, if *notice == "opened" { &opened } else { &closed });
        }
        assert_eq!(shop.count_pending_refunds().unwrap(), 0, "the bank is not asked about it");
    }
    send(&shop, &opened);
    assert_eq!(money(&shop, kim), expected);
    assert_eq!(statuses(&shop), [(RefundKind::Dispute, status)]);
    let disputed = shop.charge_of(kim, 1.into()).unwrap().disputed.minor();
    assert_eq!(disputed, if status == RefundStatus::Failed { 0 } else { 60 });
    setup.assert_balanced(&shop);
}

#[rstest]
fn disputes_larger_than_the_balance_and_the_charge_become_debts(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let setup = Setup::new(on);
    let shop = setup.shop();
    let (kim, charge) = setup.charged(&shop);
    refund(&shop, 30, "a").result.unwrap();
    let first = setup.bank.dispute(&charge, "dp_1", 120);
    let second = setup.bank.dispute(&charge, "dp_2", 10);
    send(&shop, &second);
    send(&shop, &first);
    assert_eq!(money(&shop, kim), (0, 60));
    setup.assert_balanced(&shop);
    send(&shop, &setup.bank.close(&charge, "dp_1", true));
    send(&shop, &setup.bank.close(&charge, "dp_2", false));
    assert_eq!(money(&shop, kim), (60, 0));
    setup.assert_balanced(&shop);
}

#[rstest]
fn customer_is_not_erased_while_money_may_come_back(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let setup = Setup::new(on);
    let shop = setup.shop();
    let (kim, charge) = setup.charged(&shop);
    let erase = || shop.call(EraseCustomer { customer_id: kim }).run();
    let open = || match erase() {
        Err(Error::Refused(Refusal::CustomerNotErasable { debt, pending_refunds, .. })) => {
            (debt.minor(), pending_refunds)
        }
        other => panic!("{other:?}"),
    };
    setup.bank.will(&[Behavior::RequestLost]);
    refund(&shop, 60, "a").result.unwrap();
    assert!(spend(&shop, kim, 40, "spend"));
    assert_eq!(open(), (0, 1), "a refund");
    reconcile(&shop);
    send(&shop, &setup.bank.dispute(&charge, "dp_1", 30));
    assert_eq!(open(), (30, 1), "a dispute and a debt");
    send(&shop, &setup.bank.close(&charge, "dp_1", false));
    assert_eq!(open(), (30, 0), "a debt");
    shop.charge(kim, Money::from_minor(30), &key("debt")).unwrap();
    erase().unwrap();
    let last = setup.bank.dispute(&charge, "dp_2", 10);
    send(&shop, &last);
    assert_eq!(money(&shop, kim), (0, 10));
    erase().unwrap();
    setup.assert_balanced(&shop);
}

#[test]
fn notice_that_does_not_fit_its_charge_is_refused() {
    let setup = Setup::new(On::Memory);
    let shop = setup.shop();
    let (kim, charge) = setup.charged(&shop);
    let outcome = |body: &str| shop.handle_webhook(None, body.as_bytes());
    let invalid = |body: &str| matches!(outcome(body), Err(WebhookError::Invalid(_)));
    assert!(invalid(&format!("{charge} 10 opened dollars")));
    assert!(invalid(&format!("{charge} 1000000000001 opened dp_1")));
    assert!(invalid(&format!("{charge} -1 refunded =-1")));
    let Err(WebhookError::NotSettled(error)) = outcome(&format!("{charge} 0 opened dp_1")) else {
        panic!()
    };
    assert_eq!(error.code(), Code::InvalidRequest);
    let unknown = WebhookOutcome::UnknownCharge { reference: "x".to_owned() };
    assert_eq!(outcome("x 10 opened dp_1").unwrap(), unknown);
    assert_eq!(money(&shop, kim), (100, 0));
    setup.assert_balanced(&shop);
}

/// Two refunds of the same charge at once, while its customer spends, the dashboard refunds, a dispute runs, and notices
/// come in any order: nothing is paid back or spent twice.
#[rstest]
fn concurrent_refunds_spending_and_notices_keep_money_exact(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let setup = Setup::new(on);
    let shop = setup.shop();
    let charges: Vec<_> = (0..4).map(|_| setup.charged(&shop)).collect();
    for turn in 0..4 {
        setup.bank.will(&[
            Behavior::PayBackAnswerLost,
            Behavior::RequestLost,
            Behavior::Decline,
            Behavior::DeclineAnswerLost,
        ]);
        std::thread::scope(|scope| {
            for number in 0..20_usize {
                let (shop, charges, setup) = (&shop, &charges, &setup);
                scope.spawn(move || {
                    let (kim, charge) = &charges[number % 4];
                    let id = i64::try_from(number % 4).unwrap() + 1;
                    match number / 4 {
                        0 | 1 => drop(refund_of(shop, id, 20, &format!("{turn}-{number}"))),
                        2 => drop(spend(shop, *kim, 15, &format!("{turn}"))),
                        3 if turn == 2 => {
                            let dispute = format!("dp_{id}");
                            send(shop, &setup.bank.dispute(charge, &dispute, 30));
                            send(shop, &setup.bank.close(charge, &dispute, id == 1));
                        }
                        3 => {
                            if let Some(notice) = setup.bank.refund_in_dashboard(charge, 5) {
                                (0..3).for_each(|_| send(shop, &notice));
                            }
                        }
                        _ => {
                            reconcile(shop);
                            send(shop, &setup.bank.refunded(charge));
                        }
                    }
                });
            }
        });
    }
    for (_, charge) in &charges {
        send(&shop, &setup.bank.refunded(charge));
    }
    setup.assert_balanced(&shop);
}

#[rstest]
#[case::usual(20_000, RefundStatus::Succeeded, RefundStatus::Succeeded)]
#[case::declined(402_402, RefundStatus::Failed, RefundStatus::Failed)]
#[case::lost(408_408, RefundStatus::Pending, RefundStatus::Succeeded)]
#[case::broken(500_500, RefundStatus::Pending, RefundStatus::Failed)]
fn simulated_gateway_refunds_by_its_documented_amounts(
    #[case] amount: i64,
    #[case] at_first: RefundStatus,
    #[case] later: RefundStatus,
) {
    let clock = Arc::new(ManualClock::new(NOW));
    let shop = Shop::builder()
        .clock(Arc::clone(&clock))
        .gateway(Arc::new(SimulatedGateway))
        .open(MemoryStore::new(Currency::KRW));
    let kim = shop.call(AddCustomer::new("Kim")).run().unwrap().id;
    shop.charge(kim, Money::from_minor(1_000_000), &key("charge")).unwrap();
    assert_eq!(refund(&shop, amount, "a").result.unwrap().status, at_first);
    clock.set(NOW.plus_seconds(1));
    assert_eq!(refund(&shop, amount, "a").result.unwrap().status, later);
    let back = if later == RefundStatus::Failed { amount } else { 0 };
    assert_eq!(money(&shop, kim), (1_000_000 - amount + back, 0));
    assert_clean(&shop);
}

#[test]
fn gateway_is_asked_about_refunds_of_its_own_charges_only() {
    let setup = Setup::new(On::Memory);
    let shop = setup.shop();
    setup.charged(&shop);
    setup.bank.will(&[Behavior::RequestLost]);
    refund(&shop, 60, "a").result.unwrap();
    let other = Shop::builder().gateway(Arc::new(SimulatedGateway)).open(Arc::clone(&setup.store));
    let mut reasons = Vec::new();
    let new =
        NewRefund { charge_id: 1.into(), customer_id: None, amount: Some(Money::from_minor(60)) };
    let pending =
        other.refund_charge(None, &new, &key("a"), &mut |why| reasons.push(why.to_owned()));
    assert_eq!(pending.result.unwrap().status, RefundStatus::Pending);
    assert_eq!(reasons, ["it belongs to another gateway"]);
    assert_eq!(reconcile(&other).pending, 1);
    assert_eq!(reconcile(&Shop::open(Arc::clone(&setup.store))).pending, 1);
    setup.assert_balanced(&shop);
}
