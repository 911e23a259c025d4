"""A customer's session and a report by the generated client. The arguments are the address of the server and the
token of an admin."""

import sys

from commerce_client import AuthenticatedClient, Client
from commerce_client.api.balance import get_balance
from commerce_client.api.bestsellers import list_best_sellers
from commerce_client.api.charges import charge, refund_charge
from commerce_client.api.customers import register
from commerce_client.api.orders import cancel_order, place_order
from commerce_client.api.reports import report_sales
from commerce_client.api.sessions import log_in
from commerce_client.models import (
    Cancellation,
    ChargeStatus,
    Customer,
    NewCharge,
    NewCustomer,
    NewOrderItem,
    NewOrderOfItems,
    NewRefund,
    NewSession,
    Order,
    OrderStatus,
    Period,
    Problem,
    ProblemCode,
    Refund,
    RefundKind,
    SalesReport,
    Session,
)

base, admin = sys.argv[1:]
login, password = "python", "correct horse battery staple"
visitor = Client(base_url=base)
customer = register.sync(client=visitor, body=NewCustomer(login=login, password=password, name="Python"))
assert isinstance(customer, Customer), customer
session = log_in.sync(client=visitor, body=NewSession(login=login, password=password))
assert isinstance(session, Session), session
assert session.customer_id == customer.id

client = AuthenticatedClient(base_url=base, token=session.token)


def charged(key, amount):
    answer = charge.sync("me", client=client, idempotency_key=key, body=NewCharge(amount=amount))
    assert answer.status == ChargeStatus.SUCCEEDED, answer
    return answer


def ordered(key, *items):
    body = NewOrderOfItems(
        items=[NewOrderItem(product_id=product, quantity=quantity) for product, quantity in items]
    )
    return place_order.sync("me", client=client, idempotency_key=key, body=body)


first = charged("charge-1", 20_000)
assert first.balance == 20_000, first
assert charged("charge-2", 3_000_000_000).balance == 3_000_020_000

order = ordered("order-1", (1, 2), (2, 1))
assert isinstance(order, Order), order
assert (order.status, order.total) == (OrderStatus.PAID, 9_900), order
assert [line.amount for line in order.lines] == [9_000, 900], order
assert ordered("order-1", (1, 2), (2, 1)).id == order.id

problem = ordered("order-2", (1, 101))
assert isinstance(problem, Problem) and problem.code == ProblemCode.INSUFFICIENT_STOCK, problem
[short] = problem.shortages
assert (short.product_id, short.requested, short.available) == (1, 101, 98), problem
problem = ordered("order-3", (3, 1))
assert isinstance(problem, Problem) and problem.code == ProblemCode.INSUFFICIENT_BALANCE, problem
assert (problem.balance, problem.required) == (3_000_010_100, 1_000_000_000_000), problem

best = list_best_sellers.sync(client=visitor).items[0]
assert (best.product_id, best.units_sold) == (1, 2), best
part = cancel_order.sync(
    order.id,
    client=client,
    idempotency_key="part-1",
    body=Cancellation(items=[NewOrderItem(product_id=1, quantity=1)]),
)
assert (part.status, part.refunded, part.lines[0].cancelled_quantity) == (OrderStatus.PAID, 4_500, 1), part
cancelled = cancel_order.sync(order.id, client=client, idempotency_key="cancel-1")
assert cancelled.status == OrderStatus.CANCELLED, cancelled
assert get_balance.sync("me", client=client).balance == 3_000_020_000

owner = AuthenticatedClient(base_url=base, token=admin)
refund = refund_charge.sync(
    str(customer.id), first.id, client=owner, idempotency_key="refund-1", body=NewRefund(amount=500)
)
assert isinstance(refund, Refund), refund
assert (refund.amount, refund.kind, refund.balance) == (500, RefundKind.REQUESTED, 3_000_019_500), refund
report = report_sales.sync(client=owner, days=1, by=Period.HOUR)
assert isinstance(report, SalesReport), report
assert (report.totals.orders, report.totals.refunds) == (1, 9_900), report
assert sum(bucket.net for bucket in report.buckets) == 9_900, report
