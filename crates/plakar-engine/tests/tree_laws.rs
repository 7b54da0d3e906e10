//! What holds of trees whatever is in them: pages are cut as `tree::pages` describes, reading gives back what was
//! written, a small change rewrites few nodes, and hostile nodes are refused.

use plakar_engine::block::ItemId;
use plakar_engine::codec::Writer;
use plakar_engine::crypto::DomainKeys;
use plakar_engine::id::ChunkId;
use plakar_engine::tree::node::{
    ChunkLink, ChunkPage, DirectoryLink, DirectoryPage, ITEMS_MAX, Item, LEVEL_MAX,
};
use plakar_engine::tree::object::ObjectWriter;
use plakar_engine::tree::pages::{NodeSink, Paged, PagesWriter};
use plakar_engine::tree::*;
use plakar_engine::{Error, Result};
use plakar_testkit::fuzz::Mutator;
use plakar_testkit::samples::{self, entry};
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

static KEYS: LazyLock<DomainKeys> = LazyLock::new(samples::keys);

/// Nodes in memory; counts what is read.
#[derive(Default, Clone)]
struct Nodes {
    by_id: HashMap<NodeId, Vec<u8>>,
    reads: Cell<usize>,
}

impl Nodes {
    fn put(&mut self, bytes: Vec<u8>) -> NodeId {
        self.put_node(bytes).unwrap()
    }

    fn ids(&self) -> HashSet<NodeId> {
        self.by_id.keys().copied().collect()
    }
}

impl NodeSink for Nodes {
    fn put_node(&mut self, bytes: Vec<u8>) -> Result<NodeId> {
        let id = KEYS.node_id(&bytes);
        self.by_id.insert(id, bytes);
        Ok(id)
    }
}

impl NodeSource for Nodes {
    fn node(&self, id: &NodeId) -> Result<Vec<u8>> {
        self.reads.set(self.reads.get() + 1);
        self.by_id.get(id).cloned().ok_or(Error::Missing { what: "node", id: id.hex() })
    }
}

/// The description of `tree::pages` in the simplest words: all items at hand, one level after the other.
fn reference(form: u8, items: Vec<(Vec<u8>, Vec<u8>, u64, u64)>, nodes: &mut Nodes) -> (NodeId, usize) {
    let (mut items, mut level) = (items, 0u8);
    loop {
        let mut pages = Vec::new();
        if items.len() <= 128 {
            pages.push(items.as_slice());
        } else {
            let (mut start, mut at) = (0, 0);
            while at < items.len() {
                at += 1;
                let (len, key) = (at - start, &items[at - 1].0);
                if len == 256 || (len >= 16 && KEYS.paging(level, key) % 64 == 0) || at == items.len() {
                    pages.push(&items[start..at]);
                    start = at;
                }
            }
        }
        let mut links = Vec::new();
        for page in pages {
            let mut bytes = vec![b'P', b'N', 1, form, level];
            bytes.uv(page.len() as u64);
            page.iter().for_each(|(_, encoded, _, _)| bytes.extend_from_slice(encoded));
            let child = nodes.put(bytes);
            let (count, sum) = page.iter().fold((0, 0), |(c, s), item| (c + item.2, s + item.3));
            let first = page.first().map(|item| item.0.clone()).unwrap_or_default();
            let mut link = Vec::new();
            if form == 1 {
                link.bs(&first);
            }
            link.extend_from_slice(&child.0);
            link.uv(count);
            if form == 2 {
                link.uv(sum);
            }
            links.push((if form == 1 { first } else { child.0.to_vec() }, link, count, sum, child));
        }
        level += 1;
        if let [(.., child)] = &links[..] {
            return (*child, level.into());
        }
        items = links.into_iter().map(|(key, link, count, sum, _)| (key, link, count, sum)).collect();
    }
}

fn encoded(item: &impl Item) -> Vec<u8> {
    let mut out = Vec::new();
    item.encode(&mut out);
    out
}

