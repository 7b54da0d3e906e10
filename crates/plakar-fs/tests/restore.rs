//! A restore makes what the snapshot says, whole, and nothing outside its target.

mod common;

use common::{NOBODY, as_user, needs_root, needs_xattrs};
use plakar_engine::tree::{Device, Kind, Meta, Time};
use plakar_fs::target::{Attributes, OwnerPolicy, Problem, Target, TargetDir, What};
use rustix::fs::{CWD, FileType, Mode, XattrFlags};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use tempfile::{TempDir, tempdir};

fn dir() -> TempDir {
    tempdir().expect("a temporary directory can be made")
}

fn open(t: &TempDir) -> TargetDir {
    Target::open(t.path(), OwnerPolicy::Numbers).unwrap().root()
}

/// What an entry of ours looks like.
fn meta(mode: u16) -> Meta {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Meta { mode, uid, gid, mtime: Time { secs: 1_000_000_000, nanos: 123_456_789 }, ..Meta::default() }
}

fn plain(meta: &Meta) -> Attributes<'_> {
    Attributes { meta, xattrs: &[] }
}

/// Fails on the first problem.
fn none(problem: Problem) {
    panic!("{problem}");
}

fn put(dir: &TargetDir, name: &str, bytes: &[u8], meta: &Meta, report: &mut dyn FnMut(Problem)) {
    let file = dir.file(name.as_bytes()).unwrap();
    file.write_at(bytes, 0).unwrap();
    file.finish(&plain(meta), report).unwrap();
}

fn mtime(path: &Path) -> (i64, i64) {
    let meta = fs::symlink_metadata(path).unwrap();
    (meta.mtime(), meta.mtime_nsec())
}

#[test]
fn every_kind_comes_back_with_mode_and_time() {
    let t = dir();
    let root = open(&t);
    let at = |p: &str| t.path().join(p);
    let sub = root.directory(b"sub").unwrap();
    put(&sub, "file", b"content", &meta(0o640), &mut none);
    put(&sub, "empty", b"", &meta(0o777), &mut none);
    put(&sub, "setuid", b"x", &meta(0o6755), &mut none);
    let m = meta(0o602);
    sub.symlink(b"link", b"/nowhere/at all", &plain(&m), &mut none).unwrap();
    sub.special(b"fifo", Kind::Fifo, Device { major: 1, minor: 2 }, &plain(&m), &mut none).unwrap();
    sub.special(b"sock", Kind::Socket, Device::default(), &plain(&m), &mut none).unwrap();
    sub.link(b"other", &sub, b"file").unwrap();
    sub.finish(&plain(&meta(0o1777)), &mut none);

    assert_eq!(fs::read(at("sub/file")).unwrap(), b"content");
    assert_eq!(fs::read_link(at("sub/link")).unwrap(), Path::new("/nowhere/at all"));
    let real = |p: &str| fs::symlink_metadata(at(p)).unwrap();
    assert!(real("sub/fifo").file_type().is_fifo() && real("sub/sock").file_type().is_socket());
    assert_eq!((real("sub/file").ino(), real("sub/file").nlink()), (real("sub/other").ino(), 2));
    for (name, mode) in
        [("", 0o1777), ("/file", 0o640), ("/empty", 0o777), ("/setuid", 0o6755), ("/fifo", 0o602)]
    {
        assert_eq!(real(&format!("sub{name}")).mode() & 0o7777, mode, "{name}");
    }
    for name in ["", "/file", "/empty", "/setuid", "/link", "/fifo", "/sock"] {
        assert_eq!(mtime(&at(&format!("sub{name}"))), (1_000_000_000, 123_456_789), "{name}");
    }
}

