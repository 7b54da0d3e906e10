//! Walks over the folders of a store.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::{
    fs::AtFlags,
    io::{Errno, retry_on_intr},
};

use super::folder;
use crate::{Error, Listed, Name, Result, is_temporary};

/// Calls `each` for every object whose name begins with `prefix`, folder by folder, opening only folders
/// that can hold one, which `seen` is told. What vanishes meanwhile is not shown; what cannot be looked at is an
/// error, made by `failed` from the folder: a listing that is not whole would be worse than none.
pub fn list(
    root: BorrowedFd<'_>,
    prefix: &str,
    seen: &dyn Fn(&str),
    failed: &dyn Fn(&str, io::Error) -> Error,
    each: &mut dyn FnMut(Listed) -> Result<()>,
) -> Result<()> {
    let inside = prefix.rsplit_once('/').map_or("", |(inside, _)| inside);
    // A prefix that no name begins with, were it `../`, is not even looked up.
    if prefix.starts_with('/') || !inside.is_empty() && Name::new(inside).is_none() {
        return Ok(());
    }
    let mut pending = vec![inside.to_owned()];
    while let Some(path) = pending.pop() {
        let Some(open) = folder::open(root, &path).map_err(|e| failed(&path, e))? else { continue };
        let entries = folder::entries(&open).map_err(|e| failed(&path, e))?;
        seen(&path);
        let mut folders = Vec::new();
        for (entry, may_be_folder) in entries {
            let full = join(&path, &entry);
            if !full.starts_with(prefix) {
                continue;
            }
            let Some(name) = Name::new(&full) else { continue };
            match folder::stat(open.as_fd(), &entry).map_err(|e| failed(&path, e))? {
                Some((len, received_ms)) => each(Listed { name, len, received_ms })?,
                None if may_be_folder => folders.push(full),
                None => {}
            }
        }
        pending.extend(folders.into_iter().rev());
    }
    Ok(())
}

/// Removes temporary files that are older than `older_than`, in every folder; returns how many.
pub fn sweep(root: &OwnedFd, older_than: Duration) -> io::Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let oldest_ms = now.as_millis().saturating_sub(older_than.as_millis()) as i64;
    let mut swept = 0;
    let mut pending = vec![String::new()];
    while let Some(path) = pending.pop() {
        let Some(open) = folder::open(root.as_fd(), &path)? else { continue };
        for (entry, may_be_folder) in folder::entries(&open)? {
            if is_temporary(entry.as_bytes()) {
                let old = folder::stat(open.as_fd(), &entry)?.is_some_and(|(_, ms)| ms < oldest_ms);
                if old && remove(&open, &entry)? {
                    swept += 1;
                }
            } else if may_be_folder && Name::new(&join(&path, &entry)).is_some() {
                pending.push(join(&path, &entry));
            }
        }
    }
    Ok(swept)
}

fn remove(folder: &OwnedFd, entry: &str) -> io::Result<bool> {
    match retry_on_intr(|| rustix::fs::unlinkat(folder, entry, AtFlags::empty())) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

fn join(path: &str, entry: &str) -> String {
    if path.is_empty() { entry.to_owned() } else { format!("{path}/{entry}") }
}
