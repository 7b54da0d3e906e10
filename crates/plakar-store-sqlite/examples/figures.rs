//! Measures a database beside a folder, in one run on one file system: `figures [FOLDER]`.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use plakar_store::{DirStore, Name, Result, Store};
use plakar_store_sqlite::SqliteStore;

const MIB: usize = 1 << 20;

fn main() -> Result<()> {
    let top = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = top.join(format!("plakar-figures-{}", std::process::id()));
    let io = |e| plakar_store::Error::io("figures", e);
    std::fs::create_dir(&folder).map_err(io)?;
    println!("{:>26} {:>10} {:>10}", "", "folder", "database");
    let dir = measure(&DirStore::create(folder.join("dir"))?)?;
    let sqlite = measure(&SqliteStore::create(folder.join("store.db"))?)?;
    for ((what, dir), (_, sqlite)) in dir.iter().zip(&sqlite) {
        println!("{what:>26} {:>7.1} ms {:>7.1} ms", dir.as_secs_f64() * 1e3, sqlite.as_secs_f64() * 1e3);
    }
    std::fs::remove_dir_all(folder).map_err(io)
}

fn measure(store: &dyn Store) -> Result<Vec<(&'static str, Duration)>> {
    let mut all = Vec::new();
    let mut timed = |what, work: &mut dyn FnMut() -> Result<()>| {
        let start = Instant::now();
        work()?;
        all.push((what, start.elapsed()));
        Ok(())
    };
    let bytes: Vec<u8> =
        (0..16 * MIB as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 29) as u8).collect();
    timed("put 100 MiB, a barrier", &mut || {
        for n in 0..7 {
            store.put(&name(format!("packs/{n}")), &[&bytes[..if n < 6 { 16 * MIB } else { 4 * MIB }]])?;
        }
        store.barrier()
    })?;
    timed("1000 small, each a barrier", &mut || {
        for n in 0..1000 {
            store.put(&name(format!("log/{n}")), &[&bytes[n..n + 500]])?;
            store.barrier()?;
        }
        Ok(())
    })?;
    for n in 1000..3000 {
        store.put(&name(format!("log/{n}")), &[&bytes[n..n + 500]])?;
    }
    timed("list 3000", &mut || {
        let mut seen = 0;
        store.list("log/", &mut |_| {
            seen += 1;
            Ok(())
        })?;
        assert_eq!(seen, 3000, "a listing is whole");
        Ok(())
    })?;
    timed("get 16 MiB", &mut || store.get(&name("packs/3".into()), 16 * MIB).map(drop))?;
    timed("1000 ranges of 4 KiB", &mut || {
        (0..1000).try_for_each(|n| store.get_range(&name("packs/3".into()), n * 16_001, 4096).map(drop))
    })?;
    Ok(all)
}

fn name(text: String) -> Name {
    Name::new(&text).expect("a name")
}
