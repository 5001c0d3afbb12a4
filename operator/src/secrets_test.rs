//! Whatever is deleted, in whatever order, the value stays.

use super::*;

fn wanted() -> Wanted {
    Wanted { name: "locks-identity".to_owned(), key: "secret", component: "node" }
}

fn secret(value: &str) -> Value {
    json!({ "metadata": { "finalizers": [SECRET_FINALIZER] }, "data": { "secret": value } })
}

fn deleted(mut secret: Value) -> Value {
    secret["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    secret
}

#[test]
fn the_first_is_invented_and_the_second_copied() {
    assert_eq!(next(&wanted(), None, None), Step::Invent);
    let copy = |to: &str| Step::Copy { to: to.to_owned(), value: "v".to_owned() };
    assert_eq!(next(&wanted(), Some(&secret("v")), None), copy("locks-identity-twin"));
    assert_eq!(next(&wanted(), None, Some(&secret("v"))), copy("locks-identity"));
    assert_eq!(next(&wanted(), Some(&secret("v")), Some(&secret("v"))), Step::Done);
}

#[test]
fn two_values_are_a_conflict_that_nobody_decides() {
    let conflict = Step::Conflict { name: "locks-identity".to_owned() };
    assert_eq!(next(&wanted(), Some(&secret("v")), Some(&secret("w"))), conflict);
    assert_eq!(next(&wanted(), Some(&json!({ "data": {} })), None), conflict);
}

/// Every order of deletes and looks, to a depth that covers both being deleted twice: as long as the
/// finalizers are left alone there is always one copy of the value.
#[test]
fn no_order_of_deletes_loses_the_value() {
    fn walk(first: Option<Value>, twin: Option<Value>, depth: u32, states: &mut u64) {
        *states += 1;
        let held = [&first, &twin]
            .iter()
            .any(|one| one.as_ref().is_some_and(|secret| secret["data"]["secret"] == "v"));
        assert!(held, "lost");
        if depth == 0 {
            return;
        }
        let delete = |secret: &Option<Value>| match secret {
            // Without its finalizer it would be gone at once.
            Some(secret) if is_held(secret) => Some(deleted(secret.clone())),
            _ => None,
        };
        walk(delete(&first), twin.clone(), depth - 1, states);
        walk(first.clone(), delete(&twin), depth - 1, states);
        let (mut first, mut twin) = (first, twin);
        match next(&wanted(), first.as_ref(), twin.as_ref()) {
            Step::Copy { to, value } if to == "locks-identity" => first = Some(secret(&value)),
            Step::Copy { value, .. } => twin = Some(secret(&value)),
            Step::Release { name } if name == "locks-identity" => first = None,
            Step::Release { .. } => twin = None,
            Step::Done => return,
            step => panic!("{step:?}"),
        }
        walk(first, twin, depth - 1, states);
    }
    let mut states = 0;
    walk(Some(secret("v")), Some(secret("v")), 0, &mut states);
    // A Secret that has no twin yet and is deleted is held by its finalizer until it has one.
    walk(Some(secret("v")), Some(secret("v")), 7, &mut states);
    println!("{states} states");
}
