//! `exec`: a program out of a snapshot.

mod common;

use common::World;
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_program_is_run_out_of_a_snapshot() {
    let world = World::new();
    world.ok("create -no-encryption");
    let script = "#!/bin/sh\nprintf '%s|' \"$@\"\necho bad >&2\nexit 42\n";
    for (name, bytes, mode) in [
        ("script", script.as_bytes().to_vec(), 0o755),
        ("true", fs::read("/bin/true").unwrap(), 0o755),
        ("data", b"no program".to_vec(), 0o644),
        ("unsaid", b"exit 7\n".to_vec(), 0o755),
    ] {
        let path = world.write(&format!("d/{name}"), bytes);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    world.ok("push d");
    let d = world.text("work/d");
    fs::remove_dir_all(world.path("work/d")).unwrap();
    // What follows is the program's own, whatever it looks like.
    let ran = world.line(&format!("exec :{d}/script -json --version -- -h a=b"));
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (42, "-json|--version|--|-h|a=b|", "bad\n"));
    let ran = world.line(&format!("exec -verbose :{d}/true"));
    assert_eq!((ran.code, ran.out.as_str()), (0, ""));
    world.fails(&format!("exec :{d}/data"), 1, "may not be executed");
    assert_eq!(
        world.line(&format!("exec :{d}/unsaid")).code,
        7,
        "without a first line that says so it is for sh"
    );
    world.fails(&format!("exec :{d}/absent"), 1, "no such path");
    world.fails(&format!("exec :{d}"), 1, "not a regular file");
    world.fails("exec", 2, "SNAPSHOT:PATH");
}
