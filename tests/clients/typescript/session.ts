// A customer's session and a report by the generated client. The arguments are the address of the server and the token
// of an admin.

import assert from "node:assert/strict";
import process from "node:process";
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

const [baseUrl, admin] = process.argv.slice(2);
const login = "typescript";
const password = "correct horse battery staple";

const visitor = createClient<paths>({ baseUrl });
const { data: customer } = await visitor.POST("/v1/customers", {
  body: { login, password, name: "TypeScript" },
});
const { data: session } = await visitor.POST("/v1/sessions", { body: { login, password } });
assert(customer && session);
assert.equal(session.customer_id, customer.id);

const headers = { Authorization: `Bearer ${session.token}` };
const client = createClient<paths>({ baseUrl, headers });

function params(key: string) {
  return { path: { customer_id: "me" }, header: { "Idempotency-Key": key } };
}

async function charged(key: string, amount: number) {
  const { data, error } = await client.POST("/v1/customers/{customer_id}/charges", {
    params: params(key),
    body: { amount },
  });
  assert(data, error?.detail);
  assert.equal(data.status, "succeeded");
  return data;
}

function ordered(key: string, ...items: components["schemas"]["NewOrderItem"][]) {
  return client.POST("/v1/customers/{customer_id}/orders", { params: params(key), body: { items } });
}

const charge = await charged("charge-1", 20_000);
assert.equal(charge.balance, 20_000);
assert.equal((await charged("charge-2", 3_000_000_000)).balance, 3_000_020_000);

const items = [{ product_id: 1, quantity: 2 }, { product_id: 2, quantity: 1 }];
const { data: order } = await ordered("order-1", ...items);
assert(order);
assert.equal(order.status, "paid");
assert.equal(order.total, 9_900);
assert.deepEqual(order.lines.map((line) => line.amount), [9_000, 900]);
const again = await ordered("order-1", ...items);
assert.equal(again.data?.id, order.id);
assert.equal(again.response.headers.get("Idempotency-Replayed"), "true");

const { error: stock } = await ordered("order-2", { product_id: 1, quantity: 101 });
assert(stock?.code === "insufficient_stock");
assert.deepEqual(stock.shortages, [{ product_id: 1, requested: 101, available: 98 }]);
const { error: balance } = await ordered("order-3", { product_id: 3, quantity: 1 });
assert(balance?.code === "insufficient_balance");
assert.equal(balance.balance, 3_000_010_100);
assert.equal(balance.required, 1_000_000_000_000);

const { data: best } = await visitor.GET("/v1/bestsellers");
assert.equal(best?.items[0]?.product_id, 1);
assert.equal(best.items[0].units_sold, 2);
const { data: part } = await client.POST("/v1/orders/{order_id}/cancellation", {
  params: { path: { order_id: order.id }, header: { "Idempotency-Key": "part-1" } },
  body: { items: [{ product_id: 1, quantity: 1 }] },
});
assert.equal(part?.refunded, 4_500);
assert.equal(part.lines[0]?.cancelled_quantity, 1);
const { data: cancelled } = await client.POST("/v1/orders/{order_id}/cancellation", {
  params: { path: { order_id: order.id }, header: { "Idempotency-Key": "cancel-1" } },
});
assert.equal(cancelled?.status, "cancelled");
const { data: left } = await client.GET("/v1/customers/{customer_id}/balance", {
  params: { path: { customer_id: "me" } },
});
assert.equal(left?.balance, 3_000_020_000);

// A report is JSON or comma-separated values.
const owner = createClient<paths, "application/json">({
  baseUrl,
  headers: { Authorization: `Bearer ${admin}` },
});
const { data: refund } = await owner.POST("/v1/customers/{customer_id}/charges/{charge_id}/refunds", {
  params: {
    path: { customer_id: `${customer.id}`, charge_id: charge.id },
    header: { "Idempotency-Key": "refund-1" },
  },
  body: { amount: 500 },
});
assert.equal(refund?.kind, "requested");
assert.equal(refund.balance, 3_000_019_500);
const { data: report } = await owner.GET("/v1/reports/sales", {
  params: { query: { days: 1, by: "hour", compare: "previous" } },
});
assert.equal(report?.totals.cancelled_orders, report?.totals.orders);
assert.equal(report?.previous?.buckets[0]?.net, 0);
