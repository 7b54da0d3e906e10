//! What can be typed: commands and flags, each with its line of help.
//!
//! Every flag is a long one, shown and typed with one dash ([`crate::argv`]).

use crate::help::{
    ABOUT, ADOPT, CHECK, CHECKSUM, CLEANUP, CLONE, COMPLETION, CONFIG, CREATE, DETAILS, DIFF, EXEC,
    EXIT_CODES, FIND, GZCAT, HEAL, PRUNE, PULL, PUSH, REPAIR, RM, SCHEDULE, SERVER, SYNC, TARBALL, UNDELETE,
};
use crate::moment::{self, Moment};
use crate::tags;
use crate::units;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use plakar_engine::retention::Age;
use plakar_fs::Besides;
use std::ffi::OsString;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

/// A command line.
#[derive(Debug, Parser)]
#[command(
    name = "plakar",
    about = ABOUT,
    after_help = format!("{DETAILS}\n\n{EXIT_CODES}"),
    override_usage = "plakar [FLAGS] [on REPOSITORY] COMMAND [FLAGS] [ARGUMENTS]",
    subcommand_value_name = "COMMAND",
    subcommand_help_heading = "Commands",
    disable_version_flag = true,
    args_override_self = true,
    propagate_version = false,
)]
pub struct Cli {
    /// Flags of all commands.
    #[command(flatten)]
    pub globals: Globals,
    /// The command; there is none in `plakar` alone.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Flags that every command takes, before it or after.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global flags")]
pub struct Globals {
    /// The repository, as `on REPOSITORY` names it
    #[arg(long, global = true, hide = true, value_name = "REPOSITORY")]
    pub repository: Option<OsString>,
    /// Keep nothing on this machine that saves work, and use nothing of it
    #[arg(long, global = true)]
    pub no_cache: bool,
    /// Keep what saves work in this folder [default: ~/.cache/plakar]
    #[arg(long, global = true, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Keep at most so much of repositories elsewhere [default: 1GiB]
    #[arg(long, global = true, value_name = "SIZE", value_parser = units::size)]
    pub cache_size: Option<u64>,
    /// Send at most so much a second to repositories elsewhere
    #[arg(long, global = true, value_name = "SIZE", value_parser = units::rate)]
    pub limit_upload: Option<NonZeroU64>,
    /// Fetch at most so much a second from them
    #[arg(long, global = true, value_name = "SIZE", value_parser = units::rate)]
    pub limit_download: Option<NonZeroU64>,
    /// Go on trying for so long when one of them cannot be reached any more, as in 30s or 10m
    #[arg(long, global = true, value_name = "TIME", value_parser = units::patience, default_value = "90s")]
    pub patience: Duration,
    /// What must be known of an object store, as endpoint=URL or region=NAME; may be repeated
    #[arg(long = "store-option", global = true, value_name = "KEY=VALUE", action = clap::ArgAction::Append)]
    pub store_options: Vec<String>,
    /// Use so many cores [default: all]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub cpu: Option<u32>,
    /// The host name to record in a snapshot
    #[arg(long, global = true, value_name = "NAME")]
    pub hostname: Option<String>,
    /// The user name to record in a snapshot
    #[arg(long, global = true, value_name = "NAME")]
    pub username: Option<String>,
    /// Read the passphrase from this file
    #[arg(long, global = true, value_name = "FILE")]
    pub keyfile: Option<PathBuf>,
    /// Take the first line that this shell command prints as the passphrase
    #[arg(long, global = true, value_name = "COMMAND", conflicts_with = "keyfile")]
    pub passphrase_command: Option<OsString>,
    /// Print JSON, a value per line
    #[arg(long, global = true)]
    pub json: bool,
    /// Tell more
    #[arg(long, global = true)]
    pub verbose: bool,
    /// Show no progress
    #[arg(long, global = true)]
    pub quiet: bool,
    /// Tell how long the command took
    #[arg(long, global = true)]
    pub time: bool,
    /// Tell what was asked of the store
    #[arg(long, global = true)]
    pub trace: bool,
}

/// The commands there are.
#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = false)]
pub enum Command {
    /// Create a repository
    #[command(after_help = CREATE)]
    Create(Create),
    /// Store files and directories as a new snapshot
    #[command(
        after_help = PUSH,
        override_usage = "plakar push [FLAGS] [PATH]...\n       plakar push [FLAGS] -stdin NAME [-command [--] COMMAND...]",
    )]
    Push(Push),
    /// List snapshots, or what is in them
    #[command(after_help = EXIT_CODES)]
    Ls(Ls),
    /// Restore snapshots, or parts of them
    #[command(after_help = PULL)]
    Pull(Pull),
    /// Make a tar archive of snapshots, or of parts of them
    #[command(after_help = TARBALL)]
    Tarball(Tarball),
    /// Print files of snapshots
    #[command(after_help = EXIT_CODES)]
    Cat(Cat),
    /// Print what is in files of snapshots that gzip has compressed
    #[command(after_help = GZCAT)]
    Gzcat(Gzcat),
    /// Print checksums of files of snapshots
    #[command(after_help = CHECKSUM)]
    Checksum(Checksum),
    /// Find files and directories in snapshots
    #[command(after_help = FIND, override_usage = "plakar find [FLAGS] [SNAPSHOT[:PATH]...] PATTERN")]
    Find(Find),
    /// Tell what differs between snapshots, their files, and what is there now
    #[command(
        after_help = DIFF,
        override_usage = "plakar diff [FLAGS] SNAPSHOT[:PATH] SNAPSHOT[:PATH]\n       plakar diff [FLAGS] SNAPSHOT[:PATH] PATH\n       plakar diff [FLAGS] SNAPSHOT SNAPSHOT PATH...",
    )]
    Diff(Diff),
    /// Tell about the repository, or about snapshots
    #[command(after_help = EXIT_CODES)]
    Info(Info),
    /// Prove that what is stored can be restored
    #[command(after_help = CHECK)]
    Check(Check),
    /// Remove snapshots
    #[command(after_help = RM)]
    Rm(Rm),
    /// Remove all snapshots but the newest
    #[command(after_help = EXIT_CODES)]
    Keep(Keep),
    /// Remove the snapshots that no rule keeps
    #[command(after_help = PRUNE)]
    Prune(Prune),
    /// Show snapshots again that were removed
    #[command(after_help = UNDELETE)]
    Undelete(Undelete),
    /// Give back the space of what no snapshot needs any more
    #[command(after_help = CLEANUP)]
    Cleanup(Cleanup),
    /// Copy the repository, or keep a copy current
    #[command(after_help = CLONE, override_usage = "plakar clone [FLAGS] DESTINATION...")]
    Clone(Clone),
    /// Bring snapshots to other repositories, from them, or both ways
    #[command(
        after_help = SYNC,
        override_usage = "plakar sync [FLAGS] [[SNAPSHOT]... to|from|with] REPOSITORY...",
    )]
    Sync(Sync),
    /// Get back what the repository has lost from others that have it
    #[command(after_help = HEAL, override_usage = "plakar heal [FLAGS] from REPOSITORY...")]
    Heal(Heal),
    /// Make the index good again, and note what is damaged
    #[command(after_help = REPAIR)]
    Repair(Repair),
    /// List which snapshots are where, and when they were checked
    #[command(after_help = EXIT_CODES)]
    Status(Status),
    /// Give a copy that other tools made an ID of its own
    #[command(after_help = ADOPT)]
    Adopt,
    /// Passphrases of the repository
    #[command(after_help = EXIT_CODES, subcommand_required = true, arg_required_else_help = true)]
    Key {
        /// What to do with them.
        #[command(subcommand)]
        command: Key,
    },
    /// The configuration, in ~/.config/plakar/config.toml
    #[command(after_help = CONFIG, subcommand_required = true, arg_required_else_help = true)]
    Config {
        /// What to do with it.
        #[command(subcommand)]
        command: Config,
    },
    /// Give others access to the repository, or to a folder of them, over the network
    #[command(
        after_help = SERVER,
        args_conflicts_with_subcommands = true,
        override_usage = "plakar [on REPOSITORY] server [FLAGS]\n       plakar [on REPOSITORY] server token COMMAND",
    )]
    Server(Server),
    /// Give whoever runs this over ssh access to the repository
    #[command(after_help = EXIT_CODES)]
    Stdio,
    /// Run a program out of a snapshot
    #[command(after_help = EXEC)]
    Exec(Exec),
    /// Print what makes systemd or cron push the sources of the configuration
    #[command(after_help = SCHEDULE)]
    Schedule(Schedule),
    /// Print what a shell reads so that it completes command lines
    #[command(after_help = COMPLETION)]
    Completion(Completion),
    /// Write the manual pages into a folder
    #[command(after_help = EXIT_CODES)]
    Man(Man),
    /// Print the version
    #[command(after_help = EXIT_CODES)]
    Version,
}

