//! The API against its own description, twice. schemathesis makes up requests from `/openapi.json` of a
//! live node, good ones and bad ones, and looks at every answer: no 500, no status, type or body that
//! the description does not name, nothing bad taken, nothing good refused. And a Python client that is
//! generated from the description does what a program does: `api/client_check.py`.
//!
//! `cargo xtask test --suite api` runs it. The node is one of three, so that what it is asked goes
//! through a quorum. Both tools come from PyPI into virtual environments below `target/`; what
//! schemathesis has to be told of this API is in `api/schemathesis.toml` and `api/hooks.py`.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use dsync_tests::process::cluster::Cluster;
use dsync_tests::process::http::HttpClient;
use dsync_tests::process::until::PATIENCE;

/// One version: a new release may check more, and is taken on purpose.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";
const GENERATOR: &str = "openapi-python-client==0.29.1";
/// The same requests in every run, as many for each operation.
const FIXED: [&str; 5] =
    ["--seed", "20250101", "--generation-deterministic", "--max-examples", "100"];
/// Others in every run, for ten minutes.
const FRESH: [&str; 2] = ["--max-time", "600"];

#[test]
fn a_live_node_keeps_to_its_description() {
    keeps_to_its_description(&FIXED);
}

/// What fails names its seed, and becomes an example in the description or a test of its own.
#[test]
#[ignore = "differs from run to run"]
fn and_does_whatever_else_it_is_asked() {
    keeps_to_its_description(&FRESH);
}

fn keeps_to_its_description(made_up: &[&str]) {
    let program = installed("schemathesis", SCHEMATHESIS).join("schemathesis");
    let cluster = Cluster::start();
    let node = &cluster.nodes[cluster.follower()];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api");
    let output = Command::new(program)
        .arg("--config-file")
        .arg(folder.join("schemathesis.toml"))
        .args(["run", &format!("http://{}/openapi.json", node.client)])
        .args(made_up)
        .args(["--request-timeout", &PATIENCE.as_secs().to_string()])
        .args(["--continue-on-failure", "--wait-for-schema", "300"])
        .env("SCHEMATHESIS_HOOKS", folder.join("hooks.py"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        // It keeps examples of what failed where it runs.
        .current_dir(env::temp_dir())
        .output()
        .expect("schemathesis can be started");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    println!("{said}");
    assert!(requests(&said) > 500, "it asked hardly anything");
    for node in &cluster.nodes {
        assert!(!node.log().contains("panicked"), "{}", node.log_tail());
    }
}

#[test]
fn a_generated_python_client_takes_renews_and_releases_a_lock_and_reads_a_stream() {
    let programs = installed("openapi-python-client", GENERATOR);
    let cluster = Cluster::start();
    let node = &cluster.nodes[cluster.follower()];
    let folder = tempfile::tempdir().unwrap();
    let generated = folder.path().join("generated");
    let description = folder.path().join("openapi.json");
    let answer = HttpClient::new(node.client, PATIENCE).get("/openapi.json").unwrap();
    fs::write(&description, &answer.body).unwrap();
    let config = folder.path().join("config.yaml");
    // Nothing is done to the code that is generated. A value of any type is bytes to it.
    let any = "content_type_overrides:\n  \"*/*\": application/octet-stream\n";
    fs::write(&config, format!("post_hooks: []\n{any}")).unwrap();
    let mut generate = Command::new(programs.join("openapi-python-client"));
    generate.args(["generate", "--meta", "none", "--fail-on-warning", "--path"]).arg(&description);
    run(generate.arg("--output-path").arg(&generated).arg("--config").arg(&config));

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/client_check.py");
    let mut check = Command::new(programs.join("python"));
    run(check.arg(script).arg(folder.path()).arg(node.client.to_string()));
}

/// How many requests it made: `3075 generated, 3075 passed`.
fn requests(said: &str) -> u32 {
    let count = |line: &str| line.split_once(" generated, ")?.0.trim().parse().ok();
    said.lines().find_map(count).unwrap_or(0)
}

#[test]
fn the_count_is_not_looked_for_in_a_warning() {
    let said = "8 operations mostly rejected generated data\n  5554 generated, 5554 passed\n";
    assert_eq!(requests(said), 5554);
}

/// Where the programs of a package are, which is installed if it is not there.
fn installed(name: &str, package: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let target = test.ancestors().nth(3).expect("a test lies in target/PROFILE/deps");
    let folder = target.join(name);
    let python = folder.join("bin/python");
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
    }
    let quiet = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", package];
    run(Command::new(&python).args(quiet));
    folder.join("bin")
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}
