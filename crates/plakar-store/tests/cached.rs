//! What a store keeps of another: it is given out again and nothing else is, whatever happens to the folder.

use plakar_store::wrap::{Cached, Counting, Fault, Faulty, Request, Rule};
use plakar_store::{ErrorKind, MemoryStore, Name, Range, ReadStore, Store};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, LazyLock};

type Inner = Arc<Counting<MemoryStore>>;

const MAX: u64 = 1 << 20;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// What every object holds: bytes that differ from place to place.
static CONTENT: LazyLock<Vec<u8>> =
    LazyLock::new(|| (0..3u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect());

/// Objects of all folders, counted.
fn inner() -> Inner {
    let store = MemoryStore::new();
    for object in
        ["packs/a", "index/a", "index/b", "log/a", "admin/a", "keys/a", "keyring/a", "config", "replica"]
    {
        store.put(&name(object), &[&CONTENT]).unwrap();
    }
    Arc::new(Counting::new(store))
}

/// How many requests a range costs; it must be right.
fn costs(cached: &Cached<Inner>, object: &str, offset: u64, len: usize) -> u64 {
    let before = cached.inner().counts().requests();
    let bytes = cached.get_range(&name(object), offset, len).unwrap();
    assert!(bytes == CONTENT[offset as usize..][..len], "{object} from {offset}, {len} bytes");
    cached.inner().counts().requests() - before
}

fn files(folder: &Path) -> Vec<u64> {
    let len = |file: &str| fs::metadata(folder.join(file)).map_or(0, |file| file.len());
    vec![len("newer"), len("older")]
}

#[test]
fn small_ranges_of_packs_index_and_log_are_asked_for_once() {
    let temp = tempfile::tempdir().unwrap();
    let inner = inner();
    let (index, pack) = (1 << 20, 32 << 10);
    for again in [1, 0] {
        // The second time by another that comes later.
        let cached = Cached::new(inner.clone(), &temp.path().join("a/folder"), 16 << 20);
        for (object, offset, len) in [
            ("index/a", 0, 160),
            ("index/a", 160, index),
            ("index/b", 0, 160),
            ("packs/a", 7, pack),
            ("log/a", 0, CONTENT.len()),
            ("admin/a", 0, 300),
        ] {
            assert_eq!(costs(&cached, object, offset, len), again, "{object}, {len}");
            assert_eq!(costs(&cached, object, offset, len), 0, "{object}, {len}");
        }
    }
    let cached = Cached::new(inner.clone(), &temp.path().join("a/folder"), 16 << 20);
    let near =
        [("index/a", 1, 160), ("index/a", 0, 161), ("index/a", 0, index + 1), ("packs/a", 7, pack + 1)];
    let others = ["keys/a", "keyring/a", "config", "replica"].map(|object| (object, 0, 10));
    for (object, offset, len) in near.into_iter().chain(others) {
        assert_eq!(costs(&cached, object, offset, len), 1, "{object}, {len}");
    }
    for (object, offset, len) in
        [("index/a", 0, index + 1), ("packs/a", 7, pack + 1)].into_iter().chain(others)
    {
        assert_eq!(costs(&cached, object, offset, len), 1, "{object}, {len}");
    }
}

#[test]
fn whole_objects_lengths_and_listings_are_asked_for_every_time() {
    let temp = tempfile::tempdir().unwrap();
    let cached = Cached::new(inner(), temp.path(), MAX);
    cached.put(&name("index/c"), &[b"123"]).unwrap();
    for n in 1..=3 {
        assert_eq!(cached.get(&name("index/c"), 3).unwrap(), b"123");
        assert_eq!(cached.len(&name("index/c")).unwrap(), 3);
        cached.list("index/", &mut |_| Ok(())).unwrap();
        let counts = cached.inner().counts();
        assert_eq!((counts.get, counts.len, counts.list), (n, n, n));
    }
    assert_eq!(files(temp.path()), [0, 0]);
}

#[test]
fn what_is_not_kept_is_asked_for_together() {
    let temp = tempfile::tempdir().unwrap();
    let cached = Cached::new(inner(), temp.path(), MAX);
    let range = |object, offset, len| Range { name: name(object), offset, len };
    costs(&cached, "packs/a", 100, 10);
    cached.inner().reset();
    let ranges = [
        range("packs/a", 0, 10),
        range("packs/a", 100, 10),
        range("packs/a", 3 << 20, 1),
        range("keys/a", 5, 10),
        range("packs/none", 0, 1),
        range("packs/a", 200, 0),
    ];
    for expected in [5, 4] {
        let answers = cached.get_ranges(&ranges);
        let kinds: Vec<_> = answers.iter().map(|a| a.as_ref().map(Vec::len).map_err(|e| e.kind())).collect();
        let none = [Err(ErrorKind::Short), Ok(10), Err(ErrorKind::NotFound), Ok(0)];
        assert_eq!((&kinds[..2], &kinds[2..]), (&[Ok(10), Ok(10)][..], &none[..]));
        assert_eq!(answers[3].as_ref().unwrap(), &CONTENT[5..15]);
        assert_eq!(answers[0].as_ref().unwrap(), &CONTENT[..10]);
        let counts = cached.inner().counts();
        assert_eq!(counts.requests(), 1, "{expected} ranges at once");
        cached.inner().reset();
    }
    let kept = [range("packs/a", 0, 10), range("packs/a", 100, 10)];
    assert!(cached.get_ranges(&kept).iter().all(Result::is_ok));
    assert_eq!(cached.inner().counts().requests(), 0);
}

#[test]
fn it_keeps_within_its_bound_and_what_was_used_last() {
    let temp = tempfile::tempdir().unwrap();
    let cached = Cached::new(inner(), temp.path(), 100_000);
    for n in 0..200 {
        costs(&cached, "packs/a", n * 1_000, 1_000);
        assert_eq!(costs(&cached, "index/a", 0, 1_000), u64::from(n == 0), "used all the time, round {n}");
        let lens = files(temp.path());
        assert!(lens.iter().all(|len| *len <= 50_000) && lens[0] > 0, "{lens:?}");
    }
    assert_eq!(costs(&cached, "packs/a", 199_000, 1_000), 0);
    assert_eq!(costs(&cached, "packs/a", 0, 1_000), 1, "what was not used went away");
    let kept = (0..200).rev().take_while(|n| costs(&cached, "packs/a", n * 1_000, 1_000) == 0).count();
    assert!((40..100).contains(&kept), "{kept}");
    // One that is longer than all that is allowed.
    let before = files(temp.path());
    assert_eq!(costs(&cached, "index/b", 0, 60_000), 1);
    assert_eq!(files(temp.path()), before);
}

#[test]
fn two_at_once_disturb_each_other_in_nothing_but_requests() {
    let temp = tempfile::tempdir().unwrap();
    let open = || Cached::new(inner(), temp.path(), 100_000);
    let (one, two) = (open(), open());
    for n in 0..300 {
        let (a, b) = if n % 3 == 0 { (&one, &two) } else { (&two, &one) };
        costs(a, "packs/a", n * 700, 700);
        costs(b, "packs/a", n * 700 + 100, 700);
        assert_eq!(costs(a, "packs/a", n * 700, 700), 0, "{n}");
        assert_eq!(costs(b, "packs/a", n * 700 + 100, 700), 0, "{n}");
        let lens = files(temp.path());
        assert!(lens.iter().all(|len| *len <= 50_000), "{lens:?}");
    }
    // Whoever comes later knows what both have kept.
    let three = open();
    assert_eq!(costs(&three, "packs/a", 299 * 700, 700), 0);
    assert_eq!(costs(&three, "packs/a", 299 * 700 + 100, 700), 0);
}

/// What is kept, after `damage` was done to it, by one that has it open and by one that comes later.
fn damaged(damage: &dyn Fn(&Path)) -> (Vec<u64>, Vec<u64>) {
    let temp = tempfile::tempdir().unwrap();
    let here = Cached::new(inner(), temp.path(), MAX);
    let all =
        |cached: &Cached<Inner>| (0..10).map(|n| costs(cached, "packs/a", n * 500, 500)).collect::<Vec<_>>();
    assert_eq!(all(&here), [1; 10]);
    damage(temp.path());
    let later = Cached::new(inner(), temp.path(), MAX);
    let costs = (all(&here), all(&later));
    // Both have learned it again, and so does a third.
    assert_eq!((all(&here), all(&later)), (vec![0; 10], vec![0; 10]));
    let third = Cached::new(inner(), temp.path(), MAX);
    assert_eq!(all(&third), [0; 10]);
    costs
}

fn change(folder: &Path, change: &dyn Fn(&mut Vec<u8>)) {
    let file = folder.join("newer");
    let mut bytes = fs::read(&file).unwrap();
    change(&mut bytes);
    // In place: as a disk does it, not as a program that writes a file anew.
    let open = fs::OpenOptions::new().write(true).open(&file).unwrap();
    open.set_len(bytes.len() as u64).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&open, &bytes, 0).unwrap();
}

