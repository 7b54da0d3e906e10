//! Writing many files at once, their chunks in the order in which they lie in packs.

use crate::target::{Attributes, Problem, TargetDir, TargetFile, What};
use plakar_engine::block::{Block, ItemId};
use plakar_engine::index::Place;
use plakar_engine::read::Reader;
use plakar_engine::tree::{Body, Chunks, Content, Entry, FLAG_SPARSE, Meta, Object, Row};
use plakar_engine::{Error, Result};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A batch is written once it has so many bytes,
const BYTES_MAX: u64 = 48 << 20;
/// files,
const FILES_MAX: usize = 4096;
/// files with several chunks, which may all be open at once,
const OPEN_MAX: usize = 200;
/// or directories, of which each is held open.
const DIRS_MAX: usize = 200;

/// Far away, so many sealed bytes are asked for together,
const WAVE_BYTES: u64 = 2 << 20;
/// by so many threads: while some wait, others are sent what they asked for.
const WAVES_FAR: usize = 4;

/// A file to be written.
pub struct FileJob {
    dir: Arc<TargetDir>,
    name: Vec<u8>,
    meta: Meta,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    sparse: bool,
    size: u64,
    inline: Vec<u8>,
    rows: Vec<Row>,
}

impl FileJob {
    /// Prepares the restore of a file. The rows of its chunk list are read now unless it is to be streamed.
    pub fn new(
        reader: &Reader,
        dir: Arc<TargetDir>,
        entry: &Entry,
        xattrs: Vec<(Vec<u8>, Vec<u8>)>,
        stream: bool,
    ) -> Result<FileJob> {
        let Content::File(object) = &entry.content else { unreachable!("only files become jobs") };
        let mut rows = Vec::new();
        let mut inline = Vec::new();
        match &object.body {
            Body::Inline(bytes) => inline.clone_from(bytes),
            _ if stream => {}
            _ => {
                let mut chunks = Chunks::open(reader, object)?;
                while let Some(row) = chunks.next_row()? {
                    rows.push(row);
                }
            }
        }
        Ok(FileJob {
            dir,
            name: entry.name.clone(),
            meta: entry.meta.clone(),
            xattrs,
            sparse: entry.flags & FLAG_SPARSE != 0,
            size: object.size,
            inline,
            rows,
        })
    }

    fn path(&self) -> Vec<u8> {
        super::join(self.dir.path(), &self.name)
    }
}

/// What became of a file.
#[derive(Default)]
pub struct Outcome {
    /// Its path in the target.
    pub path: Vec<u8>,
    /// Whether it is there, with all its bytes.
    pub made: bool,
    /// How many bytes were written that nobody counted yet.
    pub bytes: u64,
    /// What could not be done in the target.
    pub problems: Vec<Problem>,
    /// What is damaged in the repository.
    pub damage: Option<Error>,
}

/// Files to be written together.
#[derive(Default)]
pub struct Batch {
    jobs: Vec<FileJob>,
    bytes: u64,
    several: usize,
    dirs: usize,
}

/// One chunk that one file wants, at one place or several in a row.
struct Want {
    place: Place,
    item: ItemId,
    job: usize,
    offset: u64,
    row: Row,
}

/// A file that is being written.
struct Open<'a> {
    job: &'a FileJob,
    /// Wants that are still to come.
    left: AtomicUsize,
    state: Mutex<OpenState>,
}

#[derive(Default)]
struct OpenState {
    file: Option<TargetFile>,
    outcome: Outcome,
    failed: bool,
}

impl Batch {
    /// Adds a file.
    pub fn push(&mut self, job: FileJob) {
        self.bytes += job.size;
        self.several += usize::from(job.rows.len() > 1);
        let same_dir = self.jobs.last().is_some_and(|last| Arc::ptr_eq(&last.dir, &job.dir));
        self.dirs += usize::from(!same_dir);
        self.jobs.push(job);
    }

    /// Whether it has no files.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Whether it is time to write it.
    pub fn is_full(&self) -> bool {
        self.bytes >= BYTES_MAX
            || self.jobs.len() >= FILES_MAX
            || self.several >= OPEN_MAX
            || self.dirs >= DIRS_MAX
    }

