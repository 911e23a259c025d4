//! Refunds, disputes and debts: the rules that open and settle them, and those that record notices of the gateway.

use crate::gateway::ReportedRefund;
use crate::id::{ChargeId, CustomerId, ProductId, RefundId};
use crate::limits::{MAX_AMOUNT, MAX_BALANCE};
use crate::model::refund::{Refund, RefundKind, RefundStatus};
use crate::model::wallet::{ChargeRow, ChargeStatus, EntryKind};
use crate::money::Money;
use crate::rule::cancel_order::CancelOrder;
use crate::rule::charge_balance::ChargeBalance;
use crate::rule::context::Output;
use crate::rule::debit_balance::DebitBalance;
use crate::rule::open_charge::OpenCharge;
use crate::rule::place_order::PlaceOrder;
use crate::rule::record_notice::{Notice, RecordNotice};
use crate::rule::refund_charge::RefundCharge;
use crate::rule::settle_charge::{SettleCharge, Settlement};
use crate::rule::settle_refund::SettleRefund;
use crate::rule::testing::{NOW, World, code};
use proptest::prelude::*;
use rstest::rstest;
use std::collections::BTreeMap;

const CHARGE: ChargeId = ChargeId::new(1);
const KIM: CustomerId = CustomerId::new(1);

fn open(amount: i64) -> OpenCharge {
    OpenCharge {
        customer_id: KIM,
        amount: Money::from_minor(amount),
        payment_method: None,
        gateway: "double".to_owned(),
        reference: "charge-1".to_owned(),
    }
}

/// A world with a charge of 100 that the gateway has collected, of which the customer has spent some.
fn charged(spent: i64) -> World {
    let mut world = World::default().with_customer(1, 0);
    world.run(open(100)).unwrap();
    world.run(SettleCharge { charge_id: CHARGE, settlement: Settlement::Paid }).unwrap();
    spend(&mut world, spent);
    world.now = NOW.plus_seconds(5);
    world
}

fn spend(world: &mut World, amount: i64) {
    if amount > 0 {
        let amount = Money::from_minor(amount);
        world.run(DebitBalance { customer_id: KIM, amount, note: None }).unwrap();
    }
}

fn refund(amount: i64, reference: &str) -> RefundCharge {
    let amount = Some(Money::from_minor(amount));
    RefundCharge { amount, reference: Some(reference.to_owned()), ..RefundCharge::new(CHARGE) }
}

fn refunded(world: &mut World, request: RefundCharge) -> Refund {
    match world.run(request) {
        Ok(Output::Refund(refund)) => refund,
        other => panic!("{other:?}"),
    }
}

fn settle(world: &mut World, refund_id: RefundId, is_paid: bool) -> Refund {
    let declined = || Settlement::Declined("no\u{7} money".to_owned());
    let settlement = if is_paid { Settlement::Paid } else { declined() };
    match world.run(SettleRefund { refund_id, settlement }) {
        Ok(Output::Refund(refund)) => refund,
        other => panic!("{other:?}"),
    }
}

/// All refunds of the charge at the gateway: requested ones by their references, others without.
fn reports(refunds: &[(Option<&str>, i64)]) -> Notice {
    let reported = |(reference, amount): &(Option<&str>, i64)| ReportedRefund {
        reference: reference.map(str::to_owned),
        amount: Money::from_minor(*amount),
    };
    Notice::Refunded { refunds: refunds.iter().map(reported).collect() }
}

fn opened(dispute: &str, amount: i64) -> Notice {
    Notice::DisputeOpened { dispute: dispute.to_owned(), amount: Money::from_minor(amount) }
}

fn closed(dispute: &str, amount: i64, is_won: bool) -> Notice {
    let (dispute, amount) = (dispute.to_owned(), Money::from_minor(amount));
    Notice::DisputeClosed { dispute, amount, is_won }
}

