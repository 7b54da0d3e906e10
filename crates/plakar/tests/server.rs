//! `plakar server`: repositories on a server, used with every command and by several clients, and what each may do there.

mod common;

use common::World;
use common::elsewhere::every_command;
use common::machine::{Machine, client};
use common::tree::{finish, noise};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

fn first_id(listed: &str) -> String {
    listed.split_whitespace().nth(1).unwrap().to_owned()
}

#[test]
fn every_command_works_on_a_repository_on_a_server() {
    let machine = Machine::start("");
    for (name, encrypted) in [("/home", true), ("/plain", false)] {
        let world = client(&machine, name);
        let there = format!("{}{name}", machine.url);
        every_command(&world, &there, &format!("{there}-copy"), encrypted);
        // Where it lies it is a repository as any other.
        let near = World::new().with("PLAKAR_PASSPHRASE", "a passphrase");
        let folder = machine.world.text(&format!("work/served{name}"));
        assert_eq!(near.ok(&format!("on {folder} ls")), world.ok("ls"));
    }
}

#[test]
fn one_repository_is_served_without_a_name() {
    let mut machine = Machine::of(World::new());
    machine.world.ok("create -no-encryption served");
    machine.run("127.0.0.1:0", "");
    let world = client(&machine, "");
    world.write("data/f", "content");
    world.ok("push data");
    assert_eq!(world.ok("ls").lines().count(), 1);
    world.fails("create -no-encryption", 1, "there is a repository already");
    world.fails(&format!("on {}/served ls", machine.url), 10, "there is no repository here");
    // One that is not there yet is made from far away.
    machine.stop();
    fs::remove_dir_all(machine.world.path("work/served")).unwrap();
    machine.run("127.0.0.1:0", "");
    let world = client(&machine, "");
    world.fails("ls", 10, "there is no repository here");
    world.ok("create -no-encryption");
    world.ok("ls");
}

#[test]
fn what_is_put_in_the_place_of_a_repository_is_served_from_then_on() {
    let machine = Machine::start("-quota 1M");
    let world = client(&machine, "/home");
    world.ok("create -no-encryption");
    world.write("data/f", noise(1, 700_000));
    world.ok("push data");
    let listed = world.ok("ls");
    let served = machine.world.path("work/served");
    machine.world.shell("cp -a served/home saved && rm -rf served/home").succeeded();
    world.fails("ls", 10, "there is no repository here");
    machine.world.shell("cp -a saved served/home").succeeded();
    assert_eq!(world.ok("ls"), listed);
    machine.world.shell("rm -rf served/home").succeeded();
    world.ok("create -no-encryption");
    assert_eq!(world.ok("ls"), "");
    world.ok("push data");
    assert_eq!(world.ok("check"), "");
    assert!(served.join("home/config").exists());
}

#[test]
fn what_is_no_repository_is_not_served() {
    let machine = Machine::start("");
    let served = machine.world.path("work/served");
    fs::create_dir(served.join("photos")).unwrap();
    fs::write(served.join("photos/summer"), "private").unwrap();
    // No listing shows this one.
    fs::create_dir(served.join("pictures")).unwrap();
    fs::write(served.join("pictures/Winter.jpg"), "private").unwrap();
    fs::write(served.join("notes"), "private").unwrap();
    machine.world.ok("create -no-encryption outside");
    std::os::unix::fs::symlink(machine.world.path("work/outside"), served.join("link")).unwrap();
    for name in ["photos", "notes", "link", "nothing"] {
        let world = client(&machine, &format!("/{name}"));
        world.fails("ls", 10, &machine.url);
        let answer = machine.get(&format!("/{name}/v1/objects/summer"), "");
        assert!(answer.starts_with("HTTP/1.1 404") && !answer.contains("private"), "{answer}");
        let listed = machine.get(&format!("/{name}/v1/list?prefix="), "");
        assert!(listed.starts_with("HTTP/1.1 404") && !listed.contains("summer"), "{listed}");
    }
    for name in ["photos", "pictures", "notes", "link"] {
        client(&machine, &format!("/{name}")).fails("create -no-encryption", 1, &machine.url);
        machine.world.fails(&format!("on outside clone {}/{name}", machine.url), 1, &machine.url);
    }
    assert_eq!(fs::read_dir(served.join("pictures")).unwrap().count(), 1);
    // What is left where a repository was to be made is in nobody's way.
    fs::create_dir(served.join("begun")).unwrap();
    fs::write(served.join("begun/.tmp-0123456789abcdef"), "").unwrap();
    machine.world.ok(&format!("on outside clone {}/begun", machine.url));
    assert_eq!(client(&machine, "/begun").ok("check"), "");
    assert_eq!(fs::read(served.join("photos/summer")).unwrap(), b"private");
}

