//! Putting an object that comes in pieces: each goes to a nameless file at once.
//!
//! What `put` does after a failed flush, to write the bytes to another file, cannot be done here: the file is all there is
//! of them, and what is read of it then may be what memory holds and the disk does not. It is an error, and whoever sends
//! the bytes sends them again.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::Arc,
};

use super::{
    DirStore, barrier, failure, folder,
    put::{Failed, Flush, Found, Temporary, WRITE_BYTES, found},
    refusal,
};
use crate::{Draft, ErrorKind, Name, Result};

/// An object on its way into a folder.
pub struct DirDraft {
    /// Of the store, for messages.
    path: PathBuf,
    barrier: Arc<barrier::Barrier>,
    folder: Arc<OwnedFd>,
    temporary: Temporary,
    name: Name,
    len: u64,
    /// With those that could not be written, so that what failed cannot be finished.
    told: u64,
}

impl DirDraft {
    pub fn new(store: &DirStore, name: &Name, len: u64) -> Result<DirDraft> {
        let failed = |e| store.error("put", name, e);
        let inside = name.folder().unwrap_or("");
        let folder = Arc::new(folder::make(store.root.as_fd(), inside).map_err(failed)?);
        Ok(DirDraft {
            path: store.path.clone(),
            barrier: store.barrier.clone(),
            temporary: Temporary::new(&folder).map_err(failed)?,
            folder,
            name: name.clone(),
            len,
            told: 0,
        })
    }

    fn finish_flushed_by(&self, flush: Flush) -> Result<()> {
        let failed = |e| failure(&self.path, "put", &self.name, e);
        if self.told != self.len {
            let what = format!("{}, {} bytes of {}", self.name, self.told, self.len);
            return Err(refusal(&self.path, ErrorKind::Short, what));
        }
        let equal = |file: &mut File| equal(file, &self.temporary.file, self.len);
        let (mut flushed, mut replace) = (false, false);
        loop {
            if !replace {
                match found(&self.path, &self.folder, &self.name, self.len, &equal, flush)? {
                    Found::Nothing => {}
                    Found::Durable => break,
                    Found::Doubtful => replace = true,
                }
            }
            if !flushed {
                flush(&self.temporary.file).map_err(failed)?;
                flushed = true;
            }
            match self.temporary.name(self.name.last(), replace) {
                Ok(()) => break,
                Err(Failed::Exists) => {}
                Err(Failed::Again(e) | Failed::Finally(e)) => return Err(failed(e)),
            }
        }
        self.barrier.touch(self.name.folder().unwrap_or(""));
        Ok(())
    }
}

impl Draft for DirDraft {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.told = self.told.saturating_add(bytes.len() as u64);
        if self.told > self.len {
            let what = format!("{}, more than {} bytes", self.name, self.len);
            return Err(refusal(&self.path, ErrorKind::TooLarge, what));
        }
        let written = self.temporary.write(&[bytes]);
        written.map_err(|e| {
            self.told = u64::MAX;
            failure(&self.path, "put", &self.name, e)
        })
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.finish_flushed_by(&File::sync_all)
    }
}

