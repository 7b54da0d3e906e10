//! The tables, and how a database of ours is told from another.
//!
//! ```text
//! objects   name, id, length, received_ms    in order of names
//! parts     id, bytes                        id = object's id × 2^20 + number of the part, from 0
//! ```
//!
//! An object's bytes are cut into parts of [`PART_BYTES`], the last one shorter; an empty object has one empty
//! part, so that every id in use shows in `parts`. An object's row is whole in one leaf, and so is the row of a
//! small part: a small put changes two pages.

use rusqlite::Connection;

use crate::error::Failed;

/// How many bytes a part has, but the last of an object.
pub const PART_BYTES: usize = 256 << 10;

/// Ids of parts are an object's id shifted so far, plus the part's number.
pub const PART_BITS: u32 = 20;

/// The longest object: as many parts as there are numbers.
pub const OBJECT_BYTES_MAX: u64 = (PART_BYTES as u64) << PART_BITS;

/// The largest page that SQLite knows: a part then is a few pages.
pub const PAGE_BYTES: u64 = 64 << 10;

/// In the header of the file, at byte 68: `PLKS`.
const APPLICATION_ID: i32 = i32::from_be_bytes(*b"PLKS");

/// In the header of the file, at byte 60: the version of what is described here.
const VERSION: i32 = 1;

const OBJECTS: &str = "CREATE TABLE objects (name TEXT NOT NULL PRIMARY KEY, id INTEGER NOT NULL, \
                       length INTEGER NOT NULL, received_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID";
const PARTS: &str = "CREATE TABLE parts (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT";

/// Makes an empty file an empty database of ours, durable but for the file's name.
///
/// Tables and marks come in one transaction, so what is interrupted is an empty file or a whole database.
pub fn make(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "PRAGMA page_size = {PAGE_BYTES};
         PRAGMA auto_vacuum = INCREMENTAL;
         PRAGMA synchronous = FULL;
         BEGIN EXCLUSIVE;
         PRAGMA application_id = {APPLICATION_ID};
         PRAGMA user_version = {VERSION};
         {OBJECTS};
         {PARTS};
         COMMIT;
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = NORMAL;"
    ))
}

/// Whether the database is ours, and if not, what it is.
///
/// The tables must be these to the letter: a view, a trigger, or a column that is computed would be a
/// stranger's code that runs at every access.
pub fn foreign(connection: &Connection) -> Result<Option<String>, Failed> {
    let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    if number("application_id")? != APPLICATION_ID {
        return Ok(Some("a SQLite database, but not of plakar".into()));
    }
    let version = number("user_version")?;
    if version != VERSION {
        return Ok(Some(format!("a store of version {version}; this program knows version {VERSION}")));
    }
    // Tables of SQLite's own, such as the statistics of ANALYZE, do no harm.
    let mut tables = connection
        .prepare("SELECT sql FROM sqlite_schema WHERE substr(name, 1, 7) <> 'sqlite_' ORDER BY name")?;
    let tables =
        tables.query_map((), |row| row.get(0))?.collect::<rusqlite::Result<Vec<Option<String>>>>()?;
    let ours = [OBJECTS, PARTS].map(|sql| Some(sql.to_owned()));
    Ok((tables != ours).then(|| "its tables are not those of a store".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_the_one_that_is_specified() {
        let format = include_str!("../../../docs/format.md");
        for said in
            [OBJECTS, PARTS, "`0x504c4b53`, `PLKS`", "262,144 bytes of the object", "page size is 65,536"]
        {
            assert!(format.contains(said), "docs/format.md does not say: {said}");
        }
        assert_eq!((APPLICATION_ID, VERSION, PART_BYTES, PAGE_BYTES), (0x504c_4b53, 1, 262_144, 65_536));
    }
}
