//! Trees with everything in them that a file system has, and what is to be seen of a tree.

use super::{Ran, World, ran};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, SeekFrom, Timespec, Timestamps, Uid, XattrFlags,
};
use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

/// The user and group that are nobody.
pub const NOBODY: u32 = 65534;

/// A test that cannot run here says so, and is a failure where nothing may be left out.
pub fn skipped(why: &str) -> bool {
    println!("skipped: {why}");
    assert!(std::env::var_os("PLAKAR_NO_SKIP").is_none_or(|v| v != "1"), "skipped: {why}");
    true
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// True if the rest of the test is to be left out, because we are not root.
pub fn needs_root() -> bool {
    !is_root() && skipped("this needs root")
}

impl Drop for World {
    fn drop(&mut self) {
        // Only root removes what lies in directories that are closed.
        if !is_root() {
            let _ = Command::new("chmod").args(["-R", "u+rwx"]).arg(self.folder.path()).status();
        }
    }
}

impl World {
    /// A world that belongs to an ordinary user: to nobody if we are root, else to us.
    pub fn of_user() -> World {
        let world = World::new();
        fs::set_permissions(world.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(world.path("bin")).unwrap();
        // The user may not be able to reach the program where it was built.
        // By another process: a child that another thread starts meanwhile would keep it open for writing, and so busy.
        let copied =
            Command::new("cp").arg(env!("CARGO_BIN_EXE_plakar")).arg(world.path("bin/plakar")).status();
        assert!(copied.unwrap().success());
        fs::set_permissions(world.path("bin/plakar"), fs::Permissions::from_mode(0o755)).unwrap();
        for owned in ["home", "work"] {
            world.give_to_user(owned);
        }
        world
    }

    /// Gives a path, with everything beneath it, to the user.
    pub fn give_to_user(&self, name: &str) {
        if is_root() {
            let owner = format!("{NOBODY}:{NOBODY}");
            assert!(
                Command::new("chown").args(["-hR", &owner]).arg(self.path(name)).status().unwrap().success()
            );
        }
    }

    /// A program run by the user of [`of_user`](Self::of_user).
    pub fn user_command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.command(program);
        command.env("PATH", format!("{}:/usr/bin:/bin", self.path("bin").display()));
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    /// Runs plakar as the user, with these words.
    pub fn run_as_user<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Ran {
        let mut command = self.user_command("setsid");
        ran(within(command.arg("-w").arg(self.path("bin/plakar")).args(words), Duration::from_secs(60)))
    }

    /// Runs a line of shell as the user.
    pub fn shell_as_user(&self, line: &str) -> Ran {
        ran(within(self.user_command("sh").args(["-c", line]), Duration::from_secs(60)))
    }

    /// Runs plakar, which must end in time, whatever happens around it.
    pub fn run_in_time<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>, time: Duration) -> Ran {
        ran(within(self.command(env!("CARGO_BIN_EXE_plakar")).args(words), time))
    }
}

/// Runs a command to its end; one that takes longer than `time` hangs, and is a failure.
pub fn within(command: &mut Command, time: Duration) -> Output {
    use std::process::Stdio;
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    finish(child, time, &format!("{command:?}"))
}

/// Waits for a child, and kills it and fails when it takes longer than `time`.
pub fn finish(child: Child, time: Duration, what: &str) -> Output {
    let id = rustix::process::Pid::from_child(&child);
    let (done, ended) = std::sync::mpsc::channel();
    let waiter = std::thread::spawn(move || {
        let output = child.wait_with_output();
        let _ = done.send(());
        output.unwrap()
    });
    if ended.recv_timeout(time).is_err() {
        let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
        panic!("it hangs: {what}");
    }
    waiter.join().unwrap()
}

/// Waits until something is so.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < Duration::from_secs(60), "it never came to this: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Bytes that follow from a seed, none of them zero.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes().map(|b| b | 1));
    }
    bytes.truncate(len);
    bytes
}

pub fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty())
        .unwrap_or_else(|e| panic!("{}: {name}: {e}", path.display()));
}

pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Sets the modification time, of a link itself.
pub fn set_time(path: &Path, secs: i64, nanos: i64) {
    let time = Timespec { tv_sec: secs, tv_nsec: nanos };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

pub fn set_owner(path: &Path, uid: u32, gid: u32) {
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    rustix::fs::chownat(CWD, path, uid, gid, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

pub fn make_special(path: &Path, kind: FileType, major: u32, minor: u32) {
    let device = rustix::fs::makedev(major, minor);
    rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(0o640), device)
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

/// An ACL as the kernel keeps it: owner, one more user, group, mask, others.
pub fn acl(user: u32, rights: u16) -> Vec<u8> {
    const NO_ID: u32 = u32::MAX;
    let entries: [(u16, u16, u32); 5] =
        [(1, 7, NO_ID), (2, rights, user), (4, 5, NO_ID), (0x10, 7, NO_ID), (0x20, 4, NO_ID)];
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, perm, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(perm.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

/// `cap_net_raw+ep` as the kernel keeps it.
pub const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A sparse file with bytes only at these places.
pub fn make_sparse(path: &Path, size: u64, data: &[(u64, usize)]) {
    let file = File::create(path).unwrap();
    file.set_len(size).unwrap();
    for (at, len) in data {
        file.write_all_at(&noise(*at + 1, *len), *at).unwrap();
    }
}

/// Everything that is to be seen of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// With the type.
    pub mode: u32,
    pub owner: (u32, u32),
    pub mtime: (i64, i64),
    /// Of a device.
    pub device: u64,
    /// Not of a directory.
    pub size: u64,
    /// The first path under which the same file is seen.
    pub same_as: Option<PathBuf>,
    pub xattrs: BTreeMap<OsString, Vec<u8>>,
    pub target: Option<PathBuf>,
    pub content: Option<blake3::Hash>,
    /// Where there is data: beginnings and ends.
    pub data: Vec<(u64, u64)>,
}

/// Looks at everything in a directory and at the directory itself, by path relative to it.
pub fn look(root: &Path) -> BTreeMap<PathBuf, Look> {
    let mut seen = BTreeMap::new();
    let mut paths = vec![PathBuf::new()];
    while let Some(path) = paths.pop() {
        // No slash at the end: a link at the root is looked at as a link.
        let full = if path.as_os_str().is_empty() { root.to_owned() } else { root.join(&path) };
        let one = look_at(&full);
        if one.mode & 0o170_000 == 0o040_000 {
            let entries = fs::read_dir(&full).unwrap_or_else(|e| panic!("{}: {e}", full.display()));
            paths.extend(entries.map(|entry| path.join(entry.unwrap().file_name())));
        }
        seen.insert(path, one);
    }
    name_same(root, &mut seen);
    seen
}

fn name_same(root: &Path, seen: &mut BTreeMap<PathBuf, Look>) {
    let mut first: HashMap<(u64, u64), PathBuf> = HashMap::new();
    for (path, look) in seen {
        let there = root.join(path).symlink_metadata().unwrap();
        if there.is_dir() || there.nlink() == 1 {
            continue;
        }
        let same = first.entry((there.dev(), there.ino())).or_insert_with(|| path.clone());
        look.same_as = Some(same.clone());
    }
}

/// Looks at one entry.
pub fn look_at(path: &Path) -> Look {
    let there = path.symlink_metadata().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut one = Look {
        mode: there.mode(),
        owner: (there.uid(), there.gid()),
        mtime: (there.mtime(), there.mtime_nsec()),
        device: there.rdev(),
        size: if there.is_dir() { 0 } else { there.size() },
        same_as: None,
        xattrs: xattrs(path),
        target: there.is_symlink().then(|| fs::read_link(path).unwrap()),
        content: None,
        data: Vec::new(),
    };
    if there.is_file() {
        let file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        one.data = data(&file);
        one.content = Some(content(&file, &one.data));
    }
    one
}

/// Extended attributes; of a link, its own.
pub fn xattrs(path: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let mut names = vec![0; 64 << 10];
    let len = match rustix::fs::llistxattr(path, &mut names[..]) {
        Ok(len) => len,
        Err(rustix::io::Errno::NOTSUP) => 0,
        Err(e) => panic!("{}: {e}", path.display()),
    };
    let mut all = BTreeMap::new();
    for name in names[..len].split(|b| *b == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 64 << 10];
        let len = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        value.truncate(len);
        all.insert(OsString::from_vec(name.to_vec()), value);
    }
    all
}

/// Where a file has data.
pub fn data(file: &File) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Ok(begin) = rustix::fs::seek(file, SeekFrom::Data(at)) {
        at = rustix::fs::seek(file, SeekFrom::Hole(begin)).unwrap();
        found.push((begin, at));
    }
    found
}

/// A hash of the bytes, wherever there are holes.
fn content(file: &File, data: &[(u64, u64)]) -> blake3::Hash {
    const PAGE: u64 = 4096;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&file.metadata().unwrap().len().to_le_bytes());
    let mut page = [0; PAGE as usize];
    for (begin, end) in data {
        let mut at = begin - begin % PAGE;
        while at < *end {
            let len = read_all_at(file, &mut page, at);
            if page[..len].iter().any(|b| *b != 0) {
                hasher.update(&at.to_le_bytes()).update(&page[..len]);
            }
            at += PAGE;
        }
    }
    hasher.finalize()
}

fn read_all_at(file: &File, buf: &mut [u8], at: u64) -> usize {
    let mut len = 0;
    loop {
        match file.read_at(&mut buf[len..], at + len as u64).unwrap() {
            0 => return len,
            n => len += n,
        }
    }
}

/// Says how two trees differ, if they do.
pub fn assert_same(a: &BTreeMap<PathBuf, Look>, b: &BTreeMap<PathBuf, Look>) {
    let mut different = Vec::new();
    for path in a.keys().chain(b.keys().filter(|path| !a.contains_key(*path))) {
        if a.get(path) != b.get(path) {
            different.push(format!("{path:?}:\n  {:?}\n  {:?}", a.get(path), b.get(path)));
        }
    }
    assert!(different.is_empty(), "{} of {} differ:\n{}", different.len(), a.len(), different.join("\n"));
}

/// Makes directories called `name` in one another, each with a file `z` in it, without a path that would be too
/// long.
pub fn make_deep(root: &Path, levels: usize, name: &str) {
    let mut at = rustix::fs::open(root, DIRECTORY, Mode::empty()).unwrap();
    for level in 0..levels {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let file = rustix::fs::openat(&at, "z", flags, Mode::from_raw_mode(0o600)).unwrap();
        rustix::io::write(&file, level.to_string().as_bytes()).unwrap();
        rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o755)).unwrap();
        at = rustix::fs::openat(&at, name, DIRECTORY, Mode::empty()).unwrap();
    }
}

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::RDONLY);

