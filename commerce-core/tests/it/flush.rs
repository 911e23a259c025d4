//! While the writer lock is contended, it is released before the commit is flushed. No answer may be based on such a
//! commit until it is durable: neither its own nor that of a read.

use crate::common::assert_clean;
use crate::common::cluster::{Cluster, wait_until};
use crate::common::insist::{TIMEOUT, assert_each_once, fill, place_again};
use commerce_core::{CartEdit, Code, EditCart, Money, Order, Outcome, Shop};
use commerce_postgres::PostgresStore;
use postgres::Client;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Places an order while the writer lock is contended: it is held until the order waits for it, and `ready` is called right
/// before it is released, `released` right after; it can ask whether the order has its answer.
fn place_contended(
    shop: &Shop,
    name: &str,
    admin: &mut Client,
    ready: impl FnOnce(),
    released: impl FnOnce(&dyn Fn() -> bool),
) -> Outcome<Order> {
    admin.batch_execute("BEGIN; SELECT id FROM store WHERE id = 1 FOR UPDATE").unwrap();
    std::thread::scope(|scope| {
        let order = scope.spawn(|| place_again(shop, name));
        wait_until("the order waits for the writer lock", || {
            let sql = "SELECT count(*) FROM pg_stat_activity
                       WHERE wait_event_type = 'Lock' AND datname = current_database()";
            admin.query_one(sql, &[]).unwrap().get::<_, i64>(0) > 0
        });
        ready();
        // It fails if the server is killed meanwhile.
        let _ = admin.batch_execute("ROLLBACK");
        released(&|| order.is_finished());
        order.join().unwrap()
    })
}

fn count_orders(admin: &mut Client) -> i64 {
    admin.query_one("SELECT count(*) FROM orders", &[]).unwrap().get(0)
}

#[test]
fn nobody_is_answered_from_a_commit_that_the_standby_lacks() {
    let primary = Cluster::start();
    let url = primary.database();
    let database = url.rsplit('/').next().unwrap();
    let shop = Shop::builder().timeout(TIMEOUT).open(PostgresStore::open(&url).unwrap());
    fill(&shop);
    let other =
        Shop::builder().timeout(Duration::from_secs(1)).open(PostgresStore::open(&url).unwrap());
    let balance = other.balance(6.into()).unwrap().balance;
    let standby = primary.standby();
    let (mut admin, mut witness) = (primary.admin(database), primary.admin(database));
    let refused = || {
        let edit = CartEdit::Set(1.into(), 1);
        other.call(EditCart { customer_id: 99.into(), edit }).run().unwrap_err().code()
    };
    let outcome = place_contended(
        &shop,
        "order",
        &mut admin,
        || standby.stop(),
        |_| {
            wait_until("the commit releases the lock", || count_orders(&mut witness) == 1);
            assert_eq!(other.balance(6.into()).unwrap_err().code(), Code::Busy, "a read");
            assert_eq!(refused(), Code::Busy, "a refusal");
            standby.begin();
        },
    );
    // The caller may have reached its timeout, but then the commit is still there.
    let replayed = place_again(&shop, "order");
    assert!(replayed.replayed && replayed.result.is_ok(), "{outcome:?}, then {replayed:?}");
    let left = Money::from_minor(balance.minor() - 30);
    assert_eq!(other.balance(6.into()).unwrap().balance, left);
    assert_eq!(refused(), Code::CustomerNotFound);
    assert_clean(&shop);
}

/// Kills the server once it has sent a number of answers, before the client receives the last of them.
#[derive(Default)]
struct Fuse {
    is_armed: AtomicBool,
    answers_left: AtomicI64,
    has_blown: AtomicBool,
    /// Held while the server is killed.
    kill: Mutex<()>,
}

impl Fuse {
    fn arm(&self, answers: i64) {
        self.answers_left.store(answers, Ordering::SeqCst);
        self.has_blown.store(false, Ordering::SeqCst);
        self.is_armed.store(true, Ordering::SeqCst);
    }

    fn disarm(&self) {
        self.is_armed.store(false, Ordering::SeqCst);
    }