/// `create`.
#[derive(Debug, Args)]
pub struct Create {
    /// Store everything readable for whoever can read the store
    #[arg(long)]
    pub no_encryption: bool,
    /// Store everything as it is; the same as -compression none
    #[arg(long, conflicts_with = "compression")]
    pub no_compression: bool,
    /// How hard to compress
    #[arg(long, value_enum, default_value_t = Compression::Default, value_name = "HOW")]
    pub compression: Compression,
    /// How files are cut into chunks
    #[arg(long, value_enum, hide = true)]
    pub chunker: Option<Chunker>,
    /// Like this repository, so that what is synced between the two need not be opened; the same passphrases open it
    #[arg(
        long,
        value_name = "REPOSITORY",
        conflicts_with_all = ["no_encryption", "no_compression", "compression", "chunker"],
    )]
    pub like: Option<OsString>,
    /// Where, if not in the default place
    #[arg(value_name = "LOCATION")]
    pub locations: Vec<OsString>,
}

/// How hard to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Compression {
    /// Two thirds of the work of the default.
    Fast,
    /// What pays for most data.
    Default,
    /// Several times the work of the default.
    Small,
    /// Not at all.
    None,
}

/// How files are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Chunker {
    /// The default without encryption.
    Fastcdc,
    /// The default with encryption.
    Prf,
}