/// Whether two files hold the same bytes, which are so many.
fn equal(one: &File, other: &File, len: u64) -> io::Result<bool> {
    let (mut left, mut right) = (vec![0; WRITE_BYTES], vec![0; WRITE_BYTES]);
    let mut at = 0;
    while at < len {
        let some = (len - at).min(WRITE_BYTES as u64) as usize;
        other.read_exact_at(&mut right[..some], at)?;
        match one.read_exact_at(&mut left[..some], at) {
            Ok(()) if left[..some] == right[..some] => {}
            Ok(()) => return Ok(false),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(e) => return Err(e),
        }
        at += some as u64;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, fs, os::unix::fs::MetadataExt, time::Duration};

    use super::*;
    use crate::ReadStore;

    struct World {
        temp: tempfile::TempDir,
        store: DirStore,
        name: Name,
    }

    impl World {
        fn new() -> World {
            let temp = tempfile::tempdir().unwrap();
            let store = DirStore::create(temp.path().join("store")).unwrap();
            World { temp, store, name: Name::new("packs/ab/cd").unwrap() }
        }

        fn draft(&self, pieces: &[&[u8]]) -> DirDraft {
            let len = pieces.iter().map(|piece| piece.len() as u64).sum();
            let mut draft = DirDraft::new(&self.store, &self.name, len).unwrap();
            pieces.iter().for_each(|piece| draft.write(piece).unwrap());
            draft
        }

        fn path(&self) -> PathBuf {
            self.temp.path().join("store/packs/ab/cd")
        }

        /// All files in the folder, temporary ones with them.
        fn files(&self) -> usize {
            fs::read_dir(self.temp.path().join("store/packs/ab")).unwrap().count()
        }
    }

    #[test]
    fn what_is_not_finished_leaves_nothing() {
        let world = World::new();
        for pieces in [&[][..], &[&b"some"[..], b"bytes"]] {
            let draft = world.draft(pieces);
            assert_eq!(world.files(), 1);
            world.store.list("", &mut |listed| panic!("{listed:?}")).unwrap();
            drop(draft);
            assert_eq!(world.files(), 0);
        }
        let mut long = world.draft(&[b"bytes"]);
        assert_eq!(long.write(b"!").unwrap_err().kind(), ErrorKind::TooLarge);
        assert_eq!(Box::new(long).finish().unwrap_err().kind(), ErrorKind::Short);
        assert_eq!(world.files(), 0);
        // A finished one leaves its object only, and an equal one that.
        for _ in 0..2 {
            Box::new(world.draft(&[b"by", b"", b"tes"])).finish().unwrap();
            assert_eq!((world.store.get(&world.name, 9).unwrap(), world.files()), (b"bytes".to_vec(), 1));
            assert_eq!(fs::metadata(world.path()).unwrap().mode() & 0o777, 0o400);
        }
        let other = Box::new(world.draft(&[b"Bytes"])).finish();
        assert_eq!((other.unwrap_err().kind(), world.files()), (ErrorKind::Exists, 1));
        assert_eq!(world.store.get(&world.name, 9).unwrap(), b"bytes");
    }

    #[test]
    fn after_a_failed_flush_nothing_has_the_name() {
        let world = World::new();
        let flushed = RefCell::new(0);
        let fail = |_: &File| {
            *flushed.borrow_mut() += 1;
            Err(io::Error::other("lost"))
        };
        let draft = world.draft(&[b"bytes"]);
        let error = draft.finish_flushed_by(&fail).unwrap_err();
        drop(draft);
        assert_eq!((error.kind(), *flushed.borrow(), world.files()), (ErrorKind::Io, 1, 0));
        Box::new(world.draft(&[b"bytes"])).finish().unwrap();
    }

    #[test]
    fn equal_bytes_that_cannot_be_flushed_give_way() {
        let world = World::new();
        Box::new(world.draft(&[b"bytes"])).finish().unwrap();
        let inode = || fs::metadata(world.path()).unwrap().ino();
        let first = inode();
        let flush = |file: &File| {
            if file.metadata()?.ino() == first { Err(io::Error::other("lost")) } else { file.sync_all() }
        };
        let draft = world.draft(&[b"bytes"]);
        draft.finish_flushed_by(&flush).unwrap();
        drop(draft);
        assert_ne!(inode(), first);
        assert_eq!((world.store.get(&world.name, 9).unwrap(), world.files()), (b"bytes".to_vec(), 1));
    }

    #[test]
    fn a_draft_whose_file_was_swept_is_an_error() {
        let world = World::new();
        let draft = world.draft(&[b"bytes"]);
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(world.store.sweep_temporaries(Duration::ZERO).unwrap(), 1);
        assert_eq!(Box::new(draft).finish().unwrap_err().kind(), ErrorKind::Io);
        assert_eq!(world.files(), 0);
    }

    #[test]
    fn large_objects_are_compared_to_their_last_byte() {
        let world = World::new();
        let mut bytes = vec![7; 3 * WRITE_BYTES + 1];
        Box::new(world.draft(&[&bytes])).finish().unwrap();
        Box::new(world.draft(&[&bytes[..10], &bytes[10..]])).finish().unwrap();
        for at in [0, WRITE_BYTES, 3 * WRITE_BYTES] {
            bytes[at] = 8;
            let other = Box::new(world.draft(&[&bytes])).finish();
            assert_eq!(other.unwrap_err().kind(), ErrorKind::Exists, "{at}");
            bytes[at] = 7;
        }
    }
}
