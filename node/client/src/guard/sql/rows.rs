//! The token in a column of the row that it guards.
//!
//! One statement compares and writes, so it needs no transaction, and the mark cannot be lost without
//! the row. That is also its limit: **who deletes the row deletes the mark**, and a late
//! [`upsert`](GuardedRows::upsert) brings the row back. Mark rows as deleted instead, or use
//! [`Marks`](super::Marks).
//!
//! A row whose token is NULL has not been written under a token yet; any token may. (`NULL <= 5` is
//! neither true nor false, so without the `COALESCE` it would be refused for ever.)

use super::Dialect;
use super::name::{Column, NameError, Table};
use super::statement::{Proof, Statement, Writer};
use crate::guard::FencingToken;

/// The column for the token, unless another one is named.
pub const DEFAULT_TOKEN_COLUMN: &str = "fencing_token";

/// A table whose rows carry the token of their last writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardedRows {
    dialect: Dialect,
    table: Table,
    key: Column,
    token: Column,
}

impl GuardedRows {
    /// The rows of a table (`orders` or `shop.orders`), each named by its key, a column with a unique
    /// index. Names as the server keeps them: an unquoted `Orders` is `orders` in PostgreSQL.
    ///
    /// # Errors
    /// If a name is not plain.
    pub fn new(dialect: Dialect, table: &str, key: &str) -> Result<Self, NameError> {
        let token = Column::parse(DEFAULT_TOKEN_COLUMN)?;
        let rows = Self { dialect, table: Table::parse(table)?, key: Column::parse(key)?, token };
        rows.columns(&[]).map(|_| rows)
    }

    /// The same with another column for the token.
    ///
    /// # Errors
    /// If the name is not plain, or the key's.
    pub fn with_token_column(mut self, name: &str) -> Result<Self, NameError> {
        self.token = Column::parse(name)?;
        self.columns(&[]).map(|_| self)
    }

    /// Adds the column to a table that is there already. Its rows can be written with any token at
    /// first.
    #[must_use]
    pub fn add_column(&self) -> String {
        let table = self.table();
        format!("ALTER TABLE {table} ADD COLUMN {}", self.token_definition(" DEFAULT 0"))
    }

    /// Changes these columns of a row that exists, if the token is not older than the row's. Without
    /// columns it only raises the mark.
    ///
    /// # Errors
    /// If a name is not plain or stands there twice.
    pub fn update(&self, columns: &[&str]) -> Result<Statement, NameError> {
        let columns = self.columns(columns)?;
        let mut text = Writer::new(self.dialect);
        text.words(&format!("UPDATE {} SET ", self.table()));
        for column in &columns {
            text.name(column).words(" = ").value(column).words(", ");
        }
        text.name(&self.token).words(" = ").token();
        text.words(" WHERE ").name(&self.key).words(" = ").value(&self.key);
        text.words(" AND COALESCE(").name(&self.token).words(", 0) <= ").token();
        Ok(text.done(self.proof(Proof::ChangedRows)))
    }

    /// Inserts a row with these columns, or changes them in the row that is there, if the token is not
    /// older than that row's.
    ///
    /// MySQL and MariaDB change the row that has the same value under *any* unique index: there the
    /// key must be the only one.
    ///
    /// # Errors
    /// If a name is not plain or stands there twice.
    pub fn upsert(&self, columns: &[&str]) -> Result<Statement, NameError> {
        let columns = self.columns(columns)?;
        let mut text = Writer::new(self.dialect);
        self.insert(&mut text, &columns);
        match self.dialect {
            Dialect::PostgreSql | Dialect::Sqlite => self.on_conflict(&mut text, &columns),
            Dialect::MySql => self.on_duplicate_key(&mut text, &columns),
        }
        Ok(text.done(self.proof(Proof::TwoRows)))
    }

    /// Reads the mark of a row, to [`judge`](Statement::judge) a statement that was not
    /// [`accepted`](Statement::accepted). On MySQL and MariaDB it locks the row.
    #[must_use]
    pub fn seen(&self) -> Statement {
        let mut text = Writer::new(self.dialect);
        text.words("SELECT ").name(&self.token);
        text.words(&format!(" FROM {} WHERE ", self.table()));
        text.name(&self.key).words(" = ").value(&self.key);
        if self.dialect == Dialect::MySql {
            text.words(" FOR UPDATE");
        }
        text.done(Proof::Rows)
    }

    pub(super) fn table(&self) -> String {
        self.table.quoted(self.dialect)
    }

    /// Name, type and range of the token's column.
    pub(super) fn token_definition(&self, default: &str) -> String {
        let token = self.token.quoted(self.dialect);
        let max = FencingToken::MAX;
        format!("{token} BIGINT NOT NULL{default} CHECK ({token} BETWEEN 0 AND {max})")
    }

    fn insert(&self, text: &mut Writer, columns: &[Column]) {
        text.words(&format!("INSERT INTO {}", self.table()));
        if self.dialect != Dialect::MySql {
            text.words(" AS guarded");
        }
        text.words(" (").name(&self.key).words(", ");
        for column in columns {
            text.name(column).words(", ");
        }
        text.name(&self.token).words(") VALUES (").value(&self.key).words(", ");
        for column in columns {
            text.value(column).words(", ");
        }
        text.token().words(")");
    }

