//! What is special about databases: first inserts, NULL, equal tokens, transactions, counts of rows.

use std::path::Path;
use std::sync::Barrier;
use std::thread;

use dsync_client::guard::Stale;
use dsync_client::guard::sql::Refused;
use tempfile::TempDir;

use crate::database::{Database, SqlStore, Value, marks, rows, values};
use crate::drivers::{MariaDb, Postgres, Sqlite};
use crate::store::{Form, Kind, Place, SQL_FORMS, Store, name_of};
use crate::token;

const KINDS: [Kind; 3] = [Kind::Postgres, Kind::MariaDb, Kind::Sqlite];
/// Each with a row or a mark that is not there yet.
const FIRST_INSERTS: usize = 100;

#[test]
fn of_two_first_inserts_the_higher_token_stays() {
    let folder = tempfile::tempdir().unwrap();
    for kind in KINDS {
        for form in [Form::Upsert, Form::Marks] {
            first_inserts(kind, form, folder.path());
        }
    }
}

fn first_inserts(kind: Kind, form: Form, folder: &Path) {
    let place = |round| Place::new(kind, form, &format!("insert-{form:?}-{round}"), folder);
    place(0).prepare();
    let start = Barrier::new(2);
    let write_all = |token_number| {
        for round in 0..FIRST_INSERTS {
            let mut store = place(round).open();
            start.wait();
            let written = store.write(token(token_number), &token_number.to_string());
            assert!(written.is_ok() || token_number == 1);
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| write_all(1));
        scope.spawn(|| write_all(2));
    });
    for round in 0..FIRST_INSERTS {
        assert_eq!(place(round).open().look(), Some(("2".to_owned(), 2)), "{kind:?} {form:?}");
    }
}

#[test]
fn equal_tokens_are_accepted_and_the_same_write_may_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    for kind in KINDS {
        for form in SQL_FORMS {
            let place = Place::new(kind, form, &format!("equal-{form:?}"), folder.path());
            place.prepare();
            let mut store = place.open();
            for value in ["a", "a", "b", "b"] {
                assert_eq!(store.write(token(7), value), Ok(()), "{kind:?} {form:?} {value}");
            }
            let stale = Stale { seen: token(7), given: token(6) };
            assert_eq!(store.write(token(6), "b"), Err(stale), "{kind:?} {form:?}");
            assert_eq!(store.look(), Some(("b".to_owned(), 7)), "{kind:?} {form:?}");
        }
    }
}

#[test]
fn mariadb_answers_the_same_on_a_connection_that_counts_found_rows() {
    for form in SQL_FORMS {
        let resource = format!("found-{form:?}");
        let place = Place::new(Kind::MariaDb, form, &resource, Path::new(""));
        place.prepare();
        let mut store = SqlStore::open(MariaDb::connect_with_found_rows(place.server()), &place);
        for value in ["a", "a", "b", "b"] {
            assert_eq!(store.write(token(7), value), Ok(()), "{form:?} {value}");
        }
        let stale = Stale { seen: token(7), given: token(6) };
        assert_eq!(store.write(token(6), "b"), Err(stale), "{form:?}");
        assert_eq!(store.look(), Some(("b".to_owned(), 7)), "{form:?}");
    }
}

/// Runs `check` on a connection to each database.
fn on_each(check: [fn(&TempDir); 3]) {
    let folder = tempfile::tempdir().unwrap();
    check.iter().for_each(|check| check(&folder));
}

fn postgres(resource: &str, folder: &TempDir) -> (Place, Postgres) {
    let place = Place::new(Kind::Postgres, Form::Upsert, resource, folder.path());
    let database = place.postgres();
    (place, database)
}

fn mariadb(resource: &str, folder: &TempDir) -> (Place, MariaDb) {
    let place = Place::new(Kind::MariaDb, Form::Upsert, resource, folder.path());
    let database = place.mariadb();
    (place, database)
}

fn sqlite(resource: &str, folder: &TempDir) -> (Place, Sqlite) {
    let place = Place::new(Kind::Sqlite, Form::Upsert, resource, folder.path());
    let database = place.sqlite();
    (place, database)
}

