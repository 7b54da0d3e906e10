//! Whoever answers or asks with anything: each is a clear error, and nothing grows, hangs or comes to harm.

mod servers;

use plakar_net::{Limits, NetStore, Tcp};
use plakar_store::{ErrorKind, MemoryStore, Name, Patience, ReadStore, Store};
use servers::{PATIENCE, Server, client};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// What a server answers to these bytes, over HTTP/1.1, until it closes the connection.
fn answer(server: &Server, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn ask(server: &Server, method: &str, path: &str, headers: &str, body: &[u8]) -> String {
    let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
    answer(server, &[head.as_bytes(), body].concat())
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[test]
fn a_server_refuses_what_is_no_request() {
    let behind = MemoryStore::new();
    behind.put(&name("config"), &[b"what is there"]).unwrap();
    let server = Server::with(
        Some(Arc::new(behind.clone())),
        Limits { idle: Duration::from_secs(1), ..Limits::default() },
    );
    let before = behind.snapshot();
    let hash = blake3::hash(b"12345").to_string();
    let other = blake3::hash(b"other").to_string();
    let put = |len: &str, hash: &str| format!("content-length: {len}\r\nplakar-blake3: {hash}\r\n");
    for (method, path, headers, body, expected) in [
        ("GET", "/v1", String::new(), &b""[..], "200"),
        ("GET", "/v1/objects/config", String::new(), b"", "200"),
        ("GET", "/v1/objects/none", String::new(), b"", "404"),
        // Names that are none, on the way out of the store above all.
        ("GET", "/v1/objects/../config", String::new(), b"", "400"),
        ("GET", "/v1/objects/%2e%2e/config", String::new(), b"", "400"),
        ("GET", "/v1/objects//etc/passwd", String::new(), b"", "400"),
        ("GET", "/v1/objects/", String::new(), b"", "400"),
        ("DELETE", "/v1/objects/a.tmp", String::new(), b"", "400"),
        ("GET", "/v1/list?prefix=../", String::new(), b"", "400"),
        ("GET", "/v1/list", String::new(), b"", "400"),
        ("POST", "/v1/state", "content-length: 4\r\n".into(), b"log/", "400"),
        ("POST", "/v1/state", "content-length: 4\r\n".into(), b"../\n", "400"),
        ("PATCH", "/v1/objects/config", String::new(), b"", "400"),
        ("POST", "/v1/nothing", String::new(), b"", "400"),
        ("GET", "/v2/objects/config", String::new(), b"", "404"),
        ("GET", "/", String::new(), b"", "404"),
        // Objects that are not what is said of them.
        ("PUT", "/v1/objects/new", put("5", "no hash"), b"12345", "400"),
        (
            "PUT",
            "/v1/objects/new",
            format!("plakar-blake3: {hash}\r\ntransfer-encoding: chunked\r\n"),
            b"5\r\n12345\r\n0\r\n\r\n",
            "400",
        ),
        ("PUT", "/v1/objects/new", put("5", &other), b"12345", "500"),
        ("PUT", &format!("/v1/objects/packs/ab/{other}"), put("5", &hash), b"12345", "500"),
        ("PUT", "/v1/objects/new", put("300000000", &hash), b"12345", "413"),
        ("PUT", "/v1/objects/config", put("5", &hash), b"12345", "409"),
        ("POST", "/v1/ranges", "content-length: 7\r\n".to_owned(), b"0 1 A\n\n", "400"),
        ("POST", "/v1/ranges", "content-length: 2000000\r\n".to_owned(), &[b'0'; 2_000_000], "413"),
    ] {
        let got = ask(&server, method, path, &headers, body);
        assert_eq!(status(&got), expected, "{method} {path} {headers}: {got}");
        let known = got.to_lowercase().contains("plakar-error: ");
        assert_eq!(known, expected != "200", "{method} {path}: {got}");
        assert_eq!(behind.snapshot(), before, "{method} {path}");
    }
    assert_eq!(answer(&server, b"nonsense\r\n\r\n").get(..12), Some("HTTP/1.1 400"));
    assert_eq!(status(&ask(&server, "PUT", "/v1/objects/new", &put("5", &hash), b"12345")), "204");
    assert_eq!(behind.get(&name("new"), 9).unwrap(), b"12345");
}

#[test]
fn a_server_gives_up_whoever_is_too_slow_and_serves_the_others() {
    let limits = Limits { idle: Duration::from_millis(300), memory: 0 };
    let server = Server::with(Some(Arc::new(MemoryStore::new())), limits);
    let hash = blake3::hash(b"x");
    let began = Instant::now();
    let beginnings: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"P".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"GET /v1 HTTP/1.1\r\nhos".to_vec(),
        format!(
            "PUT /v1/objects/a HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\nplakar-blake3: {hash}\r\n\r\nsome"
        )
        .into_bytes(),
    ];
    let slow: Vec<_> = (0..200)
        .map(|n| {
            let mut stream = TcpStream::connect(&server.address).unwrap();
            stream.write_all(&beginnings[n % beginnings.len()]).unwrap();
            stream
        })
        .collect();
    let store = client(server.tcp());
    store.put(&name("config"), &[&vec![7; 1 << 20]]).unwrap();
    assert_eq!(store.get(&name("config"), 2 << 20).unwrap().len(), 1 << 20);
    for (n, mut stream) in slow.into_iter().enumerate() {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        let reset = ended.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset);
        assert!(ended.is_ok() || reset, "connection {n} is still open: {ended:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn two_hundred_clients_at_once_are_served() {
    let behind = MemoryStore::new();
    let server = Server::start(Arc::new(behind.clone()));
    std::thread::scope(|scope| {
        for n in 0..200 {
            let server = &server;
            scope.spawn(move || {
                let store = client(server.tcp());
                let own = name(&format!("log/{n}"));
                store.put(&own, &[&vec![n as u8; 10_000]]).unwrap();
                store.put(&name("config"), &[b"all the same"]).unwrap();
                assert_eq!(store.get(&own, 1 << 20).unwrap(), vec![n as u8; 10_000]);
            });
        }
    });
    assert_eq!(behind.snapshot().len(), 201);
}

/// A server of HTTP/2 that answers everything alike, whatever was asked.
fn answers(status: u16, headers: &'static [(&'static str, &'static str)], body: Vec<u8>) -> String {
    use http_body_util::Full;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let body = body.clone();
                let service =
                    hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                        let mut answer = hyper::Response::builder().status(status);
                        // The hello is as it should be.
                        let hello = request.uri().path() == "/v1/" && status == 200;
                        for (name, value) in headers {
                            answer = answer.header(*name, *value);
                        }
                        let body = if hello { Vec::new() } else { body.clone() };
                        let answer = answer.body(Full::new(bytes::Bytes::from(body)));
                        async move { answer }
                    });
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
            }
        });
    });
    address
}