fn notice(notice: Notice) -> RecordNotice {
    RecordNotice { charge_id: CHARGE, notice }
}

fn row(world: &World) -> ChargeRow {
    world.state.charges.get(CHARGE).unwrap().clone()
}

fn debt(world: &World) -> i64 {
    world.state.accounts.get(KIM).unwrap().debt.minor()
}

/// The balance and the debt.
fn money(world: &World) -> (i64, i64) {
    (world.balance(1), debt(world))
}

/// The kinds and amounts of the newest ledger entries.
fn newest(world: &World, number: usize) -> Vec<(EntryKind, i64)> {
    let ledger = &world.state.ledger;
    ledger[ledger.len() - number..].iter().map(|entry| (entry.kind, entry.amount.minor())).collect()
}

/// Asserts that the rows agree: each balance and debt is the sum of its entries, and what went back of each charge is the
/// sum of its refunds, and of its entries.
fn assert_agreement(world: &World) {
    let sum_of = |kinds: &[EntryKind]| -> i64 {
        let entries = world.state.ledger.iter().filter(|entry| kinds.contains(&entry.kind));
        entries.map(|entry| entry.amount.minor()).sum()
    };
    let all: i64 = world.state.ledger.iter().map(|entry| entry.amount.minor()).sum();
    assert_eq!(money(world), (all, sum_of(&[EntryKind::Debt])));
    assert!(world.state.ledger.iter().all(|entry| entry.balance_after >= Money::ZERO));
    let row = row(world);
    let taken = |kind: EntryKind| -> i64 {
        let refunds = world.state.refunds_of(CHARGE).filter(|row| row.kind.entry_kind() == kind);
        refunds.map(|row| row.taken().minor()).sum()
    };
    assert_eq!(row.refunded.minor(), taken(EntryKind::ChargeRefund));
    assert_eq!(row.refunded.minor(), -sum_of(&[EntryKind::ChargeRefund]));
    assert_eq!(row.disputed.minor(), taken(EntryKind::Chargeback));
    assert_eq!(row.disputed.minor(), -sum_of(&[EntryKind::Chargeback]));
    assert!(row.refunded <= row.amount, "{row:?}");
}

#[test]
fn requested_refund_takes_its_money_before_the_gateway_is_asked() {
    let mut world = charged(20);
    let refund = refunded(&mut world, refund(50, "r"));
    assert_eq!((refund.status, refund.kind), (RefundStatus::Pending, RefundKind::Requested));
    assert_eq!((refund.balance.minor(), refund.created_at), (30, world.now));
    assert_eq!(money(&world), (30, 0));
    assert_eq!(newest(&world, 1), [(EntryKind::ChargeRefund, -50)]);
    assert_eq!((row(&world).refunded.minor(), row(&world).refundable().minor()), (50, 50));
    let stored = world.state.refunds.get(refund.id).unwrap();
    assert_eq!((stored.reference.as_deref(), stored.settled_at), (Some("r"), None));
    assert_agreement(&world);
}

#[test]
fn refund_without_a_gateway_succeeds_at_once() {
    let mut world = World::default().with_customer(1, 0);
    let amount = Money::from_minor(70);
    world.run(ChargeBalance { customer_id: KIM, amount }).unwrap();
    let refund = refunded(&mut world, RefundCharge::new(CHARGE));
    assert_eq!((refund.status, refund.amount), (RefundStatus::Succeeded, amount));
    assert_eq!(money(&world), (0, 0));
    assert_eq!(world.state.refunds.get(refund.id).unwrap().settled_at, Some(world.now));
    assert_agreement(&world);
}

