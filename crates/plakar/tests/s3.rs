//! Repositories in a bucket, on a real S3 server that proves signatures: every command, what goes wrong, copies that go
//! round, and many clients at once.

mod common;

use common::World;
use common::copies::{json, lines};
use common::tree::{finish, noise};
use plakar_store::{DirStore, ReadStore};
use plakar_testkit_s3::{ACCESS_KEY, Fault, SECRET_KEY, Server};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A server with a bucket, and where it keeps it.
struct Cloud {
    server: Server,
    folder: tempfile::TempDir,
}

impl Cloud {
    fn new() -> Cloud {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path());
        server.make_bucket("bucket");
        Cloud { server, folder }
    }

    /// Somebody who may use it, and has a repository in mind.
    fn client(&self, repository: &str) -> World {
        World::new()
            .with("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .with("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .with("AWS_ENDPOINT_URL", &self.server.endpoint())
            .with("PLAKAR_REPOSITORY", repository)
            .with("PLAKAR_PASSPHRASE", "a passphrase")
    }

    /// Where the objects of a repository lie, which is a repository in a folder as well.
    fn beneath(&self, prefix: &str) -> PathBuf {
        self.folder.path().join("bucket").join(prefix)
    }

    fn bytes(&self, prefix: &str) -> u64 {
        objects(self.beneath(prefix)).values().map(|bytes| bytes.len() as u64).sum()
    }
}

/// All that a copy has in common with its original, by name.
fn objects(folder: PathBuf) -> BTreeMap<String, Vec<u8>> {
    let (store, mut all) = (DirStore::open(folder).unwrap(), BTreeMap::new());
    let each = &mut |listed: plakar_store::Listed| {
        if listed.name.as_str() != "replica" {
            all.insert(listed.name.to_string(), store.get(&listed.name, usize::MAX)?);
        }
        Ok(())
    };
    store.list("", each).unwrap();
    all
}

fn first_id(listed: &str) -> String {
    listed.split_whitespace().nth(1).unwrap().to_owned()
}

#[test]
fn every_command_works_on_a_repository_in_a_bucket() {
    let cloud = Cloud::new();
    for (name, encrypted) in [("s3://bucket/home", true), ("s3://bucket/a/plain", false)] {
        let world = cloud.client(name);
        world.fails("ls", 10, "there is no repository here");
        world.ok(if encrypted { "create" } else { "create -no-encryption" });
        world.fails("create", 1, "there is a repository already");
        world.write("data/one", vec![1; 300_000]);
        world.write("data/two", "two");
        world.ok("push data");
        let listed = world.ok("ls");
        let id = first_id(&listed);
        assert_eq!(world.ok(&format!("cat {id}:{}/two", world.text("work/data"))), "two");
        assert_eq!(world.ok("check"), "");
        world.ok(&format!("pull -path out {id}"));
        let restored = world.path("work/out").join(world.text("work/data").trim_start_matches('/'));
        assert_eq!(fs::read(restored.join("one")).unwrap(), vec![1; 300_000]);
        let told = json(&world.ok("-json info"));
        assert_eq!((&told["location"], &told["pack_bytes"]), (&name.into(), &(16 << 20).into()));

        world.ok("clone here");
        assert_eq!(world.ok("on here ls"), listed);
        world.ok(&format!("on here clone {name}-copy"));
        assert_eq!(world.ok(&format!("on {name}-copy check")), "");
        world.write("data/three", "three");
        world.ok("on here push data");
        world.ok(&format!("on here sync {name}"));
        assert_eq!(world.ok("ls"), world.ok("on here ls"));
        world.ok(&format!("sync {name}-copy"));
        assert_eq!(world.ok(&format!("on {name}-copy ls")), world.ok("ls"));
        world.ok(&format!("clone {name}-other"));
        world.ok(&format!("clone -update {name}-other"));
        world.ok("status here");
        world.ok(&format!("rm {id}"));
        world.ok(&format!("undelete {id}"));
        world.ok(&format!("rm {id}"));
        world.ok("cleanup -grace 0");
        world.ok("repair");
        world.ok("prune -keep-last 1 -min-age 0d");
        assert_eq!(world.ok("check"), "");
        assert_eq!(world.ok("ls").lines().count(), 1);
        // As files it is a repository as any other.
        let near = World::new().with("PLAKAR_PASSPHRASE", "a passphrase");
        let folder = cloud.beneath(name.strip_prefix("s3://bucket/").unwrap());
        assert_eq!(near.ok(&format!("on {} ls", folder.display())), world.ok("ls"));
    }
}

