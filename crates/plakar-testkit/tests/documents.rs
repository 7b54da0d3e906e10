//! Prose goes stale unless something reads it: what the documents say of paths, links, crates, arrows, examples and limits
//! is compared with the project.
//!
//! Not here: whether what they explain is right, or well explained.

use plakar_engine::{block, chunker, crypto, id, index, log, pack, repository, tree};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("this crate lies two folders below the project")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Paths beneath `folder`, relative to the project, of files that `wanted` picks.
fn files(folder: &str, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let (mut found, mut pending) = (Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = pending.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                if !path.ends_with("target") {
                    pending.push(path);
                }
            } else if wanted(&path) {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn has_extension(extension: &'static str) -> impl Fn(&Path) -> bool {
    move |path| path.extension().is_some_and(|e| e == extension)
}

/// Every document, by its path relative to the project.
fn documents() -> Vec<(PathBuf, String)> {
    let top = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md"].map(PathBuf::from);
    let all =
        top.into_iter().chain(files("docs", &has_extension("md"))).chain(files("fuzz", &has_extension("md")));
    let all: Vec<_> = all.map(|path| (path.clone(), read(&path))).collect();
    assert!(all.len() >= 9, "documents are missing");
    all
}

/// A document taken apart: prose, and what stands between fences with what follows the opening one.
fn fences(text: &str) -> (String, Vec<(String, String)>) {
    let (mut prose, mut blocks, mut open) = (String::new(), Vec::new(), None::<(String, String)>);
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(info), None) => open = Some((info.trim().to_owned(), String::new())),
            (Some(_), Some(_)) => blocks.push(open.take().unwrap()),
            (None, Some((_, inside))) => *inside += &format!("{line}\n"),
            (None, None) => prose += &format!("{line}\n"),
        }
    }
    assert!(open.is_none(), "a fence is never closed");
    (prose, blocks)
}

/// What stands in backticks.
fn spans(prose: &str) -> Vec<&str> {
    prose.split("\n\n").flat_map(|paragraph| paragraph.split('`').skip(1).step_by(2)).collect()
}

fn looks_like_a_path(word: &str) -> bool {
    let inside = ["crates/", "docs/", "scripts/", ".ci/", "fuzz/"].iter().any(|top| word.starts_with(top));
    let top = [".md", ".toml", ".lock"].iter().any(|end| word.ends_with(end)) && !word.contains('/');
    inside || top
}

#[test]
fn every_path_named_is_there() {
    let mut seen = 0;
    for (document, text) in documents() {
        let (prose, blocks) = fences(&text);
        let in_blocks = blocks.iter().flat_map(|(_, inside)| inside.split_whitespace());
        for word in
            spans(&prose).into_iter().filter_map(|span| span.split_whitespace().next()).chain(in_blocks)
        {
            if looks_like_a_path(word) {
                assert!(root().join(word).exists(), "{}: there is no {word}", document.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 30, "only {seen} paths were recognised");
}

#[test]
fn every_test_named_is_there() {
    let sources: String = files("crates", &has_extension("rs")).iter().map(read).collect();
    let look_up = |document: &str, named: BTreeSet<&str>, least: usize| {
        assert!(named.len() > least, "{document}: only {} tests were recognised", named.len());
        for name in named {
            assert!(sources.contains(&format!("fn {name}(")), "{document}: there is no test {name}");
        }
    };
    let safety = read("docs/safety.md");
    let (_, table) = safety.split_once("## Mistakes that others made").expect("the table of tests");
    look_up("docs/safety.md", spans(table).into_iter().collect(), 40);
    // There, in the last column; what has none is said to be missing, or that it has none.
    let features = read("docs/features.md");
    let last =
        features.lines().filter_map(|row| row.strip_suffix(" |")?.rsplit_once("| ").map(|(_, last)| last));
    look_up(
        "docs/features.md",
        last.filter_map(|last| last.strip_prefix('`')?.strip_suffix('`')).collect(),
        35,
    );
}

/// The anchors of a document: its headings as they are made into links.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = fences(text).0;
    let headings =
        headings.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#'));
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    headings
        .map(|h| h.trim().to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-"))
        .collect()
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut seen = 0;
    for (document, text) in documents() {
        for link in fences(&text).0.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (path, anchor) =
                link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
            let here = document.parent().unwrap();
            let target = if path.is_empty() { document.clone() } else { here.join(path) };
            assert!(root().join(&target).exists(), "{}: the link {link} leads nowhere", document.display());
            if let Some(anchor) = anchor {
                let known = anchors(&read(&target));
                assert!(known.contains(anchor), "{}: no heading is called #{anchor}", document.display());
            }
            seen += 1;
        }
    }
    assert!(seen > 40, "only {seen} links were recognised");
}

/// The dependencies that a manifest names, by the section.
fn dependencies(manifest: impl AsRef<Path>) -> BTreeMap<String, BTreeSet<String>> {
    let (mut found, mut section) = (BTreeMap::<String, BTreeSet<String>>::new(), String::new());
    for line in read(manifest).lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.trim_matches(['[', ']']).to_owned();
            // [dependencies.name]
            if let Some((kind, name)) = section.clone().rsplit_once("dependencies.") {
                found.entry(format!("{kind}dependencies")).or_default().insert(name.to_owned());
            }
        } else if section.ends_with("dependencies")
            && !line.starts_with('#')
            && let Some((name, _)) = line.split_once('=')
        {
            let name = name.trim().split('.').next().unwrap().trim_matches('"');
            found.entry(section.clone()).or_default().insert(name.to_owned());
        }
    }
    found
}

