//! A tree in memory that can be pushed: every kind of entry, and every kind of trouble a file system makes.

use plakar_engine::Result;
use plakar_engine::source::{Bytes, Content, Event, Extras, Item, Source};
use plakar_engine::tree::{Device, Kind, Meta, Time};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// Small reproducible random numbers (splitmix64).
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is not zero.
    pub fn below(&mut self, n: u64) -> u64 {
        self.number() % n
    }

    /// So many bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut out: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| self.number().to_le_bytes()).collect();
        out.truncate(len);
        out
    }
}

/// The BLAKE3 hash of these bytes.
pub fn hash(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}

/// Bytes that a seed decides.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    Random(seed).bytes(len)
}

/// A piece of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// These bytes.
    Data(Vec<u8>),
    /// So many zeros, of which nothing is stored.
    Hole(u64),
}

impl Piece {
    fn len(&self) -> u64 {
        match self {
            Piece::Data(bytes) => bytes.len() as u64,
            Piece::Hole(len) => *len,
        }
    }
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A regular file.
    File(Vec<Piece>),
    /// A directory; what lies in it stands in the tree under longer paths.
    Directory,
    /// A symbolic link.
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

impl What {
    fn kind(&self) -> Kind {
        match self {
            What::File(_) => Kind::File,
            What::Directory => Kind::Directory,
            What::Symlink(_) => Kind::Symlink,
            What::Fifo => Kind::Fifo,
            What::Socket => Kind::Socket,
            What::CharDevice(_) => Kind::CharDevice,
            What::BlockDevice(_) => Kind::BlockDevice,
        }
    }
}

/// What goes wrong at an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing but its name can be learned.
    Unseen,
    /// Its extended attributes (and link target) cannot be read.
    NoExtras,
    /// It cannot be opened.
    NotOpened,
    /// It cannot be read beyond this many bytes.
    NotRead(u64),
    /// A directory whose listing ends early, after what stands in the tree.
    NotListed,
    /// Each reading up to this one finds it changed: its first byte grows by one.
    Changes(u8),
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Mode, owners, modification time.
    pub meta: Meta,
    /// Extended attributes, by name.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// What it is.
    pub what: What,
    /// The same non-zero number for all names of one file.
    pub same_file: u64,
    /// What goes wrong.
    pub trouble: Option<Trouble>,
}

impl Node {
    /// An ordinary entry.
    pub fn new(what: What) -> Node {
        let meta = Meta {
            mode: if what == What::Directory { 0o755 } else { 0o644 },
            uid: 1000,
            gid: 100,
            user: b"ann".to_vec(),
            group: b"users".to_vec(),
            mtime: Time { secs: 1_646_519_458, nanos: 7 },
        };
        Node { meta, xattrs: Vec::new(), what, same_file: 0, trouble: None }
    }

    /// A file of these bytes.
    pub fn file(bytes: impl Into<Vec<u8>>) -> Node {
        Node::new(What::File(vec![Piece::Data(bytes.into())]))
    }

    /// The same entry of another owner.
    pub fn owned_by(mut self, uid: u32) -> Node {
        self.meta.uid = uid;
        self
    }

    /// The same entry with this going wrong.
    pub fn with(mut self, trouble: Trouble) -> Node {
        self.trouble = Some(trouble);
        self
    }

    /// How long a file is; 0 for everything else.
    pub fn size(&self) -> u64 {
        match &self.what {
            What::File(pieces) => pieces.iter().map(Piece::len).sum(),
            _ => 0,
        }
    }

    /// Whether a file has holes.
    pub fn is_sparse(&self) -> bool {
        matches!(&self.what, What::File(pieces) if pieces.iter().any(|p| matches!(p, Piece::Hole(1..))))
    }

    /// All bytes of a file.
    pub fn bytes(&self) -> Vec<u8> {
        let What::File(pieces) = &self.what else { return Vec::new() };
        let mut out = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Data(bytes) => out.extend_from_slice(bytes),
                Piece::Hole(len) => out.resize(out.len() + *len as usize, 0),
            }
        }
        out
    }
}

/// A path: its components.
pub type Path = Vec<Vec<u8>>;

/// A path written with slashes.
pub fn path(text: &str) -> Path {
    text.split('/').filter(|part| !part.is_empty()).map(|part| part.as_bytes().to_vec()).collect()
}

