//! Where a restore writes: creating what a snapshot holds beneath a directory, and nowhere else.
//!
//! The snapshot is not trusted, and neither is what lies in the target already. Every operation takes an
//! open directory and one name that was checked; no link is followed, so neither a link in the snapshot
//! nor one waiting in the target leads anywhere else.
//!
//! 1. What is being made belongs to us alone: directories are created with mode 0700 and files with
//!    0600; owner, attributes, mode and time come when it is finished, in the order that `apply` tells.
//!    So a file is never setuid before it is its owner's, and nobody looks into a directory before its
//!    mode is right.
//! 2. Directories are finished after everything in them, the deepest first.
//! 3. A file replaces what lay in its place in one step, when it is finished; a file that is not finished
//!    is removed again.
//!
//! What is in the way: a directory is reused for a directory, and its mode, as long as it is worked in,
//! widened to let us; it keeps what else is in it and the attributes that the snapshot does not know,
//! except ACLs, which would let others in. A link in the place of a directory is removed. Files, links,
//! fifos, sockets and devices are replaced by what is not a directory (their bytes are not touched: they
//! may have other names). Everything else is an error of that entry, and nothing is changed.
//!
//! Not here: in which order contents are fetched (the caller's plan), and whether a tree is to be
//! restored at all over what is there.

mod apply;
mod create;
mod owner;

pub use apply::Attributes;
pub use create::{ParkedFile, TargetFile};
pub use owner::OwnerPolicy;

use crate::meta::Stat;
use crate::open::openat;
use crate::xattr;
use owner::Ownership;
use plakar_engine::tree::{Kind, Time};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, retry_on_intr};
use std::ffi::CString;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Something about one entry could not be restored.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}: {source}", String::from_utf8_lossy(.path))]
pub struct Problem {
    /// The entry, relative to the target; empty for the target itself.
    pub path: Vec<u8>,
    /// What could not be done.
    pub what: What,
    /// Why.
    pub source: io::Error,
}

/// What could not be done for an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Its name cannot be the name of anything. Nothing was made.
    Name,
    /// It could not be made. What lay there may be gone, if it was of a kind that is replaced.
    Create,
    /// Something else is in its way and stays there. Nothing was made.
    InTheWay,
    /// Its content could not be written: it is not there, or as it was before.
    Content,
    /// It is there but belongs to somebody else than in the snapshot.
    Owner,
    /// Its setuid and setgid bits were left out, because its owner or group is not who it should be.
    SetId,
    /// Its permission bits are not those of the snapshot.
    Mode,
    /// It lacks the extended attribute of this name.
    Attribute(Vec<u8>),
    /// Its modification time is not that of the snapshot.
    Time,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("not a name"),
            Self::Create => f.write_str("cannot be created"),
            Self::InTheWay => f.write_str("something else is in the way"),
            Self::Content => f.write_str("cannot be written"),
            Self::Owner => f.write_str("owner not restored"),
            Self::SetId => f.write_str("setuid and setgid left out"),
            Self::Mode => f.write_str("mode not restored"),
            Self::Attribute(name) => write!(f, "attribute {} not restored", String::from_utf8_lossy(name)),
            Self::Time => f.write_str("modification time not restored"),
        }
    }
}

/// The directory a snapshot, or a part of one, is restored into. Clones are the same target.
#[derive(Debug, Clone)]
pub struct Target {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    root: Arc<OwnedFd>,
    ownership: Ownership,
}

/// An open directory of a target. It holds one handle; what is far ahead or done with is better dropped
/// and opened again with [`Target::directory`].
#[derive(Debug, Clone)]
pub struct TargetDir {
    target: Target,
    path: Vec<u8>,
    handle: Arc<OwnedFd>,
    /// What is made in here inherits ACLs, which the snapshot knows nothing of.
    inherits: bool,
}

