//! A sync may be ended at any moment, politely or not: both sides stay whole, and the next one completes it.

mod common;

use common::World;
use common::copies::{files, json};
use common::tree::{self, finish};
use rustix::process::{Pid, Signal, kill_process};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const A_WHILE: Duration = Duration::from_secs(60);

/// A repository of some megabytes in several snapshots, and an empty peer: of another domain if it is encrypted.
fn pair(encrypted: bool) -> World {
    let world = World::with_repositories(&[]).with("PLAKAR_PEER_PASSPHRASE", "other");
    world.write("key", "other");
    world.ok(if encrypted { "-keyfile key create peer" } else { "create -no-encryption peer" });
    for n in 0..5 {
        world.write(&format!("data/{n}"), tree::noise(n, 4_000_000));
        world.ok("push data");
    }
    world
}

fn start(world: &World) -> Child {
    let mut command = world.command(env!("CARGO_BIN_EXE_plakar"));
    command.args(["sync", "peer"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_sync_that_is_killed_leaves_both_sides_whole() {
    let mut cut = 0;
    for encrypted in [false, true] {
        let world = pair(encrypted);
        let on = if encrypted { "-keyfile key on peer" } else { "on peer" };
        let all = world.ok("ls");
        let source = world.bytes_of(&world.store());
        for round in 0..8 {
            let child = start(&world);
            std::thread::sleep(Duration::from_millis(20 + 45 * round));
            let _ = kill_process(Pid::from_child(&child), Signal::KILL);
            let ended = finish(child, A_WHILE, "a killed sync").status.code().is_none();
            // What is there is complete, and in the order of the source.
            let listed = world.ok(&format!("{on} ls"));
            assert!(all.starts_with(&listed), "{listed}");
            world.ok(&format!("{on} check"));
            if !ended {
                break;
            }
            cut += usize::from(listed != all);
        }
        world.ok("sync peer");
        assert_eq!(world.ok(&format!("{on} ls")), all);
        world.ok(&format!("{on} check"));
        assert_eq!(world.bytes_of(&world.store()), source, "the source was written to");
    }
    println!("{cut} were ended midway");
    assert!(cut >= 3, "too few were ended midway: {cut}");
}

#[test]
fn a_sync_that_is_interrupted_keeps_what_it_moved() {
    let world = pair(false);
    let packs = world.path("work/peer/packs");
    let child = start(&world);
    let began = Instant::now();
    while !packs.exists() || files(&packs).is_empty() {
        assert!(began.elapsed() < A_WHILE, "it never begins");
        std::thread::sleep(Duration::from_millis(1));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = finish(child, A_WHILE, "an interrupted sync");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let expected = "plakar: sync to peer: interrupted; what was moved so far is kept for the next sync\n";
    assert_eq!(said, expected);
    world.ok("on peer check");
    let kept: u64 = files(&packs).iter().map(|pack| std::fs::metadata(pack).unwrap().len()).sum();
    let told = world.ok("-json sync peer");
    let done = json(told.lines().last().unwrap());
    assert!(kept > 0 && kept + done["bytes"].as_u64().unwrap() < 22_000_000, "{kept}: {done}");
    assert_eq!(world.ok("on peer ls"), world.ok("ls"));
    world.ok("on peer check");
}
