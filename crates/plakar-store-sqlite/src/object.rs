//! Objects as rows and parts: finding, reading, comparing, writing, removing. Each function works within the
//! transaction of its caller.

use plakar_store::{Error, Listed, Name};
use rusqlite::{
    Connection, OptionalExtension, blob::Blob, ffi::ErrorCode, params, types::ToSqlOutput, types::ValueRef,
};

use crate::{
    error::Failed,
    schema::{OBJECT_BYTES_MAX, PART_BITS, PART_BYTES},
};

/// How many names of a listing are read in one transaction.
const LISTED_AT_ONCE: usize = 1000;

/// Text greater than every name that begins with what stands before it: no name has a byte as large.
const ABOVE: u8 = 0x7f;

/// An object's row, as far as it makes sense by itself. Whether its parts hold what it says shows when they are
/// read: nothing is allocated because of `len`.
#[derive(Debug, Clone, Copy)]
pub struct Object {
    id: i64,
    /// Its length in bytes, by its row.
    pub len: u64,
}

/// The object of that name.
pub fn find(connection: &Connection, name: &Name) -> Result<Option<Object>, Failed> {
    let mut row = connection.prepare("SELECT id, length FROM objects WHERE name = ?1")?;
    let found = row.query_row([name.as_str()], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((id, len)) = found else { return Ok(None) };
    let id = Some(id).filter(|id| part_id(*id, 0).is_some()).ok_or(Failed::Damaged("an object's id"))?;
    Ok(Some(Object { id, len: length(len)? }))
}

/// The object of that name, which must be there.
pub fn must_find(connection: &Connection, name: &Name) -> Result<Object, Failed> {
    find(connection, name)?.ok_or(Failed::Missing)
}

/// Exactly `len` bytes from `offset`. Only parts are touched that hold some of them, and of these only pages
/// up to where the range ends.
pub fn read(connection: &Connection, object: Object, offset: u64, len: usize) -> Result<Vec<u8>, Failed> {
    if offset.checked_add(len as u64).is_none_or(|end| end > object.len) {
        return Err(Failed::Short(format!("{len} bytes at {offset} of {}", object.len)));
    }
    let mut parts = Parts { connection, object, open: None };
    let mut bytes = Vec::new();
    while bytes.len() < len {
        let at = offset + bytes.len() as u64;
        let (number, inside) = (at / PART_BYTES as u64, (at % PART_BYTES as u64) as usize);
        let part = parts.part(number)?;
        let now = (part.len() - inside).min(len - bytes.len());
        // Grows by what has been found to be there, never by what a row promises.
        bytes.try_reserve(now).map_err(|_| Failed::System(std::io::ErrorKind::OutOfMemory.into()))?;
        let done = bytes.len();
        bytes.resize(done + now, 0);
        part.read_at_exact(&mut bytes[done..], inside)?;
    }
    Ok(bytes)
}

/// Whether the object holds the concatenation of `parts`. One whose parts are not all there does not.
pub fn holds(connection: &Connection, object: Object, parts: &[&[u8]]) -> Result<bool, Failed> {
    if object.len != total(parts)? {
        return Ok(false);
    }
    let mut stored = Parts { connection, object, open: None };
    let mut buffer = Vec::new();
    let compared = cut(parts, |number, bytes| {
        let part = stored.part(number)?;
        buffer.resize(bytes.len(), 0);
        part.read_at_exact(&mut buffer, 0)?;
        if buffer == bytes { Ok(()) } else { Err(Failed::Other) }
    });
    match compared {
        Ok(()) => Ok(true),
        Err(Failed::Other | Failed::Short(_)) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Writes an object under a name that is free.
pub fn write(connection: &Connection, name: &Name, parts: &[&[u8]], now_ms: i64) -> Result<(), Failed> {
    let len = total(parts)?;
    // Ids are used in rising order, so new parts go to the end of their table. The id of a deleted object may
    // be used again: nothing remembers ids beyond a transaction.
    let last: i64 = connection.query_row("SELECT coalesce(max(id), 0) FROM parts", (), |row| row.get(0))?;
    let id = (last.max(0) >> PART_BITS) + 1;
    let mut insert = connection.prepare("INSERT INTO parts (id, bytes) VALUES (?1, ?2)")?;
    cut(parts, |number, bytes| {
        let id = part_id(id, number).ok_or(Failed::Damaged("no ids are left"))?;
        insert.execute(params![id, bytes])?;
        Ok::<(), Failed>(())
    })?;
    let mut insert =
        connection.prepare("INSERT INTO objects (name, id, length, received_ms) VALUES (?1, ?2, ?3, ?4)")?;
    insert.execute(params![name.as_str(), id, len as i64, now_ms])?;
    Ok(())
}

/// Removes an object with all that lies under its id.
pub fn remove(connection: &Connection, name: &Name, object: Object) -> Result<(), Failed> {
    let (first, last) = (part_id(object.id, 0), part_id(object.id, (1 << PART_BITS) - 1));
    connection.execute("DELETE FROM parts WHERE id BETWEEN ?1 AND ?2", params![first, last])?;
    connection.execute("DELETE FROM objects WHERE name = ?1", [name.as_str()])?;
    Ok(())
}

/// A page of a listing, and where the next one begins, if there may be one.
pub struct Page {
    /// What it shows.
    pub listed: Vec<Listed>,
    /// The least text that the next page may show.
    pub next: Option<Vec<u8>>,
}

/// The objects whose names begin with `prefix` and are not less than `from`, in order, as many as fit a page.
///
/// A listing of several pages, each in its own transaction, shows every object that is there all the time: names
/// do not move. And it takes no more memory for more objects.
pub fn page(connection: &Connection, prefix: &str, from: &[u8]) -> Result<Page, Failed> {
    let text = |bytes| ToSqlOutput::Borrowed(ValueRef::Text(bytes));
    let above = [prefix.as_bytes(), &[ABOVE]].concat();
    let mut rows = connection.prepare(
        "SELECT name, length, received_ms FROM objects WHERE name >= ?1 AND name < ?2 ORDER BY name LIMIT ?3",
    )?;
    let mut rows = rows.query(params![text(from), text(&above), LISTED_AT_ONCE as i64])?;
    let mut page = Page { listed: Vec::new(), next: None };
    let (mut count, mut least) = (0, from.to_vec());
    while let Some(row) = rows.next()? {
        let ValueRef::Text(name) = row.get_ref(0)? else { return Err(Failed::Damaged("a name is no text")) };
        // In a damaged index the same rows could come again and again.
        if *name < *least {
            return Err(Failed::Damaged("names are out of order"));
        }
        least = [name, &[0]].concat();
        count += 1;
        let name = std::str::from_utf8(name).ok().filter(|name| name.starts_with(prefix)).and_then(Name::new);
        if let Some(name) = name {
            page.listed.push(Listed { name, len: length(row.get(1)?)?, received_ms: row.get(2)? });
        }
    }
    page.next = (count == LISTED_AT_ONCE).then_some(least);
    Ok(page)
}

/// Calls `each` for what `ask` finds page by page, without a transaction open meanwhile.
pub fn list(
    prefix: &str,
    mut ask: impl FnMut(&[u8]) -> Result<Page, Error>,
    each: &mut dyn FnMut(Listed) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut from = prefix.as_bytes().to_vec();
    loop {
        let page = ask(&from)?;
        page.listed.into_iter().try_for_each(&mut *each)?;
        match page.next {
            Some(next) => from = next,
            None => return Ok(()),
        }
    }
}

/// The sum of the lengths, unless no object can be as long.
pub fn total(parts: &[&[u8]]) -> Result<u64, Failed> {
    let total = parts.iter().map(|part| part.len() as u64).sum();
    if total > OBJECT_BYTES_MAX { Err(Failed::TooLarge(total)) } else { Ok(total) }
}

/// Parts of one object, opened one after the other.
struct Parts<'c> {
    connection: &'c Connection,
    object: Object,
    open: Option<Blob<'c>>,
}

impl<'c> Parts<'c> {
    /// The part of that number, which has the length that the object's length demands.
    fn part(&mut self, number: u64) -> Result<&Blob<'c>, Failed> {
        let short = |why: &str| Failed::Short(format!("part {number} of it {why}"));
        let id = part_id(self.object.id, number).ok_or_else(|| short("cannot be"))?;
        let opened = match self.open.take() {
            Some(mut blob) => blob.reopen(id).map(|()| blob),
            None => self.connection.blob_open("main", "parts", "bytes", id, true),
        };
        let blob = opened.map_err(|e| match e.sqlite_error_code() {
            // So SQLite says that there is no such row, or no bytes in it.
            Some(ErrorCode::Unknown) => short("is missing"),
            _ => Failed::Sqlite(e),
        })?;
        let due = (self.object.len - number * PART_BYTES as u64).min(PART_BYTES as u64);
        if blob.len() as u64 != due {
            return Err(short(&format!("has {} bytes instead of {due}", blob.len())));
        }
        Ok(self.open.insert(blob))
    }
}

/// Calls `each` with number and bytes of every part that the concatenation of `parts` is cut into.
fn cut<E>(parts: &[&[u8]], mut each: impl FnMut(u64, &[u8]) -> Result<(), E>) -> Result<(), E> {
    let mut number = 0;
    let mut gathered = Vec::new();
    for mut rest in parts.iter().copied() {
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(PART_BYTES - gathered.len()));
            rest = later;
            // A whole part in one piece is handed on as it lies.
            if now.len() < PART_BYTES {
                gathered.extend_from_slice(now);
                if gathered.len() < PART_BYTES {
                    continue;
                }
                each(number, &gathered)?;
                gathered.clear();
            } else {
                each(number, now)?;
            }
            number += 1;
        }
    }
    if !gathered.is_empty() || number == 0 { each(number, &gathered) } else { Ok(()) }
}

