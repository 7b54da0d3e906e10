//! File systems on which SQLite cannot be trusted.
//!
//! The log of a database is indexed in memory that all its users map, and guarded by locks on files. Two
//! machines share no memory, and many network file systems lie about locks, so a database there is lost sooner
//! or later. What is refused here is known to be shared; what is unknown is taken.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

/// FUSE: what is behind it, only the mount's kind tells.
const FUSE: u32 = 0x6573_5546;

/// Numbers by which the kernel names kinds of file systems (`f_type` of statfs).
const SHARED: &[(u32, &str)] = &[
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x0102_1997, "9P"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
    (0x6b41_4653, "AFS"),
    (0x5346_414f, "OpenAFS"),
    (0x7375_7245, "Coda"),
    (0x564c, "NCP"),
    (0x4750_4653, "GPFS"),
    (0x0116_1970, "GFS2"),
    (0x7461_636f, "OCFS2"),
    (0x2003_0528, "OrangeFS"),
    (0x1983_0326, "BeeGFS"),
    (0x786f_4256, "a folder of VirtualBox's host"),
    (0xbacb_acbc, "a folder of VMware's host"),
];

/// Kinds of mounts through FUSE (after `fuse.`, where that stands before them).
const SHARED_FUSE: &[&str] = &[
    "sshfs",
    "rclone",
    "s3fs",
    "goofys",
    "gcsfuse",
    "mount-s3",
    "blobfuse",
    "blobfuse2",
    "glusterfs",
    "ceph-fuse",
    "ceph",
    "cephfs",
    "moosefs",
    "mfs",
    "lizardfs",
    "saunafs",
    "juicefs",
    "seaweedfs",
    "weed",
    "davfs",
    "davfs2",
    "curlftpfs",
    "smbnetfs",
    "gvfsd-fuse",
    "kio-fuse",
    "afuse",
    "google-drive-ocamlfuse",
    "onedriver",
    "ipfs",
    "virtiofs",
    "vmhgfs-fuse",
    "prl_fsd",
    "grpcfuse",
    "osxfs",
    "hdfs",
    "fuse_dfs",
    "quobyte",
    "xtreemfs",
    "objectivefs",
];

/// What is known of a mounted file system.
#[derive(Debug, PartialEq, Eq)]
pub struct Mount {
    /// Its kind, as `ext4` or `fuse.sshfs`.
    pub kind: String,
    /// The file system itself, not only this mount of it, takes no writes: nobody changes what is on it.
    pub read_only: bool,
}

/// Why a database may not be in `folder`, in a word or two; `None` when it may.
pub fn refusal_of(folder: &Path) -> io::Result<Option<&'static str>> {
    let stat = rustix::fs::statfs(folder)?;
    // The field is signed on some machines, and wider than the numbers on most.
    #[allow(clippy::unnecessary_cast)]
    let magic = stat.f_type as u64 as u32;
    let kind = mount_of(folder).map(|mount| mount.kind).unwrap_or_default();
    Ok(refusal(magic, &kind))
}

/// The mount that `path` lies on, as far as the kernel tells.
pub fn mount_of(path: &Path) -> Option<Mount> {
    let device = fs::metadata(path).ok()?.dev();
    let mounts = fs::read("/proc/self/mountinfo").ok()?;
    parse(&String::from_utf8_lossy(&mounts), (rustix::fs::major(device), rustix::fs::minor(device)))
}

/// Decides from the kernel's number of a kind of file system, and the kind of the mount, which may be empty.
fn refusal(magic: u32, kind: &str) -> Option<&'static str> {
    if magic == FUSE {
        let behind = kind.strip_prefix("fuse.").unwrap_or(kind);
        return SHARED_FUSE.iter().find(|name| **name == behind).copied();
    }
    SHARED.iter().find(|(number, _)| *number == magic).map(|(_, name)| *name)
}

/// Finds a device in what the kernel says of mounts: `36 35 98:0 / /mnt rw,noatime shared:1 - ext4 /dev/sda1 rw`.
/// What stands between the options and the lone `-` varies in number.
fn parse(mounts: &str, device: (u32, u32)) -> Option<Mount> {
    let device = format!("{}:{}", device.0, device.1);
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some(&device))?;
    let mut after = line.split_once(" - ")?.1.split(' ');
    let (kind, _source, options) = (after.next()?, after.next()?, after.next()?);
    Some(Mount { kind: kind.into(), read_only: options.split(',').any(|option| option == "ro") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_machines_share_is_refused() {
        for (magic, name) in
            [(0x6969, "NFS"), (0xff53_4d42, "CIFS"), (0xfe53_4d42, "SMB2"), (0x0102_1997, "9P")]
        {
            assert_eq!(refusal(magic, ""), Some(name));
        }
        // ext4, xfs, btrfs, tmpfs, overlay, zfs, f2fs, squashfs.
        let local = [
            0xef53,
            0x5846_5342,
            0x9123_683e,
            0x0102_1994,
            0x794c_7630,
            0x2fc1_2fc1,
            0xf2f5_2010,
            0x7371_7368,
        ];
        for magic in local {
            assert_eq!(refusal(magic, "nfs"), None, "{magic:x}: the number decides");
        }
    }

    #[test]
    fn of_fuse_the_mount_tells() {
        assert_eq!(refusal(FUSE, "fuse.sshfs"), Some("sshfs"));
        assert_eq!(refusal(FUSE, "virtiofs"), Some("virtiofs"));
        for local in ["fuseblk", "fuse.ntfs-3g", "fuse.gocryptfs", "fuse", "", "fuse.", "fuse.sshfs2"] {
            assert_eq!(refusal(FUSE, local), None, "{local}");
        }
    }

    #[test]
    fn mounts_are_found_by_device() {
        let mounts = "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
                      36 22 0:45 / /media/disc ro - iso9660 /dev/sr0 ro,utf8\n\
                      37 22 0:46 / /a\\040b ro,nosuid shared:7 master:2 - fuse.sshfs host:/ rw,user_id=0\n\
                      38 22 0:47 / /odd rw\n";
        let kind = |device| parse(mounts, device).map(|mount| (mount.kind, mount.read_only));
        assert_eq!(kind((254, 0)), Some(("ext4".into(), false)));
        assert_eq!(kind((0, 45)), Some(("iso9660".into(), true)));
        assert_eq!(kind((0, 46)), Some(("fuse.sshfs".into(), false)), "only this mount of it is for reading");
        assert_eq!((kind((0, 47)), kind((0, 4)), parse("", (0, 0))), (None, None, None));
    }

    #[test]
    fn folders_here_may_be_asked() {
        let temp = tempfile::tempdir().unwrap();
        assert_eq!(refusal_of(temp.path()).unwrap(), None);
        assert!(refusal_of(&temp.path().join("absent")).is_err());
    }
}
