//! Real servers, each a process of its own on a loopback port.
//!
//! A server must end with the tests, also when they are killed, and it must end by its id. So a shell
//! stands between: it starts the server, waits for the end of its own input, which this process holds
//! open for as long as it lives, then ends the server and removes its folder.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Instant;
use std::{env, fs, thread, time::Duration};

use dsync_tests::process::ports;
use dsync_tests::process::until::PATIENCE;

/// A signal to the whole group (Ctrl-C) ends `cat` too, and must not keep the rest from being done.
const GUARDIAN: &str = r#"
trap : INT TERM HUP
"$@" >"$FOLDER/server.log" 2>&1 </dev/null &
server=$!
cat >/dev/null
kill -s "$ENDS_BY" "$server"
wait "$server"
rm -rf -- "$FOLDER"
"#;
const PAUSE: Duration = Duration::from_millis(20);

/// A server that accepts connections.
#[derive(Debug)]
pub struct Server {
    pub address: SocketAddr,
    _guardian: Child,
}

/// A server program that Debian packages.
struct Package {
    name: &'static str,
    /// Where its programs are, beside PATH. `*` is a version.
    folders: &'static [&'static str],
    /// Who runs it if the tests run as root: most database servers refuse to be root.
    user: Option<&'static str>,
}

const REDIS: Package = Package { name: "redis-server", folders: &[], user: None };
const POSTGRES: Package =
    Package { name: "postgresql", folders: &["/usr/lib/postgresql/*/bin"], user: Some("postgres") };
const MARIADB: Package =
    Package { name: "mariadb-server", folders: &["/usr/sbin"], user: Some("mysql") };

pub fn redis() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| start_redis(&[]))
}

/// A cluster of one node; its slots have not been given to it yet.
pub fn redis_cluster() -> Server {
    start_redis(&["--cluster-enabled", "yes"])
}

fn start_redis(more: &[&str]) -> Server {
    REDIS.start("redis-server", "TERM", |folder, address| {
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        let words = ["--bind", &ip, "--port", &port, "--save", "", "--appendonly", "no"];
        let folder = folder.to_str().unwrap();
        [&words[..], &["--dir", folder], more].concat().into_iter().map(str::to_owned).collect()
    })
}

pub fn postgres() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        // Nothing here is about what survives a cut of the power.
        let quick = ["-c", "fsync=off", "-c", "max_connections=50"];
        POSTGRES.start("postgres", "INT", |folder, address| {
            let (ip, port) = (address.ip(), address.port().to_string());
            let data = folder.join("data").display().to_string();
            let words = ["-D", &data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"];
            POSTGRES.run("initdb", &words, folder);
            let ip = format!("listen_addresses={ip}");
            let listen = ["-c", &ip, "-p", &port, "-k", ""];
            let words = [&["-D", data.as_str()], &listen[..], &quick].concat();
            words.into_iter().map(str::to_owned).collect()
        })
    })
}

pub fn mariadb() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        MARIADB.start("mariadbd", "TERM", |folder, address| {
            let (ip, port) = (address.ip(), address.port().to_string());
            let data = format!("--datadir={}", folder.join("data").display());
            let open = "--auth-root-authentication-method=normal";
            MARIADB.run("mariadb-install-db", &["--no-defaults", &data, open], folder);
            let ip = format!("--bind-address={ip}");
            let words = ["--no-defaults", &data, &ip, "--port", &port];
            let socket = format!("--socket={}", folder.join("socket").display());
            let quick = "--innodb-flush-log-at-trx-commit=0";
            let words = [&words[..], &[&socket, quick]].concat();
            words.into_iter().map(str::to_owned).collect()
        })
    })
}

impl Package {
    fn start(
        &self,
        program: &str,
        ends_by: &str,
        arguments: impl FnOnce(&Path, SocketAddr) -> Vec<String>,
    ) -> Server {
        let program = self.find(program).unwrap_or_else(|missing| panic!("{missing}"));
        let folder = self.folder();
        let address = ports::free();
        let arguments = arguments(&folder, address);
        let guardian = self
            .command(Path::new("/bin/sh"), &folder)
            .args(["-c", GUARDIAN, "sh"])
            .arg(program)
            .args(arguments)
            .env("FOLDER", &folder)
            .env("ENDS_BY", ends_by)
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell can be started");
        let server = Server { address, _guardian: guardian };
        server.await_connection(&folder);
        server
    }

    /// Runs a program to its end.
    fn run(&self, program: &str, arguments: &[&str], folder: &Path) {
        let program = self.find(program).unwrap_or_else(|missing| panic!("{missing}"));
        let output = self.command(&program, folder).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", program.display());
    }

    /// A command of the user who runs this package's server.
    fn command(&self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(folder);
        if let Some((user, group)) = self.other_user() {
            command.uid(user).gid(group);
        }
        command
    }

    fn folder(&self) -> PathBuf {
        let prefix = format!("dsync-fencing-{}-", self.name);
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir().unwrap().keep();
        if let Some((user, group)) = self.other_user() {
            chown(&folder, Some(user), Some(group)).unwrap();
        }
        folder
    }

    /// User and group, if this process is root's and the server must not be.
    fn other_user(&self) -> Option<(u32, u32)> {
        let user = self.user.filter(|_| id(&["-u"]) == 0)?;
        Some((id(&["-u", user]), id(&["-g", user])))
    }

    fn find(&self, program: &str) -> Result<PathBuf, String> {
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = env::split_paths(&path).chain(self.folders.iter().flat_map(|f| versions(f)));
        folders.map(|folder| folder.join(program)).find(|file| file.is_file()).ok_or_else(|| {
            format!(
                "{program} is missing: it is in the Debian package {name} \
                 (`apt-get install {name}`)",
                name = self.name
            )
        })
    }
}

impl Server {
    fn await_connection(&self, folder: &Path) {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(self.address).is_err() {
            let log = || fs::read_to_string(folder.join("server.log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "no server listens; it says:\n{}", log());
            thread::sleep(PAUSE);
        }
    }
}

/// Folders that a pattern with one `*` stands for.
fn versions(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once("*/") else { return vec![pattern.into()] };
    let folders = fs::read_dir(before).into_iter().flatten().flatten();
    folders.map(|folder| folder.path().join(after)).collect()
}

fn id(arguments: &[&str]) -> u32 {
    let output = Command::new("id").args(arguments).output().expect("the program id runs");
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().unwrap_or_else(|_| panic!("id {arguments:?} gives no number"))
}

#[test]
fn a_server_that_is_missing_is_named_with_its_package() {
    let said = REDIS.find("no-such-server").unwrap_err();
    assert_eq!(
        said,
        "no-such-server is missing: it is in the Debian package redis-server \
         (`apt-get install redis-server`)"
    );
}

#[test]
fn servers_listen_on_the_loopback_interface_only() {
    assert!(redis().address.ip().is_loopback());
}
