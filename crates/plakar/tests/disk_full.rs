//! A disk that is full is told as what it is, at whatever moment it happens; nothing that was whole before is lost, and
//! with more room the same command goes through.

mod common;

use common::tree::{self, assert_same, look, skipped};
use common::{Ran, World};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system in memory, of a size that can be changed.
struct Disk(PathBuf);

impl Disk {
    /// `None` if this machine does not let us.
    fn mount(at: PathBuf, options: &str) -> Option<Disk> {
        if tree::needs_root() {
            return None;
        }
        fs::create_dir_all(&at).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "plakar-test"]).arg(&at).output();
        if !mounted.as_ref().is_ok_and(|output| output.status.success()) {
            skipped(&format!("cannot mount a tmpfs: {mounted:?}"));
            return None;
        }
        Some(Disk(at))
    }

    fn resize(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(
            Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap().success(),
            "{options}"
        );
    }

    fn used(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.0).unwrap();
        (stat.f_blocks - stat.f_bfree) * stat.f_frsize
    }

    /// Leaves room for so many bytes more.
    fn leave(&self, room: u64) {
        self.resize(&format!("size={}", self.used() + room));
    }

    fn grow(&self) {
        self.resize("size=200m,nr_inodes=100000");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn world() -> World {
    World::new().with("PLAKAR_PASSPHRASE", "secret")
}

/// It must have failed because the disk is full, and said so.
fn full(ran: &Ran, what: &str) {
    assert_eq!(ran.code, 1, "{what}: {ran:?}");
    assert!(
        ran.err.starts_with("plakar: ") && ran.err.contains("No space left on device"),
        "{what}: {ran:?}"
    );
    assert!(!ran.err.contains("panicked") && ran.out.is_empty(), "{what}: {ran:?}");
}

/// What is in a folder, with its bytes; nothing of how it is kept.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    look(folder).into_iter().filter(|(_, look)| look.content.is_some()).map(|(path, _)| path).collect()
}

#[test]
fn a_repository_is_created_or_not() {
    // Page by page more room, until there is enough. What was begun is never taken for a repository, and with room and a
    // clean place the same command makes one.
    let world = world();
    let Some(disk) = Disk::mount(world.path("work/disk"), "size=4k") else { return };
    let mut failed = 0;
    for pages in 1.. {
        assert!(pages < 100, "it never fits");
        disk.resize(&format!("size={}", pages * 4096));
        let ran = world.line("on disk/repo create");
        if ran.code == 0 {
            disk.grow();
            world.ok("on disk/repo ls");
            break;
        }
        failed += 1;
        full(&ran, &format!("{pages} pages"));
        let ran = world.line("on disk/repo ls");
        assert_eq!(ran.code, 10, "{pages} pages: {ran:?}");
        disk.grow();
        // The user is told to remove what was begun.
        let ran = world.line("on disk/repo create");
        assert!(ran.code == 0 || ran.err.contains("remove it"), "{pages} pages: {ran:?}");
        let _ = fs::remove_dir_all(world.path("work/disk/repo"));
        world.ok("on disk/repo create");
        world.ok("on disk/repo check");
        fs::remove_dir_all(world.path("work/disk/repo")).unwrap();
    }
    println!("{failed} sizes were too small");
    assert!(failed >= 2);
}

