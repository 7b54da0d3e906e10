//! What is pulled is what was pushed: every kind of entry and everything that is to be seen of it, exactly as root,
//! and as far as possible as a user, who is told what was not possible.

mod common;

use common::tree::{self, Look, assert_same, look};
use common::{Ran, World};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A world with a repository, made with these flags.
fn world(flags: &str) -> World {
    let world = World::new().with("PLAKAR_PASSPHRASE", "secret");
    world.ok(&format!("create {flags}"));
    world
}

/// Pushes `work/name`, pulls it into `work/out` and says what is there.
fn there_and_back(world: &World, name: &str) -> BTreeMap<PathBuf, Look> {
    world.ok(&format!("push {name}"));
    world.ok(&format!("pull -rebase -path out :{}", world.text(&format!("work/{name}"))));
    look(&world.path("work/out"))
}

fn make_tree(world: &World) -> PathBuf {
    let root = world.path("work/tree");
    fs::create_dir(&root).unwrap();
    tree::make_everything(&root);
    if tree::is_root() {
        tree::make_roots_part(&root);
    }
    tree::set_time(&root, 1_111_111_111, 111_111_111);
    root
}

#[test]
fn everything_comes_back_as_it_was() {
    // A tree with all there is goes through repositories of every make; what comes back is the same to every eye, and
    // nothing was worth a word.
    for flags in ["", "-no-encryption", "-no-compression", "-chunker fastcdc -compression small"] {
        let world = world(flags);
        let before = look(&make_tree(&world));
        assert!(before.len() > 240);
        let after = there_and_back(&world, "tree");
        assert_same(&before, &after);
        assert_same(&before, &look(&world.path("work/tree")));
        world.ok("check");
        // Again, over what is there now, and unchanged.
        world.ok("push tree");
        let uuid = world.uuids().pop().unwrap();
        world.ok(&format!("pull -rebase -path out {uuid}:{}", world.text("work/tree")));
        assert_same(&before, &look(&world.path("work/out")));
    }
    if !tree::is_root() {
        tree::skipped("devices, owners and capabilities need root");
    }
}

#[test]
fn without_rebase_it_lands_under_its_whole_path() {
    // As the transcripts have it: what lay at /a/b comes to out/a/b, with the directories on the way as they are.
    let world = world("-no-encryption");
    let root = make_tree(&world);
    tree::set_mode(&world.path("work"), 0o751);
    let before = look(&root);
    world.ok("push tree");
    for (reference, into) in [(":", "whole"), (&*format!(":{}", root.display()), "part")] {
        world.ok(&format!("pull -path {into} {reference}"));
        let landed = world.path("work").join(into).join(root.strip_prefix("/").unwrap());
        assert_same(&before, &look(&landed));
        assert_eq!(landed.parent().unwrap().metadata().unwrap().mode() & 0o7777, 0o751);
    }
    // Without -path, where one stands.
    fs::create_dir(world.path("work/here")).unwrap();
    world.shell("cd here && plakar pull :").succeeded();
    let landed = world.path("work/here").join(root.strip_prefix("/").unwrap());
    assert_same(&before, &look(&landed));
}

#[test]
fn one_entry_can_be_pulled_alone_whatever_it_is() {
    let world = world("");
    let root = make_tree(&world);
    let before = look(&root);
    world.ok("push tree");
    for name in
        ["small", "large", "to-file", "dangling", "fifo", "hole at the end", "names/new\nline", "dir/sub/7"]
    {
        let reference = format!(":{}", root.join(name).display());
        world.run(["pull", "-rebase", "-path", "one", &reference]).succeeded();
        let file = Path::new(name).file_name().unwrap();
        let after = tree::look_at(&world.path("work/one").join(file));
        let expected = Look { same_as: None, ..before[Path::new(name)].clone() };
        assert_eq!(after, expected, "{name}");
    }
}

#[test]
fn cat_prints_the_bytes() {
    let world = world("");
    let root = make_tree(&world);
    world.ok("push tree");
    for name in
        ["small", "large", "text", "empty file", "hole at the beginning", "dir/sub/199", "dir/large again"]
    {
        let path = root.join(name);
        let ran = world.run(["cat", &format!(":{}", path.display())]);
        assert!((ran.code, &*ran.err) == (0, "") && ran.bytes == fs::read(&path).unwrap(), "{name}");
    }
    let two = format!(":{0}/small :{0}/setgid", root.display());
    assert_eq!(world.ok(&format!("cat {two}")), "smallsetgid");
    for name in ["to-file", "fifo", "dir"] {
        world.fails(&format!("cat :{}/{name}", root.display()), 1, "cat: could not open file");
    }
}

