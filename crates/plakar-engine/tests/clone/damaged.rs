//! A source with damage: the clone is no more and no less damaged, and says so.

use crate::common::*;
use plakar_engine::Error;
use plakar_store::wrap::{Fault, Faulty, Request, Rule};
use plakar_store::{Capabilities, ErrorKind, Listed, MemoryStore, Name, ReadStore, Result, Store};
use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    Flip(u64),
    Shorter,
    Empty,
    /// Listed and not there.
    Lost,
    /// There, but it cannot be read.
    Unreadable,
    /// Neither listed nor there.
    Gone,
}

const DAMAGES: [Damage; 7] = [
    Damage::Flip(3),
    Damage::Flip(12_345),
    Damage::Shorter,
    Damage::Empty,
    Damage::Lost,
    Damage::Unreadable,
    Damage::Gone,
];

fn damage(source: &MemoryStore, object: &Name, damage: Damage) -> Faulty<MemoryStore> {
    let store = MemoryStore::from_snapshot(source.snapshot());
    let len = store.len(object).unwrap() as usize;
    match damage {
        Damage::Flip(bit) => assert!(store.tamper_flip(object, bit)),
        Damage::Shorter => assert!(store.tamper_truncate(object, len - 1)),
        Damage::Empty => assert!(store.tamper_truncate(object, 0)),
        Damage::Gone => assert!(store.tamper_remove(object)),
        Damage::Lost | Damage::Unreadable => {}
    }
    let faulty = Faulty::new(store, 1);
    let fault = match damage {
        Damage::Lost => Fault::Lose,
        _ => Fault::Error(ErrorKind::Io),
    };
    if matches!(damage, Damage::Lost | Damage::Unreadable) {
        faulty.add(Rule::new(fault).on(Request::Get).prefix(object.as_str()));
    }
    faulty
}

fn each_object(encrypted: bool, kinds: usize) {
    let whole = rich_source(encrypted);
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for object in whole.names() {
        let kind = object.as_str().split('/').next().unwrap().to_owned();
        if kind == "replica" || kind == "config" {
            continue;
        }
        *seen.entry(kind.clone()).or_default() += 1;
        for kind_of_damage in DAMAGES {
            let case = format!("{object}, {kind_of_damage:?}, encrypted {encrypted}");
            let source = damage(&whole, &object, kind_of_damage);
            let copy = MemoryStore::new();
            let Cloned { result, told } = clone_to(&source, &copy);
            let report = result.unwrap_or_else(|e| panic!("{case}: {e}"));
            // What the source was able to give.
            let given_by_source = source.inner().clone();
            if matches!(kind_of_damage, Damage::Lost | Damage::Unreadable) {
                given_by_source.tamper_remove(&object);
            }
            same_objects(&given_by_source, &copy, &case);
            if kind_of_damage == Damage::Gone {
                // Only a keyring must be there whatever else is; what else is gone, a key would show.
                let told_of: &[&str] =
                    if kind == "keyring" { &["keyring: there is no keyring"] } else { &[] };
                assert_eq!(told, told_of, "{case}");
            } else {
                assert_eq!(told.len(), 1, "{case}: {told:?}");
                assert!(told[0].starts_with(object.as_str()), "{case}: {told:?}");
            }
            assert_eq!(report.damaged, told.len() as u64, "{case}");
            assert_eq!(given(&given_by_source), given(&copy), "{case}");
        }
    }
    assert_eq!(seen.len(), kinds, "{seen:?}");
}

#[test]
fn each_object_of_an_encrypted_source_damaged() {
    each_object(true, 6);
}

#[test]
fn each_object_of_a_plain_source_damaged() {
    each_object(false, 4);
}

#[test]
fn a_source_whose_key_slots_are_all_gone_is_told_of() {
    let source = source(true, 1);
    let slot = source.names().into_iter().find(|name| name.as_str().starts_with("keys/")).unwrap();
    source.tamper_remove(&slot);
    let Cloned { result, told } = clone_to(&source, &MemoryStore::new());
    assert_eq!(told, ["keys: there is no key slot"]);
    assert_eq!(result.unwrap().damaged, 1);
}

