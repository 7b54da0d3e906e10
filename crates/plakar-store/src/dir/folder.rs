//! Folders and what is in them, reached part by part from the store's root without following links.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags},
    io::{Errno, retry_on_intr},
};

/// What bears an object's name.
pub enum Entry {
    /// Nothing.
    Missing,
    /// Something that no store put there: a link, a folder, a pipe, a device.
    Other,
    /// A regular file, open for reading, and its length.
    File(File, u64),
}

/// Opens the folder `path` under `root` (the root itself when empty), or `None` when there is no such
/// folder. Symbolic links are not folders.
pub fn open(root: BorrowedFd<'_>, path: &str) -> io::Result<Option<OwnedFd>> {
    let mut folder = one(root, ".")?;
    for part in parts(path) {
        folder = match one(folder.as_fd(), part) {
            Ok(next) => next,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
    }
    Ok(Some(folder))
}

/// As [`open`], making what is missing for nobody but its owner.
pub fn make(root: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    let mut folder = one(root, ".")?;
    for part in parts(path) {
        folder = match one(folder.as_fd(), part) {
            Err(Errno::NOENT) => match retry_on_intr(|| rustix::fs::mkdirat(&folder, part, Mode::RWXU)) {
                Ok(()) | Err(Errno::EXIST) => one(folder.as_fd(), part)?,
                Err(e) => return Err(e.into()),
            },
            other => other?,
        };
    }
    Ok(folder)
}

/// Opens what is called `last` in `folder` when it is a regular file.
pub fn entry(folder: BorrowedFd<'_>, last: &str) -> io::Result<Entry> {
    // Without NONBLOCK, opening a pipe would wait for somebody to write into it.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match retry_on_intr(|| rustix::fs::openat(folder, last, flags, Mode::empty())) {
        Ok(fd) => File::from(fd),
        Err(Errno::NOENT) => return Ok(Entry::Missing),
        Err(Errno::LOOP | Errno::NXIO) => return Ok(Entry::Other),
        Err(e) => return Err(e.into()),
    };
    let metadata = file.metadata()?;
    Ok(if metadata.is_file() { Entry::File(file, metadata.len()) } else { Entry::Other })
}

/// The length of a regular file and its last change in milliseconds since 1970; `None` for anything else.
pub fn stat(folder: BorrowedFd<'_>, last: &str) -> io::Result<Option<(u64, i64)>> {
    match retry_on_intr(|| rustix::fs::statat(folder, last, AtFlags::SYMLINK_NOFOLLOW)) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
            #[allow(clippy::unnecessary_cast)] // The types of these fields differ between systems.
            let ms = (stat.st_mtime as i64)
                .saturating_mul(1000)
                .saturating_add(stat.st_mtime_nsec as i64 / 1_000_000);
            Ok(Some((stat.st_size as u64, ms)))
        }
        Ok(_) | Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// What a folder holds, in order, without `.` and `..` and without what has no UTF-8 name; with each,
/// whether it may be a folder. A whole folder is read before anything is done with it, so that what is
/// done cannot disturb the reading.
pub fn entries(folder: &OwnedFd) -> io::Result<Vec<(String, bool)>> {
    let mut entries = Vec::new();
    for entry in listed(folder)? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().to_str()
            && name != "."
            && name != ".."
        {
            let folder = matches!(entry.file_type(), FileType::Directory | FileType::Unknown);
            entries.push((name.to_owned(), folder));
        }
    }
    entries.sort_unstable();
    Ok(entries)
}

/// Whether a folder holds nothing at all, whatever its name.
pub fn is_empty(folder: &OwnedFd) -> io::Result<bool> {
    for entry in listed(folder)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Listing opens the folder once more, which a signal may interrupt.
fn listed(folder: &OwnedFd) -> io::Result<Dir> {
    Ok(retry_on_intr(|| Dir::read_from(folder))?)
}

/// Whether an open folder no longer has a name.
pub fn is_removed(folder: &OwnedFd) -> io::Result<bool> {
    Ok(retry_on_intr(|| rustix::fs::fstat(folder))?.st_nlink == 0)
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

fn one(folder: BorrowedFd<'_>, part: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    retry_on_intr(|| rustix::fs::openat(folder, part, flags, Mode::empty()))
}
