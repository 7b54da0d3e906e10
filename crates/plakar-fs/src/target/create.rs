//! Making everything that is not a directory.

use super::apply::{Attributes, Subject, apply};
use super::{Problem, Target, TargetDir, What, checked, problem};
use crate::meta::{Identity, Stat};
use crate::open::openat;
use plakar_engine::tree::{Device, Kind};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use std::ffi::{CStr, CString};
use std::io;

/// A regular file that is being restored. Threads may write to it at the same time.
///
/// If it is dropped before it is finished, it is removed, and what lay in its place is still there.
#[derive(Debug)]
pub struct TargetFile {
    dir: TargetDir,
    path: Vec<u8>,
    name: CString,
    /// What it is called until it is finished, if something else still has its name.
    temporary: Option<CString>,
    /// `None` once it is parked or finished.
    handle: Option<OwnedFd>,
}

/// A file that is not finished but was closed, to be opened again: for when there are more of them than
/// handles. If it is dropped instead, it is removed like any that is not finished.
#[derive(Debug)]
pub struct ParkedFile {
    /// `None` once it is resumed.
    parked: Option<Parked>,
}

#[derive(Debug)]
struct Parked {
    target: Target,
    dir: Vec<u8>,
    name: CString,
    temporary: Option<CString>,
    identity: Identity,
}

impl TargetDir {
    /// Makes the regular file `name`, empty. If something that is not a directory has that name, it
    /// stays until the file is finished.
    ///
    /// # Errors
    /// `Name`, `InTheWay` (a directory), or `Create`.
    pub fn file(&self, name: &[u8]) -> Result<TargetFile, Problem> {
        let path = self.path_of(name);
        let name = checked(name).map_err(|e| problem(&path, What::Name, e))?;
        let failed = |e: Errno| problem(&path, What::Create, e);
        let (handle, temporary) = match self.create(&name) {
            Ok(handle) => (handle, None),
            Err(Errno::EXIST) => {
                self.check_replaceable(&name, &path)?;
                let temporary = temporary_name();
                (self.create(&temporary).map_err(failed)?, Some(temporary))
            }
            Err(e) => return Err(failed(e)),
        };
        Ok(TargetFile { dir: self.clone(), path, name, temporary, handle: Some(handle) })
    }

