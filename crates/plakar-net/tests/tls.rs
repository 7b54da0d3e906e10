//! TLS: a server is believed for its certificate only, and nothing is sent to another.

mod servers;

use plakar_net::{Fingerprint, Identity, Limits, NetStore, Tls};
use plakar_store::{MemoryStore, Name, ReadStore, Store};
use servers::{PATIENCE, Server, Wanted, client};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn identity() -> Identity {
    let (certificate, key) = Identity::make().unwrap();
    Identity::of_bytes(certificate, key).unwrap()
}

fn start(limits: Limits) -> (Server, Fingerprint) {
    let identity = identity();
    let fingerprint = identity.fingerprint();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let wanted = Wanted { identity: Some(identity), limits, ..Wanted::of(Some(store)) };
    (Server::wanted(wanted), fingerprint)
}

fn pinned(server: &Server, known: Vec<Fingerprint>) -> Tls {
    let (host, port) = server.address.split_once(':').unwrap();
    Tls::pinned(host, port.parse().unwrap(), known).unwrap()
}

#[test]
fn who_shows_the_right_certificate_is_believed() {
    let (server, fingerprint) = start(Limits::default());
    let tls = pinned(&server, vec![identity().fingerprint(), fingerprint]);
    let met = tls.met();
    let store = client(Box::new(tls));
    assert_eq!(*met.lock().unwrap(), Some(fingerprint));
    let name = Name::new("packs/large").unwrap();
    store.put(&name, &[&vec![7; 3 << 20]]).unwrap();
    assert_eq!(store.get(&name, 4 << 20).unwrap(), vec![7; 3 << 20]);
    // Without TLS it is spoken with over loopback.
    assert_eq!(client(server.tcp()).len(&name).unwrap(), 3 << 20);
}

#[test]
fn who_shows_another_certificate_is_told_nothing() {
    let (server, fingerprint) = start(Limits::default());
    let open = |tls| NetStore::open(Box::new(tls), "it".into(), PATIENCE).map(drop).unwrap_err().to_string();
    for known in [vec![], vec![identity().fingerprint()]] {
        let said = open(pinned(&server, known));
        assert!(said.contains(&format!("is not known: its fingerprint is {fingerprint}")), "{said}");
    }
    assert!(server.visits.0.lock().unwrap().is_empty(), "nothing was asked");
}

/// A server that takes as much of a beginning as it likes, and answers with nothing, or nonsense.
#[test]
fn who_speaks_no_tls_is_told_nothing() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        }
    });
    let tls = Tls::pinned("127.0.0.1", port, vec![identity().fingerprint()]).unwrap();
    let met = tls.met();
    NetStore::open(Box::new(tls), "it".into(), PATIENCE).map(drop).unwrap_err();
    assert_eq!(*met.lock().unwrap(), None);
}

#[test]
fn who_never_ends_his_greeting_is_given_up() {
    let (server, fingerprint) = start(Limits { idle: Duration::from_millis(300), ..Limits::default() });
    let began = Instant::now();
    // Nothing; the beginning of a record; a record that is none.
    let slow: Vec<_> = [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01", b"\x16nonsense and more nonsense"]
        .iter()
        .cycle()
        .take(40)
        .map(|beginning| {
            let mut stream = TcpStream::connect(&server.address).unwrap();
            stream.write_all(beginning).unwrap();
            stream
        })
        .collect();
    client(Box::new(pinned(&server, vec![fingerprint]))).barrier().unwrap();
    for mut stream in slow {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        let reset = ended.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset);
        assert!(ended.is_ok() || reset, "{ended:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn two_hundred_clients_at_once_are_served() {
    let (server, fingerprint) = start(Limits::default());
    std::thread::scope(|scope| {
        for n in 0..200 {
            let server = &server;
            scope.spawn(move || {
                let store = client(Box::new(pinned(server, vec![fingerprint])));
                let own = Name::new(&format!("log/{n}")).unwrap();
                store.put(&own, &[&vec![n as u8; 10_000]]).unwrap();
                assert_eq!(store.get(&own, 1 << 20).unwrap(), vec![n as u8; 10_000]);
            });
        }
    });
    let mut stored = 0;
    let mut count = |_| {
        stored += 1;
        Ok(())
    };
    client(server.tcp()).list("log/", &mut count).unwrap();
    assert_eq!(stored, 200);
}
