//! Prints the description of the HTTP API, for `cargo xtask gen`.

use std::io::Write;

fn main() -> std::io::Result<()> {
    std::io::stdout().write_all(dsync_node::http::v1::openapi::text().as_bytes())
}