#[test]
fn what_is_wrong_is_told_and_no_secret_is() {
    let cloud = Cloud::new();
    let mut world = cloud.client("s3://bucket/x");
    world.ok("create");
    world.write("data/f", "content");
    world.ok("push data");
    fs::create_dir(cloud.beneath("other")).unwrap();
    fs::write(cloud.beneath("other/file"), "precious").unwrap();
    let mut said = String::new();
    let mut fails = |world: &World, words: &str, code: i32, what: &str| {
        let began = Instant::now();
        let ran = world.fails(words, code, what);
        assert!(began.elapsed() < Duration::from_secs(20), "{words}: {ran:?}");
        said += &format!("{}{}", ran.out, ran.err);
    };
    fails(&world, "on s3://bucket/y ls", 10, "s3://bucket/y: there is no repository here");
    fails(&world, "on s3://nothing/y ls", 10, "s3://nothing/y: the bucket nothing is missing");
    fails(&world, "create s3://nothing/y", 1, "s3://nothing/y: the bucket nothing is missing");
    fails(&world, "clone s3://nothing/y", 1, "make it with what the service has for it");
    fails(&world, "create s3://bucket/other", 1, "something else is there");
    fails(&world, "clone s3://bucket/other", 1, "something else is there");
    fails(&world, "clone s3://bucket/x", 1, "there is a repository already");
    fails(&world, "clone s3://bucket/x/packs/copy", 1, "lies in the repository itself");
    fails(&world, "clone s3://bucket/n s3://bucket/n/", 2, "named twice");
    // Names and options.
    fails(&world, "on s3://AKKEY:sesame@bucket/x ls", 2, "no credentials are named there");
    fails(&world, "on s3:// ls", 2, "it does not name a bucket");
    fails(&world, "on s3://bucket/../x ls", 2, "what stands behind the bucket");
    fails(&world, "-store-option regoin=x ls", 2, "unknown option: regoin; there are endpoint, region");
    fails(&world, "-store-option path-style=perhaps ls", 2, "must be yes or no");
    let ran =
        world.fails("-store-option secret-access-key=open-sesame ls", 2, "no credentials are named there");
    assert!(!ran.err.contains("open-sesame"), "{ran:?}");
    #[cfg(not(feature = "azblob"))]
    fails(&world, "on azblob://c/x ls", 1, "was built without azblob://: its feature 'azblob' is off");
    // Who somebody is.
    let right = world.ok("ls");
    world.set("AWS_SECRET_ACCESS_KEY", "another-secret-that-is-wrong");
    fails(&world, "ls", 1, "SignatureDoesNotMatch");
    fails(&world, "push data", 1, "permission denied");
    world.set("AWS_ACCESS_KEY_ID", "NOBODYNOBODYNOBODY");
    fails(&world, "ls", 1, "s3://bucket/x: ");
    fails(&world, "create s3://bucket/z", 1, "s3://bucket/z: ");
    fails(&world, "-store-option anonymous=yes ls", 1, "AccessDenied");
    world.unset("AWS_ACCESS_KEY_ID");
    world.unset("AWS_SECRET_ACCESS_KEY");
    fails(&world, "ls", 1, "no credentials were found; they come from AWS_ACCESS_KEY_ID");
    // What is in a file of the user's, by profile.
    let text = format!("[work]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n");
    fs::create_dir(world.path("home/.aws")).unwrap();
    fs::write(world.path("home/.aws/credentials"), text).unwrap();
    assert_eq!(world.ok("-store-option profile=work ls"), right);
    world.set("AWS_PROFILE", "work");
    assert_eq!(world.ok("ls"), right);
    // Nobody is there.
    fails(&world, "-store-option endpoint=http://127.0.0.1:1 ls", 1, "cannot be reached");
    assert_eq!(world.ok("check"), "", "nothing was lost");
    assert_eq!(fs::read(cloud.beneath("other/file")).unwrap(), b"precious");
    for secret in [SECRET_KEY, "another-secret-that-is-wrong"] {
        assert!(!said.contains(secret), "{said}");
    }
}

