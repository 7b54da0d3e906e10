//! The text of a configuration, made into what it means; or all that is wrong with it, each with its line.

use super::{Config, Repository, Source};
use crate::location::Location;
use crate::tags;
use crate::units;
use plakar_fs::{Besides, Excludes};
use plakar_store_object::Options;
use std::ffi::{OsStr, OsString};
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Something that is wrong.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    /// In which line, from 1.
    pub line: usize,
    /// What.
    pub what: String,
}

const TOP: [&str; 4] = ["default", "cache-size", "repositories", "sources"];
const REPOSITORY: [&str; 4] = ["location", "keyfile", "passphrase-command", "options"];
const SOURCE: [&str; 10] = [
    "paths",
    "tags",
    "exclude",
    "exclude-if-present",
    "exclude-caches",
    "max-size",
    "one-file-system",
    "gitignore",
    "before",
    "after",
];

/// Reads it whole. `home` is what `~` stands for.
///
/// # Errors
/// All that is wrong, by line.
pub fn read(bytes: &[u8], home: Option<&Path>) -> Result<Config, Vec<Problem>> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => return Err(vec![Problem { line: line(bytes, e.valid_up_to()), what: "not UTF-8".into() }]),
    };
    let mut reading = Reading { text, home, problems: Vec::new() };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        reading.tell(error.span().unwrap_or_default(), error.message().replace('\n', ", "));
    }
    // What could not be parsed would only be told twice.
    let config =
        if reading.problems.is_empty() { reading.config(table.get_ref()) } else { Config::default() };
    reading.problems.sort_by_key(|problem| problem.line);
    if reading.problems.is_empty() { Ok(config) } else { Err(reading.problems) }
}

