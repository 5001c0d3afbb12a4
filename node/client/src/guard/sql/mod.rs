//! Guards for what is kept in PostgreSQL, MySQL, MariaDB or SQLite: statements, without a driver.
//!
//! Two forms, by what is protected:
//!
//! - [`GuardedRows`]: one row, with the token in a column of its own. One statement, no transaction.
//! - [`Marks`]: any writes of one transaction. A table of marks, and a statement that only raises; it
//!   comes first in the transaction, and if it is refused, the transaction is rolled back.
//!
//! Each gives a [`Statement`]: its text, what to bind and how to read the answer:
//!
//! ```
//! use dsync_client::guard::FencingToken;
//! use dsync_client::guard::sql::{Bind, Dialect, GuardedRows};
//!
//! let rows = GuardedRows::new(Dialect::PostgreSql, "shop.orders", "id")?;
//! let update = rows.update(&["state"])?;
//! assert_eq!(
//!     update.text(),
//!     r#"UPDATE "shop"."orders" SET "state" = $1, "fencing_token" = $2 WHERE "id" = $3 "#.to_owned()
//!         + r#"AND COALESCE("fencing_token", 0) <= $2"#
//! );
//! let binds = [Bind::column("state"), Bind::Token, Bind::column("id")];
//! assert_eq!(update.binds(), binds);
//!
//! // The server said how many rows it has changed. None: read the mark, and have it judged.
//! let (token, rows_affected, seen) = (FencingToken::try_from(41)?, 0, Some(42));
//! assert!(!update.accepted(rows_affected));
//! assert_eq!(
//!     update.judge(token, seen).unwrap_err().to_string(),
//!     "the fencing token 41 is stale: 42 has been seen"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Isolation levels
//!
//! No level lets a stale token through; they differ in how the loser of a race is told.
//!
//! - **PostgreSQL, READ COMMITTED** (its default): a statement that meets a row which another
//!   transaction is changing waits, and then looks at the new version: no row, so stale. REPEATABLE
//!   READ and SERIALIZABLE: an error of class 40 (`40001`). Repeat the whole transaction; it will see
//!   the newer token.
//! - **MySQL, MariaDB** (InnoDB): writing statements look at the newest version at every level; a
//!   plain `SELECT` does not, it may show a mark that has been passed. So [`Statement`]s that read the
//!   mark lock it there (`FOR UPDATE`). Two first inserts may end in a deadlock error (`1213`): repeat.
//! - **SQLite**: one writer at a time. Begin with `BEGIN IMMEDIATE`, or a transaction that has read
//!   before it raises may be refused with `SQLITE_BUSY`: repeat it.
//!
//! # What the answer says
//!
//! PostgreSQL and SQLite count the rows that the condition let through, so one row is a yes. MySQL and
//! MariaDB count rows whose content changed, unless the connection asks for found rows, and an upsert
//! is 0, 1 or 2 by a rule of its own: a write that repeats what is there counts as none. Where the
//! count proves nothing, [`Statement::accepted`] is false and the mark decides; it has to be read in
//! the same transaction, since later it may have been raised by the next holder. (At their READ
//! COMMITTED an update that found no row, which another holder of the same token then inserts, is
//! taken for a repetition; at the default level the gap is locked.)

mod answer;
mod marks;
mod name;
mod rows;
mod statement;

pub use answer::Refused;
pub use marks::Marks;
pub use name::{NAME_BYTES_MAX, NameError};
pub use rows::{DEFAULT_TOKEN_COLUMN, GuardedRows};
pub use statement::{Bind, Statement};

/// A family of servers that understand the same statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// PostgreSQL, 11 and later. Placeholders `$1`, `$2`, ...
    PostgreSql,
    /// MySQL, 8.0 and later, and MariaDB, 10.2 and later, with InnoDB tables. Placeholders `?`; what
    /// is used twice is bound twice.
    MySql,
    /// SQLite, 3.24 and later. Placeholders `?1`, `?2`, ...
    Sqlite,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Many read that page, and copy from it, without ever seeing this crate.
    #[test]
    fn the_page_for_users_shows_these_statements() {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let page = words(include_str!("../../../../../docs/fencing.md"));
        let rows = GuardedRows::new(Dialect::PostgreSql, "orders", "id").unwrap();
        let marks = Marks::new(Dialect::PostgreSql, "fencing_marks").unwrap();
        let update = rows.update(&["state"]).unwrap();
        for text in [&rows.add_column(), update.text(), marks.create_table(), marks.raise().text()]
        {
            assert!(page.contains(&words(text)), "docs/fencing.md does not show: {text}");
        }
    }
}
