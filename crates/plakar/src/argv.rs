//! Words as they are typed, made into what clap understands.
//!
//! Flags are written as in Go: one dash or two, `-name=value` or `-name value`, `-name=false` for a switch. clap
//! knows `--name` only and reads `-name` as a cluster of one-letter flags. So argv is rewritten first, by
//! clap's own tree of commands, which therefore never says anything else than the parser:
//!
//! 1. `-name` and `--name` of a flag that is known here become `--name`; if it takes a value, the value is joined
//!    to it (`--name=value`), so that a value may begin with a dash.
//! 2. `on REPOSITORY` as the first words besides flags becomes `--repository=REPOSITORY`.
//! 3. What follows `--` is left alone, and so is everything that is not a flag, or is for another program.
//!
//! No one-letter flags may spell a long name together; a test sees to that.

use clap::{Arg, Command};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Flags whose value is not written into a snapshot with the rest of the command line.
const SECRETS: [&str; 2] = ["passphrase-command", "peer-passphrase-command"];

/// A command line, rewritten.
#[derive(Debug, PartialEq, Eq)]
pub struct Normalised {
    /// For clap.
    pub words: Vec<OsString>,
    /// As it was typed, without what may be secret.
    pub typed: Vec<OsString>,
}

/// `on` without a repository.
#[derive(Debug, PartialEq, Eq)]
pub struct NoRepositoryAfterOn;

/// Rewrites a command line, program name included. `root` must be built.
pub fn normalise(
    root: &Command,
    words: impl IntoIterator<Item = OsString>,
) -> Result<Normalised, NoRepositoryAfterOn> {
    let mut input = words.into_iter();
    let mut out: Vec<_> = input.next().into_iter().collect();
    let mut typed = out.clone();
    let mut stack = vec![root];
    let mut on = false;
    while let Some(word) = input.next() {
        typed.push(word.clone());
        if word == "--" {
            out.push(word);
            let rest: Vec<_> = input.collect();
            typed.extend(rest.iter().cloned());
            out.extend(rest);
            break;
        }
        let Some((name, value)) = flag(&word) else {
            if stack.len() == 1 && !on && word == "on" {
                let repository = input.next().ok_or(NoRepositoryAfterOn)?;
                typed.push(repository.clone());
                out.push(joined(b"repository", &repository));
                on = true;
                continue;
            }
            if let Some(command) = stack.last().and_then(|command| command.find_subcommand(&word)) {
                stack.push(command);
            } else if stack.last().is_some_and(|command| gives_away(command)) {
                // As after `--`: what follows is for another program.
                out.extend(["--".into(), word]);
                let rest: Vec<_> = input.collect();
                typed.extend(rest.iter().cloned());
                out.extend(rest);
                break;
            }
            out.push(word);
            continue;
        };
        let value = value.map(OsStr::to_owned);
        match stack.iter().rev().find_map(|command| find(command, name)) {
            // Perhaps one-letter flags; else told about as a whole word, with one that is spelled alike.
            None if is_cluster(&stack, name) => out.push(word),
            None => out.push(OsString::from_vec([b"--", trimmed(&word)].concat())),
            Some(arg) if arg.get_action().takes_values() => {
                let inline = value.is_some();
                let value = value.or_else(|| input.next());
                if let Some(secret) = arg.get_long().filter(|long| SECRETS.contains(long)) {
                    typed.pop();
                    typed.push(format!("-{secret}=...").into());
                } else if let (false, Some(value)) = (inline, &value) {
                    typed.push(value.clone());
                }
                out.push(match value {
                    Some(value) => joined(name, &value),
                    None => long(name),
                });
            }
            Some(_) => match value.as_ref().map(|value| value.as_bytes()) {
                None | Some(b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True") => out.push(long(name)),
                Some(b"0" | b"f" | b"F" | b"false" | b"FALSE" | b"False") => {}
                // For clap to refuse.
                Some(value) => out.push(joined(name, OsStr::from_bytes(value))),
            },
        }
    }
    Ok(Normalised { words: out, typed })
}

/// Whether what follows the first word of a command that is no flag is for another program.
fn gives_away(command: &Command) -> bool {
    command.get_positionals().any(Arg::is_trailing_var_arg_set)
}

/// The name and the value of a long flag, or `None` when the word is none.
fn flag(word: &OsStr) -> Option<(&[u8], Option<&OsStr>)> {
    let bytes = word.as_bytes();
    if bytes.first() != Some(&b'-') {
        return None;
    }
    let rest = trimmed(word);
    let (name, value) = match rest.iter().position(|&b| b == b'=') {
        Some(at) => (&rest[..at], Some(OsStr::from_bytes(&rest[at + 1..]))),
        None => (rest, None),
    };
    (name.len() >= 2 && name[0].is_ascii_alphabetic()).then_some((name, value))
}

/// A word without its one or two first dashes.
fn trimmed(word: &OsStr) -> &[u8] {
    let bytes = word.as_bytes();
    bytes.strip_prefix(b"--").or(bytes.strip_prefix(b"-")).unwrap_or(bytes)
}

fn long(name: &[u8]) -> OsString {
    OsString::from_vec([b"--", name].concat())
}

fn joined(name: &[u8], value: &OsStr) -> OsString {
    OsString::from_vec([b"--", name, b"=", value.as_bytes()].concat())
}

fn find<'a>(command: &'a Command, name: &[u8]) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| longs(arg).iter().any(|long| long.as_bytes() == name))
}

