//! Owner, attributes, mode and time, in the one order that keeps them all.
//!
//! 1. Owner and group. Changing them clears setuid, setgid and capabilities, so everything else follows.
//! 2. Extended attributes, while the mode still lets us; among them ACLs. `security.capability` is the
//!    last of them.
//! 3. Mode. An ACL was captured together with its mode, whose group bits are the ACL's mask: setting the
//!    mode after it changes nothing in it, while setting an ACL may take setgid away. Setuid and setgid
//!    only if owner and group, looked at again, are who they should be.
//! 4. Modification time, which everything above leaves alone and content does not.

use super::owner::Ownership;
use super::{OwnerPolicy, Problem, What, chmod_handle, problem};
use crate::meta::Stat;
use crate::xattr;
use plakar_engine::tree::{Kind, Meta, Time};
use rustix::fd::BorrowedFd;
use rustix::fs::{AtFlags, CWD, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use rustix::io::Errno;
use std::io;

/// The ACL of a file.
pub(super) const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
/// The ACL that what is made in a directory inherits.
pub(super) const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";
const CAPABILITY: &[u8] = b"security.capability";

/// What an entry is given when it is finished.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    /// Mode, owners, modification time.
    pub meta: &'a Meta,
    /// Extended attributes by name.
    pub xattrs: &'a [(Vec<u8>, Vec<u8>)],
}

/// What they are applied to.
pub(super) struct Subject<'a> {
    /// Of the very thing (opened with `O_PATH` if it is neither file nor directory).
    pub handle: BorrowedFd<'a>,
    pub path: &'a [u8],
    pub kind: Kind,
    /// It was made by us, in a directory that hands no ACL down.
    pub fresh: bool,
}

impl Subject<'_> {
    fn is_openable(&self) -> bool {
        matches!(self.kind, Kind::File | Kind::Directory)
    }
}

/// Applies everything it can; what it cannot is reported, and the rest still done.
pub(super) fn apply(
    subject: &Subject<'_>,
    attributes: &Attributes<'_>,
    ownership: &Ownership,
    report: &mut dyn FnMut(Problem),
) {
    let meta = attributes.meta;
    let owned = set_owner(subject, meta, ownership, report);
    set_xattrs(subject, attributes.xattrs, report);
    set_mode(subject, meta, owned, report);
    set_time(subject, meta.mtime, report);
}

/// Returns whether owner and group are those of the snapshot.
fn set_owner(
    subject: &Subject<'_>,
    meta: &Meta,
    ownership: &Ownership,
    report: &mut dyn FnMut(Problem),
) -> bool {
    let look = || Stat::of_handle(subject.handle).map(|stat| (stat.uid, stat.gid));
    let wanted = ownership.wanted(meta);
    let mut now = match look() {
        Ok(now) => now,
        Err(e) => {
            report(problem(subject.path, What::Owner, e));
            return false;
        }
    };
    if now == wanted || ownership.policy == OwnerPolicy::Keep {
        return now == wanted;
    }
    let change = |uid: u32, gid: u32| {
        // The highest number means "leave it" to the kernel, and would be believed to be set.
        if uid == u32::MAX || gid == u32::MAX {
            return Err(Errno::INVAL);
        }
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        rustix::fs::chownat(subject.handle, c"", uid, gid, AtFlags::EMPTY_PATH)
    };
    let mut result = change(wanted.0, wanted.1);
    if result == Err(Errno::PERM) && now.0 != wanted.0 && now.1 != wanted.1 {
        // A user may not give files away, but may give them to one of the user's groups.
        let _ = change(now.0, wanted.1);
    }
    // Some file systems take a change of owner and do nothing.
    match look() {
        Ok(then) => now = then,
        Err(e) => result = result.and(Err(e)),
    }
    if result.is_ok() && now == wanted {
        return true;
    }
    let is = format!("should be {}:{}, is {}:{}", wanted.0, wanted.1, now.0, now.1);
    let (kind, why) = match result {
        Err(e) => {
            let e = io::Error::from(e);
            (e.kind(), format!("{is}: {e}"))
        }
        Ok(()) => (io::ErrorKind::Unsupported, format!("{is}: the file system did not take it")),
    };
    report(problem(subject.path, What::Owner, io::Error::new(kind, why)));
    false
}

