//! One directory at a time: open it, read its names, describe each, sort.

use crate::exclude::Excludes;
use crate::leaving::{self, Here, Ignores};
use crate::meta::{Identity, Stat};
use crate::open::openat;
use plakar_engine::tree::Kind;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::Errno;
use std::cmp::Ordering;
use std::ffi::CStr;
use std::io;
use std::sync::Arc;

/// How many bytes of directory the kernel is asked for at once.
const BUFFER_BYTES: usize = 64 << 10;
/// Larger directories are described in the order of their inode numbers, which on a cold disk is the
/// order in which inodes lie.
const BY_INODE_FROM: usize = 512;

/// The longest name a snapshot can hold. Few file systems have longer ones (counted in bytes).
const NAME_BYTES_MAX: usize = 255;

/// What every directory is opened with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    /// Directories that are not entered, whatever they are called.
    pub excluded: Vec<Identity>,
    /// What is passed over in listings, if anything.
    pub excludes: Option<Arc<Excludes>>,
    /// For whom we open: access times are spared where that is allowed (to root and the owner).
    pub euid: u32,
}

impl Rules {
    pub fn is_excluded(&self, stat: &Stat) -> bool {
        self.excluded.contains(&stat.identity())
    }

    /// Where a directory is that is listed by a name, if anything may be left out of it.
    pub fn here(&self, above: &Here, name: &CStr) -> Here {
        if self.excludes.is_none() {
            return Here::default();
        }
        Here { path: [&above.path, &b"/"[..], name.to_bytes()].concat(), ..above.clone() }
    }

    /// Flags that keep reading from changing the access time, if `owner`'s file may be opened so.
    pub fn spare_atime(&self, owner: u32) -> OFlags {
        if self.euid == 0 || self.euid == owner { OFlags::NOATIME } else { OFlags::empty() }
    }
}

/// Opens `name` in `dir`, and once more without `O_NOATIME` if only that was refused.
pub(crate) fn open(dir: impl AsFd, name: &CStr, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC;
    let dir = dir.as_fd();
    match openat(dir, name, flags, Mode::empty()) {
        Err(Errno::PERM) if flags.contains(OFlags::NOATIME) => {
            openat(dir, name, flags - OFlags::NOATIME, Mode::empty())
        }
        result => result,
    }
}

/// A directory that was opened and listed.
#[derive(Debug)]
pub(crate) struct Directory {
    pub handle: Arc<OwnedFd>,
    /// As the handle says, not as the listing of its parent said.
    pub stat: Stat,
    pub listing: Arc<Listing>,
    /// Why the listing is not whole, if it is not.
    pub error: Option<io::Error>,
}

/// What came of opening a directory.
#[derive(Debug)]
pub(crate) enum Opened {
    Listed(Directory),
    Excluded,
}

/// Opens and lists `name` in `parent`. `listed` is what the parent's listing said of it, `here` where it is
/// ([`Rules::here`]).
pub(crate) fn open_directory(
    parent: impl AsFd,
    name: &CStr,
    here: Here,
    listed: &Stat,
    follow: bool,
    rules: &Rules,
    buffer: &mut Buffer,
) -> io::Result<Opened> {
    if rules.is_excluded(listed) {
        return Ok(Opened::Excluded);
    }
    let mut flags = OFlags::RDONLY | OFlags::DIRECTORY | rules.spare_atime(listed.uid);
    if !follow {
        flags |= OFlags::NOFOLLOW;
    }
    let handle = Arc::new(open(parent, name, flags)?);
    let stat = Stat::of_handle(&handle)?;
    if rules.is_excluded(&stat) {
        return Ok(Opened::Excluded);
    }
    let elsewhere = here.device.is_some_and(|device| device != stat.dev);
    if let Some(excludes) = rules.excludes.as_ref().filter(|_| elsewhere)
        && excludes.about(&here.path).any(|besides| besides.one_file_system)
    {
        let listing = Arc::new(Listing { here, ..Listing::default() });
        return Ok(Opened::Listed(Directory { handle, stat, listing, error: None }));
    }
    let (listing, error) = Listing::read(handle.as_fd(), here, stat.dev, rules, buffer);
    Ok(Opened::Listed(Directory { handle, stat, listing: Arc::new(listing), error }))
}