fn line(bytes: &[u8], at: usize) -> usize {
    bytes[..at.min(bytes.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

type Value<'t> = Spanned<DeValue<'t>>;

struct Reading<'t> {
    text: &'t str,
    home: Option<&'t Path>,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    fn tell(&mut self, at: Range<usize>, what: impl Into<String>) {
        self.problems.push(Problem { line: line(self.text.as_bytes(), at.start), what: what.into() });
    }

    fn config(&mut self, table: &DeTable) -> Config {
        let mut config = Config::default();
        self.refuse_unknown(table, &TOP);
        for (name, at, table) in self.named(table, "repositories", &REPOSITORY) {
            let repository = self.repository(&name, at, table);
            config.repositories.extend(repository.map(|repository| (name, repository)));
        }
        for (name, at, table) in self.named(table, "sources", &SOURCE) {
            let source = self.source(&name, at, table);
            config.sources.extend(source.map(|source| (name, source)));
        }
        if let Some(value) = table.get("default") {
            config.default = self.text(value, "default").and_then(|text| self.default(value, &text, table));
        }
        if let Some(value) = table.get("cache-size") {
            let size = self.text(value, "cache-size").map(|text| units::size(&text));
            match size {
                Some(Err(why)) => self.tell(value.span(), format!("cache-size: {why}")),
                size => config.cache_bytes = size.and_then(Result::ok),
            }
        }
        config
    }

    /// The tables in one of tables that the user has named: names, where each stands, and what it is.
    fn named<'v, 't>(
        &mut self,
        table: &'v DeTable<'t>,
        kind: &str,
        known: &[&str],
    ) -> Vec<(String, Range<usize>, &'v DeTable<'t>)> {
        let Some(value) = table.get(kind) else { return Vec::new() };
        let Some(tables) = value.get_ref().as_table() else {
            self.tell(value.span(), format!("{kind}: must be a table, as in [{kind}.NAME]"));
            return Vec::new();
        };
        let mut named = Vec::new();
        for (key, value) in tables {
            let name = key.get_ref().as_ref();
            let letter = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if name.is_empty() || !name.chars().all(letter) {
                self.tell(key.span(), format!("{name:?}: a name has letters, digits, '-', '_' and '.' only"));
            } else if let Some(table) = value.get_ref().as_table() {
                self.refuse_unknown(table, known);
                named.push((name.to_owned(), key.span(), table));
            } else {
                self.tell(key.span(), format!("{kind}.{name}: must be a table, as in [{kind}.{name}]"));
            }
        }
        named
    }

    fn refuse_unknown(&mut self, table: &DeTable, known: &[&str]) {
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let name = key.get_ref().as_ref();
            let what = match (name, alike(name, known.iter().copied())) {
                ("passphrase" | "password", _) => {
                    "a passphrase does not belong into this file: 'passphrase-command' is a \
                                      command that prints it, 'keyfile' a file that holds it"
                        .to_owned()
                }
                (_, Some(like)) => format!("unknown key: {name}; did you mean '{like}'?"),
                (_, None) => format!("unknown key: {name}; there are {}", known.join(", ")),
            };
            self.tell(key.span(), what);
        }
    }

    fn repository(&mut self, name: &str, at: Range<usize>, table: &DeTable) -> Option<Repository> {
        let Some(value) = table.get("location") else {
            self.tell(at, format!("repositories.{name}: 'location' is missing"));
            return None;
        };
        let location = self.text(value, "location").and_then(|text| self.location(value, &text));
        let location = match table.get("options") {
            Some(options) => location.map(|location| self.options(options, location)),
            None => location,
        };
        let keyfile = table.get("keyfile").and_then(|value| {
            let text = self.text(value, "keyfile")?;
            self.path(value, "keyfile", &text)
        });
        let command = table.get("passphrase-command").and_then(|v| self.text(v, "passphrase-command"));
        if let (Some(value), Some(_)) = (table.get("keyfile"), table.get("passphrase-command")) {
            self.tell(value.span(), "'keyfile' and 'passphrase-command': one of them is enough");
        }
        Some(Repository { location: location?, keyfile, passphrase_command: command.map(OsString::from) })
    }

    /// A place with what is said of its service.
    fn options(&mut self, value: &Value, location: Location) -> Location {
        let Some(table) = value.get_ref().as_table() else {
            self.tell(value.span(), "options: must be a table, as in options = { endpoint = \"...\" }");
            return location;
        };
        let Location::Object(object) = &location else {
            self.tell(value.span(), "options: only what is in an object store, as s3://, has any");
            return location;
        };
        let mut options = Options::default();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            // Told first, so that nobody is asked for a text that is a secret.
            let text = value.get_ref().as_str().unwrap_or_default();
            if let Err(why) = options.set(name, text) {
                self.tell(key.span(), format!("options: {}", why.replace('\n', " ")));
            } else if let Some(why) = object.refuses(&options) {
                self.tell(key.span(), format!("options: {why}"));
                return location;
            }
        }
        location.with(&options)
    }

    fn location(&mut self, value: &Value, text: &str) -> Option<Location> {
        let location = match Location::parse(&self.beneath_home(text).unwrap_or_else(|| text.into())) {
            Ok(location) => location,
            Err(failure) => {
                self.tell(value.span(), format!("location: {}", failure.what.unwrap_or_default()));
                return None;
            }
        };
        if location.path().is_some_and(Path::is_relative) {
            self.tell(value.span(), format!("location: {text}: {RELATIVE}"));
            return None;
        }
        Some(location)
    }

    fn source(&mut self, name: &str, at: Range<usize>, table: &DeTable) -> Option<Source> {
        let Some(value) = table.get("paths") else {
            self.tell(at, format!("sources.{name}: 'paths' is missing"));
            return None;
        };
        let texts = self.texts(value, "paths");
        if texts.is_empty() {
            self.tell(value.span(), "paths: at least one is needed");
        }
        let paths = texts.iter().filter_map(|text| self.path(value, "paths", text)).collect();
        let mut tags = Vec::new();
        if let Some(value) = table.get("tags") {
            for text in self.texts(value, "tags") {
                match tags::parse(&text) {
                    Ok(tag) => tags.push(tag),
                    Err(why) => self.tell(value.span(), format!("tags: {why}")),
                }
            }
        }
        let mut exclude = Vec::new();
        if let Some(value) = table.get("exclude") {
            for text in self.texts(value, "exclude") {
                let text = self.pattern(text);
                match Excludes::default().add(Vec::new(), [text.as_str()]) {
                    Ok(()) => exclude.push(text),
                    Err(why) => self.tell(value.span(), format!("exclude: {why}")),
                }
            }
        }
        let [before, after] =
            ["before", "after"].map(|key| table.get(key).and_then(|value| self.text(value, key)));
        Some(Source { paths, tags, exclude, besides: self.besides(table), before, after })
    }

    fn besides(&mut self, table: &DeTable) -> Besides {
        let mut besides = Besides::default();
        if let Some(value) = table.get("exclude-if-present") {
            for text in self.texts(value, "exclude-if-present") {
                match Besides::is_marker(&text) {
                    true => besides.if_present.push(text),
                    false => {
                        self.tell(value.span(), format!("exclude-if-present: {text}: no name, but a path"))
                    }
                }
            }
        }
        if let Some(value) = table.get("max-size") {
            match self.text(value, "max-size").map(|text| units::size(&text)) {
                Some(Err(why)) => self.tell(value.span(), format!("max-size: {why}")),
                size => besides.max_size = size.and_then(Result::ok),
            }
        }
        besides.caches = self.switch(table, "exclude-caches");
        besides.one_file_system = self.switch(table, "one-file-system");
        besides.gitignore = self.switch(table, "gitignore");
        besides
    }

    fn switch(&mut self, table: &DeTable, key: &str) -> bool {
        let Some(value) = table.get(key) else { return false };
        value.get_ref().as_bool().unwrap_or_else(|| {
            self.tell(value.span(), format!("{key}: must be true or false"));
            false
        })
    }

    fn default(&mut self, value: &Value, text: &str, table: &DeTable) -> Option<OsString> {
        let Some(name) = text.strip_prefix('@') else {
            return self.location(value, text).map(|location| location.name());
        };
        let all = table.get("repositories").and_then(|value| value.get_ref().as_table());
        if all.is_some_and(|all| all.contains_key(name)) {
            return Some(text.into());
        }
        let names = all.into_iter().flat_map(|all| all.keys()).map(|key| key.get_ref().as_ref());
        let like = alike(name, names).map(|like| format!("; did you mean '@{like}'?")).unwrap_or_default();
        self.tell(value.span(), format!("default: no repository is called {text}{like}"));
        None
    }

    fn text(&mut self, value: &Value, key: &str) -> Option<String> {
        let text = value.get_ref().as_str().filter(|text| !text.is_empty() && !text.contains('\0'));
        if text.is_none() {
            self.tell(value.span(), format!("{key}: must be a text, and not an empty one"));
        }
        text.map(str::to_owned)
    }

    fn texts(&mut self, value: &Value, key: &str) -> Vec<String> {
        match value.get_ref().as_array() {
            Some(array) => array.iter().filter_map(|value| self.text(value, key)).collect(),
            None => {
                self.tell(value.span(), format!("{key}: must be a list of texts, as in [\"...\"]"));
                // That is told, and not that it is empty.
                vec![]
            }
        }
    }

    fn path(&mut self, value: &Value, key: &str, text: &str) -> Option<PathBuf> {
        let path = PathBuf::from(self.beneath_home(text).unwrap_or_else(|| text.into()));
        if path.is_relative() {
            self.tell(value.span(), format!("{key}: {text}: {RELATIVE}"));
            return None;
        }
        Some(path)
    }

    /// A pattern, in which `~/` at the beginning, also behind `!`, is what it is in paths.
    fn pattern(&self, text: String) -> String {
        let (not, body) = match text.strip_prefix('!') {
            Some(body) => ("!", body),
            None => ("", text.as_str()),
        };
        match self.beneath_home(body).and_then(|path| path.into_string().ok()) {
            Some(path) => format!("{not}{path}"),
            None => text,
        }
    }

    /// What begins with `~/`.
    fn beneath_home(&self, text: &str) -> Option<OsString> {
        let home = self.home?;
        match text.strip_prefix("~/") {
            Some("") => Some(home.into()),
            Some(rest) => Some(home.join(rest).into()),
            None => (text == "~").then(|| OsStr::new(home).into()),
        }
    }
}

