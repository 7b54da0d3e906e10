//! Entries as a tar archive has them: headers as POSIX wrote them down, with PAX records where those have no room.

use plakar_engine::tree::{Content, Device, Entry, Kind, Time};
use std::io::{self, Read, Write};
use tar::{Builder, EntryType, Header};

/// The largest number in eight bytes of a header.
const SHORT_MAX: u64 = 0o7_777_777;
/// The largest number in twelve.
const LONG_MAX: u64 = 0o77_777_777_777;

/// Extended attributes: names and values.
pub type Attributes = Vec<(String, Vec<u8>)>;

/// Whether such an archive can hold an entry; if not, why.
pub fn refusal(content: &Content) -> Option<&'static str> {
    match content {
        Content::Socket => Some("is a socket, which cannot be in a tar archive"),
        Content::CharDevice(Device { major, minor }) | Content::BlockDevice(Device { major, minor })
            if u64::from(*major.max(minor)) > SHORT_MAX =>
        {
            Some("is a device whose number is too large for a tar archive")
        }
        _ => None,
    }
}

/// Appends an entry of this name, which is relative, and of a directory without a slash at the end. `bytes` are those of a
/// file, as many as it says.
///
/// # Errors
/// Those of `bytes`, and of the archive. It cannot be gone on with.
pub fn append<W: Write>(
    archive: &mut Builder<W>,
    name: &[u8],
    entry: &Entry,
    attributes: &Attributes,
    bytes: &mut dyn Read,
) -> io::Result<()> {
    let mut records = Records::default();
    let (mut header, meta) = (Header::new_ustar(), &entry.meta);
    header.set_entry_type(match entry.content.kind() {
        Kind::Directory => EntryType::Directory,
        Kind::Symlink => EntryType::Symlink,
        Kind::Fifo => EntryType::Fifo,
        Kind::CharDevice => EntryType::Char,
        Kind::BlockDevice => EntryType::Block,
        Kind::File | Kind::Socket => EntryType::Regular,
    });
    let ustar = header.as_ustar_mut().expect("it was made as one");
    match &entry.content {
        Content::Directory(_) => records.field("path", &mut ustar.name, &[name, b"/"].concat()),
        _ => records.field("path", &mut ustar.name, name),
    }
    if let Content::Symlink(target) = &entry.content {
        records.field("linkpath", &mut ustar.linkname, target);
    }
    records.field("uname", &mut ustar.uname, &meta.user);
    records.field("gname", &mut ustar.gname, &meta.group);
    let device = match entry.content {
        Content::CharDevice(device) | Content::BlockDevice(device) => device,
        _ => Device::default(),
    };
    header.set_device_major(device.major)?;
    header.set_device_minor(device.minor)?;
    header.set_mode(meta.mode.into());
    let size = match &entry.content {
        Content::File(object) => object.size,
        _ => 0,
    };
    records.number("uid", meta.uid.into(), SHORT_MAX);
    records.number("gid", meta.gid.into(), SHORT_MAX);
    records.number("size", size, LONG_MAX);
    header.set_uid(meta.uid.into());
    header.set_gid(meta.gid.into());
    header.set_size(size);
    let secs = u64::try_from(meta.mtime.secs).unwrap_or(0).min(LONG_MAX);
    header.set_mtime(secs);
    if meta.mtime != (Time { secs: secs as i64, nanos: 0 }) {
        records.0.push(("mtime".into(), decimal(meta.mtime).into_bytes()));
    }
    for (name, value) in attributes {
        // As GNU tar does: what follows the first = would be the value.
        let name = name.replace('%', "%25").replace('=', "%3D");
        records.0.push((format!("SCHILY.xattr.{name}"), value.clone()));
    }
    records.append(archive)?;
    header.set_cksum();
    archive.append(&header, bytes)
}

