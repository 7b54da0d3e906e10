//! Nodes: the pages that directories and chunk lists are made of.
//!
//! ```text
//! node       "PN" | version u8 = 1 | form u8 | level u8 | count uv | items
//! form 1     directory: level 0 holds entries, higher levels links (first name bs, child 32, entries uv)
//! form 2     chunk list: level 0 holds rows, higher levels links (child 32, rows uv, bytes uv)
//!
//! entry      kind u8 | bits u8 | name bs | mode uv | uid uv | gid uv | user bs | group bs
//!            | mtime seconds i64 | nanoseconds u32 | [link group u64] | [xattrs] | content
//! bits       0..3 and 7 flags | 4 a link group follows | 5 xattrs follow here | 6 xattrs follow as a chunk
//! xattrs     here: count uv, (name bs, value bs)…   as a chunk: id 32, length uv
//! content    file: object   directory: node 32, directories uv, files uv, bytes uv, errors uv
//!            symlink: target bs   devices: major uv, minor uv   fifo, socket: nothing
//! object     size uv | up to 96 bytes: these | else rows u8: 1..4 and the rows, or 0 and the root node 32
//! row        chunk 32 | length uv | repeat uv
//! ```
//!
//! 1. A node's id is the keyed BLAKE3 hash of its bytes under the node key.
//! 2. Names rise strictly within a directory, over all its pages.
//! 3. The rows of an object add up to its size; two rows in succession differ in chunk or length unless the
//!    first has the highest repeat there is.
//! 4. Nothing that differs between equal trees stands in a node: no change time, no inode number.

use super::entry::*;
use crate::block::RAW_MAX;
use crate::codec::{Decoded, Malformed, Reader, Writer};
use crate::id::{ChunkId, NodeId};

/// The most items of a node.
pub const ITEMS_MAX: usize = 256;
/// The highest level of a node.
pub const LEVEL_MAX: u8 = 12;
/// The most bytes of a node.
pub const NODE_BYTES_MAX: usize = 4 << 20;
/// The longest chunk, in bytes.
pub const CHUNK_BYTES_MAX: usize = RAW_MAX;

/// What a node is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Form {
    /// A directory.
    Directory = 1,
    /// The list of chunks of a file.
    Chunks = 2,
}

/// A page of entries of a directory, or of links to such pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DirectoryPage {
    /// Level 0.
    Entries(Vec<Entry>),
    /// A higher level.
    Links(u8, Vec<DirectoryLink>),
}

/// Leads to a page of a directory one level below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryLink {
    /// The first name in it.
    pub first: Vec<u8>,
    /// The page.
    pub child: NodeId,
    /// How many entries lie beneath.
    pub entries: u64,
}

/// A page of a chunk list, or of links to such pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChunkPage {
    /// Level 0.
    Rows(Vec<Row>),
    /// A higher level.
    Links(u8, Vec<ChunkLink>),
}

/// Leads to a page of a chunk list one level below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkLink {
    /// The page.
    pub child: NodeId,
    /// How many rows lie beneath.
    pub rows: u64,
    /// How many bytes of the file they stand for.
    pub bytes: u64,
}

/// Something that stands in a page: an entry, a row, or a link to a page below.
pub trait Item {
    /// Appends its encoded form.
    fn encode(&self, out: &mut Vec<u8>);
    /// What decides whether a page ends after it.
    fn key(&self) -> &[u8];
}

/// Begins a node.
pub fn encode_head(form: Form, level: u8, count: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"PN");
    out.extend_from_slice(&[1, form as u8, level]);
    out.uv(count as u64);
}

fn decode_head(form: Form, r: &mut Reader) -> Decoded<(u8, usize)> {
    r.expect(b"PN", "not a node")?;
    r.expect(&[1], "node of an unknown version")?;
    r.expect(&[form as u8], "node of another form")?;
    let level = r.u8()?;
    let count = r.count(1)?;
    if level > LEVEL_MAX || count > ITEMS_MAX || (level > 0 && count == 0) {
        return Err(Malformed("absurd node"));
    }
    Ok((level, count))
}

