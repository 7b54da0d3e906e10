//! What an encrypted repository shows to whoever reads its store: nothing of what was pushed, no id, and no bytes twice.
//!
//! The scans know no format: they look for strings anywhere in any object but in its plain header. That the first one finds
//! what is there is proven with a repository that is not encrypted.

use plakar_engine::block::Compression;
use plakar_engine::cleanup::{CleanupObserver, CleanupOptions, Estimate, cleanup};
use plakar_engine::crypto::seal::{Context, Kind};
use plakar_engine::crypto::slot::{Cost, Slot};
use plakar_engine::id::WriterId;
use plakar_engine::index::segment::Author;
use plakar_store::{MemoryStore, Name, Store};
use plakar_testkit::collecting::reached;
use plakar_testkit::samples;
use plakar_testkit::source::{Node, Tree, What, noise};
use plakar_testkit::syncing::{copy_of, remove, synced};
use plakar_testkit::world::*;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

type Objects = BTreeMap<Name, Vec<u8>>;

struct Quiet;

impl CleanupObserver for Quiet {
    fn planned(&mut self, _: &Estimate) {}
    fn moved(&mut self, _: u64) {}
}

fn clean(store: &Arc<dyn Store>) {
    let repo = open(store.clone()).unwrap();
    let options = CleanupOptions {
        author: Author { replica: repo.base().replica().id, writer: WriterId([7; 16]) },
        now: 4_000_000_000,
        grace: 0,
        max_repack: u64::MAX,
        workers: 1,
        compression: Compression { level: 1, verify: true },
    };
    cleanup(repo, store, &options, &mut Quiet, &AtomicBool::new(false)).unwrap();
}

/// The part of an object that must look like noise.
fn sealed<'a>(name: &Name, bytes: &'a [u8]) -> Vec<&'a [u8]> {
    let (salt, from) = match name.as_str().split('/').next().unwrap() {
        "packs" => (24..48, 64),
        "index" => (24..48, 160),
        "log" | "admin" => (24..40, 136),
        "keyring" => (0..0, 8),
        // Commitment and wrapped key end it, before the checksum; the salt lies before them.
        "keys" => {
            let end = bytes.len() - 8 - 72;
            let salt = Slot::decode(bytes, "keys/").unwrap().salt;
            let at = bytes.windows(16).position(|window| window == salt).unwrap();
            return vec![&bytes[at..at + 16], &bytes[end - 3 - 32..end - 3], &bytes[end..end + 72]];
        }
        _ => return Vec::new(),
    };
    vec![&bytes[salt], &bytes[from..]]
}

/// Something to look for, and what it is.
type Needles = HashMap<[u8; NEEDLE], String>;
/// So many bytes do not occur by chance.
const NEEDLE: usize = 8;

fn add(needles: &mut Needles, what: &str, bytes: &[u8]) {
    for part in bytes.chunks_exact(NEEDLE) {
        needles.insert(part.try_into().unwrap(), what.to_owned());
    }
    if bytes.len() > NEEDLE {
        needles.insert(bytes[bytes.len() - NEEDLE..].try_into().unwrap(), what.to_owned());
    }
}

/// Contents, names, attributes, targets of a tree, and hashes of contents that need no key.
fn of_tree(needles: &mut Needles, tree: &Tree) {
    for (path, node) in &tree.0 {
        let last = path.last().expect("a path has a name");
        add(needles, "a name", last);
        for (name, value) in &node.xattrs {
            add(needles, "an attribute", name);
            add(needles, "the value of an attribute", value);
        }
        match &node.what {
            What::File(_) => {
                let bytes = node.bytes();
                if bytes.iter().any(|b| *b != 0) {
                    let (first, last) =
                        (&bytes[..bytes.len().min(1024)], &bytes[bytes.len() - bytes.len().min(64)..]);
                    add(needles, "content", first);
                    add(needles, "content", last);
                    add(needles, "a hash of content", blake3::hash(&bytes).as_bytes());
                }
            }
            What::Symlink(target) => add(needles, "a target", target),
            _ => {}
        }
    }
    // What is nothing but one byte again and again may stand in a header.
    needles.retain(|needle, _| needle.iter().any(|b| *b != needle[0]));
}

/// What of `needles` occurs, each kind once.
fn found(objects: &Objects, needles: &Needles) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for bytes in objects.values() {
        for window in bytes.windows(NEEDLE) {
            let window: &[u8; NEEDLE] = window.try_into().unwrap();
            if let Some(what) = needles.get(window) {
                found.insert(what.clone());
            }
        }
    }
    found
}

