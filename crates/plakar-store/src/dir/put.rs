//! Putting an object: write a nameless file, flush it, name it.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
    path::Path,
    sync::Arc,
};

use rustix::{
    fs::{AtFlags, Mode, OFlags, RenameFlags},
    io::{Errno, retry_on_intr},
};

use super::{DirStore, Entry, failure, folder, refusal};
use crate::{ErrorKind, Name, Result, TEMPORARY_PREFIX};

/// Small parts are gathered into writes of this size; larger ones are written as they are.
pub(super) const WRITE_BYTES: usize = 64 << 10;

/// How the bytes of a file are flushed to the disk: a parameter, so that tests can let it fail.
pub(super) type Flush<'a> = &'a dyn Fn(&File) -> io::Result<()>;

/// What already bears the name.
pub(super) enum Found {
    Nothing,
    /// The same bytes, and they are on the disk.
    Durable,
    /// The same bytes as far as memory tells, but they could not be flushed.
    Doubtful,
}

/// Why an attempt did not succeed.
pub(super) enum Failed {
    /// Something of that name appeared meanwhile.
    Exists,
    /// Another file might fare better.
    Again(io::Error),
    Finally(io::Error),
}

impl DirStore {
    pub(super) fn put_flushed_by(&self, name: &Name, parts: &[&[u8]], flush: Flush) -> Result<()> {
        let failed = |e| self.error("put", name, e);
        let inside = name.folder().unwrap_or("");
        let folder = Arc::new(folder::make(self.root.as_fd(), inside).map_err(failed)?);
        let len = parts.iter().map(|part| part.len() as u64).sum();
        let equal = |file: &mut File| holds(file, parts);
        let mut replace = false;
        let mut again = false;
        loop {
            if !replace {
                match found(&self.path, &folder, name, len, &equal, flush)? {
                    Found::Nothing => {}
                    Found::Durable => break,
                    Found::Doubtful => replace = true,
                }
            }
            match attempt(&folder, name.last(), parts, replace, flush) {
                Ok(()) => break,
                Err(Failed::Exists) => {}
                Err(Failed::Again(_)) if !again => again = true,
                Err(Failed::Again(e) | Failed::Finally(e)) => return Err(failed(e)),
            }
        }
        self.barrier.touch(inside);
        Ok(())
    }
}

/// Looks at what bears the name, which is to be of `len` bytes and `equal`. Equal bytes are flushed, because whoever put them
/// here (an ordinary copy, say) may not have done so. `path` is for messages.
pub(super) fn found(
    path: &Path,
    folder: &OwnedFd,
    name: &Name,
    len: u64,
    equal: &dyn Fn(&mut File) -> io::Result<bool>,
    flush: Flush,
) -> Result<Found> {
    let entry = folder::entry(folder.as_fd(), name.last()).map_err(|e| failure(path, "open", name, e))?;
    match entry {
        Entry::Missing => Ok(Found::Nothing),
        Entry::File(mut file, there) => {
            let equal = there == len && equal(&mut file).map_err(|e| failure(path, "compare", name, e))?;
            match equal {
                true if flush(&file).is_ok() => Ok(Found::Durable),
                true => Ok(Found::Doubtful),
                false => Err(refusal(path, ErrorKind::Exists, name)),
            }
        }
        Entry::Other => Err(refusal(path, ErrorKind::Exists, format_args!("{name} (not a regular file)"))),
    }
}

