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