/// `push`.
#[derive(Debug, Args)]
pub struct Push {
    /// Take files of the same size and modification time for unchanged, even without hints
    #[arg(long)]
    pub trust_mtime: bool,
    /// Read every file, changed or not
    #[arg(long, conflicts_with = "trust_mtime")]
    pub force: bool,
    /// Take files for unchanged though their change time is another, if all else is as it was
    #[arg(long)]
    pub ignore_ctime: bool,
    /// Make no snapshot if it would hold what the newest one of these paths does
    #[arg(long)]
    pub skip_unchanged: bool,
    /// Store the one path as if it lay at this one
    #[arg(long = "as", value_name = "PATH", conflicts_with = "stdin")]
    pub recorded_as: Option<OsString>,
    /// Say what would be read, and store nothing
    #[arg(long, conflicts_with = "stdin")]
    pub dry_run: bool,
    /// Store the paths in this file too, one in a line; '-' is standard input; may be repeated
    #[arg(
        long = "files-from",
        value_name = "FILE",
        action = clap::ArgAction::Append,
        conflicts_with = "stdin",
    )]
    pub files_from: Vec<PathBuf>,
    /// In files of paths a NUL ends each, not the line
    #[arg(long, requires = "files_from")]
    pub null: bool,
    /// Give the snapshot a tag; may be repeated, or several with commas
    #[arg(
        long = "tag",
        value_name = "TAG",
        action = clap::ArgAction::Append,
        value_delimiter = ',',
        value_parser = tags::parse,
    )]
    pub tags: Vec<String>,
    /// Leave out what this pattern names, as in .gitignore; may be repeated
    #[arg(long = "exclude", value_name = "PATTERN", action = clap::ArgAction::Append)]
    pub excludes: Vec<String>,
    /// Leave out what the patterns in this file name, one in a line; may be repeated
    #[arg(long = "exclude-from", value_name = "FILE", action = clap::ArgAction::Append)]
    pub exclude_from: Vec<PathBuf>,
    /// Leave out what is in directories that hold something of this name, but for that file; may be repeated
    #[arg(
        long = "exclude-if-present",
        value_name = "NAME",
        action = clap::ArgAction::Append,
        value_parser = marker,
    )]
    pub exclude_if_present: Vec<String>,
    /// Leave out what is in caches, as their CACHEDIR.TAG says, but for that file
    #[arg(long)]
    pub exclude_caches: bool,
    /// Leave out files of more bytes
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub max_size: Option<u64>,
    /// Leave out what is in directories of other file systems; they themselves are stored
    #[arg(long)]
    pub one_file_system: bool,
    /// Leave out what the .gitignore files name that are met beneath what is stored
    #[arg(long)]
    pub gitignore: bool,
    /// Store what comes from standard input, as a file of this path
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with_all = [
            "excludes",
            "exclude_from",
            "exclude_if_present",
            "exclude_caches",
            "max_size",
            "one_file_system",
            "gitignore",
        ],
    )]
    pub stdin: Option<OsString>,
    /// Store what the command named after it prints as the file of -stdin, but only if it succeeds
    #[arg(long, requires = "stdin")]
    pub command: bool,
    /// Seconds between announcements of what was stored so far
    #[arg(long, hide = true, value_name = "SECONDS")]
    pub checkpoint_every: Option<f64>,
    /// Trust what was compressed without comparing
    #[arg(long, hide = true)]
    pub no_verify: bool,
    /// What to store: paths, or '@NAME' of a source in the configuration [default: the current directory]
    #[arg(value_name = "PATH")]
    pub paths: Vec<OsString>,
}

