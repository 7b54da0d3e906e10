//! docs/commands.md is what the program says of its commands, word for word. Whoever changes a help page sees what changed:
//!
//! `PLAKAR_BLESS=1 cargo test -p plakar --test help` writes it anew.

mod common;

use common::World;
use std::fmt::Write;
use std::path::Path;

const HEAD: &str = "\
# Commands

What `plakar help` and `plakar help COMMAND` say, as the program prints it; `plakar man FOLDER` writes manual pages of it.
A test compares this page with the program.
";

/// A help page without the flags that all commands have.
fn own(help: &str) -> String {
    match help.split_once("Global flags:\n") {
        None => help.to_owned(),
        Some((before, rest)) => {
            let after = rest.split_once("\n\n").map_or("", |(_, after)| after);
            format!("{before}{after}")
        }
    }
}

/// The commands that a help page lists.
fn listed(help: &str) -> Vec<&str> {
    let (_, list) = help.split_once("Commands:\n").unwrap_or_default();
    let lines = list.lines().take_while(|line| !line.is_empty());
    // What follows a name on lines of its own is indented further.
    let names =
        lines.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").collect()
}

fn page(world: &World, words: &str, all: &mut String) {
    let help = world.ok(&format!("help {words}"));
    write!(all, "\n## plakar {words}\n\n```text\n{}\n```\n", own(&help).trim_end()).unwrap();
    for sub in listed(&help) {
        page(world, &format!("{words} {sub}"), all);
    }
}

#[test]
fn the_page_of_commands_is_what_the_program_says() {
    let world = World::new();
    let root = world.ok("help");
    let mut all = format!("{HEAD}\n```text\n{}\n```\n", root.trim_end());
    for command in listed(&root) {
        page(&world, command, &mut all);
    }
    page(&world, "snapshots", &mut all);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/commands.md");
    if std::env::var_os("PLAKAR_BLESS").is_some() {
        std::fs::write(&file, &all).unwrap();
    }
    let known = std::fs::read_to_string(&file).unwrap_or_default();
    for (line, (known, told)) in known.lines().zip(all.lines()).enumerate() {
        assert_eq!(known, told, "docs/commands.md, line {}", line + 1);
    }
    assert_eq!(known.lines().count(), all.lines().count());
    assert!(all.matches("\n## plakar ").count() > 35);
}