/// Room for what the kernel tells of a directory; one per thread.
#[derive(Debug)]
pub(crate) struct Buffer(Vec<u8>);

impl Buffer {
    pub fn new() -> Self {
        Self(Vec::with_capacity(BUFFER_BYTES))
    }
}

/// The entries of a directory by name.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// All names, each with a NUL after it.
    names: Vec<u8>,
    pub entries: Vec<Listed>,
    /// Which of the entries are directories, ascending.
    pub directories: Vec<usize>,
    /// Where it is ([`Rules::here`]), with what counts for directories in it.
    pub here: Here,
    /// How many entries were left out.
    pub left_out: u64,
}

/// One entry; its name is in the listing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listed {
    name_at: usize,
    name_len: u16,
    /// Why nothing else is known of it.
    pub failed: Option<Errno>,
    pub stat: Stat,
}

impl Listed {
    fn is_file(&self) -> bool {
        self.failed.is_none() && self.stat.kind() == Some(Kind::File)
    }
}

/// A name as read: `key` is its first eight bytes as a number, which decides most comparisons.
struct Name {
    key: u64,
    at: usize,
    ino: u64,
    len: u16,
}

impl Listing {
    /// Lists an open directory, which is on this device. What could be listed before an error is there.
    fn read(
        dir: BorrowedFd<'_>,
        here: Here,
        device: u64,
        rules: &Rules,
        buffer: &mut Buffer,
    ) -> (Self, Option<io::Error>) {
        let mut bytes = Vec::new();
        let mut names = Vec::new();
        let mut error = None;
        let mut raw = RawDir::new(dir, buffer.0.spare_capacity_mut());
        while let Some(entry) = raw.next() {
            match entry {
                Ok(entry) => push_name(&mut bytes, &mut names, entry.file_name(), entry.ino()),
                Err(Errno::INTR) => {}
                Err(e) => {
                    error = Some(e.into());
                    break;
                }
            }
        }
        let mut listing = Self::describe(bytes, names, |name| Stat::of(dir, name, false));
        // What vanished since its name was read was never there, as far as anybody can tell.
        listing.entries.retain(|entry| entry.failed != Some(Errno::NOENT));
        listing.here = here;
        if let Some(excludes) = &rules.excludes {
            listing.leave_out(dir, device, excludes);
        }
        listing.find_directories();
        (listing, error)
    }

