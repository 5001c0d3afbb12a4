//! Which settings are taken, and which flag is named when they are not.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: NodeArgs,
}

const LIST: &str = "a=h1:7071,b=h2:7071,c=h3:7071";

/// A valid command line, with `more` behind it.
fn listed(more: &[&str]) -> Result<NodeConfig, ConfigError> {
    let base = ["dsync", "--name", "a", "--data", "/d", "--secret-file", "/s", "--peers", LIST];
    given(&[&base, more].concat())
}

fn given(words: &[&str]) -> Result<NodeConfig, ConfigError> {
    Command::try_parse_from(words).unwrap().args.validate()
}

/// What clap refuses before any rule of ours is asked.
fn unreadable(words: &[&str]) -> String {
    let base = ["dsync", "--name", "a", "--data", "/d", "--founders", "1"];
    match Command::try_parse_from([&base, words].concat()) {
        Ok(_) => panic!("{words:?} was read"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn refused_for(flag: &str, result: Result<NodeConfig, ConfigError>) {
    let error = result.expect_err("taken");
    assert_eq!(error.flag(), flag, "{error}");
    assert!(error.to_string().contains(flag), "{error}");
}

#[test]
fn defaults_are_those_of_the_design() {
    let config = listed(&[]).unwrap();
    assert_eq!((config.founders, config.founding), (3, FoundingBy::Auto));
    assert_eq!(config.heartbeat, Duration::from_millis(80));
    assert_eq!(config.election, Duration::from_millis(400));
    assert_eq!(config.segment_bytes, 64 << 20);
    assert_eq!((config.audit_bytes_max, config.audit_age_max), (1 << 30, None));
    assert_eq!((config.cache_bytes, config.cache_entries), (64 << 20, 1_000_000));
    assert_eq!(config.listen_client, "0.0.0.0:7070".parse::<SocketAddr>().unwrap());
    assert_eq!(config.listen_peer.port(), 7071);
    assert_eq!(config.listen_admin.port(), 7072);
    assert_eq!(config.log, LogConfig { format: LogFormat::Auto, filter: "info".into() });
    assert!(!config.exit_with_parent);
}

#[test]
fn every_setting_but_the_tie_to_a_parent_has_its_environment_variable() {
    use clap::CommandFactory;
    for argument in Command::command().get_arguments() {
        let flag = argument.get_long().unwrap();
        let variable = argument.get_env().map(|name| name.to_str().unwrap().to_owned());
        match flag {
            "exit-with-parent" => assert_eq!(variable, None),
            _ => {
                let expected = format!("DSYNC_{}", flag.replace('-', "_").to_uppercase());
                assert_eq!(variable, Some(expected));
            }
        }
        assert!(argument.get_help().is_some(), "--{flag} says nothing of itself");
    }
}

#[test]
fn a_cluster_of_one_needs_neither_peers_nor_a_secret() {
    let config = given(&["dsync", "--name", "a", "--data", "/d", "--founders", "1"]).unwrap();
    assert_eq!(config.founders, 1);
    assert_eq!(config.peers, PeerList::Listed(Vec::new()));
    assert_eq!(config.secret_file, None);
}

#[test]
fn without_peers_the_wish_for_one_node_has_to_be_said() {
    refused_for("--peers", given(&["dsync", "--name", "a", "--data", "/d"]));
    refused_for("--peers", given(&["dsync", "--name", "a", "--data", "/d", "--founders", "3"]));
}

#[test]
fn peers_need_a_secret() {
    refused_for("--secret-file", given(&["dsync", "--name", "a", "--data", "/d", "--peers", LIST]));
}

#[test]
fn the_number_of_founders_is_odd_and_at_most_seven() {
    let many = |n: usize| {
        let list: Vec<String> = (0..n).map(|i| format!("h{i}:7071")).collect();
        let list = list.join(",");
        let words = ["dsync", "--name", "a", "--data", "/d", "--secret-file", "/s", "--peers"];
        given(&[&words[..], &[&list]].concat())
    };
    for n in FOUNDERS_ALLOWED {
        assert_eq!(many(n).unwrap().founders, n);
    }
    for n in [2, 4, 6, 8, 9] {
        refused_for("--founders", many(n));
    }
}

#[test]
fn founders_that_contradict_the_list_are_refused() {
    assert!(listed(&["--founders", "3"]).is_ok());
    refused_for("--founders", listed(&["--founders", "5"]));
    refused_for("--founders", listed(&["--founders", "1"]));
}

#[test]
fn a_node_reads_what_the_operator_sets() {
    use clap::CommandFactory;
    use dsync_core::contract::environment as names;
    let command = Command::command();
    let known = command.get_arguments().filter_map(|argument| argument.get_env()?.to_str());
    let known = known.collect::<Vec<_>>();
    for name in [
        names::NAME,
        names::DATA,
        names::PEERS,
        names::FOUNDERS,
        names::FOUNDING,
        names::SECRET_FILE,
        names::LOG_FORMAT,
        names::LOG,
    ] {
        assert!(known.contains(&name), "{name}");
    }
    for value in [names::FOUNDING_AUTO, names::FOUNDING_ADMIN] {
        assert!(FoundingBy::from_str(value, false).is_ok(), "{value}");
    }
}

#[test]
fn a_node_can_be_kept_from_founding() {
    let config = listed(&["--founding", "admin"]).unwrap();
    assert_eq!((config.founders, config.founding), (3, FoundingBy::Admin));
}

#[test]
fn founders_are_never_guessed_from_dns() {
    let dns = |more: &[&str]| {
        let base = ["dsync", "--name", "a", "--data", "/d", "--secret-file", "/s", "--peers"];
        given(&[&base[..], &["dns:nodes.ns.svc:7071"], more].concat())
    };
    refused_for("--founders", dns(&[]));
    refused_for("--founders", dns(&["--founders", "0"]));
    refused_for("--founders", dns(&["--founders", "2"]));
    assert_eq!(dns(&["--founders", "5"]).unwrap().founders, 5);
}

#[test]
fn a_list_with_names_names_this_node() {
    let list = |list: &str| {
        let base = ["dsync", "--name", "a", "--data", "/d", "--secret-file", "/s", "--peers"];
        given(&[&base[..], &[list]].concat())
    };
    refused_for("--peers", list("x=h1:1,b=h2:1,c=h3:1"));
    refused_for("--peers", list("h1,h2,h3"));
    refused_for("--peers", list(""));
    assert!(list("h1:1,h2:1,h3:1").is_ok());
}

#[test]
fn an_election_waits_for_three_heartbeats_at_least() {
    assert!(listed(&["--heartbeat", "100ms", "--election", "300ms"]).is_ok());
    refused_for("--election", listed(&["--heartbeat", "100ms", "--election", "299ms"]));
    refused_for("--election", listed(&["--election", "5m"]));
    refused_for("--heartbeat", listed(&["--heartbeat", "0ms"]));
    refused_for("--heartbeat", listed(&["--heartbeat", "1h"]));
}

#[test]
fn a_duration_without_a_unit_is_refused_by_its_flag() {
    for bad in
        ["400", "", "ms", "0.0004s", "-1s", "1w", "99999999999999999999s", "9999999999999999h"]
    {
        let flag = format!("--election={bad}");
        let message = unreadable(&[&flag]);
        assert!(message.contains("--election"), "{message}");
    }
    for (good, ms) in [("80ms", 80), ("2s", 2_000), ("1m", 60_000)] {
        assert_eq!(parse_duration(good), Ok(Duration::from_millis(ms)));
        assert_eq!(format_duration(Duration::from_millis(ms)), good);
    }
}

#[test]
fn an_audit_trail_keeps_enough_to_look_something_up() {
    let audit = listed(&["--audit-bytes-max", "2MiB", "--audit-age-max", "90m"]).unwrap();
    assert_eq!(audit.audit_bytes_max, 2 << 20);
    assert_eq!(audit.audit_age_max, Some(Duration::from_secs(5_400)));
    for wrong in [["--audit-bytes-max", "1023KiB"], ["--audit-age-max", "59s"]] {
        assert_eq!(listed(&wrong).unwrap_err().flag(), wrong[0]);
    }
}

#[test]
fn a_cache_keeps_at_least_a_few_values() {
    let cache = listed(&["--cache-bytes", "256MiB", "--cache-entries", "5000"]).unwrap();
    assert_eq!((cache.cache_bytes, cache.cache_entries), (256 << 20, 5_000));
    for wrong in [["--cache-bytes", "1023KiB"], ["--cache-entries", "0"]] {
        assert_eq!(listed(&wrong).unwrap_err().flag(), wrong[0]);
    }
}

#[test]
fn a_segment_is_neither_tiny_nor_huge() {
    assert_eq!(listed(&["--segment-bytes", "16MiB"]).unwrap().segment_bytes, 16 << 20);
    assert_eq!(listed(&["--segment-bytes", "1048576"]).unwrap().segment_bytes, 1 << 20);
    refused_for("--segment-bytes", listed(&["--segment-bytes", "1KiB"]));
    refused_for("--segment-bytes", listed(&["--segment-bytes", "5GiB"]));
    assert!(unreadable(&["--segment-bytes", "64MB"]).contains("--segment-bytes"));
}

#[test]
fn two_listeners_never_share_a_port() {
    refused_for("--listen-admin", listed(&["--listen-admin", "0.0.0.0:7070"]));
    refused_for("--listen-peer", listed(&["--listen-peer", "127.0.0.1:7070"]));
    let apart = ["--listen-client", "127.0.0.1:9", "--listen-peer", "127.0.0.2:9"];
    assert!(listed(&apart).is_ok());
    let free = ["--listen-client", "127.0.0.1:0", "--listen-peer", "127.0.0.1:0"];
    assert!(listed(&free).is_ok());
}

#[test]
fn a_name_is_a_dns_name() {
    let named = |name: &str| given(&["dsync", "--name", name, "--data", "/d", "--founders", "1"]);
    let long = "a".repeat(254);
    for bad in ["", "a b", "a/b", "ä", "a=b", long.as_str()] {
        refused_for("--name", named(bad));
    }
    assert!(named("dsync-0.dsync-nodes.default.svc").is_ok());
}

#[test]
fn a_filter_that_cannot_be_read_is_refused() {
    refused_for("--log", listed(&["--log", "dsync_node=verbose=yes"]));
}