#[test]
fn devices_come_back_for_root_and_are_problems_for_users() {
    if needs_root() {
        return;
    }
    let t = dir();
    let device = Device { major: 240, minor: 70_000 };
    let make = |report: &mut dyn FnMut(Problem)| {
        open(&t).special(b"dev", Kind::BlockDevice, device, &plain(&meta(0o660)), report)
    };
    make(&mut none).unwrap();
    let real = fs::symlink_metadata(t.path().join("dev")).unwrap();
    assert_eq!((real.rdev(), real.mode()), (rustix::fs::makedev(240, 70_000), 0o060660));
    assert_eq!(mtime(&t.path().join("dev")), (1_000_000_000, 123_456_789));
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let t = dir();
    fs::create_dir(t.path().join("target")).unwrap();
    let target = Target::open(&t.path().join("target"), OwnerPolicy::Numbers).unwrap();
    let (root, m) = (target.root(), meta(0o644));
    for name in ["", ".", "..", "../x", "a/b", "/etc", "a\0b", "/"] {
        let name = name.as_bytes();
        let errors = [
            root.directory(name).err(),
            root.file(name).err(),
            root.symlink(name, b"t", &plain(&m), &mut none).err(),
            root.special(name, Kind::Fifo, Device::default(), &plain(&m), &mut none).err(),
            root.link(name, &root, b"x").err(),
            root.link(b"x", &root, name).err(),
        ];
        for error in errors {
            assert_eq!(error.expect("refused").what, What::Name);
        }
    }
    for path in ["..", "a/../..", "/", "a//b", "a/"] {
        assert_eq!(target.directory(path.as_bytes()).err().unwrap().what, What::Name, "{path}");
    }
    assert_eq!(fs::read_dir(t.path()).unwrap().count(), 1);
}

#[test]
fn links_waiting_in_the_target_lead_nowhere() {
    let (t, outside) = (dir(), dir());
    let at = |p: &str| t.path().join(p);
    fs::write(outside.path().join("f"), b"precious").unwrap();
    symlink(outside.path(), at("dir")).unwrap();
    symlink(outside.path().join("f"), at("file")).unwrap();
    symlink(outside.path().join("new"), at("dangling")).unwrap();
    symlink(outside.path().join("f"), at("fifo")).unwrap();
    fs::hard_link(outside.path().join("f"), at("hard")).unwrap();
    let target = Target::open(t.path(), OwnerPolicy::Numbers).unwrap();
    let root = target.root();
    // A plan that reopens by path meets the link before anything was put in its place.
    assert_eq!(target.directory(b"dir").err().unwrap().what, What::InTheWay);
    let sub = root.directory(b"dir").unwrap();
    put(&sub, "f", b"evil", &meta(0o644), &mut none);
    for name in ["file", "dangling", "hard"] {
        put(&root, name, b"evil", &meta(0o644), &mut none);
    }
    let m = meta(0o666);
    root.special(b"fifo", Kind::Fifo, Device::default(), &plain(&m), &mut none).unwrap();
    sub.finish(&plain(&m), &mut none);

    assert_eq!(fs::read(outside.path().join("f")).unwrap(), b"precious");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    assert_ne!(mtime(outside.path()).0, 1_000_000_000);
    for name in ["dir/f", "file", "dangling", "hard"] {
        assert!(fs::symlink_metadata(at(name)).unwrap().is_file());
        assert_eq!(fs::read(at(name)).unwrap(), b"evil");
    }
    assert!(target.directory(b"dir").is_ok());
    // A link made from the snapshot is no way out either.
    root.symlink(b"out", outside.path().as_os_str().as_bytes(), &plain(&m), &mut none).unwrap();
    assert_eq!(target.directory(b"out").err().unwrap().what, What::InTheWay);
    assert_eq!(target.directory(b"out/x").err().unwrap().what, What::InTheWay);
    root.link(b"out2", &root, b"out").unwrap();
    assert!(fs::symlink_metadata(at("out2")).unwrap().is_symlink(), "the link itself got another name");
}

#[test]
fn what_is_in_the_way_is_reused_replaced_or_named() {
    let t = dir();
    let at = |p: &str| t.path().join(p);
    let root = open(&t);
    let m = meta(0o644);
    fs::create_dir(at("dir")).unwrap();
    fs::write(at("dir/kept"), b"").unwrap();
    fs::write(at("file"), b"old").unwrap();
    rustix::fs::mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();

    drop(root.directory(b"dir").unwrap());
    assert!(at("dir/kept").exists());
    let in_the_way = [
        root.file(b"dir").err(),
        root.symlink(b"dir", b"x", &plain(&m), &mut none).err(),
        root.special(b"dir", Kind::Fifo, Device::default(), &plain(&m), &mut none).err(),
        root.link(b"dir", &root, b"file").err(),
        root.directory(b"file").err(),
        root.directory(b"fifo").err(),
    ];
    for problem in in_the_way {
        assert_eq!(problem.expect("it is in the way").what, What::InTheWay);
    }
    put(&root, "fifo", b"a file now", &m, &mut none);
    assert_eq!(fs::read(at("fifo")).unwrap(), b"a file now");
    root.symlink(b"file", b"x", &plain(&m), &mut none).unwrap();
    root.link(b"fifo2", &root, b"fifo").unwrap();
    root.link(b"file", &root, b"fifo").unwrap();
    assert_eq!(fs::metadata(at("file")).unwrap().nlink(), 3);
    let problem = root.file(b"dir").err().unwrap();
    assert_eq!(problem.to_string(), "dir: something else is in the way: Is a directory (os error 21)");
}

