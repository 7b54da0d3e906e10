//! Which files a restore replaces.

mod common;

use common::World;
use std::collections::BTreeMap;
use std::fs;

#[test]
fn files_are_replaced_as_the_flag_says() {
    let world = World::new().with("PLAKAR_REPOSITORY", "there");
    world.ok("create -no-encryption");
    let names = ["same", "touched", "older", "newer", "resized", "link", "gone", "one", "two"];
    names[..7].iter().for_each(|name| drop(world.write(&format!("data/{name}"), "snapshot")));
    world.write("data/one", "snapshot");
    fs::hard_link(world.path("work/data/one"), world.path("work/data/two")).unwrap();
    world.shell("touch -d 2020-06-01 data/*").succeeded();
    world.ok("push data");
    let data = world.text("work/data");
    let pull = |flags: &str| {
        // What is there: its bytes tell whether it was replaced.
        let _ = fs::remove_dir_all(world.path("work/out"));
        for name in ["same", "touched", "older", "newer", "one"] {
            world.write(&format!("out/{name}"), "existing");
        }
        world.write("out/resized", "existing, and longer");
        world.write("out/beside", "existing");
        world.write("victim", "existing");
        let times =
            "touch -d 2020-06-01 same resized one; touch -d 2019-01-01 older; touch -d 2021-01-01 newer";
        world.shell(&format!("cd out && {times} && ln -s ../victim link")).succeeded();
        let told = world.ok(&format!("-json pull {flags} -rebase -path out :{data}"));
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!(fs::read(world.path("work/victim")).unwrap(), b"existing", "links are not followed");
        assert_eq!(fs::read(world.path("work/out/beside")).unwrap(), b"existing", "what is beside stays");
        let replaced = |name: &&&str| {
            let path = world.path("work/out").join(name);
            !path.is_symlink() && fs::read(path).unwrap() == b"snapshot"
        };
        let replaced: Vec<_> = names.iter().filter(replaced).copied().collect();
        assert_eq!(told["kept"], names.len() - replaced.len(), "{flags}: {told}");
        replaced
    };
    let expected = BTreeMap::from([
        ("", &names[..]),
        ("-overwrite always", &names[..]),
        ("-overwrite changed", &["touched", "older", "newer", "resized", "link", "gone", "two"][..]),
        ("-overwrite newer", &["older", "gone", "two"][..]),
        ("-overwrite never", &["gone", "two"][..]),
    ]);
    for (flags, replaced) in expected {
        assert_eq!(pull(flags), replaced, "{flags}");
        // The other name of a file that stayed is no name of that one.
        if flags.contains("never") {
            assert_eq!(fs::read(world.path("work/out/one")).unwrap(), b"existing");
        }
    }
    world.fails("pull -overwrite sometimes :", 2, "sometimes");
}
