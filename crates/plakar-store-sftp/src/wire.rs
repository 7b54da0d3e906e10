//! The bytes of SFTP, version 3: what is asked, and what is answered.
//!
//! A packet is its length (32 bits, most significant byte first, as all numbers), a byte that says what it is, the number
//! of the request, and what belongs to it; strings are a length and bytes. Every decoder here is total: bytes of any
//! kind become an answer or nothing, and no number in them makes memory be taken.

/// The longest packet that is believed in: what OpenSSH sends at most, and takes.
pub const PACKET_MAX: usize = 256 << 10;
/// The longest handle, by the draft.
const HANDLE_MAX: usize = 256;
/// As much of what a server says of an error is kept.
const TEXT_MAX: usize = 200;

const INIT: u8 = 1;
const VERSION: u8 = 2;
const EXTENDED: u8 = 200;
const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;
const NAME: u8 = 104;
const ATTRS: u8 = 105;
const EXTENDED_REPLY: u8 = 201;

/// The version that is spoken.
pub const SPOKEN: u32 = 3;

/// Numbers of a status.
pub mod status {
    pub const OK: u32 = 0;
    pub const EOF: u32 = 1;
    pub const NO_SUCH_FILE: u32 = 2;
    pub const PERMISSION_DENIED: u32 = 3;
    pub const FAILURE: u32 = 4;
    pub const BAD_MESSAGE: u32 = 5;
    pub const NO_CONNECTION: u32 = 6;
    pub const CONNECTION_LOST: u32 = 7;
    pub const UNSUPPORTED: u32 = 8;
}

/// Opened for reading.
pub const READ: u32 = 1;
/// Opened for writing: made anew, refused if something is there.
pub const WRITE_NEW: u32 = 2 | 8 | 32;

const SIZE: u32 = 1;
const OWNER: u32 = 2;
const PERMISSIONS: u32 = 4;
const TIMES: u32 = 8;
const MORE: u32 = 0x8000_0000;