/// The crates of the project, with their manifests.
fn crates() -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
    let manifests = files("crates", &|path| path.ends_with("Cargo.toml"));
    let name = |path: &Path| path.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    manifests.into_iter().map(|path| (name(&path), dependencies(&path))).collect()
}

#[test]
fn dependencies_are_those_of_the_manifests() {
    let ours: BTreeSet<String> = crates().into_keys().collect();
    let workspace = dependencies("Cargo.toml");
    let fuzz = root().join("fuzz/Cargo.toml");
    let fuzz = if fuzz.exists() { dependencies(fuzz) } else { BTreeMap::new() };
    let all = crates().into_values().chain([workspace, fuzz]).flat_map(BTreeMap::into_values).flatten();
    let named: BTreeSet<String> = all.filter(|name| !ours.contains(name)).collect();

    let text = read("docs/dependencies.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let listed: BTreeSet<String> = rows.map(str::to_owned).collect();
    assert_eq!(
        named.difference(&listed).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "not in docs/dependencies.md"
    );
    assert_eq!(listed.difference(&named).collect::<Vec<_>>(), Vec::<&String>::new(), "in no manifest");
}

#[test]
fn the_map_shows_every_crate_and_every_module_of_the_engine() {
    let text = read("ARCHITECTURE.md");
    for name in crates().keys() {
        assert!(text.contains(&format!("**`{name}`**")), "ARCHITECTURE.md does not tell what {name} is");
    }
    let engine = text.split("## The engine").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let listed: BTreeSet<&str> =
        engine.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let entries = fs::read_dir(root().join("crates/plakar-engine/src")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let there: BTreeSet<String> =
        names.map(|n| n.trim_end_matches(".rs").to_owned()).filter(|n| n != "lib").collect();
    assert_eq!(listed, there.iter().map(String::as_str).collect(), "modules of the engine");
}

/// Sources of a crate without what is only compiled for tests.
fn sources(name: &str) -> Vec<(PathBuf, String)> {
    let sources = files(&format!("crates/{name}/src"), &has_extension("rs")).into_iter();
    sources.map(|path| (path.clone(), read(&path).split("#[cfg(test)]").next().unwrap().to_owned())).collect()
}

#[test]
fn the_arrows_that_do_not_exist_do_not_exist() {
    let crates = crates();
    let ours: BTreeSet<&String> = crates.keys().collect();
    let none = BTreeSet::new();
    let normal = |name: &str| crates[name].get("dependencies").unwrap_or(&none);
    let ours_of =
        |name: &str| normal(name).iter().filter(|d| ours.contains(d)).map(String::as_str).collect::<Vec<_>>();

    assert_eq!(ours_of("plakar-store"), [""; 0]);
    assert_eq!(ours_of("plakar-store-sqlite"), ["plakar-store"]);
    assert_eq!(ours_of("plakar-store-sftp"), ["plakar-store"]);
    assert_eq!(ours_of("plakar-net"), ["plakar-store"]);
    assert_eq!(ours_of("plakar-store-object"), ["plakar-store"]);
    assert_eq!(ours_of("plakar-testkit-s3"), [""; 0]);
    assert_eq!(ours_of("plakar-engine"), ["plakar-store"]);
    assert!(!ours_of("plakar-fs").contains(&"plakar-store"));
    for (name, sections) in &crates {
        assert!(sections.values().all(|section| !section.contains("plakar")), "{name} depends on the binary");
        for tests in ["plakar-testkit", "plakar-testkit-s3"] {
            assert!(!normal(name).contains(tests), "{name} depends on {tests} outside tests");
        }
    }
    for human in ["clap", "dirs", "indicatif", "rpassword", "signal-hook"] {
        assert!(!normal("plakar-engine").contains(human), "plakar-engine meets {human}");
    }
    for (path, text) in sources("plakar-engine") {
        for word in
            ["std::env", "env::var", "stdin()", "stdout()", "stderr()", "println!", "eprintln!", "dbg!"]
        {
            assert!(!text.contains(word), "{}: {word}", path.display());
        }
    }
    let lock = read("Cargo.lock");
    // One crypto library, and no second client.
    for other in ["aws-lc-rs", "aws-lc-sys", "openssl-sys", "native-tls", "reqwest"] {
        assert!(!lock.contains(&format!("name = \"{other}\"\n")), "{other} is in Cargo.lock");
    }
    for runtime in ["async-std", "smol", "futures-executor"] {
        assert!(!lock.contains(&format!("name = \"{runtime}\"\n")), "{runtime} is in Cargo.lock");
    }
    let runtimes = ["plakar-net", "plakar-store-object", "plakar-testkit-s3"];
    for (name, sections) in crates.iter().filter(|(name, _)| !runtimes.contains(&name.as_str())) {
        let all: BTreeSet<_> = sections.values().flatten().map(String::as_str).collect();
        for runtime in ["tokio", "hyper", "hyper-util"] {
            assert!(!all.contains(runtime), "{name} depends on {runtime}");
        }
        let is_async = |(_, text): &(PathBuf, String)| text.contains("async ");
        assert!(!sources(name).iter().any(is_async), "{name} is asynchronous");
    }
    assert!(read("Cargo.toml").contains("unsafe_code = \"deny\""));
    for name in ours {
        assert!(read(format!("crates/{name}/Cargo.toml")).contains("[lints]\nworkspace = true"), "{name}");
        let allowed = |(_, text): &(PathBuf, String)| text.contains("allow(unsafe_code)");
        assert!(!sources(name).iter().any(allowed), "{name} allows unsafe code");
    }
}

/// The golden vectors, by name.
fn golden() -> BTreeMap<String, Vec<u8>> {
    let all = files("crates/plakar-engine/tests/data", &|p| p.to_str().unwrap().contains("golden"));
    let text: String = all.iter().map(read).collect();
    let pairs = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = "));
    pairs.map(|(name, digits)| (name.to_owned(), bytes(digits))).collect()
}

fn bytes(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    assert!(digits.len().is_multiple_of(2), "half a byte");
    let byte =
        |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).expect("hexadecimal digits");
    digits.chunks(2).map(byte).collect()
}

/// A fence `hex NAME` holds the vector NAME, `hex NAME FROM..TO` these bytes of it; a line may end in `# explanation`.
#[test]
fn every_example_of_the_format_is_the_vector_of_its_name() {
    let golden = golden();
    let mut seen = 0;
    for (info, inside) in fences(&read("docs/format.md")).1 {
        let Some(name) = info.strip_prefix("hex ") else { continue };
        let (name, range) =
            name.split_once(' ').map_or((name, None), |(name, range)| (name, range.split_once("..")));
        let mut vector = &golden.get(name).unwrap_or_else(|| panic!("there is no vector {name}"))[..];
        if let Some((from, to)) = range {
            vector = &vector[from.parse().unwrap()..to.parse().unwrap()];
        }
        let digits: String = inside.lines().map(|line| line.split('#').next().unwrap()).collect();
        assert_eq!(id::hex(&bytes(&digits)), id::hex(vector), "{name}");
        seen += 1;
    }
    assert!(seen >= 15, "only {seen} examples");
}

#[test]
fn every_magic_and_context_string_is_specified() {
    let format = read("docs/format.md");
    let mut seen = 0;
    for (path, text) in sources("plakar-engine") {
        let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for literal in code.split('"').skip(1).step_by(2) {
            let magic = literal.len() == 8 && literal.starts_with("PLK");
            if magic || literal.starts_with("plakar v1 ") || literal.starts_with("plakar1") {
                assert!(format.contains(literal), "{}: {literal:?} is not in docs/format.md", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "only {seen} strings");
}

/// A number with commas.
fn n(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().ok().expect("not negative").to_string();
    let groups: Vec<_> =
        digits.as_bytes().rchunks(3).rev().map(|g| std::str::from_utf8(g).unwrap()).collect();
    groups.join(",")
}

#[test]
fn limits_are_those_of_the_code() {
    use crypto::slot::Cost;
    use tree::node;
    let mut rows = vec![
        format!("| `replica`, `config` | {} |", n(repository::records::RECORD_BYTES_MAX)),
        format!(
            "| key slot; slots tried | {}; {} |",
            n(crypto::slot::SLOT_BYTES_MAX),
            crypto::slot::SLOTS_MAX
        ),
        format!("| keyring; epochs in it | {}; 10,000, at least 1 |", n(crypto::keyring::KEYRING_BYTES_MAX)),
        format!(
            "| block: sealed; raw; items | {}; {}; {} |",
            n(block::SEALED_MAX),
            n(block::RAW_MAX),
            n(block::ITEMS_MAX)
        ),
        format!("| length at which packs are closed | {} |", n(repository::records::PACK_TARGET_MAX)),
        format!("| pack that is read whole | {}; offsets are u32 |", n(pack::PACK_BYTES_MAX)),
        format!("| segment inside a fact | {}, a rule for writers |", n(index::segment::EMBEDDED_MAX)),
        format!("stored; raw, if compressed; window of its frame | {}; ", n(log::object::LOG_BYTES_MAX)),
        format!("| node: items; level; bytes | {}; {}; 4 MiB |", node::ITEMS_MAX, node::LEVEL_MAX),
        format!("| entry: name; user; group; link target | {0}; 255; 255; 4,095 |", node::NAME_BYTES_MAX),
        format!(
            "| extended attributes: in an entry; in a chunk | {}; {} |",
            n(tree::XATTRS_INLINE_MAX),
            n(node::CHUNK_BYTES_MAX)
        ),
        format!(
            "| file kept in its entry; rows kept in an entry | {}; {} |",
            tree::INLINE_BYTES_MAX,
            tree::ROWS_MAX
        ),
        format!("| chunk; repeat of a row | {}; 2^32 − 1 |", n(node::CHUNK_BYTES_MAX)),
        format!(
            "{} <= min < avg < max <= {}",
            chunker::ChunkerParams::MIN_LEAST,
            n(chunker::ChunkerParams::MAX_MOST)
        ),
        format!("memory from 8 KiB a lane to {} KiB", n(Cost::MEMORY_KIB_MAX)),
        format!("times passes at most\n{}.", n(Cost::WORK_MAX)),
        format!("1. Up to {} items are one page.", tree::pages::SINGLE_MAX),
        format!("if the page has at least {} items", tree::pages::PAGE_MIN),
        format!("and at {} items at the latest", tree::pages::PAGE_MAX),
        format!("A *row* is {} bytes", index::IndexRow::LEN),
        format!("is {} rows; the last page", index::segment::PAGE_ROWS),
        format!(
            "once it holds {} raw bytes, one of nodes at {}",
            n(block::DATA_RAW_TARGET),
            n(block::TREE_RAW_TARGET)
        ),
    ];
    rows.push(format!("| place of an origin | {} |", n(repository::records::ORIGIN_LOCATION_MAX)));
    let segment = n(plakar_engine::clone::SEGMENT_BYTES_MAX);
    rows.push(format!("| index segment that is copied to a clone | {segment} |"));
    rows.push(format!("| name of an object | {} |", 200));
    const { assert!(node::NODE_BYTES_MAX == 4 << 20) };
    let format = read("docs/format.md");
    for row in rows {
        assert!(format.contains(&row), "docs/format.md does not say: {row}");
    }
}

#[test]
fn nothing_names_one_machine_or_one_registry() {
    let scripts = files("scripts", &|_| true).into_iter().chain(files(".ci", &|_| true));
    let scripts = scripts.map(|path| (path.clone(), read(&path)));
    for (path, text) in documents().into_iter().chain(scripts) {
        let apart = |c: char| !(c.is_alphanumeric() || "/._-".contains(c));
        for word in text.split(apart) {
            let machine =
                ["/work", "/root"].iter().any(|top| word == *top || word.starts_with(&format!("{top}/")));
            // After a variable, as in "$work/tree", the word does not begin with a slash.
            assert!(!machine, "{}: {word}", path.display());
            assert!(!word.contains("crates.io"), "{}: {word}", path.display());
        }
    }
}
