//! Every limit of the service, each with the reason for its number.

use crate::money::Money;
use std::time::Duration;

/// The most money one charge or debit may move: a million million minor units. Ten thousand million
/// dollars is far above any shop's till, and a thousand such amounts still fit [`MAX_BALANCE`].
pub const MAX_AMOUNT: Money = Money::from_minor(1_000_000_000_000);

/// The most a balance, and the total of an order, may reach: 2^53 - 1, the largest integer that every
/// JSON reader keeps exactly.
pub const MAX_BALANCE: Money = Money::from_minor(9_007_199_254_740_991);

/// The most a unit of a product may cost; as [`MAX_AMOUNT`].
pub const MAX_PRICE: Money = MAX_AMOUNT;

/// The most units of a product that are put into stock, and of one item of an order: a thousand
/// million, so that the sum of all lines of an order, and of all sales of a product, stays far inside 64
/// bits. Orders that are cancelled may bring stock above it.
pub const MAX_STOCK: i64 = 1_000_000_000;

/// The most different products in one order or cart. The longest order of a grocery year had 161
/// lines; six times that is a batch that still commits in a few milliseconds.
pub const MAX_ORDER_LINES: usize = 1_000;

/// The most characters of a name, reason or reference: two lines of text.
pub const MAX_TEXT: usize = 200;

/// The most coupons one campaign may give out; as [`MAX_STOCK`].
pub const MAX_COUPONS: i64 = MAX_STOCK;

/// How long an unpaid order holds stock and coupon unless the shop is told otherwise: 15 minutes, the
/// time people need to fetch a card.
pub const HOLD_SECONDS: i64 = 15 * 60;

/// The longest an unpaid order may hold stock: a week. Longer is no hold but a sale.
pub const MAX_HOLD_SECONDS: i64 = 7 * 24 * 60 * 60;

/// The most expired orders that one commit releases, so that a pile of them stays within some
/// milliseconds and megabytes a commit.
pub const EXPIRY_BATCH: usize = 1_000;

/// The most days of a best-seller window: a leap year.
pub const MAX_WINDOW_DAYS: i64 = 366;

/// The most ranks of best sellers, and the most items of a page of any list.
pub const MAX_PAGE: usize = 100;

/// The most bytes of a page of orders or events as JSON, unless its first item alone has more: 1 MiB. A hundred
/// orders of [`MAX_ORDER_LINES`] would be 22 MiB, held by every reader at once; the rest of the page comes with its
/// cursor. A hundred items of any other list stay far below it: a text of [`MAX_TEXT`] has 800 bytes.
pub const MAX_PAGE_BYTES: usize = 1024 * 1024;

/// The items of a page when nobody says how many.
pub const DEFAULT_PAGE: usize = 20;

/// The most commands in one commit. Beyond this a bigger batch gains little and only delays its
/// first caller.
pub const MAX_BATCH: usize = 1_024;

/// The most order lines and the like that one commit takes on, so that a batch of huge orders stays
/// within some megabytes and milliseconds. What a command names by id only, as an order to be paid or a
/// cart, counts as a usual one.
pub const MAX_BATCH_WEIGHT: usize = 16_384;

/// The most commands that wait. Callers beyond it are held back, so that memory is bounded.
pub const MAX_QUEUE: usize = 8_192;

/// The least characters of a password: what NIST asks for at least.
pub const MIN_PASSWORD: usize = 8;

/// The most characters of a password: any phrase, and no work worth mentioning to hash.
pub const MAX_PASSWORD: usize = 128;

/// How long a session lasts that a login opens: a day.
pub const SESSION_SECONDS: i64 = 24 * 60 * 60;

/// The longest a session may last that is opened without a password: a year.
pub const MAX_SESSION_SECONDS: i64 = 366 * 24 * 60 * 60;

/// How many logins may fail, beyond the first, before the next one has to wait: what people who mistype
/// need.
pub const FREE_LOGIN_FAILURES: i64 = 5;

/// For how many seconds failed logins are remembered: longer than any wait. Names that were guessed cannot
/// pile up: to hash passwords takes too long.
pub const LOGIN_MEMORY: i64 = 60 * 60;

/// By how many seconds the clocks of machines that share a store may differ. What was written further ahead
/// was written by a clock that was wrong: such a session is not valid, and such a failed login does not count.
pub const MAX_CLOCK_SKEW: i64 = 60;

/// The longest a login has to wait after failures: long enough to make guessing hopeless (a hundred
/// tries a day), short enough that nobody is shut out by somebody else for good.
pub const MAX_LOGIN_WAIT: i64 = 15 * 60;

/// The most charges of one customer that may wait for their gateway. A gateway that is down collects all of
/// them once it is back, so this is how often somebody may be charged who tried again with new keys.
pub const MAX_PENDING_CHARGES: usize = 10;

/// The most callers that wait for a payment gateway at a time: half the threads of a server, so that one which
/// hangs leaves the other half to all else. A charge beyond it stays pending, to be asked for later.
pub const MAX_GATEWAY_CALLS: usize = 16;

/// How many seconds a new charge is left to whoever asked for it before others ask its gateway as well: longer
/// than a gateway takes to answer.
pub const SETTLE_AFTER_SECONDS: i64 = 60;

/// The longest a delivery of events may take. A relay's claim on events lasts twice as long, so that what
/// is still under way is not sent by another.
pub const MAX_DELIVERY: Duration = Duration::from_secs(30);

/// How many seconds a relay may take to deliver what it has taken up: twice [`MAX_DELIVERY`].
pub const DELIVERY_LEASE: i64 = 60;
const _: () = assert!(DELIVERY_LEASE.unsigned_abs() == MAX_DELIVERY.as_secs().saturating_mul(2));

/// The most seconds by which the clocks of machines that share a store may differ, as far as deliveries are
/// concerned: as long as a lease, so that a machine whose clock is behind does not take a lease for one of
/// the future.
pub const MAX_CLOCK_DIFFERENCE: i64 = DELIVERY_LEASE;

/// The most events that are taken up, or sent again, by one commit: beyond that a bigger batch gains nothing.
pub const MAX_LEASED_EVENTS: usize = 1_000;

/// The seconds between each failure of an event and its next try; after one more failure it is parked. That is
/// eleven tries over 46 hours. The first ones are dense, because most failures are over within a minute and
/// events are wanted in real time; the last ones leave time to repair the receiver.
pub const RETRY_DELAYS: [i64; 10] =
    [1, 5, 30, 2 * 60, 10 * 60, 30 * 60, 2 * 60 * 60, 6 * 60 * 60, 12 * 60 * 60, 24 * 60 * 60];

/// The most that a retry is put off at random, per mille of its delay: a tenth.
pub const MAX_RETRY_JITTER: i64 = 100;

/// The most seconds that a destination may put a retry off with `Retry-After`: as long as the longest delay.
pub const MAX_RETRY_AFTER: i64 = 24 * 60 * 60;
