//! `tarball`: what GNU tar takes out of an archive is what `pull` restores, and an archive that is not whole is not left.

mod common;

use common::tree::{self, Look, assert_same, look};
use common::{Ran, World};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Without what it has to say of files from the future and of those from before 1970.
const EXTRACT: &str = "tar --xattrs --xattrs-include='*' --numeric-owner --warning=no-timestamp";

/// A tree with all there is but sockets, which no tar archive holds, and with names that take records.
fn make_tree(world: &World) {
    let root = world.path("work/tree");
    fs::create_dir(&root).unwrap();
    tree::make_everything(&root);
    if tree::is_root() {
        tree::make_roots_part(&root);
        fs::remove_file(root.join("sock")).unwrap();
    }
    fs::remove_file(root.join("socket")).unwrap();
    let long =
        root.join("l".repeat(150)).join(OsStr::from_bytes(&[b"\xff".as_slice(), &[b'o'; 149]].concat()));
    fs::create_dir_all(&long).unwrap();
    let file = long.join("f");
    fs::write(&file, "at a path of more than 300 bytes").unwrap();
    fs::hard_link(&file, root.join("to the long one")).unwrap();
    std::os::unix::fs::symlink("t".repeat(3000), root.join("far away")).unwrap();
    tree::set_xattr(&file, "user.a=b%c", b"\0=\n\xff");
    tree::set_time(&root, 1_111_111_111, 111_111_111);
}

/// Without holes: an archive has zeros in their places.
fn without_holes(mut seen: BTreeMap<PathBuf, Look>) -> BTreeMap<PathBuf, Look> {
    seen.values_mut().for_each(|look| look.data.clear());
    seen
}

/// Takes an archive out into a new directory.
fn extracted(world: &World, into: &str, line: &str) -> BTreeMap<PathBuf, Look> {
    let ran = world.shell(&format!("mkdir {into} && {line}"));
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{line}");
    without_holes(look(&world.path("work").join(into)))
}

/// What is left in the working directory whose name has this in it.
fn named(world: &World, part: &str) -> Vec<String> {
    let entries = fs::read_dir(world.path("work")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains(part)).collect()
}

#[test]
fn what_tar_takes_out_is_what_was_pushed() {
    let world = World::new();
    world.ok("create -no-encryption");
    make_tree(&world);
    world.ok("push tree");
    let t = world.text("work/tree");
    world.ok(&format!("pull -rebase -path pulled latest:{t}"));
    let before = without_holes(look(&world.path("work/pulled")));
    assert!(before.len() > 240);
    for (n, name) in ["a.tar", "a.tar.gz", "a.tar.zst"].iter().enumerate() {
        assert_eq!(world.ok(&format!("tarball -rebase -output {name} latest:{t}")), "");
        assert_eq!(world.path("work").join(name).metadata().unwrap().mode() & 0o777, 0o600);
        assert_same(&before, &extracted(&world, &format!("r{n}"), &format!("{EXTRACT} -C r{n} -xpf {name}")));
    }
    let magic = |name: &str| fs::read(world.path("work").join(name)).unwrap()[..4].to_vec();
    assert_eq!((&magic("a.tar.gz")[..2], &*magic("a.tar.zst")), (&b"\x1f\x8b"[..], &b"\x28\xb5\x2f\xfd"[..]));
    let line = format!("plakar tarball -rebase -format tar -output - latest:{t} | {EXTRACT} -C p -xpf -");
    assert_same(&before, &extracted(&world, "p", &line));
    assert_eq!(named(&world, ".tmp"), Vec::<String>::new());
}

#[test]
fn names_are_those_that_pull_makes() {
    let world = World::new();
    world.ok("create -no-encryption");
    world.write("d/a/f", "f");
    world.write("d/b", "b");
    fs::create_dir(world.path("work/d/empty")).unwrap();
    tree::set_mode(&world.path("work/d"), 0o751);
    world.ok("push d");
    let d = world.text("work/d");
    for (n, words) in
        ["latest".to_owned(), format!("latest:{d}/a"), format!("-rebase latest:{d}"), format!("latest:{d}/b")]
            .iter()
            .chain([&format!("-rebase latest:{d}/b latest:{d}/a")])
            .enumerate()
    {
        world.ok(&format!("pull -path pulled{n} {words}"));
        world.ok(&format!("tarball -output {n}.tar {words}"));
        let mut before = look(&world.path(&format!("work/pulled{n}")));
        let mut after = extracted(&world, &format!("o{n}"), &format!("{EXTRACT} -C o{n} -xpf {n}.tar"));
        if !words.contains("-rebase") || words.contains("/b") {
            // The directory into which it was done.
            before.remove(&PathBuf::new());
            after.remove(&PathBuf::new());
        }
        assert_same(&without_holes(before), &after);
    }
    // The same twice: no name is a link to itself.
    world.ok(&format!("tarball -output twice.tar latest:{d} latest:{d}"));
    extracted(&world, "twice", &format!("{EXTRACT} -C twice -xpf twice.tar"));
}