/// What [`make_deep`] made: mode and time of each directory, and what is in its file.
pub fn look_deep(root: &Path, name: &str) -> Vec<(u32, i64, u64, String)> {
    let mut seen = Vec::new();
    let mut at = rustix::fs::open(root, DIRECTORY, Mode::empty()).unwrap();
    loop {
        let stat = rustix::fs::fstat(&at).unwrap();
        let mut text = [0; 16];
        let len = match rustix::fs::openat(&at, "z", OFlags::RDONLY, Mode::empty()) {
            Ok(file) => rustix::io::read(&file, &mut text[..]).unwrap(),
            Err(_) => 0,
        };
        let text = String::from_utf8_lossy(&text[..len]).into_owned();
        seen.push((stat.st_mode, stat.st_mtime, stat.st_mtime_nsec, text));
        match rustix::fs::openat(&at, name, DIRECTORY, Mode::empty()) {
            Ok(next) => at = next,
            Err(_) => return seen,
        }
    }
}

/// Removes what [`make_deep`] made; the folder of a test may be too deep to be removed otherwise.
pub fn remove_deep(root: &Path, name: &str) {
    let mut at = rustix::fs::open(root, DIRECTORY, Mode::empty()).unwrap();
    let mut depth = 0;
    while let Ok(next) = rustix::fs::openat(&at, name, DIRECTORY, Mode::empty()) {
        at = next;
        depth += 1;
    }
    for _ in 0..depth {
        let _ = rustix::fs::unlinkat(&at, "z", AtFlags::empty());
        at = rustix::fs::openat(&at, "..", DIRECTORY, Mode::empty()).unwrap();
        rustix::fs::unlinkat(&at, name, AtFlags::REMOVEDIR).unwrap();
    }
}

