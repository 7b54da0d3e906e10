//! What is pushed as if it lay elsewhere is there in the snapshot, and is known again by the next push.

mod common;

use common::World;
use common::tree::{assert_same, look, make_everything};
use std::fs;

fn world() -> World {
    let world = World::new().with("PLAKAR_REPOSITORY", "there");
    world.ok("create -no-encryption");
    world
}

#[test]
fn a_path_is_stored_under_another() {
    let world = world();
    let data = world.path("work/data");
    fs::create_dir(&data).unwrap();
    make_everything(&data);
    world.ok("push -as /srv/of/mine data");
    let id = world.uuids().pop().unwrap();
    assert_eq!(world.ok(&format!("ls {id}:/")).lines().count(), 1, "nothing of where it lay");
    assert!(world.ok(&format!("-json ls {id}:/")).contains("srv"));
    world.ok(&format!("pull -rebase -path out {id}:/srv/of/mine"));
    assert_same(&look(&data), &look(&world.path("work/out")));
    // Moved elsewhere it is the same again, and nothing of it is new.
    std::thread::sleep(std::time::Duration::from_millis(2300));
    let told = world.ok("-json push -as /srv/of/mine data");
    assert!(told.contains("\"bytes_new\":0,"), "{told}");
    let told = world.ok("-json push -as /srv/of/mine data");
    assert!(told.contains("\"files_read\":0,"), "{told}");
    assert!(world.ok("push -skip-unchanged -as /srv/of//x/../mine/ data").starts_with("unchanged"));
    assert!(world.ok("push -dry-run -as /srv/of/mine data").starts_with("would read 0 files"));
    assert_eq!(world.ok("check"), "");
}

#[test]
fn a_file_can_be_renamed_and_a_directory_can_be_all_there_is() {
    let world = world();
    world.write("data/x", "text");
    world.write("data/d/y", "");
    world.ok("push -as /a/b data/x");
    let id = world.uuids().pop().unwrap();
    assert_eq!(world.ok(&format!("cat {id}:/a/b")), "text");
    world.ok("push -as / -exclude y data");
    let id = world.uuids().pop().unwrap();
    assert_eq!(world.ok(&format!("cat {id}:/x")), "text");
    assert_eq!(world.ok(&format!("ls -recursive {id}:/")).lines().count(), 2);
    for (words, what) in [
        ("push -as relative data", "begins with '/'"),
        ("push -as /a data/x data/d", "there are 2 paths"),
        ("push -as / data/x", "only a directory"),
    ] {
        world.fails(words, 2, what);
    }
    assert_eq!(world.ok("check"), "");
}

#[test]
fn what_cannot_be_read_is_told_of() {
    let world = World::of_user();
    world.give_to_user("work");
    world.shell_as_user("mkdir -p data/closed && echo x >data/no && chmod 0 data/no data/closed").succeeded();
    world.run_as_user("create -no-encryption there".split(' ')).succeeded();
    let ran = world.run_as_user("on there push -as /a data".split(' '));
    assert!(
        ran.code == 3 && ran.err.contains("/a/no: cannot read") && ran.err.contains("/a/closed: "),
        "{ran:?}"
    );
    world.shell_as_user("chmod 700 data/closed").succeeded();
}
