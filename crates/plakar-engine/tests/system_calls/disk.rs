//! What a disk may hold after a power cut: what was flushed, and of the rest anything.

use super::record::{Call, What};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// The visible files: path below the folder, and bytes. Temporary files are nobody's.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A file or a folder, whatever it is called.
type Node = usize;
const ROOT: Node = 0;

/// One thing that is on the disk or is not.
enum Step {
    /// A name in a folder means this now.
    Name {
        folder: Node,
        name: String,
        node: Option<Node>,
    },
    /// A name in a folder became another.
    Rename {
        from: (Node, String),
        to: (Node, String),
        node: Node,
    },
    Write {
        node: Node,
        bytes: Vec<u8>,
    },
    Flush(Node),
    FlushAll,
}

struct Timed {
    began: usize,
    ended: usize,
    step: Step,
}

/// A folder as it was at first, and what was done to it.
pub struct Disk {
    /// Folders among the nodes; all others are files.
    folders: BTreeSet<Node>,
    /// Names at the beginning.
    names: BTreeMap<(Node, String), Node>,
    /// What files held at the beginning.
    contents: HashMap<Node, Vec<u8>>,
    steps: Vec<Timed>,
}

/// What of a step is on the disk that was not flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    Nothing,
    /// A file has its length, and zeros.
    Zeros,
}

impl Disk {
    /// A folder whose files and names are all on the disk.
    pub fn new(folder: &Path) -> Disk {
        let mut disk = Disk {
            folders: BTreeSet::from([ROOT]),
            names: BTreeMap::new(),
            contents: HashMap::new(),
            steps: Vec::new(),
        };
        disk.take(folder, ROOT, &mut 1);
        disk
    }