/// The name of what marks a directory that is left out.
fn marker(name: &str) -> Result<String, String> {
    if Besides::is_marker(name) { Ok(name.into()) } else { Err("must be a name, not a path".into()) }
}

/// `ls`.
#[derive(Debug, Args)]
pub struct Ls {
    /// List everything beneath, with full paths
    #[arg(long)]
    pub recursive: bool,
    /// List only snapshots with this tag; may be repeated: those with all of them
    #[arg(
        long = "tag",
        value_name = "TAG",
        action = clap::ArgAction::Append,
        value_delimiter = ',',
        value_parser = tags::parse,
    )]
    pub tags: Vec<String>,
    /// What to list; without, the snapshots
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    pub references: Vec<OsString>,
}

/// `pull`.
#[derive(Debug, Args)]
pub struct Pull {
    /// Restore into this directory [default: the current directory]
    #[arg(long, value_name = "DIR")]
    pub path: Option<PathBuf>,
    /// Restore what PATH names right into the directory, without what leads to it
    #[arg(long)]
    pub rebase: bool,
    /// Which files that are there already to replace
    #[arg(long, value_enum, value_name = "WHICH", default_value_t = Overwrite::Always)]
    pub overwrite: Overwrite,
    /// Whom to give files to
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Owner::Name)]
    pub owner: Owner,
    /// The same as -owner number
    #[arg(long, conflicts_with = "owner")]
    pub numeric_ids: bool,
    /// What to restore
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    pub references: Vec<OsString>,
}

/// Which files are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Overwrite {
    /// All.
    Always,
    /// Those of another kind, size or modification time.
    Changed,
    /// Those that were modified before what the snapshot has.
    Newer,
    /// None.
    Never,
}

/// Whom restored files are given to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Owner {
    /// The user of the same name; of the same number where there is none.
    Name,
    /// The user of the same number.
    Number,
    /// Nobody: they stay with whoever restores them.
    None,
}

/// `tarball`.
#[derive(Debug, Args)]
pub struct Tarball {
    /// The archive, which must not be there yet; - is standard output [default: plakar-TIME.tar.gz]
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// What it is packed as [default: as the name of FILE ends, else tar.gz]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<Packing>,
    /// Names as 'pull -rebase' makes them, without what leads to PATH
    #[arg(long)]
    pub rebase: bool,
    /// What to put into it
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    pub references: Vec<OsString>,
}

/// What an archive is packed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Packing {
    /// Not at all.
    #[value(name = "tar")]
    Tar,
    /// With gzip.
    #[value(name = "tar.gz")]
    Gzip,
    /// With zstd.
    #[value(name = "tar.zst")]
    Zstd,
}

/// `cat`.
#[derive(Debug, Args)]
pub struct Cat {
    /// The files to print
    #[arg(value_name = "SNAPSHOT:PATH")]
    pub references: Vec<OsString>,
}

/// `gzcat`.
#[derive(Debug, Args)]
pub struct Gzcat {
    /// The files of which to print what is in them
    #[arg(value_name = "SNAPSHOT:PATH")]
    pub references: Vec<OsString>,
}

/// `checksum`.
#[derive(Debug, Args)]
pub struct Checksum {
    /// Which
    #[arg(long, value_enum, default_value_t = Algorithm::Sha256, value_name = "ALGORITHM")]
    pub algorithm: Algorithm,
    /// Names as 'pull -rebase' makes them, without what leads to PATH
    #[arg(long)]
    pub rebase: bool,
    /// The files; of directories, all that is beneath
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    pub references: Vec<OsString>,
}