#[rstest]
#[case::zero(refund(0, "r"), "invalid_request")]
#[case::negative(refund(-1, "r"), "invalid_request")]
#[case::above_limit(refund(MAX_AMOUNT.minor() + 1, "r"), "invalid_request")]
#[case::no_reference_for_the_gateway(
    RefundCharge { reference: None, ..refund(1, "r") },
    "invalid_request"
)]
#[case::unknown(RefundCharge { charge_id: ChargeId::new(9), ..refund(1, "r") }, "charge_not_found")]
#[case::of_another_customer(
    RefundCharge { customer_id: Some(CustomerId::new(2)), ..refund(1, "r") },
    "charge_not_found"
)]
#[case::pending(RefundCharge { charge_id: ChargeId::new(2), ..refund(1, "r") }, "charge_not_refundable")]
#[case::failed(RefundCharge { charge_id: ChargeId::new(3), ..refund(1, "r") }, "charge_not_refundable")]
#[case::above_the_charge(refund(101, "r"), "refund_above_charge")]
#[case::above_the_rest(RefundCharge { charge_id: ChargeId::new(4), ..refund(51, "r") }, "refund_above_charge")]
#[case::nothing_left(
    RefundCharge { charge_id: ChargeId::new(5), amount: None, ..refund(1, "r") },
    "refund_above_charge"
)]
#[case::disputed(RefundCharge { charge_id: ChargeId::new(6), ..refund(11, "r") }, "refund_above_charge")]
#[case::spent(refund(100, "r"), "insufficient_balance")]
fn refund_charge_is_refused(#[case] request: RefundCharge, #[case] refused: &str) {
    let mut world = charged(0).with_customer(2, 0);
    let mut charge = |settlement: Option<Settlement>| {
        let Ok(Output::Charge(charge)) = world.run(open(100)) else { panic!() };
        if let Some(settlement) = settlement {
            world.run(SettleCharge { charge_id: charge.id, settlement }).unwrap();
        }
    };
    charge(None);
    charge(Some(Settlement::Declined("no".to_owned())));
    for _ in 4..=6 {
        charge(Some(Settlement::Paid));
    }
    let of =
        |charge, amount| RefundCharge { charge_id: ChargeId::new(charge), ..refund(amount, "x") };
    world.run(of(4, 50)).unwrap();
    world.run(of(5, 100)).unwrap();
    let dispute = opened("d", 90);
    world.run(RecordNotice { charge_id: ChargeId::new(6), notice: dispute }).unwrap();
    let balance = world.balance(1);
    spend(&mut world, balance - 99);
    assert_eq!(code(world.refused(request)), refused);
    assert_eq!(money(&world), (99, 0));
}

#[test]
fn amount_of_a_refund_defaults_to_the_rest_of_the_charge() {
    let mut world = charged(0);
    refunded(&mut world, refund(30, "a"));
    let rest = refunded(&mut world, RefundCharge { amount: None, ..refund(1, "b") });
    assert_eq!(rest.amount.minor(), 70);
    assert_agreement(&world);
}

/// The results in order (true: paid back), and the balance in the end.
#[rstest]
#[case::paid(&[true], 50)]
#[case::declined(&[false], 100)]
#[case::paid_twice(&[true, true], 50)]
#[case::declined_twice(&[false, false], 100)]
#[case::declined_after_paid(&[true, false], 50)]
#[case::paid_after_declined(&[false, true], 100)]
fn first_result_settles_a_refund(#[case] results: &[bool], #[case] balance: i64) {
    let mut world = charged(0);
    let id = refunded(&mut world, refund(50, "r")).id;
    world.now = NOW.plus_seconds(60);
    let first = settle(&mut world, id, results[0]);
    world.now = NOW.plus_seconds(90);
    for result in &results[1..] {
        assert_eq!(settle(&mut world, id, *result), first);
    }
    assert_eq!(money(&world), (balance, 0));
    let stored = world.state.refunds.get(id).unwrap();
    let (status, failure) = if results[0] {
        (RefundStatus::Succeeded, None)
    } else {
        (RefundStatus::Failed, Some("no  money"))
    };
    assert_eq!((stored.status, stored.failure.as_deref()), (status, failure));
    assert_eq!(stored.settled_at, Some(NOW.plus_seconds(60)));
    assert_eq!(first.balance.minor(), 50, "the balance right after the money left it");
    assert_agreement(&world);
}