/// Appends a further name of a file that has been appended as `first`.
///
/// # Errors
/// Those of the archive.
pub fn append_link<W: Write>(
    archive: &mut Builder<W>,
    name: &[u8],
    first: &[u8],
    entry: &Entry,
) -> io::Result<()> {
    let mut records = Records::default();
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Link);
    let ustar = header.as_ustar_mut().expect("it was made as one");
    records.field("path", &mut ustar.name, name);
    records.field("linkpath", &mut ustar.linkname, first);
    header.set_mode(entry.meta.mode.into());
    header.set_uid(entry.meta.uid.into());
    header.set_gid(entry.meta.gid.into());
    header.set_mtime(u64::try_from(entry.meta.mtime.secs).unwrap_or(0).min(LONG_MAX));
    header.set_size(0);
    records.append(archive)?;
    header.set_cksum();
    archive.append(&header, io::empty())
}

/// What a header has no room for.
#[derive(Default)]
struct Records(Vec<(String, Vec<u8>)>);

impl Records {
    /// Bytes of a field of the header; as much as fits, if it must be a record.
    fn field(&mut self, key: &str, field: &mut [u8], value: &[u8]) {
        // One byte is left as it is: some readers want each field to end with a zero.
        let fits = value.len().min(field.len() - 1);
        field[..fits].copy_from_slice(&value[..fits]);
        if fits < value.len() {
            self.0.push((key.into(), value.to_vec()));
        }
    }

    fn number(&mut self, key: &str, value: u64, max: u64) {
        if value > max {
            self.0.push((key.into(), value.to_string().into_bytes()));
        }
    }

    fn append<W: Write>(&self, archive: &mut Builder<W>) -> io::Result<()> {
        archive.append_pax_extensions(self.0.iter().map(|(key, value)| (key.as_str(), value.as_slice())))
    }
}

/// A time as a record has it: seconds since 1970 with a fraction.
fn decimal(time: Time) -> String {
    let nanos = i128::from(time.secs) * 1_000_000_000 + i128::from(time.nanos);
    let (sign, nanos) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
    format!("{sign}{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use plakar_engine::tree::{Body, Meta, Object, Xattrs};

    #[test]
    fn times_are_decimal_numbers() {
        for (secs, nanos, text) in [
            (1, 5, "1.000000005"),
            (-1, 999_999_999, "-0.000000001"),
            (-2, 500_000_000, "-1.500000000"),
            (i64::MIN, 0, "-9223372036854775808.000000000"),
        ] {
            assert_eq!(decimal(Time { secs, nanos }), text);
        }
    }

    #[test]
    fn what_a_header_has_no_room_for_is_in_records() {
        let object = Object { size: LONG_MAX + 1, body: Body::Rows(Vec::new()) };
        let meta = Meta { uid: u32::MAX - 1, gid: 5, user: vec![b'u'; 40], ..Meta::default() };
        let entry = Entry {
            name: b"f".to_vec(),
            meta,
            xattrs: Xattrs::None,
            link_group: 0,
            flags: 0,
            content: Content::File(object),
        };
        let mut archive = Builder::new(Vec::new());
        let attributes = vec![("user.a=b%".to_owned(), vec![0, 255])];
        append(&mut archive, &[b'n'; 300], &entry, &attributes, &mut io::empty()).unwrap();
        let bytes = archive.get_ref().clone();
        let records: [&[u8]; 5] = [
            &[b"310 path=".as_slice(), &[b'n'; 300], b"\n"].concat(),
            &[b"50 uname=".as_slice(), &[b'u'; 40], b"\n"].concat(),
            b"18 uid=4294967294\n",
            b"19 size=8589934592\n",
            b"33 SCHILY.xattr.user.a%3Db%25=\0\xff\n",
        ];
        for record in records {
            let found = bytes.windows(record.len()).any(|window| window == record);
            assert!(found, "{:?} in {:?}", String::from_utf8_lossy(record), String::from_utf8_lossy(&bytes));
        }
        let device = Device { major: 1 << 21, minor: 0 };
        assert!(refusal(&Content::CharDevice(device)).is_some() && refusal(&Content::Socket).is_some());
        assert!(refusal(&Content::CharDevice(Device { major: 4095, minor: 1_048_575 })).is_none());
    }
}
