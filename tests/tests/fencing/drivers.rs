//! The drivers: what differs between the servers beside the statements.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use dsync_client::guard::sql::Dialect;
use dsync_tests::process::until::{PATIENCE, until};
use mysql::consts::CapabilityFlags;
use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder};
use rusqlite::{Connection, ErrorCode, OptionalExtension};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage, Statement};

use crate::database::{Again, Database, Value};

/// Held while tables are made.
static MAKING: Mutex<()> = Mutex::new(());

pub struct Postgres {
    runtime: Runtime,
    client: Client,
    prepared: HashMap<String, Statement>,
}

impl Postgres {
    pub fn connect(server: SocketAddr, isolation: &str) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let address =
            format!("host={} port={} user=postgres dbname=postgres", server.ip(), server.port());
        // It listens before it serves: until then it says so.
        let (client, connection) = until("PostgreSQL serves", || {
            let answer = runtime.block_on(tokio_postgres::connect(&address, NoTls));
            let starts =
                |error: &tokio_postgres::Error| error.code() == Some(&SqlState::CANNOT_CONNECT_NOW);
            (!answer.as_ref().is_err_and(starts)).then(|| answer.unwrap())
        });
        runtime.spawn(connection);
        let mut database = Self { runtime, client, prepared: HashMap::new() };
        if !isolation.is_empty() {
            let level = "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL";
            database.plain(&format!("{level} {isolation}")).unwrap();
        }
        database
    }

    /// True if the server has ended this session.
    pub fn is_ended(&self) -> bool {
        self.runtime.block_on(self.client.simple_query("SELECT 1")).is_err()
    }

    /// True if the statement breaks a rule of its table.
    pub fn refuses(&mut self, text: &str) -> bool {
        let answer = self.runtime.block_on(self.client.simple_query(text));
        answer.is_err_and(|error| error.code() == Some(&SqlState::CHECK_VIOLATION))
    }

    fn prepare(&mut self, text: &str) -> Statement {
        if let Some(statement) = self.prepared.get(text) {
            return statement.clone();
        }
        let statement = self.runtime.block_on(self.client.prepare(text)).unwrap();
        self.prepared.insert(text.to_owned(), statement.clone());
        statement
    }
}

impl Database for Postgres {
    const DIALECT: Dialect = Dialect::PostgreSql;

    fn plain(&mut self, text: &str) -> Result<u64, Again> {
        let answers = self.runtime.block_on(self.client.simple_query(text));
        let rows = |answer: &SimpleQueryMessage| match answer {
            SimpleQueryMessage::CommandComplete(rows) => Some(*rows),
            _ => None,
        };
        answers.map(|answers| answers.iter().find_map(rows).unwrap_or(0)).map_err(of_postgres)
    }

    fn rollback(&mut self) {
        self.plain("ROLLBACK").unwrap();
    }

    fn write(&mut self, text: &str, values: &[Value]) -> Result<u64, Again> {
        let statement = self.prepare(text);
        let values: Vec<_> = values.iter().map(to_sql).collect();
        self.runtime.block_on(self.client.execute(&statement, &values)).map_err(of_postgres)
    }

    fn number(&mut self, text: &str, values: &[Value]) -> Result<Option<i64>, Again> {
        let statement = self.prepare(text);
        let values: Vec<_> = values.iter().map(to_sql).collect();
        let row = self.runtime.block_on(self.client.query_opt(&statement, &values));
        row.map(|row| row.and_then(|row| row.get(0))).map_err(of_postgres)
    }

    fn pair(&mut self, text: &str) -> Option<(String, i64)> {
        let row = self.runtime.block_on(self.client.query_opt(text, &[])).unwrap()?;
        Some((row.get(0), row.get(1)))
    }

    fn once(&mut self, table: &str, make: impl FnOnce(&mut Self)) {
        let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let known = "SELECT count(*) FROM information_schema.tables WHERE table_name = $1";
        if self.number(known, &[Value::Text(table.to_owned())]).unwrap() == Some(0) {
            make(self);
        }
    }
}

