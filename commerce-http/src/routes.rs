//! The table of contents: every call there is.

use crate::handlers::{
    best_sellers, carts, coupons, customers, operations, orders, products, sessions, wallet,
    webhooks,
};
use crate::route::Auth::{
    Admin, Authenticated, Customer, Order, OwnerWithGateway, SelfOrAdminBody,
};
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
        .response(200, "Service"),

    Route::new(Post, "/v1/customers", "register", "Become a customer who can log in", customers::register)
        .request_body("NewCustomer").response(201, "Customer").errors(&[LoginTaken, TooManyRequests]),
    Route::new(Get, "/v1/customers/{customer_id}", "getCustomer", "Show a customer", customers::show)
        .auth(Customer).response(200, "Customer").errors(&[CustomerNotFound]),

    Route::new(Post, "/v1/sessions", "logIn", "Log in: get a token", sessions::log_in)
        .request_body("NewSession").response(201, "Session").errors(&[InvalidCredentials, TooManyRequests]),
    Route::new(Get, "/v1/sessions/current", "getSession", "Show the session of the token", sessions::show)
        .auth(Authenticated).response(200, "CurrentSession"),
    Route::new(Delete, "/v1/sessions/current", "logOut", "Log out: the token is good for nothing from now on", sessions::log_out)
        .auth(Authenticated).no_content(),

    Route::new(Get, "/v1/customers/{customer_id}/balance", "getBalance", "Show a balance", wallet::balance)
        .auth(Customer).response(200, "Balance").errors(&[CustomerNotFound]),
    Route::new(Post, "/v1/customers/{customer_id}/charges", "charge", "Put money onto a balance", wallet::charge)
        .about("The payment gateway collects the money; 202 while it has not answered.")
        .auth(OwnerWithGateway).key(Required).request_body("NewCharge").response(201, "Charge").or_accepted()
        .errors(&[CustomerNotFound, BalanceLimit, ChargeDeclined, TooManyRequests]),
    Route::new(Get, "/v1/customers/{customer_id}/charges/{charge_id}", "getCharge", "Show what became of a charge", wallet::show_charge)
        .about("A pending charge succeeds or fails later.")
        .auth(Customer).response(200, "Charge").errors(&[ChargeNotFound, CustomerNotFound]),
    Route::new(Post, "/v1/customers/{customer_id}/debits", "debit", "Use money outside an order", wallet::debit)
        .auth(Customer).key(Required).request_body("NewDebit").response(201, "Charge").errors(&[CustomerNotFound, InsufficientBalance]),
    Route::new(Get, "/v1/customers/{customer_id}/debits/{debit_id}", "getDebit", "Show a debit", wallet::show_debit)
        .auth(Customer).response(200, "Charge").errors(&[DebitNotFound]),
    Route::new(Get, "/v1/customers/{customer_id}/ledger", "listLedger", "List what moved a balance, newest first", wallet::ledger)
        .auth(Customer).paginated("LedgerEntry").errors(&[CustomerNotFound]),
    Route::new(Get, "/v1/customers/{customer_id}/payments", "listPayments", "List payments and refunds, newest first", wallet::payments)
        .auth(Customer).paginated("Payment").errors(&[CustomerNotFound]),

    Route::new(Get, "/v1/products", "listProducts", "List what is sold", products::list)
        .about("Without archived products.")
        .paginated("Product").etag(),
    Route::new(Post, "/v1/products", "addProduct", "Add a product", products::add)
        .auth(Admin).key(Optional).request_body("NewProduct").response(201, "Product").etag(),
    Route::new(Get, "/v1/products/{product_id}", "getProduct", "Show a product", products::show)
        .about("An archived product is shown as well.")
        .response(200, "Product").etag().errors(&[ProductNotFound]),
    Route::new(Patch, "/v1/products/{product_id}", "changeProduct", "Change a product, archive it or take it back", products::change)
        .about("Absent members stay as they are.")
        .auth(Admin).key(Optional).request_body("ProductChange").response(200, "Product").conditional().errors(&[ProductNotFound, ProductArchived]),
    Route::new(Post, "/v1/products/{product_id}/stock", "adjustStock", "Put units into stock, or take them out", products::adjust_stock)
        .auth(Admin).key(Required).request_body("StockChange").response(200, "Product").conditional().errors(&[ProductNotFound, InsufficientStock]),
    Route::new(Get, "/v1/bestsellers", "listBestSellers", "Rank what sold most in the last days", best_sellers::rank)
        .about("Units paid for in the window, most first, exact to the second.")
        .query(BEST_SELLERS).response(200, "BestSellers"),

    Route::new(Get, "/v1/customers/{customer_id}/cart", "getCart", "Show a cart at today's prices", carts::show)
        .auth(Customer).response(200, "Cart").etag().errors(&[CustomerNotFound]),
    Route::new(Put, "/v1/customers/{customer_id}/cart/items/{product_id}", "setCartItem", "Say how many of a product are wanted", carts::set)
        .about("0 takes it out. Nothing is reserved.")
        .auth(Customer).key(Optional).request_body("Quantity").response(200, "Cart").conditional()
        .errors(&[CustomerNotFound, ProductNotFound, ProductArchived, InsufficientStock, NotInCart]),
    Route::new(Delete, "/v1/customers/{customer_id}/cart/items/{product_id}", "removeCartItem", "Take a product out of a cart", carts::remove)
        .auth(Customer).key(Optional).response(200, "Cart").conditional().errors(&[CustomerNotFound, NotInCart]),
    Route::new(Delete, "/v1/customers/{customer_id}/cart", "clearCart", "Empty a cart", carts::clear)
        .auth(Customer).key(Optional).response(200, "Cart").conditional().errors(&[CustomerNotFound]),

    Route::new(Get, "/v1/coupons", "listCoupons", "List the coupon campaigns", coupons::list)
        .paginated("Coupon").etag(),
    Route::new(Post, "/v1/coupons", "addCoupon", "Start a coupon campaign", coupons::add)
        .auth(Admin).key(Optional).request_body("NewCoupon").response(201, "Coupon").etag(),
    Route::new(Get, "/v1/coupons/{coupon_id}", "getCoupon", "Show a coupon campaign", coupons::show)
        .response(200, "Coupon").etag().errors(&[CouponNotFound]),
    Route::new(Post, "/v1/coupons/{coupon_id}/claims", "claimCoupon", "Claim a coupon: first come, first served", coupons::claim)
        .auth(SelfOrAdminBody).key(Required).request_body("NewClaim").response(201, "OwnedCoupon")
        .errors(&[CustomerNotFound, CouponNotFound, CouponAlreadyClaimed, CouponNotStarted, CouponExpired, CouponSoldOut]),
    Route::new(Get, "/v1/customers/{customer_id}/coupons", "listOwnedCoupons", "List the coupons a customer has claimed", coupons::owned)
        .auth(Customer).paginated("OwnedCoupon").errors(&[CustomerNotFound]),
    Route::new(Get, "/v1/customers/{customer_id}/coupons/{owned_coupon_id}", "getOwnedCoupon", "Show a coupon that a customer has claimed", coupons::show_owned)
        .auth(Customer).response(200, "OwnedCoupon").errors(&[CouponNotFound]),

    Route::new(Post, "/v1/customers/{customer_id}/orders", "placeOrder", "Place an order", orders::index)
        .about("Takes stock and coupon and pays from the balance, all or nothing; `later` leaves the payment for another call.")
        .auth(Customer).key(Required).request_body("NewOrder").response(201, "Order").etag()
        .errors(&[CustomerNotFound, CartEmpty, ProductNotFound, ProductArchived, CouponNotFound, CouponAlreadyUsed,
            CouponNotStarted, CouponExpired, CouponNotApplicable, InsufficientStock, InsufficientBalance]),
    Route::new(Get, "/v1/customers/{customer_id}/orders", "listOrders", "List a customer's orders, newest first", orders::list)
        .auth(Customer).paginated("Order").errors(&[CustomerNotFound]),
    Route::new(Get, "/v1/orders/{order_id}", "getOrder", "Show an order", orders::show)
        .auth(Order).response(200, "Order").etag().errors(&[OrderNotFound]),
    Route::new(Post, "/v1/orders/{order_id}/payment", "payOrder", "Pay an order that was to be paid later", orders::pay)
        .about("An order is never paid twice.")
        .auth(Order).key(Required).response(200, "Order").conditional().errors(&[OrderNotFound, OrderNotPayable, InsufficientBalance]),
    Route::new(Post, "/v1/orders/{order_id}/cancellation", "cancelOrder", "Cancel an order: all it took comes back", orders::cancel)
        .about("What was paid, the stock and the coupon come back.")
        .auth(Order).key(Required).response(200, "Order").conditional().errors(&[OrderNotFound, OrderNotCancellable, BalanceLimit]),

    Route::new(Post, "/v1/webhooks/stripe", "handleStripeWebhook", "Take what Stripe tells of a charge", webhooks::stripe)
        .signed_by("Stripe-Signature").no_content().errors(&[BalanceLimit]),

    Route::new(Get, "/healthz", "isAlive", "Tell that the process is alive", operations::alive).response(200, "Health"),
    Route::new(Get, "/readyz", "isReady", "Tell that the store can be reached", operations::ready).response(200, "Health"),
    Route::new(Get, "/metrics", "getMetrics", "Show figures for Prometheus", operations::metrics).media("text/plain"),
    Route::new(Get, "/openapi.json", "getDocument", "Show this document", operations::document),
    Route::new(Get, "/openapi-3.0.json", "getDocument30", "Show this document as OpenAPI 3.0.3", operations::document_3_0)
        .about("For generators that read no 3.1. Every problem has the one schema `AnyProblem` here."),
];