/// How long a record of `damaged` is.
const LEN: usize = 8 + 8 + 4 + 1 + "packs/a".len() + 500 + 8;

#[test]
fn a_torn_end_is_read_again() {
    for cut in [1, 8, 300, LEN - 1] {
        let (here, later) = damaged(&|folder| change(folder, &|bytes| bytes.truncate(bytes.len() - cut)));
        assert_eq!(here, [0, 0, 0, 0, 0, 0, 0, 0, 0, 1], "cut by {cut}");
        // The one that was open has kept it again in a new file, which the later one reads.
        assert!(later.iter().sum::<u64>() <= 1, "{later:?}");
    }
    // A torn record in the middle: what follows is found by those who knew it before.
    let (here, _) = damaged(&|folder| {
        change(folder, &|bytes| {
            bytes.drain(4 * LEN + 100..4 * LEN + 200);
        })
    });
    assert_eq!(here, [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]);
}

#[test]
fn flipped_bits_are_read_again() {
    for at in [0, 9, 16, 17, 19, 20, 21, 27, 28, 200, LEN - 9, LEN - 8, LEN - 1] {
        for record in [0, 5, 9] {
            let (here, later) = damaged(&|folder| change(folder, &|bytes| bytes[record * LEN + at] ^= 0x40));
            let mut expected = [0; 10];
            expected[record] = 1;
            assert_eq!(here, expected, "byte {at}");
            assert!(later.iter().sum::<u64>() <= 10);
        }
    }
    // Nothing of it is what it was.
    let (here, later) = damaged(&|folder| change(folder, &|bytes| bytes.fill(0)));
    assert_eq!((here, later), (vec![1; 10], vec![1; 10]));
}

