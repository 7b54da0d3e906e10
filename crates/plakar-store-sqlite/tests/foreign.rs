//! What is no store is said to be none, and stays as it is; who may not read or write is told so.

mod common;

use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt, symlink},
    },
};

use common::*;
use plakar_store::{ErrorKind, ReadStore, Store};
use plakar_store_sqlite::SqliteStore;
use rusqlite::Connection;

#[test]
fn create_makes_one_private_file_and_takes_no_other_place() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("store.db");
    assert_eq!(kind(SqliteStore::open(&path)), ErrorKind::NotFound);
    assert!(!path.exists());
    drop(SqliteStore::create(&path).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1, "nothing is left beside it");

    let before = fs::read(&path).unwrap();
    assert_eq!(kind(SqliteStore::create(&path)), ErrorKind::Exists);
    assert!(fs::read(&path).unwrap() == before);
    fs::create_dir(temp.path().join("folder")).unwrap();
    fs::write(temp.path().join("text"), "text").unwrap();
    symlink("nowhere", temp.path().join("dangling")).unwrap();
    for taken in ["folder", "text", "dangling", ".", "folder/.."] {
        assert_eq!(kind(SqliteStore::create(temp.path().join(taken))), ErrorKind::Exists, "{taken}");
    }
    assert_eq!(fs::read(temp.path().join("text")).unwrap(), b"text");
    assert!(!temp.path().join("nowhere").exists());

    assert_eq!(kind(SqliteStore::create(temp.path().join("no/such.db"))), ErrorKind::NotFound);
    assert!(!temp.path().join("no").exists());
    assert!(SqliteStore::create(temp.path().join("text/below")).is_err());

    symlink(&path, temp.path().join("link")).unwrap();
    let store = SqliteStore::open(temp.path().join("link")).expect("the way to a store may be a link");
    store.put(&name("config"), &[b"bytes"]).unwrap();
    assert!(temp.path().join("store.db-wal").exists(), "the log lies beside the file, not the link");
}

#[test]
fn what_is_no_store_is_foreign_and_stays() {
    let temp = tempfile::tempdir().unwrap();
    let path = |name: &str| temp.path().join(name);
    fs::write(path("empty"), "").unwrap();
    fs::write(path("text"), "some text\n".repeat(10_000)).unwrap();
    fs::write(path("short"), "SQLite format 3\0").unwrap();
    fs::create_dir(path("folder")).unwrap();
    for mode in ["delete", "wal"] {
        let other = Connection::open(path(mode)).unwrap();
        other
            .execute_batch(&format!("PRAGMA journal_mode = {mode}; CREATE TABLE objects (name TEXT)"))
            .unwrap();
    }
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, path("pipe"), fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    for foreign in ["empty", "text", "short", "folder", "delete", "wal", "pipe", "text/below"] {
        // Whoever reads from the pipe waits.
        let look = || (foreign != "pipe").then(|| fs::read(path(foreign)).ok());
        let before = look();
        let error = SqliteStore::open(path(foreign)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Foreign, "{foreign}: {error}");
        assert!(error.to_string().contains(foreign), "{error}");
        assert!(look() == before, "{foreign}");
    }
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 7, "nothing is left beside them");
}

#[test]
fn marks_and_tables_must_be_ours() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("store.db");
    drop(SqliteStore::create(&path).unwrap());
    let pristine = fs::read(&path).unwrap();
    assert_eq!(pristine[68..72], *b"PLKS");
    assert_eq!(pristine[60..64], [0, 0, 0, 1]);
    let changes = [
        ("PRAGMA application_id = 7", "not of plakar"),
        ("PRAGMA user_version = 2", "version 2"),
        ("DROP TABLE parts", "tables"),
        ("CREATE TABLE more (x)", "tables"),
        ("CREATE INDEX slow ON objects (id)", "tables"),
        ("CREATE TRIGGER t AFTER INSERT ON objects BEGIN DELETE FROM parts; END", "tables"),
        ("ALTER TABLE objects ADD COLUMN more TEXT", "tables"),
        ("DROP TABLE parts; CREATE VIEW parts AS SELECT 1 AS id, x'' AS bytes", "tables"),
    ];
    for (change, why) in changes {
        behind(&path).execute_batch(change).unwrap();
        let error = SqliteStore::open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Foreign, "{change}: {error}");
        assert!(error.to_string().contains(why), "{change}: {error}");
        fs::write(&path, &pristine).unwrap();
    }
    behind(&path).execute_batch("ANALYZE").unwrap();
    SqliteStore::open(&path).expect("statistics do no harm");
}

#[test]
fn any_path_will_do() {
    let temp = tempfile::tempdir().unwrap();
    for file in [&b"with spaces \n and?more=1&#%41"[..], b"not \xff\xfe UTF-8", b"-rf", b"file:x?mode=memory"]
    {
        let path = temp.path().join(OsStr::from_bytes(file));
        let store = SqliteStore::create(&path).unwrap();
        store.put(&name("packs/ab/cd"), &[b"bytes"]).unwrap();
        store.barrier().unwrap();
        assert_eq!(store.path(), path);
        assert!(store.location().starts_with("sqlite:///"), "{}", store.location());
        drop(store);
        assert!(path.is_file());
        assert_eq!(SqliteStore::open(&path).unwrap().get(&name("packs/ab/cd"), 9).unwrap(), b"bytes");
    }
    let long = temp.path().join("n".repeat(200)).join("n".repeat(200));
    fs::create_dir_all(&long).unwrap();
    let error = SqliteStore::create(long.join("n".repeat(200))).unwrap_err();
    assert!(error.to_string().contains("500 bytes"), "{error}");
}