fn open(address: &str) -> plakar_store::Result<NetStore> {
    let patience = Patience { idle: Duration::from_secs(5), retries: Duration::from_millis(300) };
    NetStore::open(Box::new(Tcp(address.to_owned())), "it".into(), patience)
}

#[test]
fn who_is_no_server_of_ours_is_told_apart() {
    // A page that is not there is no object that is not there.
    for (status, headers, kind, said) in [
        (200, &[][..], ErrorKind::Foreign, "no server of plakar's"),
        (404, &[], ErrorKind::Foreign, "404"),
        (302, &[("location", "http://elsewhere/")], ErrorKind::Foreign, "302"),
        (401, &[], ErrorKind::Foreign, "401"),
        (503, &[], ErrorKind::Io, "503"),
        (404, &[("plakar-error", "not-found")], ErrorKind::NotFound, "it"),
        (404, &[("plakar-error", "nonsense")], ErrorKind::Foreign, "404"),
        // Of another version: what it says of itself.
        (404, &[("plakar-error", "foreign")], ErrorKind::Foreign, "it: text"),
        (403, &[("plakar-error", "denied")], ErrorKind::Denied, "it: text: permission denied"),
        (507, &[("plakar-error", "full")], ErrorKind::Full, "it: text: no space left"),
    ] {
        let e = open(&answers(status, headers, b"text".to_vec())).map(drop).unwrap_err();
        assert_eq!(e.kind(), kind, "{status}: {e}");
        assert!(e.to_string().contains(said), "{status}: {e}");
    }
    // Nobody, nothing, something else.
    assert_eq!(open("127.0.0.1:1").map(drop).unwrap_err().kind(), ErrorKind::Io);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n");
        }
    });
    assert_eq!(open(&address).map(drop).unwrap_err().kind(), ErrorKind::Io);
}

