//! Making names durable: which folders a barrier flushes, and what a failed one means.

use std::{
    fs::File,
    io,
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustix::{
    fs::{Mode, OFlags},
    io::{Errno, retry_on_intr},
};

use super::folder;
use crate::touched::Touched;

/// So many folders are flushed at the same time.
const FLUSHES_MAX: usize = 8;
/// So many folders are open for it.
const OPEN_MAX: usize = 32;

/// The folders that the next barrier must flush.
#[derive(Debug, Default)]
pub struct Barrier {
    folders: Mutex<Touched>,
    /// Held while flushing, so that a barrier never returns before one that took over its folders did.
    /// True once a flush failed.
    broken: Mutex<bool>,
}

impl Barrier {
    /// Notes that something was named, removed or seen in `path`.
    pub fn touch(&self, path: &str) {
        lock(&self.folders).touch(path);
    }

    /// Flushes what was touched since the last success.
    pub fn pass(&self, root: BorrowedFd<'_>) -> io::Result<()> {
        self.pass_flushed_by(root, &flush)
    }

    fn pass_flushed_by(
        &self,
        root: BorrowedFd<'_>,
        flush: &(dyn Fn(OwnedFd) -> io::Result<()> + Sync),
    ) -> io::Result<()> {
        let mut broken = lock(&self.broken);
        if *broken {
            return Err(io::Error::other("an earlier flush failed; open the store again"));
        }
        let touched = lock(&self.folders).take();
        let open = |path: &String| {
            folder::open(root, path)?.ok_or_else(|| io::Error::other(format!("folder {path} is gone")))
        };
        let all: Vec<_> = touched.iter().collect();
        for some in all.chunks(OPEN_MAX) {
            let opened = some.iter().map(|path| open(path)).collect::<io::Result<Vec<_>>>();
            // Nothing is lost when a folder could not be opened: the next barrier tries again.
            let opened = opened.inspect_err(|_| lock(&self.folders).give_back(&touched))?;
            flush_together(opened, flush).inspect_err(|_| *broken = true)?;
        }
        lock(&self.folders).flushed(touched);
        Ok(())
    }
}

/// Flushes folders, several at a time: a device that is asked to flush while it does so for another does it once for
/// all who wait.
fn flush_together(
    folders: Vec<OwnedFd>,
    flush: &(dyn Fn(OwnedFd) -> io::Result<()> + Sync),
) -> io::Result<()> {
    let threads = folders.len().min(FLUSHES_MAX);
    if threads <= 1 {
        return folders.into_iter().try_for_each(flush);
    }
    let left = Mutex::new(folders);
    let work = || {
        loop {
            let Some(folder) = lock(&left).pop() else { return Ok(()) };
            flush(folder)?;
        }
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let ended = running.into_iter().map(|thread| thread.join().expect("a flush does not panic"));
        ended.collect::<Vec<_>>().into_iter().collect()
    })
}

/// Makes a new store's folder and its name durable.
pub fn flush_new_root(root: &OwnedFd, path: &Path) -> io::Result<()> {
    flush(root.try_clone()?)?;
    let Some(above) = path.parent() else { return Ok(()) };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match retry_on_intr(|| rustix::fs::open(above, flags, Mode::empty())) {
        Ok(above) => flush(above),
        Err(Errno::ACCESS) => {
            // A folder that may be passed through but not read cannot be flushed alone.
            rustix::fs::sync();
            Ok(())
        }
        Err(e) => Err(e.into()),
    }
}

/// Flushes a folder. A file system that has no such thing for folders says so with these two errors and
/// keeps names by other means.
fn flush(folder: OwnedFd) -> io::Result<()> {
    match File::from(folder).sync_all() {
        Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::INVAL | Errno::NOTSUP)) => Ok(()),
        other => other,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        os::fd::AsFd,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::*;
    use crate::{DirStore, Name, ReadStore, Store};

    fn root() -> (tempfile::TempDir, OwnedFd) {
        let temp = tempfile::tempdir().unwrap();
        let root = OwnedFd::from(File::open(temp.path()).unwrap());
        folder::make(root.as_fd(), "packs/ab").unwrap();
        folder::make(root.as_fd(), "packs/cd").unwrap();
        (temp, root)
    }

    #[test]
    fn folders_above_are_flushed_the_first_time_only() {
        let (_temp, root) = root();
        let barrier = Barrier::default();
        let flushed = |touched: &[&str]| {
            let count = AtomicUsize::new(0);
            touched.iter().for_each(|path| barrier.touch(path));
            let flush = |_| {
                count.fetch_add(1, Ordering::Relaxed);
                Ok(())
            };
            barrier.pass_flushed_by(root.as_fd(), &flush).unwrap();
            count.into_inner()
        };
        assert_eq!(flushed(&["packs/ab"]), 3, "the root, packs, packs/ab");
        assert_eq!(flushed(&[]), 0);
        assert_eq!(flushed(&["packs/ab", "packs/ab"]), 1);
        assert_eq!(flushed(&["packs/cd", "packs/ab"]), 4);
    }

    #[test]
    fn what_others_put_is_flushed_by_whoever_saw_it() {
        let temp = tempfile::tempdir().unwrap();
        let one = DirStore::create(temp.path().join("store")).unwrap();
        let other = DirStore::open(temp.path().join("store")).unwrap();
        other.put(&Name::new("log/a").unwrap(), &[b"a"]).unwrap();
        let flushes = |store: &DirStore| {
            let count = AtomicUsize::new(0);
            let flush = |_| {
                count.fetch_add(1, Ordering::Relaxed);
                Ok(())
            };
            store.barrier.pass_flushed_by(store.root.as_fd(), &flush).unwrap();
            count.into_inner()
        };
        assert_eq!(flushes(&one), 0);
        one.list("log/", &mut |_| Ok(())).unwrap();
        one.list("none/", &mut |listed| panic!("{listed:?}")).unwrap();
        assert_eq!(flushes(&one), 2, "the root, log");
        assert_eq!(flushes(&one), 0);
    }

    #[test]
    fn after_a_failed_flush_no_barrier_succeeds() {
        let (_temp, root) = root();
        let barrier = Barrier::default();
        barrier.touch("packs/ab");
        let fail = |_| Err(io::Error::other("lost"));
        barrier.pass_flushed_by(root.as_fd(), &fail).unwrap_err();
        barrier.pass(root.as_fd()).unwrap_err();
        barrier.touch("packs/ab");
        barrier.pass(root.as_fd()).unwrap_err();
    }

    #[test]
    fn a_folder_that_cannot_be_opened_is_not_forgotten() {
        let (temp, root) = root();
        let barrier = Barrier::default();
        barrier.touch("packs/ab");
        std::fs::remove_dir(temp.path().join("packs/ab")).unwrap();
        barrier.pass(root.as_fd()).unwrap_err();
        barrier.pass(root.as_fd()).unwrap_err();
        folder::make(root.as_fd(), "packs/ab").unwrap();
        barrier.pass(root.as_fd()).unwrap();
    }
}