    fn take(&mut self, folder: &Path, node: Node, next: &mut Node) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let new = *next;
            *next += 1;
            self.names.insert((node, entry.file_name().into_string().unwrap()), new);
            if entry.file_type().unwrap().is_dir() {
                self.folders.insert(new);
                self.take(&entry.path(), new, next);
            } else {
                self.contents.insert(new, std::fs::read(entry.path()).unwrap());
            }
        }
    }

    /// What was done then, to the folder that had this path.
    pub fn then(&mut self, calls: Vec<Call>, folder: &Path) {
        let folder = folder.to_str().unwrap();
        // As everybody saw it while it was done.
        let mut names = self.names.clone();
        let mut next = self.folders.len() + self.contents.len();
        for Call { began, ended, what } in calls {
            let place = |names: &BTreeMap<(Node, String), Node>, path: &str| {
                let inside = path.strip_prefix(folder).expect("it is inside").trim_start_matches('/');
                let (above, name) = inside.rsplit_once('/').unwrap_or(("", inside));
                (find(names, above).unwrap_or_else(|| panic!("{path}: no such folder")), name.to_owned())
            };
            let node = |names: &BTreeMap<(Node, String), Node>, path: &str| {
                let inside = path.strip_prefix(folder).expect("it is inside").trim_start_matches('/');
                find(names, inside).unwrap_or_else(|| panic!("{path}: no such file"))
            };
            let name = |at: (Node, String), node| Step::Name { folder: at.0, name: at.1, node };
            let step = match what {
                What::Create(path) | What::Folder(path) if names.contains_key(&place(&names, &path)) => {
                    panic!("{path} was there")
                }
                What::Create(path) => {
                    let at = place(&names, &path);
                    names.insert(at.clone(), next);
                    self.contents.insert(next, Vec::new());
                    next += 1;
                    name(at, Some(next - 1))
                }
                What::Folder(path) => {
                    let at = place(&names, &path);
                    names.insert(at.clone(), next);
                    self.folders.insert(next);
                    next += 1;
                    name(at, Some(next - 1))
                }
                What::Write(path, bytes) => Step::Write { node: node(&names, &path), bytes },
                What::Link(from, to) => {
                    let (node, to) = (node(&names, &from), place(&names, &to));
                    names.insert(to.clone(), node);
                    name(to, Some(node))
                }
                What::Rename(from, to) => {
                    let (from, to) = (place(&names, &from), place(&names, &to));
                    let node = names.remove(&from).expect("it was there");
                    names.insert(to.clone(), node);
                    Step::Rename { from, to, node }
                }
                What::Remove(path) => {
                    let at = place(&names, &path);
                    names.remove(&at);
                    name(at, None)
                }
                What::Flush(path) => Step::Flush(node(&names, &path)),
                What::FlushAll => Step::FlushAll,
            };
            self.steps.push(Timed { began, ended, step });
        }
    }

    /// Leaves out flushes, as a careless store would.
    pub fn forget_flushes(&mut self, of_folders: bool) -> usize {
        let before = self.steps.len();
        let folders = &self.folders;
        self.steps.retain(
            |timed| !matches!(timed.step, Step::Flush(node) if folders.contains(&node) == of_folders),
        );
        before - self.steps.len()
    }

    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Which of the first `done` steps need not be on the disk.
    pub fn pending(&self, done: usize) -> Vec<usize> {
        let done = &self.steps[..done];
        let flushed = |step: &Timed, node: Node| {
            done.iter().any(|flush| {
                let meant = match flush.step {
                    Step::Flush(flushed) => flushed == node,
                    Step::FlushAll => true,
                    _ => false,
                };
                meant && flush.began > step.ended
            })
        };
        let pending = |step: &Timed| match &step.step {
            Step::Name { folder, .. } => !flushed(step, *folder),
            Step::Rename { from, to, .. } => !flushed(step, from.0) || !flushed(step, to.0),
            Step::Write { node, .. } => !flushed(step, *node),
            Step::Flush(_) | Step::FlushAll => false,
        };
        (0..done.len()).filter(|number| pending(&done[*number])).collect()
    }

    /// What the disk holds after a power cut, when these of the first `done` steps are not on it.
    pub fn after(&self, done: usize, lost: &[usize], left: Left) -> Files {
        let (mut names, mut contents) = (self.names.clone(), self.contents.clone());
        for (number, timed) in self.steps[..done].iter().enumerate() {
            let lost = lost.contains(&number);
            match &timed.step {
                Step::Name { folder, name, node: Some(node) } if !lost => {
                    names.insert((*folder, name.clone()), *node);
                }
                Step::Name { folder, name, node: None } if !lost => {
                    names.remove(&(*folder, name.clone()));
                }
                Step::Rename { from, to, node } if !lost => {
                    names.remove(from);
                    names.insert(to.clone(), *node);
                }
                Step::Write { node, bytes } => {
                    let content = contents.get_mut(node).expect("a file is written to");
                    match (lost, left) {
                        (false, _) => content.extend(bytes),
                        (true, Left::Zeros) => content.resize(content.len() + bytes.len(), 0),
                        (true, Left::Nothing) => {}
                    }
                }
                _ => {}
            }
        }
        let mut files = Files::new();
        self.collect(&names, &contents, ROOT, "", &mut files);
        files
    }

    fn collect(
        &self,
        names: &BTreeMap<(Node, String), Node>,
        contents: &HashMap<Node, Vec<u8>>,
        folder: Node,
        above: &str,
        files: &mut Files,
    ) {
        for ((_, name), node) in names.range((folder, String::new())..(folder + 1, String::new())) {
            if self.folders.contains(node) {
                self.collect(names, contents, *node, &format!("{above}{name}/"), files);
            } else if !name.starts_with(".tmp-") {
                files.insert(format!("{above}{name}"), contents[node].clone());
            }
        }
    }
}

fn find(names: &BTreeMap<(Node, String), Node>, path: &str) -> Option<Node> {
    let parts = path.split('/').filter(|part| !part.is_empty());
    parts.into_iter().try_fold(ROOT, |folder, part| names.get(&(folder, part.to_owned())).copied())
}