    fn create(&self, name: &CStr) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&self.handle, name, flags, Mode::RUSR | Mode::WUSR)
    }

    /// Makes a symbolic link that points to `target`, whatever that may be, in the place of what is not
    /// a directory.
    ///
    /// # Errors
    /// `Name`, `InTheWay` (a directory), or `Create`.
    pub fn symlink(
        &self,
        name: &[u8],
        target: &[u8],
        attributes: &Attributes<'_>,
        report: &mut dyn FnMut(Problem),
    ) -> Result<(), Problem> {
        self.make(name, Kind::Symlink, attributes, report, |name| {
            rustix::fs::symlinkat(target, &self.handle, name)
        })
    }

    /// Makes a fifo, socket or device in the place of what is not a directory. Devices take root.
    ///
    /// # Errors
    /// `Name`, `InTheWay` (a directory), or `Create`.
    ///
    /// # Panics
    /// If `kind` is none of these.
    pub fn special(
        &self,
        name: &[u8],
        kind: Kind,
        device: Device,
        attributes: &Attributes<'_>,
        report: &mut dyn FnMut(Problem),
    ) -> Result<(), Problem> {
        let file_type = match kind {
            Kind::Fifo => FileType::Fifo,
            Kind::Socket => FileType::Socket,
            Kind::CharDevice => FileType::CharacterDevice,
            Kind::BlockDevice => FileType::BlockDevice,
            Kind::File | Kind::Directory | Kind::Symlink => panic!("{kind:?} is not made this way"),
        };
        // A fifo and a socket have no number, whatever a hostile snapshot says.
        let device = match kind {
            Kind::CharDevice | Kind::BlockDevice => rustix::fs::makedev(device.major, device.minor),
            _ => 0,
        };
        self.make(name, kind, attributes, report, |name| {
            rustix::fs::mknodat(&self.handle, name, file_type, Mode::RUSR | Mode::WUSR, device)
        })
    }

    /// Makes `name` another name of what is called `existing` in `from`, in the place of what is not a
    /// directory. `existing` must be finished: a link is made to what has that name now. It is not
    /// followed if it is a symbolic link.
    ///
    /// # Errors
    /// `Name`, `InTheWay` (a directory), or `Create`.
    pub fn link(&self, name: &[u8], from: &TargetDir, existing: &[u8]) -> Result<(), Problem> {
        let path = self.path_of(name);
        let existing = checked(existing).map_err(|e| problem(&from.path_of(existing), What::Name, e))?;
        let name = checked(name).map_err(|e| problem(&path, What::Name, e))?;
        self.in_place_of_anything(&name, &path, |name| {
            rustix::fs::linkat(&from.handle, &existing, &self.handle, name, AtFlags::empty())
        })
    }

    fn make(
        &self,
        name: &[u8],
        kind: Kind,
        attributes: &Attributes<'_>,
        report: &mut dyn FnMut(Problem),
        create: impl Fn(&CStr) -> rustix::io::Result<()>,
    ) -> Result<(), Problem> {
        let path = self.path_of(name);
        let name = checked(name).map_err(|e| problem(&path, What::Name, e))?;
        self.in_place_of_anything(&name, &path, create)?;
        let failed = |e: io::Error| problem(&path, What::Create, e);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle =
            openat(&self.handle, name.as_c_str(), flags, Mode::empty()).map_err(|e| failed(e.into()))?;
        // In a directory that was there before, others may have put something in its place, say another
        // name of a file they would like to be given. (Whose a new link is says nothing where a server
        // maps root to somebody else, and being given a link gains nothing.)
        let stat = Stat::of_handle(&handle).map_err(|e| failed(e.into()))?;
        let ours = kind == Kind::Symlink || stat.uid == rustix::process::geteuid().as_raw();
        if stat.kind() != Some(kind) || stat.aliased || !ours {
            return Err(failed(io::Error::other("it was replaced as soon as it was made")));
        }
        let subject = Subject { handle: handle.as_fd(), path: &path, kind, fresh: !self.inherits };
        apply(&subject, attributes, &self.target.shared.ownership, report);
        Ok(())
    }

    /// Creates something, after removing what is there if that is not a directory.
    fn in_place_of_anything(
        &self,
        name: &CStr,
        path: &[u8],
        create: impl Fn(&CStr) -> rustix::io::Result<()>,
    ) -> Result<(), Problem> {
        let failed = |e: Errno| problem(path, What::Create, e);
        match create(name) {
            Err(Errno::EXIST) => {
                self.check_replaceable(name, path)?;
                rustix::fs::unlinkat(&self.handle, name, AtFlags::empty()).map_err(failed)?;
                create(name).map_err(failed)
            }
            result => result.map_err(failed),
        }
    }

    fn check_replaceable(&self, name: &CStr, path: &[u8]) -> Result<(), Problem> {
        match Stat::of(&self.handle, name, false) {
            Ok(stat) if stat.is_directory() => Err(problem(path, What::InTheWay, Errno::ISDIR)),
            _ => Ok(()),
        }
    }
}

fn temporary_name() -> CString {
    let random: String = plakar_engine::crypto::random::<8>().iter().map(|b| format!("{b:02x}")).collect();
    CString::new(format!(".plakar-{random}")).expect("hexadecimal digits hold no NUL")
}