#[test]
fn bytes_that_are_wrong_only_once_are_read_again() {
    let source = source(true, 2);
    for fault in [Fault::Flip(999), Fault::Truncate(9), Fault::Lose, Fault::Error(ErrorKind::Io)] {
        for prefix in ["packs/", "log/", "keyring/", "keys/"] {
            let faulty = Faulty::new(source.clone(), 1);
            faulty.add(Rule::new(fault.clone()).on(Request::Get).prefix(prefix).times(1));
            let copy = MemoryStore::new();
            clone_to(&faulty, &copy).clean();
            assert_eq!(faulty.fired(), 1);
            same_objects(&source, &copy, prefix);
        }
    }
}

#[test]
fn a_cut_connection_is_not_damage() {
    let source = source(true, 2);
    let requests = 2 * source.names().len() as u64;
    let mut cut = 0;
    for nth in 1..requests {
        let faulty = Faulty::new(source.clone(), 1);
        faulty.add(Rule::new(Fault::Error(ErrorKind::Io)).from(nth));
        let copy = MemoryStore::new();
        let Cloned { result, told } = clone_to(&faulty, &copy);
        if faulty.fired() == 0 {
            assert!(result.is_ok());
            continue;
        }
        cut += 1;
        assert!(matches!(result, Err(Error::Store(e)) if e.kind() == ErrorKind::Io), "{nth}");
        assert_eq!(told, Vec::<String>::new(), "{nth}");
        clone_to(&source, &copy).clean();
        same_objects(&source, &copy, "completed");
    }
    assert!(cut > source.names().len() as u64);
}

/// A store that looks at what it is given.
struct Proving(MemoryStore);

impl ReadStore for Proving {
    fn get_range(&self, name: &Name, offset: u64, len: usize) -> Result<Vec<u8>> {
        self.0.get_range(name, offset, len)
    }
    fn get(&self, name: &Name, max: usize) -> Result<Vec<u8>> {
        self.0.get(name, max)
    }
    fn len(&self, name: &Name) -> Result<u64> {
        self.0.len(name)
    }
    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
        self.0.list(prefix, each)
    }
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }
    fn location(&self) -> String {
        "proving".into()
    }
}

impl Store for Proving {
    fn put(&self, name: &Name, parts: &[&[u8]]) -> Result<()> {
        let hash = blake3::hash(&parts.concat()).to_hex();
        let named_by_hash =
            !["replica", "config"].contains(&name.as_str()) && !name.as_str().starts_with("keys/");
        if named_by_hash && !name.last().ends_with(hash.as_str()) {
            return Err(plakar_store::Error::new(ErrorKind::Denied, name.as_str()));
        }
        self.0.put(name, parts)
    }
    fn delete(&self, name: &Name) -> Result<()> {
        self.0.delete(name)
    }
    fn barrier(&self) -> Result<()> {
        self.0.barrier()
    }
}

#[test]
fn a_store_that_refuses_damaged_bytes_gets_everything_else() {
    let source = source(true, 2);
    let pack = source.names().into_iter().find(|name| name.as_str().starts_with("packs/")).unwrap();
    source.tamper_flip(&pack, 999);
    let copy = Proving(MemoryStore::new());
    let Cloned { result, told } = clone_to(&source, &copy);
    assert_eq!(result.unwrap().damaged, 1);
    assert!(told.iter().any(|what| what.contains("proving does not take it")), "{told:?}");
    assert!(told.iter().all(|what| what.starts_with(pack.as_str())), "{told:?}");
    source.tamper_remove(&pack);
    same_objects(&source, &copy.0, "all but the damaged pack");
}

#[test]
fn what_is_longer_than_it_may_be_is_left_out() {
    let source = source(true, 1);
    let slot = name("keys/0123456789abcdef");
    source.put(&slot, &[&vec![7; 5_000]]).unwrap();
    let copy = MemoryStore::new();
    let Cloned { result, told } = clone_to(&source, &copy);
    assert_eq!(result.unwrap().damaged, 1);
    assert!(told.len() == 1 && told[0].contains("left out") && told[0].contains(slot.as_str()), "{told:?}");
    source.tamper_remove(&slot);
    same_objects(&source, &copy, "all but what is too long");
}
