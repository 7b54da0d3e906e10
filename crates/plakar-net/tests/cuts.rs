//! Connections that break: whatever was asked is answered over the next one, and what cannot be is an error in time.

mod servers;

use plakar_net::{NetStore, Tcp};
use plakar_store::{ErrorKind, MemoryStore, Name, Patience, Range, ReadStore, Store};
use servers::{PATIENCE, Server, client};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// What lies between a client and a server: it cuts the first connections after so many bytes to the client.
struct Cable {
    address: String,
    cuts: Arc<AtomicU64>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Cable {
    fn new(server: &str, cuts: u64, after: u64) -> Cable {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (left, open) = (Arc::new(AtomicU64::new(cuts)), Arc::new(Mutex::new(Vec::new())));
        let (cuts, all, server) = (left.clone(), open.clone(), server.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&server) else { return };
                let is_cut =
                    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
                let most = if is_cut { after } else { u64::MAX };
                let both = [client.try_clone().unwrap(), server.try_clone().unwrap()];
                open.lock().unwrap().extend(both.iter().map(|one| one.try_clone().unwrap()));
                forward(client.try_clone().unwrap(), server.try_clone().unwrap(), u64::MAX);
                forward(server, client, most);
            }
        });
        Cable { address, cuts, open: all }
    }

    /// Cuts all that is open.
    fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Forwards at most so many bytes, then shuts both ends.
fn forward(mut from: TcpStream, mut to: TcpStream, most: u64) {
    std::thread::spawn(move || {
        let (mut left, mut buffer) = (most, [0; 4096]);
        while left > 0 {
            let Ok(some @ 1..) = from.read(&mut buffer) else { break };
            let some = (some as u64).min(left);
            if to.write_all(&buffer[..some as usize]).is_err() {
                break;
            }
            left -= some;
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    });
}

#[test]
fn what_was_asked_is_answered_over_the_next_connection() {
    let store = MemoryStore::new();
    let names: BTreeSet<_> = (0..200).map(|n| name(&format!("log/{n:03}"))).collect();
    for name in &names {
        store.put(name, &[name.as_str().as_bytes()]).unwrap();
    }
    let large: Vec<u8> = (0..400_000u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
    store.put(&name("packs/large"), &[&large]).unwrap();
    let server = Server::start(Arc::new(store));
    let mut cut = 0;
    // Shorter than any answer, in the middle of them, longer than all but the large one.
    for after in [60, 100, 150, 300, 700, 1500, 4000, 70_000] {
        let cable = Cable::new(&server.address, 3, after);
        let connect = Box::new(Tcp(cable.address.clone()));
        // The very first answer is not waited for as long.
        let Ok(store) = NetStore::open(connect, "far away".into(), PATIENCE) else {
            cut += 1;
            continue;
        };
        let mut listed = Vec::new();
        let mut add = |one: plakar_store::Listed| {
            listed.push(one.name);
            Ok(())
        };
        store.list("log/", &mut add).unwrap();
        assert_eq!(listed.len(), names.len(), "each is told once, after {after}");
        assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), names);
        assert_eq!(store.len(&name("packs/large")).unwrap(), large.len() as u64);
        assert!(store.get(&name("packs/large"), 1 << 20).unwrap() == large);
        let range = |offset, len| Range { name: name("packs/large"), offset, len };
        let ranges = [range(0, 10), range(5, 300_000), range(399_999, 2), range(7, 0)];
        let found = store.get_ranges(&ranges);
        assert!(
            found[0].as_ref().unwrap() == &large[..10] && found[1].as_ref().unwrap() == &large[5..300_005]
        );
        assert_eq!(found[2].as_ref().unwrap_err().kind(), ErrorKind::Short);
        assert_eq!(found[3].as_ref().unwrap(), &[]);
        let new = name(&format!("packs/new-{after}"));
        store.put(&new, &[&large, &large]).unwrap();
        store.barrier().unwrap();
        assert!(store.get(&new, 1 << 20).unwrap() == [&large[..], &large].concat());
        store.delete(&new).unwrap();
        assert_eq!(store.get(&new, 1).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(cable.cuts.load(Ordering::SeqCst), 0, "all cuts were made, after {after}");
        cut += 3;
    }
    assert!(cut >= 15, "{cut}");
}

#[test]
fn a_cable_that_stays_cut_is_an_error_in_time() {
    let store = MemoryStore::new();
    let mut server = Some(Server::start(Arc::new(store)));
    let cable = Cable::new(&server.as_ref().unwrap().address, 0, 0);
    let patience = Patience { retries: Duration::from_secs(1), ..PATIENCE };
    let store = NetStore::open(Box::new(Tcp(cable.address.clone())), "far away".into(), patience).unwrap();
    store.put(&name("config"), &[b"x"]).unwrap();
    drop(server.take());
    cable.cut();
    let began = Instant::now();
    let e = store.put(&name("log/a"), &[b"x"]).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Io);
    assert!(e.to_string().starts_with("log/a: far away: "), "{e}");
    assert!(began.elapsed() < Duration::from_secs(10));
}

/// As behind a router that has lost its own line: connections are taken, and nothing comes over them.
#[test]
fn whoever_takes_a_connection_and_says_nothing_is_given_up_in_time() {
    let server = Server::start(Arc::new(MemoryStore::new()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, first) = std::sync::mpsc::channel();
    let there = server.address.clone();
    std::thread::spawn(move || {
        let mut mute = Vec::new();
        for client in listener.incoming().flatten() {
            mute.push(client.try_clone().unwrap());
            if mute.len() > 1 {
                continue;
            }
            let server = TcpStream::connect(&there).unwrap();
            for (mut from, mut to) in [(&client, &server), (&server, &client)]
                .map(|(from, to)| (from.try_clone().unwrap(), to.try_clone().unwrap()))
            {
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            }
            sender.send(client).unwrap();
        }
    });
    let patience = Patience { idle: Duration::from_secs(100), retries: Duration::from_secs(1) };
    let store = NetStore::open(Box::new(Tcp(address)), "far away".into(), patience).unwrap();
    store.put(&name("config"), &[b"x"]).unwrap();
    first.recv().unwrap().shutdown(Shutdown::Both).unwrap();
    let began = Instant::now();
    let e = store.len(&name("config")).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Io);
    assert!(e.to_string().contains("does not answer"), "{e}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[test]
fn a_server_that_ends_lets_what_it_does_be_done() {
    let behind = MemoryStore::new();
    let server = Server::start(Arc::new(behind.clone()));
    let store = client(server.tcp());
    let bytes = vec![7; 8 << 20];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // It may come too late; but if it is said to be stored, it is.
            if store.put(&name("packs/a"), &[&bytes]).is_ok() {
                assert_eq!(behind.len(&name("packs/a")).unwrap(), bytes.len() as u64);
            }
        });
        std::thread::sleep(Duration::from_millis(3));
        drop(server);
    });
}
