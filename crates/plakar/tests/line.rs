//! A server that is far away: a line that is slow, that may only be used so much, and that is cut.

mod common;

use common::World;
use common::machine::{Machine, client};
use common::tree::{finish, noise};
use plakar_testkit::line::{Line, Shape};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// 50 ms there and back, 100 Mbit/s.
const FAR: Shape = Shape { delay: Duration::from_millis(25), bytes_per_second: 12_500_000 };

/// A server far away, the line to it, and a client with an empty repository there and `mib` of files to push.
fn far(mib: u64) -> (Machine, Line, World) {
    let machine = Machine::start("");
    let line = Line::to(machine.address(), "127.0.0.1:0", FAR).unwrap();
    let mut world = client(&machine, "/home");
    world.set("PLAKAR_REPOSITORY", &format!("http://{}/home", line.address()));
    world.ok("create");
    for n in 0..mib {
        world.write(&format!("data/{n}"), noise(n, 1 << 20));
    }
    (machine, line, world)
}

fn begin(world: &World, words: &str) -> Child {
    let mut command = world.command(env!("CARGO_BIN_EXE_plakar"));
    command.args(words.split_whitespace()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until so much went to the server since it was `before`.
fn until_sent(line: &Line, before: u64, bytes: u64) {
    let began = Instant::now();
    while line.bytes().0 < before + bytes {
        assert!(began.elapsed() < Duration::from_secs(60), "nothing is sent");
        sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_cable_that_is_cut_for_half_a_minute_ends_no_push() {
    let (_machine, line, world) = far(40);
    let before = line.bytes().0;
    let mut push = begin(&world, "push data");
    until_sent(&line, before, 10 << 20);
    line.cut();
    sleep(Duration::from_secs(30));
    assert!(push.try_wait().unwrap().is_none(), "it waits");
    line.mend();
    let pushed = finish(push, Duration::from_secs(120), "the push");
    assert!(pushed.status.success(), "{pushed:?}");
    // What had arrived before did not go again, but for what was on its way.
    let sent = line.bytes().0 - before;
    assert!(sent < (40 + 2 * 16 + 8) << 20, "{sent} bytes");
    assert_eq!(world.ok("check"), "");
    assert_eq!(world.ok("ls").lines().count(), 1);
}

/// How long a command may go on after the cable was cut, with `-patience 5s`: that nobody is there shows in 75 s (a ping after
/// 15 s, for which 60 s are waited), then it tries for 5 s, each of those that wait for something once more at least.
const GIVES_UP: Duration = Duration::from_secs(75 + 5 + 40);

/// Cuts the cable while a command is at work, and waits until the command has given up. Returns what it said.
fn cut_for_good(line: &Line, child: Child, what: &str) -> String {
    line.cut();
    let began = Instant::now();
    let ended = finish(child, GIVES_UP, what);
    println!("{what}: ended {:.0?} after the cable was cut", began.elapsed());
    assert!(began.elapsed() > Duration::from_secs(5), "{what}: it tried again for as long as it was told");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{what}: {said}");
    assert!(said.contains(line.address()), "{what}: {said}");
    line.mend();
    said
}

/// What was announced is not sent again: packs that a checkpoint names, which a push makes after half a minute, a gigabyte, or
/// here every half second. What was sent after the last of them is sent again.
fn a_push_goes_on() {
    let (machine, line, world) = far(96);
    let before = line.bytes().0;
    let push = begin(&world, "-patience 5s push -checkpoint-every 0.5 data");
    // The first fact says that a session began, and each one after that what it stored.
    let log = machine.world.path("work/served/home/log");
    let began = Instant::now();
    while std::fs::read_dir(&log).map_or(0, Iterator::count) < 3 {
        assert!(began.elapsed() < Duration::from_secs(60), "nothing is announced");
        sleep(Duration::from_millis(5));
    }
    let announced = line.bytes().0 - before;
    until_sent(&line, before, announced + (1 << 20));
    cut_for_good(&line, push, "the push");
    assert_eq!(world.ok("ls"), "", "nothing looks as if it were complete");
    assert_eq!(world.ok("check"), "");
    let before = line.bytes().0;
    world.ok("push data");
    let again = line.bytes().0 - before;
    println!("the push: {announced} bytes were announced, {again} were sent then");
    assert!(announced > 4 << 20 && again < (99 << 20) - announced / 2, "{announced} {again}");
    assert_eq!(world.ok("check"), "");
    assert_eq!(world.ok("ls").lines().count(), 1);
}

/// A restore begins again: what it made before is made again.
fn a_pull_is_right_the_next_time() {
    let (_machine, line, world) = far(40);
    world.ok("push data");
    let id = world.uuids().remove(0);
    let words = format!("-patience 5s pull -rebase -path out {id}:{}", world.text("work/data"));
    let before = line.bytes().1;
    let pull = begin(&world, &words);
    let began = Instant::now();
    while line.bytes().1 < before + (10 << 20) {
        assert!(began.elapsed() < Duration::from_secs(60), "nothing comes");
        sleep(Duration::from_millis(5));
    }
    cut_for_good(&line, pull, "the pull");
    // What is there is whole: a file gets its name when all of it is there.
    for entry in std::fs::read_dir(world.path("work/out")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if !name.starts_with('.') {
            let same = std::fs::read(entry.path()).unwrap() == noise(name.parse().unwrap(), 1 << 20);
            assert!(same, "{name}");
        }
    }
    world.shell("rm -rf out").succeeded();
    world.ok(&words);
    world.shell("diff -r data out").succeeded();
}

/// Snapshots are published one by one: those that were are not moved again.
fn a_sync_goes_on() {
    const EACH: u64 = 6;
    let (_machine, line, mut world) = far(0);
    let there = format!("http://{}/home", line.address());
    world.set("PLAKAR_REPOSITORY", &world.text("work/here"));
    world.set("PLAKAR_PEER_PASSPHRASE", "a passphrase");
    world.ok(&format!("create -like {there}"));
    for n in 0..6 {
        for file in 0..EACH {
            world.write(&format!("data/{n}-{file}"), noise(n * EACH + file, 1 << 20));
        }
        world.ok("push data");
    }
    let before = line.bytes().0;
    let sync = begin(&world, &format!("-patience 5s sync {there}"));
    until_sent(&line, before, (4 * EACH) << 20);
    cut_for_good(&line, sync, "the sync");
    let arrived = world.ok(&format!("on {there} ls")).lines().count() as u64;
    assert!((1..6).contains(&arrived), "{arrived}");
    assert_eq!(world.ok(&format!("on {there} check")), "");
    let before = line.bytes().0;
    world.ok(&format!("sync {there}"));
    let again = line.bytes().0 - before;
    println!("the sync: {arrived} of 6 snapshots had arrived, {again} bytes were sent then");
    assert!(again < ((6 - arrived) * EACH + 1) << 20, "{arrived} {again}");
    assert_eq!(world.ok(&format!("on {there} ls")).lines().count(), 6);
    assert_eq!(world.ok(&format!("on {there} check")), "");
}

#[test]
fn a_cable_that_stays_cut_ends_what_needs_it_and_the_next_goes_on() {
    // At once, because each is mostly waited for.
    std::thread::scope(|scope| {
        for scene in [a_push_goes_on, a_pull_is_right_the_next_time, a_sync_goes_on] {
            scope.spawn(scene);
        }
    });
}

#[test]
fn patience_has_bounds() {
    let world = World::new();
    for (typed, said) in [("0", "1s to 7d"), ("8d", "1s to 7d"), ("soon", "no time span")] {
        world.fails(&format!("-patience {typed} ls"), 2, said);
    }
}

#[test]
fn a_push_keeps_to_its_share_of_the_line() {
    let (_machine, line, world) = far(2);
    let before = line.bytes();
    let began = Instant::now();
    world.ok("-limit-upload 1M push data");
    let (took, sent) = (began.elapsed().as_secs_f64(), line.bytes().0 - before.0);
    assert!(sent > 1_800_000 && sent as f64 / took < 1_050_000.0, "{sent} bytes in {took} s");
    let id = world.uuids().remove(0);
    let (before, began) = (line.bytes(), Instant::now());
    world.ok(&format!("-limit-download 500kB pull -path out {id}"));
    let (took, fetched) = (began.elapsed().as_secs_f64(), line.bytes().1 - before.1);
    assert!(
        fetched > 1_800_000 && fetched as f64 / took < 525_000.0 + 65_536.0,
        "{fetched} bytes in {took} s"
    );
    world.fails("-limit-upload 1k push data", 2, "at least 16k");
    // Whoever limits one direction has the other whole.
    world.ok("-limit-upload 16k check");
}

#[test]
fn who_is_slow_on_purpose_is_not_taken_for_gone() {
    let (_machine, _line, world) = far(1);
    // A quarter of a minute for each piece that is waited for, each way.
    world.ok("-limit-upload 64k -limit-download 64k push data");
    world.ok("-no-cache -limit-download 64k check -fast");
}
