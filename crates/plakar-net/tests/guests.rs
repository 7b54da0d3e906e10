//! Who may do what on a server: nobody gets further than a token says, and what each asked is written down.

mod servers;

use plakar_net::{Guest, NetStore, Role};
use plakar_store::{Error, ErrorKind, MemoryStore, Name, ReadStore, Store};
use servers::{PATIENCE, Server, Several, Somewhere, Tickets, Wanted};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn hashed(folder: &str, bytes: &[u8]) -> Name {
    name(&format!("{folder}{}", blake3::hash(bytes)))
}

fn guest(name: &str, role: Role) -> Guest {
    Guest { role, ..Guest::owner(name) }
}

fn open(server: &Server, repository: &str, token: Option<&str>) -> Result<NetStore, Error> {
    NetStore::open(server.named(repository, token), "the server".into(), PATIENCE)
}

/// What a server answers to a request without a body, over HTTP/1.1.
fn ask(server: &Server, method: &str, path: &str, headers: &str) -> String {
    let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[test]
fn nobody_does_more_than_the_role_allows() {
    let behind = MemoryStore::new();
    behind.put(&name("config"), &[b"what is there"]).unwrap();
    let tickets = Tickets::default();
    let token = |name, role| tickets.add(guest(name, role), None);
    let (read, append, admin) = (token("r", Role::Read), token("a", Role::Append), token("all", Role::Admin));
    let server =
        Server::wanted(Wanted { tickets: tickets.clone(), ..Wanted::of(Some(Arc::new(behind.clone()))) });
    let before = behind.snapshot();

    let reader = open(&server, "", Some(&read)).unwrap();
    assert!(reader.capabilities().append_only);
    assert_eq!(reader.get(&name("config"), 99).unwrap(), b"what is there");
    let added = hashed("packs/ab/", b"new");
    let refusals = [
        reader.put(&added, &[b"new"]),
        reader.put(&name("config"), &[b"what is there"]),
        reader.delete(&name("config")),
        reader.barrier(),
    ];
    for e in refusals.map(Result::unwrap_err) {
        assert_eq!(e.kind(), ErrorKind::Denied);
        assert!(e.to_string().ends_with("'r' may only read: permission denied"), "{e}");
    }
    assert_eq!(behind.snapshot(), before);

    let appender = open(&server, "", Some(&append)).unwrap();
    assert!(appender.capabilities().append_only);
    let log = hashed("log/19700101t000000z-", b"said");
    for (name, bytes) in [(&added, &b"new"[..]), (&log, b"said"), (&hashed("index/", b"i"), b"i")] {
        appender.put(name, &[bytes]).unwrap();
        appender.put(name, &[bytes]).unwrap();
    }
    appender.barrier().unwrap();
    let before = behind.snapshot();
    let taking = hashed("admin/19700101t000000z-", b"gone");
    for result in [
        appender.put(&taking, &[b"gone"]),
        appender.put(&name("keys/0123456789abcdef"), &[b"a key"]),
        appender.put(&name("replica"), &[b"another"]),
        appender.put(&name("log/no-hash"), &[b"x"]),
        appender.put(&name("config"), &[b"another"]),
        appender.delete(&log),
        appender.delete(&added),
    ] {
        let e = result.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Denied, "{e}");
    }
    assert_eq!(behind.snapshot(), before);
    // What is there is damaged on that disk: still it is not replaced.
    let spoilt = hashed("packs/cd/", b"right");
    behind.put(&spoilt, &[b"wrong"]).unwrap();
    assert_eq!(appender.put(&spoilt, &[b"right"]).unwrap_err().kind(), ErrorKind::Exists);

    // Whatever time a client claims, it was received when it was received.
    let mut received = 0;
    let mut each = |listed: plakar_store::Listed| {
        received = listed.received_ms;
        Ok(())
    };
    appender.list("log/19700101", &mut each).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    assert!((now - 60_000..=now).contains(&received), "{received}");

    let owner = open(&server, "", Some(&admin)).unwrap();
    assert!(!owner.capabilities().append_only);
    owner.put(&taking, &[b"gone"]).unwrap();
    owner.delete(&added).unwrap();
    owner.put(&name("keys/0123456789abcdef"), &[b"a key"]).unwrap();
}