#[test]
fn a_push_that_does_not_fit_takes_nothing_away() {
    // A repository with one snapshot, and room for another in steps from none to enough: each failure leaves the first
    // snapshot whole, and with more room the same push goes through.
    let world = world();
    let Some(disk) = Disk::mount(world.path("work/disk"), "size=200m") else { return };
    for n in 0..60 {
        world.write(&format!("old/{n}"), tree::noise(n, 5000));
    }
    world.ok("create base");
    world.ok("on base push old");
    let listed = world.ok("on base ls");
    // Moved, so that what is copied from it is no copy of a repository that is known here.
    world.shell("mv base kept").succeeded();
    for n in 0..400 {
        world.write(&format!("new/d{}/{n}", n % 20), tree::noise(1000 + n, 300 + (n as usize % 40) * 90));
    }
    world.write("new/large", tree::noise(5000, 900_000));
    let (old, new) = (look(&world.path("work/old")), look(&world.path("work/new")));
    let fresh = || {
        let _ = fs::remove_dir_all(world.path("work/disk/repo"));
        world.shell("cp -a kept disk/repo").succeeded();
        // Whoever remembered what was pushed to the one before would take this one for rolled back.
        world.shell("rm -rf ../home/.local/state/plakar/newest").succeeded();
    };
    fresh();
    let before = disk.used();
    world.ok("on disk/repo push new");
    let needs = disk.used() - before;
    assert!(needs > 1_000_000);
    let mut rooms: Vec<u64> = (0..12).map(|n| n * 4096).collect();
    rooms.extend((1..12).map(|n| needs * n / 12));
    // Near the end: after the packs come segment and log.
    rooms.extend((1..16).map(|n| needs.saturating_sub(n * 4096)));
    rooms.extend([needs + (64 << 10)]);
    let mut failed = 0;
    for (number, room) in rooms.into_iter().enumerate() {
        fresh();
        disk.leave(room);
        // With announcements on the way, and without.
        let flags = if number % 2 == 0 { "" } else { "-checkpoint-every 0.05 " };
        let push = format!("on disk/repo push {flags}new");
        let what = format!("{room} of {needs}");
        let ran = world.line(&push);
        let mut done = usize::from(ran.code == 0);
        if done == 0 {
            failed += 1;
            full(&ran, &what);
        }
        let check_old = || {
            let out = world.path("work/out");
            let _ = fs::remove_dir_all(&out);
            let uuid = &listed[20..58].trim();
            world.ok(&format!("on disk/repo pull -rebase -path out {uuid}:{}", world.text("work/old")));
            assert_same(&old, &look(&out));
            assert!(world.ok("on disk/repo ls").starts_with(&listed), "{what}");
        };
        // Reading needs no room.
        assert_eq!(world.ok("on disk/repo ls").lines().count(), 1 + done, "{what}");
        world.ok(if number % 4 == 0 { "on disk/repo check" } else { "on disk/repo check -fast" });
        check_old();
        if done == 0 && number % 3 == 0 {
            full(&world.line(&push), &what);
            world.ok("on disk/repo check -fast");
        }
        disk.grow();
        if done == 0 {
            world.ok(&push);
            done = 1;
        }
        world.ok("on disk/repo check");
        let now = world.ok("on disk/repo ls");
        assert_eq!(now.lines().count(), 1 + done, "{what}");
        let _ = fs::remove_dir_all(world.path("work/out"));
        let uuid = now.lines().last().unwrap()[20..58].trim();
        world.ok(&format!("on disk/repo pull -rebase -path out {uuid}:{}", world.text("work/new")));
        assert_same(&new, &look(&world.path("work/out")));
        let left: Vec<_> =
            files(&world.path("work/disk/repo")).into_iter().filter(|p| is_temporary(p)).collect();
        assert!(left.is_empty(), "{what}: {left:?}");
    }
    println!("{failed} pushes did not fit");
    assert!(failed > 20);
}