impl Target {
    /// Opens a directory to restore into; it and its parents are made if they are missing. A link is
    /// followed here, because this path comes from the user.
    ///
    /// # Errors
    /// If it is not a directory, or cannot be made or opened.
    pub fn open(dir: &Path, owners: OwnerPolicy) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = Arc::new(openat(CWD, dir, flags, Mode::empty())?);
        Ok(Self { shared: Arc::new(Shared { root, ownership: Ownership::new(owners) }) })
    }

    /// The target itself.
    pub fn root(&self) -> TargetDir {
        self.dir(Vec::new(), self.shared.root.clone())
    }

    /// Opens a directory that is there already, by its path relative to the target (names with single
    /// slashes between them; empty for the target itself). Links are not followed.
    ///
    /// # Errors
    /// `Name` if the path has a component that is no name, `InTheWay` if something in it is not a
    /// directory, `Create` after anything else.
    pub fn directory(&self, path: &[u8]) -> Result<TargetDir, Problem> {
        if path.is_empty() {
            return Ok(self.root());
        }
        for name in path.split(|&b| b == b'/') {
            checked(name).map_err(|e| problem(path, What::Name, e))?;
        }
        let handle = open_beneath(&self.shared.root, path).map_err(|e| {
            let what = if matches!(e, Errno::NOTDIR | Errno::LOOP) { What::InTheWay } else { What::Create };
            problem(path, what, e)
        })?;
        Ok(self.dir(path.to_vec(), Arc::new(handle)))
    }

    /// Returns once everything restored so far would survive a power cut (with everything else on the
    /// same file system).
    pub fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.shared.root)?)
    }

    fn dir(&self, path: Vec<u8>, handle: Arc<OwnedFd>) -> TargetDir {
        let inherits = rustix::fs::fgetxattr(&handle, apply::ACL_DEFAULT, &mut [0u8; 0][..]).is_ok();
        TargetDir { target: self.clone(), path, handle, inherits }
    }
}

/// Opens a directory several levels down without following a link.
fn open_beneath(root: &OwnedFd, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = directory_flags();
    match retry_on_intr(|| rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)) {
        // Old kernels and sandboxes do not have it, the path may be longer than it takes, and somebody
        // renaming directories elsewhere may disturb it: one step after the other always works.
        Err(
            Errno::NOSYS | Errno::PERM | Errno::NAMETOOLONG | Errno::AGAIN | Errno::TOOBIG | Errno::INVAL,
        ) => {
            let mut names = path.split(|&b| b == b'/');
            let first = names.next().unwrap_or(b"");
            let first = openat(root, first, flags, Mode::empty())?;
            names.try_fold(first, |dir, name| openat(dir, name, flags, Mode::empty()))
        }
        result => result,
    }
}

fn directory_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

/// A name as the kernel wants it, if it is one path component and neither `.` nor `..`.
fn checked(name: &[u8]) -> io::Result<CString> {
    let bad = || {
        io::Error::new(io::ErrorKind::InvalidInput, "names hold no '/' or NUL and are not '', '.' or '..'")
    };
    if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') {
        return Err(bad());
    }
    CString::new(name).map_err(|_| bad())
}

fn problem(path: &[u8], what: What, source: impl Into<io::Error>) -> Problem {
    Problem { path: path.to_vec(), what, source: source.into() }
}

/// Changes the mode of what a handle refers to, even if it was opened with `O_PATH`.
fn chmod_handle(handle: impl AsFd, mode: Mode) -> rustix::io::Result<()> {
    // fchmod refuses such handles.
    rustix::fs::chmodat(CWD, xattr::path_of(handle), mode, AtFlags::empty())
}

/// What lies in a target before anything is made in its place.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// What it is.
    pub kind: Kind,
    /// In bytes, if it is a file.
    pub size: u64,
    /// When it was modified.
    pub mtime: Time,
}

