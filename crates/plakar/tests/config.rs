//! What the user wrote down once: names of repositories and of what is pushed, and what is said when it is not understood.

mod common;

use common::World;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// Writes the configuration, in which `WORK` stands for the working directory.
fn configure(world: &World, text: &str) -> PathBuf {
    let file = world.path("home/.config/plakar/config.toml");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, text.replace("WORK", &world.text("work"))).unwrap();
    file
}

const TWO: &str = "
[repositories.nas]
location = 'WORK/nas'
passphrase-command = 'cat WORK/secret'
[repositories.disk]
location = 'sqlite://WORK/disk.db'
keyfile = 'WORK/other'
";

/// A world with two repositories by name, of different passphrases.
fn two() -> World {
    let world = World::new();
    world.write("secret", "of the nas\n");
    world.write("other", "of the disk\n");
    world.write("data/f", "content");
    configure(&world, TWO);
    world.ok("create @nas");
    world.ok("on @disk create");
    world
}

#[test]
fn a_name_stands_for_a_repository_wherever_one_is_named() {
    let mut world = two();
    assert!(world.path("work/nas/config").exists() && world.path("work/disk.db").exists());
    world.ok("on @nas push data");
    let listed = world.ok("on @nas ls");
    assert_eq!(listed.lines().count(), 1);
    world.fails("on nas ls", 1, "no terminal to ask on");
    // Each is opened by its own passphrase.
    world.ok("on @nas sync @disk");
    assert_eq!(world.ok("on @disk ls"), listed);
    assert!(world.ok("on @nas status @disk").contains("@disk (never verified)"));
    assert_eq!(world.ok("on @disk check -heal-from @nas"), "");
    world.ok("on @disk heal from @nas");
    world.ok("on @nas clone copy");
    world.ok("create -like @disk like");
    world.fails("on @nas clone @disk", 1, "there is a repository already");
    world.fails(&format!("on @nas sync @disk sqlite://{}", world.text("work/disk.db")), 2, "named twice");
    world.fails("on @nas clone @disk @disk", 2, "named twice");
    world.set("PLAKAR_REPOSITORY", "@nas");
    assert_eq!(world.ok("ls"), listed);
    world.ok("key ls");
    world.fails("on @nsa ls", 1, "@nsa: no repository is known by this name\ndid you mean '@nas'?");
    world.fails("sync @dsik", 1, "did you mean '@disk'?");
    world.fails("clone @elsewhere", 1, "a folder whose name begins with '@' is written './@...'");
}

#[test]
fn flags_come_first_and_then_the_environment() {
    let mut world = two();
    world.fails("-passphrase-command false on @nas ls", 1, "-passphrase-command: exit status: 1");
    world.set("PLAKAR_PASSPHRASE", "wrong");
    world.fails("on @nas ls", 11, "wrong passphrase");
    world.unset("PLAKAR_PASSPHRASE");
    world.ok("on @nas ls");
    world.write("secret", "another\n");
    world.fails("on @nas ls", 11, "wrong passphrase");
    world.shell("rm secret").succeeded();
    world.fails("on @nas ls", 1, "passphrase-command: exit status: 1");
    world.set("PLAKAR_PEER_PASSPHRASE", "wrong");
    world.write("secret", "of the nas\n");
    world.fails("on @nas sync @disk", 11, "wrong passphrase");
    // Which repository: the environment, the configuration, the default place.
    let text = format!("default = '@nas'\n{TWO}");
    configure(&world, &text);
    world.ok("push data");
    assert_eq!(world.ok("on @nas ls"), world.ok("ls"));
    world.set("PLAKAR_REPOSITORY", "@disk");
    assert_eq!(world.ok("ls"), "");
    world.unset("PLAKAR_REPOSITORY");
    world.ok("create -no-encryption plain");
    configure(&world, "default = 'WORK/plain'\n");
    assert_eq!(world.ok("ls"), "");
    configure(&world, "");
    world.fails("ls", 10, ".plakar/store: there is no repository here");
}

#[test]
fn another_folder_may_hold_it_and_there_need_be_none() {
    let mut world = World::new();
    world.write("xdg/plakar/config.toml", format!("default = '{}'", world.text("work/r")));
    world.set("XDG_CONFIG_HOME", &world.text("work/xdg"));
    world.ok("create -no-encryption");
    assert!(world.path("work/r/config").exists() && !world.path("home/.plakar").exists());
    world.ok("config check");
    world.set("XDG_CONFIG_HOME", &world.text("work/nowhere"));
    world.ok("create -no-encryption");
    assert!(world.path("home/.plakar/store/config").exists());
    world.fails("config check", 1, "nowhere/plakar/config.toml: there is no configuration");
    world.fails("on @work ls", 1, "no repository is known by this name");
}

