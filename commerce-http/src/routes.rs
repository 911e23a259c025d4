//! The route table: every call of the API.

use crate::handlers::{
    best_sellers, carts, coupons, customers, exports, operations, orders, products, reports,
    sessions, staff, wallet, webhooks,
};
use crate::route::Auth::{Customer, Order, OwnerWithGateway, SelfOrBody, Session, Staff};
use crate::route::Handler::{Blocking, Fixed, Read, Submit};
use crate::route::KeyRule::{Optional, Required};
use crate::route::Method::{Delete, Get, Patch, Post, Put};
use crate::route::{
    AUDIT_LOG, BALANCE_REPORT, BEST_SELLERS, CHARGES, COUPON_REPORT, CUSTOMERS, EXPORT, ORDERS,
    PRODUCT_REPORT, PRODUCTS, Route, SALES_REPORT, STOCK_REPORT,
};
use commerce_core::Code::{
    BalanceLimit, ChargeDeclined, ChargeNotFound, CouponNotFound, CustomerDisabled, CustomerErased,
    CustomerNotFound, DebitNotFound, InvalidCredentials, LoginTaken, NotInCart, OrderNotFound,
    ProductNotFound, SessionNotFound, TokenNotFound, TooManyRequests,
};
use commerce_core::Role::{Admin, Clerk, Reader};
use commerce_core::{
    AdjustStock, CancelOrder, ClaimCoupon, DebitBalance, EditCart, Operation, PayOrder, PlaceOrder,
    RefundCharge, RevokeToken, SetRole, UpdateCoupon, UpdateCustomer, UpdateProduct,
};

