//! A server under limits that leave it just enough.

use crate::http::client::Ask;
use crate::http::place::Place;
use crate::http::server::Server;
use std::process::Command;

/// A server that prints its address answers: what it needs was had before that.
#[test]
fn a_server_with_few_descriptors_answers() {
    let place = Place::with_products(&[(10, 5)]);
    for limit in [56, 64, 128] {
        let script = format!("ulimit -n {limit}; exec \"$0\" serve --listen 127.0.0.1:0");
        let mut shell = Command::new("bash");
        shell.current_dir(place.path()).args(["-c", &script, env!("CARGO_BIN_EXE_commerce")]);
        let server = Server::run(&mut shell);
        for _ in 0..20 {
            let answer = server.client().ask(&Ask::get("/v1/products/1"));
            assert_eq!((answer.status, &answer.json()["stock"]), (200, &5.into()), "{limit}");
        }
        server.stop();
    }
}