fn is_temporary(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

#[test]
fn no_inodes_left_is_full_as_well() {
    let world = world();
    let Some(disk) = Disk::mount(world.path("work/disk"), "size=200m,nr_inodes=100000") else { return };
    world.write("f", "content");
    world.ok("on disk/repo create");
    let mut failed = 0;
    for more in 0.. {
        assert!(more < 100, "it never fits");
        let stat = rustix::fs::statvfs(&disk.0).unwrap();
        disk.resize(&format!("nr_inodes={}", stat.f_files - stat.f_ffree + more));
        let ran = world.line("on disk/repo push f");
        if ran.code == 0 {
            break;
        }
        full(&ran, &format!("{more} inodes"));
        failed += 1;
        assert_eq!(world.ok("on disk/repo ls"), "");
        world.ok("on disk/repo check");
    }
    assert!(failed > 0);
    disk.grow();
    world.ok("on disk/repo push f");
    world.ok("on disk/repo check");
}

#[test]
fn removing_and_keys_on_a_full_disk_change_nothing_by_halves() {
    let world = world().with("PLAKAR_NEW_PASSPHRASE", "another");
    let Some(disk) = Disk::mount(world.path("work/disk"), "size=200m") else { return };
    world.write("f", "content");
    world.ok("on disk/repo create");
    world.ok("on disk/repo push f");
    let listed = world.ok("on disk/repo ls");
    let uuid = listed[20..58].trim().to_owned();
    let (rm, add) = (format!("on disk/repo rm {uuid}"), "on disk/repo key add");
    disk.leave(0);
    full(&world.line(&rm), "rm");
    full(&world.line(add), "key add");
    full(&world.line("on disk/repo key passphrase"), "key passphrase");
    assert_eq!(world.ok("on disk/repo ls"), listed);
    assert_eq!(world.ok("on disk/repo key ls").lines().count(), 1);
    world.ok("on disk/repo check");
    disk.grow();
    world.ok(add);
    world.ok(&rm);
    assert_eq!(world.ok("on disk/repo ls"), "");
}

#[test]
fn copies_that_do_not_fit_are_completed_when_they_do() {
    // A little more room each time: nothing incomplete is ever taken for a repository, or for a snapshot.
    let world = world();
    let Some(disk) = Disk::mount(world.path("work/disk"), "size=200m") else { return };
    for n in 0..20 {
        world.write(&format!("old/{n}"), tree::noise(n, 40_000));
    }
    world.ok("create");
    world.ok("push old");
    let (mut clones, mut syncs) = (0, 0);
    // No size at all would be no limit.
    for room in (4096..1_200_000).step_by(150_000) {
        disk.leave(room);
        let ran = world.line("clone disk/copy");
        if ran.code != 0 {
            full(&ran, &format!("clone into {room} bytes"));
            assert_eq!(world.line("on disk/copy ls").code, 10, "{room}");
            clones += 1;
            disk.grow();
            world.ok("clone disk/copy");
        }
        disk.grow();
        world.ok("on disk/copy check");
        let listed = world.ok("ls");
        assert_eq!(world.ok("on disk/copy ls"), listed);
        world.write("new", tree::noise(room, 300_000));
        world.ok("push new");
        disk.leave(room / 3);
        let ran = world.line("sync disk/copy");
        if ran.code != 0 {
            full(&ran, &format!("sync into {room} bytes"));
            assert_eq!(world.ok("on disk/copy ls"), listed);
            world.ok("on disk/copy check");
            syncs += 1;
            disk.grow();
            world.ok("sync disk/copy");
        }
        disk.grow();
        assert_eq!(world.ok("on disk/copy ls"), world.ok("ls"));
        world.ok("on disk/copy check");
        fs::remove_dir_all(world.path("work/disk/copy")).unwrap();
    }
    println!("{clones} clones and {syncs} syncs did not fit");
    assert!(clones >= 5 && syncs >= 3);
}

#[test]
fn a_target_that_is_full_gets_whole_files_or_none() {
    // Everything that does not fit is named, and what is there is there with all its bytes.
    let world = world();
    let Some(disk) = Disk::mount(world.path("work/disk"), "size=1m") else { return };
    for n in 0..300 {
        world.write(&format!("tree/d{}/{n}", n % 7), tree::noise(n, 1000 * (n as usize % 50)));
    }
    world.write("tree/large", tree::noise(1, 20_000_000));
    world.write("tree/z", "the last");
    world.ok("create");
    world.ok("push tree");
    let root = world.path("work/tree");
    let before = look(&root);
    let mut partial = 0;
    for size in ["16k", "64k", "1m", "5m", "12m", "21m", "26m", "100m"] {
        for rebase in [true, false] {
            disk.resize(&format!("size={size}"));
            let flag = if rebase { "-rebase " } else { "" };
            let ran = world.line(&format!("pull {flag}-path disk/out :{}", root.display()));
            let out = match rebase {
                true => world.path("work/disk/out"),
                false => world.path("work/disk/out").join(root.strip_prefix("/").unwrap()),
            };
            assert!([0, 1, 3].contains(&ran.code) && !ran.err.contains("panicked"), "{size}: {ran:?}");
            assert_eq!(ran.code == 0, ran.err.is_empty(), "{size}: {ran:?}");
            assert_eq!(ran.code == 0, size == "100m" || (size == "26m" && ran.code == 0), "{size}: {ran:?}");
            let after = if out.exists() { look(&out) } else { Default::default() };
            for (path, look) in &after {
                assert!(before.contains_key(path), "{size}: {path:?} came from nowhere");
                assert_eq!(look.content, before[path].content, "{size}: {path:?} is not whole");
            }
            let missing: Vec<_> = before.keys().filter(|path| !after.contains_key(*path)).collect();
            partial += usize::from(!missing.is_empty() && !after.is_empty());
            if ran.code == 3 {
                for path in missing.iter().filter(|path| before[**path].content.is_some()) {
                    let named = ran.err.lines().any(|line| {
                        let told =
                            line.strip_prefix("plakar: ").and_then(|line| line.split_once(": ")).map(|t| t.0);
                        told.is_some_and(|told| path.starts_with(told) || out.join(path).ends_with(told))
                    });
                    assert!(named, "{size}: {path:?} is missing without a word: {}", ran.err);
                }
            }
            if ran.code != 0 {
                assert!(ran.err.contains("No space left on device"), "{size}: {ran:?}");
            }
            fs::remove_dir_all(world.path("work/disk/out")).unwrap_or_default();
        }
    }
    assert!(partial >= 8, "{partial}");
}

#[test]
fn what_is_in_the_target_stays_when_its_replacement_does_not_fit() {
    let world = world();
    let Some(disk) = Disk::mount(world.path("work/disk"), "size=8m") else { return };
    world.write("tree/large", tree::noise(1, 5_000_000));
    world.ok("create");
    world.ok("push tree");
    world.write("disk/out/large", tree::noise(2, 5_000_000));
    let ran = world.line(&format!("pull -rebase -path disk/out :{}", world.text("work/tree")));
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.err.starts_with("plakar: large: ") && ran.err.contains("No space left"), "{ran:?}");
    assert!(fs::read(world.path("work/disk/out/large")).unwrap() == tree::noise(2, 5_000_000));
    assert_eq!(fs::read_dir(world.path("work/disk/out")).unwrap().count(), 1, "nothing else is left there");
    disk.grow();
    world.ok(&format!("pull -rebase -path disk/out :{}", world.text("work/tree")));
    assert!(fs::read(world.path("work/disk/out/large")).unwrap() == tree::noise(1, 5_000_000));
}

