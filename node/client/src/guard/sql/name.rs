//! Names of tables and columns. They cannot be bound like values, so they become part of a statement's
//! text, and only what cannot be anything else than a name may get in there.
//!
//! They are quoted too, so that a table may be called `order`. A quoted name is taken as it is
//! written: PostgreSQL folds the unquoted `Orders` of a definition to `orders`, and that is how it has
//! to be given here.

use std::fmt::Write;

use super::Dialect;

/// PostgreSQL cuts longer names off, and two of them might become one. MySQL allows one more.
pub const NAME_BYTES_MAX: usize = 63;

/// Why names cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is no plain name.
    #[error("{0:?} is not a plain name: letters (a-z), digits and _, no digit first, at most 63")]
    NotPlain(String),
    /// A statement cannot name a column twice; the key and the token are in it anyway.
    #[error("the column {0:?} is named twice")]
    Twice(String),
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column(String);

impl Column {
    pub(super) fn parse(text: &str) -> Result<Self, NameError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let first_is_digit = text.starts_with(|first: char| first.is_ascii_digit());
        let length = 1..=NAME_BYTES_MAX;
        if length.contains(&text.len()) && text.bytes().all(plain) && !first_is_digit {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::NotPlain(text.to_owned()))
        }
    }

    pub(super) fn plain(&self) -> &str {
        &self.0
    }

    /// MySQL and SQLite do not tell large letters from small ones in columns.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }

    /// SQLite takes a name in double quotes that it does not know for a text, and would compare that;
    /// in backticks it is a name or an error.
    pub(super) fn quoted(&self, dialect: Dialect) -> String {
        let quote = if dialect == Dialect::PostgreSql { '"' } else { '`' };
        format!("{quote}{}{quote}", self.0)
    }
}

/// A table, with its schema if one is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table(Vec<Column>);

impl Table {
    pub(super) fn parse(text: &str) -> Result<Self, NameError> {
        let parts: Vec<_> = text.split('.').map(Column::parse).collect::<Result<_, _>>()?;
        if parts.len() > 2 { Err(NameError::NotPlain(text.to_owned())) } else { Ok(Self(parts)) }
    }

    pub(super) fn quoted(&self, dialect: Dialect) -> String {
        self.0.iter().fold(String::new(), |mut text, part| {
            let dot = if text.is_empty() { "" } else { "." };
            // Writing to a String cannot fail.
            let _ = write!(text, "{dot}{}", part.quoted(dialect));
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_plain_or_refused() {
        let longest = "n".repeat(NAME_BYTES_MAX);
        for good in ["a", "_", "Orders", "order", "a1_b", &longest] {
            assert_eq!(Column::parse(good).unwrap().plain(), good);
        }
        let too_long = "n".repeat(NAME_BYTES_MAX + 1);
        for bad in [
            "", "1a", "a b", "a\"", "a`", "a'", "a;--", "a\\", "a.b", "a$", "é", "a\n", "a\0", "]",
            "a-b", &too_long,
        ] {
            assert_eq!(Column::parse(bad), Err(NameError::NotPlain(bad.to_owned())));
        }
    }

    #[test]
    fn a_table_may_have_a_schema_and_no_more() {
        let table = Table::parse("shop.orders").unwrap();
        assert_eq!(table.quoted(Dialect::PostgreSql), r#""shop"."orders""#);
        assert_eq!(table.quoted(Dialect::MySql), "`shop`.`orders`");
        assert_eq!(table.quoted(Dialect::Sqlite), "`shop`.`orders`");
        for bad in ["", ".", "a.", ".a", "a.b.c", "a..b", "a.b;"] {
            assert!(Table::parse(bad).is_err(), "{bad:?}");
        }
    }
}