/// Three records, of which the one in the middle is damaged at every place in turn.
#[test]
fn wherever_it_is_damaged_or_cut_the_store_is_asked() {
    let (temp, inner) = (tempfile::tempdir().unwrap(), inner());
    let file = temp.path().join("newer");
    let all = |cached: &Cached<Inner>| [0, 1, 2].map(|n| costs(cached, "packs/a", n * 500, 500));
    assert_eq!(all(&Cached::new(inner.clone(), temp.path(), MAX)), [1; 3]);
    let whole = fs::read(&file).unwrap();
    assert_eq!(whole.len(), 3 * LEN);
    for at in 0..LEN {
        let mut flipped = whole.clone();
        flipped[LEN + at] ^= 1 << (at % 8);
        for (damaged, torn) in [(&flipped[..], false), (&whole[..LEN + at], true)] {
            fs::write(&file, damaged).unwrap();
            // Its length and the length of its name say where the third begins.
            let costs = all(&Cached::new(inner.clone(), temp.path(), MAX));
            assert_eq!((costs[0], costs[1]), (0, 1), "byte {at}");
            assert!(!torn || costs[2] == 1, "byte {at}");
            assert_eq!(all(&Cached::new(inner.clone(), temp.path(), MAX)), [0; 3], "byte {at}");
            let _ = fs::remove_file(temp.path().join("older"));
        }
    }
}

#[test]
fn the_files_and_the_folder_may_go_away_at_any_time() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("folder");
    let cached = Cached::new(inner(), &folder, 20_000);
    for n in 0..100 {
        costs(&cached, "packs/a", n * 500, 500);
        if n % 7 == 3 {
            fs::remove_file(folder.join(["newer", "older"][n as usize % 2])).ok();
        }
    }
    assert_eq!(costs(&cached, "packs/a", 99 * 500, 500), 0);
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(costs(&cached, "packs/a", 99 * 500, 500), 0, "what is open is still there");
    for _ in 0..2 {
        assert_eq!(costs(&cached, "packs/a", 0, 499), 1, "and nothing more is kept");
    }
    assert!(!folder.exists(), "whoever deletes it finds it deleted");
    assert_eq!(cached.trouble(), None, "and need not be told");
    let next = Cached::new(inner(), &folder, 20_000);
    assert_eq!((costs(&next, "packs/a", 0, 499), costs(&next, "packs/a", 0, 499)), (1, 0));
}

#[test]
fn where_nothing_can_be_kept_nothing_is_and_it_says_why_if_asked() {
    let temp = tempfile::tempdir().unwrap();
    let a_file = temp.path().join("file");
    fs::write(&a_file, "a file").unwrap();
    let full = temp.path().join("full");
    fs::create_dir(&full).unwrap();
    // Every write to it fails for want of space.
    symlink("/dev/full", full.join("newer")).unwrap();
    let occupied = temp.path().join("occupied");
    fs::create_dir_all(occupied.join("newer")).unwrap();
    fs::create_dir_all(occupied.join("older")).unwrap();
    for folder in [&a_file, &a_file.join("beneath"), &full, &occupied] {
        let cached = Cached::new(inner(), folder, MAX);
        for _ in 0..3 {
            assert_eq!(costs(&cached, "packs/a", 0, 10), 1, "{folder:?}");
        }
        assert!(cached.trouble().is_some(), "{folder:?}");
        cached.forget();
    }
    let nothing = Cached::new(inner(), &temp.path().join("nothing"), 0);
    assert_eq!(nothing.trouble(), None);
    assert_eq!((costs(&nothing, "packs/a", 0, 10), costs(&nothing, "packs/a", 0, 10)), (1, 1));
}