impl DirectoryPage {
    /// The bytes of the node.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            DirectoryPage::Entries(entries) => {
                encode_head(Form::Directory, 0, entries.len(), &mut out);
                entries.iter().for_each(|e| e.encode(&mut out));
            }
            DirectoryPage::Links(level, links) => {
                encode_head(Form::Directory, *level, links.len(), &mut out);
                links.iter().for_each(|l| l.encode(&mut out));
            }
        }
        out
    }

    /// Reads the bytes of a node.
    pub fn decode(bytes: &[u8]) -> Decoded<DirectoryPage> {
        let mut r = Reader::new(bytes);
        let (level, count) = decode_head(Form::Directory, &mut r)?;
        let page = if level == 0 {
            let entries = (0..count).map(|_| Entry::decode(&mut r)).collect::<Decoded<Vec<_>>>()?;
            if !entries.is_sorted_by(|a, b| a.name < b.name) {
                return Err(Malformed("names out of order"));
            }
            DirectoryPage::Entries(entries)
        } else {
            let link = |r: &mut Reader| {
                Ok(DirectoryLink {
                    first: name(r.bs(NAME_BYTES_MAX)?)?,
                    child: NodeId(r.array()?),
                    entries: r.uv()?,
                })
            };
            let links = (0..count).map(|_| link(&mut r)).collect::<Decoded<Vec<_>>>()?;
            if !links.is_sorted_by(|a, b| a.first < b.first) {
                return Err(Malformed("names out of order"));
            }
            DirectoryPage::Links(level, links)
        };
        r.end()?;
        Ok(page)
    }
}

impl ChunkPage {
    /// The bytes of the node.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            ChunkPage::Rows(rows) => {
                encode_head(Form::Chunks, 0, rows.len(), &mut out);
                rows.iter().for_each(|r| r.encode(&mut out));
            }
            ChunkPage::Links(level, links) => {
                encode_head(Form::Chunks, *level, links.len(), &mut out);
                links.iter().for_each(|l| l.encode(&mut out));
            }
        }
        out
    }

    /// Reads the bytes of a node.
    pub fn decode(bytes: &[u8]) -> Decoded<ChunkPage> {
        let mut r = Reader::new(bytes);
        let (level, count) = decode_head(Form::Chunks, &mut r)?;
        if count == 0 {
            return Err(Malformed("a chunk list without chunks"));
        }
        let page = if level == 0 {
            ChunkPage::Rows(decode_rows(count, &mut r)?)
        } else {
            let link =
                |r: &mut Reader| Ok(ChunkLink { child: NodeId(r.array()?), rows: r.uv()?, bytes: r.uv()? });
            ChunkPage::Links(level, (0..count).map(|_| link(&mut r)).collect::<Decoded<Vec<_>>>()?)
        };
        r.end()?;
        Ok(page)
    }
}

impl Item for DirectoryLink {
    fn encode(&self, out: &mut Vec<u8>) {
        out.bs(&self.first);
        out.extend_from_slice(&self.child.0);
        out.uv(self.entries);
    }

    fn key(&self) -> &[u8] {
        &self.first
    }
}

impl Item for ChunkLink {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.child.0);
        out.uv(self.rows);
        out.uv(self.bytes);
    }

    fn key(&self) -> &[u8] {
        &self.child.0
    }
}

impl Row {
    fn decode(r: &mut Reader) -> Decoded<Row> {
        let row = Row { id: ChunkId(r.array()?), len: r.uv32()?, repeat: r.uv32()? };
        if row.len == 0 || row.len as usize > CHUNK_BYTES_MAX || row.repeat == 0 {
            return Err(Malformed("absurd row of a chunk list"));
        }
        Ok(row)
    }

    /// How many bytes of the file it stands for.
    pub fn bytes(&self) -> u64 {
        u64::from(self.len) * u64::from(self.repeat)
    }
}

fn decode_rows(count: usize, r: &mut Reader) -> Decoded<Vec<Row>> {
    let rows = (0..count).map(|_| Row::decode(r)).collect::<Decoded<Vec<_>>>()?;
    let apart = |a: &Row, b: &Row| (a.id, a.len) != (b.id, b.len) || a.repeat == u32::MAX;
    if rows.is_sorted_by(apart) { Ok(rows) } else { Err(Malformed("rows that should be one")) }
}

impl Item for Row {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id.0);
        out.uv(self.len.into());
        out.uv(self.repeat.into());
    }

    fn key(&self) -> &[u8] {
        &self.id.0
    }
}