#[test]
fn a_service_is_believed_whose_certificate_somebody_vouches_for() {
    let folder = tempfile::tempdir().unwrap();
    let (server, certificate) = Server::start_with_tls(folder.path());
    server.make_bucket("bucket");
    let mut world = World::new()
        .with("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .with("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .with("AWS_ENDPOINT_URL", &server.endpoint_by_name())
        .with("PLAKAR_REPOSITORY", "s3://bucket/home");
    // Nobody vouches for it: told at once, though what is cut off is tried again for a minute and more.
    let refused = |world: &World, command: &str, why: &str| {
        let (before, began) = (server.connections(), Instant::now());
        let told = world.fails(command, 1, "invalid peer certificate").err;
        assert!(told.contains(why) && told.contains("s3://bucket/home"), "{told}");
        let (tries, took) = (server.connections() - before, began.elapsed());
        assert!((1..=3).contains(&tries) && took < Duration::from_secs(30), "{tries} in {took:?}");
    };
    for command in ["create -no-encryption", "ls"] {
        refused(&world, command, "UnknownIssuer");
    }
    world.write("certificate.pem", &certificate);
    world.set("SSL_CERT_FILE", &world.text("work/certificate.pem"));
    world.ok("create -no-encryption");
    world.write("data/f", noise(1, 300_000));
    world.ok("push data");
    assert_eq!(world.ok("ls").lines().count(), 1);
    assert_eq!(world.ok("check"), "");
    // It is somebody else by that name.
    world.set("AWS_ENDPOINT_URL", &server.endpoint());
    server.asked();
    for command in ["ls", "push data", "create -no-encryption"] {
        refused(&world, command, "not valid for name");
    }
    let asked = server.asked();
    assert!(asked.is_empty(), "it was sent nothing: {asked:?}");
    world.set("AWS_ENDPOINT_URL", &server.endpoint_by_name());
    assert_eq!(world.ok("ls").lines().count(), 1);
    world.unset("SSL_CERT_FILE");
    refused(&world, "ls", "UnknownIssuer");
}

#[test]
fn a_configuration_says_where_each_service_is() {
    let (one, two) = (Cloud::new(), Cloud::new());
    let mut world = one.client("@one");
    world.unset("AWS_ENDPOINT_URL");
    let text = |name: &str, cloud: &Cloud| {
        let endpoint = cloud.server.endpoint();
        format!(
            "[repositories.{name}]\nlocation = 's3://bucket/x'\noptions = {{ endpoint = '{endpoint}', region = 'r' }}\n"
        )
    };
    fs::create_dir_all(world.path("home/.config/plakar")).unwrap();
    let file = world.path("home/.config/plakar/config.toml");
    fs::write(&file, text("one", &one) + &text("two", &two)).unwrap();
    world.ok("config check");
    world.ok("create");
    world.write("data/f", "content");
    world.ok("push data");
    // A bucket of the same name with another service is another place.
    world.ok("clone @two");
    world.ok("on @two push data");
    assert_eq!((world.uuids_on("@one").len(), world.uuids_on("@two").len()), (1, 2));
    world.ok("sync with @two");
    assert_eq!(world.uuids_on("@one"), world.uuids_on("@two"));
    // What is written for one repository comes before a flag; a name may say it too.
    assert_eq!(world.ok("-store-option endpoint=http://127.0.0.1:1 ls"), world.ok("ls"));
    let named = format!("s3://bucket/x?endpoint={}", two.server.endpoint());
    assert_eq!(world.ok(&format!("on {named} ls")), world.ok("on @two ls"));
    world.fails(&format!("on @one sync {named} @two"), 2, "named twice");
    fs::write(&file, text("one", &one).replace("region", "regoin")).unwrap();
    world.fails("config check", 2, "config.toml:3: options: unknown option: regoin");
}

#[test]
fn an_unchanged_push_reads_no_tree_and_asks_for_little() {
    let cloud = Cloud::new();
    let world = cloud.client("s3://bucket/x");
    world.ok("create");
    for n in 0..200 {
        world.write(&format!("data/{}/{n}", n % 40), noise(n, 3_000));
    }
    world.ok("push data");
    // Files that were changed just now are not believed to be unchanged, and the folders above belong to all.
    let is_unchanged = |_: &i32| {
        std::thread::sleep(Duration::from_millis(300));
        world.ok("push data");
        world.ok("push data");
        cloud.server.asked();
        let ran = world.line("-json -trace push data");
        let asked = cloud.server.asked();
        let read = asked
            .iter()
            .filter(|request| request.what.starts_with("GET ") && request.what.contains("/packs/"))
            .count();
        let told = json(ran.err.lines().last().unwrap())["trace"].take();
        let pushed = json(ran.out.lines().last().unwrap());
        let is_it = read == 0 && pushed["files_read"] == 0;
        if is_it {
            // How many facts there are to be read depends on those who wrote before.
            let others =
                asked.iter().filter(|request| !request.what.starts_with("GET /bucket/x/log/")).count();
            assert!(others < 40 && told["range"].as_u64() < Some(10), "{told} {asked:#?}");
        }
        is_it
    };
    assert!((0..40).any(|n| is_unchanged(&n)));
    cloud.server.asked();
    world.ok("-no-cache push data");
    let asked = cloud.server.asked();
    assert!(
        asked.iter().any(|request| request.what.starts_with("GET ") && request.what.contains("/packs/")),
        "without it it is read"
    );
}

#[test]
fn a_copy_that_went_round_is_equal_to_the_first() {
    let cloud = Cloud::new();
    let mut world = cloud.client("first");
    world.ok("create");
    world.write("data/one", noise(1, 700_000));
    world.ok("push data");
    world.write("data/two", "two");
    world.ok("push data");
    let listed = world.ok("ls");
    // Nobody needs a passphrase for it.
    world.unset("PLAKAR_PASSPHRASE");
    fs::create_dir(world.path("work/served")).unwrap();
    let mut command = world.command(env!("CARGO_BIN_EXE_plakar"));
    command.args(["on", "served", "server", "-listen", "127.0.0.1:0", "-log", "log"]).stdout(Stdio::piped());
    let mut serving = command.spawn().unwrap();
    let mut said = BufReader::new(serving.stdout.take().unwrap()).lines();
    let address = said.next().unwrap().unwrap().replace("plakar://", "http://");
    let ring = ["first", "s3://bucket/ring", "sqlite://ring.db", &format!("{address}/ring"), "last"];
    for pair in ring.windows(2) {
        world.ok(&format!("on {} clone {}", pair[0], pair[1]));
    }
    let first = objects(world.path("work/first"));
    assert!(first.len() > 5 && first.contains_key("config"));
    assert_eq!(objects(cloud.beneath("ring")), first);
    assert_eq!(objects(world.path("work/last")), first);
    world.set("PLAKAR_PASSPHRASE", "a passphrase");
    for place in ring {
        assert_eq!(world.ok(&format!("on {place} ls")), listed, "{place}");
        world.ok(&format!("on {place} check"));
    }
    // And any two of them are brought together.
    for (n, pair) in ring.windows(2).enumerate() {
        world.write("data/new", format!("new {n}"));
        world.ok(&format!("on {} push data", pair[0]));
        world.ok(&format!("on {} sync with {}", pair[1], pair[0]));
        assert_eq!(world.uuids_on(pair[0]), world.uuids_on(pair[1]));
    }
    let told = world.ok(&format!("-json on {} sync {}", ring[3], ring[1]));
    assert!(!told.is_empty());
    serving.kill().unwrap();
    serving.wait().unwrap();
}

#[test]
fn ten_clients_push_at_once_while_a_cleanup_runs() {
    const SHARED: u64 = 3_000_000;
    let cloud = Cloud::new();
    let base = cloud.client("s3://bucket/x");
    base.ok("create");
    base.write("data/junk", noise(99, 1_000_000));
    base.ok("push data");
    let junk = base.uuids();
    base.write("data/junk", "");
    base.write("data/shared", noise(7, SHARED as usize));
    base.ok("push data");
    base.ok(&format!("rm {}", junk[0]));
    let before = cloud.bytes("x");

    let clients: Vec<_> = (0..10).map(|_| cloud.client("s3://bucket/x")).collect();
    for (n, client) in clients.iter().enumerate() {
        client.write("data/shared", noise(7, SHARED as usize));
        client.write("data/own", noise(100 + n as u64, 50_000));
    }
    let plakar = |world: &World, words: &[&str]| {
        let mut command = world.command(env!("CARGO_BIN_EXE_plakar"));
        command.args(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    cloud.server.asked();
    let mut running: Vec<_> = clients.iter().map(|client| plakar(client, &["push", "data"])).collect();
    let mut cleanups = 0;
    while running.iter_mut().any(|push| push.try_wait().unwrap().is_none()) {
        let done = finish(plakar(&base, &["cleanup"]), Duration::from_secs(120), "a cleanup");
        assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
        cleanups += 1;
    }
    for push in running {
        let done = finish(push, Duration::from_secs(120), "a push");
        assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    }
    assert!(cleanups > 0 && cloud.server.asked().iter().any(|request| request.what.starts_with("DELETE ")));
    assert_eq!(base.ok("ls").lines().count(), 11);
    assert_eq!(base.ok("check"), "");
    for (n, client) in clients.iter().enumerate() {
        let id = client.uuids().into_iter().find(|id| {
            let own = client.run(["cat", &format!("{id}:{}", client.text("work/data/own"))]);
            own.code == 0 && own.bytes == noise(100 + n as u64, 50_000)
        });
        assert!(id.is_some(), "the snapshot of client {n}");
    }
    // What is shared was stored before, and is not stored by each of them.
    let after = cloud.bytes("x");
    assert!(after < before + SHARED, "{before} before, {after} after: ten times {SHARED} are shared");
}

#[test]
fn a_clone_that_was_cut_short_is_completed_by_the_same_command() {
    let cloud = Cloud::new();
    let world = cloud.client("near");
    world.ok("create -no-encryption");
    world.write("data/f", noise(1, 400_000));
    world.ok("push data");
    // Denied is final: it ends there.
    cloud.server.plan("PUT", Fault::Answer(403, "AccessDenied"), 1);
    world.fails("clone s3://bucket/c", 1, "permission denied");
    world.ok("clone s3://bucket/c");
    for n in 0..3 {
        world.fails(&format!("on s3://bucket/d{n} ls"), 10, "there is no repository");
        cloud.server.plan_every(4 + n, "PUT", Fault::Answer(507, ""));
        world.fails(&format!("clone s3://bucket/d{n}"), 1, "no space left");
        cloud.server.plan_nothing();
        world.ok(&format!("clone s3://bucket/d{n}"));
        assert_eq!(world.ok(&format!("on s3://bucket/d{n} check")), "");
        assert_eq!(world.ok(&format!("on s3://bucket/d{n} ls")), world.ok("ls"));
    }
}

#[test]
fn a_bad_day_of_the_service_costs_time_only() {
    let cloud = Cloud::new();
    let world = cloud.client("s3://bucket/x");
    world.ok("create");
    world.write("data/f", noise(1, 300_000));
    for (every, fault) in [
        (5, Fault::Answer(503, "SlowDown")),
        (7, Fault::Answer(500, "InternalError")),
        (11, Fault::LoseAnswer),
        (13, Fault::CutAnswer),
    ] {
        cloud.server.plan_every(every, "", fault);
    }
    cloud.server.plan_every(6, "PUT", Fault::CutUpload);
    for n in 0..3 {
        world.write("data/more", format!("{n}"));
        world.ok("push data");
    }
    assert_eq!(world.ok("ls").lines().count(), 3);
    assert_eq!(world.ok("check"), "");
    world.ok("clone here");
    assert_eq!(lines(&world.ok("-json on here sync s3://bucket/x")).len(), 1);
    // What comes otherwise than it was stored is never taken for what was stored.
    cloud.server.plan_nothing();
    let id = first_id(&world.ok("ls"));
    cloud.server.plan_every(3, "GET", Fault::Spoil);
    for words in [format!("-no-cache cat {id}:{}", world.text("work/data/f")), "-no-cache check".into()] {
        let ran = world.line(&words);
        assert!(ran.code != 0 && !ran.err.is_empty() && !ran.err.contains("panicked"), "{words}: {ran:?}");
        assert!(noise(1, 300_000).starts_with(&ran.bytes), "{words}");
    }
    cloud.server.plan_nothing();
    assert_eq!(world.ok("check"), "");
}
