//! Tags, keep, prune and undelete, as they are typed.

mod common;

use common::World;
use common::copies::lines;
use std::fs::File;
use std::time::{Duration, UNIX_EPOCH};

const DAY: u64 = 86_400;

/// Makes everything that is in the log of the default repository seem to have been received at a time.
fn received(world: &World, secs: u64) {
    for object in common::copies::files(&world.store().join("log")) {
        let object = File::options().append(true).open(object).unwrap();
        object.set_modified(UNIX_EPOCH + Duration::from_secs(secs)).unwrap();
    }
}

fn now() -> u64 {
    UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// Five snapshots with a tag each and one in common.
fn five(peers: &[&str]) -> (World, Vec<String>) {
    let world = World::with_repositories(peers);
    for n in 0..5 {
        world.write(&format!("data/{n}"), n.to_string().repeat(5000));
        world.ok(&format!("push -tag t{n},all data"));
    }
    let uuids = world.uuids();
    (world, uuids)
}

#[test]
fn tags_are_given_found_and_refused() {
    let (world, uuids) = five(&[]);
    let tagged = |words: &str| -> Vec<String> {
        world.ok(words).lines().map(|line| line[20..58].trim().to_owned()).collect()
    };
    assert_eq!(tagged("ls -tag t3"), uuids[3..4]);
    assert_eq!(tagged("ls -tag all"), uuids);
    assert_eq!(tagged("ls -tag all,t1"), uuids[1..2]);
    assert_eq!(tagged("ls -tag t0 -tag t1"), [""; 0]);
    assert_eq!(tagged("ls -tag nobody"), [""; 0]);
    assert_eq!(lines(&world.ok("ls -json -tag t2"))[0]["tags"], serde_json::json!(["t2", "all"]));
    let line = world.ok("ls -tag t2");
    assert!(world.ok("ls").contains(&line), "a line is as it is without the flag");
    world.fails(&format!("ls -tag t1 {}", uuids[1]), 2, "-tag is about snapshots");
    for wrong in ["", " ", "a,,b", "a\nb", "\u{1b}[31m", &"x".repeat(256)] {
        let ran = world.run(["push", "-tag", wrong, "data"]);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(!ran.err.contains('\u{1b}'));
    }
    let many: Vec<_> = (0..65).map(|n| n.to_string()).collect();
    world.fails(&format!("push -tag {} data", many.join(",")), 2, "at most 64 tags");
    assert_eq!(world.uuids().len(), 5);
}

#[test]
fn keep_keeps_the_newest_of_all() {
    let (world, uuids) = five(&[]);
    world.ok("-hostname other push data");
    let six = world.uuids();
    assert_eq!(world.ok("keep 9"), "");
    assert_eq!(world.ok("keep 4"), "");
    assert_eq!(world.uuids(), six[2..]);
    let removed = lines(&world.ok("-json keep 2"));
    assert_eq!(removed.iter().map(|one| one["removed"].as_str().unwrap()).collect::<Vec<_>>(), uuids[2..4]);
    assert_eq!(world.uuids(), six[4..]);
    for (words, what) in [("keep 0", "nothing"), ("keep x", "not a number"), ("keep 1.5", "not a number")] {
        world.fails(words, 2, what);
    }
    world.fails("keep -1", 2, "-1");
    assert_eq!(world.uuids(), six[4..]);
}

#[test]
fn prune_explains_and_removes_what_no_rule_keeps() {
    let (world, uuids) = five(&[]);
    let before = world.ok("ls");
    // All of them are too young.
    assert_eq!(world.ok("prune -keep-last 1"), "");
    assert_eq!(world.ok("ls"), before);
    let told = world.ok("prune -keep-last 1 -dry-run");
    assert_eq!(told.matches("  kept: received less than 1d ago\n").count(), 4, "{told}");
    received(&world, now() - DAY - 60);
    // The store has had them before they say that they were made, but not by much: that is when they count.
    let policy = "prune -keep-last 2 -keep-tag t0,t1 -keep-daily 7";
    let told = world.ok(&format!("{policy} -dry-run"));
    let expected = ["  kept: tag t0", "  kept: tag t1", "  goes", "  kept: last 2", "  kept: last 1, daily "];
    for ((told, line), expected) in told.lines().zip(before.lines()).zip(expected) {
        assert!(told.strip_prefix(line).is_some_and(|rest| rest.starts_with(expected)), "{told}");
    }
    let planned = lines(&world.ok(&format!("-json {policy} -dry-run")));
    let keep: Vec<_> = planned.iter().map(|one| one["keep"].as_bool().unwrap()).collect();
    assert_eq!(keep, [true, true, false, true, true]);
    assert_eq!(planned[3]["reasons"], serde_json::json!([{ "rule": "last", "detail": "2" }]));
    assert_eq!(world.ok("ls"), before, "nothing was removed");
    let done = lines(&world.ok(&format!("-json {policy}")));
    assert_eq!(done, planned);
    let left = [&uuids[..2], &uuids[3..]].concat();
    assert_eq!(world.uuids(), left);
    let ran = world.line("-verbose prune -keep-last 1 -min-age 0");
    assert_eq!(ran.code, 0);
    assert!(
        ran.err.ends_with("3 of 4 snapshots removed; 'plakar cleanup' gives back their space\n"),
        "{ran:?}"
    );
}

#[test]
fn a_policy_that_would_keep_nothing_is_refused() {
    let (world, uuids) = five(&[]);
    world.ok("-hostname other push data");
    received(&world, now() - 40 * DAY);
    let ran = world.fails("prune -keep-tag all", 1, "would keep nothing of other ");
    assert!(ran.err.contains("nothing was removed"), "{ran:?}");
    let ran = world.fails("prune -keep-tag misspelt -min-age 0", 1, "no snapshot has the tag misspelt");
    assert!(ran.err.contains("nothing of "), "{ran:?}");
    for words in ["", "-dry-run", "-min-age 30d", "-keep-last 0", "-keep-within 0", "-keep-daily -1"] {
        assert_eq!(world.line(&format!("prune {words}")).code, 2, "{words}");
    }
    world.fails("prune -keep-last 1 -group-by none,host", 2, "-group-by");
    world.fails("prune -keep-within 3x", 2, "30d or 1y6m12h");
    assert_eq!(world.uuids().len(), 6);
    // Received long before they say they were made: they displace none, unless that is asked for.
    world.ok("prune -keep-last 1 -min-age 0");
    assert_eq!(world.uuids().len(), 6);
    world.ok("prune -keep-last 1 -min-age 0 -trust-times");
    assert_eq!(world.uuids().len(), 2);
    assert!(!world.uuids().contains(&uuids[3]));
}

/// The stores are real folders here; the clone and the sync receive years later what was made then.
#[test]
fn a_clone_and_a_synced_repository_keep_what_is_kept_here() {
    let (world, _) = five(&["b"]);
    world.ok("clone a");
    world.ok("sync b");
    for policy in ["-keep-last 2", "-keep-hourly 1 -keep-tag t1", "-keep-within 1h"] {
        let kept = |on: &str| -> Vec<String> {
            let planned = lines(&world.ok(&format!("{on} -json prune {policy} -min-age 0 -dry-run")));
            let kept = planned.iter().filter(|one| one["keep"] == true);
            kept.map(|one| one["uuid"].as_str().unwrap().to_owned()).collect()
        };
        let store = format!("on {}", world.store().display());
        assert_eq!(kept("on a"), kept(&store), "{policy}");
        assert_eq!(kept("on b"), kept(&store), "{policy}");
    }
}

#[test]
fn what_was_removed_is_undeleted_until_it_is_cleaned_up() {
    let (world, uuids) = five(&["peer"]);
    assert_eq!(world.ok("undelete"), "");
    let before = world.ok("ls");
    world.ok("keep 3");
    let removed: String = before.lines().take(2).map(|line| format!("{line}\n")).collect();
    assert_eq!(world.ok("undelete"), removed);
    assert_eq!(lines(&world.ok("-json undelete"))[1]["uuid"], uuids[1].as_str());
    world.fails(&format!("undelete {} zzz", uuids[0]), 1, "no removed snapshot has prefix: zzz");
    world.fails(&format!("undelete {}", uuids[4]), 1, "is not removed");
    world.fails(&format!("undelete {}:/x", uuids[0]), 2, "only whole snapshots");
    assert_eq!(world.run(["undelete", ""]).code, 2);
    assert_eq!(world.uuids(), uuids[2..]);
    let told = lines(&world.ok(&format!("-json undelete {} {} {}", uuids[0], &uuids[1][..8], uuids[1])));
    assert_eq!(told.len(), 2);
    assert_eq!((world.ok("ls"), world.ok("undelete")), (before, String::new()));
    world.ok("check");
    // It goes wherever others go, and comes back whole.
    world.ok("sync peer");
    assert_eq!(world.uuids_on("peer").len(), 5);
    world.ok("on peer check");
    world.ok(&format!("pull -path out {}", uuids[0]));

    // What nothing else needs is gone after a cleanup: that is told, and nothing else is harmed.
    world.write(
        "alone/f",
        (0..60_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect::<Vec<_>>(),
    );
    world.ok("push alone");
    let alone = world.uuids().pop().unwrap();
    world.ok(&format!("rm {alone}"));
    assert!(world.ok("undelete").contains(&alone));
    world.ok("cleanup -grace 0s");
    let ran = world.fails(&format!("undelete {alone}"), 4, "is not shown again, because some of it is gone");
    assert!(ran.err.contains(&format!("{alone}:/")) && ran.out.is_empty(), "{ran:?}");
    assert_eq!(world.uuids(), uuids);
    assert!(!world.ok("undelete").contains(&alone));
    world.ok("check");
}
