//! `diff` tells everything that differs and nothing else, and its exit code is the answer.

mod common;

use common::{Ran, World, tree};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, UNIX_EPOCH};

fn set_time(world: &World, name: &str, secs: u64) {
    let file = fs::File::open(world.path("work").join(name)).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_secs(secs)).unwrap();
}

/// A tree of which everything has one time, pushed once.
fn world() -> World {
    let world = World::new();
    world.ok("create -no-encryption");
    world.write("d/same/f", "the same");
    world.write("d/a", "one\ntwo\nthree\n");
    world.write("d/gone/f", "x");
    world.write("d/mode", "m");
    world.write("d/large", tree::noise(1, 3_000_000));
    symlink("a", world.path("work/d/link")).unwrap();
    for name in ["d/same/f", "d/a", "d/gone/f", "d/mode", "d/large", "d/gone", "d/same", "d"] {
        set_time(&world, name, 1_000_000);
    }
    world.ok("push d");
    world
}

/// Everything that can happen to a tree; directories keep their times.
fn change(world: &World) {
    world.write("d/a", "one\n2\nthree\n");
    set_time(world, "d/a", 1_000_000);
    fs::remove_dir_all(world.path("work/d/gone")).unwrap();
    world.write("d/new/f", "x");
    fs::set_permissions(world.path("work/d/mode"), fs::Permissions::from_mode(0o4711)).unwrap();
    fs::remove_file(world.path("work/d/link")).unwrap();
    symlink("b", world.path("work/d/link")).unwrap();
    let mut bytes = tree::noise(1, 3_000_000);
    bytes[2_999_999] ^= 1;
    world.write("d/large", bytes);
    set_time(world, "d/large", 1_000_001);
    set_time(world, "d", 1_000_000);
}

/// Sign, path beneath `d`, and what differs; each line has the last word of that.
fn told(world: &World, ran: &Ran) -> Vec<String> {
    let d = world.text("work/d");
    let short = |line: &str| match line.split_once(' ').unwrap() {
        ("~", rest) => format!("~ {}", rest.replacen(&d, "", 1)),
        (sign, rest) => format!("{sign} {}", rest.rsplit(' ').next().unwrap().replacen(&d, "", 1)),
    };
    ran.out.lines().map(short).collect()
}

const EXPECTED: [&str; 8] = [
    "~ /a: content, size 14 bytes -> 12 bytes",
    "- /gone",
    "- /gone/f",
    "~ /large: content, mtime 1970-01-12T13:46:40Z -> 1970-01-12T13:46:41Z",
    "~ /link: target a -> b",
    "~ /mode: mode 0644 -> 4711",
    "+ /new",
    "+ /new/f",
];

fn mind_link_times(lines: Vec<String>) -> Vec<String> {
    // The time of a link is when it was made.
    let cut = |line: String| match line.split_once(", mtime") {
        Some((before, _)) if line.starts_with("~ /link") => before.to_owned(),
        _ => line,
    };
    lines.into_iter().map(cut).collect()
}

#[test]
fn two_snapshots_differ_in_what_was_changed() {
    let world = world();
    assert_eq!(world.ok("diff latest latest"), "");
    world.ok("push d");
    assert_eq!(world.ok("diff latest~1 latest"), "", "an unchanged push");
    change(&world);
    world.ok("push d");
    let d = world.text("work/d");
    for words in
        ["latest~1 latest".to_owned(), format!("latest~1:{d} latest:{d}"), format!("latest~2 latest {d}")]
    {
        let ran = world.line(&format!("diff {words}"));
        assert_eq!((ran.code, ran.err.as_str()), (1, ""), "{words}: {ran:?}");
        assert_eq!(mind_link_times(told(&world, &ran)), EXPECTED, "{words}");
    }
    let back = world.line("diff latest latest~1");
    assert_eq!(back.code, 1);
    let lines = told(&world, &back);
    assert!(lines.contains(&"+ /gone/f".into()) && lines.contains(&"- /new".into()), "{lines:?}");
    assert!(lines.contains(&"~ /mode: mode 4711 -> 0644".into()), "{lines:?}");
    assert_eq!(world.ok(&format!("diff latest~1:{d}/same latest:{d}/same")), "");
}