#[test]
fn a_copy_of_the_closed_file_is_the_store() {
    let temp = tempfile::tempdir().unwrap();
    let (path, copy) = (temp.path().join("store.db"), temp.path().join("copy.db"));
    let store = SqliteStore::create(&path).unwrap();
    for n in 0..50 {
        store.put(&name(&format!("packs/{n}")), &[&noise(n, 20_000)]).unwrap();
    }
    drop(store);
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    fs::copy(&path, &copy).unwrap();
    // And so is the copy that SQLite makes by itself, which has no log.
    behind(&path).execute("VACUUM INTO ?1", [temp.path().join("vacuumed.db").to_str().unwrap()]).unwrap();
    for copy in [copy, temp.path().join("vacuumed.db")] {
        let copy = SqliteStore::open(copy).unwrap();
        assert_eq!(names(&copy).len(), 50);
        assert!(copy.get(&name("packs/7"), 20_000).unwrap() == noise(7, 20_000));
        copy.put(&name("more"), &[b"bytes"]).unwrap();
        copy.barrier().unwrap();
    }
}

#[test]
fn a_database_that_was_taken_away_is_not_an_empty_store() {
    let temp = tempfile::tempdir().unwrap();
    let (path, away) = (temp.path().join("store.db"), temp.path().join("away.db"));
    let store = SqliteStore::create(&path).unwrap();
    store.put(&name("config"), &[b"bytes"]).unwrap();
    fs::rename(&path, &away).unwrap();
    assert_eq!(kind(listing(&store, "")), ErrorKind::NotFound);
    assert_eq!(kind(store.barrier()), ErrorKind::NotFound);
    // What is left beside it belongs to it.
    let log = fs::read(temp.path().join("store.db-wal")).unwrap();
    assert!(!log.is_empty());
    assert_eq!(kind(SqliteStore::create(&path)), ErrorKind::Exists);
    assert!(!path.exists() && fs::read(temp.path().join("store.db-wal")).unwrap() == log);
    // Another store in its place is not it.
    drop(SqliteStore::create(temp.path().join("other.db")).unwrap());
    fs::rename(temp.path().join("other.db"), &path).unwrap();
    assert!(listing(&store, "").is_err() && store.barrier().is_err());
    fs::rename(&away, &path).unwrap();
    assert_eq!(names(&store), ["config"]);
    store.barrier().unwrap();
}

#[test]
fn a_file_system_for_reading_is_read_and_denied() {
    let Some(mount) = Mount::tmpfs("size=8m") else { return };
    let path = mount.path().join("store %?#.db");
    let store = SqliteStore::create(&path).unwrap();
    store.put(&name("config"), &[b"bytes"]).unwrap();
    let logged = (fs::read(&path).unwrap(), fs::read(mount.path().join("store %?#.db-wal")).unwrap());
    drop(store);
    fs::write(mount.path().join("crashed.db"), logged.0).unwrap();
    fs::write(mount.path().join("crashed.db-wal"), logged.1).unwrap();
    mount.remount("ro");
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.get(&name("config"), 9).unwrap(), b"bytes");
    assert_eq!(names(&store), ["config"]);
    assert_eq!(kind(store.put(&name("other"), &[])), ErrorKind::Denied);
    assert_eq!(kind(store.put(&name("config"), &[b"other"])), ErrorKind::Exists);
    store.put(&name("config"), &[b"bytes"]).expect("what is there needs no permission to write");
    assert_eq!(kind(store.delete(&name("config"))), ErrorKind::Denied);
    store.delete(&name("absent")).unwrap();
    store.barrier().unwrap();
    assert_eq!(kind(SqliteStore::create(mount.path().join("new.db"))), ErrorKind::Denied);
    // What only its log holds must not be passed over.
    assert_eq!(kind(SqliteStore::open(mount.path().join("crashed.db"))), ErrorKind::Denied);
}

#[test]
fn another_user_is_denied() {
    if !is_root() {
        return skip("only root can become somebody else");
    }
    let stage = Stage::new();
    let store = stage.create();
    store.put(&name("config"), &[b"bytes"]).unwrap();
    stage.run_as_nobody("denied");
    // A reader, while somebody with permission has it open: the files beside it are there. (Open them all.)
    for suffix in ["", "-wal", "-shm"] {
        let file = stage.folder().join(format!("store.db{suffix}"));
        fs::set_permissions(file, PermissionsExt::from_mode(0o644)).unwrap();
    }
    stage.run_as_nobody("reads");
    drop(store);
    // Alone, the reader could not keep a writer from changing what it reads.
    stage.run_as_nobody("alone");
}

/// What the test above runs as another user; by itself it has nothing to do.
#[test]
fn child() {
    let Some(action) = std::env::var_os(CHILD) else { return };
    match action.to_str().unwrap() {
        "denied" => {
            assert_eq!(kind(SqliteStore::open("store.db")), ErrorKind::Denied);
            assert_eq!(kind(SqliteStore::create("new.db")), ErrorKind::Denied);
        }
        "reads" => {
            let store = SqliteStore::open("store.db").unwrap();
            assert_eq!(store.get(&name("config"), 9).unwrap(), b"bytes");
            assert_eq!(names(&store), ["config"]);
            assert_eq!(kind(store.put(&name("other"), &[])), ErrorKind::Denied);
            assert_eq!(kind(store.delete(&name("config"))), ErrorKind::Denied);
        }
        "alone" => {
            let error = SqliteStore::open("store.db").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
            assert!(error.to_string().contains("-shm"), "{error}");
        }
        other => panic!("no such action: {other}"),
    }
}