    fn has_blown(&self) -> bool {
        let _killing = self.kill.lock().unwrap();
        self.has_blown.load(Ordering::SeqCst)
    }

    /// Counts an answer; returns true if the server was killed.
    fn burn(&self, cluster: &Cluster) -> bool {
        let _killing = self.kill.lock().unwrap();
        let blows = self.is_armed.load(Ordering::SeqCst)
            && self.answers_left.fetch_sub(1, Ordering::SeqCst) == 1;
        if blows {
            cluster.kill();
            self.has_blown.store(true, Ordering::SeqCst);
        }
        blows
    }
}

/// Starts a proxy that passes on each message of the server by itself; returns its port.
fn proxy(cluster: &Arc<Cluster>, fuse: &Arc<Fuse>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (cluster, fuse) = (Arc::clone(cluster), Arc::clone(fuse));
    std::thread::spawn(move || {
        for near in listener.incoming() {
            let near = near.unwrap();
            let Ok(far) = TcpStream::connect(("127.0.0.1", cluster.port())) else { continue };
            let (mut from, mut to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
            let (cluster, fuse) = (Arc::clone(&cluster), Arc::clone(&fuse));
            std::thread::spawn(move || {
                let _ = pass_on(far, &near, &cluster, &fuse);
                let _ = near.shutdown(Shutdown::Both);
            });
        }
    });
    port
}

fn pass_on(
    mut server: TcpStream,
    mut client: &TcpStream,
    cluster: &Cluster,
    fuse: &Fuse,
) -> std::io::Result<()> {
    loop {
        let mut head = [0; 5];
        server.read_exact(&mut head)?;
        let length = u32::from_be_bytes(head[1..].try_into().unwrap());
        let mut body = vec![0; usize::try_from(length).unwrap() - 4];
        server.read_exact(&mut body)?;
        // The server is ready for the next statement.
        if head[0] == b'Z' && fuse.burn(cluster) {
            return Ok(());
        }
        client.write_all(&head)?;
        client.write_all(&body)?;
    }
}

/// The server dies at every answer to an order that is committed, and releases the lock, before it is flushed, and right after its
/// caller is answered. By itself the server flushes too late to save anything.
#[test]
fn acknowledged_orders_survive_a_kill_at_every_answer_of_the_server() {
    let cluster = Arc::new(Cluster::start_with(|_| "wal_writer_delay = '10s'".to_owned()));
    let fuse = Arc::new(Fuse::default());
    let port = proxy(&cluster, &fuse);
    let database = cluster.database().rsplit('/').next().unwrap().to_owned();
    let url = format!("postgres://postgres@127.0.0.1:{port}/{database}?sslmode=disable");
    let shop = Shop::builder().timeout(TIMEOUT).open(PostgresStore::open(&url).unwrap());
    fill(&shop);
    let mut placed = Vec::new();
    for answers in 1.. {
        let mut admin = cluster.admin(&database);
        // The statements are prepared on the new connection.
        let name = format!("before-{answers}");
        let before = place_contended(&shop, &name, &mut admin, || (), |_| ());
        placed.push((before.result.unwrap().id, name));
        let name = format!("order-{answers}");
        let ready = || fuse.arm(answers);
        let outcome = place_contended(&shop, &name, &mut admin, ready, |is_placed| {
            wait_until("the order is placed, or the server is dead", || {
                is_placed() || fuse.has_blown()
            });
            fuse.disarm();
            if fuse.has_blown() {
                cluster.begin();
            }
        });
        let has_blown = fuse.has_blown();
        if !has_blown {
            cluster.kill();
            cluster.begin();
        }
        let again = loop {
            let again = place_again(&shop, &name);
            if again.result.is_ok() {
                break again;
            }
        };
        assert!(outcome.result.is_err() || again.replayed, "{outcome:?} is lost");
        placed.push((again.result.unwrap().id, name));
        if !has_blown {
            // Of the load, the commit, the flush and the end of the veil.
            assert!(answers > 4, "only {answers} answers");
            break;
        }
    }
    assert_each_once(&placed, &shop, &mut cluster.admin(&database));
    assert_clean(&shop);
}
