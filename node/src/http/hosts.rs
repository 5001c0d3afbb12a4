//! Whom a request says it is for, and which page made it: `Host` and `Origin`.
//!
//! Problem: a browser sends requests of any page to any address. A page can give its own name the
//! address of a node (DNS rebinding), and then the browser takes the node for the page's own server:
//! no question beforehand, and every answer may be read. What stays true is what the browser says:
//! the name that it was given, in `Host`, and the page, in `Origin`. No page has the name `localhost`
//! or an address for a name, unless it came from there.
//!
//! So a listener on loopback, which serves people at their machine, serves these and the names in
//! `--allowed-hosts` only. A node that the network can reach has names that it cannot know, and
//! serves all of them. But what a page asks for (browsers name the page in whatever could change
//! something) is refused everywhere, unless the page came from this very node under such a name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, Uri, Version};

use super::problem::Fault;

/// A name under which a node may be asked, with a port if only that one counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHost {
    host: String,
    port: Option<u16>,
}

impl FromStr for AllowedHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = Authority::from_str(text).ok().filter(|it| !it.as_str().contains('@'));
        let parts = parts.and_then(|it| Self::of(&it)).filter(|it| !it.host.contains('*'));
        parts.ok_or_else(|| format!("{text:?} is not a host name or `name:port`"))
    }
}

impl AllowedHost {
    fn of(authority: &Authority) -> Option<Self> {
        let host = authority.host().trim_end_matches('.').to_ascii_lowercase();
        // "name:" has no port, "name:x" none that can be read.
        let port = match authority.as_str().strip_prefix(authority.host())? {
            "" => None,
            _ => Some(authority.port_u16()?),
        };
        (!host.is_empty()).then_some(Self { host, port })
    }

    fn covers(&self, asked: &Self) -> bool {
        self.host == asked.host && (self.port.is_none() || self.port == asked.port)
    }

    /// Nobody can give it to an address of theirs.
    fn is_fixed(&self) -> bool {
        let inside = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        self.host == "localhost"
            || self.host.parse::<Ipv4Addr>().is_ok()
            || inside.is_some_and(|host| host.parse::<Ipv6Addr>().is_ok())
    }
}

/// What one listener serves.
#[derive(Clone, Debug, Default)]
pub struct HostRules {
    loopback: bool,
    allowed: Vec<AllowedHost>,
}

impl HostRules {
    /// Of a listener at `address`.
    #[must_use]
    pub fn new(address: SocketAddr, allowed: Vec<AllowedHost>) -> Self {
        let loopback = match address.ip() {
            IpAddr::V4(ip) => ip.is_loopback(),
            IpAddr::V6(ip) => ip.to_canonical().is_loopback(),
        };
        Self { loopback, allowed }
    }

    /// Refuses what is not for this node, or comes from another's page.
    ///
    /// # Errors
    /// With the header that says so.
    pub fn check(&self, uri: &Uri, version: Version, headers: &HeaderMap) -> Result<(), Fault> {
        let host = one(headers, &HOST)?;
        if host.is_none() && version == Version::HTTP_11 {
            return Err(Fault::field("host", "the header Host is missing"));
        }
        let host = host.map(|host| read(host).ok_or_else(unreadable)).transpose()?;
        // A target with a name in it counts before the header.
        let target = uri.authority().map(|it| AllowedHost::of(it).ok_or_else(unreadable));
        let target = target.transpose()?;
        for host in host.iter().chain(&target) {
            self.check_host(host)?;
        }
        match one(headers, &ORIGIN)? {
            Some(origin) => self.check_origin(origin, target.or(host).as_ref()),
            None => Ok(()),
        }
    }

    fn check_host(&self, host: &AllowedHost) -> Result<(), Fault> {
        match !self.loopback || host.is_fixed() || self.allows(host) {
            true => Ok(()),
            false => Err(Fault::host_not_allowed(&host.host)),
        }
    }

    fn check_origin(&self, origin: &str, host: Option<&AllowedHost>) -> Result<(), Fault> {
        let (scheme, page) = origin.split_once("://").unwrap_or_default();
        let default_port = if scheme == "https" { 443 } else { 80 };
        let with_port = |it: &AllowedHost| AllowedHost {
            port: it.port.or(Some(default_port)),
            ..AllowedHost::clone(it)
        };
        let page = read(page).filter(|_| matches!(scheme, "http" | "https"));
        let Some(page) = page.as_ref().map(with_port) else {
            return Err(Fault::origin_not_allowed(origin));
        };
        let own = page.is_fixed() && host.map(with_port).is_some_and(|host| host == page);
        match own || self.allows(&page) {
            true => Ok(()),
            false => Err(Fault::origin_not_allowed(origin)),
        }
    }

    fn allows(&self, host: &AllowedHost) -> bool {
        self.allowed.iter().any(|allowed| allowed.covers(host))
    }
}

fn read(text: &str) -> Option<AllowedHost> {
    AllowedHost::of(&Authority::from_str(text).ok().filter(|it| !it.as_str().contains('@'))?)
}

fn unreadable() -> Fault {
    Fault::field("host", "host must be a host name or address, with a port or without")
}

fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Fault> {
    let mut values = headers.get_all(name).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(Fault::field(name.as_str(), format!("{name} is given twice")));
    }
    first.map(|value| value.to_str()).transpose().map_err(|_| {
        Fault::field(name.as_str(), format!("{name} has characters that are not printable"))
    })
}

#[cfg(test)]
#[path = "hosts_test.rs"]
mod tests;