#[test]
fn ls_recursive_lists_each_entry_once() {
    // Directories come before what is in them, and nothing comes twice.
    let world = world("");
    let root = make_tree(&world);
    let expected: BTreeSet<_> = look(&root).into_keys().map(|path| root.join(path)).collect();
    world.ok("push tree");
    let listed = world.ok("-json ls -recursive :");
    let mut seen = BTreeSet::new();
    for line in listed.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let path = match value.get("path_hex").and_then(|hex| hex.as_str()) {
            Some(hex) => from_hex(hex),
            None => PathBuf::from(value["path"].as_str().unwrap()),
        };
        assert!(
            path.parent().unwrap() == Path::new("/") || seen.contains(path.parent().unwrap()),
            "{path:?}"
        );
        assert!(seen.insert(path.clone()), "{path:?} comes twice");
    }
    let beneath: BTreeSet<_> = seen.iter().filter(|path| path.starts_with(&root)).cloned().collect();
    assert_eq!(beneath, expected.into_iter().map(|path| path.components().collect()).collect());
    let ancestors = seen.len() - beneath.len();
    assert_eq!(
        ancestors,
        root.components().count() - 2,
        "the directories on the way are listed, and nothing else"
    );
    let lines = world.ok("ls -recursive :");
    assert_eq!(lines.lines().count(), seen.len(), "a line each, whatever the names");
}

fn from_hex(hex: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    std::ffi::OsString::from_vec((0..hex.len()).step_by(2).map(byte).collect()).into()
}

#[test]
fn hard_links_hold_across_roots() {
    // Two roots are pushed together that share files: they still do when they come back, and again when the next push
    // takes them over unread.
    let world = world("");
    for dir in ["a/x", "b"] {
        fs::create_dir_all(world.path("work").join(dir)).unwrap();
    }
    for n in 0..20 {
        let file = world.write(&format!("a/x/{n}"), tree::noise(n, 40_000));
        fs::hard_link(&file, world.path("work/b").join(format!("also {n}"))).unwrap();
        fs::hard_link(&file, world.path("work/a").join(format!("here too {n}"))).unwrap();
    }
    // One name of it is pushed only: not a link any more as far as anybody can see.
    let alone = world.write("alone", "x");
    fs::hard_link(&alone, world.path("work/b/alone")).unwrap();
    for round in 0..2 {
        world.ok("push a b");
        let uuid = world.uuids().pop().unwrap();
        let into = format!("out{round}");
        world.ok(&format!("pull -path {into} {uuid}"));
        let landed = world.path("work").join(&into).join(world.path("work").strip_prefix("/").unwrap());
        for n in 0..20 {
            let inode = |name: String| landed.join(name).metadata().unwrap().ino();
            let one = inode(format!("a/x/{n}"));
            assert_eq!(inode(format!("b/also {n}")), one);
            assert_eq!(inode(format!("a/here too {n}")), one);
        }
        assert_eq!(landed.join("b/alone").metadata().unwrap().nlink(), 1);
        // Old enough for the next push to believe that nothing changed.
        std::thread::sleep(std::time::Duration::from_millis(2100 * (1 - round)));
    }
    // Of a part, what is in it.
    let uuid = world.uuids().pop().unwrap();
    world.ok(&format!("pull -rebase -path part {uuid}:{}", world.text("work/b")));
    assert_eq!(world.path("work/part/also 3").metadata().unwrap().nlink(), 1);
    assert_eq!(fs::read(world.path("work/part/also 3")).unwrap(), tree::noise(3, 40_000));
}

#[test]
fn a_file_of_five_gibibytes_with_bytes_at_its_very_end() {
    // Nobody reads, stores or writes what is not there, and offsets beyond 32 bits are as good as others.
    let world = world("");
    let size = (5 << 30) + 12_345;
    fs::create_dir(world.path("work/tree")).unwrap();
    let data = [(0, 10), ((4 << 30) - 5, 10), (size - 70_000, 70_000)];
    tree::make_sparse(&world.path("work/tree/huge"), size, &data);
    let before = look(&world.path("work/tree"));
    let began = std::time::Instant::now();
    assert_same(&before, &there_and_back(&world, "tree"));
    assert!(began.elapsed().as_secs() < 30, "holes are read: {:?}", began.elapsed());
    let stored = world.shell("du -s --block-size=1 ../home/.plakar/store").succeeded();
    let stored: u64 = stored.split_whitespace().next().unwrap().parse().unwrap();
    assert!(stored < 2_000_000, "{stored} bytes are stored");
    assert!(world.path("work/out/huge").metadata().unwrap().blocks() < 1000);
    world.ok("check");
}