/// How a checksum is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Algorithm {
    /// As sha256sum does.
    Sha256,
    /// As b3sum does.
    Blake3,
}

/// `find`.
#[derive(Debug, Args)]
pub struct Find {
    /// What is called like this; may be repeated: any of them. All words are snapshots then
    #[arg(long = "name", value_name = "GLOB", action = clap::ArgAction::Append)]
    pub names: Vec<OsString>,
    /// What has a path like this, from the root on; the same
    #[arg(long = "path", value_name = "GLOB", action = clap::ArgAction::Append)]
    pub paths: Vec<OsString>,
    /// Of this type: f, d, l, p, s, c, b for files, directories, links, pipes, sockets and devices; or several with commas
    #[arg(
        long = "type",
        value_enum,
        value_name = "TYPE",
        value_delimiter = ',',
        action = clap::ArgAction::Append,
        hide_possible_values = true,
    )]
    pub types: Vec<EntryType>,
    /// Files of more bytes than this
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub larger: Option<u64>,
    /// Files of fewer bytes than this
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub smaller: Option<u64>,
    /// Modified after this day, minute or second
    #[arg(long, value_name = "DATE", value_parser = moment::parse)]
    pub newer: Option<Moment>,
    /// Modified before this day, minute or second
    #[arg(long, value_name = "DATE", value_parser = moment::parse)]
    pub older: Option<Moment>,
    /// Where to look [default: in all snapshots], and for what
    #[arg(value_name = "PATTERN", hide = true)]
    pub words: Vec<OsString>,
}

/// The type of an entry, as `find` knows it elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EntryType {
    /// A regular file.
    F,
    /// A directory.
    D,
    /// A symbolic link.
    L,
    /// A named pipe.
    P,
    /// A socket.
    S,
    /// A character device.
    C,
    /// A block device.
    B,
}

/// `diff`.
#[derive(Debug, Args)]
pub struct Diff {
    /// What to compare
    #[arg(value_name = "SNAPSHOT[:PATH]", hide = true)]
    pub words: Vec<OsString>,
}

/// `info`.
#[derive(Debug, Args)]
pub struct Info {
    /// The snapshots; without, the repository
    #[arg(value_name = "SNAPSHOT")]
    pub references: Vec<OsString>,
}

/// `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Prove that everything is there, without reading file contents
    #[arg(long)]
    pub fast: bool,
    /// Prove that everything is there, and read this share of what is stored: what was not read for longest, as in 5%
    #[arg(long, value_name = "SHARE", value_parser = units::share, conflicts_with_all = ["fast", "references"])]
    pub sample: Option<f64>,
    /// First get back from this repository what is lost; may be repeated
    #[arg(long = "heal-from", value_name = "REPOSITORY", action = clap::ArgAction::Append)]
    pub heal_from: Vec<OsString>,
    /// What opens the other repositories
    #[command(flatten)]
    pub keys: PeerKeys,
    /// What to check; without, all snapshots
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    pub references: Vec<OsString>,
}

/// `rm`.
#[derive(Debug, Args)]
pub struct Rm {
    /// Take names that are other snapshots when there are more of them, as 'latest'
    #[arg(long)]
    pub by_name: bool,
    /// The snapshots to remove
    #[arg(value_name = "SNAPSHOT")]
    pub references: Vec<OsString>,
}

/// `keep`.
#[derive(Debug, Args)]
pub struct Keep {
    /// How many to keep
    #[arg(value_name = "N")]
    pub number: Option<String>,
}

