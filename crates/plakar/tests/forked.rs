//! A process that is forked in the middle, or a machine that is resumed twice from one image, goes on twice from the same
//! memory. So that no nonce comes twice, none may follow from memory: the system is asked for each. That is seen at its
//! calls.

mod common;

use common::World;
use common::inject::needs_strace;
use common::tree::noise;
use plakar_engine::repository::Locked;
use plakar_store::DirStore;
use plakar_testkit::collecting::reached;
use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

/// The bytes of a nonce.
const NONCE: usize = 24;

#[test]
fn the_system_is_asked_for_each_nonce() {
    if needs_strace() {
        return;
    }
    let world = World::new().with("PLAKAR_PASSPHRASE", "secret");
    world.ok("create");
    // Many blocks, on all threads.
    for n in 0..60 {
        world.write(&format!("data/{n}"), noise(n, 1 << 20));
    }
    let calls = world.path("work/calls");
    let mut push = world.command("strace");
    push.args(["-f", "-e", "trace=getrandom", "-e", "signal=none", "-o"]).arg(&calls);
    push.arg(env!("CARGO_BIN_EXE_plakar")).args(["push", "data"]);
    assert!(push.status().unwrap().success());
    let told = fs::read_to_string(&calls).unwrap();
    let asked = told.lines().filter(|line| line.ends_with(&format!(" = {NONCE}"))).count();

    let store = Arc::new(DirStore::open(world.path("home/.plakar/store")).unwrap());
    let repository = Locked::open(store).unwrap().unlock(Some(b"secret")).unwrap().open().unwrap();
    let root = repository.state().snapshots()[0].row.root.node;
    let items = reached(&repository, &root).unwrap();
    let places = items.iter().flat_map(|item| repository.index().find(item).unwrap());
    let blocks: BTreeSet<_> = places.map(|place| (place.pack, place.offset)).collect();
    let packs: BTreeSet<_> = blocks.iter().map(|(pack, _)| pack).collect();
    assert!(blocks.len() > 40 && packs.len() > 2, "{} blocks, {} packs", blocks.len(), packs.len());
    // Each pack has a directory and a trailer as well.
    let sealed = blocks.len() + 2 * packs.len();
    assert!(asked >= sealed, "{asked} nonces for {sealed} things that were sealed");
    println!("{asked} nonces, {} blocks in {} packs", blocks.len(), packs.len());
}
