//! A server under the smallest sufficient resource limits.

use crate::http::client::Request;
use crate::http::server::Server;
use crate::http::workspace::Workspace;
use std::process::Command;

/// A server that has printed its address answers: it acquires all descriptors before.
#[test]
fn server_with_few_descriptors_answers() {
    let workspace = Workspace::with_products(&[(10, 5)]);
    for (limit, library) in [(56, "hyper"), (64, "hyper"), (56, "tiny"), (64, "tiny")] {
        let serve = "serve --listen 127.0.0.1:0 --server";
        let script = format!("ulimit -n {limit}; exec \"$0\" {serve} {library}");
        let mut shell = Command::new("bash");
        shell.current_dir(workspace.path()).args(["-c", &script, env!("CARGO_BIN_EXE_commerce")]);
        let server = Server::run(&mut shell);
        for _ in 0..20 {
            let response = server.client().send(&Request::get("/v1/products/1"));
            assert_eq!(
                (response.status, &response.json()["stock"]),
                (200, &5.into()),
                "{library} {limit}"
            );
        }
        server.stop();
    }
}
