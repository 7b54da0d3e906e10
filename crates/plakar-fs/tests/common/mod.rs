//! What several tests need: root, another user, attributes, deep trees.
#![allow(dead_code, reason = "not every test needs all of it")]

use rustix::fs::{AtFlags, Mode, OFlags};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// A test that cannot run here says so, and is a failure where nothing may be left out.
pub fn skipped(why: &str) -> bool {
    println!("skipped: {why}");
    assert!(std::env::var_os("PLAKAR_NO_SKIP").is_none_or(|v| v != "1"), "skipped: {why}");
    true
}

/// True if the rest of the test is to be left out, because we are not root.
pub fn needs_root() -> bool {
    !rustix::process::geteuid().is_root() && skipped("this needs root")
}

/// True if the rest of the test is to be left out, because there are no attributes in `dir`.
pub fn needs_xattrs(dir: &Path) -> bool {
    let file = dir.join(".probe");
    std::fs::write(&file, b"").unwrap();
    let result = rustix::fs::setxattr(&file, "user.probe", b"1", rustix::fs::XattrFlags::empty());
    std::fs::remove_file(&file).unwrap();
    result.is_err() && skipped("this needs a file system with extended attributes")
}

/// The user and group that `as_user` takes.
pub const NOBODY: u32 = 65534;

/// Runs the body of `test` as an ordinary user: here if we are one, else in a second run of this test.
pub fn as_user(test: &str, body: impl FnOnce()) {
    if !rustix::process::geteuid().is_root() {
        return body();
    }
    // The user may not be able to reach the test binary where it lies.
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let copy = dir.path().join("test");
    // By another process: a child that another thread starts meanwhile would keep it open for writing, and so busy.
    let copied = Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&copy).status();
    assert!(copied.unwrap().success());
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
    let out = Command::new(&copy)
        .args(["--exact", test, "--nocapture"])
        .uid(NOBODY)
        .gid(NOBODY)
        .current_dir("/")
        .env("TMPDIR", "/tmp")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && text.contains("1 passed"), "as a user:\n{text}");
}

/// Removes directories called `name` in one another, with the files `z` in them: from the bottom up,
/// without a path that would be too long.
pub fn remove_deep(root: &Path, name: &str) {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY;
    let mut at = rustix::fs::open(root, flags, Mode::empty()).unwrap();
    let mut depth = 0;
    while let Ok(next) = rustix::fs::openat(&at, name, flags, Mode::empty()) {
        at = next;
        depth += 1;
    }
    for _ in 0..depth {
        let _ = rustix::fs::unlinkat(&at, "z", AtFlags::empty());
        at = rustix::fs::openat(&at, "..", flags, Mode::empty()).unwrap();
        rustix::fs::unlinkat(&at, name, AtFlags::REMOVEDIR).unwrap();
    }
    let _ = rustix::fs::unlinkat(&at, "z", AtFlags::empty());
}
