//! Large trees with long histories, made without capturing anything: what did not change is not even looked at.

use plakar_engine::block::Compression;
use plakar_engine::id::{SessionId, WriterId};
use plakar_engine::index::segment::Author;
use plakar_engine::log::fact::{Path, Row};
use plakar_engine::repository::Repository;
use plakar_engine::tree::pages::PagesWriter;
use plakar_engine::tree::{
    Body, Content, Entry, INLINE_BYTES_MAX, Meta, Object, Row as ChunkRow, Subtree, Time, Totals, Xattrs,
};
use plakar_engine::write::{Ended, Owner, Session, SessionOptions};
use plakar_store::Store;
use plakar_testkit::source::noise;
use plakar_testkit::world::open;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// How large a tree is.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// How many directories each directory has, from the root downwards.
    pub fan: [usize; 8],
    /// How many files are in each of the deepest.
    pub files: usize,
}

impl Shape {
    /// How many directories are that deep: one at depth 0.
    fn directories(&self, depth: usize) -> usize {
        self.fan[..depth].iter().product()
    }

    /// All files.
    pub fn all_files(&self) -> usize {
        self.directories(8) * self.files
    }
}

/// A repository with a history of a tree.
pub struct Large {
    shape: Shape,
    store: Arc<dyn Store>,
    repo: Option<Repository>,
    /// The last publication.
    last: Option<SessionId>,
    snapshots: u64,
    /// In which snapshot a file was changed last.
    changed: HashMap<usize, u64>,
    /// The directories of each depth, as they were written last.
    nodes: Vec<Vec<Subtree>>,
}

impl Large {
    /// No snapshot yet.
    pub fn new(store: Arc<dyn Store>, shape: Shape) -> Large {
        let repo = open(store.clone()).expect("an empty repository");
        let nodes = vec![Vec::new(); 9];
        Large { shape, store, repo: Some(repo), last: None, snapshots: 0, changed: HashMap::new(), nodes }
    }

    /// One more snapshot, in which so many files scattered over the tree have changed; of the first, all. Returns how
    /// many bytes of packs it took.
    pub fn snapshot(&mut self, changes: usize) -> u64 {
        self.snapshots += 1;
        let repo = self.repo.take().expect("it is given back");
        let author = Author { replica: repo.base().replica().id, writer: WriterId([1; 16]) };
        let now = 1_600_000_000 + 60 * self.snapshots as i64;
        let compression = Compression { level: 1, verify: false };
        let options = SessionOptions { author, compression, workers: 1, now, may_admin: true };
        let bases: Vec<_> = self.last.into_iter().collect();
        let (mut session, held) =
            Session::begin(repo, self.store.clone(), options, &bases, &[]).expect("a healthy store");
        assert_eq!(held, bases);
        let (before, dirty) = (self.packs(), self.change(changes));
        let root = self.write(0, 0, dirty.as_ref(), &mut session);
        self.last = Some(session.id());
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&blake3::hash(&self.snapshots.to_le_bytes()).as_bytes()[..16]);
        let row = Row {
            uuid,
            root,
            created: Time { secs: now, nanos: 0 },
            took_ms: 0,
            host: "host".into(),
            user: "user".into(),
            command: "push".into(),
            roots: vec![Path(b"/".to_vec())],
            tags: Vec::new(),
            parents: Vec::new(),
            tool: "test".into(),
            origin: None,
        };
        let (ended, repo) = session.publish(Some(row)).expect("a healthy store");
        assert_eq!(ended, Ended::Published);
        self.repo = Some(repo);
        self.packs() - before
    }

    /// How many bytes all packs have.
    fn packs(&self) -> u64 {
        let mut bytes = 0;
        let listed = self.store.list("packs/", &mut |pack| {
            bytes += pack.len;
            Ok(())
        });
        listed.expect("a healthy store");
        bytes
    }

    /// Changes files. Returns the directories above them by depth and number; `None` = all there are.
    fn change(&mut self, changes: usize) -> Option<HashSet<(usize, usize)>> {
        if self.snapshots == 1 {
            return None;
        }
        let mut dirty = HashSet::new();
        for n in 0..changes as u64 {
            let random = noise(self.snapshots << 32 | n, 8);
            let random = u64::from_le_bytes(random.try_into().expect("eight bytes"));
            let file = (random % self.shape.all_files() as u64) as usize;
            self.changed.insert(file, self.snapshots);
            let mut directory = file / self.shape.files;
            for depth in (0..=8usize).rev() {
                dirty.insert((depth, directory));
                directory /= depth.checked_sub(1).map_or(1, |above| self.shape.fan[above]);
            }
        }
        Some(dirty)
    }

    /// Writes a directory and all that is beneath it, as far as it changed.
    fn write(
        &mut self,
        depth: usize,
        number: usize,
        dirty: Option<&HashSet<(usize, usize)>>,
        session: &mut Session,
    ) -> Subtree {
        if dirty.is_some_and(|dirty| !dirty.contains(&(depth, number))) {
            return self.nodes[depth][number];
        }
        let keys = session.keys();
        let (mut pages, mut totals) = (PagesWriter::default(), Totals::default());
        let count = self.shape.fan.get(depth).copied().unwrap_or(self.shape.files);
        for at in 0..count {
            let child = number * count + at;
            let entry = match depth {
                8 => self.file(child, at, session),
                _ => {
                    let subtree = self.write(depth + 1, child, dirty, session);
                    entry(format!("directory-{at}"), 0o755, 0, Content::Directory(subtree))
                }
            };
            totals.add(&entry);
            pages.push(&entry, &keys, session).expect("a healthy store");
        }
        let node = pages.finish(&keys, session).expect("a healthy store");
        let subtree = Subtree { node, totals };
        let nodes = &mut self.nodes[depth];
        match dirty {
            None => nodes.push(subtree),
            Some(_) => nodes[number] = subtree,
        }
        subtree
    }

    /// Every fourth file has a chunk, the others are in their entries.
    fn file(&self, file: usize, at: usize, session: &mut Session) -> Entry {
        let version = self.changed.get(&file).copied().unwrap_or(0);
        let seed = version << 32 | file as u64;
        let body = match file % 4 {
            0 => {
                let bytes = noise(seed, INLINE_BYTES_MAX + 1 + file % 400);
                let id = session.put_chunk(Owner::SELF, &bytes).expect("a healthy store");
                (bytes.len(), Body::Rows(vec![ChunkRow { id, len: bytes.len() as u32, repeat: 1 }]))
            }
            _ => (40, Body::Inline(noise(seed, 40))),
        };
        let object = Object { size: body.0 as u64, body: body.1 };
        entry(format!("file-{at:03}"), 0o644, version, Content::File(object))
    }
}

fn entry(name: String, mode: u16, version: u64, content: Content) -> Entry {
    let mtime = Time { secs: 1_500_000_000 + version as i64, nanos: 0 };
    let (user, group) = (b"user".to_vec(), b"users".to_vec());
    Entry {
        name: name.into_bytes(),
        meta: Meta { mode, uid: 1000, gid: 100, user, group, mtime },
        xattrs: Xattrs::None,
        link_group: 0,
        flags: 0,
        content,
    }
}
