//! `status`: which snapshots are where, and when they were proven there.

mod common;

use common::World;
use common::copies::{damage, files, lines};
use serde_json::Value;

fn today(world: &World) -> String {
    world.shell("date -u +%F").succeeded().trim().to_owned()
}

#[test]
fn every_snapshot_is_listed_with_its_places() {
    let world = World::with_repositories(&["a", "b"]);
    let one = world.push_new("", "one");
    world.push_new("", "two");
    world.ok(&format!("sync {one} to a"));
    world.push_new("b", "three");
    let listed = |words: &str| {
        let text = world.ok(words);
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let (ls, on_b) = (listed("ls"), listed("on b ls"));
    let expected = [
        format!("{}  here (never verified), a (never verified)", ls[0]),
        format!("{}  here (never verified)", ls[1]),
        format!("{}  ./b (never verified)", on_b[0]),
    ];
    assert_eq!(listed("status a ./b"), expected);
    assert_eq!(listed("status"), [&ls[0], &ls[1]].map(|line| format!("{line}  here (never verified)")));

    // A check of everything, of one, of a part, and a fast one.
    world.ok("on a check");
    world.ok("check -fast");
    world.ok(&format!("on b check :{}", world.text("work/data")));
    let day = today(&world);
    let status = listed("status a b");
    assert!(status[0].ends_with(&format!("  here (never verified), a (verified {day})")), "{status:?}");
    assert!(status[1].ends_with("  here (never verified)"), "{status:?}");
    assert!(status[2].ends_with("  b (never verified)"), "{status:?}");
    world.ok(&format!("check {one}"));
    let status = listed("status a");
    assert!(status[0].ends_with(&format!("  here (verified {day}), a (verified {day})")), "{status:?}");
    assert!(status[1].ends_with("  here (never verified)"), "{status:?}");

    let status = lines(&world.ok("-json status a"));
    let places = |n: usize| status[n]["places"].as_array().unwrap().clone();
    assert_eq!((status.len(), &status[0]["uuid"]), (2, &Value::from(one)));
    assert_eq!((places(0).len(), places(1).len()), (2, 1));
    assert_eq!((&places(0)[0]["here"], &places(0)[1]["location"]), (&true.into(), &"a".into()));
    assert!(places(0)[1]["verified"].as_str().unwrap().starts_with(&day), "{status:?}");
    assert_eq!(places(1)[0]["verified"], Value::Null);

    // What is remembered may be thrown away, or become nonsense.
    let state = world.path("home/.local/state/plakar/verified");
    for file in files(&state) {
        std::fs::write(file, "nonsense").unwrap();
    }
    assert_eq!(listed("status a ./b"), expected);
}

#[test]
fn what_is_damaged_is_not_verified() {
    let world = World::with_repositories(&[]);
    let one = world.push_new("", "one");
    let known = files(&world.store().join("packs"));
    world.write("other/f", common::tree::noise(1, 300_000));
    world.ok("push other");
    let fresh = files(&world.store().join("packs"));
    let fresh: Vec<_> = fresh.into_iter().filter(|pack| !known.contains(pack)).collect();
    assert_eq!(fresh.len(), 1);
    let aside = world.path("work/aside");
    std::fs::create_dir_all(&aside).unwrap();
    std::fs::rename(&fresh[0], aside.join("pack")).unwrap();
    damage(&aside);
    std::fs::rename(aside.join("pack"), &fresh[0]).unwrap();
    assert_eq!(world.line("check").code, 4);
    let status = world.ok("status");
    let verified: Vec<_> = status.lines().map(|line| !line.ends_with("(never verified)")).collect();
    assert_eq!(verified, [true, false], "{status}");
    assert!(status.lines().next().unwrap().contains(&one));
}

#[test]
fn a_peer_that_cannot_be_asked_is_told_and_the_others_are_listed() {
    let world = World::with_repositories(&["a"]);
    let one = world.push_new("a", "one");
    let ran = world.fails("status nowhere a", 10, "nowhere: there is no repository here");
    assert!(ran.out.contains(&one) && ran.out.ends_with("  a (never verified)\n"), "{ran:?}");
    let ran = world.fails("-json status a nowhere", 10, "there is no repository here");
    assert_eq!(lines(&ran.out).len(), 1);
    world.fails("on nowhere status a", 10, "nowhere: there is");
    world.fails("status a ./a", 2, "status: ./a: named twice");
    // Nothing is written to be looked at.
    let before = (world.bytes_of(&world.store()), world.bytes_of(&world.path("work/a")));
    world.ok("status a");
    assert_eq!((world.bytes_of(&world.store()), world.bytes_of(&world.path("work/a"))), before);
}