#[test]
fn settle_refund_refuses_unknown_refunds_and_full_balances() {
    let mut world = charged(0);
    let id = refunded(&mut world, refund(50, "r")).id;
    world.run(notice(opened("d", 10))).unwrap();
    let dispute = world.state.refunds_of(CHARGE).map(|row| row.id).max().unwrap();
    for unknown in [dispute, RefundId::new(99)] {
        let request = SettleRefund { refund_id: unknown, settlement: Settlement::Paid };
        assert_eq!(code(world.refused(request)), "refund_not_found");
    }
    world.set_balance(1, MAX_BALANCE.minor() - 49);
    let declined = Settlement::Declined("no".to_owned());
    let request = SettleRefund { refund_id: id, settlement: declined };
    assert_eq!(code(world.refused(request)), "balance_limit");
    let stored = world.state.refunds.get(id).unwrap();
    assert_eq!(stored.status, RefundStatus::Pending, "settled once there is room");
}

#[rstest]
#[case::all_of_it_is_there(0, 60, (40, 0))]
#[case::some_was_spent(80, 60, (0, 40))]
#[case::all_was_spent(100, 60, (0, 60))]
#[case::more_than_the_charge(50, 120, (0, 50))]
fn refund_made_at_the_gateway_takes_the_balance_and_leaves_a_debt(
    #[case] spent: i64,
    #[case] reported: i64,
    #[case] expected: (i64, i64),
) {
    let mut world = charged(spent);
    for _ in 0..10 {
        world.run(notice(reports(&[(None, reported)]))).unwrap();
        assert_eq!(money(&world), expected);
    }
    let rows: Vec<_> = world.state.refunds_of(CHARGE).collect();
    assert_eq!(rows.len(), 1);
    let (kind, status) = (RefundKind::Outside, RefundStatus::Succeeded);
    assert_eq!((rows[0].kind, rows[0].status, rows[0].reference.clone()), (kind, status, None));
    assert_eq!(rows[0].amount.minor(), reported.min(100));
    assert_agreement(&world);
}

#[test]
fn later_refunds_at_the_gateway_add_up_and_outdated_notices_change_nothing() {
    let mut world = charged(0);
    for (reported, balance) in [(10, 90), (40, 60), (10, 60), (40, 60), (0, 60), (41, 59)] {
        world.run(notice(reports(&[(None, reported)]))).unwrap();
        assert_eq!(money(&world), (balance, 0));
    }
    assert_eq!(world.state.refunds_of(CHARGE).count(), 3);
    assert_agreement(&world);
}

/// The steps: notices (their requested and other refunds), and the result of the requested refund of 30.
#[rstest]
#[case::notice_before_the_answer(&["notice 30 0", "paid"], 70)]
#[case::notice_after_the_answer(&["paid", "notice 30 0"], 70)]
#[case::notice_twice(&["notice 30 0", "notice 30 0", "paid", "notice 30 0"], 70)]
#[case::refund_of_the_dashboard_before_ours(&["notice 0 50", "paid", "notice 30 50"], 20)]
#[case::refund_of_the_dashboard_after_ours(&["notice 30 0", "notice 30 50", "paid"], 20)]
#[case::ours_is_taken_back_by_the_gateway(&["notice 30 0", "declined", "notice 0 0"], 100)]
#[case::outdated_notice_of_ours(&["declined", "notice 30 0"], 100)]
#[case::dashboard_and_ours_declined(&["notice 0 50", "declined", "notice 0 50"], 50)]
#[case::dashboard_left_too_little(&["notice 0 90", "declined"], 10)]
#[case::dashboard_left_nothing(&["notice 0 100", "declined", "notice 0 100"], 0)]
#[case::dashboard_left_nothing_and_its_notice_is_late(&["declined", "notice 0 100"], 0)]
fn requested_refund_and_those_of_the_dashboard_are_told_apart(
    #[case] steps: &[&str],
    #[case] balance: i64,
    #[values(0, 10, 70)] spent: i64,
) {
    let mut world = charged(spent);
    let id = refunded(&mut world, refund(30, "r")).id;
    for step in steps {
        match step.split(' ').collect::<Vec<_>>()[..] {
            ["paid"] => drop(settle(&mut world, id, true)),
            ["declined"] => drop(settle(&mut world, id, false)),
            ["notice", ours, others] => {
                let sums = [(Some("r"), ours), (None, others)];
                let sums = sums.map(|(reference, sum)| (reference, sum.parse().unwrap()));
                world.run(notice(reports(&sums))).unwrap();
            }
            _ => panic!("{step}"),
        }
        assert_agreement(&world);
    }
    let owned = balance - spent;
    assert_eq!(money(&world), (owned.max(0), (-owned).max(0)));
}

