//! What the kernel says of a file, and how it becomes an item.

use crate::owners::Owners;
use plakar_engine::source::Item;
use plakar_engine::tree::{Device, Kind, Meta, Time};
use rustix::fd::AsFd;
use rustix::fs::{AtFlags, FileType, StatxFlags};
use std::collections::HashMap;
use std::ffi::CStr;
use std::time::{SystemTime, UNIX_EPOCH};

/// What is asked of the kernel for every entry.
const WANTED: StatxFlags = StatxFlags::TYPE
    .union(StatxFlags::MODE)
    .union(StatxFlags::NLINK)
    .union(StatxFlags::UID)
    .union(StatxFlags::GID)
    .union(StatxFlags::INO)
    .union(StatxFlags::SIZE)
    .union(StatxFlags::BLOCKS)
    .union(StatxFlags::MTIME)
    .union(StatxFlags::CTIME);

/// A directory or file, whatever it is called: device and inode number.
pub(crate) type Identity = (u64, u64);

/// One file as the kernel described it, in as few bytes as a listing of a million of them asks for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stat {
    pub dev: u64,
    pub ino: u64,
    pub size: u64,
    pub mtime: Time,
    pub ctime: Time,
    pub uid: u32,
    pub gid: u32,
    pub device: Device,
    /// Type and permission bits as in `st_mode`.
    pub mode: u16,
    /// It has more than one name.
    pub aliased: bool,
    pub sparse: bool,
}

impl Stat {
    /// Describes `name` in `dir`; an empty name means `dir` itself.
    pub fn of(dir: impl AsFd, name: &CStr, follow: bool) -> rustix::io::Result<Self> {
        // DONT_SYNC: what a network file system has cached is as good as what it would answer now, and
        // comes without a round trip per entry. Content is looked at again once it is open.
        let mut flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
        if name.is_empty() {
            flags |= AtFlags::EMPTY_PATH;
        } else if !follow {
            flags |= AtFlags::SYMLINK_NOFOLLOW;
        }
        let x = rustix::fs::statx(dir, name, flags, WANTED)?;
        let time = |t: rustix::fs::StatxTimestamp| Time { secs: t.tv_sec, nanos: t.tv_nsec };
        Ok(Self {
            dev: rustix::fs::makedev(x.stx_dev_major, x.stx_dev_minor),
            ino: x.stx_ino,
            size: x.stx_size,
            mtime: time(x.stx_mtime),
            ctime: time(x.stx_ctime),
            uid: x.stx_uid,
            gid: x.stx_gid,
            device: Device { major: x.stx_rdev_major, minor: x.stx_rdev_minor },
            mode: x.stx_mode,
            aliased: x.stx_nlink > 1,
            sparse: x.stx_blocks.saturating_mul(512) < x.stx_size,
        })
    }

    /// Describes what an open handle refers to.
    pub fn of_handle(handle: impl AsFd) -> rustix::io::Result<Self> {
        Self::of(handle, c"", false)
    }

    pub fn identity(&self) -> Identity {
        (self.dev, self.ino)
    }

    /// The type; `None` for what no Linux file system has.
    pub fn kind(&self) -> Option<Kind> {
        match FileType::from_raw_mode(self.mode.into()) {
            FileType::RegularFile => Some(Kind::File),
            FileType::Directory => Some(Kind::Directory),
            FileType::Symlink => Some(Kind::Symlink),
            FileType::Fifo => Some(Kind::Fifo),
            FileType::Socket => Some(Kind::Socket),
            FileType::CharacterDevice => Some(Kind::CharDevice),
            FileType::BlockDevice => Some(Kind::BlockDevice),
            FileType::Unknown => None,
        }
    }

    pub fn is_directory(&self) -> bool {
        self.kind() == Some(Kind::Directory)
    }

    /// Size, modification and change time are those of `other`, of the same file.
    pub fn same_state(&self, other: &Self) -> bool {
        (self.size, self.mtime, self.ctime) == (other.size, other.mtime, other.ctime)
    }
}

/// Makes items: knows what owners are called, which files were met under another name, and from when on
/// a time stamp is too young to be trusted.
#[derive(Debug)]
pub(crate) struct Describer {
    owners: Owners,
    links: Links,
    /// Time stamps are only as fine as the kernel's tick, or the file system's: a file changed twice
    /// within one keeps its stamp. What was changed after this moment has no fingerprint.
    trusted_before: Time,
    /// Fingerprints tell nothing of change times.
    pub ignore_ctime: bool,
}

