//! What was pushed comes back: through a repository in a folder, from the file system and into it.

use plakar_engine::check::{CheckOptions, Reads, check};
use plakar_engine::crypto::slot::Cost;
use plakar_engine::id::WriterId;
use plakar_engine::index::segment::Author;
use plakar_engine::push::{Checkpoints, Observer, Progress, PushOptions, Pushed, push};
use plakar_engine::read::Reader;
use plakar_engine::repository::{self, Encryption, Locked, Repository};
use plakar_engine::source::Source;
use plakar_engine::tree::Time;
use plakar_fs::Walk;
use plakar_fs::restore::{Overwrite, RestoreOptions, restore};
use plakar_fs::target::OwnerPolicy;
use plakar_store::{DirStore, Store};
use std::ffi::OsString;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

struct Quiet(Vec<String>);

impl Observer for Quiet {
    fn problem(&mut self, path: &[u8], what: &str) {
        self.0.push(format!("{}: {what}", String::from_utf8_lossy(path)));
    }
    fn progress(&mut self, _: &Progress) {}
}

fn create(dir: &Path, passphrase: Option<&[u8]>) -> Arc<dyn Store> {
    let store: Arc<dyn Store> = Arc::new(DirStore::create(dir).unwrap());
    let encryption = passphrase.map(|passphrase| Encryption { passphrase, label: "test", cost: Cost::TEST });
    let options = repository::Options {
        encryption,
        chunker: None,
        compression: 3,
        pack_bytes: repository::PACK_BYTES_DEFAULT,
        now: 0,
    };
    repository::create(&*store, &options).unwrap();
    store
}

fn open(store: &Arc<dyn Store>, passphrase: Option<&[u8]>) -> Repository {
    Locked::open(store.clone()).unwrap().unlock(passphrase).unwrap().open().unwrap()
}

fn push_tree(store: &Arc<dyn Store>, passphrase: Option<&[u8]>, tree: &Path, hints: Option<&Path>) -> Pushed {
    let repo = open(store, passphrase);
    let options = PushOptions {
        host: "host".into(),
        user: "user".into(),
        command: "test".into(),
        roots: vec![tree.as_os_str().as_encoded_bytes().to_vec()],
        tags: Vec::new(),
        author: Author { replica: repo.base().replica().id, writer: WriterId([1; 16]) },
        now: Time { secs: 1_646_519_458, nanos: 0 },
        workers: 2,
        verify: true,
        hints: hints.map(Path::to_path_buf),
        trust_mtime: false,
        force: false,
        uid: 0,
        checkpoints: Checkpoints::default(),
    };
    let mut quiet = Quiet(Vec::new());
    let mut source = || {
        let walk = Walk::new(&[OsString::from(tree)]).unwrap();
        Ok(Box::new(walk) as Box<dyn Source>)
    };
    let pushed = push(
        &mut || Ok(open(store, passphrase)),
        store.clone(),
        &mut source,
        &options,
        &mut quiet,
        &AtomicBool::new(false),
    )
    .unwrap();
    assert_eq!(quiet.0, Vec::<String>::new());
    pushed
}

fn checked(repo: &Repository) -> u64 {
    let options = CheckOptions { reads: Reads::All, workers: 2 };
    let report = check(repo, &[], &options, &mut |e| println!("{e}"), &mut |_| {}, &AtomicBool::new(false));
    report.unwrap().damaged
}

fn equal(a: &Path, b: &Path) {
    let (ma, mb) = (a.symlink_metadata().unwrap(), b.symlink_metadata().unwrap());
    assert_eq!(ma.mode(), mb.mode(), "{}", a.display());
    assert_eq!((ma.mtime(), ma.mtime_nsec()), (mb.mtime(), mb.mtime_nsec()), "{}", a.display());
    assert_eq!((ma.uid(), ma.gid()), (mb.uid(), mb.gid()), "{}", a.display());
    if ma.is_dir() {
        let names = |dir: &Path| {
            let mut names: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(a), names(b));
        names(a).iter().for_each(|name| equal(&a.join(name), &b.join(name)));
    } else if ma.is_file() {
        assert_eq!(std::fs::read(a).unwrap(), std::fs::read(b).unwrap(), "{}", a.display());
    } else if ma.is_symlink() {
        assert_eq!(std::fs::read_link(a).unwrap(), std::fs::read_link(b).unwrap());
    }
}