    /// Describes only `wanted` entries of a directory, following links. None is ever left out: one that
    /// is not there has failed. Directories among them are not noted, as nobody lists those ahead.
    pub fn of<'a>(dir: BorrowedFd<'_>, wanted: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut bytes = Vec::new();
        let mut names = Vec::new();
        for name in wanted {
            let name = std::ffi::CString::new(name).expect("a path that was looked up holds no NUL");
            push_name(&mut bytes, &mut names, &name, 0);
        }
        Self::describe(bytes, names, |name| Stat::of(dir, name, true))
    }

    fn describe(
        bytes: Vec<u8>,
        mut names: Vec<Name>,
        stat: impl Fn(&CStr) -> rustix::io::Result<Stat>,
    ) -> Self {
        let compare = |a: &Name, b: &Name| match a.key.cmp(&b.key) {
            Ordering::Equal => bytes[a.at..][..a.len.into()].cmp(&bytes[b.at..][..b.len.into()]),
            order => order,
        };
        names.sort_unstable_by(compare);
        // A directory that is changed while it is read may tell a name twice.
        names.dedup_by(|a, b| compare(a, b).is_eq());

        let blank = |name: &Name| Listed {
            name_at: name.at,
            name_len: name.len,
            failed: None,
            stat: Stat::default(),
        };
        let mut entries: Vec<Listed> = names.iter().map(blank).collect();
        let mut describe = |at: usize| {
            let entry: &mut Listed = &mut entries[at];
            if usize::from(entry.name_len) > NAME_BYTES_MAX {
                entry.failed = Some(Errno::NAMETOOLONG);
                return;
            }
            match stat(name_of(&bytes, entry)) {
                Ok(stat) if stat.kind().is_some() => entry.stat = stat,
                Ok(_) => entry.failed = Some(Errno::NOTSUP),
                Err(e) => entry.failed = Some(e),
            }
        };
        if names.len() < BY_INODE_FROM || names.is_sorted_by_key(|name| name.ino) {
            (0..names.len()).for_each(&mut describe);
        } else {
            let mut order: Vec<(u64, usize)> =
                names.iter().enumerate().map(|(at, name)| (name.ino, at)).collect();
            order.sort_unstable();
            order.iter().for_each(|&(_, at)| describe(at));
        }
        Self { names: bytes, entries, ..Self::default() }
    }

    fn leave_out(&mut self, dir: BorrowedFd<'_>, device: u64, excludes: &Excludes) {
        let mut here = std::mem::take(&mut self.here);
        let before = self.entries.len();
        let markers = match here.device {
            // A root was asked for.
            None => Vec::new(),
            Some(_) => leaving::markers(dir, self, excludes, &here.path),
        };
        if !markers.is_empty() {
            let names = &self.names;
            let is_marker = |entry: &Listed| markers.contains(&name_of(names, entry).to_bytes());
            self.entries.retain(|entry| is_marker(entry) && !entry.stat.is_directory());
        }
        if excludes.within(&here.path).any(|besides| besides.gitignore) {
            here.ignores = Ignores::of(dir, self, &here);
        }
        let bytes_max = excludes.within(&here.path).filter_map(|besides| besides.max_size).min();
        here.device.get_or_insert(device);

        let mut path = std::mem::take(&mut here.path);
        let above = path.len();
        path.push(b'/');
        let (entries, names) = (&mut self.entries, &self.names);
        entries.retain(|entry| {
            path.truncate(above + 1);
            path.extend_from_slice(name_of(names, entry).to_bytes());
            let is_directory = entry.failed.is_none() && entry.stat.is_directory();
            let is_large = bytes_max.is_some_and(|max| entry.is_file() && entry.stat.size > max);
            let is_ignored = || here.ignores.as_ref().is_some_and(|all| all.leave_out(&path, is_directory));
            !is_large && !excludes.leaves_out(&path, is_directory) && !is_ignored()
        });
        self.left_out = (before - self.entries.len()) as u64;
        path.truncate(above);
        here.path = path;
        self.here = here;
    }

    /// The entry of this name.
    pub fn find(&self, name: &[u8]) -> Option<&Listed> {
        let at = self.entries.binary_search_by(|entry| self.name(entry).to_bytes().cmp(name)).ok()?;
        Some(&self.entries[at])
    }

    fn find_directories(&mut self) {
        let is_directory = |entry: &Listed| entry.failed.is_none() && entry.stat.is_directory();
        self.directories = (0..self.entries.len()).filter(|&at| is_directory(&self.entries[at])).collect();
    }

    /// The name of one of the entries.
    pub fn name(&self, entry: &Listed) -> &CStr {
        name_of(&self.names, entry)
    }
}

fn name_of<'a>(names: &'a [u8], entry: &Listed) -> &'a CStr {
    CStr::from_bytes_with_nul(&names[entry.name_at..][..usize::from(entry.name_len) + 1])
        .expect("names are kept with one NUL, at the end")
}

fn push_name(bytes: &mut Vec<u8>, names: &mut Vec<Name>, name: &CStr, ino: u64) {
    let name = name.to_bytes_with_nul();
    let len = name.len() - 1;
    if matches!(&name[..len], b"" | b"." | b"..") {
        return;
    }
    let mut key = [0; 8];
    let head = len.min(8);
    key[..head].copy_from_slice(&name[..head]);
    let len = u16::try_from(len).expect("the kernel's records are shorter than 64 KiB");
    names.push(Name { key: u64::from_be_bytes(key), at: bytes.len(), ino, len });
    bytes.extend_from_slice(name);
}
