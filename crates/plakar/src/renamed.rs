//! What is pushed under another path than where it lies: `push -as`.

use plakar_engine::source::{Content, Event, Extras, Item, Source};
use plakar_engine::tree::{Device, Kind, Meta, Time};
use std::io;

/// A source with one root, as if that lay elsewhere. The directories above it are made up: those that it really lies in say
/// nothing of that place.
pub struct Renamed<S> {
    inner: S,
    root: Vec<u8>,
    names: Vec<Vec<u8>>,
    now: Time,
    /// Directories above the new place that the walk is in.
    above: usize,
    /// How many directories of the source it is in, from its root on.
    depth: usize,
    /// The root has come and is over.
    over: bool,
    /// The last event was of the source, and not made up.
    inside: bool,
}

impl<S: Source> Renamed<S> {
    /// What lies at `root` in the source, as if it lay at `path`; both are absolute.
    pub fn new(inner: S, root: Vec<u8>, path: &[u8], now: Time) -> Renamed<S> {
        let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).map(<[u8]>::to_vec);
        Renamed { inner, root, names: names.collect(), now, above: 0, depth: 0, over: false, inside: false }
    }

    /// A directory on the way.
    fn enter(&mut self) -> Event {
        let name = self.above.checked_sub(1).map_or(Vec::new(), |at| self.names[at].clone());
        self.above += 1;
        let meta = Meta { mode: 0o755, mtime: self.now, ..Meta::default() };
        Event::Enter(Item {
            name,
            kind: Kind::Directory,
            meta,
            size: 0,
            device: Device::default(),
            fingerprint: 0,
            same_file: 0,
            sparse: false,
            ancestor: true,
        })
    }
}

impl<S: Source> Source for Renamed<S> {
    fn next(&mut self) -> Option<Event> {
        self.inside = false;
        if !self.over && self.above < self.names.len() {
            return Some(self.enter());
        }
        while !self.over {
            let mut event = self.inner.next()?;
            let at_root = self.depth == 0;
            match &mut event {
                // What really lies above.
                Event::Enter(item) if item.ancestor => continue,
                Event::Leave { .. } if at_root => continue,
                Event::Enter(item) | Event::Leaf(item) if at_root => {
                    item.name = self.names.last().cloned().unwrap_or_default();
                }
                Event::Failed { name, .. } if at_root => {
                    *name = self.names.last().cloned().unwrap_or_default();
                }
                _ => {}
            }
            match &event {
                Event::Enter(_) => self.depth += 1,
                Event::Leave { .. } => self.depth -= 1,
                _ => {}
            }
            self.over = self.depth == 0;
            self.inside = true;
            return Some(event);
        }
        if self.above > 0 {
            self.above -= 1;
            return Some(Event::Leave { unreadable: None });
        }
        // What is told at the end of a walk is told.
        while self.inner.next().is_some() {}
        None
    }

    fn path(&self) -> Vec<u8> {
        let mut path = Vec::new();
        let names = if self.inside { self.names.len() } else { self.above.saturating_sub(1) };
        self.names[..names].iter().for_each(|name| path.extend([b"/", &name[..]].concat()));
        if self.inside {
            let inner = self.inner.path();
            let rest = inner.strip_prefix(&self.root[..]).unwrap_or_default();
            let slash: &[u8] = if rest.is_empty() || rest[0] == b'/' { b"" } else { b"/" };
            path.extend([slash, rest].concat());
        }
        if path.is_empty() { b"/".to_vec() } else { path }
    }

    fn extras(&mut self) -> io::Result<Extras> {
        if self.inside { self.inner.extras() } else { Ok(Extras::default()) }
    }

    fn open(&mut self) -> io::Result<Box<dyn Content + '_>> {
        self.inner.open()
    }
}