/// A store may lie once; what it said is kept until it is forgotten.
#[test]
fn what_was_wrong_can_be_forgotten() {
    let temp = tempfile::tempdir().unwrap();
    let faulty = Faulty::new(MemoryStore::new(), 1);
    faulty.put(&name("packs/a"), &[&CONTENT[..100]]).unwrap();
    faulty.add(Rule::new(Fault::Flip(3)).on(Request::Range).nth(1));
    let cached = Cached::new(&faulty, temp.path(), MAX);
    let get = |cached: &dyn ReadStore| cached.get_range(&name("packs/a"), 0, 100).unwrap();
    assert_ne!(get(&cached), CONTENT[..100]);
    assert_ne!(get(&Cached::new(&faulty, temp.path(), MAX)), CONTENT[..100]);
    cached.forget();
    assert_eq!(files(temp.path()), [0, 0]);
    assert_eq!(get(&cached), CONTENT[..100]);
    assert_eq!(get(&Cached::new(&faulty, temp.path(), MAX)), CONTENT[..100]);
}

#[test]
fn whoever_doubts_reads_past_it_from_then_on() {
    let temp = tempfile::tempdir().unwrap();
    let cached = Cached::new(inner(), temp.path(), MAX);
    costs(&cached, "packs/a", 0, 10);
    assert!(!cached.inner().doubt(), "what keeps nothing has nothing else to say");
    for _ in 0..2 {
        assert!(Counting::new(&cached).doubt() && files(temp.path()) == [0, 0]);
        assert_eq!((costs(&cached, "packs/a", 0, 10), costs(&cached, "packs/a", 0, 10)), (1, 1));
    }
    let next = Cached::new(inner(), temp.path(), MAX);
    assert_eq!((costs(&next, "packs/a", 0, 10), costs(&next, "packs/a", 0, 10)), (1, 0));
}

#[test]
fn what_was_deleted_is_gone() {
    let temp = tempfile::tempdir().unwrap();
    let cached = Cached::new(inner(), temp.path(), MAX);
    costs(&cached, "packs/a", 0, 10);
    cached.delete(&name("packs/a")).unwrap();
    for _ in 0..2 {
        let gone = cached.get_range(&name("packs/a"), 0, 10).unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound);
    }
}

#[test]
fn threads_share_it() {
    let temp = tempfile::tempdir().unwrap();
    let cached = Cached::new(inner(), temp.path(), 60_000);
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let cached = &cached;
            scope.spawn(move || {
                for n in 0..400 {
                    let offset = (n * (thread + 1)) % 90 * 500;
                    let bytes = cached.get_range(&name("packs/a"), offset, 500).unwrap();
                    assert!(bytes == CONTENT[offset as usize..][..500]);
                }
            });
        }
    });
    let requests = cached.inner().counts().requests();
    assert!((90..1600).contains(&requests), "{requests}");
    let later = Cached::new(inner(), temp.path(), 60_000);
    assert!((0..90).any(|n| costs(&later, "packs/a", n * 500, 500) == 0));
}

/// A file system in memory with room for a few records.
struct Disk(tempfile::TempDir);

impl Disk {
    /// `None` if this machine does not let us.
    fn mount(options: &str) -> Option<Disk> {
        let temp = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(temp.path()).output();
        if mounted.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(Disk(temp));
        }
        assert!(
            std::env::var_os("PLAKAR_NO_SKIP").is_none_or(|value| value != "1"),
            "not skipped: {mounted:?}"
        );
        println!("skipped: cannot mount a tmpfs: {mounted:?}");
        None
    }

    fn resize(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(Command::new("mount").args(["-o", &options]).arg(self.0.path()).status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// The record at the end is cut short where the room ends.
#[test]
fn on_a_disk_that_fills_up_what_was_kept_before_is_still_good() {
    let Some(disk) = Disk::mount("size=64k") else { return };
    let cached = Cached::new(inner(), disk.0.path(), MAX);
    let all =
        |cached: &Cached<Inner>| (0..20).map(|n| costs(cached, "packs/a", n * 7_000, 7_000)).sum::<u64>();
    assert_eq!(all(&cached), 20);
    let kept = 20 - all(&cached);
    assert!((5..10).contains(&kept), "{kept}");
    // Whoever comes later knows as much; and with more room goes on in another file than the torn one.
    let later = Cached::new(inner(), disk.0.path(), MAX);
    assert_eq!(all(&later), 20 - kept);
    disk.resize("size=4m");
    let later = Cached::new(inner(), disk.0.path(), MAX);
    assert_eq!(all(&later), 20 - kept);
    assert_eq!(all(&Cached::new(inner(), disk.0.path(), MAX)), 0);
}