#[test]
fn a_server_that_lies_is_not_believed() {
    const YES: (&str, &str) = ("plakar-strong-list", "yes");
    const SHORT: &[(&str, &str)] = &[YES, ("plakar-length", "9")];
    const LONG: &[(&str, &str)] = &[YES, ("plakar-length", "3")];
    const HUGE: &[(&str, &str)] = &[YES, ("plakar-length", "18446744073709551615")];
    const NONE: &[(&str, &str)] = &[YES];
    let config = name("config");
    let get = |headers, body: &[u8]| {
        let store = open(&answers(200, headers, body.to_vec())).unwrap();
        store.get(&config, 100).map_err(|e| e.kind())
    };
    assert_eq!(get(LONG, b"abc"), Ok(b"abc".to_vec()));
    assert_eq!(get(SHORT, b"abc"), Err(ErrorKind::Io), "it ends early");
    assert_eq!(get(LONG, b"abcd"), Err(ErrorKind::Io), "it does not end");
    assert_eq!(get(HUGE, b"abc"), Err(ErrorKind::TooLarge));
    assert_eq!(get(NONE, b"abc"), Err(ErrorKind::Io));
    let range = |body: &[u8]| {
        let store = open(&answers(200, NONE, body.to_vec())).unwrap();
        store.get_range(&config, 0, 3).map_err(|e| e.kind())
    };
    assert_eq!(range(b"\0abc"), Ok(b"abc".to_vec()));
    assert_eq!(range(b"\x01\x02\0no"), Err(ErrorKind::NotFound));
    for body in [&b""[..], b"\0ab", b"\0abcd", b"\x01", b"\x01\xff\xffx", b"\x0a\0\0", b"\xff"] {
        assert_eq!(range(body), Err(ErrorKind::Io), "{body:?}");
    }
    let list = |body: &[u8]| {
        let store = open(&answers(200, NONE, body.to_vec())).unwrap();
        let mut names = Vec::new();
        let mut add = |one: plakar_store::Listed| {
            names.push(one.name.to_string());
            Ok(())
        };
        store.list("log/", &mut add).map_err(|e| e.kind())?;
        Ok(names)
    };
    assert_eq!(list(b"end 0\n"), Ok(Vec::<String>::new()));
    assert_eq!(list(b"1 2 log/a\nend 1\n"), Ok(vec!["log/a".to_owned()]));
    let endless = [b'1'; 1 << 20];
    for body in [
        &b""[..],
        b"1 2 log/a\n",
        b"1 2 log/a\nend 2\n",
        b"1 2 log/a\nend 1",
        b"1 2 log/a\nend 1\nmore",
        b"1 2 packs/a\nend 1\n",
        b"1 2 log/../a\nend 1\n",
        b"log/a\nend 1\n",
        &endless,
    ] {
        assert_eq!(
            list(body),
            Err(ErrorKind::Io),
            "{}",
            String::from_utf8_lossy(&body[..body.len().min(40)])
        );
    }
    let known = plakar_store::Listed { name: name("log/b"), len: 1, received_ms: 2 };
    let state = |body: &[u8]| {
        let store = open(&answers(200, NONE, body.to_vec())).unwrap();
        let told = store.list_at_once(&["admin/", "log/"], std::slice::from_ref(&known));
        let names = |all: Vec<plakar_store::Listed>| {
            all.into_iter().map(|one| one.name.to_string()).collect::<Vec<_>>()
        };
        told.map(|told| names(told.unwrap())).map_err(|e| e.kind())
    };
    let told = |names: &[&str]| Ok(names.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(state(b"all\nend 0\nall\nend 0\n"), told(&[]));
    assert_eq!(state(b"all\nend 0\nafter\nend 0\n"), told(&["log/b"]));
    assert_eq!(
        state(b"all\n1 2 admin/a\nend 1\nafter\n1 2 log/c\nend 1\n"),
        told(&["admin/a", "log/b", "log/c"])
    );
    for body in [
        &b""[..],
        b"all\nend 0\n",
        b"all\nend 0\nall\nend 0\nall\nend 0\n",
        b"end 0\nend 0\n",
        b"all\nend 0\nsome\nend 0\n",
        b"all\nend 0\nafter\n1 2 log/a\nend 1\n",
        b"all\nend 0\nafter\n1 2 log/b\nend 1\n",
        b"all\nend 0\nafter\n1 2 admin/c\nend 1\n",
        b"all\n1 2 log/c\nend 1\nall\nend 0\n",
        b"all\n1 2 admin/a\n1 2 admin/a\nend 2\nall\nend 0\n",
        b"all\n1 2 admin/b\n1 2 admin/a\nend 2\nall\nend 0\n",
        b"all\n1 2 admin/a\nend 2\nall\nend 0\n",
    ] {
        assert_eq!(state(body), Err(ErrorKind::Io), "{}", String::from_utf8_lossy(body));
    }
    // What changes something is done only if it is said to be done.
    let store = open(&answers(200, NONE, Vec::new())).unwrap();
    store.put(&config, &[b"x"]).unwrap();
    let store = NetStore::create(
        Box::new(Tcp(answers(409, &[("plakar-error", "exists")], Vec::new()))),
        "it".into(),
        PATIENCE,
    );
    assert_eq!(store.map(drop).unwrap_err().kind(), ErrorKind::Exists);
}