/// Notices of a dispute of 60, the balance and the debt in the end, and the status of its row. 70 was spent.
#[rstest]
#[case::opened("o", (0, 30), Some(RefundStatus::Pending))]
#[case::opened_twice("oo", (0, 30), Some(RefundStatus::Pending))]
#[case::lost("ol", (0, 30), Some(RefundStatus::Succeeded))]
#[case::won("ow", (30, 0), Some(RefundStatus::Failed))]
#[case::lost_before_it_was_opened("lo", (0, 30), Some(RefundStatus::Succeeded))]
#[case::won_before_it_was_opened("wo", (30, 0), Some(RefundStatus::Failed))]
#[case::every_notice_many_times("oowoowwo", (30, 0), Some(RefundStatus::Failed))]
#[case::lost_many_times("lololl", (0, 30), Some(RefundStatus::Succeeded))]
#[case::first_end_is_final("olw", (0, 30), Some(RefundStatus::Succeeded))]
#[case::first_end_is_final_when_won("owl", (30, 0), Some(RefundStatus::Failed))]
#[case::won_alone("ww", (30, 0), Some(RefundStatus::Failed))]
fn dispute_takes_its_money_once_for_any_order_of_notices(
    #[case] notices: &str,
    #[case] expected: (i64, i64),
    #[case] status: Option<RefundStatus>,
) {
    let mut world = charged(70);
    for char in notices.chars() {
        world
            .run(notice(match char {
                'o' => opened("d", 60),
                'l' => closed("d", 60, false),
                _ => closed("d", 60, true),
            }))
            .unwrap();
        assert_agreement(&world);
    }
    assert_eq!(money(&world), expected);
    let rows: Vec<_> = world.state.refunds_of(CHARGE).collect();
    assert_eq!(rows.iter().map(|row| row.status).next(), status);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].failure.is_some(), status == Some(RefundStatus::Failed));
}

#[test]
fn dispute_larger_than_the_charge_and_a_second_one_become_debts() {
    let mut world = charged(0);
    world.run(notice(opened("d", 130))).unwrap();
    assert_eq!(money(&world), (0, 30));
    assert_eq!(newest(&world, 2), [(EntryKind::Debt, 30), (EntryKind::Chargeback, -130)]);
    world.run(notice(opened("e", 20))).unwrap();
    assert_eq!(money(&world), (0, 50));
    assert_eq!(row(&world).disputed.minor(), 150);
    assert_eq!(row(&world).refundable(), Money::ZERO);
    world.run(notice(closed("d", 130, true))).unwrap();
    assert_eq!(money(&world), (80, 0));
    assert_agreement(&world);
}