#[test]
fn a_row_without_a_token_takes_any_and_an_update_of_no_row_says_so() {
    fn check<D: Database>((place, mut database): (Place, D)) {
        let id = &place.resource;
        // A table of somebody else's, whose column came without NOT NULL.
        let text = format!("CREATE TABLE IF NOT EXISTS nulls_{} ", name_of(D::DIALECT));
        database
            .plain(&(text + "(id VARCHAR(20) PRIMARY KEY, state TEXT, fencing_token BIGINT)"))
            .unwrap();
        let table = format!("nulls_{}", name_of(D::DIALECT));
        database.plain(&format!("INSERT INTO {table} VALUES ('{id}', 'old', NULL)")).unwrap();
        let rows = dsync_client::guard::sql::GuardedRows::new(D::DIALECT, &table, "id").unwrap();
        let update = rows.update(&["state"]).unwrap();
        let upsert = rows.upsert(&["state"]).unwrap();
        let absent = values(&update, "absent", "x", token(5));
        assert_eq!(database.write(update.text(), &absent).unwrap(), 0);
        let seen = rows.seen();
        let bound = values(&seen, "absent", "x", token(5));
        let mark = database.number(seen.text(), &bound).unwrap();
        assert_eq!(update.judge(token(5), mark), Err(Refused::NoRow));
        for (statement, number) in [(&upsert, 0), (&update, 5)] {
            let bound = values(statement, id, "new", token(number));
            let affected = database.write(statement.text(), &bound).unwrap();
            assert!(statement.accepted(affected), "{:?} {affected}", D::DIALECT);
            let null = format!("UPDATE {table} SET fencing_token = NULL WHERE state = 'new'");
            assert_eq!(database.plain(&null).unwrap(), 1);
        }
    }
    on_each([
        |folder| check(postgres("nulls", folder)),
        |folder| check(mariadb("nulls", folder)),
        |folder| check(sqlite("nulls", folder)),
    ]);
}

#[test]
fn a_transaction_that_is_rolled_back_leaves_the_mark_as_it_was() {
    fn check<D: Database>((place, mut database): (Place, D)) {
        database.make_tables();
        let marks = marks(D::DIALECT);
        let id = &place.resource;
        let (raise, seen) = (marks.raise(), marks.seen());
        for (number, end) in [(5, "COMMIT"), (9, "ROLLBACK")] {
            database.plain(D::BEGIN).unwrap();
            let bound = values(raise, id, "", token(number));
            database.write(raise.text(), &bound).unwrap();
            database.plain(end).unwrap();
        }
        let mark = database.number(seen.text(), &values(seen, id, "", token(5))).unwrap();
        assert_eq!(mark, Some(5), "{:?}", D::DIALECT);
    }
    on_each([
        |folder| check(postgres("rolled-back", folder)),
        |folder| check(mariadb("rolled-back", folder)),
        |folder| check(sqlite("rolled-back", folder)),
    ]);
}

#[test]
fn resources_that_differ_in_case_or_in_blanks_at_the_end_have_marks_of_their_own() {
    fn check<D: Database>((_, mut database): (Place, D)) {
        database.make_tables();
        let marks = marks(D::DIALECT);
        for (number, name) in (1..).zip(["Case", "case", "case ", "cäse", "case\u{301}"]) {
            let bound = values(marks.raise(), name, "", token(number));
            database.write(marks.raise().text(), &bound).unwrap();
        }
        for (number, name) in (1..).zip(["Case", "case", "case ", "cäse", "case\u{301}"]) {
            let bound = values(marks.seen(), name, "", token(number));
            let mark = database.number(marks.seen().text(), &bound).unwrap();
            assert_eq!(mark, Some(number.try_into().unwrap()), "{:?} {name:?}", D::DIALECT);
        }
    }
    on_each([
        |folder| check(postgres("case", folder)),
        |folder| check(mariadb("case", folder)),
        |folder| check(sqlite("case", folder)),
    ]);
}