/// A tree: what lies beneath the root that is pushed, by path. Paths order as trees are walked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree(pub BTreeMap<Path, Node>);

impl Tree {
    /// Puts an entry, and the directories on the way to it that are not there yet. What was there and cannot be any
    /// more gives way: a file on the way to it, and what lay beneath unless it is a directory too.
    pub fn put(&mut self, at: &str, node: Node) -> &mut Tree {
        if node.what != What::Directory {
            self.remove(at);
        }
        let at = path(at);
        for len in 1..at.len() {
            let on_the_way = self.0.entry(at[..len].to_vec()).or_insert_with(|| Node::new(What::Directory));
            if on_the_way.what != What::Directory {
                *on_the_way = Node::new(What::Directory);
            }
        }
        self.0.insert(at, node);
        self
    }

    /// Takes away an entry and everything beneath it.
    pub fn remove(&mut self, at: &str) -> &mut Tree {
        let at = path(at);
        self.0.retain(|path, _| !path.starts_with(&at));
        self
    }

    /// Renames an entry, with everything beneath it; what was there before is replaced. Nothing moves beneath itself.
    pub fn rename(&mut self, from: &str, to: &str) -> &mut Tree {
        let (from, to) = (path(from), path(to));
        if to.starts_with(&from) {
            return self;
        }
        let moved: Vec<_> = self.0.iter().filter(|(path, _)| path.starts_with(&from)).collect();
        let moved: Vec<_> = moved
            .into_iter()
            .map(|(path, node)| ([&to[..], &path[from.len()..]].concat(), node.clone()))
            .collect();
        self.0.retain(|path, _| !path.starts_with(&from) && !path.starts_with(&to));
        self.0.extend(moved);
        self
    }

    /// The entry at this path.
    pub fn at(&mut self, at: &str) -> &mut Node {
        self.0.get_mut(&path(at)).expect("an entry that was put")
    }

    /// An entry of every kind, with contents of every form: inline, in one and in several chunks, in a tree of
    /// chunks, with holes; attributes in the entry and in a chunk; hard links; names that are not UTF-8. Meant for
    /// chunks of about 1 KiB; `seed` decides the bytes.
    pub fn of_everything(seed: u64) -> Tree {
        let mut tree = Tree::default();
        let mut random = Random(seed);
        tree.put("a-inline", Node::file(random.bytes(70)));
        tree.put("b-one-chunk", Node::file(random.bytes(150)));
        tree.put("c-rows", Node::file(random.bytes(2_500)));
        tree.put("d-chunk-tree", Node::file(random.bytes(30_000)));
        tree.put("e-empty", Node::file(b""));
        let sparse = [
            Piece::Hole(30_000),
            Piece::Data(random.bytes(700)),
            Piece::Hole(100),
            Piece::Data(random.bytes(3)),
            Piece::Hole(20_001),
        ];
        tree.put("f-sparse", Node::new(What::File(sparse.to_vec())));
        tree.put("g/link", Node::new(What::Symlink(b"../a-inline".to_vec())));
        tree.put("g/fifo", Node::new(What::Fifo));
        tree.put("g/socket", Node::new(What::Socket));
        tree.put("g/char", Node::new(What::CharDevice(Device { major: 1, minor: 3 })));
        tree.put("g/block", Node::new(What::BlockDevice(Device { major: 8, minor: 300 })));
        let mut linked = Node::file(random.bytes(400));
        linked.same_file = 5;
        linked.meta.mode = 0o4755;
        tree.put("h/one-name", linked.clone());
        tree.put("another-name", linked);
        let mut attributes = Node::file(random.bytes(120));
        attributes.xattrs = vec![(b"user.a".to_vec(), Vec::new()), (b"user.b".to_vec(), random.bytes(20))];
        tree.put("i-attributes", attributes);
        let mut attributes = Node::new(What::Directory);
        attributes.xattrs = vec![(b"user.long".to_vec(), random.bytes(3_000))];
        tree.put("j-attributes", attributes);
        let mut attributes = Node::file(b"some");
        attributes.xattrs = vec![(b"user.longer".to_vec(), random.bytes(1_500))];
        tree.put("j-attributes/file", attributes);
        tree.put("k/l/m/n/o/p/deep", Node::file(random.bytes(200)));
        tree.put("q-empty-directory", Node::new(What::Directory));
        for n in 0..150 {
            tree.put(&format!("r-many/{n:03}"), Node::file(vec![n as u8; 5 + n % 90]));
        }
        let mut strange = Node::file(random.bytes(10));
        strange.meta.mtime = Time { secs: -5, nanos: 999_999_999 };
        tree.0.insert(vec![vec![0xff, b'\n', 0xc3]], strange);
        tree
    }

