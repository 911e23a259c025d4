//! Test servers: they listen on this machine and respond as a test requires, however badly.

use commerce_core::{Event, EventKind, Money, Order, OrderLine, OrderStatus, Timestamp};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver as Incoming, Sender, channel};
use std::thread;
use std::time::Duration;

/// The behaviour of a server after it has read a request.
#[derive(Clone, Debug)]
pub(crate) enum Behaviour {
    /// Sends these bytes and keeps the connection open.
    Responds(Vec<u8>),
    /// Sends these bytes and closes the connection.
    RespondsAndCloses(Vec<u8>),
    /// Sends these bytes, and then one byte every 20 ms without end, as slowloris does.
    Drips(Vec<u8>),
    /// Never responds.
    Hangs,
}

/// A request as it was received.
#[derive(Debug)]
pub(crate) struct Received {
    /// The number of its connection, from 0.
    pub(crate) connection: usize,
    /// The request line and the headers, with names in lower case.
    pub(crate) head: Vec<String>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let prefix = format!("{name}: ");
        self.head.iter().find_map(|line| line.strip_prefix(&prefix))
    }
}

/// A test server.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    pub(crate) received: Incoming<Received>,
}

impl Receiver {
    /// Starts a server with one behaviour.
    pub(crate) fn new(behaviour: Behaviour) -> Self {
        Self::with(move |_| behaviour.clone())
    }

    /// Starts a server whose behaviour depends on the request.
    pub(crate) fn with(behave: impl Fn(&Received) -> Behaviour + Clone + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, received) = channel();
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let (sender, behave) = (sender.clone(), behave.clone());
                thread::spawn(move || serve(connection, &stream.unwrap(), &sender, behave));
            }
        });
        Self { address, received }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/events", self.address)
    }
}

fn serve(
    connection: usize,
    mut stream: &TcpStream,
    sender: &Sender<Received>,
    behave: impl Fn(&Received) -> Behaviour,
) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(connection, &mut reader) {
        let behaviour = behave(&request);
        let _ = sender.send(request);
        let sent = match &behaviour {
            Behaviour::Responds(bytes)
            | Behaviour::RespondsAndCloses(bytes)
            | Behaviour::Drips(bytes) => stream.write_all(bytes),
            Behaviour::Hangs => Ok(()),
        };
        if sent.is_err() || matches!(behaviour, Behaviour::RespondsAndCloses(_)) {
            return;
        }
        if matches!(behaviour, Behaviour::Drips(_)) {
            while stream.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
            return;
        }
    }
}

fn read(connection: usize, reader: &mut BufReader<&TcpStream>) -> Option<Received> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => head.push(match line.split_once(": ") {
                Some((name, value)) => format!("{}: {value}", name.to_ascii_lowercase()),
                None => line.to_owned(),
            }),
        }
    }
    let mut request = Received { connection, head, body: Vec::new() };
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    reader.take(length).read_to_end(&mut request.body).ok()?;
    Some(request)
}

/// Returns the bytes of a response.
pub(crate) fn response(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}").into_bytes()
}

/// Returns an event about an order of that many lines.
pub(crate) fn event(id: i64, lines: i64) -> Event {
    let at = Timestamp::from_unix(1_800_000_000);
    let line = |product: i64| OrderLine {
        product_id: product.into(),
        name: format!("Green tea \"No. {product}\""),
        regular_price: Money::from_minor(4_500),
        unit_price: Money::from_minor(4_500),
        quantity: 2,
        amount: Money::from_minor(9_000),
    };
    let total = Money::from_minor(9_000 * lines);
    Event {
        id: id.into(),
        public_id: format!("9f86d081884c7d65-{id}"),
        kind: EventKind::OrderPaid,
        order_id: (id + 100).into(),
        trace: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        created_at: at,
        data: Order {
            cancellations: Vec::new(),
            id: (id + 100).into(),
            customer_id: 7.into(),
            reference: None,
            status: OrderStatus::Paid,
            lines: (1..=lines).map(line).collect(),
            subtotal: total,
            discount: Money::ZERO,
            total,
            owned_coupon_id: None,
            created_at: at,
            expires_at: None,
            paid_at: Some(at),
            cancelled_at: None,
            previous: None,
        },
    }
}
