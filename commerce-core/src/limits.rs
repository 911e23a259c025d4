//! The limits of the service, each with the reason for its number.

use crate::money::Money;
use std::time::Duration;

/// The largest charge or debit: a million million minor units. Ten thousand million dollars is far above any shop's
/// turnover, and a thousand such amounts still fit [`MAX_BALANCE`].
pub const MAX_AMOUNT: Money = Money::from_minor(1_000_000_000_000);

/// The largest balance, and the largest total of an order: 2^53 - 1, the largest integer that every JSON reader
/// keeps exactly.
pub const MAX_BALANCE: Money = Money::from_minor(9_007_199_254_740_991);

/// The highest unit price of a product; the same as [`MAX_AMOUNT`].
pub const MAX_PRICE: Money = MAX_AMOUNT;

/// The largest stock of a product, and the largest quantity of an order line: a thousand million, so that the sum of
/// all lines of an order, and of all sales of a product, stays far inside 64 bits. Cancelled orders may raise stock
/// above it.
pub const MAX_STOCK: i64 = 1_000_000_000;

/// The largest number of different products in one order or cart. The longest order in a year of grocery data had 161
/// lines; six times that still commits in a few milliseconds.
pub const MAX_ORDER_LINES: usize = 1_000;

/// The largest number of characters of a name, reason or reference: two lines of text.
pub const MAX_TEXT: usize = 200;

/// The largest number of coupons of one campaign; the same as [`MAX_STOCK`].
pub const MAX_COUPONS: i64 = MAX_STOCK;

/// The seconds for which an unpaid order holds stock and coupon by default: 15 minutes, the time people need to
/// fetch a card.
pub const HOLD_SECONDS: i64 = 15 * 60;

/// The longest hold of an unpaid order: a week. A longer hold is a sale.
pub const MAX_HOLD_SECONDS: i64 = 7 * 24 * 60 * 60;

/// The largest number of expired orders that one commit releases, so that a backlog of them takes some milliseconds
/// and megabytes a commit.
pub const EXPIRY_BATCH: usize = 1_000;

/// The longest best-seller window, in days: a leap year.
pub const MAX_WINDOW_DAYS: i64 = 366;

/// The largest page of any list, and the largest number of best-seller ranks.
pub const MAX_PAGE: usize = 100;

/// The most bytes of a page of orders or events as JSON, unless its first item alone has more: 1 MiB. A hundred
/// orders of [`MAX_ORDER_LINES`] would be 22 MiB in the memory of each reader; the cursor leads to the rest. A
/// hundred items of any other list stay far below it: a text of [`MAX_TEXT`] has 800 bytes.
pub const MAX_PAGE_BYTES: usize = 1024 * 1024;

/// The most rows that a page of a list with a filter examines: some tens of milliseconds. A page may then have fewer
/// items than asked for, even none, and a cursor that leads to the rest.
pub const MAX_EXAMINED: usize = 10_000;

/// The default number of items of a page.
pub const DEFAULT_PAGE: usize = 20;

/// The largest number of commands in one group commit. A bigger batch gains little and only delays its first caller.
pub const MAX_BATCH: usize = 1_024;

/// The largest number of order lines and similar rows in one group commit, so that a batch of huge orders takes some
/// megabytes and milliseconds. A row that a command names only by id, as an order to be paid or a cart, counts with
/// a usual size.
pub const MAX_BATCH_WEIGHT: usize = 16_384;

/// The largest number of queued commands whether or not callers wait. Further ones leave the queue when their
/// [`PendingCall`](crate::shop::PendingCall)s are dropped, so that memory is bounded by what callers hold.
pub const MAX_QUEUE: usize = 8_192;

/// The smallest number of characters of a password: the minimum of NIST SP 800-63B.
pub const MIN_PASSWORD: usize = 8;

/// The largest number of characters of a password: enough for any phrase, at no notable cost to hash.
pub const MAX_PASSWORD: usize = 128;

/// The seconds for which the session of a login is valid: a day.
pub const SESSION_SECONDS: i64 = 24 * 60 * 60;

/// The longest session that is opened without a password, in seconds: a year.
pub const MAX_SESSION_SECONDS: i64 = 366 * 24 * 60 * 60;

/// The most days that a token of a program is valid for, if it expires at all: ten years.
pub const MAX_TOKEN_DAYS: i64 = 3_650;

/// The failed logins, beyond the first, before the next one is delayed: enough for people who mistype.
pub const FREE_LOGIN_FAILURES: i64 = 5;

/// The seconds for which failed logins are stored: longer than any delay. Guessed names cannot fill the store, since
/// each one costs a password hash.
pub const LOGIN_MEMORY: i64 = 60 * 60;

/// The largest difference in seconds between the clocks of machines that share a store, as far as logins are
/// concerned. A row from further in the future was written by a wrong clock: such a session is not valid, and such a
/// failed login does not count.
pub const MAX_CLOCK_SKEW: i64 = 60;

/// The longest delay of a login after failures, in seconds: long enough to make guessing hopeless (a hundred attempts
/// a day), short enough that an attacker cannot lock out a customer.
pub const MAX_LOGIN_WAIT: i64 = 15 * 60;

/// The largest number of pending charges of one customer. A gateway that is down collects all of them once it works
/// again, so this bounds how often a customer pays after retries with new keys.
pub const MAX_PENDING_CHARGES: usize = 10;

/// The largest number of callers that wait for the payment gateway at once: half the threads of a server, so that a
/// gateway that hangs leaves the other half for other requests. A charge beyond it stays pending until the
/// reconciler collects it.
pub const MAX_GATEWAY_CALLS: usize = 16;

/// The age in seconds from which the reconciler collects a pending charge: longer than a gateway takes to answer the
/// caller that opened the charge.
pub const SETTLE_AFTER_SECONDS: i64 = 60;

/// The longest delivery of events. A relay's lease on events lasts twice as long, so that no other relay sends an
/// event that is still under way.
pub const MAX_DELIVERY: Duration = Duration::from_secs(30);

/// The seconds of a relay's lease on events: twice [`MAX_DELIVERY`].
pub const DELIVERY_LEASE: i64 = 60;
const _: () = assert!(DELIVERY_LEASE.unsigned_abs() == MAX_DELIVERY.as_secs().saturating_mul(2));

/// The largest difference in seconds between the clocks of machines that share a store, as far as deliveries are
/// concerned: as long as a lease, so that a machine whose clock is behind does not see a lease from the future.
pub const MAX_CLOCK_DIFFERENCE: i64 = DELIVERY_LEASE;

/// The largest number of events that one commit leases or makes due again: a bigger batch gains nothing.
pub const MAX_LEASED_EVENTS: usize = 1_000;

/// The seconds between each failure of an event and its next attempt (exponential back-off); after one more failure
/// the event is parked as a dead letter. That is eleven attempts over 46 hours. The first ones are dense, because most
/// failures are over within a minute and receivers want events in real time; the last ones leave time to repair the
/// receiver.
pub const RETRY_DELAYS: [i64; 10] =
    [1, 5, 30, 2 * 60, 10 * 60, 30 * 60, 2 * 60 * 60, 6 * 60 * 60, 12 * 60 * 60, 24 * 60 * 60];

/// The largest jitter of a retry, per mille of its delay: a tenth.
pub const MAX_RETRY_JITTER: i64 = 100;

/// The longest `Retry-After` in seconds that a destination may ask for: as long as the longest delay.
pub const MAX_RETRY_AFTER: i64 = 24 * 60 * 60;