/// All calls, in the order of the document.
#[rustfmt::skip]
pub(crate) static ROUTES: &[Route] = &[
    Route::new(Get, "/v1", "getService", "Describe the service and its currency", Fixed(operations::index))
        .response(200, "Service"),

    Route::new(Post, "/v1/customers", "register", "Register a customer", Blocking(customers::register))
        .request_body("NewCustomer").response(201, "Customer").errors(&[LoginTaken]),
    Route::new(Get, "/v1/customers", "listCustomers", "List customers", Blocking(customers::list))
        .auth(Staff(Reader)).paginated("Customer").query(CUSTOMERS),
    Route::new(Get, "/v1/customers/{customer_id}", "getCustomer", "Get a customer", Read(customers::show))
        .auth(Customer).response(200, "Customer").errors(&[CustomerNotFound]),
    Route::new(Patch, "/v1/customers/{customer_id}", "changeCustomer", "Rename, disable or enable a customer", Submit(customers::change))
        .about("`status` is for admins. A disabled customer cannot log in.")
        .auth(Customer).protects_seniors().staff_member("status", Admin).key(Optional).request_body("CustomerChange").response(200, "Customer")
        .errors(UpdateCustomer::REFUSALS),
    Route::new(Post, "/v1/customers/me/password", "changePassword", "Change the caller's password", Blocking(customers::change_password))
        .about("Ends the customer's other sessions.")
        .auth(Session).request_body("PasswordChange").no_content().errors(&[InvalidCredentials, TooManyRequests]),
    Route::new(Get, "/v1/customers/{customer_id}/sessions", "listSessions", "List open sessions", Read(sessions::list))
        .auth(Customer).paginated("OpenSession").errors(&[CustomerNotFound]),
    Route::new(Delete, "/v1/customers/{customer_id}/sessions/{session_id}", "revokeSession", "End a session", Blocking(sessions::revoke))
        .auth(Customer).protects_seniors().no_content().errors(&[SessionNotFound]),

    Route::new(Post, "/v1/sessions", "logIn", "Log in and get a token", Blocking(sessions::log_in))
        .request_body("NewSession").response(201, "Session").errors(&[CustomerDisabled, InvalidCredentials, TooManyRequests]),
    Route::new(Get, "/v1/sessions/current", "getSession", "Get the current session", Read(sessions::show))
        .auth(Session).response(200, "CurrentSession"),
    Route::new(Delete, "/v1/sessions/current", "logOut", "Log out and revoke the token", Blocking(sessions::log_out))
        .auth(Session).no_content(),

    Route::new(Put, "/v1/customers/{customer_id}/role", "setRole", "Change a role", Submit(staff::set_role))
        .auth(Staff(Admin)).request_body("NewRole").response(200, "Customer").errors(SetRole::REFUSALS),

    Route::new(Get, "/v1/customers/{customer_id}/balance", "getBalance", "Get a balance", Read(wallet::balance))
        .auth(Customer).response(200, "Balance").errors(&[CustomerNotFound]),
    Route::new(Post, "/v1/customers/{customer_id}/charges", "charge", "Charge a balance", Blocking(wallet::charge))
        .about("The payment gateway collects the money; 202 until it has answered: poll `Location`, or retry with the same key.")
        .auth(OwnerWithGateway).key(Required).request_body("NewCharge").response(201, "Charge").or_accepted()
        .errors(&[CustomerNotFound, CustomerErased, BalanceLimit, ChargeDeclined, TooManyRequests]),
    Route::new(Get, "/v1/charges", "listCharges", "List charges, newest first", Blocking(wallet::list_charges))
        .auth(Staff(Reader)).paginated("Charge").query(CHARGES).errors(&[CustomerNotFound]),
    Route::new(Get, "/v1/customers/{customer_id}/charges/{charge_id}", "getCharge", "Get a charge", Read(wallet::show_charge))
        .auth(Customer).response(200, "Charge").errors(&[ChargeNotFound, CustomerNotFound]),
    Route::new(Post, "/v1/customers/{customer_id}/charges/{charge_id}/refunds", "refundCharge", "Pay back a charge", Blocking(wallet::refund))
        .about("The money leaves the balance at once. 202 as for a charge.")
        .auth(Staff(Clerk)).key(Required).request_body("NewRefund").response(201, "Refund").or_accepted().errors(RefundCharge::REFUSALS),
    Route::new(Get, "/v1/customers/{customer_id}/charges/{charge_id}/refunds", "listRefunds", "List refunds and disputes, oldest first", Read(wallet::refunds))
        .auth(Customer).paginated("Refund").errors(&[ChargeNotFound]),
    Route::new(Post, "/v1/customers/{customer_id}/debits", "debit", "Debit a balance outside an order", Submit(wallet::debit))
        .auth(Customer).key(Required).request_body("NewDebit").response(201, "Charge").errors(DebitBalance::REFUSALS),
    Route::new(Get, "/v1/customers/{customer_id}/debits/{debit_id}", "getDebit", "Get a debit", Read(wallet::show_debit))
        .auth(Customer).response(200, "Charge").errors(&[DebitNotFound]),
    Route::new(Get, "/v1/customers/{customer_id}/ledger", "listLedger", "List ledger entries, newest first", Read(wallet::ledger))
        .auth(Customer).paginated("LedgerEntry").errors(&[CustomerNotFound]),
    Route::new(Get, "/v1/customers/{customer_id}/payments", "listPayments", "List payments and refunds, newest first", Read(wallet::payments))
        .auth(Customer).paginated("Payment").errors(&[CustomerNotFound]),

    Route::new(Get, "/v1/products", "listProducts", "List products", Blocking(products::list))
        .paginated("Product").query(PRODUCTS).more_for_staff().etag(),
    Route::new(Post, "/v1/products", "addProduct", "Add a product", Submit(products::add))
        .auth(Staff(Admin)).key(Optional).request_body("NewProduct").response(201, "Product").etag(),
    Route::new(Get, "/v1/products/{product_id}", "getProduct", "Get a product", Read(products::show))
        .about("Includes archived products.")
        .response(200, "Product").more_for_staff().etag().errors(&[ProductNotFound]),
    Route::new(Patch, "/v1/products/{product_id}", "changeProduct", "Update, archive or reactivate a product", Submit(products::change))
        .auth(Staff(Admin)).key(Optional).request_body("ProductChange").response(200, "Product").conditional().errors(UpdateProduct::REFUSALS),
    Route::new(Post, "/v1/products/{product_id}/stock", "adjustStock", "Adjust stock", Submit(products::adjust_stock))
        .auth(Staff(Clerk)).key(Required).request_body("StockChange").response(200, "Product").conditional().errors(AdjustStock::REFUSALS),
    Route::new(Get, "/v1/products/{product_id}/movements", "listMovements", "List changes of stock, newest first", Blocking(products::movements))
        .auth(Staff(Reader)).paginated("Movement").errors(&[ProductNotFound]),
    Route::new(Get, "/v1/bestsellers", "listBestSellers", "Rank best sellers of the last days", Blocking(best_sellers::rank))
        .query(BEST_SELLERS).response(200, "BestSellers"),

    Route::new(Get, "/v1/customers/{customer_id}/cart", "getCart", "Get a cart at current prices", Read(carts::show))
        .auth(Customer).response(200, "Cart").etag().errors(&[CustomerNotFound]),
    Route::new(Put, "/v1/customers/{customer_id}/cart/items/{product_id}", "setCartItem", "Set the quantity of a product in a cart", Submit(carts::set))
        .auth(Customer).key(Optional).request_body("Quantity").response(200, "Cart").conditional()
        .errors(EditCart::REFUSALS),
    Route::new(Delete, "/v1/customers/{customer_id}/cart/items/{product_id}", "removeCartItem", "Remove a product from a cart", Submit(carts::remove))
        .auth(Customer).key(Optional).response(200, "Cart").conditional().errors(&[CustomerNotFound, CustomerErased, NotInCart]),
    Route::new(Delete, "/v1/customers/{customer_id}/cart", "clearCart", "Clear a cart", Submit(carts::clear))
        .auth(Customer).key(Optional).response(200, "Cart").conditional().errors(&[CustomerNotFound, CustomerErased]),

    Route::new(Get, "/v1/coupons", "listCoupons", "List coupon campaigns", Read(coupons::list))
        .paginated("Coupon").etag(),
    Route::new(Post, "/v1/coupons", "addCoupon", "Start a coupon campaign", Submit(coupons::add))
        .auth(Staff(Admin)).key(Optional).request_body("NewCoupon").response(201, "Coupon").etag(),
    Route::new(Get, "/v1/coupons/{coupon_id}", "getCoupon", "Get a coupon campaign", Read(coupons::show))
        .response(200, "Coupon").etag().errors(&[CouponNotFound]),
    Route::new(Patch, "/v1/coupons/{coupon_id}", "changeCoupon", "Enlarge, extend or stop a coupon campaign", Submit(coupons::change))
        .auth(Staff(Admin)).key(Optional).request_body("CouponChange").response(200, "Coupon").conditional().errors(UpdateCoupon::REFUSALS),
    Route::new(Post, "/v1/coupons/{coupon_id}/claims", "claimCoupon", "Claim a coupon, first come first served", Submit(coupons::claim))
        .auth(SelfOrBody).key(Required).request_body("NewClaim").response(201, "OwnedCoupon")
        .errors(ClaimCoupon::REFUSALS),
    Route::new(Get, "/v1/coupons/{coupon_id}/claims", "listClaims", "List claims by rank", Read(coupons::claims))
        .auth(Staff(Reader)).paginated("OwnedCoupon").errors(&[CouponNotFound]),
    Route::new(Get, "/v1/customers/{customer_id}/coupons", "listOwnedCoupons", "List a customer's coupons", Read(coupons::owned))
        .auth(Customer).paginated("OwnedCoupon").errors(&[CustomerNotFound]),
    Route::new(Get, "/v1/customers/{customer_id}/coupons/{owned_coupon_id}", "getOwnedCoupon", "Get a customer's coupon", Read(coupons::show_owned))
        .auth(Customer).response(200, "OwnedCoupon").errors(&[CouponNotFound]),

    Route::new(Post, "/v1/customers/{customer_id}/orders", "placeOrder", "Place an order", Submit(orders::place))
        .about("Takes stock and coupon and pays from the balance, atomically.")
        .auth(Customer).key(Required).request_body("NewOrder").response(201, "Order").etag()
        .errors(PlaceOrder::REFUSALS),
    Route::new(Get, "/v1/customers/{customer_id}/orders", "listOrders", "List a customer's orders, newest first", Read(orders::list))
        .auth(Customer).paginated("Order").errors(&[CustomerNotFound]),
    Route::new(Get, "/v1/orders", "listAllOrders", "List the orders of the shop, newest first", Blocking(orders::list_all))
        .auth(Staff(Reader)).paginated("Order").query(ORDERS).errors(&[CustomerNotFound]),
    Route::new(Get, "/v1/orders/{order_id}", "getOrder", "Get an order", Read(orders::show))
        .auth(Order).response(200, "Order").etag().errors(&[OrderNotFound]),
    Route::new(Post, "/v1/orders/{order_id}/payment", "payOrder", "Pay a pending order", Submit(orders::pay))
        .about("An order is never paid twice.")
        .auth(Order).key(Required).response(200, "Order").conditional().errors(PayOrder::REFUSALS),
    Route::new(Post, "/v1/orders/{order_id}/cancellation", "cancelOrder", "Cancel an order or a part", Submit(orders::cancel))
        .about("Returns payment and stock of `items`, or of all that is left, and the coupon with the last unit.")
        .auth(Order).staff_member("keep_stock", Clerk).key(Required).request_body("Cancellation").response(200, "Order").conditional()
        .errors(CancelOrder::REFUSALS),

    Route::new(Get, "/v1/reports/sales", "reportSales", "Report the sales of a window", Blocking(reports::sales))
        .about("`from` or `days`; days are those of the zone.").report("SalesReport", SALES_REPORT),
    Route::new(Get, "/v1/reports/products", "reportProducts", "Rank products, with their ranks before", Blocking(reports::products))
        .report("ProductReport", PRODUCT_REPORT),
    Route::new(Get, "/v1/reports/stock", "reportStock", "Report the days that stock lasts", Blocking(reports::stock))
        .report("StockReport", STOCK_REPORT),
    Route::new(Get, "/v1/reports/coupons", "reportCoupons", "Report the use of campaigns", Blocking(reports::coupons))
        .report("CouponReport", COUPON_REPORT),
    Route::new(Get, "/v1/reports/balances", "reportBalances", "Report the prepaid money of customers", Blocking(reports::balances))
        .report("BalanceReport", BALANCE_REPORT),
    Route::new(Get, "/v1/reports/events", "reportEvents", "Report the events that wait for delivery", Blocking(reports::events))
        .auth(Staff(Reader)).response(200, "WaitingEvents"),

    Route::new(Get, "/v1/exports/{kind}", "exportRows", "Export rows as CSV or NDJSON", Read(exports::export))
        .about("Streamed, of one snapshot. Products, customers and coupons are whole in any window.")
        .auth(Staff(Reader)).query(EXPORT).media_type("application/x-ndjson").csv(),

    Route::new(Get, "/v1/tokens", "listTokens", "List tokens of programs", Read(staff::tokens))
        .auth(Staff(Admin)).paginated("Token"),
    Route::new(Post, "/v1/tokens", "createToken", "Create a token for a program", Blocking(staff::create_token))
        .auth(Staff(Admin)).key(Optional).request_body("NewToken").response(201, "CreatedToken"),
    Route::new(Get, "/v1/tokens/{token_id}", "getToken", "Get a token without its secret", Read(staff::token))
        .auth(Staff(Admin)).response(200, "Token").errors(&[TokenNotFound]),
    Route::new(Delete, "/v1/tokens/{token_id}", "revokeToken", "Revoke a token at once", Submit(staff::revoke_token))
        .auth(Staff(Admin)).no_content().errors(RevokeToken::REFUSALS),
    Route::new(Get, "/v1/audit-log", "listAuditLog", "List changes by staff and programs, newest first", Read(staff::log))
        .auth(Staff(Reader)).paginated("AuditEntry").query(AUDIT_LOG),

    Route::new(Post, "/v1/webhooks/stripe", "handleStripeWebhook", "Receive a Stripe webhook", Blocking(webhooks::stripe))
        .signed_by("Stripe-Signature").no_content().errors(&[BalanceLimit]),

    Route::new(Get, "/healthz", "isAlive", "Check liveness", Fixed(operations::alive)).response(200, "Health"),
    Route::new(Get, "/readyz", "isReady", "Check readiness: the store accepts reads and writes", Blocking(operations::ready)).response(200, "Health"),
    Route::new(Get, "/metrics", "getMetrics", "Get Prometheus metrics", Blocking(operations::metrics)).media_type("text/plain"),
    Route::new(Get, "/openapi.json", "getDocument", "Get this document", Fixed(operations::document)),
    Route::new(Get, "/openapi-3.0.json", "getDocument30", "Get this document as OpenAPI 3.0.3", Fixed(operations::document_3_0))
        .about("For generators without 3.1."),
];