/// The row id of a part; `None` if there can be no such part.
fn part_id(object: i64, number: u64) -> Option<i64> {
    let fits = object > 0 && object <= i64::MAX >> PART_BITS && number < 1 << PART_BITS;
    fits.then_some(object << PART_BITS | number as i64)
}

fn length(column: i64) -> Result<u64, Failed> {
    let sound = u64::try_from(column).ok().filter(|len| *len <= OBJECT_BYTES_MAX);
    sound.ok_or(Failed::Damaged("an object's length"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_cut_wherever_the_pieces_end() {
        let all: Vec<u8> = (0..PART_BYTES * 3 + 5).map(|n| (n / 7) as u8).collect();
        let cases: [&[usize]; 8] = [
            &[],
            &[PART_BYTES],
            &[PART_BYTES * 2],
            &[1, PART_BYTES, PART_BYTES * 2 + 4],
            &[PART_BYTES - 1, 1, PART_BYTES, 0, 7],
            &[PART_BYTES, PART_BYTES * 2 + 1],
            &[3, 0, PART_BYTES - 3, PART_BYTES + 1],
            &[PART_BYTES * 3 + 5],
        ];
        for lengths in cases {
            let mut rest = &all[..];
            let pieces: Vec<&[u8]> = lengths.iter().map(|len| rest.split_off(..*len).unwrap()).collect();
            let whole = pieces.concat();
            let mut parts: Vec<Vec<u8>> = Vec::new();
            let each = |number, bytes: &[u8]| {
                assert_eq!(number, parts.len() as u64);
                parts.push(bytes.to_vec());
                Ok::<(), ()>(())
            };
            cut(&pieces, each).unwrap();
            assert!(parts.concat() == whole, "{lengths:?}");
            assert_eq!(parts.len(), whole.len().div_ceil(PART_BYTES).max(1), "{lengths:?}");
            assert!(parts.iter().rev().skip(1).all(|part| part.len() == PART_BYTES), "{lengths:?}");
        }
    }

    #[test]
    fn ids_of_parts_do_not_overflow() {
        assert_eq!(part_id(1, 0), Some(1 << 20));
        assert_eq!(part_id(3, (1 << 20) - 1), Some((4 << 20) - 1));
        assert_eq!(part_id((1 << 43) - 1, (1 << 20) - 1), Some(i64::MAX));
        for (object, number) in [(0, 0), (-1, 0), (1 << 43, 0), (i64::MAX, 0), (i64::MIN, 0), (1, 1 << 20)] {
            assert_eq!(part_id(object, number), None);
        }
    }
}
