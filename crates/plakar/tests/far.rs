//! What is kept on this machine of a repository that is elsewhere: it saves requests, and never changes what comes out.

mod common;

use common::World;
use common::tree::{finish, noise};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A world with a repository that is reached by an ssh which runs what it is given right here, and 200 files in it.
fn far(create: &str) -> World {
    let mut world = World::new().with("PLAKAR_PASSPHRASE", "a passphrase");
    let ssh = world.write("ssh", "#!/bin/sh\nfor last; do :; done\nexec sh -c \"$last\"\n");
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    world.set("PLAKAR_SSH", &world.text("work/ssh"));
    world.set("PLAKAR_REPOSITORY", &format!("ssh://host{}", world.text("work/there")));
    world.ok(create);
    for n in 0..200 {
        world.write(&format!("data/{}/{n}", n % 40), noise(n, 3_000));
    }
    world.ok("push data");
    world
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn kept(world: &World) -> Vec<PathBuf> {
    files(&world.path("home/.cache/plakar/far"))
}

fn bytes_kept(world: &World) -> u64 {
    kept(world).iter().map(|file| fs::metadata(file).unwrap().len()).sum()
}

/// What a command asked of the store.
fn asked(world: &World, words: &str) -> Value {
    let ran = world.line(&format!("-json -trace {words}"));
    assert_eq!(ran.code, 0, "{words}: {ran:?}");
    let last = ran.err.lines().last().unwrap();
    serde_json::from_str::<Value>(last).unwrap()["trace"].take()
}

/// How many requests a command made of what is far away.
fn requests(world: &World, words: &str) -> u64 {
    let ran = world.line(&format!("-no-cache -trace {words}"));
    assert_eq!(ran.code, 0, "{words}: {ran:?}");
    let mut far = ran.err.lines().filter(|line| line.contains("requests to ssh://"));
    let told = far.next().and_then(|line| line.strip_prefix("trace: ")?.split(' ').next()?.parse().ok());
    assert_eq!(far.next(), None, "it is opened once");
    told.unwrap()
}

/// However many of them are on their way together, so many requests are at most so many round trips.
#[test]
fn a_sync_of_nothing_asks_for_little_but_what_opening_does() {
    let world = far("create");
    let there = format!("ssh://host{}", world.text("work/there"));
    world.ok("clone near");
    let opening = requests(&world, "ls");
    for words in [format!("on near sync {there}"), format!("on near sync from {there}")] {
        let sync = requests(&world, &words);
        println!("{words}: {sync} requests, where ls makes {opening}");
        assert!((1..=opening + 4).contains(&sync), "{words}: {sync} of {opening}");
    }
}

/// All that a snapshot holds, read by a command for each directory and a file.
fn seen(world: &World) -> String {
    let id = &world.uuids()[0];
    let path = world.text("work/data");
    world.ok(&format!("ls -recursive {id}:{path}")) + &world.ok(&format!("info {id}"))
}

/// How many files a push had to read.
fn read_by(world: &World, words: &str) -> u64 {
    let pushed: Value = serde_json::from_str(&world.ok(&format!("-json {words}"))).unwrap();
    pushed["files_read"].as_u64().unwrap()
}

/// Leaves nothing of the packs but their length, or puts back what was in them.
fn spoil(world: &World, spoil: bool) {
    let (from, to) = if spoil { ("there", "whole") } else { ("whole", "there") };
    world.shell(&format!("rm -rf {to}/packs && mkdir -p {to} && cp -r {from}/packs {to}/")).succeeded();
    for pack in files(&world.path("work/there/packs")).into_iter().filter(|_| spoil) {
        let len = fs::metadata(&pack).unwrap().len();
        fs::remove_file(&pack).unwrap();
        fs::write(&pack, vec![0; len as usize]).unwrap();
    }
}

#[test]
fn an_unchanged_push_reads_no_tree() {
    for create in ["create", "create -no-encryption"] {
        let world = far(create);
        // Files that were changed just now are not believed to be unchanged. And the folders above belong to all: when
        // somebody makes something there the tree is another one.
        let is_unchanged = |_: &i32| {
            std::thread::sleep(Duration::from_millis(300));
            world.ok("push data");
            world.ok("push data");
            spoil(&world, true);
            let read = read_by(&world, "push data");
            let read_without = read_by(&world, "-no-cache push -trust-mtime data");
            spoil(&world, false);
            assert_eq!(read_without, 200, "whoever reads a tree notices");
            read == 0
        };
        assert!((0..40).any(|n| is_unchanged(&n)));
        let (with, without) = (asked(&world, "push data"), asked(&world, "-no-cache push data"));
        assert!(with["range"].as_u64() < without["range"].as_u64(), "{with} {without}");
    }
}

#[test]
fn a_tree_that_was_listed_once_is_not_asked_for_again() {
    let world = far("create");
    let lists = format!("ls -recursive {}:{}", world.uuids()[0], world.text("work/data"));
    let listed = world.ok(&lists);
    spoil(&world, true);
    assert_eq!(world.ok(&lists), listed);
    world.fails(&format!("-no-cache {lists}"), 4, "does not authenticate");
    world.fails("check", 4, "not a pack");
}

#[test]
fn without_a_cache_nothing_is_touched() {
    let world = far("create");
    world.shell("rm -r ~/.cache").succeeded();
    for words in ["push data", "ls", "check"] {
        world.ok(&format!("-no-cache {words}"));
    }
    assert!(!world.path("home/.cache").exists());
    // Nor by what judges the store itself, nor for one that is here.
    world.ok("check");
    world.ok("cleanup");
    world.ok("clone here");
    world.ok("on here ls");
    world.ok("on here push data");
    assert_eq!(kept(&world), [] as [PathBuf; 0]);
    world.ok("ls");
    assert!(!kept(&world).is_empty());
    world.ok("-cache elsewhere push data");
    assert!(!files(&world.path("work/elsewhere/far")).is_empty());
}

#[test]
fn only_its_owner_looks_into_it() {
    let world = far("create");
    seen(&world);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let files = kept(&world);
    assert!(bytes_kept(&world) > 0);
    for file in &files {
        assert_eq!((mode(file), mode(file.parent().unwrap())), (0o600, 0o700), "{file:?}");
    }
    assert_eq!(mode(&world.path("home/.cache/plakar/far")), 0o700);
    // What is kept is sealed: no name in it can be read.
    let text = fs::read(&files[0]).unwrap();
    assert!(!text.windows(9).any(|nine| nine == b"work/data"));
}

#[test]
fn it_stays_within_its_bound() {
    let world = far("create");
    let expected = seen(&world);
    let free = bytes_kept(&world);
    assert!(free > 8_000, "{free}");
    for max in [4_000, 8_000] {
        for _ in 0..3 {
            let path = world.text("work/data");
            let id = &world.uuids()[0];
            world.ok(&format!("-cache small -cache-size {max} ls -recursive {id}:{path}"));
            let small: u64 =
                files(&world.path("work/small")).iter().map(|f| fs::metadata(f).unwrap().len()).sum();
            assert!(small <= max, "{small} of {max}");
        }
    }
    assert_eq!(seen(&world), expected);
    world.fails("-cache-size much ls", 2, "no size");
    // The configuration may say it as well.
    let configure = |text: &str| {
        fs::create_dir_all(world.path("home/.config/plakar")).unwrap();
        fs::write(world.path("home/.config/plakar/config.toml"), text).unwrap();
    };
    configure("cache-size = '4000B'");
    world.shell("rm -r ~/.cache").succeeded();
    assert_eq!(seen(&world), expected);
    let small = bytes_kept(&world);
    assert!((1..=4_000).contains(&small), "{small}");
    configure("cache-size = 'much'");
    world.fails("ls", 2, "config.toml:1: cache-size: \"much\" is no size");
    world.ok("-cache-size 1MB ls -json");
}

#[test]
fn where_nothing_can_be_kept_that_is_told_once() {
    let world = far("create");
    let expected = seen(&world);
    world.shell("rm -r ~/.cache && touch ~/.cache").succeeded();
    let ran = world.line("push data");
    assert_eq!((ran.code, ran.err.lines().count()), (0, 1), "{ran:?}");
    assert!(ran.err.contains("cannot be kept") && ran.err.contains("/.cache/plakar/far/"), "{ran:?}");
    world.shell("rm ~/.cache && mkdir -p ~/.cache/plakar/far").succeeded();
    assert_eq!(seen(&world), expected);
    // The folder is there, and the file in it cannot be written.
    let folder = kept(&world)[0].parent().unwrap().to_owned();
    world.shell(&format!("rm {0}/*; mkdir {0}/newer", folder.display())).succeeded();
    let ran = world.line("ls");
    assert!(ran.code == 0 && ran.err.lines().count() == 1 && ran.err.contains("cannot be kept"), "{ran:?}");
}

/// The sum at the end of what is kept.
fn sum(bytes: &[u8]) -> [u8; 8] {
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step).to_le_bytes()
}