impl TargetFile {
    /// Its path relative to the target.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// Writes all of `bytes` at `offset`. What is never written, up to the length, is a hole.
    pub fn write_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match rustix::io::pwrite(self.handle(), bytes, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = &bytes[written..];
                    offset += written as u64;
                }
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// Reads what was written, as `std::os::unix::fs::FileExt::read_at` does: 0 means the end.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(retry_on_intr(|| rustix::io::pread(self.handle(), &mut *buf, offset))?)
    }

    /// Makes the file `len` bytes long. Needed if it ends in a hole; it allocates nothing.
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        Ok(retry_on_intr(|| rustix::fs::ftruncate(self.handle(), len))?)
    }

    /// Gives the file its owner, attributes, mode and time, and its name. It is not synced:
    /// [`Target::sync`] does that for all of them.
    ///
    /// # Errors
    /// `InTheWay` or `Create` if it could not be given its name: it is gone, and what was there stays.
    /// Everything less is reported.
    pub fn finish(
        mut self,
        attributes: &Attributes<'_>,
        report: &mut dyn FnMut(Problem),
    ) -> Result<(), Problem> {
        let subject = Subject {
            handle: self.handle().as_fd(),
            path: &self.path,
            kind: Kind::File,
            fresh: !self.dir.inherits,
        };
        apply(&subject, attributes, &self.dir.target.shared.ownership, report);
        if let Some(temporary) = &self.temporary {
            rustix::fs::renameat(&self.dir.handle, temporary, &self.dir.handle, &self.name).map_err(|e| {
                problem(&self.path, if e == Errno::ISDIR { What::InTheWay } else { What::Create }, e)
            })?;
        }
        self.handle = None;
        Ok(())
    }

    /// Closes the file, unfinished, and lets go of its directory.
    ///
    /// # Errors
    /// `Content` if it cannot be looked at any more; it is gone then.
    pub fn park(mut self) -> Result<ParkedFile, Problem> {
        let stat = Stat::of_handle(self.handle()).map_err(|e| problem(&self.path, What::Content, e))?;
        self.handle = None;
        let parked = Parked {
            target: self.dir.target.clone(),
            dir: self.dir.path.clone(),
            name: self.name.clone(),
            temporary: self.temporary.take(),
            identity: stat.identity(),
        };
        Ok(ParkedFile { parked: Some(parked) })
    }

    fn handle(&self) -> &OwnedFd {
        self.handle.as_ref().expect("it is taken only by what consumes the file")
    }
}

impl Drop for TargetFile {
    fn drop(&mut self) {
        if self.handle.is_some() {
            let name = self.temporary.as_ref().unwrap_or(&self.name);
            // Nothing better can be done about it here, and its owner alone can read it.
            let _ = rustix::fs::unlinkat(&self.dir.handle, name, AtFlags::empty());
        }
    }
}

impl ParkedFile {
    /// Opens the file again.
    ///
    /// # Errors
    /// `Content` if it is not there any more, or something else lies in its place; those of
    /// [`Target::directory`] if its directory is not there.
    pub fn resume(mut self) -> Result<TargetFile, Problem> {
        self.parked.take().expect("it is resumed once").resume()
    }
}

impl Drop for ParkedFile {
    fn drop(&mut self) {
        // An open file that is not finished removes itself.
        drop(self.parked.take().map(Parked::resume));
    }
}

impl Parked {
    fn resume(self) -> Result<TargetFile, Problem> {
        let dir = self.target.directory(&self.dir)?;
        let path = dir.path_of(self.name.to_bytes());
        let failed = |e: io::Error| problem(&path, What::Content, e);
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let name = self.temporary.as_ref().unwrap_or(&self.name);
        let handle = openat(&dir.handle, name, flags, Mode::empty()).map_err(|e| failed(e.into()))?;
        let stat = Stat::of_handle(&handle).map_err(|e| failed(e.into()))?;
        if stat.identity() != self.identity {
            return Err(failed(io::Error::other("it was replaced while it was being restored")));
        }
        Ok(TargetFile { dir, path, name: self.name, temporary: self.temporary, handle: Some(handle) })
    }
}
