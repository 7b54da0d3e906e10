//! What a walk announces is what is there: every kind of entry, every name, however deep, whoever asks,
//! and whatever happens meanwhile.

mod common;

use common::{as_user, needs_root, needs_xattrs};
use plakar_engine::source::{Event, Item, Source};
use plakar_engine::tree::{Device, Kind};
use plakar_fs::Walk;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;
use tempfile::{TempDir, tempdir};

/// Everything a walk told, in order, as lines; items by path.
#[derive(Default)]
struct Told {
    lines: Vec<String>,
    items: BTreeMap<Vec<u8>, Item>,
    errors: Vec<(Vec<u8>, std::io::Error)>,
}

fn walk_of<P: AsRef<Path>>(roots: &[P]) -> Walk {
    let roots: Vec<OsString> = roots.iter().map(|r| r.as_ref().as_os_str().to_owned()).collect();
    Walk::new(&roots).expect("all roots are there")
}

fn tell(walk: &mut Walk) -> Told {
    let mut told = Told::default();
    let mut depth: usize = 0;
    while let Some(event) = walk.next() {
        let path = walk.path();
        let shown = String::from_utf8_lossy(&path).into_owned();
        match event {
            Event::Enter(item) => {
                depth += 1;
                told.lines.push(format!("> {shown}"));
                told.items.insert(path, item);
            }
            Event::Leaf(item) => {
                told.lines.push(format!("- {shown}"));
                told.items.insert(path, item);
            }
            Event::Leave { unreadable } => {
                depth = depth.checked_sub(1).expect("only what was entered is left");
                told.lines.push(format!("< {shown}"));
                told.errors.extend(unreadable.map(|e| (path, e)));
            }
            Event::Failed { name, error } => {
                assert!(path.ends_with(&name));
                told.lines.push(format!("! {shown}"));
                told.errors.push((path, error));
            }
        }
    }
    assert_eq!(depth, 0);
    told
}

/// Walks up to the item with this path, which stays the current one.
fn walk_to(walk: &mut Walk, path: &Path) -> Item {
    while let Some(event) = walk.next() {
        if let Event::Leaf(item) | Event::Enter(item) = event
            && walk.path() == path.as_os_str().as_bytes()
        {
            return item;
        }
    }
    panic!("{} was not announced", path.display());
}

impl Told {
    fn item(&self, path: impl AsRef<Path>) -> &Item {
        &self.items[path.as_ref().as_os_str().as_bytes()]
    }

    /// The lines about what lies in `dir`, without its path.
    fn beneath(&self, dir: &Path) -> Vec<String> {
        let prefix = format!("{}/", dir.display());
        self.lines
            .iter()
            .filter(|l| l[2..].starts_with(&prefix))
            .map(|l| l.replacen(&prefix, "", 1))
            .collect()
    }
}

fn dir() -> TempDir {
    tempdir().expect("a temporary directory can be made")
}

#[test]
fn every_kind_of_entry_is_told_with_what_the_kernel_knows_of_it() {
    let t = dir();
    let at = |name: &str| t.path().join(name);
    fs::write(at("file"), b"hello").unwrap();
    fs::write(at("empty"), b"").unwrap();
    fs::create_dir(at("dir")).unwrap();
    symlink("nowhere", at("link")).unwrap();
    rustix::fs::mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    rustix::fs::mknodat(CWD, at("sock"), FileType::Socket, Mode::RUSR, 0).unwrap();
    fs::set_permissions(at("file"), fs::Permissions::from_mode(0o4751)).unwrap();
    let old = std::time::UNIX_EPOCH - Duration::new(12345, 678_900_001);
    fs::File::open(at("file")).unwrap().set_modified(old).unwrap();

    let mut walk = walk_of(&[t.path()]);
    let told = tell(&mut walk);
    assert!(told.errors.is_empty());
    for (name, kind, size) in [
        ("file", Kind::File, 5),
        ("empty", Kind::File, 0),
        ("dir", Kind::Directory, 0),
        ("link", Kind::Symlink, 0),
        ("fifo", Kind::Fifo, 0),
        ("sock", Kind::Socket, 0),
    ] {
        let item = told.item(at(name));
        let (meta, real) = (&item.meta, fs::symlink_metadata(at(name)).unwrap());
        assert_eq!((item.name.as_slice(), item.kind, item.size), (name.as_bytes(), kind, size));
        assert_eq!(u32::from(meta.mode), real.mode() & 0o7777);
        assert_eq!((meta.uid, meta.gid), (real.uid(), real.gid()));
        assert_eq!((meta.mtime.secs, i64::from(meta.mtime.nanos)), (real.mtime(), real.mtime_nsec()));
        assert_eq!(
            (item.fingerprint, item.same_file, item.sparse),
            (0, 0, false),
            "{name} was made just now"
        );
        assert_eq!(item.device, Device::default());
    }
    assert_eq!(told.item(at("file")).meta.mode, 0o4751);
    assert_eq!(told.item(at("file")).meta.mtime.nanos, 321_099_999);
    if rustix::process::geteuid().is_root() {
        assert_eq!(told.item(at("file")).meta.user, b"root");
    }

    let mut walk = walk_of(&[t.path()]);
    walk_to(&mut walk, &at("link"));
    assert_eq!(walk.extras().unwrap().target, b"nowhere");
    assert!(walk.open().is_err());
}

