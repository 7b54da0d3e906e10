//! What a server refuses, cannot do, or has no room for: each is told as what it is, and nothing is left half done.

mod common;

use common::between::*;
use common::*;
use plakar_store::{ErrorKind, ReadStore, Store, answers_as_memory_does};
use plakar_store_sftp::Program;
use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Files beneath a folder that are on their way to become objects.
fn temporaries(folder: &Path) -> usize {
    let found = Command::new("find").arg(folder).args(["-name", ".tmp-*"]).output().unwrap();
    String::from_utf8(found.stdout).unwrap().lines().count()
}

#[test]
fn a_server_without_extensions_is_used_as_far_as_it_goes() {
    let flags = |without: &str| program(&["-P", without]);
    let temps = RefCell::new(Vec::new());
    let all = "limits,fsync,hardlink,posix-rename,statvfs";
    answers_as_memory_does(&|| {
        let temp = in_memory();
        let store = create(flags(all), &temp.path().join("store")).unwrap();
        assert!(store.weakness().unwrap().contains("cannot flush files"));
        temps.borrow_mut().push(temp);
        Box::new(store)
    });
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("store");
    let store = create(flags("hardlink"), &path).unwrap();
    assert_eq!(store.weakness(), None, "it can flush");
    let bytes = noise(1, 300_000);
    store.put(&name("packs/ab/x"), &[&bytes]).unwrap();
    fails(ErrorKind::Exists, store.put(&name("packs/ab/x"), &[&noise(2, 300_000)]));
    store.barrier().unwrap();
    drop(store);
    assert!(fs::read(path.join("packs/ab/x")).unwrap() == bytes);
    assert_eq!(temporaries(&path), 0);
}

#[test]
fn a_file_system_without_links_is_renamed_on() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("store");
    for code in [3, 4, 8] {
        let refuse =
            move |packet: &[u8], _| is_extension(packet, "hardlink").then(|| status(code, "Failure"));
        let _ = fs::remove_dir_all(&path);
        let store = create(Meddler::new(refuse), &path).unwrap();
        store.put(&name("packs/ab/x"), &[b"x"]).unwrap();
        store.put(&name("packs/ab/x"), &[b"x"]).unwrap();
        fails(ErrorKind::Exists, store.put(&name("packs/ab/x"), &[b"y"]));
        drop(store);
        assert_eq!((fs::read(path.join("packs/ab/x")).unwrap(), temporaries(&path)), (b"x".to_vec(), 0));
    }
}

#[test]
fn a_file_that_could_not_be_flushed_is_written_anew() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("store");
    create(program(&[]), &path).unwrap();
    let flushes = |fail: std::ops::Range<u32>| {
        let count = std::sync::atomic::AtomicU32::new(0);
        Meddler::new(move |packet, _| {
            let now = is_extension(packet, "fsync")
                .then(|| count.fetch_add(1, std::sync::atomic::Ordering::SeqCst))?;
            fail.contains(&now).then(|| status(4, "Failure"))
        })
    };
    // Once: another file; twice: an error.
    let store = open(flushes(0..1), &path).unwrap();
    store.put(&name("log/a"), &[b"a"]).unwrap();
    store.barrier().unwrap();
    drop(store);
    let store = open(flushes(0..2), &path).unwrap();
    fails(ErrorKind::Io, store.put(&name("log/b"), &[b"b"]));
    drop(store);
    assert_eq!((temporaries(&path), fs::read_dir(path.join("log")).unwrap().count()), (0, 1));
    // What is there but cannot be flushed gives way to the same bytes.
    let inode = |file: &str| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path.join(file)).unwrap());
    let before = inode("log/a");
    let store = open(flushes(0..1), &path).unwrap();
    store.put(&name("log/a"), &[b"a"]).unwrap();
    assert_ne!(inode("log/a"), before);
    // A folder whose flush failed is never believed again.
    let store = open(flushes(1..2), &path).unwrap();
    store.put(&name("log/c"), &[b"c"]).unwrap();
    fails(ErrorKind::Io, store.barrier());
    let told = fails(ErrorKind::Io, store.barrier());
    assert!(told.contains("open the store again"), "{told}");
}

#[test]
fn a_server_that_opens_no_folders_says_so() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("store");
    fs::create_dir(&path).unwrap();
    let at = path.to_str().unwrap().to_owned();
    let refuse = move |packet: &[u8], _| {
        // Its own name, and then how it is opened: to read.
        let is_folder =
            packet[0] == OPEN && packet[9..].starts_with(at.as_bytes()) && packet[9 + at.len()] == 0;
        is_folder.then(|| status(4, "Failure"))
    };
    let store = create(Meddler::new(refuse), &path).unwrap();
    assert!(store.weakness().unwrap().contains("cannot flush folders"));
    store.put(&name("log/a"), &[b"a"]).unwrap();
    store.barrier().unwrap();
    assert_eq!(store.get(&name("log/a"), 9).unwrap(), b"a");
}