#[test]
fn who_has_no_token_has_no_access() {
    let tickets = Tickets::default();
    let good = tickets.add(guest("good", Role::Admin), Some(1_000_001));
    let expired = tickets.add(guest("old", Role::Admin), Some(1_000_000));
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let server = Server::wanted(Wanted { tickets: tickets.clone(), ..Wanted::of(Some(store)) });
    for (token, said) in [
        (None, "a token is needed"),
        (Some(""), "not known"),
        (Some("0123"), "not known"),
        (Some(&expired[..]), "the token has expired"),
    ] {
        let e = open(&server, "", token).map(drop).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Denied, "{e}");
        assert!(e.to_string().starts_with("the server: ") && e.to_string().contains(said), "{e}");
    }
    for path in ["/v1/", "/v1/list?prefix=", "/v1/objects/config", "/metrics", "/", "/v2/", "/x/v1/"] {
        for method in ["GET", "PUT", "DELETE", "POST"] {
            assert_eq!(status(&ask(&server, method, path, "")), "403", "{method} {path}");
        }
    }
    for header in [
        format!("authorization: Basic {good}"),
        format!("authorization: {good}"),
        format!("authorization: Bearer {good}x"),
    ] {
        assert_eq!(status(&ask(&server, "GET", "/v1/", &format!("{header}\r\n"))), "403", "{header}");
    }
    assert_eq!(status(&ask(&server, "GET", "/v1/", &format!("authorization: bearer {good}\r\n"))), "200");
    let health = ask(&server, "GET", "/healthz", "");
    assert!(health.starts_with("HTTP/1.1 200") && health.ends_with("\r\n\r\nok\n"), "{health}");

    // Whoever is put out is out at once.
    let store = open(&server, "", Some(&good)).unwrap();
    assert!(tickets.0.lock().unwrap().remove("good"));
    assert_eq!(store.barrier().unwrap_err().kind(), ErrorKind::Denied);
}

#[test]
fn who_asks_for_somebody_else_needs_a_token() {
    let tickets = Tickets::default();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let server = Server::wanted(Wanted { tickets: tickets.clone(), ..Wanted::of(Some(store)) });
    let others =
        ["origin: http://127.0.0.1:9876", "x-forwarded-for: 203.0.113.1", "forwarded: for=x", "via: 1.1 x"];
    assert_eq!(status(&ask(&server, "POST", "/v1/barrier", "")), "204");
    for header in others {
        assert_eq!(status(&ask(&server, "POST", "/v1/barrier", &format!("{header}\r\n"))), "403", "{header}");
    }
    let token = tickets.add(guest("proxy", Role::Admin), None);
    for header in others {
        let headers = format!("{header}\r\nauthorization: Bearer {token}\r\n");
        assert_eq!(status(&ask(&server, "POST", "/v1/barrier", &headers)), "204", "{header}");
    }
}

#[test]
fn names_lead_to_one_repository_and_nowhere_else() {
    let here = |text: &[u8]| {
        let store = MemoryStore::new();
        store.put(&name("config"), &[text]).unwrap();
        Somewhere(Arc::new(Mutex::new(Some(Arc::new(store) as Arc<dyn Store>))))
    };
    let none = Somewhere(Arc::new(Mutex::new(None)));
    // Whatever names the place knows, those that lead somewhere are never asked for.
    let repositories =
        Several(vec![("one", here(b"1")), ("two", here(b"2")), ("new", none), ("..", here(b"3"))]);
    let tickets = Tickets::default();
    let all = tickets.add(guest("all", Role::Admin), None);
    let only = Guest { repository: Some("one".into()), ..guest("only", Role::Admin) };
    let only = tickets.add(only, None);
    let server = Server::wanted(Wanted { repositories, tickets, ..Wanted::of(None) });
    let config = |repository, token: &str| open(&server, repository, Some(token))?.get(&name("config"), 9);
    assert_eq!((config("one", &all).unwrap(), config("two", &all).unwrap()), (b"1".to_vec(), b"2".to_vec()));
    assert_eq!(config("one", &only).unwrap(), b"1");
    for (repository, token) in [("two", &only), ("", &only), ("", &all), ("three", &all), ("new", &all)] {
        assert_eq!(config(repository, token).unwrap_err().kind(), ErrorKind::NotFound, "{repository}");
    }
    let made = NetStore::create(server.named("new", Some(&all)), "new".into(), PATIENCE).unwrap();
    made.put(&name("config"), &[b"4"]).unwrap();
    assert_eq!(config("new", &all).unwrap(), b"4");
    let again = NetStore::create(server.named("one", Some(&all)), "one".into(), PATIENCE);
    assert_eq!(again.map(drop).unwrap_err().kind(), ErrorKind::Exists);
    let header = format!("authorization: Bearer {all}\r\n");
    for path in [
        "/../v1/objects/config",
        "/one/../../v1/objects/config",
        "/%2e%2e/v1/objects/config",
        "/one%2f..%2f../v1/objects/config",
        "//v1/objects/config",
        "/one//v1/objects/config",
        "/.hidden/v1/",
        "/one/v2/",
        "/one/",
        "/one",
        "/",
        "/..",
    ] {
        let answer = ask(&server, "GET", path, &header);
        assert_eq!(status(&answer), "404", "{path}: {answer}");
    }
    assert_eq!(status(&ask(&server, "GET", "/one/v1/objects/../../two", &header)), "400");
    let other = ask(&server, "GET", "/one/v2/", &header);
    assert!(
        other.contains("plakar-error: foreign") && other.contains("speaks plakar's protocol v1"),
        "{other}"
    );
}

