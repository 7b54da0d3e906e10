//! Opening, which a signal may interrupt where the file system is a network's or a program's.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::retry_on_intr;
use rustix::path::Arg;

/// As the system call, made again until it was not interrupted.
pub fn openat(
    dir: impl AsFd,
    name: impl Arg + Copy,
    flags: OFlags,
    mode: Mode,
) -> rustix::io::Result<OwnedFd> {
    let dir = dir.as_fd();
    retry_on_intr(|| rustix::fs::openat(dir, name, flags, mode))
}