    fn on_conflict(&self, text: &mut Writer, columns: &[Column]) {
        text.words(" ON CONFLICT (").name(&self.key).words(") DO UPDATE SET ");
        text.each(columns.iter().chain([&self.token]), ", ", |text, column| {
            text.name(column).words(" = EXCLUDED.").name(column);
        });
        text.words(" WHERE COALESCE(guarded.").name(&self.token);
        text.words(", 0) <= EXCLUDED.").name(&self.token);
    }

    /// There is no condition for the whole, so each column has its own. The token comes last: MySQL
    /// assigns from left to right, and the columns compare with what it was before.
    fn on_duplicate_key(&self, text: &mut Writer, columns: &[Column]) {
        text.words(" ON DUPLICATE KEY UPDATE ");
        for column in columns {
            text.name(column).words(" = IF(COALESCE(").name(&self.token).words(", 0) <= ").token();
            text.words(", ").value(column).words(", ").name(column).words("), ");
        }
        text.name(&self.token).words(" = GREATEST(COALESCE(").name(&self.token);
        text.words(", 0), ").token().words(")");
    }

    fn proof(&self, of_mysql: Proof) -> Proof {
        match self.dialect {
            Dialect::PostgreSql | Dialect::Sqlite => Proof::Rows,
            Dialect::MySql => of_mysql,
        }
    }

    /// These columns, none of them twice, and none the key or the token.
    fn columns(&self, names: &[&str]) -> Result<Vec<Column>, NameError> {
        let columns: Vec<_> =
            names.iter().map(|name| Column::parse(name)).collect::<Result<_, _>>()?;
        let mut all = vec![&self.key];
        for column in [&self.token].into_iter().chain(&columns) {
            if all.iter().any(|other| other.is_same(column)) {
                return Err(NameError::Twice(column.plain().to_owned()));
            }
            all.push(column);
        }
        Ok(columns)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Bind;
    use super::*;

    fn rows(dialect: Dialect) -> GuardedRows {
        GuardedRows::new(dialect, "orders", "id").unwrap()
    }

    #[test]
    fn a_numbered_placeholder_is_bound_once() {
        let update = rows(Dialect::Sqlite).update(&["state", "note"]).unwrap();
        assert_eq!(
            update.text(),
            "UPDATE `orders` SET `state` = ?1, `note` = ?2, `fencing_token` = ?3 WHERE `id` = ?4 \
             AND COALESCE(`fencing_token`, 0) <= ?3"
        );
        let columns = ["state", "note"].map(Bind::column);
        assert_eq!(update.binds(), [&columns[..], &[Bind::Token, Bind::column("id")]].concat());
    }

    #[test]
    fn a_placeholder_without_a_number_is_bound_in_the_order_of_the_text() {
        let upsert = rows(Dialect::MySql).upsert(&["state"]).unwrap();
        assert_eq!(
            upsert.text(),
            "INSERT INTO `orders` (`id`, `state`, `fencing_token`) VALUES (?, ?, ?) \
             ON DUPLICATE KEY UPDATE `state` = IF(COALESCE(`fencing_token`, 0) <= ?, ?, `state`), \
             `fencing_token` = GREATEST(COALESCE(`fencing_token`, 0), ?)"
        );
        let [id, state] = ["id", "state"].map(Bind::column);
        let binds = [id, state.clone(), Bind::Token, Bind::Token, state, Bind::Token];
        assert_eq!(upsert.binds(), binds);
        assert_eq!(upsert.text().matches('?').count(), binds.len());
    }

    #[test]
    fn an_upsert_compares_with_the_row_that_is_there() {
        let upsert = rows(Dialect::PostgreSql).upsert(&[]).unwrap();
        assert_eq!(
            upsert.text(),
            r#"INSERT INTO "orders" AS guarded ("id", "fencing_token") VALUES ($1, $2) ON CONFLICT ("id") "#
                .to_owned()
                + r#"DO UPDATE SET "fencing_token" = EXCLUDED."fencing_token" "#
                + r#"WHERE COALESCE(guarded."fencing_token", 0) <= EXCLUDED."fencing_token""#
        );
    }

    #[test]
    fn no_column_is_named_twice() {
        let rows = rows(Dialect::PostgreSql);
        for bad in [&["id"][..], &["fencing_token"], &["a", "A"], &["ID"]] {
            assert!(matches!(rows.update(bad), Err(NameError::Twice(_))), "{bad:?}");
            assert!(matches!(rows.upsert(bad), Err(NameError::Twice(_))), "{bad:?}");
        }
        assert!(GuardedRows::new(Dialect::Sqlite, "t", "fencing_token").is_err());
        assert!(rows.with_token_column("id").is_err());
    }

    #[test]
    fn what_is_no_name_never_becomes_part_of_a_statement() {
        let bad = "a = 1; DROP TABLE orders; --";
        for dialect in [Dialect::PostgreSql, Dialect::MySql, Dialect::Sqlite] {
            assert!(GuardedRows::new(dialect, bad, "id").is_err());
            assert!(GuardedRows::new(dialect, "orders", bad).is_err());
            assert!(rows(dialect).with_token_column(bad).is_err());
            assert!(rows(dialect).update(&[bad]).is_err());
            assert!(rows(dialect).upsert(&[bad]).is_err());
        }
    }
}
