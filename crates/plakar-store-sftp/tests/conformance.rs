//! The store passes the suite of the contract, over OpenSSH's own server; and what lies there is a store in a folder.

mod common;

use common::*;
use plakar_store::{DirStore, ErrorKind, ReadStore, Store, answers_as_memory_does, conformance};
use plakar_store_sftp::Program;
use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

#[test]
fn a_folder_elsewhere_keeps_the_contract() {
    let temps = RefCell::new(Vec::new());
    let make = || -> Box<dyn Store> {
        let temp = in_memory();
        let store = create(program(&[]), &temp.path().join("store")).unwrap();
        assert_eq!(store.weakness(), None);
        temps.borrow_mut().push(temp);
        Box::new(store)
    };
    conformance(&make);
    answers_as_memory_does(&make);
}

#[test]
fn what_lies_there_is_a_store_in_a_folder_and_the_other_way_round() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("store");
    let far = create(program(&[]), &path).unwrap();
    let near = DirStore::open(&path).unwrap();
    far.put(&name("packs/ab/far"), &[b"far", b" away"]).unwrap();
    near.put(&name("packs/cd/near"), &[b"near"]).unwrap();
    assert_eq!(near.get(&name("packs/ab/far"), 99).unwrap(), b"far away");
    assert_eq!(far.get(&name("packs/cd/near"), 99).unwrap(), b"near");
    // Each takes what the other has put for its own.
    near.put(&name("packs/ab/far"), &[b"far away"]).unwrap();
    far.put(&name("packs/cd/near"), &[b"near"]).unwrap();
    fails(ErrorKind::Exists, far.put(&name("packs/cd/near"), &[b"Near"]));
    assert_eq!(names(&near, ""), names(&far, ""));
    let looks = |file: &str| {
        let found = fs::metadata(path.join(file)).unwrap();
        (found.permissions().mode() & 0o7777, found.nlink())
    };
    far.barrier().unwrap();
    drop(far);
    for file in ["packs/ab/far", "packs/cd/near"] {
        assert_eq!(looks(file), (0o400, 1), "{file}");
    }
    for folder in ["", "packs", "packs/ab", "packs/cd"] {
        assert_eq!(looks(folder).0, 0o700, "{folder}");
    }
    assert_eq!(fs::read_dir(path.join("packs/ab")).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn what_is_there_is_told_when_it_is_opened() {
    let temp = tempfile::tempdir().unwrap();
    let at = |name: &str| temp.path().join(name);
    fs::write(at("file"), "x").unwrap();
    fs::create_dir(at("empty")).unwrap();
    fs::create_dir(at("full")).unwrap();
    fs::write(at("full/.hidden"), "x").unwrap();
    fails(ErrorKind::NotFound, open(program(&[]), &at("none")).map(drop));
    fails(ErrorKind::NotFound, open(program(&[]), &at("file/none")).map(drop));
    fails(ErrorKind::Foreign, open(program(&[]), &at("file")).map(drop));
    fails(ErrorKind::Foreign, create(program(&[]), &at("file")).map(drop));
    fails(ErrorKind::NotFound, create(program(&[]), &at("none/none")).map(drop));
    fails(ErrorKind::Exists, create(program(&[]), &at("full")).map(drop));
    assert!(create(program(&[]), &at("empty")).is_ok());
    assert!(create(program(&[]), &at("new")).is_ok());
    assert_eq!(fs::metadata(at("new")).unwrap().permissions().mode() & 0o7777, 0o700);
    fails(ErrorKind::Denied, create(program(&["-R"]), &at("newer")).map(drop));
    // A path may begin where the server does, and lead over a link.
    std::os::unix::fs::symlink("new", at("link")).unwrap();
    let home = program(&["-d", temp.path().to_str().unwrap()]);
    let store = open(home, "./link".as_ref()).unwrap();
    store.put(&name("config"), &[b"x"]).unwrap();
    assert!(at("new/config").exists());
    // A folder that goes is not an empty one.
    drop(store);
    let store = open(program(&[]), &at("new")).unwrap();
    fs::remove_dir_all(at("new")).unwrap();
    for prefix in ["", "packs/"] {
        fails(ErrorKind::NotFound, store.list(prefix, &mut |_| Ok(())));
    }
    let none = Program { program: "/nowhere/ssh".into(), arguments: Vec::new() };
    let told = fails(ErrorKind::Io, open(none, &at("new")).map(drop));
    assert!(told.contains("/nowhere/ssh"), "{told}");
}

#[test]
fn what_no_store_has_put_is_not_shown_nor_waited_for() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("store");
    let store = create(program(&[]), &path).unwrap();
    store.put(&name("packs/ab/x"), &[b"x"]).unwrap();
    fs::write(path.join("packs/.tmp-0123456789abcdef"), "half").unwrap();
    fs::write(path.join("packs/Stray"), "x").unwrap();
    std::os::unix::fs::symlink("ab/x", path.join("packs/link")).unwrap();
    std::os::unix::fs::symlink("ab", path.join("packs/folder-link")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(path.join("packs/pipe")).status();
    assert!(made.unwrap().success());
    assert_eq!(names(&store, ""), ["packs/ab/x"]);
    for other in ["packs/link", "packs/pipe", "packs/ab"] {
        fails(ErrorKind::NotFound, store.get(&name(other), 100));
        fails(ErrorKind::NotFound, store.len(&name(other)));
        fails(ErrorKind::Exists, store.put(&name(other), &[b"x"]));
    }
}

#[test]
fn temporary_files_are_swept_when_they_are_old() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("store");
    let store = create(program(&[]), &path).unwrap();
    store.put(&name("packs/ab/x"), &[b"x"]).unwrap();
    let (old, new) = (path.join(".tmp-0123456789abcdef"), path.join("packs/ab/.tmp-fedcba9876543210"));
    let kept = path.join("packs/.tmp-short");
    for file in [&old, &new, &kept] {
        fs::write(file, "half").unwrap();
    }
    let touched =
        std::process::Command::new("touch").args(["-d", "2 hours ago"]).args([&old, &kept]).status();
    assert!(touched.unwrap().success());
    assert_eq!(store.sweep_temporaries(Duration::MAX).unwrap(), 0);
    assert_eq!(store.sweep_temporaries(Duration::from_secs(3600)).unwrap(), 1);
    assert!(!old.exists() && new.exists());
    assert_eq!(store.sweep_temporaries(Duration::ZERO).unwrap(), 1);
    assert!(!new.exists() && kept.exists());
    assert_eq!(store.get(&name("packs/ab/x"), 9).unwrap(), b"x");
    drop(store);
    assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "and nothing new is left");
}

#[test]
fn many_large_and_small_things_are_read_at_once() {
    let temp = tempfile::tempdir().unwrap();
    let store = create(program(&[]), &temp.path().join("store")).unwrap();
    let objects: Vec<_> =
        (0..300).map(|n| (name(&format!("log/{n:03}")), noise(n, 700 * n as usize))).collect();
    for (name, bytes) in &objects {
        store.put(name, &[bytes]).unwrap();
    }
    let mut ranges = Vec::new();
    for (name, bytes) in &objects {
        for (offset, len) in [(0, bytes.len()), (bytes.len() / 3, bytes.len() / 2), (bytes.len(), 0)] {
            ranges.push((plakar_store::Range { name: name.clone(), offset: offset as u64, len }, bytes));
        }
    }
    let asked: Vec<_> = ranges.iter().map(|(range, _)| range.clone()).collect();
    for (found, (range, bytes)) in store.get_ranges(&asked).into_iter().zip(&ranges) {
        assert!(found.unwrap() == bytes[range.offset as usize..][..range.len], "{range:?}");
    }
}
