//! A customer's session and a report by the generated client. The arguments are the address of the server and the token
//! of an admin.

#[allow(
    dead_code,
    unreachable_patterns,
    reason = "it is generated, for every operation and status"
)]
mod commerce {
    include!(concat!(env!("OUT_DIR"), "/client.rs"));
}

use commerce::types::{
    Cancellation, Charge, ChargeStatus, Id, NewCharge, NewCustomer, NewOrder, NewOrderItem,
    NewOrderOfItems, NewRefund, NewSession, Order, OrderStatus, Period, Problem, ProblemCode,
    RefundKind,
};
use commerce::{Client, Error};
use reqwest::header::{AUTHORIZATION, HeaderMap};
use std::error;

type Outcome<T> = Result<T, Box<dyn error::Error>>;

fn main() -> Outcome<()> {
    let base = std::env::args().nth(1).ok_or("the address of the server is missing")?;
    let admin = std::env::args().nth(2).ok_or("the token of an admin is missing")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let charge = session(&base).await?;
        refund(&base, &admin, &charge).await?;
        report(&base, &admin).await
    })
}

/// A client that sends the token with each call.
fn client(base: &str, token: &str) -> Outcome<Client> {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, format!("Bearer {token}").parse()?);
    Ok(Client::new_with_client(base, reqwest::Client::builder().default_headers(headers).build()?))
}

async fn refund(base: &str, admin: &str, charge: &Charge) -> Outcome<()> {
    let owner = client(base, admin)?;
    let customer = charge.customer_id.to_string().parse()?;
    let body = NewRefund { amount: Some(500.try_into().map(commerce::types::Amount)?) };
    let key = "refund-1".parse()?;
    let refund = owner.refund_charge(&customer, &charge.id, &key, &body).await?.into_inner();
    assert_eq!((refund.kind, *refund.balance), (RefundKind::Requested, 3_000_019_500));
    Ok(())
}

async fn report(base: &str, admin: &str) -> Outcome<()> {
    let owner = client(base, admin)?;
    let today = Some(1.try_into()?);
    let by = Some(Period::Hour);
    let sales =
        owner.report_sales(None, by, None, today, None, None, None, None, None).await?.into_inner();
    assert_eq!(*sales.totals.orders, *sales.totals.cancelled_orders);
    assert_eq!(*sales.totals.net, sales.buckets.iter().map(|bucket| *bucket.net).sum::<i64>());
    Ok(())
}

/// Returns the first charge.
async fn session(base: &str) -> Outcome<Charge> {
    let (login, password) = ("rust", "correct horse battery staple");
    let visitor = Client::new(base);
    let new =
        NewCustomer { login: login.parse()?, password: password.parse()?, name: "Rust".parse()? };
    let customer = visitor.register(&new).await?.into_inner();
    let new = NewSession { login: login.parse()?, password: password.parse()? };
    let session = visitor.log_in(&new).await?.into_inner();
    assert_eq!(*session.customer_id, *customer.id);

    let client = client(base, &session.token)?;
    let me = "me".parse()?;
    let charge = async |key: &str, amount: u64| -> Outcome<Charge> {
        let body = NewCharge {
            amount: amount.try_into().map(commerce::types::Amount)?,
            payment_method: None,
        };
        let charge = client.charge(&me, &key.parse()?, &body).await?.into_inner();
        assert_eq!(charge.status, ChargeStatus::Succeeded);
        Ok(charge)
    };
    let first = charge("charge-1", 20_000).await?;
    assert_eq!(*first.balance, 20_000);
    // Exceeds 32 bits.
    assert_eq!(*charge("charge-2", 3_000_000_000).await?.balance, 3_000_020_000);

    let order = async |key: &str, items: &[(u64, u64)]| -> Outcome<Result<Order, Problem>> {
        let item = |(product, quantity): &(u64, u64)| -> Outcome<NewOrderItem> {
            Ok(NewOrderItem {
                product_id: (*product).try_into().map(Id)?,
                quantity: (*quantity).try_into().map(commerce::types::Units)?,
            })
        };
        let items = items.iter().map(item).collect::<Outcome<Vec<_>>>()?;
        let body = NewOrder::Items(NewOrderOfItems {
            items,
            owned_coupon_id: None,
            payment: None,
            reference: None,
        });
        match client.place_order(&me, &key.parse()?, &body).await {
            Ok(order) => Ok(Ok(order.into_inner())),
            Err(Error::ErrorResponse(problem)) => Ok(Err(problem.into_inner())),
            Err(error) => Err(error.into()),
        }
    };
    let placed =
        order("order-1", &[(1, 2), (2, 1)]).await?.map_err(|problem| format!("{problem:?}"))?;
    assert_eq!((placed.status, *placed.total), (OrderStatus::Paid, 9_900));
    assert_eq!(placed.lines.iter().map(|line| *line.amount).collect::<Vec<_>>(), [9_000, 900]);
    let again =
        order("order-1", &[(1, 2), (2, 1)]).await?.map_err(|problem| format!("{problem:?}"))?;
    assert_eq!(*again.id, *placed.id);

    let Err(problem) = order("order-2", &[(1, 101)]).await? else {
        return Err("it was not refused for want of stock".into());
    };
    assert_eq!(problem.code, ProblemCode::InsufficientStock);
    let shortage = &problem.shortages[0];
    assert_eq!((shortage.product_id.get(), *shortage.requested, *shortage.available), (1, 101, 98));
    let Err(problem) = order("order-3", &[(3, 1)]).await? else {
        return Err("it was not refused for want of money".into());
    };
    assert_eq!(problem.code, ProblemCode::InsufficientBalance);
    let figures = [problem.balance, problem.required].map(|amount| amount.map(|amount| *amount));
    assert_eq!(figures, [Some(3_000_010_100), Some(1_000_000_000_000)]);

    let best = client.list_best_sellers(None, None, None, None).await?.into_inner();
    assert_eq!((best.items[0].product_id.get(), *best.items[0].units_sold), (1, 2));
    let item = NewOrderItem {
        product_id: 1_u64.try_into().map(Id)?,
        quantity: 1_u64.try_into().map(commerce::types::Units)?,
    };
    let part = Cancellation { items: vec![item], keep_stock: None };
    let part = client.cancel_order(&placed.id, &"part-1".parse()?, None, &part).await?.into_inner();
    assert_eq!((*part.refunded, *part.lines[0].cancelled_quantity), (4_500, 1));
    let rest = Cancellation { items: Vec::new(), keep_stock: None };
    let cancelled =
        client.cancel_order(&placed.id, &"cancel-1".parse()?, None, &rest).await?.into_inner();
    assert_eq!(cancelled.status, OrderStatus::Cancelled);
    assert_eq!(*client.get_balance(&me).await?.into_inner().balance, 3_000_020_000);
    Ok(first)
}
