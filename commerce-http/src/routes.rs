//! The table of contents: every call there is.

use crate::resource::{
    best_sellers, carts, coupons, customers, operations, orders, products, sessions, wallet,
    webhooks,
};
use crate::route::Access::{Admin, Caller, Customer, Named, Order, Payer};
use crate::route::KeyRule::{Optional, Required};
use crate::route::Method::{Delete, Get, Patch, Post, Put};
use crate::route::{BEST_SELLERS, Route};
use commerce_core::Code::{
    BalanceLimit, CartEmpty, ChargeDeclined, ChargeNotFound, CouponAlreadyClaimed,
    CouponAlreadyUsed, CouponExpired, CouponNotApplicable, CouponNotFound, CouponNotStarted,
    CouponSoldOut, CustomerNotFound, DebitNotFound, InsufficientBalance, InsufficientStock,
    InvalidCredentials, LoginTaken, NotInCart, OrderNotCancellable, OrderNotFound, OrderNotPayable,
    ProductArchived, ProductNotFound, TooManyRequests,
};

/// Every call, in the order that the document shows them.
#[rustfmt::skip]
pub(crate) static ROUTES: &[Route] = &[
    Route::new(Get, "/v1", "getService", "Show what this service is, and its currency", operations::index)
        .gives(200, "Service"),

    Route::new(Post, "/v1/customers", "register", "Become a customer who can log in", customers::register)
        .takes("NewCustomer").gives(201, "Customer").says(&[LoginTaken, TooManyRequests]),
    Route::new(Get, "/v1/customers/{customer_id}", "getCustomer", "Show a customer", customers::show)
        .by(Customer).gives(200, "Customer").says(&[CustomerNotFound]),

    Route::new(Post, "/v1/sessions", "logIn", "Log in: get a token", sessions::log_in)
        .takes("NewSession").gives(201, "Session").says(&[InvalidCredentials, TooManyRequests]),
    Route::new(Get, "/v1/sessions/current", "getSession", "Show the session of the token", sessions::show)
        .by(Caller).gives(200, "CurrentSession"),
    Route::new(Delete, "/v1/sessions/current", "logOut", "Log out: the token is good for nothing from now on", sessions::log_out)
        .by(Caller).gives_nothing(),

    Route::new(Get, "/v1/customers/{customer_id}/balance", "getBalance", "Show a balance", wallet::balance)
        .by(Customer).gives(200, "Balance").says(&[CustomerNotFound]),
    Route::new(Post, "/v1/customers/{customer_id}/charges", "charge", "Put money onto a balance", wallet::charge)
        .about("The payment gateway collects the money; 202 while it has not answered.")
        .by(Payer).key(Required).takes("NewCharge").gives(201, "Charge").waits()
        .says(&[CustomerNotFound, BalanceLimit, ChargeDeclined, TooManyRequests]),
    Route::new(Get, "/v1/customers/{customer_id}/charges/{charge_id}", "getCharge", "Show what became of a charge", wallet::show_charge)
        .about("A pending charge succeeds or fails later.")
        .by(Customer).gives(200, "Charge").says(&[ChargeNotFound, CustomerNotFound]),
    Route::new(Post, "/v1/customers/{customer_id}/debits", "debit", "Use money outside an order", wallet::debit)
        .by(Customer).key(Required).takes("NewDebit").gives(201, "Charge").says(&[CustomerNotFound, InsufficientBalance]),
    Route::new(Get, "/v1/customers/{customer_id}/debits/{debit_id}", "getDebit", "Show a debit", wallet::show_debit)
        .by(Customer).gives(200, "Charge").says(&[DebitNotFound]),
    Route::new(Get, "/v1/customers/{customer_id}/ledger", "listLedger", "List what moved a balance, newest first", wallet::ledger)
        .by(Customer).lists("LedgerEntry").says(&[CustomerNotFound]),
    Route::new(Get, "/v1/customers/{customer_id}/payments", "listPayments", "List payments and refunds, newest first", wallet::payments)
        .by(Customer).lists("Payment").says(&[CustomerNotFound]),

    Route::new(Get, "/v1/products", "listProducts", "List what is sold", products::list)
        .about("Without archived products.")
        .lists("Product").tagged(),
    Route::new(Post, "/v1/products", "addProduct", "Add a product", products::add)
        .by(Admin).key(Optional).takes("NewProduct").gives(201, "Product").tagged(),
    Route::new(Get, "/v1/products/{product_id}", "getProduct", "Show a product", products::show)
        .about("An archived product is shown as well.")
        .gives(200, "Product").tagged().says(&[ProductNotFound]),
    Route::new(Patch, "/v1/products/{product_id}", "changeProduct", "Change a product, archive it or take it back", products::change)
        .about("Absent members stay as they are.")
        .by(Admin).key(Optional).takes("ProductChange").gives(200, "Product").conditional().says(&[ProductNotFound, ProductArchived]),
    Route::new(Post, "/v1/products/{product_id}/stock", "adjustStock", "Put units into stock, or take them out", products::adjust_stock)
        .by(Admin).key(Required).takes("StockChange").gives(200, "Product").conditional().says(&[ProductNotFound, InsufficientStock]),
    Route::new(Get, "/v1/bestsellers", "listBestSellers", "Rank what sold most in the last days", best_sellers::rank)
        .about("Units paid for in the window, most first, exact to the second.")
        .query(BEST_SELLERS).gives(200, "BestSellers"),

    Route::new(Get, "/v1/customers/{customer_id}/cart", "getCart", "Show a cart at today's prices", carts::show)
        .by(Customer).gives(200, "Cart").tagged().says(&[CustomerNotFound]),
    Route::new(Put, "/v1/customers/{customer_id}/cart/items/{product_id}", "setCartItem", "Say how many of a product are wanted", carts::set)
        .about("0 takes it out. Nothing is reserved.")
        .by(Customer).key(Optional).takes("Quantity").gives(200, "Cart").conditional()
        .says(&[CustomerNotFound, ProductNotFound, ProductArchived, InsufficientStock, NotInCart]),
    Route::new(Delete, "/v1/customers/{customer_id}/cart/items/{product_id}", "removeCartItem", "Take a product out of a cart", carts::remove)
        .by(Customer).key(Optional).gives(200, "Cart").conditional().says(&[CustomerNotFound, NotInCart]),
    Route::new(Delete, "/v1/customers/{customer_id}/cart", "clearCart", "Empty a cart", carts::clear)
        .by(Customer).key(Optional).gives(200, "Cart").conditional().says(&[CustomerNotFound]),

    Route::new(Get, "/v1/coupons", "listCoupons", "List the coupon campaigns", coupons::list)
        .lists("Coupon").tagged(),
    Route::new(Post, "/v1/coupons", "addCoupon", "Start a coupon campaign", coupons::add)
        .by(Admin).key(Optional).takes("NewCoupon").gives(201, "Coupon").tagged(),
    Route::new(Get, "/v1/coupons/{coupon_id}", "getCoupon", "Show a coupon campaign", coupons::show)
        .gives(200, "Coupon").tagged().says(&[CouponNotFound]),
    Route::new(Post, "/v1/coupons/{coupon_id}/claims", "claimCoupon", "Claim a coupon: first come, first served", coupons::claim)
        .by(Named).key(Required).takes("NewClaim").gives(201, "OwnedCoupon")
        .says(&[CustomerNotFound, CouponNotFound, CouponAlreadyClaimed, CouponNotStarted, CouponExpired, CouponSoldOut]),
    Route::new(Get, "/v1/customers/{customer_id}/coupons", "listOwnedCoupons", "List the coupons a customer has claimed", coupons::owned)
        .by(Customer).lists("OwnedCoupon").says(&[CustomerNotFound]),
    Route::new(Get, "/v1/customers/{customer_id}/coupons/{owned_coupon_id}", "getOwnedCoupon", "Show a coupon that a customer has claimed", coupons::show_owned)
        .by(Customer).gives(200, "OwnedCoupon").says(&[CouponNotFound]),

    Route::new(Post, "/v1/customers/{customer_id}/orders", "placeOrder", "Place an order", orders::place)
        .about("Takes stock and coupon and pays from the balance, all or nothing; `later` leaves the payment for another call.")
        .by(Customer).key(Required).takes("NewOrder").gives(201, "Order").tagged()
        .says(&[CustomerNotFound, CartEmpty, ProductNotFound, ProductArchived, CouponNotFound, CouponAlreadyUsed,
            CouponNotStarted, CouponExpired, CouponNotApplicable, InsufficientStock, InsufficientBalance]),
    Route::new(Get, "/v1/customers/{customer_id}/orders", "listOrders", "List a customer's orders, newest first", orders::list)
        .by(Customer).lists("Order").says(&[CustomerNotFound]),
    Route::new(Get, "/v1/orders/{order_id}", "getOrder", "Show an order", orders::show)
        .by(Order).gives(200, "Order").tagged().says(&[OrderNotFound]),
    Route::new(Post, "/v1/orders/{order_id}/payment", "payOrder", "Pay an order that was to be paid later", orders::pay)
        .about("An order is never paid twice.")
        .by(Order).key(Required).gives(200, "Order").conditional().says(&[OrderNotFound, OrderNotPayable, InsufficientBalance]),
    Route::new(Post, "/v1/orders/{order_id}/cancellation", "cancelOrder", "Cancel an order: all it took comes back", orders::cancel)
        .about("What was paid, the stock and the coupon come back.")
        .by(Order).key(Required).gives(200, "Order").conditional().says(&[OrderNotFound, OrderNotCancellable, BalanceLimit]),

    Route::new(Post, "/v1/webhooks/stripe", "takeStripeNotice", "Take what Stripe tells of a charge", webhooks::stripe)
        .proven_by("Stripe-Signature").gives_nothing().says(&[BalanceLimit]),

    Route::new(Get, "/healthz", "isAlive", "Tell that the process is alive", operations::alive).gives(200, "Health"),
    Route::new(Get, "/readyz", "isReady", "Tell that the store can be reached", operations::ready).gives(200, "Health"),
    Route::new(Get, "/metrics", "getMetrics", "Show figures for Prometheus", operations::metrics).media("text/plain"),
    Route::new(Get, "/openapi.json", "getDocument", "Show this document", operations::document),
    Route::new(Get, "/openapi-3.0.json", "getDocument30", "Show this document as OpenAPI 3.0.3", operations::document_3_0)
        .about("For generators that read no 3.1. Every problem has the one schema `AnyProblem` here."),
];
