//! Which hosts and pages are served by which listener.

use super::*;

fn rules(listener: &str, allowed: &[&str]) -> HostRules {
    let allowed = allowed.iter().map(|host| host.parse().unwrap()).collect();
    HostRules::new(listener.parse().unwrap(), allowed)
}

/// The code that it is refused with; `None`: it is served.
fn ask(rules: &HostRules, host: &str, origin: Option<&str>) -> Option<&'static str> {
    let mut headers = HeaderMap::new();
    headers.insert(HOST, host.parse().unwrap());
    if let Some(origin) = origin {
        headers.insert(ORIGIN, origin.parse().unwrap());
    }
    let fault = rules.check(&Uri::from_static("/"), Version::HTTP_11, &headers).err()?;
    assert!(fault.status.is_client_error());
    Some(fault.code)
}

#[test]
fn a_listener_on_loopback_serves_localhost_and_addresses() {
    for listener in ["127.0.0.1:1", "127.8.7.6:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        let rules = rules(listener, &[]);
        for host in ["localhost", "LocalHost:5001", "localhost.", "127.0.0.1:5001", "[::1]:5001"] {
            assert_eq!(ask(&rules, host, None), None, "{listener} {host}");
        }
        for host in ["evil.example", "localhost.evil.example", "n", "127.0.0.1.evil.example:80"] {
            assert_eq!(ask(&rules, host, None), Some("host_not_allowed"), "{listener} {host}");
        }
        for host in ["", "a b", "localhost:x", "localhost:", "me@localhost", "localhost:99999"] {
            assert_eq!(ask(&rules, host, None), Some("invalid_field"), "{listener} {host:?}");
        }
    }
}

#[test]
fn a_listener_that_the_network_reaches_serves_every_name() {
    let rules = rules("0.0.0.0:7070", &[]);
    assert_eq!(ask(&rules, "dsync.default.svc:7070", None), None);
    assert_eq!(ask(&rules, "10.1.2.3:7070", None), None);
}

#[test]
fn a_name_is_allowed_with_every_port_or_with_its_own() {
    let rules = rules("127.0.0.1:1", &["Dsync.internal", "other.internal:81"]);
    assert_eq!(ask(&rules, "dsync.internal:5001", None), None);
    assert_eq!(ask(&rules, "other.internal:81", None), None);
    assert_eq!(ask(&rules, "other.internal:80", None), Some("host_not_allowed"));
    assert_eq!(ask(&rules, "other.internal", None), Some("host_not_allowed"));
}

#[test]
fn a_page_is_served_if_it_came_from_this_node_under_a_name_that_nobody_can_take() {
    for listener in ["127.0.0.1:5001", "0.0.0.0:7070"] {
        let rules = rules(listener, &[]);
        for (host, origin) in [
            ("localhost:5001", "http://localhost:5001"),
            ("127.0.0.1", "http://127.0.0.1:80"),
            ("10.1.2.3", "https://10.1.2.3"),
            ("[::1]:5001", "http://[::1]:5001"),
        ] {
            assert_eq!(ask(&rules, host, Some(origin)), None, "{listener} {host} {origin}");
        }
        for origin in [
            "http://localhost:3000",
            "https://localhost:5001x",
            "http://evil.example",
            "http://10.9.9.9:5001",
            "file://localhost:5001",
            "localhost:5001",
            "null",
            "",
        ] {
            let refused = ask(&rules, "localhost:5001", Some(origin));
            assert_eq!(refused, Some("origin_not_allowed"), "{listener} {origin}");
        }
    }
    // Rebound: the name is the page's own, and the node is not told of it.
    let network = rules("0.0.0.0:7070", &[]);
    let refused = ask(&network, "evil.example:7070", Some("http://evil.example:7070"));
    assert_eq!(refused, Some("origin_not_allowed"));
}

#[test]
fn pages_of_allowed_hosts_are_served() {
    let rules = rules("0.0.0.0:7070", &["ui.example", "localhost:3000"]);
    assert_eq!(ask(&rules, "10.1.2.3:7070", Some("https://ui.example")), None);
    assert_eq!(ask(&rules, "localhost:7070", Some("http://localhost:3000")), None);
    assert!(ask(&rules, "localhost:7070", Some("http://localhost:3001")).is_some());
}

#[test]
fn a_host_is_said_once_and_an_old_client_may_leave_it_out() {
    let rules = rules("127.0.0.1:1", &[]);
    let check = |uri: &str, version, hosts: &[&str]| {
        let hosts = hosts.iter().map(|host| (HOST, host.parse().unwrap()));
        let fault = rules.check(&uri.parse().unwrap(), version, &hosts.collect()).err()?;
        Some((fault.code, fault.field))
    };
    let bad = Some(("invalid_field", Some("host".to_owned())));
    assert_eq!(check("/", Version::HTTP_11, &[]), bad);
    assert_eq!(check("/", Version::HTTP_10, &[]), None);
    assert_eq!(check("/", Version::HTTP_11, &["localhost", "localhost"]), bad);
    let named = check("http://evil.example/", Version::HTTP_11, &["localhost"]);
    assert_eq!(named.map(|(code, _)| code), Some("host_not_allowed"));
    assert_eq!(check("http://localhost/", Version::HTTP_11, &["localhost"]), None);
}

#[test]
fn what_is_no_host_cannot_be_allowed() {
    for text in ["", "http://a", "a/b", "a:b", "*.example", "me@a", "a b"] {
        assert!(text.parse::<AllowedHost>().is_err(), "{text:?}");
    }
}