fn longs(arg: &Arg) -> Vec<&str> {
    arg.get_long().into_iter().chain(arg.get_all_aliases().into_iter().flatten()).collect()
}

/// Whether every letter is a one-letter flag.
fn is_cluster(stack: &[&Command], name: &[u8]) -> bool {
    let short = |letter: u8| {
        let mut args = stack.iter().flat_map(|command| command.get_arguments());
        args.any(|arg| arg.get_short() == Some(char::from(letter)))
    };
    name.iter().all(|&letter| short(letter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args;

    fn check(typed: &str, expected: &str) {
        let words = ["plakar"].into_iter().chain(typed.split_whitespace()).map(OsString::from);
        let got = normalise(&args::command(), words).map(|n| {
            let words: Vec<_> = n.words[1..].iter().map(|w| w.to_str().unwrap().to_owned()).collect();
            words.join(" ")
        });
        assert_eq!(got.as_deref(), Ok(expected), "{typed}");
    }

    #[test]
    fn one_dash_is_as_good_as_two() {
        check("create -no-encryption", "create --no-encryption");
        check("create --no-encryption", "create --no-encryption");
        check("-quiet push -tag a -tag=b /bin", "--quiet push --tag=a --tag=b /bin");
        check("push -verbose /bin", "push --verbose /bin");
        check("ls -help", "ls --help");
        check("ls -h", "ls -h");
        check("key add -label x", "key add --label=x");
    }

    #[test]
    fn values_may_look_like_flags() {
        check("push -tag -x /bin", "push --tag=-x /bin");
        check("push -tag -- /bin", "push --tag=-- /bin");
        check("-hostname= push", "--hostname= push");
        check("push -tag", "push --tag");
    }

    #[test]
    fn switches_take_truth_values() {
        check("-quiet=true ls", "--quiet ls");
        check("-quiet=false ls", "ls");
        check("-quiet=perhaps ls", "--quiet=perhaps ls");
    }

    #[test]
    fn on_counts_only_as_the_first_word() {
        check("on /r ls", "--repository=/r ls");
        check("-quiet on -r ls", "--quiet --repository=-r ls");
        check("-cpu 1 on on ls", "--cpu=1 --repository=on ls");
        check("push on", "push on");
        check("on /r push on", "--repository=/r push on");
        check("on /r on /s ls", "--repository=/r on /s ls");
        let alone = ["plakar", "on"].map(OsString::from);
        assert_eq!(normalise(&args::command(), alone), Err(NoRepositoryAfterOn));
    }

    #[test]
    fn what_is_no_flag_is_left_alone() {
        check("push -- -no-encryption", "push -- -no-encryption");
        check("push - -1 a=b", "push - -1 a=b");
        check("ls -nonsense=1", "ls --nonsense=1");
        // Flags of another command.
        check("ls -no-encryption", "ls --no-encryption");
        check("push -fast x", "push --fast x");
    }

    #[test]
    fn what_is_typed_is_kept_but_for_secrets() {
        let words = ["p", "-passphrase-command", "echo s", "on", "r", "push", "-tag", "t", "--", "-x"];
        let typed = normalise(&args::command(), words.map(OsString::from)).unwrap().typed;
        assert_eq!(typed, ["p", "-passphrase-command=...", "on", "r", "push", "-tag", "t", "--", "-x"]);
        let words = ["p", "--passphrase-command=echo s", "push"];
        let typed = normalise(&args::command(), words.map(OsString::from)).unwrap().typed;
        assert_eq!(typed, ["p", "-passphrase-command=...", "push"]);
    }

    #[test]
    fn no_short_cluster_spells_a_long_name() {
        fn visit(command: &Command, inherited: &[char]) {
            let mut shorts = inherited.to_vec();
            shorts.extend(command.get_arguments().filter_map(Arg::get_short));
            for name in command.get_arguments().flat_map(longs) {
                assert!(!name.chars().all(|c| shorts.contains(&c)), "{}: {name}", command.get_name());
            }
            command.get_subcommands().for_each(|sub| visit(sub, &shorts));
        }
        visit(&args::command(), &[]);
    }
}
