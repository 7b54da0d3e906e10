//! What a command line means: the flags of all commands with their defaults settled, once for all of them.

use crate::args::Globals;
use crate::config::Config;
use crate::exit::{Failure, Result};
use crate::kept::Keeping;
use crate::local::Local;
use crate::object;
use crate::output::Output;
use crate::passphrase::Source;
use plakar_engine::tree::Time;
use plakar_fs::Owners;
use plakar_store::wrap::Counting;
use plakar_store::{Bandwidth, Line, Pace, Patience, ReadStore, Store};
use plakar_store_object::Options;
use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use std::cell::{Cell, OnceCell, RefCell};
use std::ffi::{OsStr, OsString};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{SystemTime, UNIX_EPOCH};

/// A store of which requests are counted.
pub type Watched = Arc<Counting<Arc<dyn Store>>>;

/// What every command works with.
pub struct Context {
    /// Where words go.
    pub output: Output,
    /// What is kept on this machine.
    pub local: Local,
    /// The repository that was named.
    pub repository: Option<OsString>,
    /// It was named in this command line, not in the environment.
    pub on: bool,
    /// How many threads may work.
    pub workers: usize,
    /// The command line, for the snapshot.
    pub command_line: String,
    /// Requests are counted.
    pub trace: bool,
    /// The stores that were opened, if requests are counted.
    pub counting: RefCell<Vec<Watched>>,
    /// Stores elsewhere are read themselves, not what is kept of them here.
    pub reads_past: bool,
    /// How much of them may be kept, if somebody said so.
    pub cache_bytes: Option<u64>,
    /// How the lines to stores elsewhere are used.
    pub line: Line,
    /// What is said of object stores in this command line.
    pub store_options: Options,
    /// Those of which something is kept, and in which folder.
    pub kept: RefCell<Vec<(PathBuf, Keeping)>>,
    /// It was told that nothing can be kept.
    pub told_of_kept: Cell<bool>,
    /// What the user wrote down, once it was read.
    pub configuration: OnceCell<Config>,
    globals: Globals,
}

impl Context {
    /// Settles what was typed.
    pub fn new(globals: Globals, output: Output, typed: &[OsString], reads_past: bool) -> Result<Context> {
        let present = std::thread::available_parallelism().map_or(1, |n| n.get());
        let workers = globals.cpu.map_or(present, |n| n as usize);
        if workers > present {
            return Err(Failure::failed(format!("can't use more cores than available: {present}")));
        }
        let command_line = typed.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let from_environment = || std::env::var_os("PLAKAR_REPOSITORY").filter(|name| !name.is_empty());
        Ok(Context {
            output,
            local: Local::new(globals.cache.as_deref(), globals.no_cache),
            on: globals.repository.is_some(),
            repository: globals.repository.clone().or_else(from_environment),
            workers,
            command_line,
            trace: globals.trace,
            counting: RefCell::default(),
            reads_past,
            cache_bytes: globals.cache_size,
            line: Line {
                bandwidth: Bandwidth {
                    upload: pace(globals.limit_upload),
                    download: pace(globals.limit_download),
                },
                patience: Patience { retries: globals.patience, ..Patience::default() },
            },
            store_options: object::options(&globals.store_options)?,
            kept: RefCell::default(),
            told_of_kept: Cell::default(),
            configuration: OnceCell::new(),
            globals,
        })
    }

    /// Where the passphrase of a repository comes from that was named like this, if it was.
    pub fn passphrase(&self, named: Option<&OsStr>) -> Result<Source> {
        let source = Source::current(&self.globals);
        match named.filter(|_| source.may_try_again()) {
            Some(named) => Ok(self.secret(named)?.unwrap_or(source)),
            None => Ok(source),
        }
    }

    /// What the repository was called, in the command line, the environment, or else the configuration.
    pub fn named(&self) -> Result<Option<&OsStr>> {
        match &self.repository {
            Some(typed) => Ok(Some(typed)),
            None => Ok(self.config()?.default.as_deref()),
        }
    }

    /// The host name to record.
    pub fn hostname(&self) -> String {
        let uname = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        self.globals.hostname.clone().unwrap_or_else(uname)
    }

    /// The user name to record.
    pub fn username(&self) -> String {
        let known = || {
            let uid = rustix::process::getuid().as_raw();
            match Owners::read().user(uid) {
                b"" => uid.to_string(),
                name => String::from_utf8_lossy(name).into_owned(),
            }
        };
        self.globals.username.clone().unwrap_or_else(known)
    }

    /// Tells what was asked of stores, if that is wanted.
    pub fn tell_requests(&self) {
        for store in self.counting.borrow().iter() {
            let counts = store.counts();
            let text = format!(
                "trace: {} requests to {}: {} ranges, {} gets, {} lengths, {} lists, {} puts, {} deletes, {} barriers; \
                 {} bytes read, {} bytes written",
                counts.requests(),
                crate::format::printable(store.location().as_bytes()),
                counts.range,
                counts.get,
                counts.len,
                counts.list,
                counts.put,
                counts.delete,
                counts.barrier,
                counts.bytes_read,
                counts.bytes_written,
            );
            let value = serde_json::json!({
                "range": counts.range, "get": counts.get, "len": counts.len, "list": counts.list,
                "put": counts.put, "delete": counts.delete, "barrier": counts.barrier,
                "bytes_read": counts.bytes_read, "bytes_written": counts.bytes_written,
            });
            self.output.aside("trace", value, &text);
        }
    }
}

fn pace(bytes_per_second: Option<NonZeroU64>) -> Option<Arc<Pace>> {
    bytes_per_second.map(|rate| Arc::new(Pace::new(rate)))
}

/// Now.
pub fn now() -> Time {
    // A clock before 1970 is wrong in any case.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time { secs: since.as_secs() as i64, nanos: since.subsec_nanos() }
}

/// A flag that SIGINT and SIGTERM set; the second of them ends the program at once.
///
/// To be asked for once nothing more is asked at the terminal: from then on Ctrl-C only sets the flag.
pub fn interruption() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the second signal finds the flag that the first one set.
        signal_hook::flag::register_conditional_shutdown(signal, 1, flag.clone())
            .and_then(|_| signal_hook::flag::register(signal, flag.clone()))
            .map_err(|e| Failure::failed(format!("cannot watch for signals: {e}")))?;
    }
    Ok(flag)
}

/// Makes a write beyond the file size limit an error like any other instead of a death.
pub fn survive_file_size_limit() {
    // Without it the program still works within the limit.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
}