/// What may be asked.
#[derive(Debug, Clone, Copy)]
pub enum Request<'r> {
    /// A file, how it is opened, and the mode of one that is made.
    Open(&'r [u8], u32, u32),
    /// A handle.
    Close(&'r [u8]),
    /// A handle, where, how much.
    Read(&'r [u8], u64, u32),
    /// A handle, where, what, in pieces.
    Write(&'r [u8], u64, &'r [&'r [u8]]),
    /// What is of this name, itself.
    Lstat(&'r [u8]),
    /// What is of this name, or what it leads to.
    Stat(&'r [u8]),
    /// A folder.
    Opendir(&'r [u8]),
    /// The next names of a folder that is open.
    Readdir(&'r [u8]),
    /// A file.
    Remove(&'r [u8]),
    /// A folder and its mode.
    Mkdir(&'r [u8], u32),
    /// A path, from the uppermost folder on and without links.
    Realpath(&'r [u8]),
    /// A file and its new name, which nothing bears.
    Rename(&'r [u8], &'r [u8]),
    /// A file and its new name, which something may bear.
    Replace(&'r [u8], &'r [u8]),
    /// A file and another name of it, which nothing bears.
    Link(&'r [u8], &'r [u8]),
    /// A handle of which all is to be on the disk.
    Flush(&'r [u8]),
    /// How much room there is where this is.
    Room(&'r [u8]),
    /// How much the server does at once.
    Limits,
}

impl Request<'_> {
    /// As a packet.
    pub fn packet(&self, id: u32) -> Vec<u8> {
        let mut out = Packet(vec![0; 4]);
        let number = match self {
            Request::Open(..) => 3,
            Request::Close(_) => 4,
            Request::Read(..) => 5,
            Request::Write(..) => 6,
            Request::Lstat(_) => 7,
            Request::Opendir(_) => 11,
            Request::Readdir(_) => 12,
            Request::Remove(_) => 13,
            Request::Mkdir(..) => 14,
            Request::Realpath(_) => 16,
            Request::Stat(_) => 17,
            Request::Rename(..) => 18,
            _ => EXTENDED,
        };
        out.0.push(number);
        out.u32(id);
        match *self {
            Request::Open(path, how, mode) => out.string(path).u32(how).u32(PERMISSIONS).u32(mode),
            Request::Read(handle, offset, len) => out.string(handle).u64(offset).u32(len),
            Request::Write(handle, offset, pieces) => {
                let len: usize = pieces.iter().map(|piece| piece.len()).sum();
                out.0.reserve_exact(handle.len() + 16 + len);
                out.string(handle).u64(offset).u32(len as u32);
                pieces.iter().for_each(|piece| out.0.extend_from_slice(piece));
                &mut out
            }
            Request::Mkdir(path, mode) => out.string(path).u32(PERMISSIONS).u32(mode),
            Request::Close(one)
            | Request::Lstat(one)
            | Request::Stat(one)
            | Request::Opendir(one)
            | Request::Readdir(one)
            | Request::Remove(one)
            | Request::Realpath(one) => out.string(one),
            Request::Rename(from, to) => out.string(from).string(to),
            Request::Replace(from, to) => out.string(Extension::REPLACE).string(from).string(to),
            Request::Link(from, to) => out.string(Extension::LINK).string(from).string(to),
            Request::Flush(handle) => out.string(Extension::FLUSH).string(handle),
            Request::Room(path) => out.string(Extension::ROOM).string(path),
            Request::Limits => out.string(Extension::LIMITS),
        };
        out.end()
    }
}

/// Names of extensions.
pub struct Extension;

impl Extension {
    /// Renaming over what is there.
    pub const REPLACE: &[u8] = b"posix-rename@openssh.com";
    /// Hard links.
    pub const LINK: &[u8] = b"hardlink@openssh.com";
    /// Flushing to the disk.
    pub const FLUSH: &[u8] = b"fsync@openssh.com";
    /// What a file system has room for.
    pub const ROOM: &[u8] = b"statvfs@openssh.com";
    /// What a server does at once.
    pub const LIMITS: &[u8] = b"limits@openssh.com";
}

struct Packet(Vec<u8>);

impl Packet {
    fn u32(&mut self, n: u32) -> &mut Packet {
        self.0.extend_from_slice(&n.to_be_bytes());
        self
    }

    fn u64(&mut self, n: u64) -> &mut Packet {
        self.0.extend_from_slice(&n.to_be_bytes());
        self
    }

    fn string(&mut self, bytes: &[u8]) -> &mut Packet {
        self.u32(bytes.len() as u32).0.extend_from_slice(bytes);
        self
    }

    fn end(mut self) -> Vec<u8> {
        let len = (self.0.len() - 4) as u32;
        self.0[..4].copy_from_slice(&len.to_be_bytes());
        self.0
    }
}

/// The first packet.
pub fn hello() -> Vec<u8> {
    let mut out = Packet(vec![0; 4]);
    out.0.push(INIT);
    out.u32(SPOKEN);
    out.end()
}

/// What a server says of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Its length in bytes.
    pub size: Option<u64>,
    /// Its kind and its permissions.
    pub mode: Option<u32>,
    /// Its last change, in seconds since 1970.
    pub modified: Option<u32>,
}

impl Attributes {
    fn kind(self) -> Option<u32> {
        self.mode.map(|mode| mode & 0o170_000)
    }

    /// It is told to be a regular file.
    pub fn is_file(self) -> bool {
        self.kind() == Some(0o100_000)
    }

    /// It is told to be a folder.
    pub fn is_folder(self) -> bool {
        self.kind() == Some(0o040_000)
    }
}

/// What may be answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// How it went, and what the server says of it.
    Status(u32, String),
    /// What was opened.
    Handle(Vec<u8>),
    /// What was read.
    Data(Vec<u8>),
    /// Names, and what they are of.
    Names(Vec<(Vec<u8>, Attributes)>),
    /// What something is.
    Attributes(Attributes),
    /// What an extension answers.
    Extended(Vec<u8>),
}

/// Reads an answer, without its length: which request it is to, and what it says.
pub fn read_reply(packet: &[u8]) -> Option<(u32, Reply)> {
    let mut from = Bytes(packet);
    let kind = from.u8()?;
    let id = from.u32()?;
    let reply = match kind {
        STATUS => {
            let code = from.u32()?;
            // Old servers say nothing more.
            let text = if from.0.is_empty() { &[][..] } else { from.string()? };
            let text = String::from_utf8_lossy(&text[..text.len().min(TEXT_MAX)]);
            return Some((id, Reply::Status(code, text.into_owned())));
        }
        HANDLE => Reply::Handle(from.string().filter(|handle| handle.len() <= HANDLE_MAX)?.to_vec()),
        DATA => Reply::Data(from.string()?.to_vec()),
        NAME => {
            let mut names = Vec::new();
            for _ in 0..from.u32()? {
                let name = from.string()?.to_vec();
                // As `ls -l` would show it: for people.
                from.string()?;
                names.push((name, from.attributes()?));
            }
            Reply::Names(names)
        }
        ATTRS => Reply::Attributes(from.attributes()?),
        EXTENDED_REPLY => Reply::Extended(std::mem::take(&mut from.0).to_vec()),
        _ => return None,
    };
    from.0.is_empty().then_some((id, reply))
}

/// Reads the first answer: the version, and the names of extensions.
pub fn read_hello(packet: &[u8]) -> Option<(u32, Vec<Vec<u8>>)> {
    let mut from = Bytes(packet);
    (from.u8()? == VERSION).then_some(())?;
    let version = from.u32()?;
    let mut names = Vec::new();
    while !from.0.is_empty() {
        names.push(from.string()?.to_vec());
        from.string()?;
    }
    Some((version, names))
}

/// What a server does at once; zero is as much as the draft asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// How many bytes it reads,
    pub read: u64,
    /// and writes,
    pub write: u64,
    /// and how many handles it has.
    pub handles: u64,
}

/// Reads what [`Request::Limits`] is answered with.
pub fn read_limits(bytes: &[u8]) -> Option<Limits> {
    let mut from = Bytes(bytes);
    from.u64()?;
    Some(Limits { read: from.u64()?, write: from.u64()?, handles: from.u64()? })
}

/// What is left on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes,
    pub bytes: u64,
    /// and files, if it counts them.
    pub files: Option<u64>,
    /// Nothing can be changed there.
    pub read_only: bool,
}

/// Reads what [`Request::Room`] is answered with.
pub fn read_room(bytes: &[u8]) -> Option<Room> {
    let mut from = Bytes(bytes);
    let mut numbers = [0; 11];
    for number in &mut numbers {
        *number = from.u64()?;
    }
    let [_, unit, _, _, blocks, all, _, files, _, flags, _] = numbers;
    let files = (all > 0).then_some(files);
    Some(Room { bytes: unit.saturating_mul(blocks), files, read_only: flags & 1 != 0 })
}

/// Bytes that are read from their beginning on.
struct Bytes<'b>(&'b [u8]);

impl<'b> Bytes<'b> {
    fn take(&mut self, len: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4).map(|bytes| u32::from_be_bytes(bytes.try_into().expect("four")))
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8).map(|bytes| u64::from_be_bytes(bytes.try_into().expect("eight")))
    }

    fn string(&mut self) -> Option<&'b [u8]> {
        let len = self.u32()?;
        self.take(usize::try_from(len).ok()?)
    }

    fn attributes(&mut self) -> Option<Attributes> {
        let there = self.u32()?;
        let mut found = Attributes::default();
        if there & SIZE != 0 {
            found.size = Some(self.u64()?);
        }
        if there & OWNER != 0 {
            self.u64()?;
        }
        if there & PERMISSIONS != 0 {
            found.mode = Some(self.u32()?);
        }
        if there & TIMES != 0 {
            self.u32()?;
            found.modified = Some(self.u32()?);
        }
        if there & MORE != 0 {
            for _ in 0..self.u32()? {
                self.string()?;
                self.string()?;
            }
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_as_the_draft_writes_them() {
        let bytes = Request::Open(b"/a", READ, 0o400).packet(7);
        assert_eq!(bytes, b"\0\0\0\x17\x03\0\0\0\x07\0\0\0\x02/a\0\0\0\x01\0\0\0\x04\0\0\x01\0");
        let bytes = Request::Write(b"h", 1 << 32, &[b"ab", b"c"]).packet(1);
        assert_eq!(bytes, b"\0\0\0\x19\x06\0\0\0\x01\0\0\0\x01h\0\0\0\x01\0\0\0\0\0\0\0\x03abc");
        let bytes = Request::Flush(b"h").packet(2);
        assert_eq!(bytes, b"\0\0\0\x1f\xc8\0\0\0\x02\0\0\0\x11fsync@openssh.com\0\0\0\x01h");
        assert_eq!(hello(), b"\0\0\0\x05\x01\0\0\0\x03");
    }

    #[test]
    fn answers_are_read_whole_or_not_at_all() {
        let names = b"\x68\0\0\0\x09\0\0\0\x01\0\0\0\x01a\0\0\0\x02-r\0\0\0\x0d\0\0\0\0\0\0\0\x05\0\0\x81\0\0\0\0\x01\0\0\0\x02";
        let found = Attributes { size: Some(5), mode: Some(0o100_400), modified: Some(2) };
        assert!(found.is_file() && !found.is_folder());
        assert_eq!(read_reply(names), Some((9, Reply::Names(vec![(b"a".to_vec(), found)]))));
        for end in 0..names.len() {
            assert_eq!(read_reply(&names[..end]), None, "{end}");
        }
        assert_eq!(read_reply(&[&names[..], b"x"].concat()), None);
        assert_eq!(read_reply(b"\x65\0\0\0\x01\0\0\0\x04"), Some((1, Reply::Status(4, String::new()))));
        assert_eq!(read_reply(b"\x67\0\0\0\x01\xff\xff\xff\xffx"), None);
        assert_eq!(read_reply(b"\x68\0\0\0\x01\xff\xff\xff\xff"), None);
        assert_eq!(read_reply(&[b"\x66\0\0\0\x01\0\0\x01\x01", &[0; 257][..]].concat()), None);
        assert_eq!(read_reply(b"\x07\0\0\0\x01"), None);
        assert_eq!(read_hello(b"\x02\0\0\0\x03\0\0\0\x01a\0\0\0\x01b"), Some((3, vec![b"a".to_vec()])));
        assert_eq!(read_hello(b"\x02\0\0\0\x03\0\0\0\x01a"), None);
        assert_eq!(read_hello(b"Welcome"), None);
        assert_eq!(read_room(&[0xff; 88]).map(|room| room.bytes), Some(u64::MAX));
        assert_eq!((read_room(&[0; 87]), read_limits(&[0; 31])), (None, None));
    }

    #[test]
    fn bytes_of_any_kind_are_read_without_harm() {
        let mut state = 1u64;
        for _ in 0..100_000 {
            let mut next = || {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                (state >> 33) as u8
            };
            let len = next() % 64;
            let mut bytes: Vec<u8> =
                (0..len).map(|_| if next() % 2 == 0 { next() % 4 } else { next() }).collect();
            if let Some(first) = bytes.first_mut() {
                *first = [STATUS, HANDLE, DATA, NAME, ATTRS, EXTENDED_REPLY, VERSION][*first as usize % 7];
            }
            let _ = (read_reply(&bytes), read_hello(&bytes), read_limits(&bytes), read_room(&bytes));
        }
    }
}