#[test]
fn tokens_say_who_may_do_what() {
    let machine = Machine::start("");
    let mut world = client(&machine, "/home");
    world.write("data/f", "content");
    world.ok("create");
    world.ok("push data");
    let id = first_id(&world.ok("ls"));

    // From the first token on nobody comes without, though it listens on loopback only.
    let token = |words: &str| machine.token(words);
    let (read, append) = (token("-role read reader"), token("laptop"));
    let admin = token("-role admin owner");
    world.fails("ls", 1, "a token is needed");
    world.set("PLAKAR_TOKEN", "0123");
    world.fails("ls", 1, "the token is not known here");
    world.set("PLAKAR_TOKEN", &token("-expires 0 old"));
    world.fails("ls", 1, "the token has expired");
    world.set("PLAKAR_TOKEN", &token("-only elsewhere stranger"));
    world.fails("ls", 10, "there is no repository here");
    world.set("PLAKAR_TOKEN", "not \u{1} one");
    world.fails("ls", 1, "no token looks like that");

    world.set("PLAKAR_TOKEN", &read);
    assert_eq!(world.ok("ls").lines().count(), 1);
    assert_eq!(world.ok("check"), "");
    world.ok("clone copy");
    world.write("data/more", noise(1, 100_000));
    world.fails("push data", 1, "'reader' may only read");
    world.fails(&format!("rm {id}"), 1, "'reader' may only read");

    // Pushes and syncs, many of them, so that the log would be folded.
    world.set("PLAKAR_TOKEN", &append);
    for n in 0..12 {
        world.write("data/more", noise(n, 50_000));
        world.ok("push data");
    }
    world.write("data/third", "third");
    world.ok("on copy push data");
    world.ok(&format!("on copy sync {}/home", machine.url));
    assert_eq!(world.ok("check"), "");
    let listed = world.ok("ls");
    assert_eq!(listed.lines().count(), 14);
    for words in [
        format!("rm {id}"),
        "keep 1".to_owned(),
        "prune -keep-last 1 -min-age 0d".to_owned(),
        "cleanup -grace 0".to_owned(),
        "adopt".to_owned(),
        "key add -label more -new-keyfile key".to_owned(),
        format!("on {}/new create -no-encryption", machine.url),
    ] {
        world.write("key", "another passphrase");
        world.fails(&words, 1, "'laptop' may only append");
    }
    assert_eq!(world.ok("ls"), listed);
    assert_eq!(world.ok("check"), "");

    world.unset("PLAKAR_TOKEN");
    let file = world.write("token", format!("{}={admin}\nsomebody-elses", machine.address()));
    world.set("PLAKAR_TOKEN_FILE", file.to_str().unwrap());
    world.ok(&format!("rm {id}"));
    world.ok("keep 2");
    world.ok("cleanup -grace 0");
    assert_eq!(world.ok("ls").lines().count(), 2);
    assert_eq!(world.ok("check"), "");

    // What is kept of tokens lets nobody in, and who was removed is out.
    let listed = machine.world.ok("on served server token ls");
    assert_eq!(listed.lines().count(), 5, "{listed}");
    assert!(listed.starts_with("reader read\nlaptop append\nowner admin\n"), "{listed}");
    assert!(listed.contains("stranger append, only elsewhere\n"), "{listed}");
    let kept = machine.world.shell("cat ../home/.local/state/plakar/server/*/tokens").succeeded();
    let modes = machine.world.shell("stat -c %a ../home/.local/state/plakar/server/*/tokens").succeeded();
    assert_eq!(modes, "600\n");
    for token in [&read, &append, &admin] {
        assert!(!kept.contains(token.as_str()) && !listed.contains(token.as_str()));
        assert!(!machine.log().contains(token.as_str()));
    }
    machine.world.fails("on served server token add laptop", 1, "there is a token 'laptop' already");
    machine.world.fails("on served server token rm nobody", 1, "there is no token");
    machine.world.fails("on served server token add ../x", 2, "a name is up to 64");
    machine.world.ok("on served server token rm owner reader");
    world.fails("ls", 1, "the token is not known here");
    machine.world.ok("on served server token rm laptop old stranger");
    world.fails("ls", 1, "the token is not known here");
    world.unset("PLAKAR_TOKEN_FILE");
    world.fails("ls", 1, "a token is needed");
    assert!(machine.log().lines().any(|line| line.contains(" laptop PUT /home/v1/objects/packs/")));
    assert!(machine.log().lines().any(|line| line.contains(" - GET /home/v1/ 403 ")));
}