    /// Writes all files; tells what became of each.
    ///
    /// # Errors
    /// Only what is about the whole run, such as a store that cannot be reached.
    pub fn write(self, reader: &Reader, workers: usize) -> Result<Vec<Outcome>> {
        let rows = self.jobs.iter().flat_map(|job| &job.rows);
        let asked: Vec<_> = rows.map(|row| ItemId::from(row.id)).collect();
        if reader.is_far() {
            reader.prefetch(&asked);
        }
        let mut wants = Vec::new();
        let mut open: Vec<Open> = Vec::with_capacity(self.jobs.len());
        for (number, job) in self.jobs.iter().enumerate() {
            let mut state = OpenState::default();
            state.outcome.path = job.path();
            let before = wants.len();
            let mut offset = 0;
            for row in &job.rows {
                let item = ItemId::from(row.id);
                match reader.places(&item) {
                    Ok(places) => wants.push(Want { place: places[0], item, job: number, offset, row: *row }),
                    Err(e) => {
                        state.failed = true;
                        state.outcome.damage = Some(e);
                        wants.truncate(before);
                        break;
                    }
                }
                offset += row.bytes();
            }
            let left = AtomicUsize::new(wants.len() - before);
            open.push(Open { job, left, state: Mutex::new(state) });
        }
        wants.sort_by_key(|want| (want.place.pack, want.place.offset, want.place.ordinal));
        let groups = groups(&wants);
        let waves = waves(&groups, reader.is_far());
        let whole: Vec<usize> =
            (0..open.len()).filter(|n| open[*n].left.load(Ordering::Relaxed) == 0).collect();
        let next = AtomicUsize::new(0);
        let failure = Mutex::new(None);
        let work = || loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let result = if at < whole.len() {
                write_inline(&open[whole[at]]);
                Ok(())
            } else if let Some(wave) = waves.get(at - whole.len()) {
                for_each_block(reader, wave, &mut |group, block| write_group(reader, group, block, &open))
            } else {
                return;
            };
            if let Err(e) = result {
                failure.lock().expect("no panic while held").get_or_insert(e);
                next.store(usize::MAX / 2, Ordering::Relaxed);
                return;
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..threads(reader, workers).min(waves.len() + whole.len()) {
                scope.spawn(work);
            }
            work();
        });
        match failure.into_inner().expect("no panic while held") {
            Some(e) => Err(e),
            None => {
                Ok(open.into_iter().map(|open| open.state.into_inner().expect("no panic").outcome).collect())
            }
        }
    }
}

/// Writes a file that needs no chunk.
fn write_inline(open: &Open) {
    let mut state = open.state.lock().expect("no panic while held");
    if state.failed {
        return;
    }
    if let Some(file) = begin(&mut state, open.job) {
        let written = file.write_at(&open.job.inline, 0);
        match written {
            Ok(()) => end(&mut state, open.job),
            Err(e) => refuse(&mut state, open.job, e),
        }
    }
}

/// What is wanted of one block.
type Group<'a> = &'a [Want];

/// What is wanted, by blocks; `wants` are sorted.
fn groups(wants: &[Want]) -> Vec<Group<'_>> {
    wants.chunk_by(|a, b| (a.place.pack, a.place.offset) == (b.place.pack, b.place.offset)).collect()
}

/// What is asked for together.
fn waves<'g, 'w>(groups: &'g [Group<'w>], far: bool) -> Vec<&'g [Group<'w>]> {
    if !far {
        return groups.chunks(1).collect();
    }
    let mut bytes = 0;
    let joins = |group: &Group, _: &Group| {
        bytes += u64::from(group[0].place.sealed_len);
        let more = bytes < WAVE_BYTES;
        bytes = if more { bytes } else { 0 };
        more
    };
    groups.chunk_by(joins).collect()
}

fn threads(reader: &Reader, workers: usize) -> usize {
    if reader.is_far() { workers.max(WAVES_FAR) } else { workers }
}

type EachBlock<'a, E> = dyn FnMut(Group, Option<Arc<Block>>) -> Result<(), E> + 'a;

