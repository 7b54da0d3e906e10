//! `schedule`: what it prints is understood by systemd and by the shell of cron, and does what it says.

mod common;

use common::World;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

fn world() -> World {
    let world = World::new();
    world.write("data dir/f", "content");
    fs::write(world.path("work/key"), "a passphrase\n").unwrap();
    let work = world.text("work");
    configure(
        &world,
        &format!(
            "default = '@nas'\n[repositories.nas]\nlocation = '{work}/100% ours'\nkeyfile = '{work}/key'\n\
             [sources.docs]\npaths = ['{work}/data dir']\n[sources.etc]\npaths = ['{work}/key']\n"
        ),
    );
    world
}

fn configure(world: &World, text: &str) {
    let file = world.path("home/.config/plakar/config.toml");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

/// The files that are printed, by name.
fn units(printed: &str) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for part in printed.split("# ~/.config/systemd/user/").skip(1) {
        let (name, text) = part.split_once('\n').unwrap();
        files.insert(name.to_owned(), text.to_owned());
    }
    files
}

#[test]
fn systemd_takes_the_units() {
    let world = world();
    let files = units(&world.ok("schedule -every hourly"));
    let names: Vec<_> = files.keys().map(String::as_str).collect();
    let jobs = ["check", "cleanup", "push-docs", "push-etc"];
    let expected: Vec<_> =
        jobs.iter().flat_map(|job| ["service", "timer"].map(|kind| format!("plakar-{job}.{kind}"))).collect();
    assert_eq!(names, expected);
    let verified = |name: &str, text: &str| {
        let file = world.path("work").join(name);
        fs::write(&file, text).unwrap();
        let mut command = Command::new("systemd-analyze");
        command.env("XDG_RUNTIME_DIR", world.path("work")).args(["verify", "--man=no", "--user"]).arg(file);
        let done = command.output().unwrap();
        (done.status.success(), String::from_utf8(done.stderr).unwrap())
    };
    // The services first, which the timers start.
    for (name, text) in &files {
        assert_eq!(verified(name, text), (true, String::new()), "{name}: {text}");
    }
    for (right, wrong) in [("Type=oneshot", "Type=once"), ("ExecStart=\"/", "ExecStart=\"")] {
        let text = files["plakar-check.service"].replace(right, wrong);
        let (ended_well, said) = verified("plakar-check.service", &text);
        assert!(!ended_well || !said.is_empty(), "it finds what is wrong");
    }
}

#[test]
fn what_cron_would_run_does_what_it_says() {
    let world = world();
    world.ok("create");
    let lines = world.ok("schedule -crontab @docs");
    let mut ran = Vec::new();
    for line in lines.lines() {
        let mut fields = line.splitn(6, ' ');
        let when: Vec<_> = fields.by_ref().take(5).collect();
        assert!(when[0].parse::<u32>().unwrap() < 60 && when[2..4] == ["*", "*"], "{line}");
        let command = fields.next().unwrap();
        assert!(!command.replace("\\%", "").contains('%'), "to cron that is the end of the command: {line}");
        world.shell(&command.replace("\\%", "%")).succeeded();
        ran.push(command.to_owned());
    }
    assert_eq!(ran.len(), 3);
    assert!(ran[0].ends_with("on @nas push @docs") && ran[1].ends_with("check -sample 5\\%"), "{ran:?}");
    assert!(world.ok("ls").contains("data dir"));
    let odd = world.line("on sqlite:///a/b'c%d.db schedule -crontab @docs").out;
    assert!(odd.contains(r"on 'sqlite:///a/b'\''c\%d.db' push @docs"), "{odd}");
}

#[test]
fn what_cannot_be_scheduled_is_told() {
    let world = world();
    assert!(world.line("schedule").err.is_empty());
    let told = world.line("on elsewhere schedule").err;
    assert!(told.contains("a timer is asked for no passphrase"), "{told}");
    world.fails("schedule @none", 1, "@none: there is no such source");
    configure(&world, "");
    world.fails("schedule", 1, "there is nothing to run");
}
