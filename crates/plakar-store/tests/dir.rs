//! A directory store in a bad world: strangers' files, links, pipes, other users, full disks, torn files.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs, io,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt, symlink},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use plakar_store::{DirStore, Error, ErrorKind, Name, ReadStore, Result, Store};
use tempfile::TempDir;

/// Belongs to nobody on any usual system.
const NOBODY: u32 = 65534;

struct World {
    temp: TempDir,
    store: DirStore,
}

impl World {
    fn new() -> World {
        let temp = tempfile::tempdir().unwrap();
        let store = DirStore::create(temp.path().join("store")).unwrap();
        World { temp, store }
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.store.path().join(inside)
    }

    fn names(&self) -> Vec<String> {
        names(&self.store)
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn names(store: &dyn Store) -> Vec<String> {
    let mut names = Vec::new();
    let add = &mut |listed: plakar_store::Listed| {
        names.push(listed.name.as_str().to_owned());
        Ok(())
    };
    store.list("", add).unwrap();
    names.sort();
    names
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn skip(reason: &str) {
    assert!(std::env::var_os("PLAKAR_NO_SKIP").is_none_or(|value| value != "1"), "not skipped: {reason}");
    println!("skipped: {reason}");
}

#[test]
fn create_makes_a_private_folder_and_takes_no_other() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("store");
    assert_eq!(kind(DirStore::open(&path)), ErrorKind::NotFound);
    DirStore::create(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o700);
    DirStore::create(&path).expect("it is still empty");
    fs::write(path.join("\u{1f4be}.txt"), "something").unwrap();
    assert_eq!(kind(DirStore::create(&path)), ErrorKind::Exists);
    DirStore::open(&path).unwrap();

    let odd = temp.path().join("odd");
    fs::create_dir(&odd).unwrap();
    fs::write(odd.join(OsStr::from_bytes(b"\xff")), "").unwrap();
    assert_eq!(kind(DirStore::create(&odd)), ErrorKind::Exists);

    assert_eq!(kind(DirStore::create(temp.path().join("no/such"))), ErrorKind::NotFound);
    assert!(!temp.path().join("no").exists());
    fs::write(temp.path().join("file"), "").unwrap();
    assert_eq!(kind(DirStore::create(temp.path().join("file"))), ErrorKind::Foreign);
    assert_eq!(kind(DirStore::open(temp.path().join("file"))), ErrorKind::Foreign);
    assert_eq!(kind(DirStore::open(temp.path().join("file/below"))), ErrorKind::Foreign);

    symlink(&path, temp.path().join("link")).unwrap();
    DirStore::open(temp.path().join("link")).expect("the way to a store may be a link");
}

#[test]
fn files_and_folders_are_private_and_files_immutable() {
    let world = World::new();
    world.store.put(&name("packs/ab/cd"), &[b"bytes"]).unwrap();
    let mode = |inside| fs::metadata(world.path(inside)).unwrap().mode() & 0o7777;
    assert_eq!((mode("packs"), mode("packs/ab"), mode("packs/ab/cd")), (0o700, 0o700, 0o400));
    let files = fs::read_dir(world.path("packs/ab")).unwrap().count();
    assert_eq!(files, 1, "no temporary file stays");
}

#[test]
fn strangers_files_are_not_shown() {
    let world = World::new();
    world.store.put(&name("packs/ab/cd"), &[b"bytes"]).unwrap();
    world.store.put(&name("config"), &[b"bytes"]).unwrap();
    for stray in
        [".DS_Store", "README.txt", "packs/ab/.cd.swp", "packs/ab/cd~", "packs/UPPER", "packs/ab/.tmp-0"]
    {
        fs::write(world.path(stray), "stray").unwrap();
    }
    fs::write(world.path("packs").join(OsStr::from_bytes(b"\xff\xfe")), "stray").unwrap();
    for stray in ["lost+found", ".snapshots", "packs/ab/.tmp-0123456789abcdef", "packs/ab/dir"] {
        fs::create_dir(world.path(stray)).unwrap();
    }
    fs::write(world.path("lost+found/object"), "stray").unwrap();
    assert_eq!(world.names(), ["config", "packs/ab/cd"]);
    // A folder under an object's name is no object, and is not replaced.
    assert_eq!(kind(world.store.get(&name("packs/ab/dir"), 9)), ErrorKind::NotFound);
    assert_eq!(kind(world.store.put(&name("packs/ab/dir"), &[])), ErrorKind::Exists);
    world.store.delete(&name("packs/ab/dir")).unwrap();
    assert!(world.path("packs/ab/dir").is_dir());
    // Nor is an object a folder.
    assert_eq!(kind(world.store.get(&name("config/x"), 9)), ErrorKind::NotFound);
    assert_eq!(kind(world.store.len(&name("config/x"))), ErrorKind::NotFound);
    world.store.put(&name("config/x"), &[]).unwrap_err();
    world.store.delete(&name("config/x")).unwrap();
    assert_eq!(world.store.sweep_temporaries(Duration::ZERO).unwrap(), 0, "none of these was the store's");
}

#[test]
fn links_are_not_followed() {
    let world = World::new();
    let outside = world.temp.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    world.store.put(&name("packs/ab/cd"), &[b"bytes"]).unwrap();
    symlink(outside.join("secret"), world.path("packs/ab/secret")).unwrap();
    symlink(outside.join("nothing"), world.path("packs/ab/dangling")).unwrap();
    symlink(&outside, world.path("keys")).unwrap();
    symlink("..", world.path("packs/loop")).unwrap();

    assert_eq!(world.names(), ["packs/ab/cd"]);
    for link in ["packs/ab/secret", "packs/ab/dangling", "keys/secret", "packs/loop/packs/ab/cd"] {
        assert_eq!(kind(world.store.get(&name(link), 99)), ErrorKind::NotFound, "{link}");
        assert_eq!(kind(world.store.get_range(&name(link), 0, 1)), ErrorKind::NotFound, "{link}");
        assert_eq!(kind(world.store.len(&name(link))), ErrorKind::NotFound, "{link}");
        world.store.put(&name(link), &[b"secret"]).unwrap_err();
    }
    world.store.put(&name("keys/new"), &[b"new"]).unwrap_err();
    world.store.delete(&name("keys/secret")).unwrap();
    world.store.delete(&name("packs/ab/secret")).unwrap();
    assert!(!world.path("packs/ab/secret").is_symlink(), "the link itself may go");
    assert_eq!(fs::read(outside.join("secret")).unwrap(), b"secret");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn a_pipe_does_not_hang_a_reader() {
    let world = World::new();
    world.store.put(&name("packs/cd"), &[b"bytes"]).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, world.path("packs/pipe"), fifo, mode, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(world.path("packs/socket")).unwrap();
    for odd in ["packs/pipe", "packs/socket"] {
        assert_eq!(kind(world.store.get(&name(odd), 9)), ErrorKind::NotFound);
        assert_eq!(kind(world.store.len(&name(odd))), ErrorKind::NotFound);
        assert_eq!(kind(world.store.put(&name(odd), &[b"x"])), ErrorKind::Exists);
    }
    assert_eq!(world.names(), ["packs/cd"]);
}

#[test]
fn a_torn_file_under_the_right_name_is_not_taken_for_the_object() {
    for torn in [&b"right byt"[..], b"right bytes and more", b"right bytez", b"\0\0\0\0\0\0\0\0\0\0\0", b""] {
        let world = World::new();
        let object = name("packs/ab/cd");
        fs::create_dir_all(world.path("packs/ab")).unwrap();
        fs::write(world.path("packs/ab/cd"), torn).unwrap();
        assert_eq!(kind(world.store.put(&object, &[b"right ", b"bytes"])), ErrorKind::Exists);
        assert_eq!(fs::read(world.path("packs/ab/cd")).unwrap(), torn, "nothing was changed");
        if torn.len() < 11 {
            assert_eq!(kind(world.store.get_range(&object, 0, 11)), ErrorKind::Short);
        }
        // What heals it: take it away, put it again.
        world.store.delete(&object).unwrap();
        world.store.put(&object, &[b"right ", b"bytes"]).unwrap();
        assert_eq!(world.store.get_range(&object, 0, 11).unwrap(), b"right bytes");
    }
}

#[test]
fn a_file_truncated_while_open_is_short() {
    let world = World::new();
    let object = name("packs/ab/cd");
    world.store.put(&object, &[&[7; 300_000]]).unwrap();
    assert_eq!(world.store.get_range(&object, 299_999, 1).unwrap(), [7]);
    fs::set_permissions(world.path("packs/ab/cd"), PermissionsExt::from_mode(0o600)).unwrap();
    fs::OpenOptions::new().write(true).open(world.path("packs/ab/cd")).unwrap().set_len(200_000).unwrap();
    assert_eq!(kind(world.store.get_range(&object, 299_999, 1)), ErrorKind::Short);
    assert_eq!(kind(world.store.get_range(&object, 0, 300_000)), ErrorKind::Short);
    assert_eq!(world.store.get_range(&object, 0, 200_000).unwrap(), [7; 200_000]);
}

#[test]
fn what_another_handle_replaced_is_read_anew() {
    let world = World::new();
    let other = DirStore::open(world.store.path()).unwrap();
    let object = name("packs/ab/cd");
    world.store.put(&object, &[b"damaged"]).unwrap();
    assert_eq!(world.store.get_range(&object, 0, 7).unwrap(), b"damaged");
    other.delete(&object).unwrap();
    assert_eq!(kind(world.store.get_range(&object, 0, 7)), ErrorKind::NotFound);
    world.store.put(&object, &[b"damaged"]).unwrap();
    world.store.get_range(&object, 0, 7).unwrap();
    other.delete(&object).unwrap();
    other.put(&object, &[b"healthy"]).unwrap();
    assert_eq!(world.store.get_range(&object, 0, 7).unwrap(), b"healthy");
}

#[test]
fn more_objects_than_handles_are_read() {
    let world = World::new();
    let object = |n: usize| name(&format!("packs/{:02x}/{n}", n % 3));
    for n in 0..200 {
        world.store.put(&object(n), &[&[n as u8; 10]]).unwrap();
    }
    std::thread::scope(|scope| {
        for stride in [1, 3, 7, 11] {
            let store = &world.store;
            scope.spawn(move || {
                for n in 0..600 {
                    let n = n * stride % 200;
                    assert_eq!(store.get_range(&object(n), 5, 5).unwrap(), [n as u8; 5]);
                }
            });
        }
    });
    let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    assert!(open < 200, "{open} files are open");
}

#[test]
fn leftovers_are_swept_when_old() {
    let world = World::new();
    world.store.put(&name("packs/ab/cd"), &[b"bytes"]).unwrap();
    let leftovers =
        [".tmp-0000000000000000", "packs/.tmp-00000000000000aa", "packs/ab/.tmp-0123456789abcdef"];
    let strangers =
        [".tmp-", ".tmp-00000000000000AA", "packs/ab/.tmp-0123456789abcdef0", ".tmp", "packs/ab/x.tmp"];
    for file in leftovers.iter().chain(&strangers) {
        fs::write(world.path(file), "half of it").unwrap();
    }
    assert_eq!(world.names(), ["packs/ab/cd"]);
    assert_eq!(world.store.sweep_temporaries(Duration::from_secs(3600)).unwrap(), 0);
    assert_eq!(world.store.sweep_temporaries(Duration::MAX).unwrap(), 0);
    let old = std::time::SystemTime::now() - Duration::from_secs(7200);
    for file in leftovers.iter().chain(&strangers).skip(1) {
        fs::File::options().write(true).open(world.path(file)).unwrap().set_modified(old).unwrap();
    }
    assert_eq!(world.store.sweep_temporaries(Duration::from_secs(3600)).unwrap(), 2);
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(world.store.sweep_temporaries(Duration::ZERO).unwrap(), 1);
    assert!(strangers.iter().all(|file| world.path(file).exists()));
    assert_eq!(world.names(), ["packs/ab/cd"]);
}

#[test]
fn received_is_now() {
    let world = World::new();
    world.store.put(&name("log/1"), &[b"bytes"]).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    let near = &mut |listed: plakar_store::Listed| {
        assert!((now - listed.received_ms).abs() < 60_000, "{listed:?}");
        assert_eq!(listed.len, 5);
        Ok(())
    };
    world.store.list("log/", near).unwrap();
}

#[test]
fn any_path_will_do() {
    let temp = tempfile::tempdir().unwrap();
    for folder in [&b"with spaces \n and more"[..], b"not \xff\xfe UTF-8", b"-rf", "größe".as_bytes()] {
        let path = temp.path().join(OsStr::from_bytes(folder));
        let store = DirStore::create(&path).unwrap();
        store.put(&name("packs/ab/cd"), &[b"bytes"]).unwrap();
        store.barrier().unwrap();
        assert_eq!(store.path(), path);
        assert!(store.location().starts_with('/'));
        assert_eq!(DirStore::open(&path).unwrap().get(&name("packs/ab/cd"), 9).unwrap(), b"bytes");
    }
}

#[test]
fn a_store_whose_folder_is_gone_is_not_an_empty_store() {
    let world = World::new();
    world.store.put(&name("config"), &[b"bytes"]).unwrap();
    let moved = world.temp.path().join("moved");
    fs::rename(world.store.path(), &moved).unwrap();
    assert_eq!(world.names(), ["config"], "moving does no harm");
    fs::remove_dir_all(&moved).unwrap();
    assert_eq!(kind(world.store.list("", &mut |_| Ok(()))), ErrorKind::NotFound);
    world.store.put(&name("log/1"), &[b"bytes"]).unwrap_err();
}

#[test]
fn a_full_disk_is_full_and_nothing_else() {
    let Some(mount) = Mount::tmpfs("size=1m") else { return };
    let store = DirStore::create(mount.path().join("store")).unwrap();
    let bytes: Vec<u8> = (0..70_000u32).map(|n| n as u8).collect();
    let mut put = BTreeSet::new();
    let full = loop {
        let object = format!("packs/{:02x}/{}", put.len() % 4, put.len());
        match store.put(&name(&object), &[&bytes[..100], &bytes[100..]]) {
            Ok(()) => assert!(put.insert(object)),
            Err(error) => break error,
        }
        assert!(put.len() < 100, "a mebibyte has an end");
    };
    assert_eq!(full.kind(), ErrorKind::Full, "{full}");
    assert!(put.len() > 10);
    store.barrier().unwrap();
    assert!(names(&store).iter().eq(&put));
    for object in &put {
        assert!(store.get(&name(object), bytes.len()).unwrap() == bytes);
        store.put(&name(object), &[&bytes]).expect("it is there already");
    }
    assert_eq!(store.sweep_temporaries(Duration::ZERO).unwrap(), 0, "the half-written file is gone");
    store.delete(&name(put.first().unwrap())).unwrap();
    store.put(&name("packs/00/other"), &[&bytes]).expect("there is room again");
}

#[test]
fn a_read_only_file_system_is_read_and_denied() {
    let Some(mount) = Mount::tmpfs("size=1m") else { return };
    let store = DirStore::create(mount.path().join("store")).unwrap();
    store.put(&name("config"), &[b"bytes"]).unwrap();
    mount.read_only();
    assert_eq!(store.get(&name("config"), 9).unwrap(), b"bytes");
    assert_eq!(names(&store), ["config"]);
    assert_eq!(kind(store.put(&name("other"), &[])), ErrorKind::Denied);
    assert_eq!(kind(store.put(&name("packs/ab/cd"), &[])), ErrorKind::Denied);
    assert_eq!(kind(store.delete(&name("config"))), ErrorKind::Denied);
    assert_eq!(kind(DirStore::create(mount.path().join("new"))), ErrorKind::Denied);
}

#[test]
fn a_relative_path_is_made_absolute() {
    let stage = Stage::new();
    stage.run("relative", false);
    let store = DirStore::open(stage.path().join("below/store")).unwrap();
    assert_eq!(names(&store), ["config"]);
}

#[test]
fn processes_may_put_the_same() {
    let stage = Stage::new();
    let store = DirStore::create(stage.path().join("store")).unwrap();
    let children: Vec<_> = (0..3).map(|_| stage.command("race", false).spawn().unwrap()).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(names(&store).len(), RACE_OBJECTS);
    for n in 0..RACE_OBJECTS {
        assert_eq!(store.get(&race_object(n), 1 << 20).unwrap(), race_bytes(n));
    }
    assert_eq!(store.sweep_temporaries(Duration::ZERO).unwrap(), 0);
}

#[test]
fn another_user_is_denied() {
    if !is_root() {
        return skip("only root can become somebody else");
    }
    let stage = Stage::new();
    let store = DirStore::create(stage.path().join("store")).unwrap();
    store.put(&name("packs/ab/cd"), &[b"bytes"]).unwrap();
    stage.run("denied", true);
    // The folder may be entered, the objects still not be read.
    for folder in ["store", "store/packs", "store/packs/ab"] {
        fs::set_permissions(stage.path().join(folder), PermissionsExt::from_mode(0o755)).unwrap();
    }
    stage.run("denied-object", true);
    fs::set_permissions(stage.path().join("store/packs/ab"), PermissionsExt::from_mode(0o700)).unwrap();
    stage.run("denied-listing", true);
}

#[test]
fn an_ordinary_user_can_use_copy_and_lose_a_store() {
    let stage = Stage::new();
    stage.run("ordinary", is_root());
}

/// What the tests above run in a process of its own, or as another user; by itself it has nothing to do.
#[test]
fn child() {
    let Some(action) = std::env::var_os("PLAKAR_STORE_CHILD") else { return };
    match action.to_str().unwrap() {
        "relative" => {
            fs::create_dir_all("below").unwrap();
            let store = DirStore::create("below/store").unwrap();
            let expected = std::env::current_dir().unwrap().join("below/store");
            assert_eq!(store.location(), expected.to_str().unwrap());
            store.put(&name("config"), &[b"bytes"]).unwrap();
            std::env::set_current_dir("/").unwrap();
            store.put(&name("config"), &[b"bytes"]).unwrap();
            store.barrier().unwrap();
        }
        "race" => {
            let store = DirStore::open("store").unwrap();
            for n in 0..RACE_OBJECTS {
                store.put(&race_object(n), &[&race_bytes(n)]).unwrap();
                assert_eq!(store.get(&race_object(n), 1 << 20).unwrap(), race_bytes(n));
            }
            store.barrier().unwrap();
        }
        "denied" => {
            assert_eq!(kind(DirStore::open("store")), ErrorKind::Denied);
            assert_eq!(kind(DirStore::create("new")), ErrorKind::Denied);
        }
        "denied-object" => {
            let store = DirStore::open("store").unwrap();
            let object = name("packs/ab/cd");
            assert_eq!(kind(store.get(&object, 9)), ErrorKind::Denied);
            assert_eq!(kind(store.get_range(&object, 0, 1)), ErrorKind::Denied);
            assert_eq!(kind(store.put(&object, &[b"bytes"])), ErrorKind::Denied);
            assert_eq!(kind(store.put(&name("packs/ab/ef"), &[b"bytes"])), ErrorKind::Denied);
            assert_eq!(kind(store.put(&name("log/1"), &[b"bytes"])), ErrorKind::Denied);
            assert_eq!(kind(store.delete(&object)), ErrorKind::Denied);
            assert_eq!(names(&store), ["packs/ab/cd"]);
        }
        "denied-listing" => {
            let store = DirStore::open("store").unwrap();
            // What cannot be looked at must not be passed over.
            assert_eq!(kind(store.list("", &mut |_| Ok(()))), ErrorKind::Denied);
            assert_eq!(kind(store.list("packs/ab/c", &mut |_| Ok(()))), ErrorKind::Denied);
            store.list("log/", &mut |_| Err(Error::new(ErrorKind::Io, "nothing is there"))).unwrap();
        }
        "ordinary" => {
            // As a user whom modes bind: immutable files can be copied and deleted all the same.
            fs::create_dir("mine").unwrap();
            let store = DirStore::create("mine/store").unwrap();
            let object = name("packs/ab/cd");
            store.put(&object, &[b"bytes"]).unwrap();
            store.put(&object, &[b"bytes"]).unwrap();
            store.barrier().unwrap();
            assert!(Command::new("cp").args(["-r", "mine/store", "mine/copy"]).status().unwrap().success());
            let copy = DirStore::open("mine/copy").unwrap();
            copy.put(&object, &[b"bytes"]).unwrap();
            copy.barrier().unwrap();
            copy.delete(&object).unwrap();
            assert_eq!((names(&copy).len(), names(&store).len()), (0, 1));

            fs::set_permissions("mine/store/packs/ab", PermissionsExt::from_mode(0o500)).unwrap();
            if !is_root() {
                assert_eq!(kind(store.put(&name("packs/ab/ef"), &[b"x"])), ErrorKind::Denied);
                assert_eq!(kind(store.delete(&object)), ErrorKind::Denied);
            }
            assert_eq!(store.get(&object, 9).unwrap(), b"bytes");
            store.put(&object, &[b"bytes"]).expect("what is there needs no permission to write");
            fs::set_permissions("mine/store/packs/ab", PermissionsExt::from_mode(0o700)).unwrap();
            fs::remove_dir_all("mine").unwrap();
        }
        other => panic!("no such action: {other}"),
    }
}

const RACE_OBJECTS: usize = 60;

fn race_object(n: usize) -> Name {
    name(&format!("packs/{:02x}/{n:04}", n % 16))
}

fn race_bytes(n: usize) -> Vec<u8> {
    vec![n as u8; 50_000]
}

/// A folder that everybody may enter, and this program in it, so that another user can run it.
struct Stage {
    temp: TempDir,
    user: PathBuf,
}

impl Stage {
    fn new() -> Stage {
        let temp = tempfile::tempdir().unwrap();
        fs::set_permissions(temp.path(), PermissionsExt::from_mode(0o755)).unwrap();
        // By another process: a child that another thread starts meanwhile would keep it open for writing, and so busy.
        let copied = Command::new("cp")
            .arg(std::env::current_exe().unwrap())
            .arg(temp.path().join("program"))
            .status();
        assert!(copied.unwrap().success());
        let user = temp.path().join("user");
        fs::create_dir(&user).unwrap();
        Stage { temp, user }
    }

    fn path(&self) -> &Path {
        &self.user
    }

    fn command(&self, action: &str, as_nobody: bool) -> Command {
        let mut command = Command::new(self.temp.path().join("program"));
        command.args(["--exact", "child", "--nocapture", "--test-threads=1"]);
        command.env("PLAKAR_STORE_CHILD", action).current_dir(&self.user);
        if as_nobody {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    fn run(&self, action: &str, as_nobody: bool) {
        if as_nobody && action == "ordinary" {
            std::os::unix::fs::chown(&self.user, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let output = self.command(action, as_nobody).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("1 passed"), "the child did run: {text}");
    }
}

/// A small file system of its own, while it lives.
struct Mount {
    temp: TempDir,
}

impl Mount {
    fn tmpfs(options: &str) -> Option<Mount> {
        if !is_root() {
            skip("only root can mount");
            return None;
        }
        let temp = tempfile::tempdir().unwrap();
        match run("mount", &["-t", "tmpfs", "-o", options, "tmpfs"], temp.path()) {
            Ok(()) => Some(Mount { temp }),
            Err(e) => {
                skip(&format!("mounting a tmpfs: {e}"));
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.temp.path()
    }

    fn read_only(&self) {
        run("mount", &["-o", "remount,ro"], self.path()).unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a store may still have the folder open.
        if let Err(e) = run("umount", &["-l"], self.path()) {
            eprintln!("umount {}: {e}", self.path().display());
        }
    }
}

fn run(program: &str, arguments: &[&str], path: &Path) -> io::Result<()> {
    let output = Command::new(program).args(arguments).arg(path).output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned())),
    }
}