#[test]
fn a_directory_fifteen_hundred_levels_deep() {
    let world = world("-no-encryption");
    let root = world.path("work/deep");
    fs::create_dir(&root).unwrap();
    tree::make_deep(&root, 1500, "dir");
    let before = tree::look_deep(&root, "dir");
    assert_eq!(before.len(), 1501);
    world.ok("push deep");
    world.ok(&format!("pull -rebase -path out :{}", root.display()));
    let after = tree::look_deep(&world.path("work/out"), "dir");
    assert_eq!(world.ok("ls -recursive :").lines().filter(|line| line.ends_with("/z")).count(), 1500);
    world.ok("check");
    tree::remove_deep(&root, "dir");
    tree::remove_deep(&world.path("work/out"), "dir");
    assert!(before == after);
}

#[test]
fn a_directory_of_twenty_thousand_files() {
    let world = world("");
    let root = world.path("work/tree");
    fs::create_dir(&root).unwrap();
    for n in 0..20_000 {
        fs::write(root.join(format!("file {n}")), if n % 3 == 0 { String::new() } else { n.to_string() })
            .unwrap();
    }
    let before = look(&root);
    assert_same(&before, &there_and_back(&world, "tree"));
    assert_eq!(world.ok(&format!("ls :{}", root.display())).lines().count(), 20_000);
}

#[test]
fn a_root_that_is_a_link_is_followed() {
    // As /bin is on most machines now: the link was typed, so what it points at is meant, under the name typed.
    let world = world("-no-encryption");
    world.write("usr/bin/tool", "runs");
    world.write("file", "content");
    world
        .shell("ln -s usr/bin bin && ln -s bin twice && ln -s file link && ln -s tool usr/bin/alias")
        .succeeded();
    let work = world.text("work");
    world.ok("push bin twice link");
    let listed = world.ok("ls");
    assert!(listed.ends_with(&format!(" {work}/bin, {work}/twice, {work}/link\n")), "{listed}");
    world.ok("pull -path out :");
    let landed = format!("out{work}");
    let found = world.shell(&format!("cd {landed} && find . -printf '%p %y\\n' | sort")).succeeded();
    assert_eq!(
        found,
        ". d\n./bin d\n./bin/alias l\n./bin/tool f\n./link f\n./twice d\n./twice/alias l\n./twice/tool f\n"
    );
    assert_eq!(world.ok(&format!("cat :{work}/bin/tool :{work}/link")), "runscontent");
    // With a slash behind it, too.
    world.ok("push bin/ ./twice//");
    assert!(world.ok("ls").ends_with(&format!(" {work}/bin, {work}/twice\n")));
}

// ---------------------------------------------------------------------------------------------- as a user

/// A world whose user has a repository.
fn users_world(flags: &str) -> World {
    let world = World::of_user().with("PLAKAR_PASSPHRASE", "secret");
    world.run_as_user(["create"].into_iter().chain(flags.split_whitespace())).succeeded();
    world
}

#[test]
fn a_user_gets_everything_of_their_own_back() {
    let world = users_world("");
    let root = world.path("work/tree");
    fs::create_dir(&root).unwrap();
    tree::make_everything(&root);
    world.give_to_user("work/tree");
    // A change of owner took these away.
    tree::set_mode(&root.join("setuid"), 0o4755);
    tree::set_mode(&root.join("setgid"), 0o2711);
    tree::set_mode(&root.join("both"), 0o6700);
    let before = look(&root);
    world.run_as_user(["push", "tree"]).succeeded();
    world.run_as_user(["pull", "-rebase", "-path", "out", &format!(":{}", root.display())]).succeeded();
    assert_same(&before, &look(&world.path("work/out")));
    assert!(before[Path::new("both")].mode & 0o6000 == 0o6000);
}