/// Whether a file holds exactly the concatenation of `parts`.
fn holds(file: &mut File, parts: &[&[u8]]) -> io::Result<bool> {
    let mut buffer = vec![0; WRITE_BYTES];
    for piece in parts.iter().flat_map(|part| part.chunks(WRITE_BYTES)) {
        match file.read_exact(&mut buffer[..piece.len()]) {
            Ok(()) if buffer[..piece.len()] == *piece => {}
            Ok(()) => return Ok(false),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}

fn attempt(
    folder: &Arc<OwnedFd>,
    last: &str,
    parts: &[&[u8]],
    replace: bool,
    flush: Flush,
) -> std::result::Result<(), Failed> {
    let temporary = Temporary::new(folder).map_err(Failed::Finally)?;
    temporary.write(parts).map_err(Failed::Finally)?;
    flush(&temporary.file).map_err(Failed::Again)?;
    temporary.name(last, replace)
}

/// A file without an object's name. Its own name goes when it is dropped, whatever happened.
pub(super) struct Temporary {
    folder: Arc<OwnedFd>,
    name: String,
    pub(super) file: File,
}

impl Temporary {
    pub(super) fn new(folder: &Arc<OwnedFd>) -> io::Result<Temporary> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|e| io::Error::other(e.to_string()))?;
        let name = format!("{TEMPORARY_PREFIX}{:016x}", u64::from_ne_bytes(random));
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = retry_on_intr(|| rustix::fs::openat(folder, &name, flags, Mode::RUSR))?;
        Ok(Temporary { folder: folder.clone(), name, file: File::from(fd) })
    }

    pub(super) fn write(&self, parts: &[&[u8]]) -> io::Result<()> {
        let mut file = &self.file;
        let mut small = Vec::new();
        for part in parts {
            if small.len() + part.len() > WRITE_BYTES {
                file.write_all(&small)?;
                small.clear();
            }
            if part.len() > WRITE_BYTES {
                file.write_all(part)?;
            } else {
                small.extend_from_slice(part);
            }
        }
        file.write_all(&small)
    }

    /// Gives the file its name, taking it from another file if it is to `replace` that.
    pub(super) fn name(&self, last: &str, replace: bool) -> std::result::Result<(), Failed> {
        let named = if replace { self.replace(last) } else { self.publish(last) };
        named.map_err(|e| match Errno::from_io_error(&e) {
            Some(Errno::EXIST) => Failed::Exists,
            Some(Errno::NOENT) => Failed::Again(io::Error::other("the temporary file was removed meanwhile")),
            _ => Failed::Finally(e),
        })
    }

    /// Gives the file its name unless something bears it ([`Errno::EXIST`]).
    fn publish(&self, last: &str) -> io::Result<()> {
        let flags = RenameFlags::NOREPLACE;
        match retry_on_intr(|| rustix::fs::renameat_with(&self.folder, &self.name, &self.folder, last, flags))
        {
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => self.link(last),
            other => Ok(other?),
        }
    }

    /// The same for file systems, network ones above all, that cannot rename without replacing.
    fn link(&self, last: &str) -> io::Result<()> {
        let flags = AtFlags::empty();
        Ok(retry_on_intr(|| rustix::fs::linkat(&self.folder, &self.name, &self.folder, last, flags))?)
    }

    /// Gives the file its name, taking it from another file.
    fn replace(&self, last: &str) -> io::Result<()> {
        Ok(retry_on_intr(|| rustix::fs::renameat(&self.folder, &self.name, &self.folder, last))?)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename there is nothing left of that name. A failure leaves what a crash would leave.
        let _ = retry_on_intr(|| rustix::fs::unlinkat(&self.folder, &self.name, AtFlags::empty()));
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, fs, os::unix::fs::MetadataExt};

    use super::*;
    use crate::ReadStore;

    struct World {
        temp: tempfile::TempDir,
        store: DirStore,
        name: Name,
        /// The files that were flushed, by inode.
        flushed: RefCell<Vec<u64>>,
    }

    impl World {
        fn new() -> World {
            let temp = tempfile::tempdir().unwrap();
            let store = DirStore::create(temp.path().join("store")).unwrap();
            World { temp, store, name: Name::new("packs/ab/cd").unwrap(), flushed: RefCell::default() }
        }

        /// Puts while the first `failures` flushes fail.
        fn put(&self, bytes: &[u8], failures: usize) -> Result<()> {
            self.flushed.borrow_mut().clear();
            self.store.put_flushed_by(&self.name, &[bytes], &|file| {
                let mut flushed = self.flushed.borrow_mut();
                let inode = file.metadata()?.ino();
                assert!(!flushed.contains(&inode), "a file is never flushed again");
                flushed.push(inode);
                if flushed.len() <= failures { Err(io::Error::other("lost")) } else { file.sync_all() }
            })
        }

        fn inode(&self) -> u64 {
            fs::metadata(self.temp.path().join("store/packs/ab/cd")).unwrap().ino()
        }

        fn files(&self) -> usize {
            fs::read_dir(self.temp.path().join("store/packs/ab")).unwrap().count()
        }
    }

    #[test]
    fn after_a_failed_flush_the_bytes_go_to_another_file() {
        let world = World::new();
        // The thrown-away file stays open here, so that its inode is not used again.
        let keep = RefCell::new(Vec::new());
        let failing = RefCell::new(true);
        let flush = |file: &File| {
            keep.borrow_mut().push(file.try_clone()?);
            if failing.replace(false) { Err(io::Error::other("lost")) } else { Ok(()) }
        };
        world.store.put_flushed_by(&world.name, &[b"bytes"], &flush).unwrap();
        let inodes: Vec<u64> = keep.borrow().iter().map(|file| file.metadata().unwrap().ino()).collect();
        assert_eq!((inodes.len(), inodes[1]), (2, world.inode()));
        assert_ne!(inodes[0], inodes[1]);
        assert_eq!((world.store.get(&world.name, 9).unwrap(), world.files()), (b"bytes".to_vec(), 1));
    }

    #[test]
    fn a_put_whose_temporary_file_was_swept_begins_again_once() {
        let world = World::new();
        let sweep = |_: &File| {
            std::thread::sleep(std::time::Duration::from_millis(5));
            world.store.sweep_temporaries(std::time::Duration::ZERO).map(drop).map_err(io::Error::other)
        };
        let error = world.store.put_flushed_by(&world.name, &[b"bytes"], &sweep).unwrap_err();
        assert_eq!((error.kind(), world.files()), (ErrorKind::Io, 0));
        let first = RefCell::new(true);
        let once = |file: &File| if first.replace(false) { sweep(file) } else { Ok(()) };
        world.store.put_flushed_by(&world.name, &[b"bytes"], &once).unwrap();
        assert_eq!((world.store.get(&world.name, 9).unwrap(), world.files()), (b"bytes".to_vec(), 1));
    }

    #[test]
    fn two_failed_flushes_leave_nothing() {
        let world = World::new();
        let flushes = RefCell::new(0);
        let flush = |_: &File| {
            *flushes.borrow_mut() += 1;
            Err(io::Error::other("lost"))
        };
        let error = world.store.put_flushed_by(&world.name, &[b"bytes"], &flush).unwrap_err();
        assert_eq!((error.kind(), flushes.into_inner(), world.files()), (ErrorKind::Io, 2, 0));
    }

    #[test]
    fn equal_bytes_that_cannot_be_flushed_are_written_anew() {
        let world = World::new();
        world.put(b"bytes", 0).unwrap();
        let first = world.inode();
        world.put(b"bytes", 0).unwrap();
        assert_eq!(*world.flushed.borrow(), [first], "equal bytes are flushed, not written");
        world.put(b"bytes", 1).unwrap();
        assert_eq!(world.flushed.borrow().len(), 2);
        assert_ne!(world.inode(), first);
        assert_eq!((world.store.get(&world.name, 9).unwrap(), world.files()), (b"bytes".to_vec(), 1));
    }

    #[test]
    fn a_link_publishes_as_a_rename_does() {
        let world = World::new();
        let folder = Arc::new(folder::make(world.store.root.as_fd(), "packs/ab").unwrap());
        let publish = |bytes: &[u8]| {
            let temporary = Temporary::new(&folder).unwrap();
            temporary.write(&[bytes]).unwrap();
            temporary.link("cd")
        };
        publish(b"one").unwrap();
        assert_eq!(publish(b"two").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!((world.store.get(&world.name, 9).unwrap(), world.files()), (b"one".to_vec(), 1));
    }

    #[test]
    fn parts_of_all_sizes_are_written_in_order() {
        let world = World::new();
        let sizes = [0, 1, 65_535, 65_536, 65_537, 3, 0, 40_000, 40_000, 300_000, 7];
        let parts: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(n, size)| vec![n as u8; *size]).collect();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        for _ in 0..2 {
            world.store.put_flushed_by(&world.name, &parts, &File::sync_all).unwrap();
        }
        assert!(world.store.get(&world.name, 1 << 20).unwrap() == parts.concat());
    }
}
