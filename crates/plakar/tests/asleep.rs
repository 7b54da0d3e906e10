//! A computer that is put to sleep in the middle of a command, for longer than any patience of the others: when it wakes
//! up, the command ends as a success that is one, or says that it failed. No clock and no lock is asked.

mod common;

use common::World;
use common::tree::noise;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

/// At how many moments each command falls asleep.
const MOMENTS: u32 = 12;

fn started(world: &World, words: &[&str]) -> Child {
    let mut command = world.command(env!("CARGO_BIN_EXE_plakar"));
    command.args(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn write(world: &World, from: u64) {
    let data = world.path("work/data");
    let _ = fs::remove_dir_all(&data);
    fs::create_dir_all(&data).unwrap();
    // A third of what was there before is there again.
    for n in from..from + 30 {
        fs::write(data.join(format!("{n}")), noise(n, 60_000)).unwrap();
    }
}

fn whole(world: &World, what: &str) {
    assert_eq!(world.ok("check"), "", "{what}");
    for uuid in world.uuids() {
        world.ok(&format!("pull -rebase -path out {uuid}:{}", world.text("work/data")));
        for file in fs::read_dir(world.path("work/out")).unwrap() {
            let file = file.unwrap();
            let n = file.file_name().to_str().unwrap().parse().unwrap();
            assert!(fs::read(file.path()).unwrap() == noise(n, 60_000), "{what}: {uuid}");
        }
        fs::remove_dir_all(world.path("work/out")).unwrap();
    }
}

/// Puts a command to sleep at many moments, does `meanwhile`, and wakes it up. Returns how often it failed.
fn sleeper(words: &[&str], before: impl Fn(&World, u64), meanwhile: impl Fn(&World, u64)) -> usize {
    let world = World::with_repositories(&[]);
    write(&world, 0);
    world.ok("push data");
    let mut failed = 0;
    for moment in 0..MOMENTS {
        let n = u64::from(moment);
        before(&world, n);
        let child = started(&world, words);
        let id = Pid::from_child(&child);
        std::thread::sleep(Duration::from_millis(4) * moment);
        // It is our child and was not waited for, so the id is still its own.
        kill_process(id, Signal::STOP).unwrap();
        meanwhile(&world, n);
        kill_process(id, Signal::CONT).unwrap();
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        let what = format!("{words:?} asleep at {moment}: {:?} {err}", output.status);
        match output.status.code() {
            Some(0) => assert_eq!(err, "", "{what}"),
            Some(1 | 3 | 4) => {
                assert!(err.starts_with("plakar: "), "{what}");
                failed += 1;
            }
            _ => panic!("{what}"),
        }
        whole(&world, &what);
        world.ok("cleanup -grace 0s");
        whole(&world, &what);
    }
    failed
}

#[test]
fn a_push_that_slept_through_two_cleanups_is_whole_or_fails() {
    let failed = sleeper(
        &["push", "-checkpoint-every", "0.05", "data"],
        |world, n| write(world, 20 * (n + 1)),
        |world, _| {
            // What it relies on goes, as far as anybody can tell.
            let uuids = world.uuids();
            if uuids.len() > 1 {
                world.ok(&format!("rm {}", uuids[0]));
            }
            world.ok("cleanup -grace 0s");
            world.ok("cleanup -grace 0s");
        },
    );
    println!("{failed} of {MOMENTS} failed");
}

#[test]
fn a_cleanup_that_slept_takes_nothing_that_was_pushed_or_cleaned_up_meanwhile() {
    let failed = sleeper(
        &["cleanup", "-grace", "0s"],
        |world, n| {
            write(world, 20 * (n + 1));
            world.ok("push data");
            let uuids = world.uuids();
            world.ok(&format!("rm {}", uuids[0]));
        },
        |world, n| {
            // The very files that only the removed snapshot had.
            write(world, 20 * n);
            world.ok("push data");
            world.ok("cleanup -grace 0s");
            write(world, 20 * n + 7);
            world.ok("push data");
        },
    );
    println!("{failed} of {MOMENTS} failed");
}
