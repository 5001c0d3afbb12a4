//! Which servers a command asks.

use clap::Args;
use dsync_client::Client;
use dsync_core::contract::LOCAL_CLIENT_PORTS;

/// Options of every command that talks to a cluster.
#[derive(Args, Clone, Debug)]
pub(super) struct ServerArgs {
    /// Address of a node, like http://127.0.0.1:5001; may be given several times, or as a list.
    /// Default: the three nodes of `dsync local`.
    #[arg(long = "server", env = "DSYNC_SERVERS", value_name = "URL", value_delimiter = ',')]
    servers: Vec<String>,
}

impl ServerArgs {
    /// The addresses.
    pub(super) fn addresses(&self) -> Vec<String> {
        match self.servers.is_empty() {
            true => LOCAL_CLIENT_PORTS.map(|port| format!("http://127.0.0.1:{port}")).to_vec(),
            false => self.servers.clone(),
        }
    }

    /// A client of them.
    pub(super) fn client(&self) -> Result<Client, dsync_client::Error> {
        Client::new(self.addresses())
    }
}
