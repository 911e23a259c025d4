//! The HTTP API inside another program: `/today` is a page of the program, and every other path is the API of the shop.
//! `cargo run -p commerce-http --example own_pages` calls both as functions; with an address such as
//! `127.0.0.1:8080` behind `--` it serves them.

use commerce_core::{
    AddCustomer, AddProduct, BestSellersRequest, CancellationToken, Currency, Error, Key,
    MemoryStore, Money, PlaceOrder, Shop,
};
use commerce_http::transport::{Server, Settings};
use commerce_http::{
    Answer, Api, Connections, Log, LogFormat, Request, Response, Service, TransportError,
    http_status,
};
use std::io::{Write, stderr, stdout};
use std::sync::Arc;

/// The program's service: its own page before the API.
struct Site {
    api: Arc<Api>,
}

impl Site {
    /// Lists the best sellers as text. The page reads from the same shop as the API.
    fn today(&self) -> Response {
        let (status, text) = match self.best_sellers() {
            Ok(text) => (200, text),
            Err(error) => (http_status(error.code()), error.code().to_string()),
        };
        let headers = vec![("Content-Type", "text/plain; charset=utf-8".into())];
        Response { status, headers, body: text.into_bytes().into() }
    }

    fn best_sellers(&self) -> Result<String, Error> {
        let best = self.api.shop().best_sellers(&BestSellersRequest::default())?.items;
        let lines = best.iter().map(|item| format!("{}: {} sold", item.name, item.units_sold));
        Ok(lines.collect::<Vec<_>>().join("\n"))
    }
}

impl Service for Site {
    fn answer(&self, request: &Request) -> Response {
        match (request.method.as_str(), request.target.as_str()) {
            ("GET" | "HEAD", "/today") => self.today(),
            _ => self.api.answer(request),
        }
    }

    fn start(self: Arc<Self>, request: Arc<Request>) -> Answer {
        match request.target.as_str() {
            // Best sellers take time: not on a thread of an executor.
            "/today" => Answer::Blocking(Box::new(move || self.answer(&request))),
            _ => Arc::clone(&self.api).start(request),
        }
    }

    fn reject(&self, reason: TransportError, request: &Request) -> Response {
        self.api.reject(reason, request)
    }

    fn observe(&self, connections: Connections) {
        self.api.observe(connections);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Another store takes the place of this one without further changes, `SqliteStore::create` for instance.
    let shop = Arc::new(Shop::open(MemoryStore::new(Currency::KRW)));
    let kim = AddCustomer { balance: Money::from_minor(9_000), ..AddCustomer::new("Kim") };
    let kim = shop.call(kim).run()?.id;
    let tea = shop.call(AddProduct::new("Green tea", Money::from_minor(3_000), 10)).run()?.id;
    let key = Key::new("order-1").ok_or("a key is visible ASCII")?;
    shop.place_order(PlaceOrder::new(kim, [(tea, 2)]), &key)?;

    let log = Log::new(LogFormat::Logfmt, Box::new(|line| drop(writeln!(stderr(), "{line}"))));
    let site = Site { api: Arc::new(Api::new(shop, log)?) };
    let Some(address) = std::env::args().nth(1) else {
        for target in ["/today", "/v1/products"] {
            let (method, target) = ("GET".to_owned(), target.to_owned());
            let response = site.answer(&Request { method, target, ..Request::default() });
            let body = String::from_utf8_lossy(&response.body);
            writeln!(stdout(), "{} {}", response.status, body.trim_end())?;
        }
        return Ok(());
    };
    let server = Server::bind(&address.parse()?, Settings::default())?;
    writeln!(stdout(), "http://{}/today", server.address())?;
    // The server stops when another thread cancels the token.
    Ok(server.run(Arc::new(site), &CancellationToken::new())?)
}
