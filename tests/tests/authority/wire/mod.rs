//! What every client relies on, whichever path it asks: see Vault's HTTP API, and its Go and Python clients.

mod connections;
mod envelope;
mod input;
mod methods;
mod seal;
mod wrapping;

use keyward_tests::server::Server;
use serde_json::json;

/// A dev server with version 1 key-value secrets at `kv/` too.
fn server() -> Server {
    let server = Server::dev();
    server.root().write("sys/mounts/kv", &json!({"type": "kv"})).expect(204);
    server
}
