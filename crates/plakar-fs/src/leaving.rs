//! What is left out of a directory for what is in it: markers, caches, `.gitignore` files.
//!
//! All of them are looked at through the handle of the directory and one name, and never waited for. One that cannot be read
//! leaves nothing out; that it cannot be read the push tells of it as of any file.

use crate::exclude::{Besides, Excludes};
use crate::lister::{Listing, open};
use crate::meta::Stat;
use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use plakar_engine::tree::Kind;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::OFlags;
use rustix::io::retry_on_intr;
use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// A directory is a cache if this is in it
const CACHE_TAG: &CStr = c"CACHEDIR.TAG";
/// and begins so.
const CACHE_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

const IGNORE_NAME: &CStr = c".gitignore";
/// One with more bytes means nothing: it is made ready in memory, and held as long as the walk is beneath it.
const IGNORE_BYTES_MAX: usize = 1 << 20;

/// Where a directory is that is listed, and what those above it say of what is in it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Here {
    /// Absolute, without a slash at the end. Empty where nothing is left out.
    pub path: Vec<u8>,
    /// The device of the root above it; none for a root.
    pub device: Option<u64>,
    pub ignores: Option<Arc<Ignores>>,
}

/// The patterns of a `.gitignore`, and those of the ones above it.
#[derive(Debug)]
pub(crate) struct Ignores {
    patterns: Gitignore,
    above: Option<Arc<Ignores>>,
}

impl Ignores {
    /// Whether what lies at this absolute path is left out, if nothing above it is. The innermost file counts that says
    /// anything of it.
    pub fn leave_out(&self, path: &[u8], is_directory: bool) -> bool {
        let path = Path::new(OsStr::from_bytes(path));
        let all = std::iter::successors(Some(self), |one| one.above.as_deref());
        let mut said = all.map(|one| one.patterns.matched(path, is_directory));
        matches!(said.find(|said| !said.is_none()), Some(Match::Ignore(_)))
    }

    /// Those that count in a directory: those from above, and its own, if it has some.
    pub fn of(dir: BorrowedFd<'_>, listing: &Listing, here: &Here) -> Option<Arc<Ignores>> {
        let above = here.ignores.clone();
        let Some(text) = read_file(dir, listing, IGNORE_NAME, IGNORE_BYTES_MAX + 1)
            .filter(|text| text.len() <= IGNORE_BYTES_MAX)
        else {
            return above;
        };
        let root: &[u8] = if here.path.is_empty() { b"/" } else { &here.path };
        let mut builder = GitignoreBuilder::new(OsStr::from_bytes(root));
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
        for line in text.split(|byte| *byte == b'\n') {
            // As for git, a line that is no pattern means nothing, and the others count.
            if let Ok(line) = std::str::from_utf8(line) {
                let _ = builder.add_line(None, line.strip_suffix('\r').unwrap_or(line));
            }
        }
        match builder.build() {
            Ok(patterns) if !patterns.is_empty() => Some(Arc::new(Ignores { patterns, above })),
            _ => above,
        }
    }
}

impl Drop for Ignores {
    /// One after the other: a directory may lie deeper than a stack.
    fn drop(&mut self) {
        let mut above = self.above.take();
        while let Some(one) = above {
            above = Arc::into_inner(one).and_then(|mut one| one.above.take());
        }
    }
}

/// The names of what makes everything else in a directory be left out; empty if nothing does.
pub(crate) fn markers<'e>(
    dir: BorrowedFd<'_>,
    listing: &Listing,
    excludes: &'e Excludes,
    path: &[u8],
) -> Vec<&'e [u8]> {
    let mut found = Vec::new();
    let mut caches = false;
    for Besides { if_present, caches: also, .. } in excludes.about(path) {
        let is_there = |name: &&String| listing.find(name.as_bytes()).is_some();
        found.extend(if_present.iter().filter(is_there).map(|name| name.as_bytes()));
        caches |= also;
    }
    let tag = || read_file(dir, listing, CACHE_TAG, CACHE_SIGNATURE.len());
    if caches && tag().is_some_and(|begin| begin == CACHE_SIGNATURE) {
        found.push(CACHE_TAG.to_bytes());
    }
    found
}

/// The first bytes of a regular file.
fn read_file(dir: BorrowedFd<'_>, listing: &Listing, name: &CStr, max: usize) -> Option<Vec<u8>> {
    let listed = listing.find(name.to_bytes())?;
    if listed.failed.is_some() || listed.stat.kind() != Some(Kind::File) {
        return None;
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let handle: OwnedFd = open(dir, name, flags).ok()?;
    if Stat::of_handle(&handle).ok()?.kind() != Some(Kind::File) {
        return None;
    }
    let mut bytes = vec![0; max.min(64 << 10)];
    let mut len = 0;
    while len < max {
        if len == bytes.len() {
            bytes.resize((2 * len).min(max), 0);
        }
        match retry_on_intr(|| rustix::io::read(&handle, &mut bytes[len..])).ok()? {
            0 => break,
            read => len += read,
        }
    }
    bytes.truncate(len);
    Some(bytes)
}