/// The longest name of an entry in bytes.
pub const NAME_BYTES_MAX: usize = 255;
const TARGET_BYTES_MAX: usize = 4095;
const BIT_GROUP: u8 = 1 << 4;
const BIT_XATTRS_HERE: u8 = 1 << 5;
const BIT_XATTRS_CHUNK: u8 = 1 << 6;
// Every bit has a meaning: there is none to refuse.
const _: () = assert!(FLAGS_KNOWN | BIT_GROUP | BIT_XATTRS_HERE | BIT_XATTRS_CHUNK == u8::MAX);

/// Whether a symbolic link may point there.
pub fn is_target(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.len() <= TARGET_BYTES_MAX && !bytes.contains(&0)
}

/// Whether these bytes can name an entry.
pub fn is_name(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes.len() <= NAME_BYTES_MAX
        && bytes != b"."
        && bytes != b".."
        && !bytes.contains(&0)
        && !bytes.contains(&b'/')
}

fn name(bytes: &[u8]) -> Decoded<Vec<u8>> {
    if is_name(bytes) { Ok(bytes.to_vec()) } else { Err(Malformed("not the name of an entry")) }
}

impl Item for Entry {
    fn key(&self) -> &[u8] {
        &self.name
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let mut bits = self.flags & FLAGS_KNOWN;
        if self.link_group != 0 {
            bits |= BIT_GROUP;
        }
        match self.xattrs {
            Xattrs::None => {}
            Xattrs::Inline(_) => bits |= BIT_XATTRS_HERE,
            Xattrs::Chunk { .. } => bits |= BIT_XATTRS_CHUNK,
        }
        out.extend_from_slice(&[self.content.kind() as u8, bits]);
        out.bs(&self.name);
        out.uv(self.meta.mode.into());
        out.uv(self.meta.uid.into());
        out.uv(self.meta.gid.into());
        out.bs(&self.meta.user);
        out.bs(&self.meta.group);
        out.extend_from_slice(&self.meta.mtime.secs.to_le_bytes());
        out.extend_from_slice(&self.meta.mtime.nanos.to_le_bytes());
        if self.link_group != 0 {
            out.extend_from_slice(&self.link_group.to_le_bytes());
        }
        match &self.xattrs {
            Xattrs::None => {}
            Xattrs::Inline(list) => encode_xattrs(list, out),
            Xattrs::Chunk { id, len } => {
                out.extend_from_slice(&id.0);
                out.uv((*len).into());
            }
        }
        match &self.content {
            Content::File(object) => encode_object(object, out),
            Content::Directory(subtree) => {
                out.extend_from_slice(&subtree.node.0);
                let t = &subtree.totals;
                [t.directories, t.files, t.bytes, t.errors].iter().for_each(|n| out.uv(*n));
            }
            Content::Symlink(target) => out.bs(target),
            Content::CharDevice(device) | Content::BlockDevice(device) => {
                out.uv(device.major.into());
                out.uv(device.minor.into());
            }
            Content::Fifo | Content::Socket => {}
        }
    }
}

impl Entry {
    fn decode(r: &mut Reader) -> Decoded<Entry> {
        let (kind, bits) = (r.u8()?, r.u8()?);
        let name = name(r.bs(NAME_BYTES_MAX)?)?;
        let mode = r.uv()?;
        if mode > 0o7777 {
            return Err(Malformed("absurd mode"));
        }
        let meta = Meta {
            mode: mode as u16,
            uid: r.uv32()?,
            gid: r.uv32()?,
            user: r.bs(255)?.to_vec(),
            group: r.bs(255)?.to_vec(),
            mtime: Time { secs: r.i64()?, nanos: r.u32()? },
        };
        if meta.mtime.nanos > 999_999_999 {
            return Err(Malformed("absurd time"));
        }
        let link_group = if bits & BIT_GROUP != 0 { r.u64()? } else { 0 };
        if bits & BIT_GROUP != 0 && link_group == 0 {
            return Err(Malformed("link group 0"));
        }
        let xattrs = match (bits & BIT_XATTRS_HERE != 0, bits & BIT_XATTRS_CHUNK != 0) {
            (false, false) => Xattrs::None,
            (true, false) => Xattrs::Inline(read_xattrs(r, XATTRS_INLINE_MAX)?),
            (false, true) => Xattrs::Chunk { id: ChunkId(r.array()?), len: chunk_len(r.uv32()?)? },
            (true, true) => return Err(Malformed("extended attributes twice")),
        };
        let content = match kind {
            1 => Content::File(decode_object(r)?),
            2 => Content::Directory(Subtree {
                node: NodeId(r.array()?),
                totals: Totals { directories: r.uv()?, files: r.uv()?, bytes: r.uv()?, errors: r.uv()? },
            }),
            3 => {
                let target = r.bs(TARGET_BYTES_MAX)?.to_vec();
                if target.is_empty() || target.contains(&0) {
                    return Err(Malformed("absurd target of a symbolic link"));
                }
                Content::Symlink(target)
            }
            4 => Content::Fifo,
            5 => Content::Socket,
            6 => Content::CharDevice(Device { major: r.uv32()?, minor: r.uv32()? }),
            7 => Content::BlockDevice(Device { major: r.uv32()?, minor: r.uv32()? }),
            _ => return Err(Malformed("unknown kind of entry")),
        };
        Ok(Entry { name, meta, xattrs, link_group, flags: bits & FLAGS_KNOWN, content })
    }
}

