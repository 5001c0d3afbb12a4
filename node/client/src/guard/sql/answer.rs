//! Reading the answer: was it written, and if not, why not.

use super::statement::{Proof, Statement};
use crate::guard::{FencingToken, Stale};

/// Why a statement has written nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A newer holder has been here.
    #[error(transparent)]
    Stale(#[from] Stale),
    /// There was no row with this key. If the mark that was read is not above the token, a row has
    /// appeared since: repeating the statement is safe.
    #[error("nothing was written: no row has this key")]
    NoRow,
    /// The column holds a number that no guard has written.
    #[error("{0} is no fencing token")]
    NotAToken(i64),
}

impl Statement {
    /// True if this many affected rows prove that the statement was carried out. If they do not, read
    /// the mark and let [`judge`](Self::judge) decide.
    #[must_use]
    pub fn accepted(&self, rows_affected: u64) -> bool {
        match self.proof {
            Proof::Rows | Proof::ChangedRows => rows_affected > 0,
            Proof::TwoRows => rows_affected == 2,
        }
    }

    /// What became of the statement, by the mark that the `seen` statement of the same guard has read
    /// after it. `None`: there is no such row, or it holds NULL.
    ///
    /// # Errors
    /// If the statement has written nothing.
    pub fn judge(&self, given: FencingToken, seen: Option<i64>) -> Result<(), Refused> {
        let seen = seen.map(token).transpose()?.ok_or(Refused::NoRow)?;
        if seen > given {
            return Err(Stale { seen, given }.into());
        }
        // Where the rows count, they have said no already.
        let written = self.proof != Proof::Rows && seen == given;
        if written { Ok(()) } else { Err(Refused::NoRow) }
    }
}

fn token(number: i64) -> Result<FencingToken, Refused> {
    let known = u64::try_from(number).ok().and_then(|number| FencingToken::try_from(number).ok());
    known.ok_or(Refused::NotAToken(number))
}

#[cfg(test)]
mod tests {
    use super::super::{Dialect, GuardedRows};
    use super::*;

    fn statements(dialect: Dialect) -> [Statement; 2] {
        let rows = GuardedRows::new(dialect, "t", "id").unwrap();
        [rows.update(&["v"]).unwrap(), rows.upsert(&["v"]).unwrap()]
    }

    fn token_of(number: u64) -> FencingToken {
        FencingToken::try_from(number).unwrap()
    }

    #[test]
    fn one_row_is_a_yes_where_servers_count_matches() {
        for dialect in [Dialect::PostgreSql, Dialect::Sqlite] {
            for statement in statements(dialect) {
                assert!(statement.accepted(1) && !statement.accepted(0));
                // It has said no, so an equal mark is somebody else's.
                assert_eq!(statement.judge(token_of(7), Some(7)), Err(Refused::NoRow));
            }
        }
    }

    #[test]
    fn an_upsert_of_mysql_is_a_yes_only_if_it_changed_a_row() {
        let [update, upsert] = statements(Dialect::MySql);
        assert_eq!([0, 1, 2].map(|rows| update.accepted(rows)), [false, true, true]);
        assert_eq!([0, 1, 2].map(|rows| upsert.accepted(rows)), [false, false, true]);
        for statement in [update, upsert] {
            assert_eq!(statement.judge(token_of(7), Some(7)), Ok(()));
            assert_eq!(statement.judge(token_of(7), Some(6)), Err(Refused::NoRow));
        }
    }

    #[test]
    fn a_higher_mark_is_stale_none_is_no_row_and_nonsense_is_said_to_be() {
        for dialect in [Dialect::PostgreSql, Dialect::MySql, Dialect::Sqlite] {
            for statement in statements(dialect) {
                let stale = Stale { seen: token_of(8), given: token_of(7) };
                assert_eq!(statement.judge(token_of(7), Some(8)), Err(stale.into()));
                assert_eq!(statement.judge(token_of(7), None), Err(Refused::NoRow));
                for nonsense in [-1, 1 << 53, i64::MAX, i64::MIN] {
                    let refused = statement.judge(token_of(7), Some(nonsense));
                    assert_eq!(refused, Err(Refused::NotAToken(nonsense)));
                }
            }
        }
    }
}