fn reference_of_entries(entries: &[Entry], nodes: &mut Nodes) -> (NodeId, usize) {
    reference(1, entries.iter().map(|e| (e.name.clone(), encoded(e), 1, 0)).collect(), nodes)
}

fn reference_of_rows(rows: &[Row], nodes: &mut Nodes) -> (NodeId, usize) {
    let item = |r: &Row| (r.id.0.to_vec(), encoded(r), 1, u64::from(r.len) * u64::from(r.repeat));
    reference(2, rows.iter().map(item).collect(), nodes)
}

fn write<T: Paged>(items: &[T], nodes: &mut Nodes) -> NodeId {
    let mut pages = PagesWriter::default();
    for item in items {
        pages.push(item, &KEYS, nodes).unwrap();
        assert!(pages.waiting() <= 256, "memory is bounded");
    }
    pages.finish(&KEYS, nodes).unwrap()
}

fn read_entries(nodes: &Nodes, root: &NodeId) -> Result<Vec<Entry>> {
    let mut directory = Directory::open(nodes, root)?;
    let mut entries = Vec::new();
    while let Some(entry) = directory.next_entry()? {
        entries.push(entry);
        assert!(entries.len() < 100_000, "reading ends");
    }
    Ok(entries)
}

fn read_rows(nodes: &Nodes, object: &Object) -> Result<Vec<Row>> {
    let mut chunks = Chunks::open(nodes, object)?;
    let mut rows = Vec::new();
    while let Some(row) = chunks.next_row()? {
        rows.push(row);
        assert!(rows.len() < 100_000, "reading ends");
    }
    Ok(rows)
}

/// `count` entries with names that differ for each `seed`, in order.
fn numbered(count: usize, seed: u64) -> Vec<Entry> {
    let mut random = Mutator::new(seed);
    let mut names = HashSet::new();
    while names.len() < count {
        names.insert(format!("{:x}", random.number() >> random.below(40)).into_bytes());
    }
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort();
    names.iter().map(|name| entry(name)).collect()
}

/// `count` entries with names chosen by their paging hash at level 0.
fn chosen(count: usize, ends: bool) -> Vec<Entry> {
    let names = (0..).map(|n| format!("{n:010}").into_bytes());
    names
        .filter(|name| (KEYS.paging(0, name) % 64 == 0) == ends)
        .take(count)
        .map(|name| entry(&name))
        .collect()
}

fn rows_of(ids: impl IntoIterator<Item = u64>) -> Vec<Row> {
    let row = |n: u64| Row {
        id: KEYS.chunk_id(&n.to_le_bytes()),
        len: 1 + (n as u32).wrapping_mul(2_654_435_761) % 65_536,
        repeat: 1 + (n % 5) as u32,
    };
    ids.into_iter().map(row).collect()
}

const SIZES: [usize; 13] = [0, 1, 2, 127, 128, 129, 130, 143, 255, 256, 257, 1000, 20_000];

fn assert_directory_is_as_described(entries: &[Entry]) {
    let (mut nodes, mut expected) = (Nodes::default(), Nodes::default());
    let root = write(entries, &mut nodes);
    let (expected_root, levels) = reference_of_entries(entries, &mut expected);
    assert_eq!(root, expected_root, "{} entries", entries.len());
    assert!(nodes.by_id == expected.by_id, "the same nodes and no other, {} entries", entries.len());
    assert!(read_entries(&nodes, &root).unwrap() == entries);
    for entry in entries.iter().step_by(1 + entries.len() / 50) {
        nodes.reads.set(0);
        let found = Directory::open(&nodes, &root).unwrap().find(&entry.name).unwrap();
        assert_eq!(found.as_ref(), Some(entry));
        assert_eq!(nodes.reads.get(), levels, "one page a level");
        for absent in
            [&entry.name[..entry.name.len() - 1], &[&entry.name[..], b"\x01"].concat(), b"", b"\xff"]
        {
            if entries.binary_search_by(|e| e.name.as_slice().cmp(absent)).is_err() {
                assert_eq!(Directory::open(&nodes, &root).unwrap().find(absent).unwrap(), None);
            }
        }
    }
}

