//! The tokens in a table of their own.
//!
//! For writes that one row cannot guard: several rows, several tables, deletes. The transaction raises
//! the mark of its resource *first*, and is rolled back if that is refused. From then on it holds the
//! lock on the mark's row, so that whoever comes with another token waits until it has ended; and what
//! it reads after raising cannot be changed any more by an earlier holder, who would have to pass the
//! mark too.
//!
//! Caveat: a holder that stops in the middle of its transaction keeps the next one waiting there. Give
//! the sessions a limit (PostgreSQL `idle_in_transaction_session_timeout`, MySQL
//! `innodb_lock_wait_timeout` for the one that waits, SQLite `busy_timeout` likewise).

use super::name::NameError;
use super::{Dialect, GuardedRows, Statement};

const RESOURCE: &str = "resource";
const TOKEN: &str = "token";

/// A table of marks: of each resource the highest token that it has seen.
///
/// ```
/// use dsync_client::guard::sql::{Dialect, Marks};
///
/// let marks = Marks::new(Dialect::Sqlite, "fencing_marks")?;
/// assert_eq!(
///     marks.raise().text(),
///     "INSERT INTO `fencing_marks` AS guarded (`resource`, `token`) VALUES (?1, ?2) \
///      ON CONFLICT (`resource`) DO UPDATE SET `token` = EXCLUDED.`token` \
///      WHERE COALESCE(guarded.`token`, 0) <= EXCLUDED.`token`"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The whole transaction: `BEGIN` (SQLite: `BEGIN IMMEDIATE`); [`raise`](Self::raise); if it was not
/// [`accepted`](Statement::accepted), [`seen`](Self::seen) and [`judge`](Statement::judge), and
/// `ROLLBACK` if that refuses; then any reads and writes; `COMMIT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    dialect: Dialect,
    definition: String,
    raise: Statement,
    seen: Statement,
}

impl Marks {
    /// The marks in this table (`fencing_marks` or `shop.fencing_marks`). Any number of resources can
    /// share one; call each like the lock that protects it.
    ///
    /// # Errors
    /// If the name is not plain.
    pub fn new(dialect: Dialect, table: &str) -> Result<Self, NameError> {
        let rows = GuardedRows::new(dialect, table, RESOURCE)?.with_token_column(TOKEN)?;
        let (raise, seen) = (rows.upsert(&[])?, rows.seen());
        Ok(Self { dialect, definition: definition(dialect, &rows), raise, seen })
    }

    /// Which servers these statements are for.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Makes the table where there is none: `resource` (a name of up to 256 bytes) and `token`.
    #[must_use]
    pub fn create_table(&self) -> &str {
        &self.definition
    }

    /// Raises the mark of a resource (the value for `resource`) to the token, if that is not older.
    /// A resource without a mark gets one.
    #[must_use]
    pub fn raise(&self) -> &Statement {
        &self.raise
    }

    /// Reads the mark of a resource, to judge a raise that was not accepted.
    #[must_use]
    pub fn seen(&self) -> &Statement {
        &self.seen
    }
}

/// The type of the resource's name compares byte by byte everywhere: MySQL takes texts for equal that
/// differ in large and small letters or in spaces at the end, and two resources would share a mark.
/// NOT NULL, since SQLite would allow a primary key to be NULL, and that any number of times.
fn definition(dialect: Dialect, rows: &GuardedRows) -> String {
    let (name, options) = match dialect {
        Dialect::PostgreSql => ("\"resource\" TEXT COLLATE \"C\"", ""),
        Dialect::MySql => ("`resource` VARBINARY(256)", " ENGINE = InnoDB"),
        Dialect::Sqlite => ("`resource` TEXT COLLATE BINARY", ""),
    };
    let (table, token) = (rows.table(), rows.token_definition(""));
    format!("CREATE TABLE IF NOT EXISTS {table} ({name} NOT NULL PRIMARY KEY, {token}){options}")
}

#[cfg(test)]
mod tests {
    use super::super::Bind;
    use super::*;

    #[test]
    fn a_raise_takes_a_resource_and_a_token() {
        for dialect in [Dialect::PostgreSql, Dialect::Sqlite] {
            let marks = Marks::new(dialect, "marks").unwrap();
            assert_eq!(marks.raise().binds(), [Bind::column("resource"), Bind::Token]);
            assert_eq!(marks.seen().binds(), [Bind::column("resource")]);
        }
        let marks = Marks::new(Dialect::MySql, "marks").unwrap();
        assert_eq!(marks.raise().binds(), [Bind::column("resource"), Bind::Token, Bind::Token]);
        assert!(marks.seen().text().ends_with(" FOR UPDATE"));
    }

    #[test]
    fn the_table_takes_no_null_and_nothing_that_is_no_token() {
        for dialect in [Dialect::PostgreSql, Dialect::MySql, Dialect::Sqlite] {
            let marks = Marks::new(dialect, "shop.marks").unwrap();
            let definition = marks.create_table();
            assert_eq!(definition.matches("NOT NULL").count(), 2, "{definition}");
            assert!(definition.contains("BETWEEN 0 AND 9007199254740991)"), "{definition}");
        }
        assert!(Marks::new(Dialect::MySql, "marks; --").is_err());
    }
}
