//! A redis-server of a test's own, on a socket file in a folder of its own.

#![allow(dead_code)]

use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use dsync_redis_store::Address;
use redis::{Connection, Value};
use tempfile::TempDir;

/// Ends with its owner.
pub struct Server {
    folder: TempDir,
    config: Vec<String>,
    process: Child,
}

impl Server {
    /// Starts one, and waits until it answers. `config`: words of its command line, after ours.
    pub fn start(config: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = config.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let process = spawn(&folder, &config);
        let server = Self { folder, config, process };
        server.await_answer();
        server
    }

    /// Kills it, and starts it again with the same folder.
    pub fn kill_and_restart(&mut self) {
        self.kill_and_restart_after(|_| ());
    }

    /// Stops it, or lets it go on, wherever it is.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// How long its append-only file is.
    pub fn log_bytes(&self) -> u64 {
        std::fs::metadata(self.log()).unwrap().len()
    }

    /// As [`Server::kill_and_restart`]; its append-only file is changed meanwhile.
    pub fn kill_and_restart_after(&mut self, change: impl FnOnce(&std::path::Path)) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        if self.log().exists() {
            change(&self.log());
        }
        self.process = spawn(&self.folder, &self.config);
        self.await_answer();
    }

    /// Where it is.
    pub fn address(&self) -> Address {
        let url = format!("redis+unix://{}", self.socket().display());
        Address { url, ..Address::default() }
    }

    /// A connection beside that of the code under test.
    pub fn connection(&self) -> Connection {
        redis::Client::open(self.address().url).unwrap().get_connection().unwrap()
    }

    /// One command by words.
    pub fn run(&self, words: &str) -> Value {
        let mut words = words.split_whitespace();
        let mut call = redis::cmd(words.next().unwrap());
        for word in words {
            call.arg(word);
        }
        call.query(&mut self.connection()).unwrap_or_else(|error| panic!("{error}"))
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("appendonlydir/appendonly.aof.1.incr.aof")
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    fn await_answer(&self) {
        let client = redis::Client::open(self.address().url).unwrap();
        // The kernel says when the socket is there; a server that failed has said why.
        for _ in 0..3_000 {
            let ping = client.get_connection().and_then(|mut it| redis::cmd("PING").exec(&mut it));
            if ping.is_ok() || ping.is_err_and(|error| error.code() == Some("NOAUTH")) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("redis-server does not answer");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(folder: &TempDir, config: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--port", "0", "--unixsocket", "redis.sock", "--save", "", "--dir"]);
    command.arg(folder.path()).args(config).current_dir(folder.path());
    command.stdout(Stdio::null());
    command.spawn().unwrap_or_else(|error| match error.kind() {
        ErrorKind::NotFound => panic!(
            "redis-server is missing: it is in the Debian package redis-server \
             (`apt-get install redis-server`)"
        ),
        _ => panic!("redis-server: {error}"),
    })
}