#[test]
fn nothing_is_replaced_and_no_terminal_is_written_to() {
    let world = World::new();
    world.ok("create -no-encryption");
    world.write("d/f", "f");
    world.ok("push d");
    world.write("there.tar", "mine");
    world.fails("tarball -output there.tar latest", 1, "there.tar: is there already");
    assert_eq!(fs::read(world.path("work/there.tar")).unwrap(), b"mine");
    world.fails("tarball", 2, "need at least one snapshot ID to tarball");
    world.fails("tarball latest:/nowhere", 1, "no such path in the snapshot");
    world.fails("tarball -format zip latest", 2, "invalid value 'zip'");
    world.fails("tarball -output no/such/folder.tar latest", 1, "no/such/folder.tar");
    let ran = world.at_terminal("plakar tarball -output - latest", &[]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.out.contains("an archive is not for a terminal"), "{ran:?}");
    assert_eq!(named(&world, "plakar-"), Vec::<String>::new());
    world.ok("tarball latest");
    let made = named(&world, "plakar-");
    assert!(made.len() == 1 && made[0].ends_with("Z.tar.gz"), "{made:?}");
    assert!(world.shell("tar -tzf ./plakar-*").succeeded().ends_with("/d/f\n"));
    let ran = world.shell("plakar tarball -output - -format tar latest > /dev/full");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("cannot write to standard output"), "{ran:?}");
}

#[test]
fn what_cannot_be_in_it_is_told() {
    let world = World::of_user();
    world.write("d/f", "f");
    world.write("d/closed", "x");
    tree::make_special(&world.path("work/d/socket"), rustix::fs::FileType::Socket, 0, 0);
    world.give_to_user("work");
    tree::set_mode(&world.path("work/d/closed"), 0);
    let run = |words: &str| -> Ran { world.run_as_user(words.split_whitespace()) };
    run("create -no-encryption").succeeded();
    assert_eq!(run("push d").code, 3);
    let ran = run("tarball -output a.tar latest");
    assert_eq!((ran.code, ran.err.lines().count()), (3, 2), "{ran:?}");
    assert!(ran.err.contains("d/socket: is a socket") && ran.err.contains("d/closed: could not be read"));
    let listed = world.shell("tar -tf a.tar").succeeded();
    assert!(listed.ends_with("/d/f\n") && !listed.contains("closed"), "{listed}");
}

#[test]
fn damage_leaves_no_archive() {
    let world = World::new();
    world.ok("create -no-encryption -no-compression");
    world.write("d/a", tree::noise(1, 30_000));
    world.write("d/large", tree::noise(2, 40_000_000));
    world.ok("push d");
    // A byte in the last third of what is stored: within the large file, far behind its header.
    let packs = world.path("home/.plakar/store/packs");
    let pack = world.shell(&format!("find {} -type f -size +4M | sort", packs.display())).succeeded();
    assert!(!pack.is_empty());
    for pack in pack.lines() {
        let at = fs::metadata(pack).unwrap().len() * 3 / 4;
        world
            .shell(&format!(
                "chmod u+w {pack}; printf 'xyz' | dd of={pack} bs=1 seek={at} conv=notrunc 2>/dev/null"
            ))
            .succeeded();
    }
    let d = world.text("work/d");
    for format in ["tar", "tar.gz", "tar.zst"] {
        let ran = world.fails(&format!("tarball -output a.{format} latest"), 4, &format!("{d}/large: "));
        assert!(ran.err.contains(&world.uuids()[0]), "{ran:?}");
        assert_eq!(named(&world, "a."), Vec::<String>::new());
        // On standard output there is no end, so that no reader takes it for one.
        let ran = world.line(&format!("tarball -output - -format {format} latest"));
        assert_eq!(ran.code, 4, "{}", ran.err);
        fs::write(world.path("work/cut"), &ran.bytes).unwrap();
        let read = world.shell("tar -tf cut");
        assert!(ran.bytes.len() > 1_000_000 && read.code != 0, "{format}: {read:?}");
        fs::remove_file(world.path("work/cut")).unwrap();
    }
}