#[test]
fn devices_are_told_by_number_and_never_opened() {
    if needs_root() {
        return;
    }
    let t = dir();
    let dev = |name, kind, (major, minor)| {
        let dev = rustix::fs::makedev(major, minor);
        rustix::fs::mknodat(CWD, t.path().join(name), kind, Mode::RUSR, dev).unwrap();
    };
    dev("block", FileType::BlockDevice, (240, 70_000));
    dev("char", FileType::CharacterDevice, (1, 3));
    let mut walk = walk_of(&[t.path()]);
    let item = walk_to(&mut walk, &t.path().join("block"));
    assert_eq!((item.kind, item.device), (Kind::BlockDevice, Device { major: 240, minor: 70_000 }));
    assert!(walk.extras().unwrap().xattrs.is_empty());
    let item = walk_to(&mut walk, &t.path().join("char"));
    assert_eq!((item.kind, item.device), (Kind::CharDevice, Device { major: 1, minor: 3 }));
    assert!(walk.open().is_err());
}

#[test]
fn entries_come_by_name_as_bytes_and_subtrees_at_their_place() {
    let t = dir();
    for path in ["b/x", "b/y/z", "a", "b.c", "b-", "B", "bb/q"] {
        let path = t.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"").unwrap();
    }
    let mut expected =
        vec!["- B", "- a", "> b", "- b/x", "> b/y", "- b/y/z", "< b/y", "< b", "- b-", "- b.c"];
    expected.extend(["> bb", "- bb/q", "< bb"]);
    for threads in [0, 1, 2] {
        let mut walk = walk_of(&[t.path()]);
        walk.list_ahead(threads);
        assert_eq!(tell(&mut walk).beneath(t.path()), expected);
    }
}

#[test]
fn a_large_directory_is_whole_and_in_order() {
    let t = dir();
    let names: Vec<String> = (0..3000).map(|i| format!("common prefix {}", i * 7919 % 3000)).collect();
    for name in &names {
        fs::write(t.path().join(name), name).unwrap();
    }
    let mut expected: Vec<String> = names.iter().map(|name| format!("- {name}")).collect();
    expected.sort();
    let told = tell(&mut walk_of(&[t.path()]));
    assert_eq!(told.beneath(t.path()), expected);
    for name in &names {
        assert_eq!(told.item(t.path().join(name)).size, name.len() as u64);
    }
}

#[test]
fn files_that_come_and_go_while_they_are_listed_are_no_errors() {
    let t = dir();
    fs::write(t.path().join("stays"), b"").unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for i in 0..50 {
                    fs::write(t.path().join(format!("{i}")), b"").unwrap();
                }
                for i in 0..50 {
                    fs::remove_file(t.path().join(format!("{i}"))).unwrap();
                }
            }
        });
        let mut good = true;
        for _ in 0..300 {
            let told = tell(&mut walk_of(&[t.path()]));
            good &= told.errors.is_empty()
                && told.lines.contains(&format!("- {}", t.path().join("stays").display()));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(good);
    });
}

