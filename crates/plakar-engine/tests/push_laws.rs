//! What holds of every push, whatever the tree and whatever the repository holds already: a tree has one root,
//! comes back as it was, costs what is new of it, and what could not be captured is recorded and told.

use plakar_engine::Error;
use plakar_engine::block::ItemKind;
use plakar_engine::crypto::seal::Sealer;
use plakar_engine::id::{ChunkId, ObjectHash, SessionId};
use plakar_engine::pack::read_directory;
use plakar_engine::push::Pushed;
use plakar_engine::read::Reader;
use plakar_engine::repository::Repository;
use plakar_engine::tree::{
    Body, Chunks, Content, Entry, FLAG_BARE, FLAG_CHANGED, FLAG_UNREADABLE, FLAGS_PROBLEM, NodeId, Object,
    find_path,
};
use plakar_store::{MemoryStore, Store};
use plakar_testkit::source::{Node, Piece, Random, Reading, Tree, Trouble, What, noise, path};
use plakar_testkit::world::*;
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A folder for hints that goes away in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        Folder(std::env::temp_dir().join(format!("plakar-laws-{}", SessionId::random())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // None was made when nothing was pushed with hints.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Copies of one empty repository: all of one domain, so that roots can be compared.
struct Empty(MemoryStore);

impl Empty {
    fn new(encrypted: bool) -> Empty {
        let store = MemoryStore::new();
        create(&store, Making { encrypted, ..Making::default() }).unwrap();
        Empty(store)
    }

    fn copy(&self) -> Arc<dyn Store> {
        Arc::new(MemoryStore::from_snapshot(self.0.snapshot()))
    }

    /// The root of a tree that is pushed into nothing.
    fn root(&self, tree: &Tree) -> NodeId {
        root(&push(&self.copy(), tree, &Pushing::default()).clean())
    }
}

fn root(pushed: &Pushed) -> NodeId {
    pushed.row.root.node
}

fn comes_back(repo: &Repository, root: &NodeId, tree: &Tree) {
    let restored = restore(repo, root);
    assert!(restored.problems.is_empty(), "{:?}", restored.problems);
    let expected = expected(tree);
    for (path, seen) in &expected {
        assert_eq!(restored.entries.get(path), Some(seen), "{path:?}");
    }
    assert_eq!(restored.entries.len(), expected.len());
}

/// The entry at this path in a snapshot.
fn entry(repo: &Repository, pushed: &Pushed, path: &str) -> Entry {
    let path = format!("{ROOT}/{path}");
    find_path(&Reader::new(repo, 1 << 20), &pushed.row.root, path.as_bytes()).unwrap().expect(&path)
}

fn object(repo: &Repository, pushed: &Pushed, path: &str) -> Object {
    match entry(repo, pushed, path).content {
        Content::File(object) => object,
        other => panic!("{path}: {other:?}"),
    }
}

/// Changes a few things, as people do. What changes gets a new modification time.
fn edit(tree: &Tree, random: &mut Random) -> Tree {
    let mut tree = tree.clone();
    for _ in 0..1 + random.below(12) {
        let paths: Vec<_> = tree.0.keys().cloned().collect();
        if paths.is_empty() {
            break;
        }
        let at = paths[random.below(paths.len() as u64) as usize].clone();
        let text: Vec<_> = at.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        let text = text.join("/");
        let fresh = format!("new-{}", random.below(50));
        match random.below(8) {
            0 => _ = tree.remove(&text),
            1 => _ = tree.rename(&text, &fresh),
            2 => {
                let len = random.below(3_000) as usize;
                tree.put(&fresh, Node::file(random.bytes(len)));
            }
            3 => tree.0.get_mut(&at).unwrap().meta.mode ^= 0o20,
            _ => {
                let node = tree.0.get_mut(&at).unwrap();
                if let What::File(pieces) = &mut node.what {
                    let filled = pieces.iter().flat_map(|piece| match piece {
                        Piece::Data(bytes) => bytes.clone(),
                        Piece::Hole(len) => vec![0; *len as usize],
                    });
                    let mut bytes: Vec<u8> = filled.collect();
                    let from = random.below(bytes.len() as u64 + 1) as usize;
                    match random.below(4) {
                        0 => bytes.truncate(from),
                        1 => drop(bytes.splice(from..from, noise(random.number(), 37))),
                        2 => bytes.extend(noise(random.number(), 1_200)),
                        _ => bytes.iter_mut().skip(from).take(3).for_each(|b| *b = b.wrapping_add(1)),
                    }
                    *pieces = vec![Piece::Data(bytes)];
                    node.meta.mtime.nanos = random.below(999_999_999) as u32;
                    // A name that was changed is a file of its own from now on.
                    node.same_file = 0;
                }
            }
        }
    }
    tree
}

/// A tree is pushed after other trees: nothing, an older state of it, something unrelated, itself; with what the
/// walk saw then at hand, without it, or trusting times. The root does not tell.
#[test]
fn a_tree_has_one_root_whatever_it_is_compared_with() {
    for (encrypted, seed) in [(true, 1), (true, 2), (true, 3), (false, 4), (false, 5), (false, 6)] {
        println!("encrypted {encrypted}, seed {seed}");
        let empty = Empty::new(encrypted);
        let mut random = Random(seed);
        let older = Tree::of_everything(seed);
        let tree = edit(&edit(&older, &mut random), &mut random);
        let mut unrelated = Tree::of_everything(seed + 100);
        unrelated.0.values_mut().for_each(|node| node.meta.mtime.secs += 1);
        let alone = empty.root(&tree);
        let histories: [&[&Tree]; 6] = [
            &[&older],
            &[&unrelated],
            &[&tree],
            &[&older, &unrelated],
            &[&unrelated, &older],
            &[&tree, &older],
        ];
        for (number, history) in histories.iter().enumerate() {
            for (hinted, trust_mtime) in [(false, false), (true, false), (false, true)] {
                let folder = Folder::new();
                let store = empty.copy();
                let hints = hinted.then(|| folder.0.clone());
                let mut pushing = Pushing { hints, trust_mtime, ..Pushing::default() };
                for before in history.iter() {
                    push(&store, before, &pushing).clean();
                    pushing.now += 1;
                }
                let pushed = push(&store, &tree, &pushing).clean();
                assert_eq!(root(&pushed), alone, "history {number}, hints {hinted}, times {trust_mtime}");
                assert_eq!(pushed.row.parents.len(), 1);
                if number == 2 {
                    assert_eq!(pushed.progress.bytes_new, 0);
                    assert_eq!(hinted || trust_mtime, pushed.progress.files_read == 0);
                }
                if !trust_mtime {
                    comes_back(&healthy(store), &alone, &tree);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Any few edits, any order of snapshots.
    #[test]
    fn a_chain_of_edits_ends_at_the_root_of_its_last_tree(
        seed in any::<u64>(),
        encrypted in any::<bool>(),
        hinted in any::<bool>(),
        length in 1..5usize,
    ) {
        let empty = Empty::new(encrypted);
        let store = empty.copy();
        let folder = Folder::new();
        let hints = hinted.then(|| folder.0.clone());
        let mut pushing = Pushing { hints, ..Pushing::default() };
        let mut random = Random(seed);
        let mut tree = Tree::of_everything(seed);
        for _ in 0..length {
            pushing.reading.seed = random.number();
            let pushed = push(&store, &tree, &pushing).clean();
            prop_assert_eq!(root(&pushed), empty.root(&tree));
            comes_back(&open(store.clone()).unwrap(), &root(&pushed), &tree);
            pushing.now += 1;
            tree = edit(&tree, &mut random);
        }
        healthy(store);
    }

    /// Data and holes of any length, read in any portions, with the holes seen or not.
    #[test]
    fn an_object_does_not_show_how_it_was_read(
        pieces in prop::collection::vec((any::<bool>(), 0..15_000u64), 0..6),
        seeds in prop::collection::vec((any::<u64>(), 1..20_000usize, any::<bool>()), 3),
        encrypted in any::<bool>(),
    ) {
        let piece = |(n, (hole, len)): (usize, &(bool, u64))| match hole {
            true => Piece::Hole(*len),
            false => Piece::Data(noise(n as u64, *len as usize)),
        };
        let pieces: Vec<_> = pieces.iter().enumerate().map(piece).collect();
        let mut tree = Tree::default();
        tree.put("file", Node::new(What::File(pieces)));
        let mut plain = Tree::default();
        plain.put("file", Node::file(tree.at("file").bytes()));
        let empty = Empty::new(encrypted);
        let store = empty.copy();
        let pushed = push(&store, &plain, &Pushing::default()).clean();
        let wanted = object(&open(store).unwrap(), &pushed, "file");
        for (seed, at_most, holes) in seeds {
            let store = empty.copy();
            let reading = Reading { seed, at_most, holes };
            let pushed = push(&store, &tree, &Pushing { reading, ..Pushing::default() }).clean();
            let repo = open(store).unwrap();
            prop_assert_eq!(&object(&repo, &pushed, "file"), &wanted);
            comes_back(&repo, &root(&pushed), &tree);
        }
    }
}

/// The first byte of a chunk is changed: whether the chunk before it still ends there is for the chunker to say, not
/// for the chunk list of the last snapshot.
#[test]
fn an_old_chunk_list_never_moves_a_cut() {
    for encrypted in [true, false] {
        let empty = Empty::new(encrypted);
        let store = empty.copy();
        let mut tree = Tree::default();
        tree.put("file", Node::file(noise(7, 60_000)));
        let pushed = push(&store, &tree, &Pushing::default()).clean();
        let repo = open(store.clone()).unwrap();
        let reader = Reader::new(&repo, 1 << 20);
        let object = object(&repo, &pushed, "file");
        let mut chunks = Chunks::open(&reader, &object).unwrap();
        let (mut starts, mut at) = (Vec::new(), 0);
        while let Some(row) = chunks.next_row().unwrap() {
            starts.push(at);
            at += row.len as usize;
        }
        assert!(starts.len() > 30);
        let mut now = Pushing::default().now;
        for start in starts {
            let mut changed = tree.clone();
            let mut bytes = tree.at("file").bytes();
            bytes[start] ^= 0x55;
            changed.put("file", Node::file(bytes));
            now += 1;
            push(&store, &tree, &Pushing { now, ..Pushing::default() }).clean();
            now += 1;
            let pushed = push(&store, &changed, &Pushing { now, ..Pushing::default() }).clean();
            assert_eq!(root(&pushed), empty.root(&changed), "encrypted {encrypted}, at {start}");
        }
    }
}

/// A push is stopped at some moment, once or several times, and goes on later, with hints or without: the root is that
/// of a push that was never stopped, and everything stored before it is used.
#[test]
fn a_resumed_push_has_the_root_of_one_that_was_not_interrupted() {
    for (encrypted, hinted) in [(true, false), (true, true), (false, true)] {
        let empty = Empty::new(encrypted);
        let tree = Tree::of_everything(11);
        let whole = push(&empty.copy(), &tree, &Pushing::default());
        let (calls, alone) = (whole.calls, root(&whole.clean()));
        let mut random = Random(12);
        for round in 0..25 {
            let folder = Folder::new();
            let hints = hinted.then(|| folder.0.clone());
            let store = empty.copy();
            let mut stops = 0;
            for _ in 0..=round % 3 {
                let at = 1 + random.below(calls);
                let interrupted = AtomicBool::new(false);
                let outcome = push(
                    &store,
                    &tree,
                    &Pushing {
                        hints: hints.clone(),
                        interrupt_at: Some(at),
                        interrupted: Some(&interrupted),
                        checkpoints: if round % 2 == 0 { EVERY_ITEM } else { Default::default() },
                        ..Pushing::default()
                    },
                );
                match outcome.result {
                    Err(Error::Interrupted) => stops += 1,
                    Ok(pushed) => assert_eq!(root(&pushed), alone),
                    Err(e) => panic!("round {round}: {e}"),
                }
            }
            assert!(stops > 0 || round % 3 < 2);
            let outcome = push(&store, &tree, &Pushing { hints, now: 1_700_000_000, ..Pushing::default() });
            assert_eq!(root(&outcome.clean()), alone, "round {round}");
            comes_back(&healthy(store), &alone, &tree);
        }
    }
}

/// A file that changes while it is read is read again; one that never settles is kept as it was read last, and said to
/// be so. The next push reads it again, whatever the hints say.
#[test]
fn a_file_that_changes_while_it_is_read_is_read_again_and_then_flagged() {
    for changes in 1..6u8 {
        let mut tree = Tree::default();
        for (name, len) in [("short", 20), ("long", 9_000)] {
            tree.put(name, Node::file(noise(1, len)).with(Trouble::Changes(changes)));
        }
        let store = Empty::new(true).copy();
        let folder = Folder::new();
        let mut pushing = Pushing { hints: Some(folder.0.clone()), ..Pushing::default() };
        let outcome = push(&store, &tree, &pushing);
        let pushed = outcome.result.unwrap();
        let flagged = changes >= 3;
        let told: Vec<_> = outcome.problems.iter().map(|(path, _)| String::from_utf8_lossy(path)).collect();
        let expected_told: &[&str] = if flagged { &["/root/long", "/root/short"] } else { &[] };
        assert_eq!(told, expected_told);
        assert_eq!(pushed.row.root.totals.errors, expected_told.len() as u64);
        let repo = healthy(store.clone());
        let restored = restore(&repo, &root(&pushed));
        for name in ["short", "long"] {
            assert_eq!(entry(&repo, &pushed, name).flags, if flagged { FLAG_CHANGED } else { 0 });
            let mut last = tree.at(name).bytes();
            last[0] = last[0].wrapping_add(changes.min(2));
            let seen = &restored.entries[&path(name)];
            let mut settled = Tree::default();
            settled.put(name, Node::file(last));
            let wanted = expected(&settled)[&path(name)].content;
            assert_eq!(seen.content, wanted, "{name} after {changes} changes");
        }
        pushing.now += 1;
        let again = push(&store, &tree, &pushing).result.unwrap();
        assert_eq!(again.progress.files_read, if flagged { 2 } else { 0 });
    }
}

/// Parts of a tree cannot be read: each is told to the observer by its path, stands flagged in the snapshot and is
/// counted; everything else is captured; and once it can be read it is, although nothing else changed.
#[test]
fn what_cannot_be_read_is_told_recorded_and_counted_and_the_rest_captured() {
    let mut whole = Tree::of_everything(21);
    whole.put("z/in/side", Node::file(noise(3, 5_000)));
    let troubles = [
        ("b-one-chunk", Trouble::NotOpened),
        ("d-chunk-tree", Trouble::NotRead(11_000)),
        ("g/fifo", Trouble::Unseen),
        ("g/link", Trouble::NoExtras),
        ("i-attributes", Trouble::NoExtras),
        ("k/l", Trouble::NotListed),
        ("j-attributes", Trouble::NoExtras),
    ];
    let mut tree = whole.clone();
    for (at, trouble) in &troubles {
        tree.at(at).trouble = Some(trouble.clone());
    }
    let empty = Empty::new(true);
    let store = empty.copy();
    let folder = Folder::new();
    let mut pushing = Pushing { hints: Some(folder.0.clone()), ..Pushing::default() };
    let outcome = push(&store, &tree, &pushing);
    let pushed = outcome.result.unwrap();
    let mut told: Vec<_> =
        outcome.problems.iter().map(|(path, _)| String::from_utf8(path.clone()).unwrap()).collect();
    told.sort();
    let mut wanted: Vec<_> = troubles.iter().map(|(at, _)| format!("/{ROOT}/{at}")).collect();
    wanted.sort();
    // The listing of `k/l` ends after everything in it, so the last thing seen is what is named.
    let listed = wanted.iter().position(|at| at.ends_with("/k/l")).unwrap();
    assert!(told[listed].starts_with(&wanted[listed]), "{told:?}");
    (told[listed], wanted[listed]) = Default::default();
    assert_eq!(told, wanted);
    let repo = healthy(store.clone());
    assert_eq!(pushed.row.root.totals.errors, troubles.len() as u64);
    for (at, trouble) in &troubles {
        // A file without its attributes is still a file; a link without its target is nothing.
        let flags = match trouble {
            Trouble::NoExtras if *at == "g/link" => FLAG_BARE | FLAG_UNREADABLE,
            Trouble::NoExtras => FLAG_BARE,
            _ => FLAG_UNREADABLE,
        };
        assert_eq!(entry(&repo, &pushed, at).flags & FLAGS_PROBLEM, flags, "{at}");
    }
    let restored = restore(&repo, &root(&pushed));
    assert!(restored.problems.is_empty());
    let expected = expected(&whole);
    assert_eq!(restored.entries.len(), expected.len());
    for (at, seen) in &expected {
        if !troubles.iter().any(|(trouble, _)| path(trouble) == *at) {
            assert_eq!(restored.entries.get(at), Some(seen), "{at:?}");
        }
    }
    // The trouble is over. Fingerprints tell of it for some, flags for the others.
    pushing.now += 1;
    let after = push(&store, &whole, &pushing).clean();
    assert_eq!((root(&after), after.row.root.totals.errors), (empty.root(&whole), 0));
}

/// A file system hands out what no file system should. It costs what is wrong with the entry, not its directory.
#[test]
fn absurd_times_modes_and_targets_do_not_make_a_directory_unreadable() {
    let mut tree = Tree::default();
    let mut absurd = Node::file(noise(1, 200));
    absurd.meta.mode = u16::MAX;
    absurd.meta.mtime.nanos = u32::MAX;
    absurd.meta.user = vec![b'u'; 1_000];
    tree.put("directory/absurd", absurd.clone());
    tree.put("directory/healthy", Node::file(noise(2, 200)));
    absurd.what = What::Directory;
    tree.put("absurd", absurd);
    for (name, target) in [("empty", vec![]), ("long", vec![b'x'; 4_096]), ("with-nul", vec![b'x', 0])] {
        tree.put(&format!("links/{name}"), Node::new(What::Symlink(target)));
    }
    let store = Empty::new(true).copy();
    let outcome = push(&store, &tree, &Pushing::default());
    assert_eq!(outcome.problems.len(), 3, "{:?}", outcome.problems);
    let pushed = outcome.result.unwrap();
    assert_eq!(pushed.row.root.totals.errors, 3);
    let restored = restore(&healthy(store), &root(&pushed));
    assert!(restored.problems.is_empty());
    assert_eq!(restored.entries.len(), tree.0.len());
    let (healthy, absurd) = (path("directory/healthy"), path("directory/absurd"));
    assert_eq!(restored.entries[&healthy], expected(&tree)[&healthy]);
    assert_eq!(restored.entries[&absurd].content, expected(&tree)[&absurd].content);
}

/// Files of many owners lie next to each other in the tree: no block holds chunks of two of them (root and whoever
/// pushes count as one), although only eight blocks are open at a time.
#[test]
fn files_of_two_owners_never_share_a_block() {
    let mut tree = Tree::default();
    for n in 0..400u32 {
        let uid = [0, 1000, 33, 65_534, u32::MAX][n as usize % 5].wrapping_add(n / 80 * (n % 5 / 2));
        tree.put(&format!("{n:03}"), Node::file(noise(n.into(), 100 + n as usize * 7)).owned_by(uid));
    }
    let mut attributes = Node::file(b"x").owned_by(12);
    attributes.xattrs = vec![(b"user.long".to_vec(), noise(9, 4_000))];
    tree.put("attributes", attributes);
    let store = MemoryStore::new();
    create(&store, Making { encrypted: false, pack_bytes: 1 << 20, ..Making::default() }).unwrap();
    let store: Arc<dyn Store> = Arc::new(store);
    let pushed = push(&store, &tree, &Pushing::default()).clean();
    let repo = healthy(store.clone());
    let mut owners: HashMap<ChunkId, u32> = HashMap::new();
    let mut uids = HashSet::new();
    for (at, node) in &tree.0 {
        let name = String::from_utf8(at[0].clone()).unwrap();
        let owner = if node.meta.uid == 1000 { 0 } else { node.meta.uid };
        uids.insert(owner);
        if let Body::Rows(rows) = object(&repo, &pushed, &name).body {
            owners.extend(rows.iter().map(|row| (row.id, owner)));
        }
    }
    assert!(uids.len() > 8, "{uids:?}");
    let mut blocks = 0;
    for pack in packs(&repo) {
        for block in read_directory(&*store, &pack, &sealer(&repo)).unwrap() {
            if block.kind == ItemKind::Chunk {
                let of: HashSet<_> =
                    block.items.iter().filter_map(|(id, _)| owners.get(&ChunkId(*id))).collect();
                assert!(of.len() <= 1, "{of:?} share a block");
                blocks += 1;
            }
        }
    }
    assert!(blocks >= uids.len());
    comes_back(&repo, &root(&pushed), &tree);
}

/// What opens the packs of an unencrypted repository.
fn sealer(repo: &Repository) -> Sealer {
    Sealer::plain(repo.base().config().domain)
}

fn packs(repo: &Repository) -> Vec<ObjectHash> {
    let segments = repo.index().segments();
    segments.iter().flat_map(|segment| segment.packs.iter().copied()).collect()
}

/// A directory with a thousand files moves: what is stored is the way to it, nothing of what is in it.
#[test]
fn renaming_a_directory_stores_a_few_nodes_and_no_data() {
    let mut tree = Tree::default();
    for n in 0..1_000 {
        tree.put(&format!("a/b/c/{}/{n}", n % 10), Node::file(noise(n, 300)));
    }
    let empty = Empty::new(false);
    let store = empty.copy();
    let nodes = || {
        let repo = healthy(store.clone());
        let directory = |pack| read_directory(&*store, &pack, &sealer(&repo)).unwrap();
        let blocks = packs(&repo).into_iter().flat_map(directory);
        blocks.filter(|block| block.kind == ItemKind::Node).map(|block| block.items.len()).sum::<usize>()
    };
    push(&store, &tree, &Pushing::default()).clean();
    // Ten directories, `c`, `b`, `a`, the root, and `/`.
    assert_eq!(nodes(), 10 + 5);
    tree.rename("a/b/c", "z");
    let renamed = push(&store, &tree, &Pushing { now: 1_700_000_000, ..Pushing::default() }).clean();
    assert_eq!((renamed.progress.bytes_new, root(&renamed)), (0, empty.root(&tree)));
    // `b` without `c`, `a`, the root, and `/`.
    assert_eq!(nodes(), 10 + 5 + 4);
}

/// A sparse file of a GiB is its few bytes of data: nothing of a hole is read or stored.
#[test]
fn a_sparse_file_of_a_gibibyte_costs_what_is_in_it() {
    let mut tree = Tree::default();
    let pieces = [
        Piece::Hole(1 << 29),
        Piece::Data(noise(1, 10_000)),
        Piece::Hole((1 << 29) - 10_001),
        Piece::Data(vec![1]),
    ];
    tree.put("disk", Node::new(What::File(pieces.to_vec())));
    tree.put("empty-disk", Node::new(What::File(vec![Piece::Hole(1 << 40)])));
    for encrypted in [true, false] {
        let store = MemoryStore::new();
        create(&store, Making { encrypted, sizes: (16 << 10, 64 << 10, 256 << 10), pack_bytes: 1 << 20 })
            .unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let began = std::time::Instant::now();
        let pushed = push(&store, &tree, &Pushing::default()).clean();
        assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
        assert_eq!(pushed.row.root.totals.bytes, (1 << 40) + (1 << 30));
        assert!(pushed.progress.bytes_new < 2 << 20, "{}", pushed.progress.bytes_new);
        let repo = healthy(store);
        let reader = Reader::new(&repo, 1 << 20);
        let object = object(&repo, &pushed, "disk");
        let mut chunks = Chunks::open(&reader, &object).unwrap();
        let mut rows = 0;
        while chunks.next_row().unwrap().is_some() {
            rows += 1;
        }
        assert!(rows < 20, "{rows} rows");
    }
}

/// Several clients push at once, over and over, half of what they push in common: every snapshot is there in the end
/// and whole.
#[test]
fn writers_that_push_at_the_same_time_both_publish() {
    let empty = Empty::new(true);
    let store = empty.copy();
    let (writers, rounds) = (3u64, 12u64);
    let mut trees = Vec::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..writers)
            .map(|writer| {
                let store = store.clone();
                scope.spawn(move || {
                    let mut mine = Vec::new();
                    for round in 0..rounds {
                        let mut tree = Tree::of_everything(round / 2);
                        tree.put("own", Node::file(noise(writer * 100 + round, 3_000)));
                        let now = 1_700_000_000 + round as i64;
                        let pushed = push(&store, &tree, &Pushing { now, ..Pushing::default() }).clean();
                        mine.push((pushed.row.uuid, tree));
                    }
                    mine
                })
            })
            .collect();
        trees = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    });
    let repo = healthy(store);
    let snapshots = repo.state().snapshots();
    assert_eq!(snapshots.len(), (writers * rounds) as usize);
    for (uuid, tree) in &trees {
        let snapshot = snapshots.iter().find(|s| s.row.uuid == *uuid).expect("it was published");
        comes_back(&repo, &snapshot.row.root.node, tree);
    }
}