#[test]
fn what_is_here_now_is_compared_with_what_was() {
    let world = world();
    let d = world.text("work/d");
    for words in ["latest ./d", "latest d/.", "./d latest"] {
        let words = words.replace("d/.", &d);
        assert_eq!(world.ok(&format!("diff {words}")), "", "{words}");
    }
    assert_eq!(world.ok(&format!("diff latest:{d}/same ./d/same")), "");
    assert_eq!(world.ok("diff latest /"), "", "only what was pushed is compared");
    change(&world);
    for words in [format!("latest {d}"), format!("latest:{d} ./d"), "latest .".into(), "latest: /".into()] {
        let ran = world.line(&format!("diff {words}"));
        assert_eq!((ran.code, ran.err.as_str()), (1, ""), "{words}: {ran:?}");
        assert_eq!(mind_link_times(told(&world, &ran)), EXPECTED, "{words}");
    }
    let back = told(&world, &world.line("diff ./d latest"));
    assert!(back.contains(&"+ /gone".into()) && back.contains(&"- /new/f".into()), "{back:?}");
    let moved = world.path("work/away");
    fs::rename(world.path("work/d"), &moved).unwrap();
    let ran = world.line("diff latest .");
    assert_eq!((ran.code, told(&world, &ran)[0].as_str()), (1, "- "), "{ran:?}");
    assert_eq!(ran.out.lines().count(), 9, "{ran:?}");
    world.fails("diff latest ./d", 2, "No such file");
    fs::rename(moved, world.path("work/d")).unwrap();
    // Neither size nor time shows it.
    world.write("d/same/f", "THE SAME");
    set_time(&world, "d/same/f", 1_000_000);
    let ran = world.line("diff latest ./d/same");
    assert_eq!((ran.code, told(&world, &ran)), (1, vec!["~ /same/f: content".to_owned()]));
    // A directory in the place of a file, and the other way round.
    fs::remove_file(world.path("work/d/same/f")).unwrap();
    world.write("d/same/f/g", "x");
    set_time(&world, "d/same/f", 1_000_000);
    set_time(&world, "d/same", 1_000_000);
    let lines = told(&world, &world.line("diff latest ./d/same"));
    assert!(
        lines[0].starts_with("~ /same/f: type file -> directory") && lines[1] == "+ /same/f/g",
        "{lines:?}"
    );
    world.ok("push d");
    fs::remove_dir_all(world.path("work/d/same/f")).unwrap();
    world.write("d/same/f", "x");
    let lines = told(&world, &world.line("diff latest ./d/same/f"));
    assert!(
        lines[0].starts_with("~ /same/f: type directory -> file") && lines[1] == "- /same/f/g",
        "{lines:?}"
    );
}

#[test]
fn files_are_compared_line_by_line() {
    let world = world();
    let d = world.text("work/d");
    change(&world);
    world.ok("push d");
    let uuids = world.uuids();
    let expected =
        |old: &str, new: &str| format!("--- {old}\n+++ {new}\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n");
    let (old, new) = (format!("{}:{d}/a", uuids[0]), format!("{}:{d}/a", uuids[1]));
    for words in [format!("{old} {new}"), format!("latest~1 latest {d}/a")] {
        let ran = world.line(&format!("diff {words}"));
        assert_eq!((ran.code, ran.out, ran.err), (1, expected(&old, &new), String::new()), "{words}");
    }
    let here = format!("{d}/a");
    assert_eq!(world.line(&format!("diff {} ./d/a", uuids[0])).out, expected(&old, &here));
    let back = world.line(&format!("diff ./d/a {}", uuids[0])).out;
    assert!(back.starts_with(&format!("--- {here}\n+++ {old}\n")) && back.contains("-2\n+two\n"), "{back}");
    assert_eq!(world.ok("diff latest ./d/a"), "");
    // What is no text, and what is too long for it.
    let ran = world.line(&format!("diff latest~1 latest {d}/large"));
    let (old, new) = (format!("{}:{d}/large", uuids[0]), format!("{}:{d}/large", uuids[1]));
    assert_eq!((ran.code, ran.out), (1, format!("Files {old} and {new} differ\n")));
    let mut long = b"line\n".repeat(4_000_000);
    world.write("d/long", &long);
    world.ok("push d");
    assert_eq!(world.ok("diff latest ./d/long"), "");
    long[19_999_998] = b'E';
    world.write("d/long", &long);
    let ran = world.line("diff latest ./d/long");
    assert!(
        ran.code == 1 && ran.out.starts_with("Files ") && ran.out.lines().count() == 1,
        "{}",
        ran.out.len()
    );
    world.write("d/long", &long[..10]);
    assert_eq!(world.line("diff latest ./d/long").code, 1);
}