    /// A source that yields the tree beneath the root directory `/root`.
    pub fn source(&self, root: &str, reading: Reading) -> TreeSource {
        let nodes = self.0.iter().map(|(path, node)| (path.clone(), node.clone())).collect();
        TreeSource {
            root: root.as_bytes().to_vec(),
            nodes,
            next: 0,
            entered: Vec::new(),
            begun: false,
            done: false,
            current: None,
            reading,
        }
    }
}

/// How a source hands out what is in its files.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// Decides how many bytes each read returns.
    pub seed: u64,
    /// No read returns more.
    pub at_most: usize,
    /// Whether it knows of holes, or reads them as zeros.
    pub holes: bool,
}

impl Default for Reading {
    fn default() -> Reading {
        Reading { seed: 0, at_most: usize::MAX, holes: true }
    }
}

/// Yields a [`Tree`].
pub struct TreeSource {
    root: Vec<u8>,
    nodes: Vec<(Path, Node)>,
    next: usize,
    /// The directories that are entered: how many components, and which node.
    entered: Vec<(usize, Option<usize>)>,
    begun: bool,
    done: bool,
    current: Option<usize>,
    reading: Reading,
}

impl TreeSource {
    /// As what [`push`](plakar_engine::push::push) takes.
    pub fn boxed(self) -> Result<Box<dyn Source>> {
        Ok(Box::new(self))
    }

    fn item(&self, number: usize) -> Item {
        let (path, node) = &self.nodes[number];
        item(path.last().expect("the root is not among the nodes"), node)
    }
}

fn item(name: &[u8], node: &Node) -> Item {
    let mut hasher = blake3::Hasher::new();
    let Node { meta, xattrs, what, same_file, trouble } = node;
    hasher.update(format!("{meta:?} {xattrs:?} {same_file} {trouble:?}").as_bytes());
    match what {
        What::File(pieces) => pieces.iter().for_each(|piece| match piece {
            Piece::Data(bytes) => drop(hasher.update(bytes)),
            Piece::Hole(len) => drop(hasher.update(format!(" {len} zeros ").as_bytes())),
        }),
        what => drop(hasher.update(format!("{what:?}").as_bytes())),
    }
    let digest = hasher.finalize();
    Item {
        name: name.to_vec(),
        kind: node.what.kind(),
        meta: node.meta.clone(),
        size: node.size(),
        device: match node.what {
            What::CharDevice(device) | What::BlockDevice(device) => device,
            _ => Device::default(),
        },
        fingerprint: u64::from_le_bytes(digest.as_bytes()[..8].try_into().expect("8 of 32")) | 1,
        same_file: node.same_file,
        sparse: node.is_sparse(),
        ancestor: false,
    }
}

fn above(name: &[u8]) -> Event {
    let mut item = item(name, &Node::new(What::Directory));
    item.ancestor = name.is_empty();
    Event::Enter(item)
}

fn trouble() -> io::Error {
    io::Error::other("planned trouble")
}

impl Source for TreeSource {
    fn next(&mut self) -> Option<Event> {
        self.current = None;
        if !self.begun {
            self.begun = true;
            self.entered.push((0, None));
            return Some(above(b""));
        }
        if self.entered.len() == 1 && !self.done {
            self.done = true;
            self.entered.push((0, None));
            return Some(above(&self.root));
        }
        let (depth, entered) = *self.entered.last()?;
        let beneath = self.nodes.get(self.next).is_some_and(|(path, _)| {
            self.entered.len() > 1
                && match entered {
                    None => path.len() == 1,
                    Some(dir) => path.len() > depth && path.starts_with(&self.nodes[dir].0),
                }
        });
        if !beneath {
            self.entered.pop();
            let unreadable = entered
                .filter(|dir| self.nodes[*dir].1.trouble == Some(Trouble::NotListed))
                .map(|_| trouble());
            return Some(Event::Leave { unreadable });
        }
        let number = self.next;
        self.next += 1;
        let (path, node) = &self.nodes[number];
        if node.trouble == Some(Trouble::Unseen) {
            return Some(Event::Failed { name: path.last().cloned().unwrap_or_default(), error: trouble() });
        }
        let depth = path.len();
        let item = self.item(number);
        self.current = Some(number);
        if item.kind == Kind::Directory {
            self.entered.push((depth, Some(number)));
            return Some(Event::Enter(item));
        }
        Some(Event::Leaf(item))
    }

