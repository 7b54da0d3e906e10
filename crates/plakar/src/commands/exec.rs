//! `plakar exec`: runs a program out of a snapshot.

use crate::args::Exec;
use crate::content::{Bytes, find_file};
use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::repo::Purpose;
use crate::{refs, repo};
use plakar_engine::read::{CACHE_BYTES_DEFAULT, Reader};
use rustix::fs::{MemfdFlags, memfd_create};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Becomes the program, once all its bytes are there and proven. It lies in memory, so nothing is left behind and no
/// file system has to allow that it is run. Its exit code is the program's.
///
/// # Errors
/// What keeps it from being run.
pub fn run(context: &Context, args: &Exec) -> Result<Code> {
    let repository = repo::unlock(context, Purpose::Read)?.open(context)?;
    let snapshots = repository.state().snapshots();
    let references = refs::resolve(&snapshots, std::slice::from_ref(&args.reference))?;
    let reader = Reader::new(&repository, CACHE_BYTES_DEFAULT);
    let (entry, object) = find_file(&reader, &references[0], "exec")?;
    let shown = references[0].shown_path();
    if entry.meta.mode & 0o111 == 0 {
        return Err(Failure::failed(format!("exec: '{shown}' may not be executed")));
    }
    let cannot = |e: io::Error| Failure::failed(format!("exec: '{shown}': {e}"));
    // Not to be closed: the interpreter of a script opens it again.
    let mut file =
        File::from(memfd_create("plakar exec", MemfdFlags::empty()).map_err(|e| cannot(e.into()))?);
    let mut bytes = Bytes::open(&reader, &object)?;
    loop {
        match bytes.next_piece()? {
            [] => break,
            piece => file.write_all(piece).map_err(cannot)?,
        }
    }
    let mut program = Command::new(format!("/proc/self/fd/{}", file.as_raw_fd()));
    program.arg0(OsStr::from_bytes(&entry.name)).args(&args.words);
    Err(cannot(program.exec()))
}
