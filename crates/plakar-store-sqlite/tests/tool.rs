//! SQLite's own command-line tool reads the database as `docs/format.md` describes it.

mod common;

use std::process::Command;

use common::*;
use plakar_store::Store;
use plakar_store_sqlite::SqliteStore;

#[test]
fn the_tool_of_sqlite_reads_a_store() {
    if Command::new("sqlite3").arg("-version").output().is_err() {
        return skip("there is no sqlite3");
    }
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("store.db");
    let mut open = Some(SqliteStore::create(&path).unwrap());
    let store = open.as_ref().unwrap();
    let bytes = noise(3, 600_000);
    store.put(&name("packs/ab"), &[&bytes]).unwrap();
    store.put(&name("config"), &[b"bytes"]).unwrap();
    store.put(&name("empty"), &[]).unwrap();
    let ask = |question: &str| {
        let output = Command::new("sqlite3").arg(&path).arg(question).output().unwrap();
        assert!(output.status.success(), "{question}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    };
    // While it is open, and when it is closed.
    for _ in 0..2 {
        assert_eq!(ask("PRAGMA integrity_check"), "ok");
        assert_eq!(ask("PRAGMA application_id"), u32::from_be_bytes(*b"PLKS").to_string());
        assert_eq!(ask("PRAGMA user_version; PRAGMA page_size; PRAGMA auto_vacuum"), "1\n65536\n2");
        assert_eq!(ask("PRAGMA journal_mode"), "wal");
        assert_eq!(
            ask("SELECT name, length FROM objects ORDER BY name"),
            "config|5\nempty|0\npacks/ab|600000"
        );
        let parts = "SELECT hex(bytes) FROM parts, objects WHERE name = 'packs/ab' \
                     AND parts.id BETWEEN objects.id * 1048576 AND objects.id * 1048576 + 1048575 ORDER BY parts.id";
        let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        assert!(ask(parts).replace('\n', "") == hex);
        assert_eq!(ask("SELECT length(bytes) FROM parts ORDER BY id"), "262144\n262144\n75712\n5\n0");
        drop(open.take());
    }
}