/// Changes a byte of the content of every record, and makes their sums right again.
fn forge(file: &Path) -> usize {
    let mut bytes = fs::read(file).unwrap();
    let (mut at, mut n) = (0, 0);
    while at < bytes.len() {
        let len = u32::from_le_bytes(bytes[at + 16..at + 20].try_into().unwrap()) as usize;
        let start = at + 21 + usize::from(bytes[at + 20]);
        bytes[start + len / 2] ^= 1;
        let sum = sum(&bytes[at..start + len]);
        bytes[start + len..start + len + 8].copy_from_slice(&sum);
        (at, n) = (start + len + 8, n + 1);
    }
    fs::write(file, bytes).unwrap();
    n
}

#[test]
fn what_passes_for_whole_and_is_not_is_found_out_and_forgotten() {
    let world = far("create");
    let (id, path) = (world.uuids()[0].clone(), world.text("work/data"));
    let lists = format!("ls -recursive {id}:{path}");
    let expected = world.ok(&lists);
    for words in [lists.as_str(), "push data"] {
        world.ok(&lists);
        let forged: usize = kept(&world).iter().map(|file| forge(file)).sum();
        assert!(forged > 0);
        world.ok(words);
        assert_eq!(kept(&world), [] as [PathBuf; 0], "{words}");
    }
    assert_eq!(world.ok(&lists), expected);
    assert_eq!(world.ok("check"), "");
}