#[test]
fn what_servers_say_of_a_full_disk_is_understood() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("store");
    create(program(&[]), &path).unwrap();
    for (text, kind) in [
        ("No space left on device", ErrorKind::Full),
        ("Disk quota exceeded", ErrorKind::Full),
        ("Failure", ErrorKind::Io),
    ] {
        let refuse = move |packet: &[u8], _| (packet[0] == WRITE).then(|| status(4, text));
        let store = open(Meddler::new(refuse), &path).unwrap();
        fails(kind, store.put(&name("log/a"), &[b"a"]));
        drop(store);
        assert_eq!(temporaries(&path), 0);
    }
}

/// A small file system in memory.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: PathBuf, options: &str) -> Option<Disk> {
        fs::create_dir_all(&at).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "plakar-test"]).arg(&at).output();
        if !mounted.as_ref().is_ok_and(|output| output.status.success()) {
            skipped(&format!("cannot mount a tmpfs: {mounted:?}"));
            return None;
        }
        Some(Disk(at))
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_full_and_nothing_else() {
    if needs_root() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(temp.path().join("disk"), "size=1m,nr_inodes=100,mode=755") else { return };
    let path = disk.0.join("store");
    let store = create(program(&[]), &path).unwrap();
    store.put(&name("log/small"), &[b"small"]).unwrap();
    let told = fails(ErrorKind::Full, store.put(&name("packs/ab/large"), &[&noise(1, 3 << 20)]));
    assert!(told.contains("packs/ab/large") && told.ends_with("no space left"), "{told}");
    let other = fails(ErrorKind::Full, store.put(&name("packs/ab/large"), &[&noise(1, 2 << 20)]));
    assert!(other.ends_with("no space left"));
    store.barrier().unwrap();
    assert_eq!(names(&store, ""), ["log/small"]);
    assert_eq!(temporaries(&path), 0, "what did not fit was removed");
    // There is room again.
    store.put(&name("packs/ab/large"), &[&noise(1, 500_000)]).unwrap();
    // No room for names.
    let full = (0..200).find_map(|n| store.put(&name(&format!("log/{n}")), &[b"x"]).err());
    assert_eq!(full.unwrap().kind(), ErrorKind::Full);
    disk.remount("nr_inodes=1000");
    store.put(&name("log/more"), &[b"x"]).unwrap();
    // A disk that may only be read is not full.
    disk.remount("ro");
    fails(ErrorKind::Denied, store.put(&name("log/none"), &[b"x"]));
    fails(ErrorKind::Denied, store.delete(&name("log/more")));
    assert_eq!(store.get(&name("log/more"), 9).unwrap(), b"x");
}

#[test]
fn another_user_is_denied() {
    if needs_root() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = temp.path().join("store");
    let own = create(program(&[]), &path).unwrap();
    own.put(&name("log/a"), &[b"a"]).unwrap();
    own.barrier().unwrap();
    let nobody = || Program {
        program: "setpriv".into(),
        arguments: ["--reuid=65534", "--regid=65534", "--clear-groups"]
            .iter()
            .map(Into::into)
            .chain([server().into_os_string()])
            .collect(),
    };
    // The folder is its owner's alone.
    let theirs = open(nobody(), &path).unwrap();
    fails(ErrorKind::Denied, theirs.get(&name("log/a"), 9));
    fails(ErrorKind::Denied, theirs.list("", &mut |_| Ok(())));
    fails(ErrorKind::Denied, theirs.put(&name("log/b"), &[b"b"]));
    fails(ErrorKind::Denied, theirs.len(&name("log/a")));
    fails(ErrorKind::Denied, create(nobody(), &temp.path().join("other")).map(drop));
    drop(theirs);
    // One that others may look into is read, and not changed.
    for folder in ["", "log"] {
        fs::set_permissions(path.join(folder), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let theirs = open(nobody(), &path).unwrap();
    assert_eq!(names(&theirs, ""), ["log/a"]);
    assert_eq!(theirs.len(&name("log/a")).unwrap(), 1);
    fails(ErrorKind::Denied, theirs.get(&name("log/a"), 9));
    fails(ErrorKind::Denied, theirs.put(&name("log/b"), &[b"b"]));
    fails(ErrorKind::Denied, theirs.put(&name("packs/b"), &[b"b"]));
    fails(ErrorKind::Denied, theirs.delete(&name("log/a")));
    assert_eq!(own.get(&name("log/a"), 9).unwrap(), b"a");
}