#[test]
fn all_that_is_wrong_is_told_with_its_line() {
    let world = two();
    world.ok("config check");
    let file = configure(
        &world,
        "defualt = '@nas'\n[repositories.nas]\nlocation = 'here'\npassphrase = 'secret'\n[sources.a]\npath = ['/']\n",
    );
    let ran = world.fails("config check", 2, ":1: unknown key: defualt; did you mean 'default'?");
    let lines: Vec<_> = ran.err.lines().collect();
    assert_eq!(lines.len(), 5, "{ran:?}");
    for (line, told) in [
        (1, "unknown key: defualt"),
        (3, "location: here: a relative path"),
        (4, "a passphrase does not belong"),
        (5, "'paths' is missing"),
        (6, "did you mean 'paths'?"),
    ] {
        let beginning = format!("plakar: {}:{line}: ", file.display());
        assert!(lines.iter().any(|one| one.starts_with(&beginning) && one.contains(told)), "{told}: {ran:?}");
    }
    // Whatever needs it says the same, and what does not goes on.
    for words in ["ls", "on @nas ls", "on nas push @a", "on nas -keyfile secret sync @nas"] {
        world.fails(words, 2, ":4: a passphrase does not belong");
    }
    world.ok("on nas -keyfile secret ls");
    world.ok("version");
    configure(&world, "[repositories.nas\n");
    world.fails("config check", 2, "config.toml:1: ");
    world.fails("config", 2, "missing command");
    // It names commands that are run.
    let file = configure(&world, TWO);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    world.fails("config check", 1, "everybody may write it");
    world.fails("on @nas ls", 1, "everybody may write it");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    world.fails("on @nas ls", 1, "config.toml: Is a directory");
}

#[test]
fn a_source_is_pushed_by_its_name() {
    let world = two();
    world.write("more/g", "more");
    let sources =
        "[sources.a]\npaths = ['WORK/data']\ntags = ['daily', 'x']\n[sources.b]\npaths = ['WORK/more']\n";
    configure(&world, &format!("{TWO}{sources}"));
    world.ok("on @nas push @a");
    world.ok("on @nas push -tag x,y @a @b");
    let tagged = world.ok("on @nas -json ls");
    let tags: Vec<_> =
        tagged.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()).collect();
    assert_eq!(tags[0]["tags"], serde_json::json!(["daily", "x"]));
    assert_eq!(tags[1]["tags"], serde_json::json!(["x", "y", "daily"]));
    let id = tags[1]["uuid"].as_str().unwrap();
    assert_eq!(world.ok(&format!("on @nas cat {id}:{}", world.text("work/more/g"))), "more");
    world.fails("on @nas push @c", 1, "@c: no source is known by this name");
    world.fails("on @nas push @nowhere data", 1, "a file whose name begins with '@' is written './@...'");
    world.write("@file", "x");
    world.ok("on @nas push ./@file");
    assert_eq!(world.ok("on @nas ls").lines().count(), 3);
}

#[test]
fn a_source_leaves_out_what_it_says_and_no_other_does() {
    let world = two();
    for path in ["data/a.o", "data/keep", "data/cache/x", "more/a.o", "more/cache/x"] {
        world.write(path, path);
    }
    let sources = "[sources.a]\npaths = ['WORK/data']\nexclude = ['*.o', 'WORK/data/cache/']\n\
                   [sources.b]\npaths = ['WORK/more']\n";
    configure(&world, &format!("{TWO}{sources}"));
    world.ok("on @nas push @a @b");
    let id = world.ok("on @nas ls").split_whitespace().nth(1).unwrap().to_owned();
    let listed = world.ok(&format!("on @nas ls -recursive {id}:{}", world.text("work")));
    let there = |path: &str| listed.lines().any(|line| line.ends_with(&world.text(&format!("work/{path}"))));
    for (path, expected) in [
        ("data/a.o", false),
        ("data/cache", false),
        ("data/cache/x", false),
        ("data/keep", true),
        ("more/a.o", true),
        ("more/cache/x", true),
    ] {
        assert_eq!(there(path), expected, "{path}: {listed}");
    }
}

#[test]
fn commands_are_run_before_and_after() {
    let world = two();
    let said = || fs::read_to_string(world.path("work/said")).unwrap_or_default();
    let hooks = |before: &str, after: &str| {
        let _ = fs::remove_file(world.path("work/said"));
        let first =
            "[sources.first]\npaths = ['WORK/data']\nafter = 'echo first $PLAKAR_EXIT_CODE >>WORK/said'\n";
        let source = format!("[sources.a]\npaths = ['WORK/made']\nbefore = '{before}'\nafter = '{after}'\n");
        configure(&world, &format!("{TWO}{first}{source}"));
    };
    let count = || world.ok("on @nas ls").lines().count();
    // What it makes is there when it is pushed, and what it prints is no data.
    hooks(
        "mkdir -p WORK/made; echo words",
        "echo $PLAKAR_EXIT_CODE >>WORK/said; rm -r WORK/made; echo words",
    );
    let ran = world.line("on @nas push @first @a");
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", "words\nwords\n"));
    assert_eq!((said().as_str(), count()), ("0\nfirst 0\n", 1));
    assert!(!world.path("work/made").exists());

    hooks("false", "echo never >>WORK/said");
    world.fails("on @nas push @first @a", 1, "sources.a: before: exit status: 1\nnothing was pushed");
    assert_eq!((said().as_str(), count()), ("first 1\n", 1));

    // A push that fails is told of, and its code stays.
    hooks("true", "echo $PLAKAR_EXIT_CODE >>WORK/said; false");
    let ran = world.fails("on nowhere push @a", 1, "made: No such file");
    assert!(ran.err.contains("sources.a: after: exit status: 1"), "{ran:?}");
    assert_eq!(said(), "1\n");
    world.write("made/f", "content");
    world.fails("on nowhere push @a", 10, "there is no repository here");
    assert_eq!(said(), "1\n10\n");

    // One that goes well, and what comes after it does not.
    world.fails("on @nas push @a", 1, "sources.a: after: exit status: 1");
    assert_eq!((said().as_str(), count()), ("1\n10\n0\n", 2));
    hooks("kill $$", "true");
    world.fails("on @nas push @a", 1, "sources.a: before: signal: 15");
    assert_eq!(count(), 2);
}
