//! `gzcat` prints what is in compressed files, and nothing that is not.

mod common;

use common::{World, tree};

#[test]
fn compressed_files_are_printed_as_they_were() {
    let world = World::new();
    world.ok("create -no-encryption");
    let large = tree::noise(1, 3_000_000);
    world.write("large", &large);
    // Bytes that decompress to a thousand times as many.
    world.write("zeros", vec![0; 50_000_000]);
    world.shell("mkdir d && gzip -c large > d/large.gz && gzip -9 -c zeros > d/zeros.gz").succeeded();
    world
        .shell("(echo one | gzip -c; echo two | gzip -c) > d/both.gz && echo three | gzip -c > d/three.gz")
        .succeeded();
    world
        .shell("head -c 1000000 d/large.gz > d/short.gz; (cat d/three.gz; echo rubbish) > d/rubbish.gz")
        .succeeded();
    world.shell("cp d/large.gz d/flipped.gz && printf x | dd of=d/flipped.gz bs=1 seek=2000000 conv=notrunc 2>/dev/null").succeeded();
    world.write("d/plain", "no gzip");
    world.write("d/empty.gz", "");
    world.ok("push d");
    let d = world.text("work/d");
    assert!(world.line(&format!("gzcat latest:{d}/large.gz")).bytes == large);
    assert_eq!(world.ok(&format!("gzcat latest:{d}/both.gz latest:{d}/three.gz")), "one\ntwo\nthree\n");
    assert_eq!(world.shell(&format!("plakar gzcat latest:{d}/zeros.gz | cmp - zeros")).succeeded(), "");
    for name in ["plain", "short.gz", "flipped.gz", "rubbish.gz", "empty.gz"] {
        let ran = world.fails(
            &format!("gzcat latest:{d}/{name}"),
            1,
            &format!("{d}/{name}: is not what gzip writes"),
        );
        assert!(ran.err.contains(&world.uuids()[0]), "{ran:?}");
    }
    let short = world.line(&format!("gzcat latest:{d}/short.gz"));
    assert!(large.starts_with(&short.bytes) && short.bytes.len() > 900_000, "what was right is printed");
    world.fails("gzcat", 2, "at least one parameter is required");
    world.fails("gzcat latest", 2, "gzcat: missing filename for snapshot");
    world.fails(&format!("gzcat latest:{d}"), 1, "not a regular file but a directory");
    let packs = world.path("home/.plakar/store/packs");
    world.shell(&format!("find {} -type f -delete", packs.display())).succeeded();
    world.fails(&format!("gzcat latest:{d}/large.gz"), 4, "");
}