#[test]
fn another_repository_at_the_same_place_is_not_taken_for_it() {
    let world = far("create -no-encryption");
    seen(&world);
    let folders = || fs::read_dir(world.path("home/.cache/plakar/far")).unwrap().count();
    assert_eq!(folders(), 1);
    world.shell("mv there before").succeeded();
    world.ok("create -no-encryption");
    world.write("other/f", "content");
    world.ok("push other");
    let id = &world.uuids()[0];
    assert_eq!(world.ok(&format!("cat {id}:{}", world.text("work/other/f"))), "content");
    assert_eq!(folders(), 2);
    // Whatever lies in its folder is not its own: by their names it finds nothing of another's.
    let all = kept(&world);
    let (a, b) = (all[0].clone(), all.iter().find(|file| file.parent() != all[0].parent()).unwrap());
    fs::copy(&a, world.path("work/saved")).unwrap();
    fs::copy(b, &a).unwrap();
    fs::copy(world.path("work/saved"), b).unwrap();
    assert_eq!(world.ok(&format!("cat {id}:{}", world.text("work/other/f"))), "content");
    assert_eq!(world.ok("check"), "");
}

#[test]
fn many_at_once_and_one_who_deletes_it_harm_nobody() {
    let world = far("create");
    let (id, path) = (&world.uuids()[0], world.text("work/data"));
    let listed = world.ok(&format!("ls -recursive {id}:{path}"));
    for round in 0..4 {
        let size = ["20kB", "1GiB"][round % 2];
        let start = |words: &str| {
            let mut command = world.command(env!("CARGO_BIN_EXE_plakar"));
            command.args(["-cache-size", size]).args(words.split_whitespace());
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
        };
        let readers: Vec<_> = (0..3).map(|_| start(&format!("ls -recursive {id}:{path}"))).collect();
        let writers: Vec<_> = (0..2).map(|_| start("push data")).collect();
        for _ in 0..if round < 2 { 0 } else { 40 } {
            let _ = fs::remove_dir_all(world.path("home/.cache/plakar/far"));
            std::thread::sleep(Duration::from_millis(5));
        }
        for child in readers {
            let ended = finish(child, Duration::from_secs(60), "a listing");
            assert!(ended.status.success() && ended.stdout == listed.as_bytes(), "{ended:?}");
        }
        for child in writers {
            let ended = finish(child, Duration::from_secs(60), "a push");
            assert!(ended.status.success(), "{ended:?}");
        }
    }
    assert_eq!(world.ok("check"), "");
}
