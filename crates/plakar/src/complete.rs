//! What may come next on a command line, from the same tree of commands that reads it.

use clap::{Arg, Command};

/// Something that may stand where the last word is being typed.
#[derive(Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The word.
    pub word: String,
    /// What it is for, in a line; may be empty.
    pub what: String,
}

/// What the last of `words`, which is being typed and may be empty, may become. `words` are all but the program's name; `root`
/// must be built; `names` are those that the configuration knows, with their `@`. Nothing where files are meant.
pub fn candidates(root: &Command, words: &[String], names: &[String]) -> Vec<Candidate> {
    let Some((partial, before)) = words.split_last() else { return Vec::new() };
    // For bash an '@' is a word of its own.
    if let Some(("@", _)) = before.split_last().map(|(last, rest)| (last.as_str(), rest)) {
        let known = names.iter().filter_map(|name| name.strip_prefix('@'));
        return known.filter(|name| name.starts_with(partial.as_str())).map(bare).collect();
    }
    if partial.starts_with('@') {
        return names
            .iter()
            .filter(|name| name.starts_with(partial.as_str()))
            .map(|name| bare(name))
            .collect();
    }
    let mut stack = vec![root];
    let mut on = On::Possible;
    let mut rest = before.iter();
    while let Some(word) = rest.next() {
        if word == "--" {
            return Vec::new();
        }
        if let Some((name, value)) = flag(word) {
            if let Some(arg) = find(&stack, name)
                && arg.get_action().takes_values()
                && value.is_none()
                && rest.next().is_none()
            {
                return values(arg, "", partial);
            }
            continue;
        }
        match on {
            On::Possible if word == "on" => on = On::Place,
            On::Place => on = On::Over,
            _ => {
                on = On::Over;
                stack.extend(stack.last().and_then(|command| command.find_subcommand(word)));
            }
        }
    }
    if on == On::Place {
        return Vec::new();
    }
    if let Some((name, Some(value))) = flag(partial) {
        let known = find(&stack, name).map(|arg| values(arg, &partial[..partial.len() - value.len()], value));
        return known.unwrap_or_default();
    }
    if partial.starts_with('-') {
        return flags(&stack, partial.trim_start_matches('-'));
    }
    let command = stack.last().expect("the root is there");
    let mut found: Vec<_> = command
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set())
        .map(|sub| candidate(sub.get_name(), sub.get_about().map(ToString::to_string)))
        .collect();
    if stack.len() == 1 && on == On::Possible {
        found.push(candidate("on", Some("Name the repository".into())));
    }
    found.extend(command.get_positionals().flat_map(|arg| values(arg, "", "")));
    found.retain(|one| one.word.starts_with(partial.as_str()));
    found
}

/// Whether `on REPOSITORY` may come, has begun, or has passed.
#[derive(PartialEq, Eq)]
enum On {
    Possible,
    Place,
    Over,
}

/// The name and the value of a flag, however many dashes it has.
fn flag(word: &str) -> Option<(&str, Option<&str>)> {
    let name = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).filter(|name| !name.is_empty())?;
    Some(name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value))))
}

fn find<'c>(stack: &[&'c Command], name: &str) -> Option<&'c Arg> {
    let mut all = stack.iter().rev().flat_map(|command| command.get_arguments());
    all.find(|arg| arg.get_long() == Some(name))
}

/// The flags that begin so, as they are typed: with one dash.
fn flags(stack: &[&Command], partial: &str) -> Vec<Candidate> {
    let all = stack.iter().rev().flat_map(|command| command.get_arguments());
    let mut found: Vec<Candidate> = Vec::new();
    for arg in all.filter(|arg| !arg.is_hide_set()) {
        let Some(long) = arg.get_long().filter(|long| long.starts_with(partial)) else { continue };
        let one = candidate(&format!("-{long}"), arg.get_help().map(ToString::to_string));
        if !found.contains(&one) {
            found.push(one);
        }
    }
    found
}

/// The values of a flag that begin so, if there are only some.
fn values(arg: &Arg, before: &str, partial: &str) -> Vec<Candidate> {
    let all = arg.get_possible_values().into_iter().filter(|value| !value.is_hide_set());
    let typed = all.filter(|value| value.get_name().starts_with(partial));
    typed
        .map(|value| {
            candidate(&format!("{before}{}", value.get_name()), value.get_help().map(ToString::to_string))
        })
        .collect()
}

fn candidate(word: &str, what: Option<String>) -> Candidate {
    let what = what.unwrap_or_default();
    Candidate { word: word.to_owned(), what: what.lines().next().unwrap_or_default().to_owned() }
}

fn bare(word: &str) -> Candidate {
    candidate(word, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words that may come.
    fn may(line: &[&str]) -> Vec<String> {
        let words: Vec<_> = line.iter().map(ToString::to_string).collect();
        let names = ["@nas".to_owned(), "@home".to_owned()];
        candidates(&crate::args::command(), &words, &names).into_iter().map(|one| one.word).collect()
    }

    #[test]
    fn commands_flags_values_and_names_are_known_and_files_are_left_to_the_shell() {
        assert_eq!(may(&["pus"]), ["push"]);
        assert!(may(&[""]).contains(&"on".into()) && may(&[""]).contains(&"sync".into()));
        assert_eq!(may(&["on", "@na"]), ["@nas"]);
        assert_eq!(may(&["on", "@", "na"]), ["nas"]);
        assert_eq!(may(&["on", "somewhe"]), [""; 0]);
        assert_eq!(may(&["on", "there", "clon"]), ["clone"]);
        assert_eq!(may(&["on", "there", "o"]), [""; 0]);
        assert_eq!(may(&["-json", "-cache", "on", "clon"]), ["clone"], "that was a value");
        assert_eq!(may(&["key", ""]), ["add", "ls", "rm", "passphrase", "help"]);
        assert_eq!(may(&["create", "-no-e"]), ["-no-encryption"]);
        assert_eq!(may(&["create", "--no-e"]), ["-no-encryption"]);
        assert_eq!(may(&["create", "-compression", ""]), ["fast", "default", "small", "none"]);
        assert_eq!(may(&["create", "-compression=s"]), ["-compression=small"]);
        assert!(may(&["ls", "-"]).contains(&"-json".into()), "global flags, too");
        assert!(!may(&["push", "-"]).contains(&"-no-verify".into()), "not what is hidden");
        assert_eq!(may(&["push", "da"]), [""; 0]);
        assert_eq!(may(&["push", "--", "-"]), [""; 0]);
        assert_eq!(may(&["push", "@h"]), ["@home"]);
        assert_eq!(may(&[]), [""; 0]);
    }
}