fn chunk_len(len: u32) -> Decoded<u32> {
    if len == 0 || len as usize > CHUNK_BYTES_MAX {
        Err(Malformed("absurd length of a chunk"))
    } else {
        Ok(len)
    }
}

fn encode_object(object: &Object, out: &mut Vec<u8>) {
    out.uv(object.size);
    match &object.body {
        Body::Inline(bytes) => {
            assert!(bytes.len() <= INLINE_BYTES_MAX && bytes.len() as u64 == object.size);
            out.extend_from_slice(bytes);
        }
        Body::Rows(rows) => {
            assert!((1..=ROWS_MAX).contains(&rows.len()) && object.size > INLINE_BYTES_MAX as u64);
            out.push(rows.len() as u8);
            rows.iter().for_each(|row| row.encode(out));
        }
        Body::Tree(node) => {
            out.push(0);
            out.extend_from_slice(&node.0);
        }
    }
}

fn decode_object(r: &mut Reader) -> Decoded<Object> {
    let size = r.uv()?;
    if size <= INLINE_BYTES_MAX as u64 {
        return Ok(Object { size, body: Body::Inline(r.take(size as usize)?.to_vec()) });
    }
    let body = match r.u8()? {
        0 => Body::Tree(NodeId(r.array()?)),
        count if usize::from(count) <= ROWS_MAX => {
            let rows = decode_rows(count.into(), r)?;
            if rows.iter().try_fold(0u64, |sum, row| sum.checked_add(row.bytes())) != Some(size) {
                return Err(Malformed("rows do not add up to the size"));
            }
            Body::Rows(rows)
        }
        _ => return Err(Malformed("too many rows in an entry")),
    };
    Ok(Object { size, body })
}

/// Encodes extended attributes: as they stand in an entry, or as the chunk that holds them.
pub fn encode_xattrs(list: &[(Vec<u8>, Vec<u8>)], out: &mut Vec<u8>) {
    out.uv(list.len() as u64);
    for (name, value) in list {
        out.bs(name);
        out.bs(value);
    }
}

fn read_xattrs(r: &mut Reader, max: usize) -> Decoded<Vec<(Vec<u8>, Vec<u8>)>> {
    let count = r.count(3)?;
    // Grown while it is filled: in memory an attribute takes much more than the three bytes it has at least.
    let mut list: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut total = 0;
    for _ in 0..count {
        let (name, value) = (r.bs(255)?, r.bs(max)?);
        total += name.len() + value.len();
        let ordered = list.last().is_none_or(|(before, _)| before.as_slice() < name);
        if name.is_empty() || name.contains(&0) || !ordered || total > max {
            return Err(Malformed("absurd extended attributes"));
        }
        list.push((name.to_vec(), value.to_vec()));
    }
    if list.is_empty() { Err(Malformed("no extended attributes where there must be some")) } else { Ok(list) }
}

/// Reads what [`encode_xattrs`] wrote into a chunk.
pub fn decode_xattrs(bytes: &[u8]) -> Decoded<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut r = Reader::new(bytes);
    let list = read_xattrs(&mut r, CHUNK_BYTES_MAX)?;
    r.end()?;
    Ok(list)
}