/// Everything but what takes root: every kind of entry, odd names, odd times, attributes, holes, links.
pub fn make_everything(root: &Path) {
    let at = |name: &str| root.join(name);
    fs::create_dir_all(at("dir/sub/empty")).unwrap();
    fs::write(at("empty file"), b"").unwrap();
    fs::write(at("small"), b"small").unwrap();
    fs::write(at("large"), noise(1, 3_000_000)).unwrap();
    fs::write(at("text"), "The same again and again. ".repeat(40_000)).unwrap();
    for n in 0..200 {
        fs::write(at(&format!("dir/sub/{n}")), noise(n, n as usize * n as usize)).unwrap();
    }
    for (link, target) in [
        ("to-file", "small"),
        ("to-dir", "dir"),
        ("dangling", "no/such\nthing"),
        ("absolute", "/"),
        ("loop", "loop"),
    ] {
        std::os::unix::fs::symlink(target, at(link)).unwrap();
    }
    fs::hard_link(at("large"), at("dir/large again")).unwrap();
    fs::hard_link(at("large"), at("dir/sub/and again")).unwrap();
    fs::hard_link(at("dangling"), at("dir/same link")).unwrap();
    fs::hard_link(at("empty file"), at("dir/empty again")).unwrap();
    make_special(&at("fifo"), FileType::Fifo, 0, 0);
    fs::hard_link(at("fifo"), at("dir/same fifo")).unwrap();
    make_special(&at("socket"), FileType::Socket, 0, 0);

    for (name, mode) in [("setuid", 0o4755), ("setgid", 0o2711), ("both", 0o6700), ("all", 0o777)] {
        fs::write(at(name), name).unwrap();
        set_mode(&at(name), mode);
    }
    for (name, mode) in [("sticky", 0o1777), ("setgid-dir", 0o2775), ("read-only", 0o555), ("closed", 0o700)]
    {
        fs::create_dir(at(name)).unwrap();
        fs::write(at(name).join("in it"), name).unwrap();
        set_mode(&at(name), mode);
    }

    fs::create_dir(at("names")).unwrap();
    let longest = [b'n'; 255];
    let names: [&[u8]; 9] = [
        b"not \xff\xfe UTF-8",
        &longest,
        b"new\nline",
        b"\x1b[2Jescape",
        b"-flag",
        b"back\\slash",
        b" ",
        b"...",
        "\u{fc}ml\u{e4}ut".as_bytes(),
    ];
    for name in names {
        fs::write(at("names").join(OsStr::from_bytes(name)), name).unwrap();
    }
    fs::create_dir(at("names").join(OsStr::from_bytes(b"dir \xc3\x28"))).unwrap();

    make_sparse(&at("hole at the end"), 10 << 20, &[(0, 100_000)]);
    make_sparse(&at("hole at the beginning"), (10 << 20) + 100_001, &[(10 << 20, 100_001)]);
    make_sparse(&at("all hole"), 3 << 20, &[]);
    make_sparse(&at("many holes"), 4 << 20, &(0..32).map(|n| (n << 17, 4096 << (n % 5))).collect::<Vec<_>>());
    make_sparse(
        &at("large with holes"),
        60 << 20,
        &[(20 << 20, 5 << 20), (41 << 20, 1), (59 << 20, 1 << 20)],
    );

    let times = [
        ("small", 1_646_519_458, 123_456_789),
        ("text", -1, 999_999_999),
        ("setuid", -1_000_000_000, 1),
        ("all", 0, 0),
        ("to-file", 1_000_000_000, 987_654_321),
        ("dangling", -5, 5),
        ("fifo", 86_400, 7),
        ("socket", 1, 1),
        ("dir", 4_000_000_000, 3),
        ("read-only", 946_684_799, 999_999_999),
    ];
    set_xattr(&at("small"), "user.one", b"1");
    set_xattr(&at("small"), "user.empty", b"");
    set_xattr(&at("small"), "user.bytes", b"\0\xff\n");
    set_xattr(&at("text"), "user.large", &noise(7, 2500));
    set_xattr(&at("dir"), "user.of a directory", b"x");
    set_xattr(&at("dir"), "system.posix_acl_default", &acl(12345, 4));
    set_xattr(&at("dir/sub"), "system.posix_acl_access", &acl(12345, 7));
    set_xattr(&at("all"), "system.posix_acl_access", &acl(54321, 6));
    for (name, secs, nanos) in times {
        set_time(&at(name), secs, nanos);
    }
}

/// What takes root: devices, owners, capabilities, attributes that only root sees.
pub fn make_roots_part(root: &Path) {
    let at = |name: &str| root.join(name);
    make_special(&at("null"), FileType::CharacterDevice, 1, 3);
    make_special(&at("disk"), FileType::BlockDevice, 7, 300);
    set_time(&at("null"), 12_345, 6);
    let owners =
        [("owned", 54_321, 65_432), ("half", 0, 4_000_000_000), ("link", 1, 54_322), ("sock", 77_777, 0)];
    for (name, uid, gid) in owners {
        match name {
            "link" => std::os::unix::fs::symlink("x", at(name)).unwrap(),
            "sock" => make_special(&at(name), FileType::Socket, 0, 0),
            _ => fs::write(at(name), name).unwrap(),
        }
        set_owner(&at(name), uid, gid);
    }
    fs::write(at("none"), "only root reads it").unwrap();
    set_mode(&at("none"), 0);
    fs::write(at("setuid of another"), "x").unwrap();
    set_owner(&at("setuid of another"), 54_321, 54_321);
    set_mode(&at("setuid of another"), 0o6755);
    fs::write(at("capable"), "x").unwrap();
    set_owner(&at("capable"), 54_321, 0);
    set_xattr(&at("capable"), "security.capability", &CAPABILITY);
    set_xattr(&at("link"), "trusted.of a link", b"seen by root");
    set_xattr(&at("null"), "trusted.of a device", b"seen by root");
}