/// `prune`.
#[derive(Debug, Args)]
pub struct Prune {
    /// Keep the N newest
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub keep_last: Option<u64>,
    /// Keep the newest of each of the N latest hours that have any
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub keep_hourly: Option<u64>,
    /// The same with days
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub keep_daily: Option<u64>,
    /// The same with weeks, Monday to Sunday
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub keep_weekly: Option<u64>,
    /// The same with months
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub keep_monthly: Option<u64>,
    /// The same with years
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub keep_yearly: Option<u64>,
    /// Keep what is at most so much older than the newest, as 30d or 1y6m12h
    #[arg(long, value_name = "DURATION")]
    pub keep_within: Option<Age>,
    /// Keep what has this tag; may be repeated, or several with commas
    #[arg(
        long = "keep-tag",
        value_name = "TAG",
        action = clap::ArgAction::Append,
        value_delimiter = ',',
        value_parser = tags::parse,
    )]
    pub keep_tags: Vec<String>,
    /// What snapshots have in common that are looked at together, with commas
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',', default_value = "host,roots")]
    pub group_by: Vec<GroupBy>,
    /// Remove nothing that was received a shorter time ago
    #[arg(long, value_name = "DURATION", default_value_t = Age::days(1))]
    pub min_age: Age,
    /// Believe what snapshots say of their time, however late they were received
    #[arg(long)]
    pub trust_times: bool,
    /// Show what each snapshot is kept by, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// What makes a group of snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GroupBy {
    /// The host they were pushed from.
    Host,
    /// The paths that were pushed.
    Roots,
    /// Their tags.
    Tags,
    /// All are one group.
    None,
}

/// `undelete`.
#[derive(Debug, Args)]
pub struct Undelete {
    /// The snapshots to show again; without, those are listed of which something is left
    #[arg(value_name = "SNAPSHOT")]
    pub references: Vec<OsString>,
}

/// `cleanup`.
#[derive(Debug, Args)]
pub struct Cleanup {
    /// Show what would be deleted, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Store again at most so much of what is needed, as in 500M or 2GiB [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub max_repack: Option<u64>,
    /// How long to leave alone what pushes that never ended have stored
    #[arg(long, value_name = "TIME", value_parser = units::seconds, default_value = "7d")]
    pub grace: i64,
}

/// `clone`.
#[derive(Debug, Args)]
pub struct Clone {
    /// Bring copies up to date that nothing else was written to
    #[arg(long)]
    pub update: bool,
    /// Where the copies are to be
    #[arg(value_name = "DESTINATION")]
    pub destinations: Vec<OsString>,
}

/// `sync`.
#[derive(Debug, Args)]
pub struct Sync {
    /// Show what would be moved, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Bring back snapshots that were removed where they go to
    #[arg(long)]
    pub resurrect: bool,
    /// Remove there what was removed here, or the other way round
    #[arg(long)]
    pub follow_removals: bool,
    /// What opens the other repositories
    #[command(flatten)]
    pub keys: PeerKeys,
    /// Snapshots, a direction, and repositories
    #[arg(value_name = "REPOSITORY", hide = true)]
    pub words: Vec<OsString>,
}

/// `heal`.
#[derive(Debug, Args)]
pub struct Heal {
    /// What opens the other repositories
    #[command(flatten)]
    pub keys: PeerKeys,
    /// `from`, and repositories
    #[arg(value_name = "REPOSITORY", hide = true)]
    pub words: Vec<OsString>,
}

/// `repair`.
#[derive(Debug, Args)]
pub struct Repair {
    /// Show what would be done, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not read file contents
    #[arg(long)]
    pub fast: bool,
    /// How long to leave alone pushes that never ended
    #[arg(long, value_name = "TIME", value_parser = units::seconds, default_value = "7d")]
    pub grace: i64,
}

/// `status`.
#[derive(Debug, Args)]
pub struct Status {
    /// What opens the other repositories
    #[command(flatten)]
    pub keys: PeerKeys,
    /// Other repositories
    #[arg(value_name = "REPOSITORY")]
    pub peers: Vec<OsString>,
}

/// What opens other repositories than the one a command is about.
#[derive(Debug, Args)]
pub struct PeerKeys {
    /// Read the passphrase of the other repositories from this file
    #[arg(long, value_name = "FILE")]
    pub peer_keyfile: Option<PathBuf>,
    /// Take the first line that this shell command prints as the passphrase of the other repositories
    #[arg(long, value_name = "COMMAND", conflicts_with = "peer_keyfile")]
    pub peer_passphrase_command: Option<OsString>,
}

/// `key`.
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Add a passphrase
    #[command(after_help = EXIT_CODES)]
    Add(NewKey),
    /// List key slots, one for each passphrase
    #[command(after_help = EXIT_CODES)]
    Ls,
    /// Remove key slots
    #[command(after_help = EXIT_CODES)]
    Rm {
        /// The slots, as listed
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
    },
    /// Change the passphrase
    #[command(after_help = EXIT_CODES)]
    Passphrase(NewKey),
}