#[test]
fn directories_are_paged_as_described_and_read_back() {
    for (seed, size) in SIZES.into_iter().enumerate() {
        assert_directory_is_as_described(&numbered(size, seed as u64));
    }
}

#[test]
fn adversarial_names_are_paged_as_described() {
    for size in [15, 16, 17, 128, 129, 130, 255, 256, 257, 400, 513] {
        assert_directory_is_as_described(&chosen(size, true));
        assert_directory_is_as_described(&chosen(size, false));
    }
    assert_directory_is_as_described(&chosen(20_000, false));
    // Long names, whose length takes two bytes in a link.
    let long = |n: usize| entry(format!("{n:0>200}").as_bytes());
    assert_directory_is_as_described(&(0..300).map(long).collect::<Vec<_>>());
}

#[test]
fn a_single_full_page_of_more_than_128_is_the_root_itself() {
    let entries = chosen(256, false);
    let mut nodes = Nodes::default();
    let root = write(&entries, &mut nodes);
    assert_eq!(nodes.by_id.len(), 1);
    assert!(
        matches!(DirectoryPage::decode(&nodes.by_id[&root]), Ok(DirectoryPage::Entries(e)) if e.len() == 256)
    );
}

#[test]
fn chunk_lists_are_paged_as_described_and_read_back() {
    let repeated = (0..5000u64).map(|n| n % 3).collect::<Vec<_>>();
    let lists = SIZES.into_iter().filter(|n| *n > 0).map(|n| rows_of(0..n as u64)).chain([rows_of(repeated)]);
    for rows in lists {
        let (mut nodes, mut expected) = (Nodes::default(), Nodes::default());
        let root = write(&rows, &mut nodes);
        assert_eq!(root, reference_of_rows(&rows, &mut expected).0, "{} rows", rows.len());
        assert!(nodes.by_id == expected.by_id);
        let size = rows.iter().map(Row::bytes).sum();
        assert!(read_rows(&nodes, &Object { size, body: Body::Tree(root) }).unwrap() == rows);
        for lie in [size - 1, size + 1, 97, u64::MAX] {
            assert!(read_rows(&nodes, &Object { size: lie, body: Body::Tree(root) }).is_err());
        }
    }
}

fn new_nodes(before: &[Entry], after: &[Entry]) -> usize {
    let (mut nodes, mut more) = (Nodes::default(), Nodes::default());
    write(before, &mut nodes);
    write(after, &mut more);
    more.ids().difference(&nodes.ids()).count()
}

#[test]
fn one_changed_value_rewrites_one_node_a_level() {
    for size in [1, 128, 129, 1000, 20_000] {
        let entries = numbered(size, 77);
        let levels = reference_of_entries(&entries, &mut Nodes::default()).1;
        for at in [0, size / 3, size - 1] {
            let mut changed = entries.clone();
            changed[at].meta.mtime.secs += 1;
            changed[at].content = Content::Symlink(vec![b'x'; 4095]);
            assert_eq!(new_nodes(&entries, &changed), levels, "{at} of {size}");
        }
    }
}

#[test]
fn one_name_more_or_less_rewrites_few_nodes() {
    let entries = numbered(20_000, 78);
    let levels = reference_of_entries(&entries, &mut Nodes::default()).1;
    let (mut sum, mut count) = (0, 0);
    for at in (0..entries.len()).step_by(1999) {
        let mut fewer = entries.clone();
        fewer.remove(at);
        let mut more = entries.clone();
        let name = [&entries[at].name[..], b"!"].concat();
        more.insert(at + 1, entry(&name));
        for other in [fewer, more] {
            let new = new_nodes(&entries, &other);
            assert!(new <= 6 * levels, "{new} new nodes of {levels} levels at {at}");
            (sum, count) = (sum + new, count + 1);
        }
    }
    assert!(sum <= 2 * levels * count, "{sum} new nodes in {count} changes of {levels} levels");
}

