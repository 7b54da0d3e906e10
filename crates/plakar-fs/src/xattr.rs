//! Extended attributes: read all, and where to find them without following a link.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd};
use rustix::io::Errno;
use std::io::{self, Write};

/// What carries the attributes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Carrier<'a> {
    /// An open handle (not one opened with `O_PATH`: the kernel refuses those here).
    Handle(BorrowedFd<'a>),
    /// A path whose last component is not followed.
    Path(&'a [u8]),
    /// A path that is followed.
    Followed(&'a [u8]),
}

/// The path of what any handle refers to, `O_PATH` or not; to be followed.
pub(crate) fn path_of(handle: impl AsFd) -> Vec<u8> {
    format!("/proc/self/fd/{}", handle.as_fd().as_raw_fd()).into_bytes()
}

/// Writes the path of `name` in an open directory into `path`.
pub(crate) fn path_in(path: &mut Vec<u8>, dir: impl AsFd, name: &[u8]) {
    path.clear();
    write!(path, "/proc/self/fd/{}/", dir.as_fd().as_raw_fd()).expect("a Vec takes any bytes");
    path.extend_from_slice(name);
}

/// All extended attributes by name; none where the file system has no such thing.
pub(crate) fn read(carrier: Carrier<'_>) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut small = [0; 512];
    let large;
    let names = match list(carrier, &mut small) {
        Ok(0) => return Ok(Vec::new()),
        Ok(len) => &small[..len],
        Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(Vec::new()),
        Err(Errno::RANGE) => {
            large = grow(|buf| list(carrier, buf))?;
            &large
        }
        Err(e) => return Err(e.into()),
    };
    let mut all = Vec::new();
    for name in names.split(|&b| b == 0).filter(|name| !name.is_empty()) {
        let mut value = [0; 256];
        match get(carrier, name, &mut value) {
            Ok(len) => all.push((name.to_vec(), value[..len].to_vec())),
            Err(Errno::RANGE) => all.push((name.to_vec(), grow(|buf| get(carrier, name, buf))?)),
            // Taken away since it was listed, or listed for others only.
            Err(Errno::NODATA) => {}
            Err(e) => return Err(e.into()),
        }
    }
    all.sort_unstable();
    Ok(all)
}

/// Asks with ever larger buffers: what is read may grow between two calls.
fn grow(mut read: impl FnMut(&mut [u8]) -> rustix::io::Result<usize>) -> io::Result<Vec<u8>> {
    let mut buf = vec![0; 4096];
    loop {
        match read(&mut buf) {
            Ok(len) => {
                buf.truncate(len);
                return Ok(buf);
            }
            // The kernel's limit on names and on a value is 64 KiB.
            Err(Errno::RANGE) if buf.len() <= 1 << 17 => buf.resize(buf.len() * 4, 0),
            Err(e) => return Err(e.into()),
        }
    }
}

fn list(carrier: Carrier<'_>, buf: &mut [u8]) -> rustix::io::Result<usize> {
    match carrier {
        Carrier::Handle(fd) => rustix::fs::flistxattr(fd, buf),
        Carrier::Path(path) => rustix::fs::llistxattr(path, buf),
        Carrier::Followed(path) => rustix::fs::listxattr(path, buf),
    }
}

fn get(carrier: Carrier<'_>, name: &[u8], buf: &mut [u8]) -> rustix::io::Result<usize> {
    match carrier {
        Carrier::Handle(fd) => rustix::fs::fgetxattr(fd, name, buf),
        Carrier::Path(path) => rustix::fs::lgetxattr(path, name, buf),
        Carrier::Followed(path) => rustix::fs::getxattr(path, name, buf),
    }
}
