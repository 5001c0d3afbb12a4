//! A value in a database under a guard: the whole procedure that docs/fencing.md describes, once for
//! all drivers.

use dsync_client::guard::sql::{Bind, Dialect, GuardedRows, Marks, Refused, Statement};
use dsync_client::guard::{FencingToken, Stale};

use crate::store::{Form, Place, Store};

/// The server asks for the whole transaction once more.
#[derive(Debug)]
pub struct Again;

/// What a placeholder gets.
#[derive(Clone, Debug)]
pub enum Value {
    Text(String),
    Number(i64),
}

/// As much of a driver as is needed.
pub trait Database: Send + Sized {
    const DIALECT: Dialect;
    /// What begins a transaction.
    const BEGIN: &'static str = "BEGIN";

    /// A statement without placeholders.
    fn plain(&mut self, text: &str) -> Result<u64, Again>;

    /// Leaves a transaction, if one is open.
    fn rollback(&mut self);

    /// A statement that writes; how many rows it has affected.
    fn write(&mut self, text: &str, values: &[Value]) -> Result<u64, Again>;

    /// A query of one number.
    fn number(&mut self, text: &str, values: &[Value]) -> Result<Option<i64>, Again>;

    /// A query of a text and a number.
    fn pair(&mut self, text: &str) -> Option<(String, i64)>;

    /// The tables of the tests, where there are none.
    fn make_tables(&mut self) {
        let text = if Self::DIALECT == Dialect::MySql { "VARCHAR(200)" } else { "TEXT" };
        let columns = format!("(id {text} NOT NULL PRIMARY KEY, state {text})");
        self.once("guarded", |database| {
            database.plain(&format!("CREATE TABLE guarded {columns}")).unwrap();
            database.plain(&rows(Self::DIALECT).add_column()).unwrap();
            database.plain(&format!("CREATE TABLE other {columns}")).unwrap();
            database.plain(marks(Self::DIALECT).create_table()).unwrap();
        });
    }

    /// Runs `make` unless the table is there, and never twice at the same time.
    fn once(&mut self, table: &str, make: impl FnOnce(&mut Self));
}

pub fn rows(dialect: Dialect) -> GuardedRows {
    GuardedRows::new(dialect, "guarded", "id").unwrap()
}

pub fn marks(dialect: Dialect) -> Marks {
    Marks::new(dialect, "fencing_marks").unwrap()
}

/// The values of a statement's placeholders.
pub fn values(
    statement: &Statement,
    resource: &str,
    state: &str,
    token: FencingToken,
) -> Vec<Value> {
    let value = |bind: &Bind| match bind {
        Bind::Token => Value::Number(token.to_i64()),
        Bind::Column(name) if name == "state" => Value::Text(state.to_owned()),
        Bind::Column(_) => Value::Text(resource.to_owned()),
    };
    statement.binds().iter().map(value).collect()
}

pub struct SqlStore<D> {
    pub database: D,
    form: Form,
    resource: String,
    /// What compares and raises.
    guard: Statement,
    seen: Statement,
}

impl<D: Database> SqlStore<D> {
    pub fn open(database: D, place: &Place) -> Self {
        let (rows, marks) = (rows(D::DIALECT), marks(D::DIALECT));
        let (guard, seen) = match place.form {
            Form::Update => (rows.update(&["state"]).unwrap(), rows.seen()),
            Form::Upsert => (rows.upsert(&["state"]).unwrap(), rows.seen()),
            _ => (marks.raise().clone(), marks.seen().clone()),
        };
        Self { database, form: place.form, resource: place.resource.clone(), guard, seen }
    }

    /// One attempt.
    pub fn try_write(
        &mut self,
        token: FencingToken,
        state: &str,
    ) -> Result<Result<(), Refused>, Again> {
        // One statement that counts what it matches needs no transaction.
        if self.form != Form::Marks && D::DIALECT != Dialect::MySql {
            return self.inside(token, state);
        }
        self.database.plain(D::BEGIN)?;
        let written = self.inside(token, state);
        if matches!(written, Ok(Ok(()))) && self.database.plain("COMMIT").is_ok() {
            return written;
        }
        // After an error the server may have done that already; then it changes nothing.
        self.database.rollback();
        if matches!(written, Ok(Ok(()))) { Err(Again) } else { written }
    }

    fn inside(&mut self, token: FencingToken, state: &str) -> Result<Result<(), Refused>, Again> {
        let bound = values(&self.guard, &self.resource, state, token);
        let affected = self.database.write(self.guard.text(), &bound)?;
        if !self.guard.accepted(affected) {
            let bound = values(&self.seen, &self.resource, state, token);
            let seen = self.database.number(self.seen.text(), &bound)?;
            if let Err(refused) = self.guard.judge(token, seen) {
                return Ok(Err(refused));
            }
        }
        if self.form == Form::Marks {
            let id = &self.resource;
            self.database.plain(&format!("DELETE FROM other WHERE id = '{id}'"))?;
            let insert = format!("INSERT INTO other (id, state) VALUES ('{id}', '{state}')");
            self.database.plain(&insert)?;
        }
        Ok(Ok(()))
    }
}

impl<D: Database> Store for SqlStore<D> {
    fn write(&mut self, token: FencingToken, value: &str) -> Result<(), Stale> {
        loop {
            match self.try_write(token, value) {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(Refused::Stale(stale))) => return Err(stale),
                Ok(Err(refused)) => panic!("{refused}"),
                Err(Again) => {}
            }
        }
    }

    fn look(&mut self) -> Option<(String, u64)> {
        let id = &self.resource;
        let text = match self.form {
            Form::Marks => format!(
                "SELECT state, token FROM other, fencing_marks WHERE id = '{id}' AND resource = '{id}'"
            ),
            _ => format!("SELECT state, fencing_token FROM guarded WHERE id = '{id}'"),
        };
        let (value, mark) = self.database.pair(&text)?;
        Some((value, u64::try_from(mark).unwrap()))
    }
}