impl Describer {
    pub fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let trusted_before = Time { secs: now.as_secs() as i64 - 2, nanos: now.subsec_nanos() };
        Self { owners: Owners::read(), links: Links::default(), trusted_before, ignore_ctime: false }
    }

    pub fn item(&mut self, name: &[u8], stat: &Stat, kind: Kind, ancestor: bool) -> Item {
        let file = kind == Kind::File;
        let device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
        Item {
            name: name.to_vec(),
            kind,
            meta: Meta {
                mode: stat.mode & 0o7777,
                uid: stat.uid,
                gid: stat.gid,
                user: self.owners.user(stat.uid).to_vec(),
                group: self.owners.group(stat.gid).to_vec(),
                mtime: stat.mtime,
            },
            size: if file { stat.size } else { 0 },
            device: if device { stat.device } else { Device::default() },
            fingerprint: self.fingerprint(stat),
            same_file: if stat.aliased && kind != Kind::Directory {
                self.links.value(stat.identity())
            } else {
                0
            },
            sparse: file && stat.sparse,
            ancestor,
        }
    }

    fn fingerprint(&self, stat: &Stat) -> u64 {
        // A time that no file has: what was seen with change times is never taken for what was seen without.
        let ctime = if self.ignore_ctime { Time { secs: i64::MIN, nanos: u32::MAX } } else { stat.ctime };
        if ctime >= self.trusted_before || stat.mtime >= self.trusted_before {
            return 0;
        }
        let words = [ctime.secs as u64, ctime.nanos.into(), stat.ino, stat.dev];
        words.into_iter().fold(0x9e37_79b9_7f4a_7c15, |sum, word| mix(sum ^ word)).max(1)
    }
}

/// A bijection of 64-bit words that lets every bit depend on every other (the finaliser of SplitMix64).
fn mix(mut word: u64) -> u64 {
    word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Gives every (device, inode) a value of its own, exactly and without remembering the inodes.
///
/// Devices are counted as they are met, from 1; the value is that number in the upper 16 bits and the
/// inode number in the lower 48. Only inode numbers that do not fit (some network file systems) are
/// remembered one by one; their values have the uppermost bit, which no device number reaches.
#[derive(Debug, Default)]
struct Links {
    devices: HashMap<u64, u64>,
    odd: HashMap<Identity, u64>,
}

impl Links {
    const INODE_BITS: u32 = 48;
    const ODD: u64 = 1 << 63;

    fn value(&mut self, (dev, ino): Identity) -> u64 {
        let next = self.devices.len() as u64 + 1;
        let device = *self.devices.entry(dev).or_insert(next);
        if ino >> Self::INODE_BITS == 0 && device < Self::ODD >> Self::INODE_BITS {
            return device << Self::INODE_BITS | ino;
        }
        let next = self.odd.len() as u64;
        *self.odd.entry((dev, ino)).or_insert(Self::ODD | next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_a_value_of_its_own_even_where_inode_numbers_are_huge() {
        let mut links = Links::default();
        let files = [(1, 1), (2, 1), (1, 2), (1, u64::MAX), (2, u64::MAX), (1, 1 << 48), (3, 0)];
        let values: Vec<u64> = files.iter().map(|&f| links.value(f)).collect();
        let distinct: std::collections::HashSet<u64> = values.iter().copied().collect();
        assert_eq!(distinct.len(), files.len());
        assert!(!distinct.contains(&0));
        assert_eq!(values, files.iter().map(|&f| links.value(f)).collect::<Vec<_>>());
    }

    #[test]
    fn a_file_changed_just_now_has_no_fingerprint() {
        let mut describer = Describer::new();
        let old = Stat { ino: 7, ..Stat::default() };
        let item = |d: &mut Describer, s: &Stat| d.item(b"x", s, Kind::File, false).fingerprint;
        let known = item(&mut describer, &old);
        assert_ne!(known, 0);
        assert_eq!(known, item(&mut describer, &old));
        assert_ne!(known, item(&mut describer, &Stat { ctime: Time { secs: 0, nanos: 1 }, ..old }));
        let now = Time { secs: describer.trusted_before.secs + 1, nanos: 0 };
        assert_eq!(item(&mut describer, &Stat { ctime: now, ..old }), 0);
        assert_eq!(item(&mut describer, &Stat { mtime: now, ..old }), 0);
        describer.ignore_ctime = true;
        let without = item(&mut describer, &old);
        assert!(without != 0 && without != known);
        assert_eq!(item(&mut describer, &Stat { ctime: now, ..old }), without);
        assert_eq!(item(&mut describer, &Stat { mtime: now, ..old }), 0);
        assert_ne!(item(&mut describer, &Stat { ino: 8, ..old }), without);
    }
}