#[test]
fn an_unfinished_file_leaves_what_was_there() {
    let t = dir();
    let at = |p: &str| t.path().join(p);
    fs::write(at("old"), b"old").unwrap();
    let root = open(&t);
    for name in [&b"old"[..], b"new"] {
        let file = root.file(name).unwrap();
        file.write_at(b"half", 0).unwrap();
        assert_eq!(fs::read(at("old")).unwrap(), b"old");
        // Closed and opened again in between, in a directory that was let go.
        let file = file.park().unwrap().resume().unwrap();
        let mut buf = [0; 9];
        assert_eq!(file.read_at(&mut buf, 1).unwrap(), 3);
        drop(file);
    }
    let names: Vec<_> = fs::read_dir(t.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["old"]);
    drop(root.file(b"new").unwrap().park().unwrap());
    assert!(!at("new").exists());
    let parked = root.file(b"old").unwrap().park().unwrap();
    parked.resume().unwrap().finish(&plain(&meta(0o600)), &mut none).unwrap();
    assert_eq!(fs::read(at("old")).unwrap(), b"");
    // Something else in the place of a parked file is not written to.
    let parked = root.file(b"new").unwrap().park().unwrap();
    fs::remove_file(at("new")).unwrap();
    symlink("old", at("new")).unwrap();
    assert_eq!(parked.resume().err().unwrap().what, What::Content);
}

#[test]
fn threads_write_one_file_and_holes_stay_holes() {
    let t = dir();
    let file = open(&t).file(b"f").unwrap();
    file.set_len(16 << 20).unwrap();
    std::thread::scope(|scope| {
        for at in [0, 5, 9] {
            let file = &file;
            scope.spawn(move || file.write_at(&[at as u8 + 1; 4096], at << 20).unwrap());
        }
    });
    file.finish(&plain(&meta(0o644)), &mut none).unwrap();
    let real = fs::metadata(t.path().join("f")).unwrap();
    assert_eq!(real.len(), 16 << 20);
    assert!(real.blocks() * 512 <= 64 << 10, "{} blocks", real.blocks());
    let bytes = fs::read(t.path().join("f")).unwrap();
    assert_eq!((bytes[0], bytes[5 << 20], bytes[(9 << 20) + 4095], bytes[(9 << 20) + 4096]), (1, 6, 10, 0));
}

/// An ACL as the kernel keeps it: owner, one more user, group, mask, others.
fn acl(user: u32, rights: u16, mask: u16) -> Vec<u8> {
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, rights, id) in [
        (1u16, 6u16, u32::MAX),
        (2, rights, user),
        (4, 4, u32::MAX),
        (0x10, mask, u32::MAX),
        (0x20, 0, u32::MAX),
    ] {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(rights.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut buf = [0; 4096];
    rustix::fs::lgetxattr(path, name, &mut buf[..]).ok().map(|n| buf[..n].to_vec())
}

/// A capability set that the kernel accepts: version 2, `cap_net_raw` permitted.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn acls_capabilities_and_attributes_survive_owner_and_mode() {
    let t = dir();
    if needs_root() || needs_xattrs(t.path()) {
        return;
    }
    let root = open(&t);
    let xattrs: Vec<(Vec<u8>, Vec<u8>)> = vec![
        (b"security.capability".to_vec(), CAPABILITY.to_vec()),
        (b"system.posix_acl_access".to_vec(), acl(1234, 7, 6)),
        (b"trusted.t".to_vec(), b"t".to_vec()),
        (b"user.u".to_vec(), b"\0\xff".to_vec()),
    ];
    // The group bits of a mode are the mask of its ACL. Read-only, for another owner.
    let m = Meta { uid: NOBODY, gid: NOBODY, ..meta(0o2460) };
    let file = root.file(b"f").unwrap();
    file.write_at(b"x", 0).unwrap();
    file.finish(&Attributes { meta: &m, xattrs: &xattrs }, &mut none).unwrap();
    let path = t.path().join("f");
    let mut expected = acl(1234, 7, 6);
    expected[6] = 4; // The mode's owner bits are the ACL's as well.
    assert_eq!(xattr(&path, "system.posix_acl_access").unwrap(), expected);
    assert_eq!(xattr(&path, "security.capability").unwrap(), CAPABILITY);
    assert_eq!(xattr(&path, "user.u").unwrap(), b"\0\xff");
    let real = fs::metadata(&path).unwrap();
    assert_eq!((real.mode() & 0o7777, real.uid(), real.gid()), (0o2460, NOBODY, NOBODY));
    assert_eq!(mtime(&path), (1_000_000_000, 123_456_789));

    let trusted = [(b"trusted.t".to_vec(), b"on it".to_vec())];
    let on = Attributes { meta: &m, xattrs: &trusted };
    root.symlink(b"l", b"f", &on, &mut none).unwrap();
    root.special(b"p", Kind::Fifo, Device::default(), &on, &mut none).unwrap();
    for name in ["l", "p"] {
        let path = t.path().join(name);
        assert_eq!(xattr(&path, "trusted.t").unwrap(), b"on it");
        assert_eq!(fs::symlink_metadata(&path).unwrap().uid(), NOBODY);
        assert_eq!(mtime(&path), (1_000_000_000, 123_456_789));
    }
    assert_eq!(xattr(&path, "trusted.t").unwrap(), b"t", "not through the link");
}