fn set_xattrs(subject: &Subject<'_>, xattrs: &[(Vec<u8>, Vec<u8>)], report: &mut dyn FnMut(Problem)) {
    let has = |wanted: &[u8]| xattrs.iter().any(|(name, _)| name == wanted);
    if !subject.fresh && subject.kind != Kind::Symlink {
        // ACLs the snapshot does not know would let others in.
        for acl in [ACL_ACCESS, ACL_DEFAULT] {
            if !has(acl) && (acl == ACL_ACCESS || subject.kind == Kind::Directory) {
                match remove(subject, acl) {
                    Ok(()) | Err(Errno::NODATA | Errno::NOTSUP) => {}
                    Err(e) => report(problem(subject.path, What::Attribute(acl.to_vec()), e)),
                }
            }
        }
    }
    let (last, first): (Vec<_>, Vec<_>) = xattrs.iter().partition(|(name, _)| name == CAPABILITY);
    for (name, value) in first.into_iter().chain(last) {
        if let Err(e) = set(subject, name, value) {
            report(problem(subject.path, What::Attribute(name.clone()), e));
        }
    }
}

fn set(subject: &Subject<'_>, name: &[u8], value: &[u8]) -> rustix::io::Result<()> {
    if subject.is_openable() {
        rustix::fs::fsetxattr(subject.handle, name, value, XattrFlags::empty())
    } else {
        rustix::fs::setxattr(xattr::path_of(subject.handle), name, value, XattrFlags::empty())
    }
}

fn remove(subject: &Subject<'_>, name: &[u8]) -> rustix::io::Result<()> {
    if subject.is_openable() {
        rustix::fs::fremovexattr(subject.handle, name)
    } else {
        rustix::fs::removexattr(xattr::path_of(subject.handle), name)
    }
}

/// Takes away what a new directory inherited, so that nothing in it inherits it in turn. If that fails
/// it is tried, and reported, again when the directory is finished.
pub(super) fn drop_inherited(directory: impl rustix::fd::AsFd) {
    let _ = rustix::fs::fremovexattr(&directory, ACL_DEFAULT);
    let _ = rustix::fs::fremovexattr(&directory, ACL_ACCESS);
}

fn set_mode(subject: &Subject<'_>, meta: &Meta, owned: bool, report: &mut dyn FnMut(Problem)) {
    // Links have no mode of their own.
    if subject.kind == Kind::Symlink {
        return;
    }
    let wanted = u32::from(meta.mode & 0o7777);
    let mut mode = Mode::from_raw_mode(wanted);
    let set_id = Mode::SUID | Mode::SGID;
    if !owned && mode.intersects(set_id) {
        mode -= set_id;
        left_out(subject, "they would lend the rights of somebody else", report);
    }
    let result = if subject.is_openable() {
        rustix::fs::fchmod(subject.handle, mode)
    } else {
        chmod_handle(subject.handle, mode)
    };
    // Setgid for a group one is not in is dropped without an error.
    if result.is_ok() && mode.intersects(set_id) {
        let got = Stat::of_handle(subject.handle).map_or(0, |stat| stat.mode);
        if !Mode::from_raw_mode(got.into()).contains(mode & set_id) {
            left_out(subject, "the system did not take them", report);
        }
    }
    if let Err(e) = result {
        report(problem(subject.path, What::Mode, e));
    }
}

fn left_out(subject: &Subject<'_>, why: &str, report: &mut dyn FnMut(Problem)) {
    report(problem(subject.path, What::SetId, io::Error::new(io::ErrorKind::PermissionDenied, why)));
}

fn set_time(subject: &Subject<'_>, mtime: Time, report: &mut dyn FnMut(Problem)) {
    // Beyond a second's worth of nanoseconds lie the kernel's words for "now" and "leave it".
    let result = if mtime.nanos >= 1_000_000_000 {
        Err(Errno::INVAL)
    } else {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: mtime.secs, tv_nsec: mtime.nanos.into() },
        };
        if subject.is_openable() {
            rustix::fs::futimens(subject.handle, &times)
        } else {
            rustix::fs::utimensat(CWD, xattr::path_of(subject.handle), &times, AtFlags::empty())
        }
    };
    if let Err(e) = result {
        report(problem(subject.path, What::Time, e));
    }
}
