//! What a directory says of each thing in it.

use crate::id::{ChunkId, NodeId};

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// One path component: any bytes but `/` and NUL, not empty, not `.` or `..`, at most 255.
    pub name: Vec<u8>,
    /// Mode, owners, modification time.
    pub meta: Meta,
    /// Extended attributes, ACLs and capabilities among them.
    pub xattrs: Xattrs,
    /// The same non-zero value for all names of one file (hard links); opaque, carried unchanged.
    pub link_group: u64,
    /// What else is to be known of the capture: see the `FLAG_` constants.
    pub flags: u8,
    /// What it is, and what it holds.
    pub content: Content,
}

/// The file had holes: a restore makes them again.
pub const FLAG_SPARSE: u8 = 1;
/// The file changed while it was read, again and again: its bytes may be from different moments.
pub const FLAG_CHANGED: u8 = 2;
/// The content could not be read (or not all of a directory's entries): only what stands here is known.
pub const FLAG_UNREADABLE: u8 = 4;
/// A directory passed on the way to a root: its other entries were not captured.
pub const FLAG_ANCESTOR: u8 = 8;
/// Its extended attributes (or where the link points) could not be read; its content was.
pub const FLAG_BARE: u8 = 128;
/// All flags there are.
pub const FLAGS_KNOWN: u8 = 15 | FLAG_BARE;
/// The flags of an entry that was not captured as it was: it counts as an error and is captured again next time.
pub const FLAGS_PROBLEM: u8 = FLAG_CHANGED | FLAG_UNREADABLE | FLAG_BARE;

/// Mode, owners, modification time: what every type of entry has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meta {
    /// The twelve permission bits, setuid, setgid and sticky among them.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The owner's name where it was captured; empty when it had none.
    pub user: Vec<u8>,
    /// The group's name where it was captured; empty when it had none.
    pub group: Vec<u8>,
    /// When its content was last modified.
    pub mtime: Time,
}

/// A point in time: seconds since 1970 and the nanoseconds after them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds since 1970-01-01 00:00 UTC; negative before it.
    pub secs: i64,
    /// Nanoseconds, 0 to 999,999,999, to be added to `secs`.
    pub nanos: u32,
}

/// The type of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A regular file.
    File = 1,
    /// A directory.
    Directory = 2,
    /// A symbolic link.
    Symlink = 3,
    /// A named pipe.
    Fifo = 4,
    /// A socket.
    Socket = 5,
    /// A character device.
    CharDevice = 6,
    /// A block device.
    BlockDevice = 7,
}

/// A device number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Device {
    /// Which driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
}

/// What an entry holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A regular file and its bytes.
    File(Object),
    /// A directory.
    Directory(Subtree),
    /// A symbolic link and where it points: 1 to 4,095 bytes without NUL.
    Symlink(Vec<u8>),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
}

impl Content {
    /// The type of entry this is the content of.
    pub fn kind(&self) -> Kind {
        match self {
            Content::File(_) => Kind::File,
            Content::Directory(_) => Kind::Directory,
            Content::Symlink(_) => Kind::Symlink,
            Content::Fifo => Kind::Fifo,
            Content::Socket => Kind::Socket,
            Content::CharDevice(_) => Kind::CharDevice,
            Content::BlockDevice(_) => Kind::BlockDevice,
        }
    }
}

/// The content of a file: an ordered list of chunks, or the bytes themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Length of the content in bytes.
    pub size: u64,
    /// Where the bytes are.
    pub body: Body,
}

/// Where the bytes of an object are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Here: at most [`INLINE_BYTES_MAX`] of them.
    Inline(Vec<u8>),
    /// In chunks that one or up to [`ROWS_MAX`] rows list.
    Rows(Vec<Row>),
    /// In chunks listed by a tree of nodes with this root.
    Tree(NodeId),
}

/// The longest content that is kept in the entry itself.
pub const INLINE_BYTES_MAX: usize = 96;
/// The most rows that are kept in the entry itself.
pub const ROWS_MAX: usize = 4;

/// One chunk, or the same chunk several times in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The chunk.
    pub id: ChunkId,
    /// Its length in bytes, at least 1.
    pub len: u32,
    /// How many times it follows itself, at least 1.
    pub repeat: u32,
}

/// A directory beneath an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subtree {
    /// Its node.
    pub node: NodeId,
    /// What lies beneath it, the directory itself not counted.
    pub totals: Totals,
}

/// Sums over everything beneath a directory, however deep. What a hostile writer says here is not
/// to be believed: `check` counts again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Directories.
    pub directories: u64,
    /// Everything that is not a directory.
    pub files: u64,
    /// The lengths of all regular files added up (every name of a hard-linked file counts).
    pub bytes: u64,
    /// Entries with one of [`FLAGS_PROBLEM`].
    pub errors: u64,
}

impl Totals {
    /// Counts an entry and, if it is a directory, everything beneath it.
    pub fn add(&mut self, entry: &Entry) {
        let mut one = Totals::default();
        match &entry.content {
            Content::Directory(subtree) => {
                one = subtree.totals;
                one.directories = one.directories.saturating_add(1);
            }
            content => {
                one.files = 1;
                if let Content::File(object) = content {
                    one.bytes = object.size;
                }
            }
        }
        if entry.flags & FLAGS_PROBLEM != 0 {
            one.errors = one.errors.saturating_add(1);
        }
        self.directories = self.directories.saturating_add(one.directories);
        self.files = self.files.saturating_add(one.files);
        self.bytes = self.bytes.saturating_add(one.bytes);
        self.errors = self.errors.saturating_add(one.errors);
    }
}

/// Extended attributes of an entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Xattrs {
    /// None at all.
    #[default]
    None,
    /// Here, by name, sorted; at most [`XATTRS_INLINE_MAX`] bytes of names and values.
    Inline(Vec<(Vec<u8>, Vec<u8>)>),
    /// In a chunk that holds the same list encoded.
    Chunk {
        /// The chunk.
        id: ChunkId,
        /// Its length in bytes.
        len: u32,
    },
}

/// The most bytes of names and values of extended attributes that are kept in the entry itself.
pub const XATTRS_INLINE_MAX: usize = 1024;