#[test]
fn a_checkpoint_of_a_writer_disturbs_nothing() {
    for size in [1usize, 17, 128, 129, 300, 5000] {
        let entries = numbered(size, 79);
        let (mut quiet, mut nodes) = (Nodes::default(), Nodes::default());
        let expected = write(&entries, &mut quiet);
        let mut pages = PagesWriter::default();
        for (n, entry) in entries.iter().enumerate() {
            pages.push(entry, &KEYS, &mut nodes).unwrap();
            if n % (1 + size / 20) == 0 {
                let partial = pages.clone().finish(&KEYS, &mut nodes).unwrap();
                assert_eq!(partial, reference_of_entries(&entries[..=n], &mut Nodes::default()).0);
                assert!(read_entries(&nodes, &partial).unwrap() == entries[..=n]);
            }
        }
        assert_eq!(pages.finish(&KEYS, &mut nodes).unwrap(), expected);
        assert!(quiet.ids().is_subset(&nodes.ids()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_directory_is_paged_as_described(
        names in prop::collection::btree_set(prop::collection::vec(1..=255u8, 1..6), 0..700)
    ) {
        let names = names.into_iter().filter(|name| plakar_engine::tree::node::is_name(name));
        assert_directory_is_as_described(&names.map(|name| entry(&name)).collect::<Vec<_>>());
    }

    #[test]
    fn any_chunk_list_is_one_object_whatever_way_it_is_told(
        chunks in prop::collection::vec((0..4u8, 1..300u32, 1..6u64), 1..400),
        checkpoint in 0..400usize,
    ) {
        // Told repeat by repeat, one by one, and with a checkpoint on the way.
        let len_of = |id: u8, len: u32| if id == 0 { 50 } else { len };
        let mut expected: Vec<Row> = Vec::new();
        for &(id, len, repeat) in &chunks {
            let row = Row { id: ChunkId([id; 32]), len: len_of(id, len), repeat: repeat as u32 };
            match expected.last_mut() {
                Some(last) if last.id == row.id && last.len == row.len => last.repeat += row.repeat,
                _ => expected.push(row),
            }
        }
        let size: u64 = expected.iter().map(Row::bytes).sum();
        prop_assume!(size > INLINE_BYTES_MAX as u64);
        let mut nodes = Nodes::default();
        let mut once = ObjectWriter::default();
        let mut one_by_one = ObjectWriter::default();
        for (n, &(id, len, repeat)) in chunks.iter().enumerate() {
            let (id, len) = (ChunkId([id; 32]), len_of(id, len));
            once.push(id, len, repeat, &KEYS, &mut nodes).unwrap();
            for _ in 0..repeat {
                one_by_one.push(id, len, 1, &KEYS, &mut nodes).unwrap();
            }
            if n == checkpoint && once.size() > INLINE_BYTES_MAX as u64 {
                let object = once.clone().finish(&KEYS, &mut nodes).unwrap();
                let sum: u64 = read_rows(&nodes, &object).unwrap().iter().map(Row::bytes).sum();
                prop_assert_eq!(sum, object.size);
            }
        }
        prop_assert_eq!(once.size(), size);
        let object = once.finish(&KEYS, &mut nodes).unwrap();
        prop_assert_eq!(&object, &one_by_one.finish(&KEYS, &mut nodes).unwrap());
        prop_assert_eq!(object.size, size);
        prop_assert_eq!(&read_rows(&nodes, &object).unwrap(), &expected);
        match &object.body {
            Body::Rows(rows) => prop_assert!(rows.len() <= ROWS_MAX && *rows == expected),
            Body::Tree(root) => {
                prop_assert!(expected.len() > ROWS_MAX);
                prop_assert_eq!(*root, reference_of_rows(&expected, &mut Nodes::default()).0);
            }
            Body::Inline(_) => prop_assert!(false, "an object of chunks is not inline"),
        }
        // What the entry says of it survives encoding.
        let page = DirectoryPage::Entries(vec![Entry { content: Content::File(object), ..entry(b"file") }]);
        prop_assert_eq!(DirectoryPage::decode(&page.encode()), Ok(page));
    }
}

#[test]
fn four_rows_stay_in_the_entry_and_five_do_not() {
    for count in 1..=6u8 {
        let mut nodes = Nodes::default();
        let mut object = ObjectWriter::default();
        for n in 0..count {
            object.push(ChunkId([n; 32]), 100, 1, &KEYS, &mut nodes).unwrap();
        }
        let object = object.finish(&KEYS, &mut nodes).unwrap();
        assert_eq!(object.size, 100 * u64::from(count));
        assert_eq!(matches!(object.body, Body::Rows(_)), count <= 4);
        assert_eq!(nodes.by_id.is_empty(), count <= 4, "rows in the entry put no node");
        assert_eq!(read_rows(&nodes, &object).unwrap().len(), usize::from(count));
    }
}

#[test]
fn more_repeats_than_a_row_counts_go_on_in_the_next() {
    const MOST: u64 = u32::MAX as u64;
    for (pushes, expected) in [
        (vec![MOST], vec![u32::MAX]),
        (vec![MOST + 1], vec![u32::MAX, 1]),
        (vec![MOST, 1], vec![u32::MAX, 1]),
        (vec![1, MOST], vec![u32::MAX, 1]),
        (vec![3 * MOST + 7], vec![u32::MAX, u32::MAX, u32::MAX, 7]),
        (vec![2 * MOST, 3 * MOST], vec![u32::MAX; 5]),
    ] {
        let mut nodes = Nodes::default();
        let mut object = ObjectWriter::default();
        for repeat in &pushes {
            object.push(ChunkId([1; 32]), 1 << 18, *repeat, &KEYS, &mut nodes).unwrap();
        }
        let object = object.finish(&KEYS, &mut nodes).unwrap();
        assert_eq!(object.size, pushes.iter().sum::<u64>() << 18);
        let rows = read_rows(&nodes, &object).unwrap();
        assert_eq!(rows.iter().map(|r| r.repeat).collect::<Vec<_>>(), expected);
        let page = DirectoryPage::Entries(vec![Entry { content: Content::File(object), ..entry(b"hole") }]);
        assert_eq!(DirectoryPage::decode(&page.encode()), Ok(page));
    }
}

#[test]
fn a_path_leads_through_directories_only() {
    let mut nodes = Nodes::default();
    let mut directory =
        |entries: Vec<Entry>| Subtree { node: write(&entries, &mut nodes), totals: Totals::default() };
    let inside = directory(numbered(1000, 80));
    let below = |name: &[u8], subtree| Entry { content: Content::Directory(subtree), ..entry(name) };
    let middle = directory(vec![below(b"big", inside), entry(b"file"), below(b"none", directory_of_none())]);
    let root = directory(vec![below(b"home", middle)]);
    let find = |path: &str| find_path(&nodes, &root, path.as_bytes());
    for entry in numbered(1000, 80).iter().step_by(97) {
        let path = format!("/home//big/{}/", String::from_utf8(entry.name.clone()).unwrap());
        assert_eq!(find(&path).unwrap().as_ref(), Some(entry));
    }
    assert_eq!(find("home").unwrap().unwrap().name, b"home");
    for absent in ["", "/", "hom", "home/big/zzz", "home/file/x", "home/..", ".", "home/big/../file"] {
        assert_eq!(find(absent).unwrap(), None, "{absent}");
    }
    assert!(find("home/none/x").is_err(), "a missing node is an error, not a missing entry");
}

fn directory_of_none() -> Subtree {
    Subtree { node: NodeId([0; 32]), totals: Totals::default() }
}

/// Hostile directories: what is wrong, and the root among these nodes.
fn hostile_directories(nodes: &mut Nodes) -> Vec<(&'static str, NodeId)> {
    let mut pipes = |names: &[&str]| {
        nodes.put(DirectoryPage::Entries(names.iter().map(|n| entry(n.as_bytes())).collect()).encode())
    };
    let (ab, cd, bc, empty) = (pipes(&["a", "b"]), pipes(&["c", "d"]), pipes(&["b", "c"]), pipes(&[]));
    let aa = nodes.put(DirectoryPage::Entries(vec![entry(b"a"), entry(b"a")]).encode());
    let link = |first: &str, child| DirectoryLink { first: first.into(), child, entries: 2 };
    let mut links = |level, links: &[(&str, NodeId)]| {
        let links = links.iter().map(|(first, child)| link(first, *child)).collect();
        nodes.put(DirectoryPage::Links(level, links).encode())
    };
    let level_1 = links(1, &[("a", ab), ("c", cd)]);
    let (skip, deep) = (links(2, &[("a", ab)]), links(LEVEL_MAX, &[("a", level_1)]));
    let mut hostile = vec![
        ("the same name twice in a page", aa),
        ("a level is left out", skip),
        ("levels are left out", deep),
        ("a link leads to its own level", links(1, &[("a", level_1)])),
        ("a link leads upwards", links(1, &[("a", skip)])),
        ("pages overlap", links(1, &[("a", ab), ("b", bc)])),
        ("a page twice", links(1, &[("a", ab), ("c", ab)])),
        ("links out of order", links(1, &[("c", cd), ("a", ab)])),
        ("links to one name twice", links(1, &[("a", ab), ("a", ab)])),
        ("a first name too small", links(1, &[("Z", ab), ("c", cd)])),
        ("a first name too great", links(1, &[("aa", ab), ("c", cd)])),
        ("a page without entries", links(1, &[("a", ab), ("c", empty)])),
        ("a wrong first name further down", links(2, &[("Z", level_1)])),
        ("no links at all", links(1, &[])),
        ("a level too high", links(LEVEL_MAX + 1, &[("a", ab)])),
        ("a node that is not there", links(1, &[("a", NodeId([9; 32]))])),
    ];
    for (what, bytes) in [
        ("a name with a slash", DirectoryPage::Entries(vec![entry(b"a/b")]).encode()),
        ("a name with NUL", DirectoryPage::Entries(vec![entry(b"a\0")]).encode()),
        ("the name ..", DirectoryPage::Entries(vec![entry(b"..")]).encode()),
        ("no name", DirectoryPage::Entries(vec![entry(b"")]).encode()),
        ("a name too long", DirectoryPage::Entries(vec![entry(&[b'x'; 256])]).encode()),
        ("too many entries", DirectoryPage::Entries(numbered(ITEMS_MAX + 1, 81)).encode()),
        ("a chunk list", ChunkPage::Rows(rows_of(0..3)).encode()),
    ] {
        hostile.push((what, nodes.put(bytes)));
    }
    hostile
}

#[test]
fn hostile_directories_are_refused() {
    let mut nodes = Nodes::default();
    for (what, root) in hostile_directories(&mut nodes) {
        assert!(read_entries(&nodes, &root).is_err_and(|e| e.is_damage()), "{what}");
        for name in ["a", "b", "c", "zz"] {
            // Never a panic; and nothing that was not asked for.
            let found = Directory::open(&nodes, &root).and_then(|directory| directory.find(name.as_bytes()));
            assert!(
                found.is_err() || found.is_ok_and(|e| e.is_none_or(|e| e.name == name.as_bytes())),
                "{what}"
            );
        }
    }
}

#[test]
fn hostile_chunk_lists_are_refused() {
    let mut nodes = Nodes::default();
    let mut rows = |ns: std::ops::Range<u8>| {
        let rows = ns.map(|n| Row { id: ChunkId([n; 32]), len: 100, repeat: 1 }).collect();
        nodes.put(ChunkPage::Rows(rows).encode())
    };
    let (ten, two, none) = (rows(0..10), rows(10..12), rows(0..0));
    let mut links = |level, children: &[NodeId]| {
        let links = children.iter().map(|child| ChunkLink { child: *child, rows: 2, bytes: 200 }).collect();
        nodes.put(ChunkPage::Links(level, links).encode())
    };
    let level_1 = links(1, &[ten, two]);
    // A few kilobytes that stand for 256^4 chunks: reading stops where the object ends.
    let bomb = (1..=4).fold(two, |child, level| links(level, &[child; 256]));
    let hostile = [
        ("longer than the object says", level_1, 1100),
        ("longer by far", bomb, 100_000),
        ("shorter than the object says", level_1, 1300),
        ("a level is left out", links(2, &[ten, two]), 1200),
        ("a link leads to its own level", links(1, &[level_1]), 1200),
        ("levels are left out", links(LEVEL_MAX, &[level_1]), 1200),
        ("no links at all", links(1, &[]), 1200),
        ("a node that is not there", links(1, &[ten, NodeId([9; 32])]), 1200),
        ("no rows at all", none, 1200),
        ("a directory", write(&numbered(3, 82), &mut nodes), 1200),
        ("a chunk of no length", nodes.put(one_row(0, 1)), 1200),
        ("a chunk too long", nodes.put(one_row(u32::MAX, 1)), 1200),
        ("no repeat", nodes.put(one_row(1200, 0)), 1200),
    ];
    for (what, root, size) in hostile {
        let read = read_rows(&nodes, &Object { size, body: Body::Tree(root) });
        assert!(read.is_err_and(|e| e.is_damage()), "{what}");
    }
    assert_eq!(read_rows(&nodes, &Object { size: 1200, body: Body::Tree(level_1) }).unwrap().len(), 12);
}

fn one_row(len: u32, repeat: u32) -> Vec<u8> {
    ChunkPage::Rows(vec![Row { id: ChunkId([1; 32]), len, repeat }]).encode()
}

#[test]
fn rows_in_an_entry_that_do_not_add_up_are_refused() {
    let rows = vec![samples::chunk_row(1, 100, 2), samples::chunk_row(2, 50, 1)];
    for size in [97, 249, 250, 251, u64::MAX] {
        let content = Content::File(Object { size, body: Body::Rows(rows.clone()) });
        let page = DirectoryPage::Entries(vec![Entry { content, ..entry(b"file") }]);
        assert_eq!(DirectoryPage::decode(&page.encode()).is_ok(), size == 250, "{size}");
    }
}

#[test]
fn equal_rows_in_succession_are_refused_unless_the_first_is_full() {
    for (first, second_id, second_len, fine) in [
        (1, 1, 100, false),
        (u32::MAX, 1, 100, true),
        (u32::MAX - 1, 1, 100, false),
        (1, 2, 100, true),
        (1, 1, 99, true),
    ] {
        let rows = vec![samples::chunk_row(1, 100, first), samples::chunk_row(second_id, second_len, 1)];
        let size = rows.iter().map(Row::bytes).sum();
        assert_eq!(ChunkPage::decode(&ChunkPage::Rows(rows.clone()).encode()).is_ok(), fine);
        let content = Content::File(Object { size, body: Body::Rows(rows) });
        let page = DirectoryPage::Entries(vec![Entry { content, ..entry(b"file") }]);
        assert_eq!(DirectoryPage::decode(&page.encode()).is_ok(), fine);
    }
}

#[test]
fn a_node_is_not_found_under_the_id_of_a_chunk() {
    let bytes = DirectoryPage::Entries(vec![entry(b"a")]).encode();
    assert_ne!(ItemId::from(KEYS.node_id(&bytes)).id, ItemId::from(KEYS.chunk_id(&bytes)).id);
    assert_ne!(KEYS.paging(0, b"a"), KEYS.paging(1, b"a"));
}