/// The longest bytes that occur twice among what must look like noise, if any.
fn repeated(objects: &Objects) -> Option<String> {
    const LEN: usize = 16;
    let mut seen = HashSet::new();
    for (name, bytes) in objects {
        for part in sealed(name, bytes) {
            for window in part.windows(LEN) {
                if !seen.insert(<[u8; LEN]>::try_from(window).unwrap()) {
                    return Some(format!("{name}: {}", plakar_engine::id::hex(window)));
                }
            }
        }
    }
    assert!(seen.len() > 20_000, "there is something to look at");
    None
}

/// Pushes, writers with one id and one clock, a sync, a removal, a cleanup that stores again. Returns what is there at each
/// step, and what must not be seen.
fn history(encrypted: bool) -> (Vec<Objects>, Needles) {
    let memory = MemoryStore::new();
    create(&memory, Making { encrypted, ..Making::default() }).unwrap();
    let store: Arc<dyn Store> = Arc::new(memory.clone());
    if encrypted {
        let base = open(store.clone()).unwrap().base().clone();
        base.add_key(&*store, "another", PASSPHRASE, Cost::TEST, 0).unwrap();
    }
    let other_memory = copy_of(&memory.snapshot());
    let other: Arc<dyn Store> = Arc::new(other_memory.clone());
    let (mut needles, mut steps) = (Needles::new(), Vec::new());
    let mut tree = Tree::of_everything(1);
    tree.put("a name that nobody shall read", Node::file(b"a text that compresses well. ".repeat(2_000)));
    let mut pushed = |tree: &Tree, to: &Arc<dyn Store>, steps: &mut Vec<Objects>| {
        of_tree(&mut needles, tree);
        let pushed = push(to, tree, &Pushing::default()).clean();
        for item in reached(&open(to.clone()).unwrap(), &pushed.row.root.node).unwrap() {
            add(&mut needles, "an id", &item.id);
        }
        add(&mut needles, "a UUID", &pushed.row.uuid);
        add(&mut needles, "a UUID as text", pushed.row.uuid_text().as_bytes());
        steps.push(memory.snapshot());
        pushed
    };
    let first = pushed(&tree, &store, &mut steps);
    tree.put("more", Node::file(noise(10, 30_000)));
    pushed(&tree, &store, &mut steps);
    // Twice the same by one clock and one writer, on both sides.
    tree.put("again", Node::file(noise(11, 30_000)));
    pushed(&tree, &other, &mut steps);
    tree.put("again and here", Node::file(noise(12, 30_000)));
    pushed(&tree, &store, &mut steps);
    synced(&other, &store);
    steps.push(memory.snapshot());
    remove(&store, &first.row.uuid_text());
    tree.remove("more");
    pushed(&tree, &store, &mut steps);
    clean(&store);
    steps.push(memory.snapshot());
    add(&mut needles, "the passphrase", PASSPHRASE);
    (steps, needles)
}

#[test]
fn an_encrypted_repository_shows_nothing_of_what_is_in_it() {
    let (steps, needles) = history(true);
    assert!(needles.len() > 2_000, "{}", needles.len());
    for objects in &steps {
        assert_eq!(found(objects, &needles), BTreeSet::new());
    }
    // The scan finds what is there.
    let (steps, needles) = history(false);
    let seen: BTreeSet<_> = steps.iter().flat_map(|objects| found(objects, &needles)).collect();
    for what in ["content", "a name", "an attribute", "an id", "a UUID"] {
        assert!(seen.contains(what), "{what}: {seen:?}");
    }
}

#[test]
fn an_encrypted_repository_holds_no_nonce_and_no_bytes_twice() {
    let (steps, _) = history(true);
    for objects in &steps {
        assert_eq!(repeated(objects), None);
    }
    // What was there at any time, together: nothing was drawn again later. What was moved unopened is the same in its new
    // pack, so the last step counts without the others.
    let all: Objects =
        steps[..steps.len() - 1].iter().flatten().map(|(n, b)| (n.clone(), b.clone())).collect();
    assert_eq!(repeated(&all), None);
    let (steps, _) = history(false);
    assert!(steps.iter().any(|objects| repeated(objects).is_some()), "the scan finds what is there");
}

#[test]
fn nonces_of_a_million_blocks_are_a_million_nonces() {
    const THREADS: usize = 4;
    const EACH: usize = 250_000;
    let sealer = samples::sealer();
    let one = || -> Vec<[u8; 24]> {
        let nonce = |_| {
            let sealed = sealer.seal(Kind::DataBlock, Context::default(), b"the same");
            sealed[..24].try_into().unwrap()
        };
        (0..EACH).map(nonce).collect()
    };
    let drawn: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(one)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(drawn.len(), THREADS * EACH);
    assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), drawn.len());
    // Halves of them neither: what is drawn is drawn whole.
    assert_eq!(drawn.iter().map(|n| &n[..12]).collect::<HashSet<_>>().len(), drawn.len());
    assert_eq!(drawn.iter().map(|n| &n[12..]).collect::<HashSet<_>>().len(), drawn.len());
}