#[test]
fn holes_are_no_difference() {
    let world = World::new();
    world.ok("create -no-encryption");
    let mut bytes = tree::noise(1, 100_000);
    bytes.resize(9_000_000, 0);
    bytes.extend(tree::noise(2, 100_000));
    let path = world.write("f", &bytes);
    world.ok("push f");
    world.shell("cp --sparse=always f g && mv g f").succeeded();
    world.ok("push f");
    let file = path.to_str().unwrap();
    assert_eq!(world.ok(&format!("diff latest~1:{file} latest:{file}")), "");
    let ran = world.line("diff latest~1 latest");
    assert!(!ran.out.contains("content"), "{ran:?}");
    assert_eq!(world.ok("diff latest ./f"), "");
}

#[test]
fn trouble_is_not_the_answer_different() {
    let world = world();
    world.fails("diff", 2, "two things are needed");
    world.fails("diff latest", 2, "two things are needed");
    world.fails("diff / .", 2, "both are on this machine");
    world.fails("diff latest xyz", 2, "no snapshot has prefix: xyz");
    world.fails("diff latest ./nowhere", 2, "no such path in the snapshot");
    world.fails("diff latest:/ ./nowhere", 2, "nowhere");
    world.fails("diff latest:/x latest /y", 2, "paths follow two whole snapshots");
    world.fails("diff latest latest /nowhere", 2, "no such path in the snapshot");
    world.fails("on nowhere diff latest .", 10, "there is no repository");
    let value: Value = serde_json::from_str(
        {
            change(&world);
            world.line("-json diff latest ./d/mode ").out.lines().next().unwrap_or("{}").to_owned()
        }
        .as_str(),
    )
    .unwrap();
    assert_eq!(value, serde_json::json!({}), "files are compared by what is in them");
    let ran = world.line("-json diff latest ./d");
    let lines: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((ran.code, lines.len()), (1, 8));
    assert_eq!(
        (&lines[0]["change"], &lines[0]["what"]),
        (&"changed".into(), &serde_json::json!(["content", "size"]))
    );
    assert_eq!((&lines[6]["change"], &lines[6]["entry"]["type"]), (&"added".into(), &"directory".into()));
}

#[test]
fn what_cannot_be_read_is_told_and_is_neither_the_same_nor_different() {
    let world = World::of_user();
    world.write("d/f", "secret");
    world.write("d/g/h", "x");
    world.give_to_user("work");
    let run = |words: &str| world.run_as_user(words.split_whitespace());
    run("create -no-encryption").succeeded();
    run("push d").succeeded();
    tree::set_mode(&world.path("work/d/f"), 0);
    let ran = run("diff latest ./d");
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.err.contains("d/f: ") && ran.out.contains("d/f: mode 0644 -> 0000"), "{ran:?}");
    tree::set_mode(&world.path("work/d/f"), 0o644);
    tree::set_mode(&world.path("work/d/g"), 0o000);
    let ran = run("diff latest ./d");
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(!ran.out.contains("g/h"), "what was not listed may be there: {ran:?}");
    tree::set_mode(&world.path("work/d/g"), 0o755);
    let packs = world.path("home/.plakar/store/packs");
    world.shell(&format!("find {} -type f -delete", packs.display())).succeeded();
    assert_eq!(run("diff latest ./d").code, 4);
    assert_eq!(run("diff latest .").code, 4);
}