/// The one case in which a plain `SELECT` after the raise would let a late holder in.
#[test]
fn mariadb_shows_the_mark_as_it_is_even_to_a_transaction_that_began_before() {
    let place = Place::new(Kind::MariaDb, Form::Marks, "snapshot", Path::new(""));
    place.prepare();
    place.open().write(token(5), "first").unwrap();
    let mut late = place.with_isolation("REPEATABLE READ").mariadb();
    late.plain("BEGIN").unwrap();
    let mark = "SELECT token FROM fencing_marks WHERE resource = 'snapshot'";
    assert_eq!(late.number(mark, &[]).unwrap(), Some(5), "its view of the data is fixed now");
    let next = Place::new(Kind::MariaDb, Form::Marks, "snapshot", Path::new(""));
    next.open().write(token(6), "second").unwrap();

    let marks = marks(MariaDb::DIALECT);
    let bound = values(marks.raise(), "snapshot", "", token(5));
    let raised = late.write(marks.raise().text(), &bound);
    assert_eq!(late.number(mark, &[]).unwrap(), Some(5), "what a plain look shows");
    // Newer versions may notice the change by themselves, and ask for the transaction once more.
    if let Ok(affected) = raised {
        assert!(!marks.raise().accepted(affected));
        let bound = values(marks.seen(), "snapshot", "", token(5));
        let seen = late.number(marks.seen().text(), &bound).unwrap();
        let stale = Stale { seen: token(6), given: token(5) };
        assert_eq!(marks.raise().judge(token(5), seen), Err(Refused::Stale(stale)));
    }
}

#[test]
fn a_holder_that_stops_inside_its_transaction_is_ended_by_the_limit_of_the_session() {
    let place = Place::new(Kind::Postgres, Form::Marks, "inside", Path::new(""));
    place.prepare();
    let marks = marks(Postgres::DIALECT);
    let mut late = place.postgres();
    late.plain("SET idle_in_transaction_session_timeout = '200ms'").unwrap();
    late.plain("BEGIN").unwrap();
    let bound = values(marks.raise(), "inside", "", token(1));
    assert_eq!(late.write(marks.raise().text(), &bound).unwrap(), 1);
    // It stands still here, and holds the row. The next one waits for it, and then writes.
    let mut next = place.open();
    assert_eq!(next.write(token(2), "second"), Ok(()));
    assert!(late.is_ended(), "its session is over");
    assert_eq!(next.look(), Some(("second".to_owned(), 2)));
}

#[test]
fn the_tables_take_no_number_that_is_no_token() {
    fn check<D: Database>((_, mut database): (Place, D), refused: fn(&mut D, &str) -> bool) {
        database.make_tables();
        for number in [-1_i64, 1 << 53] {
            let mark = format!("INSERT INTO fencing_marks VALUES ('bad', {number})");
            assert!(refused(&mut database, &mark), "{:?} {number}", D::DIALECT);
            let row = "INSERT INTO guarded (id, fencing_token) VALUES";
            assert!(refused(&mut database, &format!("{row} ('bad', {number})")));
        }
    }
    on_each([
        |folder| check(postgres("range", folder), Postgres::refuses),
        |folder| check(mariadb("range", folder), MariaDb::refuses),
        |folder| check(sqlite("range", folder), Sqlite::refuses),
    ]);
}

#[test]
fn a_row_that_was_there_before_the_column_takes_any_token() {
    let folder = tempfile::tempdir().unwrap();
    let (_, mut database) = sqlite("before", &folder);
    database.plain("CREATE TABLE guarded (id TEXT NOT NULL PRIMARY KEY, state TEXT)").unwrap();
    database.plain("INSERT INTO guarded VALUES ('old', 'x')").unwrap();
    database.plain(&rows(Sqlite::DIALECT).add_column()).unwrap();
    let update = rows(Sqlite::DIALECT).update(&["state"]).unwrap();
    let bound: Vec<Value> = values(&update, "old", "y", token(0));
    assert_eq!(database.write(update.text(), &bound).unwrap(), 1);
}