#[test]
fn a_link_is_never_made_to_what_could_not_be_replaced() {
    // Two names of one file come over an old file: if the new one does not fit, the second name is not made a name of the
    // old one, which holds other bytes.
    let world = world();
    let Some(disk) = Disk::mount(world.path("work/disk"), "size=8m") else { return };
    for (name, size) in [("small", 5_000_000), ("large", 20_000_000)] {
        let file = world.write(&format!("{name}/first"), tree::noise(1, size));
        fs::hard_link(&file, world.path(&format!("work/{name}/second"))).unwrap();
    }
    world.ok("create");
    for name in ["small", "large"] {
        world.ok(&format!("push {name}"));
        let uuid = world.uuids().pop().unwrap();
        let old = world.write("disk/out/first", tree::noise(2, 5_000_000));
        let ran = world
            .line(&format!("pull -rebase -path disk/out {uuid}:{}", world.text(&format!("work/{name}"))));
        assert_eq!(ran.code, 3, "{ran:?}");
        for told in ["first", "second"] {
            assert!(ran.err.contains(&format!("plakar: {told}: ")), "{ran:?}");
        }
        assert!(fs::read(&old).unwrap() == tree::noise(2, 5_000_000));
        assert!(!world.path("work/disk/out/second").exists(), "{name}");
    }
    disk.grow();
    world.ok(&format!("pull -rebase -path disk/out {}:{}", world.uuids()[0], world.text("work/small")));
    assert!(fs::read(world.path("work/disk/out/second")).unwrap() == tree::noise(1, 5_000_000));
    assert!(fs::read(world.path("work/disk/out/first")).unwrap() == tree::noise(1, 5_000_000));
}

#[test]
fn a_full_home_does_not_keep_a_push_from_being_made() {
    // Hints and state are conveniences.
    let world = world();
    let Some(disk) = Disk::mount(world.path("home"), "size=64k") else { return };
    for n in 0..2000 {
        world.write(&format!("tree/{n}"), n.to_string());
    }
    world.ok("on repo create");
    disk.leave(0);
    world.ok("on repo push tree");
    disk.leave(4096);
    world.ok("on repo push tree");
    world.ok("on repo check");
    assert_eq!(world.ok("on repo ls").lines().count(), 2);
}