fn to_sql(value: &Value) -> &(dyn ToSql + Sync) {
    match value {
        Value::Text(text) => text,
        Value::Number(number) => number,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn of_postgres(error: tokio_postgres::Error) -> Again {
    match error.code() {
        Some(&SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED) => Again,
        _ => panic!("{error}: {:?}", error.as_db_error()),
    }
}

pub struct MariaDb(Conn);

impl MariaDb {
    pub fn connect(server: SocketAddr, isolation: &str) -> Self {
        Self::connect_with(server, isolation, CapabilityFlags::empty())
    }

    /// A connection to which a row counts that the condition found, whether it changes or not.
    pub fn connect_with_found_rows(server: SocketAddr) -> Self {
        Self::connect_with(server, "", CapabilityFlags::CLIENT_FOUND_ROWS)
    }

    fn connect_with(server: SocketAddr, isolation: &str, capabilities: CapabilityFlags) -> Self {
        let options = OptsBuilder::new()
            .ip_or_hostname(Some(server.ip().to_string()))
            .tcp_port(server.port())
            .user(Some("root"))
            .prefer_socket(false)
            .additional_capabilities(capabilities);
        let mut database = Self(Conn::new(options).unwrap());
        database.plain("CREATE DATABASE IF NOT EXISTS fencing").unwrap();
        database.plain("USE fencing").unwrap();
        if !isolation.is_empty() {
            let level = format!("SET SESSION TRANSACTION ISOLATION LEVEL {isolation}");
            database.plain(&level).unwrap();
        }
        database
    }
}

impl MariaDb {
    /// True if the statement breaks a rule of its table.
    pub fn refuses(&mut self, text: &str) -> bool {
        let answer = self.0.query_drop(text);
        matches!(answer, Err(mysql::Error::MySqlError(error)) if error.code == RULE_BROKEN)
    }
}

impl Database for MariaDb {
    const DIALECT: Dialect = Dialect::MySql;

    fn plain(&mut self, text: &str) -> Result<u64, Again> {
        self.0.query_drop(text).map_err(of_mysql)?;
        Ok(self.0.affected_rows())
    }

    fn rollback(&mut self) {
        self.plain("ROLLBACK").unwrap();
    }

    fn write(&mut self, text: &str, values: &[Value]) -> Result<u64, Again> {
        self.0.exec_drop(text, to_mysql(values)).map_err(of_mysql)?;
        Ok(self.0.affected_rows())
    }

    fn number(&mut self, text: &str, values: &[Value]) -> Result<Option<i64>, Again> {
        let row: Option<Option<i64>> =
            self.0.exec_first(text, to_mysql(values)).map_err(of_mysql)?;
        Ok(row.flatten())
    }

    fn pair(&mut self, text: &str) -> Option<(String, i64)> {
        self.0.query_first(text).unwrap()
    }

    fn once(&mut self, table: &str, make: impl FnOnce(&mut Self)) {
        let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let known = "SELECT count(*) FROM information_schema.tables \
                     WHERE table_schema = database() AND table_name = ?";
        if self.number(known, &[Value::Text(table.to_owned())]).unwrap() == Some(0) {
            make(self);
        }
    }
}

fn to_mysql(values: &[Value]) -> Vec<mysql::Value> {
    let to_mysql = |value: &Value| match value {
        Value::Text(text) => mysql::Value::from(text),
        Value::Number(number) => mysql::Value::from(number),
    };
    values.iter().map(to_mysql).collect()
}

/// A CHECK of the table.
const RULE_BROKEN: u16 = 4025;
/// Waited too long; found a deadlock; the row has changed since the transaction's first look.
const REPEAT: [u16; 3] = [1205, 1213, 1020];

fn of_mysql(error: mysql::Error) -> Again {
    match error {
        mysql::Error::MySqlError(error) if REPEAT.contains(&error.code) => Again,
        other => panic!("{other}"),
    }
}

pub struct Sqlite(Connection);

impl Sqlite {
    pub fn open(file: &Path) -> Self {
        let connection = Connection::open(file).unwrap();
        connection.busy_timeout(PATIENCE).unwrap();
        // Nothing here is about what survives a cut of the power.
        connection.execute_batch("PRAGMA synchronous = OFF").unwrap();
        Self(connection)
    }

    /// True if the statement breaks a rule of its table.
    pub fn refuses(&mut self, text: &str) -> bool {
        let answer = self.0.execute(text, []);
        answer.is_err_and(|error| error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation))
    }
}

impl Database for Sqlite {
    const DIALECT: Dialect = Dialect::Sqlite;
    const BEGIN: &'static str = "BEGIN IMMEDIATE";

    fn plain(&mut self, text: &str) -> Result<u64, Again> {
        self.write(text, &[])
    }

    fn rollback(&mut self) {
        if !self.0.is_autocommit() {
            self.plain("ROLLBACK").unwrap();
        }
    }

    fn write(&mut self, text: &str, values: &[Value]) -> Result<u64, Again> {
        let mut statement = self.0.prepare(text).map_err(of_sqlite)?;
        let affected = statement.execute(rusqlite::params_from_iter(to_sqlite(values)));
        affected.map(|rows| rows.try_into().unwrap()).map_err(of_sqlite)
    }

    fn number(&mut self, text: &str, values: &[Value]) -> Result<Option<i64>, Again> {
        let mut statement = self.0.prepare(text).map_err(of_sqlite)?;
        let values = rusqlite::params_from_iter(to_sqlite(values));
        let row = statement.query_row(values, |row| row.get::<_, Option<i64>>(0)).optional();
        row.map(Option::flatten).map_err(of_sqlite)
    }

    fn pair(&mut self, text: &str) -> Option<(String, i64)> {
        self.0.query_row(text, [], |row| Ok((row.get(0)?, row.get(1)?))).optional().unwrap()
    }

    fn once(&mut self, table: &str, make: impl FnOnce(&mut Self)) {
        let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let known = "SELECT count(*) FROM sqlite_master WHERE name = ?1";
        if self.number(known, &[Value::Text(table.to_owned())]).unwrap() == Some(0) {
            // Readers beside the writer. The file remembers it, and busy_timeout does not cover it.
            self.0.pragma_update(None, "journal_mode", "WAL").unwrap();
            make(self);
        }
    }
}

fn to_sqlite(values: &[Value]) -> Vec<rusqlite::types::Value> {
    let to_sqlite = |value: &Value| match value {
        Value::Text(text) => rusqlite::types::Value::from(text.clone()),
        Value::Number(number) => rusqlite::types::Value::from(*number),
    };
    values.iter().map(to_sqlite).collect()
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn of_sqlite(error: rusqlite::Error) -> Again {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Again,
        _ => panic!("{error}"),
    }
}