/// The gateway pays back only what it has collected.
#[rstest]
#[case::refund(reports(&[(None, 30)]), 70)]
#[case::dispute(opened("d", 100), 0)]
#[case::lost(closed("d", 40, false), 60)]
#[case::won(closed("d", 40, true), 100)]
fn notice_of_a_charge_that_is_not_settled_settles_it_first(
    #[case] about: Notice,
    #[case] balance: i64,
    #[values(None, Some(false), Some(true))] declined_first: Option<bool>,
) {
    let mut world = World::default().with_customer(1, 0);
    world.run(open(100)).unwrap();
    let settle = |paid| {
        let settlement = if paid { Settlement::Paid } else { Settlement::Declined(String::new()) };
        SettleCharge { charge_id: CHARGE, settlement }
    };
    if declined_first == Some(true) {
        world.run(settle(false)).unwrap();
    }
    world.run(notice(about.clone())).unwrap();
    for late in [settle(true), settle(false)] {
        world.run(late).unwrap();
        world.run(notice(about.clone())).unwrap();
    }
    assert_eq!(money(&world), (balance, 0));
    let row = row(&world);
    assert_eq!((row.status, row.failure.clone()), (ChargeStatus::Succeeded, None));
    assert_eq!((row.settled_at, row.balance_after), (Some(NOW), Some(Money::from_minor(100))));
    assert_agreement(&world);
}

#[rstest]
#[case::unknown_charge(RecordNotice { charge_id: ChargeId::new(9), notice: opened("d", 1) }, 0, "charge_not_found")]
#[case::dispute_of_nothing(notice(opened("d", 0)), 0, "invalid_request")]
#[case::dispute_above_limit(notice(opened("d", MAX_AMOUNT.minor() + 1)), 0, "invalid_request")]
#[case::end_of_nothing(notice(closed("d", -1, false)), 0, "invalid_request")]
#[case::no_room_for_the_charge(
    RecordNotice { charge_id: ChargeId::new(2), notice: opened("d", 1) },
    MAX_BALANCE.minor() - 99,
    "balance_limit"
)]
#[case::no_room_for_money_that_was_won(notice(closed("open", 60, true)), MAX_BALANCE.minor() - 59, "balance_limit")]
fn record_notice_is_refused(
    #[case] request: RecordNotice,
    #[case] balance: i64,
    #[case] refused: &str,
) {
    let mut world = charged(0);
    world.run(open(100)).unwrap();
    world.run(notice(opened("open", 60))).unwrap();
    world.set_balance(1, balance);
    let charges = [1, 2].map(|id| world.state.charges.get(ChargeId::new(id)).cloned());
    assert_eq!(code(world.refused(request)), refused);
    assert_eq!(charges, [1, 2].map(|id| world.state.charges.get(ChargeId::new(id)).cloned()));
    assert_eq!(money(&world), (balance, 0));
}