#[test]
fn nobody_makes_a_repository_longer_than_it_may_be() {
    let behind = MemoryStore::new();
    let tickets = Tickets::default();
    let small = Guest { quota: Some(1000), ..guest("small", Role::Admin) };
    let (small, large) = (tickets.add(small, None), tickets.add(guest("large", Role::Admin), None));
    let wanted = Wanted::of(Some(Arc::new(behind.clone())));
    let server = Server::wanted(Wanted { tickets, quota: Some(2000), ..wanted });
    let (small, large) = (open(&server, "", Some(&small)).unwrap(), open(&server, "", Some(&large)).unwrap());
    small.put(&name("a"), &[&[1; 900]]).unwrap();
    let e = small.put(&name("b"), &[&[1; 101]]).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Full);
    assert_eq!(e.to_string(), "b: the quota of 1000 bytes is used up: no space left");
    large.put(&name("b"), &[&[1; 1100]]).unwrap();
    assert_eq!(large.put(&name("c"), &[&[1; 1]]).unwrap_err().kind(), ErrorKind::Full);
    assert_eq!(behind.snapshot().len(), 2);
    large.delete(&name("a")).unwrap();
    // Many at once do not get past it together.
    let stored = std::thread::scope(|scope| {
        let put = |n: usize| large.put(&name(&format!("c-{n}")), &[&[1; 100]]).is_ok();
        let all: Vec<_> = (0..30).map(|n| scope.spawn(move || put(n))).collect();
        all.into_iter().map(|one| one.join().unwrap()).filter(|done| *done).count()
    });
    assert_eq!(stored, 9, "900 bytes were left");
}

#[test]
fn each_request_is_written_down_and_counted() {
    let tickets = Tickets::default();
    let token = tickets.add(guest("laptop", Role::Admin), None);
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let server = Server::wanted(Wanted { tickets, ..Wanted::of(Some(store)) });
    let store = open(&server, "", Some(&token)).unwrap();
    store.put(&name("config"), &[&[7; 5000]]).unwrap();
    store.get(&name("config"), 9999).unwrap();
    store.get(&name("none"), 9).unwrap_err();
    open(&server, "", None).map(drop).unwrap_err();
    // It is told of once the answer is sent, which may be after it arrived.
    let began = Instant::now();
    while server.visits.0.lock().unwrap().len() < 5 && began.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(2));
    }
    let visits = server.visits.0.lock().unwrap().clone();
    let told: Vec<_> = visits
        .iter()
        .map(|visit| {
            let guest = visit.guest.as_deref().unwrap_or("-");
            format!("{guest} {} {} {} {}", visit.method, visit.path, visit.status, visit.received)
        })
        .collect();
    assert_eq!(
        told,
        [
            "laptop GET /v1/ 200 0",
            "laptop PUT /v1/objects/config 204 5000",
            "laptop GET /v1/objects/config 200 0",
            "laptop GET /v1/objects/none 404 0",
            "- GET /v1/ 403 0",
        ]
    );
    assert_eq!(visits[2].sent, 5000);
    assert!(visits.iter().all(|visit| visit.peer.ip().is_loopback() && visit.peer.port() > 0));
    let metrics = ask(&server, "GET", "/metrics", &format!("authorization: Bearer {token}\r\n"));
    for line in [
        "plakar_requests_total{status=\"200\"} 2",
        "plakar_requests_total{status=\"204\"} 1",
        "plakar_requests_total{status=\"403\"} 1",
        "plakar_requests_total{status=\"404\"} 1",
        "plakar_received_bytes_total 5000",
        "plakar_connections_total 3",
    ] {
        assert!(metrics.lines().any(|one| one == line), "{line}: {metrics}");
    }
    assert!(!metrics.contains(&token) && !format!("{visits:?}").contains(&token));
}

#[test]
fn whoever_has_nothing_more_to_say_still_gets_an_answer() {
    let behind = MemoryStore::new();
    behind.put(&name("config"), &[&[7; 3_000_000]]).unwrap();
    let server = Server::start(Arc::new(behind.clone()));
    let half_closed = |request: &[u8]| {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        stream.write_all(request).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    };
    let answer = half_closed(b"GET /v1/objects/config HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(answer.starts_with(b"HTTP/1.1 200") && answer.len() > 3_000_000, "{}", answer.len());
    // What broke off in the middle is not stored, whoever still listens.
    let hash = blake3::hash(&[b'x'; 99]);
    let begun = format!(
        "PUT /v1/objects/new HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\nplakar-blake3: {hash}\r\n\r\nxxx"
    );
    let answer = half_closed(begun.as_bytes());
    assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(behind.snapshot().len(), 1);
}