fn make_tree(root: &Path) {
    let mut noise = vec![0; 3_000_000];
    let mut state = 1u64;
    for b in &mut noise {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        *b = (state >> 56) as u8;
    }
    for d in 0..5 {
        let dir = root.join(format!("d{d}/deeper"));
        std::fs::create_dir_all(&dir).unwrap();
        for f in 0..300 {
            std::fs::write(dir.join(format!("f{f}")), &noise[f * 100 + d..f * 100 + d + f * f / 10]).unwrap();
        }
    }
    std::fs::write(root.join("empty"), b"").unwrap();
    std::fs::write(root.join("large"), &noise).unwrap();
    let sparse = std::fs::File::create(root.join("sparse")).unwrap();
    sparse.set_len(40_000_000).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, &noise[..100_000], 20_000_123).unwrap();
    std::os::unix::fs::symlink("nowhere", root.join("link")).unwrap();
    std::fs::hard_link(root.join("large"), root.join("d0/again")).unwrap();
    std::fs::set_permissions(root.join("large"), std::fs::Permissions::from_mode(0o4711)).unwrap();
}

#[test]
fn a_tree_comes_back_whole_and_an_unchanged_push_stores_nothing_of_it() {
    for passphrase in [None, Some(&b"secret"[..])] {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        make_tree(&tree);
        // Long enough ago for hints to be trusted.
        std::thread::sleep(std::time::Duration::from_millis(2100));
        let store = create(&dir.path().join("repo"), passphrase);
        let hints = dir.path().join("hints");
        let first = push_tree(&store, passphrase, &tree, Some(&hints));
        let second = push_tree(&store, passphrase, &tree, Some(&hints));
        assert_eq!(first.row.root, second.row.root);
        assert_eq!((second.progress.files_read, second.progress.bytes_stored), (0, 0));
        let third = push_tree(&store, passphrase, &tree, None);
        assert_eq!(first.row.root, third.row.root);
        assert_eq!(third.progress.bytes_stored, 0);
        assert!(third.progress.files_read > 1000);
        std::fs::write(tree.join("d3/deeper/f7"), b"changed").unwrap();
        std::fs::remove_file(tree.join("d2/deeper/f299")).unwrap();
        let fourth = push_tree(&store, passphrase, &tree, Some(&hints));
        assert_ne!(first.row.root, fourth.row.root);
        assert_eq!(fourth.progress.files_read, 1);

        let repo = open(&store, passphrase);
        assert_eq!(repo.state().snapshots().len(), 4);
        assert_eq!(checked(&repo), 0);
        let reader = Reader::new(&repo, 1 << 20);
        let out = dir.path().join("out");
        let options =
            RestoreOptions { owners: OwnerPolicy::default(), overwrite: Overwrite::Always, workers: 2 };
        let path = tree.as_os_str().as_encoded_bytes();
        let root = &fourth.row.root;
        let mut problem = |path: &[u8], what: &str| panic!("{}: {what}", String::from_utf8_lossy(path));
        let restored = restore(
            &reader,
            root,
            path,
            true,
            &out,
            &options,
            &mut problem,
            &mut |_| {},
            &AtomicBool::new(false),
        );
        assert_eq!(restored.unwrap().problems, 0);
        equal(&tree, &out);
        let (large, again) =
            (out.join("large").metadata().unwrap(), out.join("d0/again").metadata().unwrap());
        assert_eq!(large.ino(), again.ino());
        assert!(out.join("sparse").metadata().unwrap().blocks() * 512 < 1_000_000);
    }
}