#[test]
fn what_a_user_cannot_restore_is_named_and_gives_nobody_rights() {
    // Root pushed the machine; a user pulls from it. Contents, modes and times come; owners, devices, capabilities and
    // setuid bits do not, and each is named.
    if tree::needs_root() {
        return;
    }
    let world = World::of_user().with("PLAKAR_PASSPHRASE", "secret");
    world.ok("create");
    let root = make_tree(&world);
    let before = look(&root);
    world.ok("push tree");
    world.give_to_user("home");
    let ran = world.run_as_user(["pull", "-rebase", "-path", "out", &format!(":{}", root.display())]);
    assert_eq!(ran.code, 3, "{ran:?}");
    let after = look(&world.path("work/out"));
    let said = |name: &str, what: &str| {
        let line = format!("plakar: {name}: {what}");
        assert!(ran.err.lines().any(|l| l.starts_with(&line)), "not {line:?}: {}", ran.err);
    };
    for name in ["null", "disk"] {
        said(name, "cannot be created");
        assert!(!after.contains_key(Path::new(name)));
    }
    for (name, wanted) in &before {
        if matches!(name.to_str(), Some("null" | "disk")) {
            continue;
        }
        let got = after.get(name).unwrap_or_else(|| panic!("{name:?} is missing"));
        // Of several names of a file the first is named.
        let first = wanted.same_as.as_ref().is_none_or(|first| first == name);
        let printable =
            |name: &&str| !name.is_empty() && !name.contains(|c: char| c == '\\' || !c.is_ascii_graphic());
        if let Some(name) = name.to_str().filter(printable).filter(|_| first) {
            said(name, "owner not restored");
        }
        assert_eq!(got.owner, (tree::NOBODY, tree::NOBODY));
        assert_eq!(
            (&got.content, &got.target, got.size),
            (&wanted.content, &wanted.target, wanted.size),
            "{name:?}"
        );
        assert_eq!(got.mtime, wanted.mtime, "{name:?}");
        assert_eq!(got.data, wanted.data, "{name:?}");
        assert_eq!(got.mode & 0o6000, 0, "{name:?}");
        assert_eq!(got.mode, wanted.mode & !0o6000, "{name:?}");
        assert_eq!(got.same_as, wanted.same_as, "{name:?}");
        let users = |look: &Look| look.xattrs.keys().filter(|n| !is_roots(n)).cloned().collect::<Vec<_>>();
        assert_eq!(users(got), users(wanted), "{name:?}");
    }
    said("setuid", "setuid and setgid left out");
    said("setuid of another", "setuid and setgid left out");
    said("setgid-dir", "setuid and setgid left out");
    said("capable", "attribute security.capability not restored");
    assert!(ran.out.is_empty());
}

fn is_roots(name: &std::ffi::OsStr) -> bool {
    let name = name.to_str().unwrap();
    name.starts_with("security.") || name.starts_with("trusted.")
}

#[test]
fn what_a_user_cannot_read_is_named_and_never_restored_as_something_else() {
    // Two files and two directories are closed to who pushes. The rest is captured; the snapshot knows what is missing, and
    // says so to whoever pulls, and there is no empty file in its place.
    let world = users_world("-no-encryption");
    world.write("tree/fine", "content");
    world.write("tree/closed file", "secret");
    world.write("tree/closed dir/inside", "secret");
    world.write("tree/no search/inside", "secret");
    world.write("tree/sub/also fine", "content");
    fs::hard_link(world.path("work/tree/closed file"), world.path("work/tree/sub/same closed file")).unwrap();
    world.give_to_user("work/tree");
    world.shell("chmod 000 'tree/closed file' 'tree/closed dir' && chmod 444 'tree/no search'").succeeded();
    let tree = world.text("work/tree");

    let ran = world.run_as_user(["push", "tree"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    let missing = ["closed file", "closed dir", "no search/inside", "sub/same closed file"];
    for name in missing {
        let line = format!("plakar: {tree}/{name}: ");
        assert!(ran.err.lines().any(|l| l.starts_with(&line)), "not {line:?}: {ran:?}");
    }
    assert_eq!(ran.err.lines().count(), missing.len(), "{ran:?}");
    let listed = world.run_as_user(["ls", "-recursive", ":"]).succeeded();
    for name in missing {
        assert!(listed.contains(&format!("{tree}/{name}\n")), "{name} is recorded: {listed}");
    }
    let info = world.run_as_user(["-json", "info", ""]);
    assert!(info.code != 0 || info.out.contains("\"errors\":4"), "{info:?}");

    for words in
        [["pull", "-rebase", "-path", "out", &format!(":{tree}")], ["pull", "-quiet", "-path", "whole", ":"]]
    {
        let ran = world.run_as_user(words);
        assert_eq!(ran.code, 3, "{ran:?}");
        for name in missing {
            assert!(ran.err.contains(&format!("{name}: could not be read")), "{name}: {ran:?}");
        }
        let out = if words[1] == "-rebase" {
            world.path("work/out")
        } else {
            world.path(&format!("work/whole{tree}"))
        };
        for name in ["closed file", "no search/inside", "sub/same closed file", "closed dir/inside"] {
            assert!(!out.join(name).exists(), "{name} is an empty lie");
        }
        assert_eq!(fs::read(out.join("fine")).unwrap(), b"content");
        assert_eq!(fs::read(out.join("sub/also fine")).unwrap(), b"content");
    }
    let ran: Ran = world.run_as_user(["cat", &format!(":{tree}/closed file")]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{ran:?}");
    assert!(ran.err.contains("could not be read when it was pushed"), "{ran:?}");
    // It is no damage.
    world.run_as_user(["check"]).succeeded();
    // Once it can be read, it is.
    world.shell("chmod -R u=rwX tree").succeeded();
    world.run_as_user(["push", "tree"]).succeeded();
    let ran = world.shell_as_user(&format!(
        "plakar pull -rebase -path again $(plakar ls | tail -n 1 | cut -c 22-58):{tree} && diff -r tree again"
    ));
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""));
}