#[test]
fn others_than_this_machine_need_a_token() {
    let world = World::new();
    world.ok("create -no-encryption served");
    world.fails("on served server -listen 0.0.0.0:0", 1, "there is no token yet");
    world.fails("on served server -listen :0", 1, "there is no token yet");
    world.fails("on served server -listen nonsense", 2, "no address to listen on");
    world.fails("on served server -listen 203.0.113.1:1", 1, "203.0.113.1:1");
    world.fails("on http://example.org/x ls", 2, "not secret");
    world.fails("on http://token@localhost/x ls", 2, "a token comes from PLAKAR_TOKEN");
    world.fails("on http://localhost/../x ls", 2, "the name of its repository is none");
    world.fails("on http://127.0.0.1:1/x ls", 1, "127.0.0.1:1");
    world.fails("on plakar://127.0.0.1:1/x ls", 1, "127.0.0.1:1");
    world.fails("on plakar://127.0.0.1:x/x ls", 2, "no number of a port");
    // The name of a repository stands where another version of the protocol would.
    let machine = Machine::start("");
    world.fails(&format!("on {}/v2 ls", machine.url), 10, "this server speaks plakar's protocol v1");
}

/// The most memory that a process had, in MiB.
fn peak_mib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() >> 10
}

#[test]
fn what_comes_and_goes_is_not_held_in_memory() {
    const CLIENTS: usize = 32;
    const OBJECT: usize = 16 << 20;
    let machine = Machine::start("");
    client(&machine, "/home").ok("create -no-encryption");
    let process = machine.running.as_ref().unwrap().id();
    let bytes = noise(1, OBJECT);
    let hash = blake3::hash(&bytes);
    let ask = |method: &str, n: usize, headers: &str| {
        let mut stream = TcpStream::connect(machine.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let head = format!(
            "{method} /home/v1/objects/packs/ab/{n} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    let all_are_here = std::sync::Barrier::new(CLIENTS);
    std::thread::scope(|scope| {
        for n in 0..CLIENTS {
            let (all_are_here, bytes, ask) = (&all_are_here, &bytes, &ask);
            scope.spawn(move || {
                let said = format!("content-length: {OBJECT}\r\nplakar-blake3: {hash}\r\n");
                let mut stream = ask("PUT", n, &said);
                // Only a byte is missing of each, so all of them are on their way together.
                stream.write_all(&bytes[..OBJECT - 1]).unwrap();
                all_are_here.wait();
                stream.write_all(&bytes[OBJECT - 1..]).unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).unwrap();
                assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
            });
        }
    });
    let put = peak_mib(process);
    assert!(put < 128, "{put} MiB for {CLIENTS} objects of {} MiB", OBJECT >> 20);
    std::thread::scope(|scope| {
        for n in 0..CLIENTS {
            let (all_are_here, bytes, ask) = (&all_are_here, &bytes, &ask);
            scope.spawn(move || {
                let mut stream = ask("GET", n, "");
                let mut answer = vec![0; 100_000];
                stream.read_exact(&mut answer).unwrap();
                // Whoever has begun has yet to take the rest.
                all_are_here.wait();
                stream.read_to_end(&mut answer).unwrap();
                let end = &answer[answer.len() - 64..];
                assert!(answer.len() > OBJECT && end.windows(32).any(|some| *some == bytes[OBJECT - 32..]));
            });
        }
    });
    let got = peak_mib(process);
    assert!(got < 128, "{got} MiB");
    println!("{put} MiB, then {got} MiB");
}

#[test]
fn a_quota_is_kept_and_nothing_is_lost() {
    let machine = Machine::start("-quota 1M");
    let world = client(&machine, "/home");
    world.ok("create");
    world.write("data/small", "small");
    world.ok("push data");
    world.write("data/large", noise(1, 3_000_000));
    let ran = world.fails("push data", 1, "the quota of 1000000 bytes is used up");
    assert!(ran.err.contains("everything that was complete before is still there"), "{}", ran.err);
    assert_eq!(world.ok("ls").lines().count(), 1);
    assert_eq!(world.ok("check"), "");
    world.ok("cleanup -grace 0");
    fs::remove_file(world.path("work/data/large")).unwrap();
    world.write("data/other", "other");
    world.ok("push data");
    assert_eq!(world.ok("check"), "");
}

#[test]
fn a_full_disk_on_the_server_is_told_and_nothing_is_lost() {
    let mut machine = Machine::start("");
    let world = client(&machine, "/home");
    world.ok("create");
    world.write("data/small", "small");
    world.ok("push data");
    let address = machine.address().to_owned();
    machine.stop();
    // No file there may be longer than a megabyte: what is stored in larger ones fails as on a full disk.
    let line = format!("ulimit -f 1000; exec plakar on served server -quiet -listen {address}");
    let mut server =
        machine.world.command("bash").args(["-c", &line]).stdout(Stdio::piped()).spawn().unwrap();
    BufReader::new(server.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    machine.running = Some(server);
    world.write("data/large", noise(1, 3_000_000));
    let ran = world.fails("push data", 1, "no space left");
    assert!(ran.err.contains("everything that was complete before is still there"), "{}", ran.err);
    assert_eq!(world.ok("ls").lines().count(), 1);
    assert_eq!(world.ok("check"), "");
    machine.stop();
    machine.run(&address, "");
    world.ok("push data");
    assert_eq!(world.ok("check"), "");
    assert_eq!(world.ok("ls").lines().count(), 2);
}

#[test]
fn a_server_that_is_ended_and_started_again_ends_no_push() {
    let mut machine = Machine::start("");
    let world = client(&machine, "/home");
    world.ok("create -no-encryption");
    for n in 0..60 {
        world.write(&format!("data/{n}"), noise(n, 1 << 20));
    }
    let mut push = world.command(env!("CARGO_BIN_EXE_plakar")).args(["push", "data"]).spawn().unwrap();
    let (packs, began) = (machine.world.path("work/served/home/packs"), Instant::now());
    while fs::read_dir(&packs).map_or(0, Iterator::count) == 0 {
        assert!(began.elapsed() < Duration::from_secs(120), "nothing arrives");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(push.try_wait().unwrap().is_none(), "it ended before the server");
    let address = machine.address().to_owned();
    // Whoever has said nothing, or not all of it, is not waited for.
    let silent =
        ["", "\x16", "\x16\x03", "G", "GET /v1/ HTTP/1.1\r\nhos", "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"];
    let silent = silent.map(|beginning| {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(beginning.as_bytes()).unwrap();
        stream
    });
    std::thread::sleep(Duration::from_millis(100));
    machine.stop();
    drop(silent);
    machine.run(&address, "");
    assert!(finish(push, Duration::from_secs(120), "the push").status.success());
    assert_eq!(world.ok("check"), "");
    assert_eq!(world.ok("ls").lines().count(), 1);
}

#[test]
fn a_server_tells_how_it_does() {
    let machine = Machine::start("");
    let world = client(&machine, "/home");
    world.ok("create -no-encryption");
    let health = machine.get("/healthz", "");
    assert!(health.starts_with("HTTP/1.1 200 OK\r\n") && health.ends_with("ok\n"), "{health}");
    let metrics = machine.get("/metrics", "");
    let count = |name: &str| -> u64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name}: {metrics}")).parse().unwrap()
    };
    assert!(count("plakar_requests_total{status=\"204\"}") > 2 && count("plakar_received_bytes_total") > 100);
    assert!(count("plakar_connections_total") >= 3 && count("plakar_connections") >= 1);
    for others in ["origin: http://127.0.0.1", "x-forwarded-for: 203.0.113.1"] {
        assert!(machine.get("/metrics", &format!("{others}\r\n")).starts_with("HTTP/1.1 403"), "{others}");
    }
    let token = machine.token("-role read watcher");
    assert!(machine.get("/metrics", "").starts_with("HTTP/1.1 403"));
    assert!(machine.get("/healthz", "").starts_with("HTTP/1.1 200"));
    let header = format!("authorization: Bearer {token}\r\n");
    assert!(machine.get("/metrics", &header).starts_with("HTTP/1.1 200"));
    let log = machine.log();
    let line = log.lines().next().unwrap();
    let words: Vec<_> = line.split(' ').collect();
    assert_eq!(words.len(), 8, "{line}");
    assert!(words[0].ends_with('Z') && words[1].starts_with("127.0.0.1:"), "{line}");
}

#[test]
fn a_server_is_known_by_the_fingerprint_that_somebody_gave() {
    let mut machine = Machine::start("");
    let mut world = World::new();
    let (address, fingerprint) = (machine.address().to_owned(), machine.fingerprint.clone());
    world.set("PLAKAR_REPOSITORY", &format!("plakar://{address}/home"));
    let ran = world.fails("create -no-encryption", 1, "this server is not known yet");
    assert!(ran.err.contains(&format!("PLAKAR_FINGERPRINT={fingerprint}")), "{}", ran.err);
    world.set("PLAKAR_FINGERPRINT", "nonsense");
    world.fails("ls", 1, "not 64 hexadecimal digits");
    let other = "0".repeat(64);
    world.set("PLAKAR_FINGERPRINT", &other);
    world.fails("ls", 1, "this server is not known yet");
    world.fails("ls", 1, "this server is not known yet");
    assert!(
        !fs::exists(machine.world.path("work/log")).unwrap() || machine.log().is_empty(),
        "nothing was asked"
    );
    world.set("PLAKAR_FINGERPRINT", &format!("{other},{}", fingerprint.to_uppercase()));
    world.ok("create -no-encryption");
    world.unset("PLAKAR_FINGERPRINT");
    world.write("data/f", "content");
    world.ok("push data");
    assert_eq!(world.ok("check"), "");
    world.ok("clone here");

    // It keeps its certificate.
    machine.stop();
    machine.run(&address, "");
    assert_eq!(machine.fingerprint, fingerprint);
    world.ok("ls");
    let modes = machine.world.shell("stat -c %a ../home/.local/state/plakar/server/*/key").succeeded();
    assert_eq!(modes, "600\n");

    // Another is refused, as long as nobody says that it is the right one.
    machine.stop();
    machine.world.shell("rm ../home/.local/state/plakar/server/*/certificate").succeeded();
    machine.run(&address, "");
    let ran = world.fails("ls", 1, "the certificate has changed");
    assert!(ran.err.contains(&fingerprint) && ran.err.contains(&machine.fingerprint), "{}", ran.err);
    world.fails("push data", 1, "the certificate has changed");
    world.set("PLAKAR_FINGERPRINT", &machine.fingerprint);
    world.ok("ls");
    world.unset("PLAKAR_FINGERPRINT");
    world.ok("push data");
    machine.stop();
    machine.world.shell("echo x >$(echo ../home/.local/state/plakar/server/*/certificate)").succeeded();
    machine.world.fails("on served server -listen 127.0.0.1:0", 1, "certificate: ");
}

#[test]
fn a_certificate_that_is_given_is_shown_and_believed_if_somebody_vouches_for_it() {
    let machine = Machine::of(World::new());
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    machine.world.write("certificate.pem", made.cert.pem());
    machine.world.write("key.pem", made.signing_key.serialize_pem());
    let mut machine = machine;
    fs::create_dir(machine.world.path("work/served")).unwrap();
    machine.world.fails("on served server -certificate certificate.pem", 2, "-key");
    machine.world.fails(
        "on served server -listen 127.0.0.1:0 -certificate key.pem -key key.pem",
        1,
        "key.pem",
    );
    machine.run("127.0.0.1:0", "-certificate certificate.pem -key key.pem");
    let mut world = World::new();
    let address = machine.address().to_owned();
    let port = address.split_once(':').unwrap().1.to_owned();
    world.set("PLAKAR_REPOSITORY", &format!("https://{address}/home"));
    world.fails("create -no-encryption", 1, "https://127.0.0.1");
    assert!(!machine.world.path("work/served/home").exists());
    world.set("SSL_CERT_FILE", &machine.world.text("work/certificate.pem"));
    world.ok("create -no-encryption");
    world.write("data/f", "content");
    world.ok("push data");
    assert_eq!(world.ok(&format!("on https://localhost:{port}/home ls")), world.ok("ls"));
    // Somebody else's certificate.
    let other = rcgen::generate_simple_self_signed(["example.org".to_owned()]).unwrap();
    machine.world.write("certificate.pem", other.cert.pem());
    machine.world.write("key.pem", other.signing_key.serialize_pem());
    machine.stop();
    machine.run(&address, "-certificate certificate.pem -key key.pem");
    world.fails("ls", 1, "not valid for name");
}

#[test]
fn a_server_for_other_machines_is_spoken_with_by_tls_and_a_token_only() {
    let mut machine = Machine::of(World::new());
    fs::create_dir(machine.world.path("work/served")).unwrap();
    let token = machine.token("-role admin owner");
    machine.run("0.0.0.0:0", "");
    // Though this comes from the same machine.
    for request in ["GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = TcpStream::connect(machine.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer);
        let reset = ended.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset);
        assert!((ended.is_ok() || reset) && answer.is_empty(), "{ended:?} {answer:?}");
    }
    let mut world = client(&machine, "/home");
    world.fails("ls", 1, "http://127.0.0.1");
    world.set("PLAKAR_REPOSITORY", &format!("plakar://{}/home", machine.address()));
    world.set("PLAKAR_FINGERPRINT", &machine.fingerprint);
    world.fails("create", 1, "a token is needed");
    world.set("PLAKAR_TOKEN", &token);
    world.ok("create");
    world.write("data/f", noise(1, 1_000_000));
    world.ok("push data");
    world.ok("clone here");
    world.write("data/g", "more");
    world.ok("on here push data");
    world.ok("sync from here");
    assert_eq!(world.ok("check"), "");
    assert_eq!(world.ok("ls"), world.ok("on here ls"));
    assert!(!machine.log().contains(&token));
}