impl TargetDir {
    /// What has this name, if anything; a link is not followed.
    ///
    /// # Errors
    /// `Name`, or `Create` if it cannot be looked at.
    pub fn look(&self, name: &[u8]) -> Result<Option<Look>, Problem> {
        let path = self.path_of(name);
        let name = checked(name).map_err(|e| problem(&path, What::Name, e))?;
        match Stat::of(&self.handle, &name, false) {
            Ok(stat) => {
                let look = |kind| Look { kind, size: stat.size, mtime: stat.mtime };
                Ok(stat.kind().map(look))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(problem(&path, What::Create, e)),
        }
    }

    /// Its path relative to the target; empty for the target itself.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// Makes the directory `name`, or opens the one that is there.
    ///
    /// # Errors
    /// `Name`, `InTheWay` (a file, fifo, socket or device), or `Create`.
    pub fn directory(&self, name: &[u8]) -> Result<TargetDir, Problem> {
        let path = self.path_of(name);
        let c_name = checked(name).map_err(|e| problem(&path, What::Name, e))?;
        let failed = |e: Errno| problem(&path, What::Create, e);
        // Each turn removes a link; somebody who keeps putting one there makes us give up, not turn forever.
        for _ in 0..3 {
            let made = match rustix::fs::mkdirat(&self.handle, &c_name, Mode::RWXU) {
                Ok(()) => true,
                Err(Errno::EXIST) => false,
                Err(e) => return Err(failed(e)),
            };
            match self.open_to_work_in(&c_name) {
                Ok(handle) => {
                    if made && self.inherits {
                        apply::drop_inherited(&handle);
                    }
                    return Ok(self.target.dir(path, Arc::new(handle)));
                }
                Err(Errno::LOOP | Errno::NOTDIR) => {}
                Err(e) => return Err(failed(e)),
            }
            match Stat::of(&self.handle, &c_name, false) {
                Ok(stat) if stat.kind() == Some(Kind::Symlink) => {
                    rustix::fs::unlinkat(&self.handle, &c_name, AtFlags::empty()).map_err(failed)?;
                }
                Ok(_) => return Err(problem(&path, What::InTheWay, Errno::NOTDIR)),
                Err(e) => return Err(failed(e)),
            }
        }
        Err(failed(Errno::LOOP))
    }

    /// Opens a directory for making things in it, whatever its mode.
    fn open_to_work_in(&self, name: &CString) -> rustix::io::Result<OwnedFd> {
        let (handle, stat) = match openat(&self.handle, name.as_c_str(), directory_flags(), Mode::empty()) {
            Ok(handle) => {
                let stat = Stat::of_handle(&handle)?;
                (handle, stat)
            }
            Err(Errno::ACCESS) => {
                let flags = directory_flags() | OFlags::PATH;
                let handle = openat(&self.handle, name.as_c_str(), flags, Mode::empty())?;
                let stat = Stat::of_handle(&handle)?;
                chmod_handle(&handle, Mode::from_raw_mode(u32::from(stat.mode) & 0o7777) | Mode::RWXU)?;
                // By the handle, so that it is the directory whose mode was changed.
                return openat(&handle, c".", directory_flags(), Mode::empty());
            }
            Err(e) => return Err(e),
        };
        if stat.mode & 0o700 != 0o700 && stat.uid == rustix::process::geteuid().as_raw() {
            rustix::fs::fchmod(&handle, Mode::from_raw_mode(u32::from(stat.mode) & 0o7777) | Mode::RWXU)?;
        }
        Ok(handle)
    }

    fn path_of(&self, name: &[u8]) -> Vec<u8> {
        let mut path = self.path.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }

    /// Gives the directory its owner, attributes, mode and time. To be called once everything in it is
    /// finished: afterwards it may be closed to us, and any change in it would set its time anew.
    pub fn finish(self, attributes: &Attributes<'_>, report: &mut dyn FnMut(Problem)) {
        let subject = apply::Subject {
            handle: self.handle.as_fd(),
            path: &self.path,
            kind: Kind::Directory,
            // It may have been there before, with ACLs of its own.
            fresh: false,
        };
        apply::apply(&subject, attributes, &self.target.shared.ownership, report);
    }
}
