//! A statement: its text, and the values that belong into it.

use super::Dialect;
use super::name::Column;

/// What belongs in a placeholder.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Bind {
    /// The value for this column, the key's included.
    Column(String),
    /// The fencing token, as a signed 64-bit number ([`to_i64`](crate::guard::FencingToken::to_i64)).
    Token,
}

impl Bind {
    /// The value for this column.
    #[must_use]
    pub fn column(name: &str) -> Self {
        Self::Column(name.to_owned())
    }
}

/// A statement to be prepared once and run often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    text: String,
    binds: Vec<Bind>,
    pub(super) proof: Proof,
}

/// How far the number of affected rows proves that the write was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// No row: not written.
    Rows,
    /// No row: not written, or written already.
    ChangedRows,
    /// Two rows: written. Else anything, by the settings of the connection.
    TwoRows,
}

impl Statement {
    /// The text, with placeholders.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What belongs in the placeholders, in their order: the first one is `$1`, `?1` or the first `?`.
    #[must_use]
    pub fn binds(&self) -> &[Bind] {
        &self.binds
    }
}

/// Writes a statement from left to right: a MySQL placeholder has no number, so the order in which
/// values are bound must be the order of the text.
pub(super) struct Writer {
    pub(super) dialect: Dialect,
    text: String,
    binds: Vec<Bind>,
}

impl Writer {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { dialect, text: String::new(), binds: Vec::new() }
    }

    pub(super) fn words(&mut self, words: &str) -> &mut Self {
        self.text.push_str(words);
        self
    }

    pub(super) fn name(&mut self, column: &Column) -> &mut Self {
        self.text.push_str(&column.quoted(self.dialect));
        self
    }

    pub(super) fn token(&mut self) -> &mut Self {
        self.bind(Bind::Token)
    }

    pub(super) fn value(&mut self, column: &Column) -> &mut Self {
        self.bind(Bind::column(column.plain()))
    }

    /// Writes a part for each column, with `between` between them.
    pub(super) fn each<'a>(
        &mut self,
        columns: impl IntoIterator<Item = &'a Column>,
        between: &str,
        mut write: impl FnMut(&mut Self, &Column),
    ) -> &mut Self {
        for (position, column) in columns.into_iter().enumerate() {
            if position > 0 {
                self.words(between);
            }
            write(self, column);
        }
        self
    }

    pub(super) fn done(self, proof: Proof) -> Statement {
        Statement { text: self.text, binds: self.binds, proof }
    }

    fn bind(&mut self, bind: Bind) -> &mut Self {
        let sign = match self.dialect {
            Dialect::PostgreSql => '$',
            Dialect::Sqlite => '?',
            Dialect::MySql => {
                self.binds.push(bind);
                return self.words("?");
            }
        };
        let known = self.binds.iter().position(|other| *other == bind);
        let position = known.unwrap_or_else(|| {
            self.binds.push(bind);
            self.binds.len() - 1
        });
        self.words(&format!("{sign}{}", position + 1))
    }
}
