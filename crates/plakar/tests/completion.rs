//! Completion in real shells, and the manual pages.

mod common;

use common::World;
use std::fs;
use std::process::Command;

fn world() -> World {
    let world = World::new();
    fs::create_dir_all(world.path("home/.config/plakar")).unwrap();
    let config = "[repositories.nas]\nlocation = \"/nas\"\n[sources.home]\npaths = [\"/home\"]\n";
    fs::write(world.path("home/.config/plakar/config.toml"), config).unwrap();
    world
}

/// What a shell says, with the program in its path.
fn shell(world: &World, words: &[&str]) -> String {
    let mut command = world.command(words[0]);
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_plakar")).parent().unwrap();
    command.args(&words[1..]).env("PATH", format!("{}:/usr/bin:/bin", program.display()));
    let done = command.output().unwrap();
    assert!(done.status.success() && done.stderr.is_empty(), "{words:?}: {done:?}");
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn bash_completes_commands_flags_and_names() {
    let world = world();
    world.write("script", world.ok("completion bash"));
    let completed = |words: &str| {
        let asked = format!(
            "source ./script; COMP_WORDS=(plakar {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _plakar; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        shell(&world, &["bash", "-c", &asked]).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(completed("pus"), ["push"]);
    assert_eq!(completed("on there cl"), ["cleanup", "clone"].map(str::to_owned).to_vec());
    assert_eq!(completed("create -no-e"), ["-no-encryption"]);
    assert_eq!(completed("on @ n"), ["nas"]);
    assert_eq!(completed("push @h"), ["@home"]);
    assert_eq!(completed("push no-such"), [""], "files are the shell's");
}

#[test]
fn fish_and_zsh_understand_theirs() {
    let world = world();
    world.write("plakar.fish", world.ok("completion fish"));
    let fish = shell(&world, &["fish", "-c", "source ./plakar.fish; complete -C 'plakar create -no-e'"]);
    assert!(fish.starts_with("-no-encryption\t"), "{fish}");
    world.write("_plakar", world.ok("completion zsh"));
    // What zsh would show, put in the place of the function that shows it.
    let asked = "compdef() { :; }; _describe() { print -l -- ${(P)4}; }; source ./_plakar; words=(plakar pus); \
                 CURRENT=2; _plakar";
    let zsh = shell(&world, &["zsh", "-f", "-c", asked]);
    assert!(zsh.starts_with("push:Store files"), "{zsh}");
}

#[test]
fn a_configuration_that_is_wrong_keeps_nobody_from_completing() {
    let world = world();
    fs::write(world.path("home/.config/plakar/config.toml"), "what = is this").unwrap();
    assert_eq!(world.ok("completion bash -of -- pus"), "push\n");
    world.fails("completion tcsh", 2, "tcsh");
}

#[test]
fn there_is_a_page_for_each_command_that_man_can_show() {
    let world = world();
    world.ok("man pages");
    let mut pages: Vec<_> = fs::read_dir(world.path("work/pages"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort();
    for line in world.ok("help").lines().skip_while(|line| *line != "Commands:").skip(1) {
        let Some(name) = line.split_whitespace().next() else { break };
        let page = format!("plakar-{name}.1");
        assert!(name == "help" || pages.contains(&page), "{page}: {pages:?}");
    }
    assert!(pages.contains(&"plakar-server-token-add.1".into()), "{pages:?}");
    for page in pages {
        let done = Command::new("man")
            .env("LC_ALL", "C.UTF-8")
            .env("MANPAGER", "cat")
            .args(["--warnings=w", "-l"])
            .arg(world.path("work/pages").join(&page))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success() && done.stderr.is_empty(), "{page}: {done:?}");
        assert!(text.contains("SYNOPSIS") && !text.contains("--"), "{page}: {text}");
    }
    world.write("file", "");
    world.fails("man file", 1, "file");
}