/// `config`.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Tell what is wrong in it, with the lines
    #[command(after_help = EXIT_CODES)]
    Check,
}

/// A new passphrase.
#[derive(Debug, Args)]
pub struct NewKey {
    /// What to call the key slot
    #[arg(long, value_name = "LABEL")]
    pub label: Option<String>,
    /// Read the new passphrase from this file; else it is PLAKAR_NEW_PASSPHRASE or asked for
    #[arg(long, value_name = "FILE")]
    pub new_keyfile: Option<PathBuf>,
}

/// `server`.
#[derive(Debug, Args)]
pub struct Server {
    /// What else to do than to serve.
    #[command(subcommand)]
    pub command: Option<ServerCommand>,
    /// Listen on this address; ':9876' is on all addresses of this machine
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9876")]
    pub listen: String,
    /// Show this certificate, with those that vouch for it, in PEM [default: one that it makes itself]
    #[arg(long, value_name = "FILE", requires = "key")]
    pub certificate: Option<PathBuf>,
    /// The key of the certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub key: Option<PathBuf>,
    /// Let no repository have more bytes, as in 500M or 2GiB
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub quota: Option<u64>,
    /// Write a line for each request into this file, not to standard error
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
}

/// What there is to do about a server.
#[derive(Debug, Subcommand)]
pub enum ServerCommand {
    /// Tokens, by which it knows who may do what
    #[command(after_help = EXIT_CODES, subcommand_required = true, arg_required_else_help = true)]
    Token {
        /// What to do with them.
        #[command(subcommand)]
        command: TokenCommand,
    },
}

/// `server token`.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token, and print it
    #[command(after_help = EXIT_CODES)]
    Add(NewToken),
    /// List tokens
    #[command(after_help = EXIT_CODES)]
    Ls,
    /// Remove tokens: nobody is let in with them any more
    #[command(after_help = EXIT_CODES)]
    Rm {
        /// The tokens, as listed
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
    },
}

/// A new token.
#[derive(Debug, Args)]
pub struct NewToken {
    /// What its bearer may do: 'read', 'append' (push and sync, but remove nothing) or 'admin'
    #[arg(long, value_name = "ROLE", default_value = "append", value_parser = ["read", "append", "admin"])]
    pub role: String,
    /// Of no use any more after so long, as in 90d [default: never]
    #[arg(long, value_name = "TIME", value_parser = units::seconds)]
    pub expires: Option<i64>,
    /// For this repository of a folder only
    #[arg(long, value_name = "NAME")]
    pub only: Option<String>,
    /// Let its bearer add nothing to a repository that would have more bytes then
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub quota: Option<u64>,
    /// What to call it
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// `exec`.
#[derive(Debug, Args)]
pub struct Exec {
    /// The program
    #[arg(value_name = "SNAPSHOT:PATH")]
    pub reference: OsString,
    /// What it is given, as it stands
    #[arg(value_name = "ARGUMENT", trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<OsString>,
}

/// `schedule`.
#[derive(Debug, Args)]
pub struct Schedule {
    /// Lines of a crontab, not units of systemd
    #[arg(long)]
    pub crontab: bool,
    /// How often sources are pushed
    #[arg(long, value_enum, default_value_t = Every::Daily, value_name = "HOW OFTEN")]
    pub every: Every,
    /// The sources; without, all
    #[arg(value_name = "@SOURCE")]
    pub sources: Vec<String>,
}

/// How often something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "their names say it")]
pub enum Every {
    Hourly,
    Daily,
    Weekly,
}

/// `completion`.
#[derive(Debug, Args)]
pub struct Completion {
    /// Which shell
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: Shell,
    /// Print what the last of these words may become
    #[arg(long, hide = true)]
    pub of: bool,
    /// What was typed so far, without the program's name.
    #[arg(hide = true, last = true)]
    pub words: Vec<OsString>,
}

/// Shells that can be told what may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "their names say it")]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// `man`.
#[derive(Debug, Args)]
pub struct Man {
    /// Where to; it is made if it is not there
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
}

/// The tree of commands, ready to be looked at.
pub fn command() -> clap::Command {
    let mut command = Cli::command();
    command.build();
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }
}
