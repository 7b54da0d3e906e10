//! How much each command asks of an object store: what docs/scale.md counts with.
//!
//! `cargo test -p plakar --test requests -- --nocapture what_each` prints the table there.

mod common;

use common::World;
use common::tree::noise;
use plakar_testkit_s3::{ACCESS_KEY, SECRET_KEY, Server};
use std::time::Duration;

/// What came of one command.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    puts: usize,
    lists: usize,
    gets: usize,
    heads: usize,
    deletes: usize,
    /// Bytes of bodies there,
    up: u64,
    /// and back.
    down: u64,
}

struct Bill {
    server: Server,
    _folder: tempfile::TempDir,
}

impl Bill {
    fn new() -> Bill {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path());
        server.make_bucket("bucket");
        Bill { server, _folder: folder }
    }

    fn client(&self) -> World {
        World::new()
            .with("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .with("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .with("AWS_ENDPOINT_URL", &self.server.endpoint())
            .with("PLAKAR_REPOSITORY", "s3://bucket/x")
            .with("PLAKAR_PASSPHRASE", "a passphrase")
    }

    /// What a command asked, told as a row of the table.
    fn of(&self, step: &str, world: &World, line: &str) -> Asked {
        self.server.asked();
        world.ok(line);
        let mut sum = Asked::default();
        for one in self.server.asked() {
            let count = match one.what.split_once(' ').unwrap() {
                ("PUT", _) => &mut sum.puts,
                ("GET", place) if place.contains("list-type=2") => &mut sum.lists,
                ("GET", _) => &mut sum.gets,
                ("HEAD", _) => &mut sum.heads,
                ("DELETE", _) => &mut sum.deletes,
                other => panic!("{other:?}"),
            };
            *count += 1;
            sum.up += one.up;
            sum.down += one.down;
        }
        let Asked { puts, lists, gets, heads, deletes, up, down } = sum;
        println!("| {step} | {puts} | {lists} | {gets} | {heads} | {deletes} | {up} | {down} |");
        sum
    }
}

/// At most so many puts, lists, reads (of bytes and lengths), and bytes there and back.
fn within(asked: &Asked, [puts, lists, reads]: [usize; 3], [up, down]: [u64; 2]) {
    let reads_asked = asked.gets + asked.heads;
    assert!(asked.puts <= puts && asked.lists <= lists && reads_asked <= reads, "{asked:?}");
    assert!(asked.up <= up && asked.down <= down, "{asked:?}");
}

/// Files are not believed to be unchanged when they were changed just before the last push.
fn later() {
    std::thread::sleep(Duration::from_secs(3));
}

#[test]
fn what_each_command_asks() {
    let bill = Bill::new();
    let world = bill.client();
    let data: u64 = 4_000 * 16_000;
    println!("| step | PUT | LIST | GET | HEAD | DELETE | bytes there | and back |");
    let asked = bill.of("`create`", &world, "create");
    within(&asked, [4, 4, 8], [500, 3_000]);
    for n in 0..4_000u32 {
        world.write(&format!("data/{}/{n}", n % 40), noise(n.into(), 16_000));
    }
    let change = |n: u32| {
        let at = n % 4_000;
        world.write(&format!("data/{}/{at}", at % 40), noise(u64::from(10_000 + n), 16_000));
        later();
    };
    let asked = bill.of("first `push`", &world, "push data");
    within(&asked, [8 + data as usize / (16 << 20), 19, 20], [data + data / 100, 200_000]);
    later();
    world.ok("push data");
    // How many log objects there are to be read depends on which of them were folded.
    let asked = bill.of("`push` of nothing new", &world, "push data");
    within(&asked, [4, 19, 20], [3_000, 40_000]);
    change(0);
    let asked = bill.of("`push` of one file", &world, "push data");
    within(&asked, [5, 19, 20], [60_000, 60_000]);
    // What was pushed meanwhile costs its place in the listings, and nothing else.
    for n in 1..30u64 {
        world.write(&format!("data/{}/{n}", n % 40), noise(20_000 + n, 16_000));
        world.ok("push data");
    }
    change(31);
    world.ok("push data");
    change(32);
    let asked = bill.of("the same, 30 pushes later", &world, "push data");
    within(&asked, [6, 19, 22], [100_000, 250_000]);
    for n in 40..80u64 {
        world.write(&format!("data/{}/{n}", n % 40), noise(30_000 + n, 16_000));
    }
    later();
    let asked = bill.of("`push` of 1 %", &world, "push data");
    within(&asked, [6, 19, 50], [900_000, 400_000]);
    let asked = bill.of("`ls`", &world, "ls");
    within(&asked, [0, 7, 6], [0, 60_000]);
    let new = bill.client();
    let asked = bill.of("`ls`, from a new machine", &new, "ls");
    within(&asked, [0, 7, 80], [0, 150_000]);
    let id = world.ok("ls").lines().last().unwrap().split_whitespace().nth(1).unwrap().to_owned();
    let asked = bill.of("`pull` of all", &new, &format!("pull -path out {id}"));
    within(&asked, [0, 7, 250], [0, data + data / 20]);
    let asked = bill.of("`check` with all data", &world, "check");
    within(&asked, [0, 7, 250], [0, data + data / 10]);
    let asked = bill.of("`clone` to here", &world, "clone near");
    within(&asked, [0, 13, 250], [0, data + data / 10]);
    world.ok("sync near");
    let asked = bill.of("`sync` of nothing to here", &world, "sync near");
    within(&asked, [0, 7, 6], [0, 60_000]);
    change(33);
    world.ok("push data");
    let asked = bill.of("`sync` of one snapshot to here", &world, "sync near");
    within(&asked, [0, 7, 20], [0, 150_000]);
    let asked = bill.of("`prune` to one snapshot", &world, "prune -keep-last 1 -min-age 0d");
    within(&asked, [1, 11, 20], [5_000, 150_000]);
    let asked = bill.of("`cleanup`", &world, "cleanup -grace 0");
    within(&asked, [12, 40, 500], [2_000_000, 4_000_000]);
    assert!(asked.deletes > 60, "{asked:?}");
    let asked = bill.of("`push` of nothing new, after it", &world, "push data");
    within(&asked, [4, 19, 40], [5_000, 300_000]);
}
