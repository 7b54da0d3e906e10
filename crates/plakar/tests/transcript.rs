//! What the announcement of clone and sync shows works as it is typed.

mod common;

use common::World;

/// Whether `text` is like `pattern`, in which `0` stands for a hexadecimal digit and anything else for itself.
fn is_like(text: &str, pattern: &str) -> bool {
    let fits = |(c, p): (char, char)| if p == '0' { c.is_ascii_hexdigit() } else { c == p };
    text.len() == pattern.len() && text.chars().zip(pattern.chars()).all(fits)
}

/// Checks one line of `ls` byte for byte, but for digits of time and UUID and the size.
fn check_snapshot_line(line: &str, roots: &str) {
    let (time, rest) = line.split_at(20);
    let (uuid, rest) = rest.split_at(38);
    let (size, rest) = rest.split_at(10);
    assert!(is_like(time, "0000-00-00T00:00:00Z"), "{line}");
    assert!(is_like(uuid, "  00000000-0000-0000-0000-000000000000"), "{line}");
    let (number, unit) = size.trim_start().split_once(' ').unwrap();
    assert!(["B", "kB", "MB", "GB"].contains(&unit), "{line}");
    assert!(is_like(number, &"0".repeat(number.len())) || is_like(number, "0.0"), "{line}");
    assert_eq!(rest, format!(" {roots}"), "{line}");
}

#[test]
fn a_repository_is_created_pushed_to_and_listed() {
    let world = World::new();
    assert_eq!(world.shell("plakar create -no-encryption").succeeded(), "");
    assert_eq!(world.shell("plakar ls").succeeded(), "");
    // A link on most of today's systems: what it leads to is meant.
    assert_eq!(world.shell("plakar push /bin").succeeded(), "");
    let listed = world.shell("plakar ls").succeeded();
    let line = listed.strip_suffix('\n').unwrap();
    assert!(!line.contains('\n'), "{listed}");
    check_snapshot_line(line, "/bin");
    assert!(!line.contains(" 0 B "), "something is in it: {line}");

    let uuid = &line[22..58];
    let prefix = &uuid[..8];
    let sh = std::fs::read("/bin/sh").unwrap();
    assert_eq!(world.shell("test -h /bin/sh || plakar cat :/bin/sh").code, 0);
    if !std::fs::symlink_metadata("/bin/sh").unwrap().is_symlink() {
        assert_eq!(world.shell(&format!("plakar cat {prefix}:/bin/sh")).bytes, sh);
    }
    assert_eq!(world.shell("plakar check").succeeded(), "");
    assert_eq!(world.shell("plakar check -fast").succeeded(), "");

    assert_eq!(world.shell("plakar push /bin").succeeded(), "");
    assert_eq!(world.uuids().len(), 2);
    let info = world.shell(&format!("plakar info {prefix}")).succeeded();
    assert!(info.contains("\nCommandLine: plakar push /bin\n"), "{info}");
}

#[test]
fn a_clone_lists_what_its_origin_lists() {
    let world = World::new();
    let copy = world.text("work/plakar-copy");
    let typed = |line: &str| world.shell(&line.replace("/tmp/plakar-copy", &copy)).succeeded();
    assert_eq!(typed("plakar create -no-encryption"), "");
    assert_eq!(typed("plakar push /bin"), "");
    let listed = typed("plakar ls");
    check_snapshot_line(listed.trim_end(), "/bin");
    assert_eq!(typed("plakar clone /tmp/plakar-copy"), "");
    assert_eq!(typed("plakar on /tmp/plakar-copy ls"), listed);

    assert_eq!(typed("plakar push /bin"), "");
    assert_eq!(typed("plakar sync /tmp/plakar-copy"), "");
    let both = typed("plakar ls");
    assert_eq!(typed("plakar on /tmp/plakar-copy ls"), both);
    let lines: Vec<_> = both.lines().collect();
    assert_eq!((lines.len(), lines[0]), (2, listed.trim_end()));
    check_snapshot_line(lines[1], "/bin");
    assert_ne!(lines[0][22..58], lines[1][22..58]);
    typed("plakar on /tmp/plakar-copy check");
}

#[test]
fn several_roots_stand_as_typed_made_absolute() {
    let world = World::new();
    world.write("a/x", vec![b'x'; 3_100]);
    world.write("b", "");
    world.shell("plakar on ../repo create -no-encryption").succeeded();
    world.shell("plakar on ../repo push ./a/../a b").succeeded();
    let listed = world.shell("plakar on ../repo ls").succeeded();
    let roots = format!("{}, {}", world.text("work/a"), world.text("work/b"));
    check_snapshot_line(listed.trim_end(), &roots);
    assert!(listed.contains("    3.1 kB /"), "{listed}");
}

#[test]
fn entries_are_listed_in_columns() {
    let world = World::new();
    world.write("d/sub/two", vec![0; 121_000]);
    world.write("d/one", "1");
    world.shell("cd d && ln -s one link && mkfifo pipe && chmod 1777 sub && chmod 4750 one").succeeded();
    world.shell("touch -hd 2021-09-26T20:45:08.5Z d/one d/link d/pipe d/sub d/sub/two d").succeeded();
    world.shell("plakar create -no-encryption && plakar push d").succeeded();
    let user = world.shell("stat -c '%U %G' d").succeeded();
    let (user, group) = user.trim().split_once(' ').unwrap();
    let line = |mode: &str, size: &str, name: &str| {
        format!("2021-09-26T20:45:08Z {mode} {user:>8} {group:>8} {size:>8} {name}\n")
    };
    let d = world.text("work/d");
    let mode = world.shell("test $(stat -c %a d/sub/two) = 644").code;
    assert_eq!(mode, 0, "this test is written for a umask of 022");
    let expected = [
        line("Lrwxrwxrwx", "3 B", "link"),
        line("urwxr-x---", "1 B", "one"),
        line("prw-r--r--", "0 B", "pipe"),
        line("dtrwxrwxrwx", "121 kB", "sub"),
    ];
    assert_eq!(world.ok(&format!("ls :{d}")), expected.concat());
    assert_eq!(world.ok(&format!("ls :{d}/one")), expected[1]);
    let expected = [
        line("Lrwxrwxrwx", "3 B", &format!("{d}/link")),
        line("urwxr-x---", "1 B", &format!("{d}/one")),
        line("prw-r--r--", "0 B", &format!("{d}/pipe")),
        line("dtrwxrwxrwx", "121 kB", &format!("{d}/sub")),
        line("-rw-r--r--", "121 kB", &format!("{d}/sub/two")),
    ];
    assert_eq!(world.ok(&format!("ls -recursive :{d}/")), expected.concat());
    let whole = world.ok("ls -recursive :");
    assert!(whole.ends_with(&expected.concat()), "{whole}");
    let names: Vec<_> = whole.lines().map(|line| &line[line.find(" /").unwrap()..]).collect();
    let mut once = names.clone();
    once.dedup();
    assert_eq!(names, once, "each path once");
}
