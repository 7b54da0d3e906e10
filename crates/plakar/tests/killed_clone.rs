//! A clone may be ended at any moment: what was begun is used for nothing else, and the same command completes it.

mod common;

use common::World;
use common::copies::{files, json};
use common::tree::{self, finish};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

const A_WHILE: Duration = Duration::from_secs(60);

/// A repository of some megabytes in several packs and dozens of objects.
fn large() -> World {
    let world = World::with_repositories(&[]);
    for n in 0..8 {
        world.write(&format!("data/{n}"), tree::noise(n, 3_000_000));
        world.ok("push data");
    }
    world
}

/// The objects of a repository in a folder, but for what is its own.
fn shared(world: &World, name: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let folder = if name.is_empty() { world.store() } else { world.path("work").join(name) };
    let named = |file: PathBuf| (file.strip_prefix(&folder).unwrap().to_owned(), fs::read(&file).unwrap());
    let is_shared = |file: &PathBuf| {
        let name = file.file_name().unwrap().to_str().unwrap();
        name != "replica" && !name.starts_with(".tmp-")
    };
    files(&folder).into_iter().filter(is_shared).map(named).collect()
}

fn start(world: &World, place: &str) -> std::process::Child {
    let mut command = world.command(env!("CARGO_BIN_EXE_plakar"));
    command.args(["clone", place]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_clone_that_is_killed_is_completed_by_the_same_command() {
    let world = large();
    let whole = shared(&world, "");
    let began = Instant::now();
    world.ok("clone measure");
    let takes = began.elapsed();
    let (mut unfinished, mut complete) = (0, 0);
    for round in 0..12_u32 {
        let place =
            if round % 3 == 2 { format!("sqlite://copy-{round}.db") } else { format!("copy-{round}") };
        let mut ended = 0;
        // Killed again and again, each time a little later.
        for part in 0..3 {
            let child = start(&world, &place);
            std::thread::sleep(takes * (round % 12 + 2 * part) / 12);
            let _ = kill_process(Pid::from_child(&child), Signal::KILL);
            let output = finish(child, A_WHILE, "a killed clone");
            if output.status.code().is_some() {
                break;
            }
            ended += 1;
            let ran = world.line(&format!("on {place} ls"));
            if ran.code == 0 {
                // It was killed when everything was done.
                complete += 1;
                break;
            }
            assert!(ran.code == 10 && ran.out.is_empty(), "{place}: {ran:?}");
            if ran.err.contains("an unfinished clone of ") {
                unfinished += 1;
                assert_eq!(world.line(&format!("on {place} push data")).code, 10);
                assert_eq!(world.line(&format!("on {place} clone elsewhere")).code, 10);
                world.fails(&format!("sync {place}"), 10, "an unfinished clone of ");
                world.fails(&format!("create -no-encryption {place}"), 1, "an unfinished clone of ");
            }
        }
        let ran = world.line(&format!("clone {place}"));
        let whole_already = ran.code == 1 && ran.err.contains("there is a repository already");
        assert!(ran.code == 0 || whole_already, "{place}, ended {ended} times: {ran:?}");
        world.ok(&format!("on {place} check"));
        assert_eq!(world.ok(&format!("on {place} ls")), world.ok("ls"));
        if !place.contains("://") {
            assert_eq!(shared(&world, &place), whole, "{place}");
        }
    }
    println!("{unfinished} unfinished, {complete} complete, of a clone that takes {takes:?}");
    assert!(unfinished >= 3, "too few were ended midway: {unfinished}");
    assert!(!world.path("work/elsewhere").exists());
}

#[test]
fn a_clone_that_is_interrupted_says_so_and_goes_on() {
    let world = large();
    let child = start(&world, "copy");
    let packs = world.path("work/copy/packs");
    let began = Instant::now();
    while !packs.exists() {
        assert!(began.elapsed() < A_WHILE, "it never begins");
        std::thread::sleep(Duration::from_millis(1));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = finish(child, A_WHILE, "an interrupted clone");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said, "plakar: interrupted; the same command goes on with what was begun\n");
    let told = json(&world.ok("-json clone copy"));
    assert!(told["objects"].as_u64() > Some(0), "{told}");
    assert_eq!(shared(&world, "copy"), shared(&world, ""));
}

#[test]
fn an_unfinished_clone_is_completed_by_its_own_source_only() {
    let world = World::with_repositories(&["other"]);
    world.push_new("", "one");
    world.push_new("other", "two");
    world.ok("clone copy");
    fs::remove_file(world.path("work/copy/config")).unwrap();
    let default = world.store().display().to_string();
    for words in ["ls", "push data", "check", "status", "sync other", "clone elsewhere", "adopt"] {
        world.fails(&format!("on copy {words}"), 10, &format!("copy: an unfinished clone of {default}: "));
    }
    let before = world.bytes_of(&world.path("work/copy"));
    world.fails("on other clone copy", 1, &format!("copy: an unfinished clone of {default}: "));
    world.fails("clone -update copy", 10, "an unfinished clone of ");
    assert_eq!(world.bytes_of(&world.path("work/copy")), before);
    world.ok("clone copy");
    assert_eq!(world.ok("on copy ls"), world.ok("ls"));
    // A repository whose creation was cut short is no clone.
    fs::remove_file(world.path("work/other/config")).unwrap();
    world.fails("clone other", 1, "unfinished: its creation never ended");
    world.fails("on other clone elsewhere", 10, "unfinished: its creation never ended");
    assert!(!world.path("work/elsewhere").exists());
    // What a store leaves that was ended before its first object is no obstacle.
    world.write("fresh/.tmp-0123456789abcdef", "");
    world.ok("clone fresh");
    world.ok("on fresh check");
}
