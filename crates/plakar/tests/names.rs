//! Snapshots are found by what people call them: the latest, the latest of a host, the one of a day.

mod common;

use common::World;

/// Three snapshots of one file, whose content is their number: two of the host `a`, and one of `b` between them.
fn world() -> World {
    let world = World::new();
    world.ok("create -no-encryption");
    for (n, host) in ["a", "b", "a"].into_iter().enumerate() {
        world.write("d/f:g", n.to_string());
        world.ok(&format!("-hostname {host} push d"));
    }
    world
}

/// What `info` says is the time of a snapshot, to the second.
fn time_of(world: &World, name: &str) -> String {
    let info = world.ok(&format!("info {name}"));
    info.lines().find_map(|line| line.strip_prefix("CreationTime: ")).unwrap().to_owned()
}

#[test]
fn names_stand_for_snapshots_in_every_command_that_reads() {
    let world = world();
    let file = world.text("work/d/f:g");
    let time = time_of(&world, "latest");
    let (day, minute) = (&time[..10], &time[..16]);
    for (name, content) in [
        ("latest", "2"),
        ("latest~0", "2"),
        ("latest~1", "1"),
        ("latest~2", "0"),
        ("@a", "2"),
        ("@a~1", "0"),
        ("@b", "1"),
        (day, "2"),
        (minute, "2"),
        (&time, "2"),
        (time.trim_end_matches('Z'), "2"),
        (&format!("{day}~2"), "0"),
        (&format!("{minute}~1"), "1"),
    ] {
        assert_eq!(world.ok(&format!("cat {name}:{file}")), content, "{name}");
        assert_eq!(world.ok(&format!("cat {name}:{}", &file[1..])), content, "{name}");
    }
    let uuid = &world.uuids()[2];
    assert_eq!(world.ok("ls latest"), world.ok(&format!("ls {uuid}")));
    assert_eq!(world.ok("info latest"), world.ok(&format!("info {uuid}")));
    world.ok("check @b latest:/");
    world.ok(&format!("pull -path out -rebase {time}:{file}"));
    assert_eq!(std::fs::read(world.path("work/out/f:g")).unwrap(), b"2");
}

#[test]
fn what_names_nothing_is_told_with_what_to_do() {
    let world = World::new();
    world.ok("create -no-encryption");
    assert!(
        world.fails("ls latest", 1, "latest: there are no snapshots").err.contains("'plakar push' makes one")
    );
    world.write("d/f", "content");
    world.ok("-hostname a push d");
    assert!(world.fails("ls latest~1", 1, "there is no such snapshot").err.contains("'~0'"));
    assert!(world.fails("ls @b:/x", 1, "no snapshot is of this host").err.contains("there are some of: a\n"));
    assert!(
        world.fails("ls 1999-12-31", 1, "no snapshot is as old as this").err.contains("the first is of 2")
    );
    world.fails("ls 1999-12-32", 2, "is no time");
    world.fails("ls 1999-12-31T7", 2, "is no time");
    world.fails("ls @", 2, "@ stands for no host");
    assert!(world.fails("ls xyz", 1, "no snapshot has prefix: xyz").err.contains("'plakar help snapshots'"));
}

#[test]
fn what_is_removed_is_named_by_its_id() {
    let world = world();
    let uuids = world.uuids();
    for (name, n) in [("latest", 2), ("@b", 1), ("latest~2", 0)] {
        let ran = world.fails(&format!("rm {name}"), 2, &format!("rm: {name}: is {} now", uuids[n]));
        assert!(ran.err.contains(&format!("'plakar rm {}'", uuids[n])), "{ran:?}");
    }
    world.fails(&format!("rm {} latest", uuids[0]), 2, "latest: is");
    assert_eq!(world.uuids(), uuids);
    world.ok("rm -by-name @b");
    assert_eq!(world.uuids(), [&*uuids[0], &uuids[2]]);
    world.fails("undelete latest", 1, "no removed snapshot has prefix: latest");
    world.fails("rm -by-name latest:/x", 2, "only whole snapshots can be removed");
}

#[test]
fn a_host_is_not_taken_for_what_the_configuration_names() {
    let world = world();
    let (copy, d) = (world.text("work/copy"), world.text("work/d"));
    let config = format!("[repositories.a]\nlocation = '{copy}'\n[sources.b]\npaths = ['{d}']\n");
    let file = world.path("home/.config/plakar/config.toml");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, config).unwrap();
    world.ok(&format!("create -like {} copy", world.text("home/.plakar/store")));
    // The host before 'to', and the repository behind it.
    world.ok("sync @b to @a");
    assert_eq!(world.ok("on @a ls").lines().count(), 1);
    world.ok("on @a ls @b");
    world.fails("on @a ls @a", 1, "no snapshot is of this host");
    world.ok("sync @a");
    assert_eq!(world.ok("on @a ls").lines().count(), 3);
    world.ok("-hostname c push @b");
    assert_eq!(world.ok("ls @c"), world.ok("ls latest"));
    world.ok("sync latest~1 2099-12-31 to copy");
    assert_eq!(world.ok("on copy ls").lines().count(), 4);
    let time = time_of(&world, "@c");
    world.fails(&format!("sync {time}:/etc to copy"), 2, "only whole snapshots can be synced");
}

#[test]
fn the_names_have_a_page_of_help() {
    let world = World::new();
    let page = world.ok("help snapshots");
    for name in ["latest", "@laptop", "2026-11-22T10:00", "latest~2"] {
        assert!(page.contains(name), "{page}");
    }
    assert!(world.ok("help").contains("'plakar help snapshots'"));
    assert!(world.ok("help rm").contains("-by-name"));
}