#[test]
fn names_are_bytes() {
    let t = dir();
    let mut names =
        vec![vec![0xff, 0xfe], vec![b'n'; 255], "\u{1f980}".into(), b"new\nline".to_vec(), vec![1]];
    names.push(b"...".to_vec());
    for name in &names {
        fs::write(t.path().join(OsStr::from_bytes(name)), name).unwrap();
    }
    let mut walk = walk_of(&[t.path()]);
    let told = tell(&mut walk);
    for name in &names {
        assert_eq!(&told.item(t.path().join(OsStr::from_bytes(name))).name, name);
    }
    let odd = t.path().join(OsStr::from_bytes(&names[0]));
    let mut walk = walk_of(&[t.path()]);
    walk_to(&mut walk, &odd);
    let mut buf = [0; 9];
    assert_eq!(walk.open().unwrap().read(&mut buf).unwrap(), 2);
}

/// Makes directories in one another, each with a file after the next directory, so that the walk has to
/// come back to every one of them; without a path that would be too long for the kernel.
fn make_deep(root: &Path, levels: usize, name: &str) {
    let mut at = rustix::fs::open(root, OFlags::DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..levels {
        rustix::fs::mkdirat(&at, name, Mode::RWXU).unwrap();
        let file = rustix::fs::openat(&at, "z", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
        rustix::io::write(file, b"deep").unwrap();
        at = rustix::fs::openat(&at, name, OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
}

#[test]
fn three_thousand_levels_take_few_handles_and_every_file_on_the_way_back_is_read() {
    let t = dir();
    let levels = 3000;
    let name = "d".repeat(50);
    make_deep(t.path(), levels, &name);
    for threads in [0, 2] {
        let mut walk = walk_of(&[t.path()]);
        walk.list_ahead(threads);
        let (mut files, mut deepest, mut handles) = (0, 0, 0);
        while let Some(event) = walk.next() {
            match event {
                Event::Leaf(_) => {
                    let mut buf = [0; 8];
                    assert_eq!(walk.open().unwrap().read(&mut buf).unwrap(), 4);
                    assert!(walk.extras().unwrap().xattrs.is_empty());
                    files += 1;
                }
                Event::Leave { unreadable } => assert!(unreadable.is_none(), "{unreadable:?}"),
                Event::Enter(_) => {
                    deepest = deepest.max(walk.path().len());
                    if deepest % 1000 < 51 {
                        handles = handles.max(fs::read_dir("/proc/self/fd").unwrap().count());
                    }
                }
                Event::Failed { error, .. } => panic!("{error}"),
            }
        }
        assert_eq!(files, levels);
        assert!(deepest > levels * 51);
        assert!(handles < 700, "{handles} handles (tests run side by side, each has its own)");
    }
    common::remove_deep(t.path(), &name);
}

#[test]
fn directories_moved_while_the_walk_is_deep_in_them_are_reported_not_skipped() {
    let t = dir();
    make_deep(t.path(), 200, "d");
    let way = |levels: usize| t.path().join(vec!["d"; levels].join("/"));
    fs::create_dir(way(60).join("e")).unwrap();
    let mut walk = walk_of(&[t.path()]);
    walk.list_ahead(0);
    walk_to(&mut walk, &way(190));
    // `..` of the hundredth level leads out of the tree, and the way down from the root ends at the fiftieth.
    let other = dir();
    fs::rename(way(100), other.path().join("a")).unwrap();
    fs::rename(way(50), other.path().join("b")).unwrap();
    let (mut files, mut unopened, mut unreadable) = (0, 0, Vec::new());
    while let Some(event) = walk.next() {
        match event {
            Event::Leaf(_) => {
                files += 1;
                unopened += usize::from(walk.open().is_err());
            }
            Event::Leave { unreadable: Some(_) } => unreadable.push(walk.path()),
            Event::Leave { .. } | Event::Enter(_) => {}
            Event::Failed { error, .. } => panic!("{error}"),
        }
    }
    assert_eq!(files, 200, "every file that was listed is announced");
    assert_eq!(unopened, 50);
    assert_eq!(unreadable, [way(60).join("e").into_os_string().into_vec()]);
}

#[test]
fn a_vanished_directory_is_reported() {
    let t = dir();
    fs::create_dir_all(t.path().join("a/b")).unwrap();
    let mut walk = walk_of(&[t.path()]);
    walk.list_ahead(0);
    walk_to(&mut walk, &t.path().join("a"));
    fs::remove_dir(t.path().join("a/b")).unwrap();
    let told = tell_rest(&mut walk);
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].0.as_slice(), told[0].1.kind()),
        (t.path().join("a/b").as_os_str().as_bytes(), ErrorKind::NotFound)
    );
}

fn tell_rest(walk: &mut Walk) -> Vec<(Vec<u8>, std::io::Error)> {
    let mut errors = Vec::new();
    while let Some(event) = walk.next() {
        if let Event::Leave { unreadable: Some(e) } | Event::Failed { error: e, .. } = event {
            errors.push((walk.path(), e));
        }
    }
    errors
}

#[test]
fn many_directories_come_complete_however_many_threads_list_ahead() {
    let t = dir();
    let mut expected = 0;
    for a in 0..30 {
        for b in 0..30 {
            fs::create_dir_all(t.path().join(format!("{a}/{b}/deep/er"))).unwrap();
            fs::write(t.path().join(format!("{a}/{b}/deep/f")), b"").unwrap();
            expected += 4;
        }
        expected += 1;
    }
    let mut lines: Option<Vec<String>> = None;
    for threads in [0, 1, 2, 5] {
        let mut walk = walk_of(&[t.path()]);
        walk.list_ahead(threads);
        let told = tell(&mut walk);
        assert_eq!(told.items.keys().filter(|p| p.len() > t.path().as_os_str().len()).count(), expected);
        assert!(told.errors.is_empty());
        assert!(lines.is_none_or(|lines| lines == told.lines));
        lines = Some(told.lines);
    }
    // Giving up in the middle ends the threads as well.
    let mut walk = walk_of(&[t.path()]);
    walk_to(&mut walk, &t.path().join("15/15"));
}

#[test]
fn roots_are_merged_in_one_tree_and_their_ancestors_hold_nothing_else() {
    let t = dir();
    for path in ["a/one/f", "a/other/f", "b/f", "b/g"] {
        fs::create_dir_all(t.path().join(path).parent().unwrap()).unwrap();
        fs::write(t.path().join(path), b"").unwrap();
    }
    let at = |p: &str| t.path().join(p);
    let mut walk = walk_of(&[at("b/g"), at("a//./one/"), at("a/one/f"), at("b/x/../g")]);
    assert_eq!(
        walk.roots(),
        [at("b/g").into_os_string().into_vec(), at("a/one").into_os_string().into_vec()]
    );
    let told = tell(&mut walk);
    assert_eq!(
        told.beneath(t.path()),
        ["> a", "> a/one", "- a/one/f", "< a/one", "< a", "> b", "- b/g", "< b"]
    );
    assert_eq!(told.lines[0], "> /");
    assert_eq!(told.lines.last().unwrap(), "< /");
    assert!(told.item("/").ancestor && told.item("/").name.is_empty());
    assert!(
        told.item(at("a")).ancestor && !told.item(at("a/one")).ancestor && !told.item(at("b/g")).ancestor
    );
    assert!(Walk::new(&[]).unwrap().next().is_none());
}

#[test]
fn a_root_that_is_a_link_is_what_it_points_at_under_its_own_name() {
    let t = dir();
    let at = |p: &str| t.path().join(p);
    fs::create_dir_all(at("real/sub")).unwrap();
    fs::write(at("real/f"), b"abc").unwrap();
    symlink("real", at("link")).unwrap();
    symlink("real/f", at("file")).unwrap();
    symlink("f", at("real/inner")).unwrap();
    let mut walk = walk_of(&[at("link"), at("file")]);
    let told = tell(&mut walk);
    let expected = ["- file", "> link", "- link/f", "- link/inner", "> link/sub", "< link/sub", "< link"];
    assert_eq!(told.beneath(t.path()), expected);
    assert_eq!((told.item(at("file")).kind, told.item(at("file")).size), (Kind::File, 3));
    assert_eq!(told.item(at("link/inner")).kind, Kind::Symlink);
    // A link on the way to a root.
    let mut walk = walk_of(&[at("link/sub"), at("link/f")]);
    let told = tell(&mut walk);
    assert_eq!(told.beneath(t.path()), ["> link", "- link/f", "> link/sub", "< link/sub", "< link"]);
    assert!(told.item(at("link")).ancestor);
    let mut walk = walk_of(&[at("file")]);
    walk_to(&mut walk, &at("file"));
    assert!(walk.extras().unwrap().target.is_empty());
    let mut buf = [0; 9];
    assert_eq!(walk.open().unwrap().read(&mut buf).unwrap(), 3);
}

#[test]
fn missing_roots_are_all_named_before_anything_is_walked() {
    let t = dir();
    let at = |p: &str| t.path().join(p).into_os_string();
    symlink("gone", at("dangling")).unwrap();
    let error = Walk::new(&[at("no"), at("."), at("dangling"), OsString::new()]).unwrap_err();
    let missing: Vec<_> = error.missing.iter().map(|(p, e)| (p.as_os_str().to_owned(), e.kind())).collect();
    let gone = ErrorKind::NotFound;
    assert_eq!(missing, [(at("no"), gone), (at("dangling"), gone), (OsString::new(), gone)]);
    assert!(error.to_string().contains("/no: No such file"), "{error}");
}

#[test]
fn the_whole_machine_is_a_root() {
    let mut walk = walk_of(&[Path::new("/"), Path::new("/usr")]);
    assert_eq!(walk.roots(), [b"/".to_vec()]);
    let Some(Event::Enter(item)) = walk.next() else { panic!("it begins with the root") };
    assert!(!item.ancestor && item.name.is_empty());
    walk.extras().unwrap();
    assert!(matches!(walk.next(), Some(Event::Enter(_) | Event::Leaf(_))));
    assert_eq!(walk.path().iter().filter(|&&b| b == b'/').count(), 1);
}

#[test]
fn an_excluded_directory_is_not_entered_by_any_name() {
    let t = dir();
    let at = |p: &str| t.path().join(p);
    fs::create_dir_all(at("a/repo/packs")).unwrap();
    fs::create_dir_all(at("z")).unwrap();
    let real = fs::metadata(at("a/repo")).unwrap();
    for threads in [0, 2] {
        let mut walk = walk_of(&[t.path()]);
        walk.list_ahead(threads);
        walk.exclude_identity(real.dev(), real.ino());
        let told = tell(&mut walk);
        assert_eq!(told.beneath(t.path()), ["> a", "< a", "> z", "< z"]);
        assert_eq!(walk.skipped(), [at("a/repo").into_os_string().into_vec()]);
    }
    symlink("a/repo", at("link")).unwrap();
    let mut walk = walk_of(&[at("link")]);
    walk.exclude_identity(real.dev(), real.ino());
    assert!(tell(&mut walk).beneath(t.path()).is_empty());
    assert_eq!(walk.skipped().len(), 1);
}

#[test]
fn names_of_one_file_bear_one_value() {
    let t = dir();
    let at = |p: &str| t.path().join(p);
    fs::create_dir(at("d")).unwrap();
    for (name, other) in [("a", "d/a2"), ("b", "b2")] {
        fs::write(at(name), b"").unwrap();
        fs::hard_link(at(name), at(other)).unwrap();
    }
    fs::write(at("single"), b"").unwrap();
    let told = tell(&mut walk_of(&[t.path()]));
    let value = |p: &str| told.item(at(p)).same_file;
    assert_eq!((value("a"), value("b")), (value("d/a2"), value("b2")));
    assert!(value("a") != value("b") && value("a") != 0 && value("b") != 0);
    assert_eq!((value("single"), value("d")), (0, 0));
}

#[test]
fn what_was_not_touched_keeps_its_fingerprint_and_what_was_loses_it() {
    let t = dir();
    fs::write(t.path().join("f"), b"").unwrap();
    assert_eq!(tell(&mut walk_of(&[t.path()])).item(t.path().join("f")).fingerprint, 0);
    std::thread::sleep(Duration::from_millis(2300));
    let now = || tell(&mut walk_of(&[t.path()])).item(t.path().join("f")).fingerprint;
    let first = now();
    assert_ne!(first, 0);
    assert_eq!(first, now());
    fs::set_permissions(t.path().join("f"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(now(), 0);
}

#[test]
fn holes_are_told_as_holes_and_the_rest_is_read() {
    let t = dir();
    let path = t.path().join("sparse");
    let file = fs::File::create(&path).unwrap();
    file.set_len(10 << 20).unwrap();
    file.write_all_at(&[7; 4096], 1 << 20).unwrap();
    file.write_all_at(&[8; 4096], 2 << 20).unwrap();
    file.sync_all().unwrap();
    let mut walk = walk_of(&[t.path()]);
    let item = walk_to(&mut walk, &path);
    assert!(item.sparse, "this file system keeps no holes");
    let mut content = walk.open().unwrap();
    let mut buf = vec![0; 64 << 10];
    for round in 0..2 {
        let (mut at, mut holes, mut data) = (0, 0, vec![]);
        loop {
            let hole = content.skip_hole(64 << 10).unwrap();
            holes += hole;
            at += hole;
            let read = content.read(&mut buf).unwrap() as u64;
            if read == 0 {
                break;
            }
            data.push((at, read));
            at += read;
        }
        assert_eq!(at, 10 << 20);
        assert_eq!(data, [(1 << 20, 4096), (2 << 20, 4096)], "round {round}");
        assert_eq!(holes, (10 << 20) - 8192);
        content.rewind().unwrap();
    }
    // A hole that is too small is read like data, to the same bytes.
    assert_eq!(content.skip_hole(4 << 20).unwrap(), 0);
    let mut all = Vec::new();
    loop {
        assert!(all.is_empty() || content.skip_hole(8 << 20).unwrap() == 0);
        match content.read(&mut buf).unwrap() {
            0 => break,
            n => all.extend_from_slice(&buf[..n]),
        }
    }
    assert_eq!(all, fs::read(&path).unwrap());
    assert!(content.settled().unwrap().is_some());
}

#[test]
fn a_file_that_changes_while_it_is_read_is_not_settled_until_it_rests() {
    let t = dir();
    let path = t.path().join("f");
    fs::write(&path, b"one").unwrap();
    let mut walk = walk_of(&[t.path()]);
    walk_to(&mut walk, &path);
    let mut content = walk.open().unwrap();
    let mut buf = [0; 64];
    assert_eq!(content.read(&mut buf).unwrap(), 3);
    fs::write(&path, b"longer").unwrap();
    assert!(content.settled().unwrap().is_none());
    assert_eq!(content.item().unwrap().size, 6);
    content.rewind().unwrap();
    assert_eq!(content.read(&mut buf).unwrap(), 6);
    assert_eq!(content.settled().unwrap().unwrap().size, 6);
    // Cut off: the end comes early, without an error.
    fs::write(&path, b"").unwrap();
    assert_eq!(content.read(&mut buf).unwrap(), 0);
    assert!(content.settled().unwrap().is_none());
}

#[test]
fn what_takes_the_place_of_a_file_is_never_waited_for() {
    let t = dir();
    let path = t.path().join("f");
    let replace: [&dyn Fn(); 4] = [
        &|| rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0).unwrap(),
        &|| rustix::fs::mknodat(CWD, &path, FileType::Socket, Mode::RUSR, 0).unwrap(),
        &|| fs::create_dir(&path).unwrap(),
        &|| symlink("/etc/passwd", &path).unwrap(),
    ];
    for replace in replace {
        for extras_first in [false, true] {
            fs::write(&path, b"data").unwrap();
            let mut walk = walk_of(&[t.path()]);
            walk_to(&mut walk, &path);
            fs::remove_file(&path).unwrap();
            replace();
            if extras_first {
                let _ = walk.extras();
            }
            let error = walk.open().err().expect("it is no file");
            assert!(error.to_string().contains("no longer a regular file"), "{error}");
            drop(walk);
            fs::remove_file(&path).or_else(|_| fs::remove_dir(&path)).unwrap();
        }
    }
    // Another file is as good.
    fs::write(&path, b"data").unwrap();
    let mut walk = walk_of(&[t.path()]);
    walk_to(&mut walk, &path);
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"other data").unwrap();
    assert_eq!(walk.open().unwrap().settled().unwrap().unwrap().size, 10);
    fs::remove_file(&path).unwrap();
    assert_eq!(walk.open().err().unwrap().kind(), ErrorKind::NotFound);
}

#[test]
fn extended_attributes_come_sorted_and_from_every_kind() {
    let t = dir();
    if needs_xattrs(t.path()) || needs_root() {
        return;
    }
    let at = |p: &str| t.path().join(p);
    fs::write(at("file"), b"").unwrap();
    fs::create_dir(at("dir")).unwrap();
    symlink("file", at("link")).unwrap();
    rustix::fs::mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let big = vec![b'v'; 3000];
    let set = |name: &str, key: &str, value: &[u8]| {
        rustix::fs::lsetxattr(at(name), key, value, rustix::fs::XattrFlags::empty()).unwrap();
    };
    set("file", "user.z", b"1");
    set("file", "user.a", &big);
    set("file", "user.empty", b"");
    set("dir", "user.d", b"2");
    for name in ["file", "link", "fifo"] {
        set(name, "trusted.t", name.as_bytes());
    }
    let extras = |name: &str| {
        let mut walk = walk_of(&[t.path()]);
        walk_to(&mut walk, &at(name));
        walk.extras().unwrap()
    };
    let names = |name: &str| -> Vec<String> {
        extras(name).xattrs.iter().map(|(k, _)| String::from_utf8_lossy(k).into_owned()).collect()
    };
    assert_eq!(names("file"), ["trusted.t", "user.a", "user.empty", "user.z"]);
    assert_eq!(extras("file").xattrs[1].1, big);
    assert_eq!(extras("dir").xattrs, [(b"user.d".to_vec(), b"2".to_vec())]);
    assert_eq!(extras("link").xattrs, [(b"trusted.t".to_vec(), b"link".to_vec())]);
    assert_eq!(extras("link").target, b"file");
    assert_eq!(extras("fifo").xattrs, [(b"trusted.t".to_vec(), b"fifo".to_vec())]);
    // So are those of a directory on the way, and of a file that is a root.
    let mut walk = walk_of(&[at("dir"), at("file")]);
    walk_to(&mut walk, &at("dir"));
    assert_eq!(walk.extras().unwrap().xattrs.len(), 1);
    walk_to(&mut walk, &at("file"));
    assert_eq!(walk.extras().unwrap().xattrs.len(), 4);
    fs::create_dir(at("dir/sub")).unwrap();
    let mut walk = walk_of(&[at("dir/sub")]);
    assert!(walk_to(&mut walk, &at("dir")).ancestor);
    assert_eq!(walk.extras().unwrap().xattrs.len(), 1);
}

#[test]
fn what_a_user_may_not_read_is_reported_and_the_rest_captured() {
    as_user("what_a_user_may_not_read_is_reported_and_the_rest_captured", || {
        let t = dir();
        let at = |p: &str| t.path().join(p);
        for path in ["closed/f", "names/f", "open/f"] {
            fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            fs::write(at(path), b"x").unwrap();
        }
        let mode = |p: &str, mode| fs::set_permissions(at(p), fs::Permissions::from_mode(mode)).unwrap();
        mode("closed", 0o000);
        mode("names", 0o400);
        mode("open/f", 0o000);
        let mut walk = walk_of(&[t.path()]);
        let mut seen = Vec::new();
        while let Some(event) = walk.next() {
            let shown = String::from_utf8(walk.path()).unwrap();
            let name = shown.rsplit('/').next().unwrap();
            let text = match event {
                Event::Enter(_) => format!("> {name} {}", walk.extras().is_ok()),
                Event::Leaf(_) => {
                    format!("- {name} {:?} {:?}", walk.extras(), walk.open().err().unwrap().kind())
                }
                Event::Leave { unreadable } => format!("< {name} {:?}", unreadable.map(|e| e.kind())),
                Event::Failed { error, .. } => format!("! {name} {:?}", error.kind()),
            };
            if shown.starts_with(&format!("{}/", t.path().display())) {
                seen.push(text);
            }
        }
        mode("closed", 0o700);
        mode("names", 0o700);
        let expected = [
            "> closed true",
            "< closed Some(PermissionDenied)",
            "> names true",
            "! f PermissionDenied",
            "< names None",
            "> open true",
            "- f Ok(Extras { xattrs: [], target: [] }) PermissionDenied",
            "< open None",
        ];
        assert_eq!(seen, expected);
    });
}

#[test]
fn files_of_others_are_read_by_users_too() {
    // Where sparing the access time is refused.
    as_user("files_of_others_are_read_by_users_too", || {
        let mut walk = walk_of(&[Path::new("/etc/passwd")]);
        walk_to(&mut walk, Path::new("/etc/passwd"));
        let mut buf = [0; 5];
        assert_eq!(walk.open().unwrap().read(&mut buf).unwrap(), 5);
    });
}

#[test]
fn reading_leaves_no_trace() {
    let t = dir();
    let path = t.path().join("f");
    fs::write(&path, b"x").unwrap();
    let old = rustix::fs::Timespec { tv_sec: 1000, tv_nsec: 0 };
    let times = rustix::fs::Timestamps { last_access: old, last_modification: old };
    rustix::fs::utimensat(CWD, &path, &times, AtFlags::empty()).unwrap();
    let mut walk = walk_of(&[t.path()]);
    walk_to(&mut walk, &path);
    walk.extras().unwrap();
    walk.open().unwrap().read(&mut [0; 4]).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().atime(), 1000);
}