/// Fetches the blocks of a wave, and calls `each` with each; none is one that could not be read.
fn for_each_block<E>(reader: &Reader, wave: &[Group], each: &mut EachBlock<'_, E>) -> Result<(), E> {
    if let [group] = wave {
        return each(group, reader.block(&group[0].item, &group[0].place).ok());
    }
    let places: Vec<_> = wave.iter().map(|group| (group[0].item.kind, group[0].place)).collect();
    reader.for_each_block(&places, &mut |number, block| each(wave[number], block))
}

/// Writes everything that is wanted out of a block.
fn write_group(reader: &Reader, group: Group, block: Option<Arc<Block>>, open: &[Open]) -> Result<()> {
    for want in group {
        let open = &open[want.job];
        let use_it = &mut |bytes: &[u8]| write_chunk(open, want, bytes);
        let result = match direct(want, block.as_deref(), reader) {
            Some(bytes) => {
                use_it(bytes);
                Ok(())
            }
            // Another copy may do, or the error tells what is wrong.
            None => reader.with_item(&want.item, use_it),
        };
        if let Err(e) = result {
            if !e.is_damage() && !e.is_not_found() {
                return Err(e);
            }
            let mut state = open.state.lock().expect("no panic while held");
            state.failed = true;
            state.file = None;
            state.outcome.damage.get_or_insert(e);
        }
        if open.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            let mut state = open.state.lock().expect("no panic while held");
            if !state.failed {
                end(&mut state, open.job);
            }
        }
    }
    Ok(())
}

/// The bytes that are wanted of a block, proven.
fn direct<'b>(want: &Want, block: Option<&'b Block>, reader: &Reader) -> Option<&'b [u8]> {
    block?.item(want.place.ordinal.into(), &want.item, reader.keys())
}

fn write_chunk(open: &Open, want: &Want, bytes: &[u8]) {
    let mut state = open.state.lock().expect("no panic while held");
    if state.failed {
        return;
    }
    let Some(file) = begin(&mut state, open.job) else { return };
    if let Err(e) = write_row(file, open.job.sparse, want.offset, &want.row, bytes) {
        refuse(&mut state, open.job, e);
    }
}

/// Writes a chunk as often as its row says; zeros of a sparse file are left as holes.
fn write_row(file: &TargetFile, sparse: bool, offset: u64, row: &Row, bytes: &[u8]) -> std::io::Result<()> {
    if bytes.len() != row.len as usize {
        return Err(std::io::Error::other("the chunk is not as long as its row says"));
    }
    if sparse && bytes.iter().all(|b| *b == 0) {
        return Ok(());
    }
    (0..u64::from(row.repeat)).try_for_each(|n| {
        let offset = offset + n * u64::from(row.len);
        if sparse { write_around_zeros(file, bytes, offset) } else { file.write_at(bytes, offset) }
    })
}

/// Writes what is not zero, page by page of the file: holes need not begin or end where chunks do.
fn write_around_zeros(file: &TargetFile, bytes: &[u8], offset: u64) -> std::io::Result<()> {
    const PAGE: u64 = 4096;
    let (mut begin, mut at) = (0, 0);
    while at < bytes.len() {
        let page = (PAGE - (offset + at as u64) % PAGE) as usize;
        let end = bytes.len().min(at + page);
        if bytes[at..end].iter().all(|b| *b == 0) {
            file.write_at(&bytes[begin..at], offset + begin as u64)?;
            begin = end;
        }
        at = end;
    }
    file.write_at(&bytes[begin..], offset + begin as u64)
}

/// The file, made when it is needed first; `None` when it cannot be made.
fn begin<'a>(state: &'a mut OpenState, job: &FileJob) -> Option<&'a TargetFile> {
    if state.file.is_none() {
        match job.dir.file(&job.name) {
            Ok(file) => state.file = Some(file),
            Err(problem) => {
                state.failed = true;
                state.outcome.problems.push(problem);
            }
        }
    }
    state.file.as_ref()
}

