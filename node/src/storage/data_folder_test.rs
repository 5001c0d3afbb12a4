#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)] // a panic is how a test says no

use std::fs;

use super::*;

fn open(path: &Path) -> Result<DataFolder, DataFolderError> {
    DataFolder::open(path, || 0xabcd)
}

#[test]
fn node_id_is_minted_once_and_boots_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node");
    for boot in 1..=3 {
        let data = DataFolder::open(&path, || 100 + boot).unwrap();
        assert_eq!(data.node_id(), NodeId(101));
        assert_eq!(data.boot_count(), BootCount(boot));
    }
}

#[test]
fn second_opener_is_refused_by_name_until_the_first_has_gone() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path()).unwrap();
    let refusal = open(folder.path()).unwrap_err();
    assert!(matches!(refusal, DataFolderError::InUse { .. }));
    assert!(refusal.to_string().contains(&folder.path().display().to_string()));
    assert!(refusal.to_string().contains("another process"));
    drop(first);
    assert_eq!(open(folder.path()).unwrap().boot_count(), BootCount(2));
}

#[test]
fn flipped_bit_anywhere_in_the_identity_is_an_error_and_never_a_new_identity() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    let file = folder.path().join(IDENTITY);
    let good = fs::read(&file).unwrap();
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        fs::write(&file, &bad).unwrap();
        let refusal = open(folder.path()).unwrap_err();
        assert!(matches!(refusal, DataFolderError::IdentityDamaged { .. }), "bit {bit}");
        assert_eq!(fs::read(&file).unwrap(), bad, "bit {bit}");
    }
    for len in 0..good.len() {
        fs::write(&file, &good[..len]).unwrap();
        assert!(matches!(open(folder.path()), Err(DataFolderError::IdentityDamaged { .. })));
    }
}

#[test]
fn log_without_identity_is_an_error_that_names_what_was_found() {
    let folder = tempfile::tempdir().unwrap();
    let data = open(folder.path()).unwrap();
    fs::write(data.log().join("segment"), "x").unwrap();
    drop(data);
    fs::remove_file(folder.path().join(IDENTITY)).unwrap();
    let refusal = open(folder.path()).unwrap_err();
    assert!(refusal.to_string().contains("log/segment"), "{refusal}");
    assert!(!folder.path().join(IDENTITY).exists());
}

#[test]
fn interrupted_first_boot_leaves_a_folder_that_still_counts_as_empty() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("identity.tmp"), "half").unwrap();
    fs::create_dir(folder.path().join("log")).unwrap();
    assert_eq!(open(folder.path()).unwrap().boot_count(), BootCount(1));
}

#[test]
fn identity_whose_log_is_gone_is_refused_and_stays_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = open(folder.path()).unwrap();
    let segment = data.log().join("segment");
    fs::write(&segment, "x").unwrap();
    data.note_log_made().unwrap();
    drop(data);
    drop(open(folder.path()).unwrap());
    fs::remove_file(segment).unwrap();
    for _ in 0..2 {
        let refusal = open(folder.path()).unwrap_err();
        assert!(matches!(refusal, DataFolderError::LogMissing { .. }), "{refusal}");
    }
}

#[test]
fn identity_that_never_had_a_log_may_begin_one() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    assert_eq!(open(folder.path()).unwrap().boot_count(), BootCount(2));
}

#[test]
fn a_folder_that_was_refused_stays_refused_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let first = DataFolder::open(folder.path(), || 7).unwrap();
    first.note_refused("disk_refused: it was set back").unwrap();
    drop(first);
    for _ in 0..3 {
        let error = DataFolder::open(folder.path(), || 7).unwrap_err();
        assert!(matches!(error, DataFolderError::Refused { .. }), "{error}");
        assert!(error.to_string().contains("disk_refused: it was set back"), "{error}");
    }
}

#[test]
fn folder_with_anything_else_in_it_is_refused_by_its_name_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    for (name, foreign) in
        [("lost+found", false), (".snapshot", false), ("notes.txt", true), ("node-1", true)]
    {
        let path = folder.path().join(format!("of {name}"));
        fs::create_dir_all(path.join(name)).unwrap();
        match open(&path) {
            Ok(_) => assert!(!foreign, "{name}"),
            Err(refusal) => {
                assert!(foreign && refusal.to_string().contains(name), "{refusal}");
                assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "nothing was made in it");
            }
        }
    }
}

#[test]
fn folder_of_a_node_may_get_other_files_later() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    fs::write(folder.path().join("identity.bak"), "").unwrap();
    assert_eq!(open(folder.path()).unwrap().boot_count(), BootCount(2));
}
