//! Reading folders, several at a time, and each with several requests ahead.

use crate::connection::{Calls, Connection, Tried, Trouble, nonsense};
use crate::place::Place;
use crate::refusal::{self, Done};
use crate::wire::{Attributes, Reply, Request};
use plakar_store::ErrorKind;
use std::collections::VecDeque;

/// So many folders are read at the same time.
const FOLDERS: usize = 32;
/// So many answers of one folder may be on their way.
const AHEAD_MAX: usize = 16;
/// More than this is in no folder of a repository: whoever tells of more tells without end.
const ENTRIES_MAX: usize = 1 << 22;
/// No name of an object is longer, nor is that of a temporary file.
const NAME_MAX: usize = 255;
/// Stands for a name that is none here.
const STRANGE: &str = "\u{fffd}";

/// What a folder holds, and of each what it is.
pub type Entries = Vec<(String, Attributes)>;

struct Folder {
    path: Vec<u8>,
    handle: Option<Vec<u8>>,
    /// Answers on their way.
    asked: usize,
    ahead: usize,
    at_end: bool,
    told: usize,
    entries: Done<Entries>,
}

/// What folders hold whose names are given, in order; for each, or why that is not known.
/// Each is read to its end.
pub fn read_folders(connection: &Connection, place: &Place, folders: &[String]) -> Tried<Vec<Done<Entries>>> {
    let folder = |name: &String| Folder {
        path: place.path(name),
        handle: None,
        asked: 0,
        // Most folders end with the answer after the first, which then comes together with it.
        ahead: 2,
        at_end: false,
        told: 0,
        entries: Ok(Vec::new()),
    };
    let calls = Calls::new(connection);
    let mut folders: Vec<Folder> = folders.iter().map(folder).collect();
    let most = FOLDERS.min(connection.abilities().handles);
    let (mut begun, mut ended) = (0, 0);
    while ended < folders.len() {
        while begun < folders.len() && begun - ended < most {
            calls.send(begun, &Request::Opendir(&folders[begun].path))?;
            begun += 1;
        }
        let (tag, reply) = calls.next()?;
        let is_ended = advance(&calls, place, tag, &mut folders[tag], reply)?;
        ended += usize::from(is_ended);
    }
    for folder in &mut folders {
        if let Ok(entries) = &mut folder.entries {
            look_closer(&calls, &folder.path, entries)?;
            entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        }
    }
    Ok(folders.into_iter().map(|folder| folder.entries).collect())
}

/// An answer about a folder. Whether nothing more is asked of it.
fn advance(calls: &Calls, place: &Place, tag: usize, folder: &mut Folder, reply: Reply) -> Tried<bool> {
    if folder.handle.is_none() {
        match refusal::handle(reply)? {
            Ok(handle) => folder.handle = Some(handle),
            Err(refusal) => {
                folder.entries = Err(refusal);
                return Ok(true);
            }
        }
    } else {
        folder.asked -= 1;
        match refusal::names(reply)? {
            Ok(Some(names)) => {
                let is_first = folder.told == 0;
                folder.told += names.len().max(1);
                if folder.told > ENTRIES_MAX {
                    let what = format!("{}: a folder there has no end", place.location());
                    return Err(Trouble::Said(plakar_store::Error::new(ErrorKind::Io, what)));
                }
                if let Ok(entries) = &mut folder.entries {
                    entries.extend(names.into_iter().filter_map(|(name, is)| Some((entry_name(name)?, is))));
                }
                // Whether there is more is said by the next, which is on its way.
                if is_first {
                    return Ok(false);
                }
                folder.ahead = (folder.ahead * 2).min(AHEAD_MAX);
            }
            Ok(None) => folder.at_end = true,
            Err(refusal) => {
                folder.at_end = true;
                folder.entries = Err(refusal);
            }
        }
    }
    let handle = folder.handle.as_ref().expect("it is open");
    while !folder.at_end && folder.asked < folder.ahead {
        calls.send(tag, &Request::Readdir(handle))?;
        folder.asked += 1;
    }
    let is_ended = folder.asked == 0;
    if is_ended {
        calls.connection().tell(&Request::Close(handle));
    }
    Ok(is_ended)
}

/// The name of an entry; one that no object and no temporary file can have is told from those, and from nothing.
fn entry_name(name: Vec<u8>) -> Option<String> {
    if name == b"." || name == b".." {
        return None;
    }
    let text = String::from_utf8(name).ok().filter(|text| text.len() <= NAME_MAX && !text.contains('/'));
    Some(text.unwrap_or_else(|| STRANGE.into()))
}

/// Asks of each entry what it is, where the listing of its folder does not tell. What has gone meanwhile is left out.
fn look_closer(calls: &Calls, folder: &[u8], entries: &mut Entries) -> Tried<()> {
    let is_unclear = |is: &Attributes| is.mode.is_none() || is.is_file() && is.size.is_none();
    let to_ask = |at: &usize| is_unclear(&entries[*at].1) && entries[*at].0 != STRANGE;
    let mut unclear: VecDeque<usize> = (0..entries.len()).filter(to_ask).collect();
    let (mut asked, mut gone) = (0, Vec::new());
    while asked > 0 || !unclear.is_empty() {
        while asked < FOLDERS
            && let Some(at) = unclear.pop_front()
        {
            calls.send(at, &Request::Lstat(&[folder, b"/", entries[at].0.as_bytes()].concat()))?;
            asked += 1;
        }
        let (at, reply) = calls.next()?;
        asked -= 1;
        match refusal::attributes(reply)? {
            Ok(Some(is)) if is_unclear(&is) => return Err(nonsense("attributes without a kind")),
            Ok(Some(is)) => entries[at].1 = is,
            Ok(None) | Err(_) => gone.push(at),
        }
    }
    gone.sort_unstable();
    gone.into_iter().rev().for_each(|at| drop(entries.swap_remove(at)));
    Ok(())
}