const RELATIVE: &str = "a relative path would be another one wherever it is used; begin it with '/' or '~/'";

/// Of what is known, what is spelled most alike, if anything is.
pub fn alike<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    // A word may be as long as a file.
    let known = known.filter(|known| word.len() <= 2 * known.len());
    let near = known.map(|known| (distance(word, known), known));
    near.filter(|(distance, known)| *distance <= 1 + known.len() / 4).min().map(|(_, known)| known)
}

/// How many letters to change, add, leave out, or swap with the next.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<_>, Vec<_>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && (a[i - 1], a[i - 2]) == (b[j - 2], b[j - 1]) {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let problems = read(text.as_bytes(), Some(Path::new("/home/me"))).expect_err("it is wrong");
        problems.iter().map(|problem| format!("{}: {}", problem.line, problem.what)).collect()
    }

    #[test]
    fn what_is_written_is_what_is_meant() {
        let text = "default = '@nas'\ncache-size = '2kB'\n[repositories.nas]\nlocation = 'ssh://nas/srv'\npassphrase-command = 'pass'\n\
                    [repositories.disk]\nlocation = '~/backups'\nkeyfile = '/k'\n[sources.home]\n\
                    paths = ['~', '/etc']\ntags = ['a']\nexclude = ['*.o', '!~/x', '~/.cache/']\n\
                    exclude-if-present = ['.nobackup']\nexclude-caches = true\nmax-size = '1MB'\n\
                    one-file-system = true\ngitignore = true\nbefore = 'b'\nafter = 'c'\n";
        let config = read(text.as_bytes(), Some(Path::new("/home/me"))).unwrap();
        assert_eq!((&config.default, config.cache_bytes), (&Some("@nas".into()), Some(2_000)));
        let disk = &config.repositories["disk"];
        assert_eq!(disk.location, Location::Folder("/home/me/backups".into()));
        assert_eq!((&disk.keyfile, &disk.passphrase_command), (&Some("/k".into()), &None));
        assert_eq!(config.repositories["nas"].passphrase_command, Some("pass".into()));
        let home = Source {
            paths: vec!["/home/me".into(), "/etc".into()],
            tags: vec!["a".into()],
            exclude: vec!["*.o".into(), "!/home/me/x".into(), "/home/me/.cache/".into()],
            besides: Besides {
                if_present: vec![".nobackup".into()],
                caches: true,
                max_size: Some(1_000_000),
                one_file_system: true,
                gitignore: true,
            },
            before: Some("b".into()),
            after: Some("c".into()),
        };
        assert_eq!(config.sources["home"], home);
        assert_eq!(read(b"", None), Ok(Config::default()));
    }

    #[test]
    fn each_problem_is_told_with_its_line() {
        let check = |text: &str, expected: &[&str]| {
            let found = problems(text);
            assert_eq!(found.len(), expected.len(), "{text}: {found:?}");
            for (found, expected) in found.iter().zip(expected) {
                assert!(found.starts_with(expected), "{text}: {found}, not {expected}");
            }
        };
        check("defualt = '/x'", &["1: unknown key: defualt; did you mean 'default'?"]);
        check("\n\n[sourcess.x]", &["3: unknown key: sourcess; did you mean 'sources'?"]);
        check("x = 1", &["1: unknown key: x; there are default, cache-size, repositories, sources"]);
        check(
            "default = '@nas'\n[repositories.nsa]\nlocation = '/x'",
            &["1: default: no repository is called @nas; did you mean '@nsa'?"],
        );
        check("\ncache-size = 'much'", &["2: cache-size: \"much\" is no size"]);
        check("cache-size = 5", &["1: cache-size: must be a text"]);
        check("default = 'relative'", &["1: location: relative: a relative path"]);
        check("[repositories.a]\n", &["1: repositories.a: 'location' is missing"]);
        check("[repositories.a]\nlocation = 3", &["2: location: must be a text"]);
        check("[repositories.a]\nlocation = ''", &["2: location: must be a text"]);
        check("[repositories.a]\nlocation = '@b'", &["2: location: @b: no repository is known"]);
        check("[repositories.a]\nlocation = 's9://b'", &["2: location: s9://b: repositories at s9://"]);
        let s3 = "[repositories.a]\nlocation = 's3://b/c'\n";
        check(&format!("{s3}options = 1"), &["3: options: must be a table"]);
        check(
            &format!("{s3}options = {{ regoin = 'x' }}"),
            &["3: options: unknown option: regoin; there are"],
        );
        check(&format!("{s3}options = {{ region = 1 }}"), &["3: options: region: its value is none"]);
        check(&format!("{s3}options = {{ secret-key = 'x' }}"), &["3: options: secret-key: no credentials"]);
        check(
            &format!("{s3}options = {{ account = 'x' }}"),
            &["3: options: s3:// takes no option 'account'"],
        );
        check("[repositories.a]\nlocation = '/b'\noptions = {}", &["3: options: only what is in an object"]);
        check("[repositories.a]\nlocation = 's3://k:s@b'", &["2: location: s3://k:s@b: no credentials"]);
        check("[repositories.a]\nlocation = 'sqlite://b'", &["2: location: sqlite://b: a relative path"]);
        check("[repositories.'a b']\nlocation = '/b'", &["1: \"a b\": a name has letters"]);
        check("[repositories]\na = '/b'", &["2: repositories.a: must be a table"]);
        check("repositories = 1", &["1: repositories: must be a table"]);
        check("[repositories.a]\nlocation='/b'\npassphrase = 'x'", &["3: a passphrase does not belong"]);
        check("[repositories.a]\nlocation='/b'\nkeyfile = 'x'", &["3: keyfile: x: a relative path"]);
        check(
            "[repositories.a]\nlocation='/b'\npassphrase-command = 'x'\nkeyfile='/x'",
            &["4: 'keyfile' and"],
        );
        check("[sources.a]\npaths = []", &["2: paths: at least one"]);
        check(
            "[sources.a]\npaths = ['a', '/b', '']",
            &["2: paths: must be a text", "2: paths: a: a relative path"],
        );
        check("[sources.a]\nbefore = 'x'", &["1: sources.a: 'paths' is missing"]);
        check(
            "[sources.a]\npaths = ['/b']\nexclude = ['', 'a', '# b', '{']",
            &["3: exclude: must be", "3: exclude: \"# b\" is no pattern", "3: exclude: \"{\" is no pattern"],
        );
        check(
            "[sources.a]\npaths = ['/b']\ntags = ['']\nexcludes = []",
            &["3: tags: must be", "4: unknown key: excludes; did you mean 'exclude'?"],
        );
        check(
            "[sources.a]\npaths = ['/b']\nexclude-if-present = ['a/b']\nmax-size = 5\ngitignore = 'yes'",
            &[
                "3: exclude-if-present: a/b: no name",
                "4: max-size: must be a text",
                "5: gitignore: must be true or false",
            ],
        );
        check("a = 1\na = 2\n", &["2: "]);
        check("\n[x\n", &["2: "]);
        assert_eq!(read(b"\n\xff", None).unwrap_err(), [Problem { line: 2, what: "not UTF-8".into() }]);
    }

    #[test]
    fn any_bytes_are_read_or_refused() {
        let text =
            b"default = '@nas'\n[repositories.nas]\nlocation = 'ssh://nas/srv'\n[sources.a]\npaths = ['/']\n";
        for at in 0..text.len() {
            for byte in [0, b'\n', b'[', b'"', b'=', 0xff] {
                let mut changed = text.to_vec();
                changed[at] = byte;
                for bytes in [&changed[..], &text[..at]] {
                    if let Err(problems) = read(bytes, None) {
                        assert!(!problems.is_empty());
                        assert!(
                            problems
                                .iter()
                                .all(|one| (1..=6).contains(&one.line) && !one.what.contains('\n'))
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn near_misses_are_near() {
        let known = || ["location", "keyfile", "passphrase-command"].into_iter();
        assert_eq!(alike("locaton", known()), Some("location"));
        assert_eq!(alike("key-file", known()), Some("keyfile"));
        assert_eq!(alike("passphrasecommand", known()), Some("passphrase-command"));
        assert_eq!(alike("x", known()), None);
    }
}
