//! One value under one guard, whatever server keeps it: what the stories and the races are told of.

use std::net::SocketAddr;
use std::path::Path;

use dsync_client::guard::sql::Dialect;
use dsync_client::guard::{FencingToken, Stale};

use crate::database::{Database, SqlStore};
use crate::drivers::{MariaDb, Postgres, Sqlite};
use crate::redis_store::RedisStore;
use crate::servers;

/// A writer of one value.
pub trait Store: Send {
    /// Writes under the guard. The next one to look sees all of it or nothing.
    fn write(&mut self, token: FencingToken, value: &str) -> Result<(), Stale>;

    /// The value and the mark, as they were at one moment.
    fn look(&mut self) -> Option<(String, u64)>;
}

/// Which guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Redis: [`set`](dsync_client::guard::redis::RedisGuard::set).
    Set,
    /// Redis: [`run`](dsync_client::guard::redis::RedisGuard::run).
    Run,
    /// SQL: the row exists.
    Update,
    /// SQL: it may not.
    Upsert,
    /// SQL: a transaction that raises a mark, deletes the row and inserts it again.
    Marks,
}

/// Which server; an address says the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Redis,
    Postgres,
    MariaDb,
    Sqlite,
}

/// Where a value is and how it is guarded. As text, it is handed to another process.
#[derive(Clone, Debug)]
pub struct Place {
    pub kind: Kind,
    pub form: Form,
    /// As in `SET TRANSACTION ISOLATION LEVEL`; empty: the server's default.
    pub isolation: String,
    /// Of a server, or a file.
    pub address: String,
    pub resource: String,
}

pub const SQL_FORMS: [Form; 3] = [Form::Update, Form::Upsert, Form::Marks];

impl Place {
    /// A place on the server of the tests. `folder` is for a server that is a file.
    pub fn new(kind: Kind, form: Form, resource: &str, folder: &Path) -> Self {
        let address = match kind {
            Kind::Redis => servers::redis().address.to_string(),
            Kind::Postgres => servers::postgres().address.to_string(),
            Kind::MariaDb => servers::mariadb().address.to_string(),
            Kind::Sqlite => folder.join("data.sqlite").display().to_string(),
        };
        Self { kind, form, isolation: String::new(), address, resource: resource.to_owned() }
    }

    pub fn with_isolation(mut self, level: &str) -> Self {
        level.clone_into(&mut self.isolation);
        self
    }

    pub fn open(&self) -> Box<dyn Store> {
        match self.kind {
            Kind::Redis => Box::new(RedisStore::open(self)),
            Kind::Postgres => Box::new(SqlStore::open(self.postgres(), self)),
            Kind::MariaDb => Box::new(SqlStore::open(self.mariadb(), self)),
            Kind::Sqlite => Box::new(SqlStore::open(self.sqlite(), self)),
        }
    }

    /// The tables, where there are none, and the row.
    pub fn prepare(&self) {
        match self.kind {
            Kind::Redis => {}
            Kind::Postgres => prepare(self.postgres(), self),
            Kind::MariaDb => prepare(self.mariadb(), self),
            Kind::Sqlite => prepare(self.sqlite(), self),
        }
    }

    pub fn postgres(&self) -> Postgres {
        Postgres::connect(self.server(), &self.isolation)
    }

    pub fn mariadb(&self) -> MariaDb {
        MariaDb::connect(self.server(), &self.isolation)
    }

    pub fn sqlite(&self) -> Sqlite {
        Sqlite::open(Path::new(&self.address))
    }

    pub fn server(&self) -> SocketAddr {
        self.address.parse().unwrap()
    }

    pub fn to_text(&self) -> String {
        let Self { kind, form, isolation, address, resource } = self;
        format!("{kind:?}|{form:?}|{isolation}|{address}|{resource}")
    }

    pub fn from_text(text: &str) -> Self {
        let parts: Vec<_> = text.split('|').collect();
        let [kind, form, isolation, address, resource] = parts[..] else { panic!("{text}") };
        let kinds = [Kind::Redis, Kind::Postgres, Kind::MariaDb, Kind::Sqlite];
        let forms = [Form::Set, Form::Run, Form::Update, Form::Upsert, Form::Marks];
        Self {
            kind: kinds.into_iter().find(|known| format!("{known:?}") == kind).unwrap(),
            form: forms.into_iter().find(|known| format!("{known:?}") == form).unwrap(),
            isolation: isolation.to_owned(),
            address: address.to_owned(),
            resource: resource.to_owned(),
        }
    }
}

fn prepare(mut database: impl Database, place: &Place) {
    database.make_tables();
    if place.form == Form::Update {
        let row = format!("INSERT INTO guarded (id, state) VALUES ('{}', '')", place.resource);
        database.plain(&row).unwrap();
    }
}

/// A name for a table or a resource that says where it came from.
pub fn name_of(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::PostgreSql => "postgres",
        Dialect::MySql => "mariadb",
        Dialect::Sqlite => "sqlite",
    }
}