#[test]
fn debt_is_paid_by_later_charges_before_they_can_be_spent() {
    let mut world = charged(100);
    world.run(notice(opened("d", 100))).unwrap();
    assert_eq!(money(&world), (0, 100));
    let mut charge = |amount| {
        let amount = Money::from_minor(amount);
        match world.run(ChargeBalance { customer_id: KIM, amount }) {
            Ok(Output::Charge(charge)) => (charge.balance.minor(), money(&world)),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(charge(30), (0, (0, 70)));
    assert_eq!(charge(90), (20, (20, 0)));
    assert_eq!(charge(5), (25, (25, 0)));
    assert_eq!(
        newest(&world, 5),
        [
            (EntryKind::Charge, 30),
            (EntryKind::Debt, -30),
            (EntryKind::Charge, 90),
            (EntryKind::Debt, -70),
            (EntryKind::Charge, 5)
        ]
    );
    assert_agreement(&world);
}

#[test]
fn debt_is_paid_by_refunds_of_orders() {
    let mut world = charged(0).with_product(3, 40, 5);
    let order = PlaceOrder::new(KIM, [(ProductId::new(3), 2)]);
    let Ok(Output::Order(order)) = world.run(order) else { panic!() };
    world.run(notice(opened("d", 100))).unwrap();
    assert_eq!(money(&world), (0, 80));
    world.run(CancelOrder::new(order.id)).unwrap();
    assert_eq!(money(&world), (0, 0));
    assert_eq!(newest(&world, 2), [(EntryKind::Refund, 80), (EntryKind::Debt, -80)]);
    assert_agreement(&world);
}

#[test]
fn failed_refund_pays_the_debt_that_arose_meanwhile() {
    let mut world = charged(40);
    let id = refunded(&mut world, refund(60, "r")).id;
    world.run(notice(opened("d", 25))).unwrap();
    assert_eq!(money(&world), (0, 25));
    settle(&mut world, id, false);
    assert_eq!(money(&world), (35, 0));
    assert_agreement(&world);
}

/// A step of a history of the charge of 100 that both parties see differently.
#[derive(Clone, Debug)]
enum Step {
    Spend(i64),
    Charge(i64),
    Request(i64),
    /// The gateway receives a requested refund, and makes it if there is money left.
    Receive(usize),
    /// The answer of a refund that the gateway has received arrives.
    Answer(usize),
    /// A refund that was made fails after all.
    TakeBack(usize),
    /// The dashboard refunds.
    Dashboard(i64),
    Dispute(i64),
    Close(usize, bool),
    /// A notice arrives, however old it is, and may come again.
    Deliver(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let (amount, index) = (1_i64..60, 0_usize..40);
    prop_oneof![
        (1_i64..60).prop_map(Step::Spend),
        (1_i64..30).prop_map(Step::Charge),
        amount.clone().prop_map(Step::Request),
        index.clone().prop_map(Step::Receive),
        index.clone().prop_map(Step::Answer),
        index.clone().prop_map(Step::TakeBack),
        amount.clone().prop_map(Step::Dashboard),
        amount.prop_map(Step::Dispute),
        (index.clone(), any::<bool>()).prop_map(|(index, is_won)| Step::Close(index, is_won)),
        index.prop_map(Step::Deliver),
    ]
}

/// The gateway: the refunds of the charge that it has made, and the notices that it has sent.
#[derive(Default)]
struct Gateway {
    /// The refunds that were requested, with their amounts, and whether they were made; `None` until received.
    requested: Vec<(RefundId, i64, Option<bool>)>,
    dashboard: i64,
    disputes: Vec<(i64, Option<bool>)>,
    notices: Vec<Notice>,
}

impl Gateway {
    fn refunded(&self) -> i64 {
        let made = self.requested.iter().filter(|(_, _, made)| *made == Some(true));
        made.map(|(_, amount, _)| amount).sum::<i64>() + self.dashboard
    }

    fn disputed(&self) -> i64 {
        let taken = self.disputes.iter().filter(|(_, won)| *won != Some(true));
        taken.map(|(amount, _)| amount).sum()
    }

    fn report(&mut self) {
        let made = self.requested.iter().filter(|(_, _, made)| *made == Some(true));
        let names: Vec<_> = made.map(|(id, amount, _)| (format!("r{id}"), *amount)).collect();
        let mut all: Vec<_> =
            names.iter().map(|(name, amount)| (Some(name.as_str()), *amount)).collect();
        all.push((None, self.dashboard));
        self.notices.push(reports(&all));
    }
}

struct History {
    world: World,
    gateway: Gateway,
    answered: BTreeMap<RefundId, bool>,
    charged: i64,
    spent: i64,
}

impl History {
    fn run(&mut self, step: &Step) {
        let gateway = &mut self.gateway;
        match *step {
            Step::Spend(amount) => {
                let request = DebitBalance {
                    customer_id: KIM,
                    amount: Money::from_minor(amount),
                    note: None,
                };
                self.spent += if self.world.run(request).is_ok() { amount } else { 0 };
            }
            Step::Charge(amount) => {
                let request = ChargeBalance { customer_id: KIM, amount: Money::from_minor(amount) };
                self.world.run(request).unwrap();
                self.charged += amount;
            }
            Step::Request(amount) => {
                let id = self.world.state.ids.unwrap().ledger_entry;
                if let Ok(Output::Refund(refund)) =
                    self.world.run(refund(amount, &format!("r{id}")))
                {
                    assert_eq!(refund.id.get(), id);
                    gateway.requested.push((refund.id, amount, None));
                }
            }
            Step::Receive(index) => {
                let left = 100 - gateway.refunded();
                let waiting = gateway.requested.iter_mut().filter(|(_, _, made)| made.is_none());
                if let Some((_, amount, made)) = waiting.into_iter().nth(index % 3) {
                    *made = Some(*amount <= left);
                    gateway.report();
                }
            }
            Step::Answer(index) => {
                let received =
                    gateway.requested.iter().filter_map(|(id, _, made)| Some((*id, (*made)?)));
                if let Some((id, made)) = received.into_iter().nth(index % 5) {
                    self.answered.insert(id, made);
                    settle(&mut self.world, id, made);
                }
            }
            Step::TakeBack(index) => {
                let answered = &self.answered;
                let open = |(id, _, made): &&mut (RefundId, i64, Option<bool>)| {
                    *made == Some(true) && !answered.contains_key(id)
                };
                if let Some((_, _, made)) = gateway.requested.iter_mut().filter(open).nth(index % 3)
                {
                    *made = Some(false);
                    gateway.report();
                }
            }
            Step::Dashboard(amount) if amount <= 100 - gateway.refunded() => {
                gateway.dashboard += amount;
                gateway.report();
            }
            Step::Dashboard(_) => {}
            Step::Dispute(amount) => {
                gateway.notices.push(opened(&format!("d{}", gateway.disputes.len()), amount));
                gateway.disputes.push((amount, None));
            }
            Step::Close(index, is_won) => {
                let open =
                    gateway.disputes.iter_mut().enumerate().filter(|(_, (_, end))| end.is_none());
                if let Some((number, (amount, end))) = open.into_iter().nth(index % 3) {
                    *end = Some(is_won);
                    gateway.notices.push(closed(&format!("d{number}"), *amount, is_won));
                }
            }
            Step::Deliver(index) => {
                if let Some(sent) = gateway.notices.get(index).cloned() {
                    self.world.run(notice(sent)).unwrap();
                }
            }
        }
        assert_agreement_of_all(&self.world);
    }

    /// Delivers what is still under way, newest notices first.
    fn finish(&mut self) {
        for _ in 0..self.gateway.requested.len() {
            self.run(&Step::Receive(0));
        }
        for (id, _, made) in self.gateway.requested.clone() {
            settle(&mut self.world, id, made.unwrap());
        }
        for index in (0..self.gateway.notices.len()).rev() {
            self.run(&Step::Deliver(index));
        }
    }
}

/// As [`assert_agreement`], for worlds in which other charges have entries too.
fn assert_agreement_of_all(world: &World) {
    assert_agreement(world);
    let (balance, debt) = money(world);
    assert!(balance == 0 || debt == 0, "a credit pays debts first: {balance} and {debt}");
}

proptest! {
    /// Whatever is lost, late, repeated or out of order: once all of it has arrived, the gateway holds what is on the
    /// balance and was spent, less the debt.
    #[test]
    fn gateway_holds_balance_and_spent_less_debt(steps in proptest::collection::vec(step(), 0..60)) {
        let mut history = History {
            world: charged(0),
            gateway: Gateway::default(),
            answered: BTreeMap::new(),
            charged: 100,
            spent: 0,
        };
        for step in &steps {
            history.run(step);
        }
        history.finish();
        let gateway = history.charged - history.gateway.refunded() - history.gateway.disputed();
        let (balance, debt) = money(&history.world);
        prop_assert_eq!(gateway, balance + history.spent - debt);
    }
}
