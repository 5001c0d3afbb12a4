//! From names to addresses.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use super::net;

/// Addresses to come.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// Turns a name into addresses. DNS in production; a simulation or a test brings its own.
pub trait Resolver: fmt::Debug + Send + Sync {
    /// Every address that `host` has now, each with `port`. An error means "not known now" and never
    /// "gone": the caller asks again and forgets nobody.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a>;
}

/// The operating system's resolver: A and AAAA, hosts file included. Give absolute names, with a
/// trailing dot, to spare a round through the search path of `resolv.conf` at every dial.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        Box::pin(net::lookup(host, port))
    }
}