    fn path(&self) -> Vec<u8> {
        let inside = match (self.current, self.next) {
            (Some(number), _) => &self.nodes[number].0[..],
            (None, 1..) => &self.nodes[self.next - 1].0[..],
            _ => &[],
        };
        let mut out = [b"/", &self.root[..]].concat();
        inside.iter().for_each(|name| out.extend([b"/", &name[..]].concat()));
        out
    }

    fn extras(&mut self) -> io::Result<Extras> {
        let Some(number) = self.current else { return Ok(Extras::default()) };
        let node = &self.nodes[number].1;
        if node.trouble == Some(Trouble::NoExtras) {
            return Err(trouble());
        }
        let target = match &node.what {
            What::Symlink(target) => target.clone(),
            _ => Vec::new(),
        };
        Ok(Extras { xattrs: node.xattrs.clone(), target })
    }

    fn open(&mut self) -> io::Result<Box<dyn Content + '_>> {
        let number = self.current.expect("the last event was a leaf");
        let (path, node) = &self.nodes[number];
        if node.trouble == Some(Trouble::NotOpened) {
            return Err(trouble());
        }
        let What::File(pieces) = &node.what else { panic!("only files are opened") };
        Ok(Box::new(FileContent {
            item: item(path.last().expect("a leaf has a name"), node),
            pieces: Arc::new(pieces.clone()),
            trouble: node.trouble.clone(),
            piece: 0,
            inside: 0,
            position: 0,
            readings: 0,
            random: Random(self.reading.seed ^ number as u64),
            reading: self.reading,
        }))
    }
}

struct FileContent {
    item: Item,
    pieces: Arc<Vec<Piece>>,
    trouble: Option<Trouble>,
    piece: usize,
    /// How far into that piece, and into the file.
    inside: u64,
    position: u64,
    readings: u8,
    random: Random,
    reading: Reading,
}

impl Bytes for FileContent {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.pieces.get(self.piece).is_some_and(|piece| piece.len() == self.inside) {
            (self.piece, self.inside) = (self.piece + 1, 0);
        }
        let Some(piece) = self.pieces.get(self.piece) else { return Ok(0) };
        let mut n = (piece.len() - self.inside).min(buf.len() as u64) as usize;
        n = n.min(self.reading.at_most);
        if self.reading.seed != 0 {
            n = 1 + self.random.below(n as u64) as usize;
        }
        if let Some(Trouble::NotRead(from)) = self.trouble {
            if self.position >= from {
                return Err(trouble());
            }
            n = n.min((from - self.position) as usize);
        }
        match piece {
            Piece::Data(bytes) => buf[..n].copy_from_slice(&bytes[self.inside as usize..][..n]),
            Piece::Hole(_) => buf[..n].fill(0),
        }
        if let Some(Trouble::Changes(times)) = self.trouble
            && self.position == 0
        {
            buf[0] = buf[0].wrapping_add(self.readings.min(times));
        }
        self.inside += n as u64;
        self.position += n as u64;
        Ok(n)
    }

    fn skip_hole(&mut self, min: u64) -> io::Result<u64> {
        let Some(Piece::Hole(len)) = self.pieces.get(self.piece) else { return Ok(0) };
        let left = len - self.inside;
        if !self.reading.holes || left < min.max(1) {
            return Ok(0);
        }
        self.inside = *len;
        self.position += left;
        Ok(left)
    }
}

impl Content for FileContent {
    fn rewind(&mut self) -> io::Result<()> {
        (self.piece, self.inside, self.position) = (0, 0, 0);
        Ok(())
    }

    fn settled(&mut self) -> io::Result<Option<Item>> {
        self.readings = self.readings.saturating_add(1);
        let changed = matches!(self.trouble, Some(Trouble::Changes(times)) if self.readings <= times);
        Ok(if changed { None } else { Some(self.item.clone()) })
    }

    fn item(&mut self) -> io::Result<Item> {
        Ok(self.item.clone())
    }
}