#[test]
fn acls_of_the_target_are_not_inherited() {
    let t = dir();
    if needs_xattrs(t.path()) {
        return;
    }
    let set = |path: &Path, name: &str| {
        rustix::fs::setxattr(path, name, &acl(1234, 7, 7), XattrFlags::empty()).unwrap();
    };
    set(t.path(), "system.posix_acl_default");
    fs::create_dir(t.path().join("reused")).unwrap();
    let root = open(&t);
    for name in ["new", "reused"] {
        let sub = root.directory(name.as_bytes()).unwrap();
        put(&sub, "f", b"", &meta(0o640), &mut none);
        sub.finish(&plain(&meta(0o750)), &mut none);
    }
    put(&root, "f", b"", &meta(0o640), &mut none);
    for name in ["new", "new/f", "reused", "reused/f", "f"] {
        for acl in ["system.posix_acl_access", "system.posix_acl_default"] {
            assert_eq!(xattr(&t.path().join(name), acl), None, "{name}");
        }
    }
    assert_eq!(fs::metadata(t.path().join("f")).unwrap().mode() & 0o7777, 0o640);
}

#[test]
fn owners_go_by_name_where_there_is_one() {
    if needs_root() {
        return;
    }
    let t = dir();
    let root = |policy| Target::open(t.path(), policy).unwrap().root();
    let named = |user: &str, uid| Meta { uid, user: user.into(), ..meta(0o4755) };
    let check = |policy, meta: &Meta, uid| {
        put(&root(policy), "f", b"", meta, &mut none);
        let real = fs::metadata(t.path().join("f")).unwrap();
        assert_eq!((real.uid(), real.mode() & 0o7777), (uid, 0o4755));
    };
    check(OwnerPolicy::Names, &named("root", 4711), 0);
    check(OwnerPolicy::Numbers, &named("root", 4711), 4711);
    check(OwnerPolicy::Names, &named("nobody has this name", 4711), 4711);
    check(OwnerPolicy::Names, &named("", 4711), 4711);
}

#[test]
fn a_file_is_never_setuid_for_the_wrong_owner() {
    if needs_root() {
        return;
    }
    let t = dir();
    let problems = |policy, m: &Meta| {
        let mut problems = Vec::new();
        let root = Target::open(t.path(), policy).unwrap().root();
        put(&root, "f", b"", m, &mut |p| problems.push(p.what));
        (problems, fs::metadata(t.path().join("f")).unwrap().mode() & 0o7777)
    };
    let foreign = Meta { uid: 4711, ..meta(0o6755) };
    assert_eq!(problems(OwnerPolicy::Keep, &foreign), (vec![What::SetId], 0o755));
    assert_eq!(problems(OwnerPolicy::Keep, &meta(0o6755)), (vec![], 0o6755));
    // A number that no file can have.
    let nobody = Meta { uid: u32::MAX, ..meta(0o4711) };
    assert_eq!(problems(OwnerPolicy::Numbers, &nobody), (vec![What::Owner, What::SetId], 0o711));
}