/// Finishes a file that has all its bytes.
fn end(state: &mut OpenState, job: &FileJob) {
    if begin(state, job).is_none() {
        return;
    }
    let file = state.file.take().expect("it was begun");
    if job.sparse
        && let Err(e) = file.set_len(job.size)
    {
        drop(file);
        return refuse(state, job, e);
    }
    let attributes = Attributes { meta: &job.meta, xattrs: &job.xattrs };
    let problems = &mut state.outcome.problems;
    match file.finish(&attributes, &mut |problem| problems.push(problem)) {
        Ok(()) => {
            state.outcome.made = true;
            state.outcome.bytes = job.size;
        }
        Err(problem) => problems.push(problem),
    }
}

/// Gives up a file that cannot be written.
fn refuse(state: &mut OpenState, job: &FileJob, source: std::io::Error) {
    state.failed = true;
    state.file = None;
    state.outcome.problems.push(Problem { path: job.path(), what: What::Content, source });
}

/// Writes one large file, a window of its chunks after the other. `tick` is told how many bytes were written.
pub fn stream(
    reader: &Reader,
    job: FileJob,
    object: &Object,
    workers: usize,
    tick: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<Outcome> {
    let damage = |e: Error| {
        if e.is_damage() || e.is_not_found() {
            Ok(Outcome { path: job.path(), damage: Some(e), ..Outcome::default() })
        } else {
            Err(e)
        }
    };
    let mut chunks = match Chunks::open(reader, object) {
        Ok(chunks) => chunks,
        Err(e) => return damage(e),
    };
    let mut state = OpenState::default();
    state.outcome.path = job.path();
    let mut offset = 0;
    loop {
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while bytes < BYTES_MAX && rows.len() < FILES_MAX {
            match chunks.next_row() {
                Ok(Some(row)) => {
                    rows.push((offset, row));
                    offset += row.bytes();
                    bytes += row.bytes();
                }
                Ok(None) => break,
                Err(e) => return damage(e),
            }
        }
        if rows.is_empty() {
            break;
        }
        let Some(file) = begin(&mut state, &job) else { return Ok(state.outcome) };
        match write_window(reader, file, job.sparse, &rows, workers) {
            Ok(()) => tick(bytes)?,
            Err(Failed::Stored(e)) => return damage(e),
            Err(Failed::Target(e)) => {
                refuse(&mut state, &job, e);
                return Ok(state.outcome);
            }
        }
    }
    end(&mut state, &job);
    // They were counted as they were written.
    state.outcome.bytes = 0;
    Ok(state.outcome)
}

enum Failed {
    Stored(Error),
    Target(std::io::Error),
}

fn write_window(
    reader: &Reader,
    file: &TargetFile,
    sparse: bool,
    rows: &[(u64, Row)],
    workers: usize,
) -> std::result::Result<(), Failed> {
    if reader.is_far() {
        reader.prefetch(&rows.iter().map(|(_, row)| ItemId::from(row.id)).collect::<Vec<_>>());
    }
    let mut wants = Vec::with_capacity(rows.len());
    for (offset, row) in rows {
        let item = ItemId::from(row.id);
        let place = reader.places(&item).map_err(Failed::Stored)?[0];
        wants.push(Want { place, item, job: 0, offset: *offset, row: *row });
    }
    wants.sort_by_key(|want| (want.place.pack, want.place.offset, want.place.ordinal));
    let groups = groups(&wants);
    let waves = waves(&groups, reader.is_far());
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let write_all = |group: Group, block: Option<Arc<Block>>| {
        group.iter().try_for_each(|want| {
            let write = &mut |bytes: &[u8]| write_row(file, sparse, want.offset, &want.row, bytes);
            let written = match direct(want, block.as_deref(), reader) {
                Some(bytes) => write(bytes),
                None => reader.with_item(&want.item, write).map_err(Failed::Stored)?,
            };
            written.map_err(Failed::Target)
        })
    };
    let work = || {
        while let Some(wave) = waves.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(e) = for_each_block(reader, wave, &mut |group, block| write_all(group, block)) {
                failure.lock().expect("no panic while held").get_or_insert(e);
                next.store(usize::MAX / 2, Ordering::Relaxed);
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads(reader, workers).min(waves.len()) {
            scope.spawn(work);
        }
        work();
    });
    failure.into_inner().expect("no panic while held").map_or(Ok(()), Err)
}