#[test]
fn users_get_their_files_and_are_told_what_they_could_not_get() {
    as_user("users_get_their_files_and_are_told_what_they_could_not_get", || {
        let t = dir();
        let root = open(&t);
        let foreign = Meta { uid: 0, gid: 0, ..meta(0o6755) };
        let mut problems = Vec::new();
        put(&root, "suid", b"x", &foreign, &mut |p| problems.push((p.path, p.what)));
        let path = b"suid".to_vec();
        assert_eq!(problems, [(path.clone(), What::Owner), (path, What::SetId)]);
        assert_eq!(fs::metadata(t.path().join("suid")).unwrap().mode() & 0o7777, 0o755);
        put(&root, "own", b"x", &meta(0o4711), &mut none);
        assert_eq!(fs::metadata(t.path().join("own")).unwrap().mode() & 0o7777, 0o4711);
        let m = meta(0o600);
        let device =
            root.special(b"dev", Kind::CharDevice, Device { major: 1, minor: 3 }, &plain(&m), &mut none);
        assert_eq!(device.unwrap_err().what, What::Create);
        let xattrs =
            [(b"trusted.t".to_vec(), vec![]), (b"nonsense".to_vec(), vec![]), (b"a\0b".to_vec(), vec![])];
        let file = root.file(b"attributes").unwrap();
        let mut what = Vec::new();
        file.finish(&Attributes { meta: &m, xattrs: &xattrs }, &mut |p| what.push(p.what)).unwrap();
        assert_eq!(what, xattrs.map(|(name, _)| What::Attribute(name)));
        assert_eq!(mtime(&t.path().join("attributes")).0, 1_000_000_000);
    });
}

#[test]
fn read_only_directories_are_filled_by_users() {
    as_user("read_only_directories_are_filled_by_users", || {
        let t = dir();
        let target = Target::open(t.path(), OwnerPolicy::Numbers).unwrap();
        // The second time everything is there already, and closed.
        for round in [&b"one"[..], b"two"] {
            let a = target.root().directory(b"a").unwrap();
            let b = a.directory(b"b").unwrap();
            let file = b.file(b"f").unwrap();
            file.write_at(round, 0).unwrap();
            file.finish(&plain(&meta(0o400)), &mut none).unwrap();
            b.finish(&plain(&meta(0o000)), &mut none);
            a.finish(&plain(&meta(0o555)), &mut none);
            assert_eq!(fs::metadata(t.path().join("a")).unwrap().mode() & 0o7777, 0o555);
        }
        let b = t.path().join("a/b");
        assert_eq!(fs::metadata(&b).unwrap().mode() & 0o7777, 0);
        assert_eq!(mtime(&b).0, 1_000_000_000);
        for path in [b.parent().unwrap(), &b] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
        }
        assert_eq!(fs::read(b.join("f")).unwrap(), b"two");
    });
}

#[test]
fn what_is_not_finished_is_nobody_elses_business() {
    let t = dir();
    let root = open(&t);
    let sub = root.directory(b"d").unwrap();
    let file = sub.file(b"f").unwrap();
    assert_eq!(fs::metadata(t.path().join("d")).unwrap().mode() & 0o7777, 0o700);
    assert_eq!(fs::metadata(t.path().join("d/f")).unwrap().mode() & 0o7777, 0o600);
    drop(file);
}

#[test]
fn paths_longer_than_the_kernel_takes_are_restored_and_reopened() {
    let t = dir();
    let target = Target::open(t.path(), OwnerPolicy::Numbers).unwrap();
    let name = [b'n'; 200];
    let mut at = target.root();
    for _ in 0..100 {
        at = at.directory(&name).unwrap();
    }
    put(&at, "f", b"deep", &meta(0o600), &mut none);
    assert_eq!(at.path().len(), 100 * 201 - 1);
    let again = target.directory(at.path()).unwrap();
    let file = again.file(b"g").unwrap().park().unwrap().resume().unwrap();
    file.finish(&plain(&meta(0o600)), &mut none).unwrap();
    for name in ["f", "g"] {
        assert!(again.link(b"h", &at, name.as_bytes()).is_ok());
    }
    target.sync().unwrap();
}

#[test]
fn hostile_times_are_problems() {
    let t = dir();
    let root = open(&t);
    // The kernel would take these for "now" and "leave it".
    for nanos in [1_000_000_000, (1 << 30) - 1, (1 << 30) - 2, u32::MAX] {
        let m = Meta { mtime: Time { secs: 0, nanos }, ..meta(0o600) };
        let mut what = Vec::new();
        put(&root, "f", b"", &m, &mut |p| what.push(p.what));
        assert_eq!(what, [What::Time]);
    }
    let before_1970 = Meta { mtime: Time { secs: -5, nanos: 999_999_999 }, ..meta(0o600) };
    put(&root, "f", b"", &before_1970, &mut none);
    assert_eq!(mtime(&t.path().join("f")), (-5, 999_999_999));
}
