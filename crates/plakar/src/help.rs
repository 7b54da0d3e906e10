//! Texts of the help that are longer than a line.

/// Below the help of every command.
pub const EXIT_CODES: &str = "\
Exit codes:
   0  all done
   1  failed
   2  not understood
   3  done, except for what was reported
   4  damage found
  10  no repository there
  11  wrong passphrase";

/// Below the help of `create`.
pub const CREATE: &str = "\
Besides a folder, a database, or either of them on another machine, LOCATION may be in an object store:

  s3://BUCKET[/PREFIX]               Amazon S3, or whatever speaks it: -store-option endpoint=URL
  azblob://CONTAINER[/PREFIX]        Azure Blob Storage, if compiled in
  gcs://BUCKET[/PREFIX]              Google Cloud Storage, if compiled in
  b2://BUCKET[/PREFIX]               Backblaze B2: -store-option bucket-id=ID
  webdavs://HOST[:PORT]/PATH         WebDAV by TLS; webdav:// on this machine

What cleanup deletes takes space in B2 until a lifecycle rule of the bucket removes hidden versions, because files are only
hidden there, and in a bucket of S3 that keeps versions until a rule there removes those that are not current.

The bucket must be there. -store-option says what must be known besides: endpoint, region, path-style=yes|no, profile,
anonymous=yes, checksum=md5|crc32c|none for S3; endpoint and account for Azure. Behind '?endpoint=' a name may say it itself.

Credentials are never named. S3 has them from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE and ~/.aws, or the
machine's own role, and AWS_REGION and AWS_ENDPOINT_URL besides; Azure from AZURE_STORAGE_ACCOUNT_NAME and _KEY or
AZURE_STORAGE_SAS_TOKEN; Google from GOOGLE_APPLICATION_CREDENTIALS; B2 from B2_APPLICATION_KEY_ID and B2_APPLICATION_KEY;
WebDAV from PLAKAR_WEBDAV_USER and PLAKAR_WEBDAV_PASSWORD. A service must show a certificate that this system trusts, or one
in the file that SSL_CERT_FILE names. Proxies, as HTTPS_PROXY would name one, are not used.

Exit codes:
   0  all done
   1  failed
   2  not understood
  10  no repository there, for -like
  11  wrong passphrase";

/// Below the help of `push`.
pub const PUSH: &str = "\
Patterns are those of .gitignore, for absolute paths:

  *.o                 whatever is called so, wherever it is
  cache/              directories that are called so, with all that is in them
  /home/*/tmp         what lies there, from the root of the file system
  src/*.o             what lies so beneath any directory
  !keep.o             not left out, though an earlier pattern says so; not if a directory above it is

What is named to be pushed is pushed, whatever patterns say; they count for what is beneath. In a file of patterns empty
lines, and those that begin with '#', mean nothing. The same is true of what else is left out: -exclude-if-present .nobackup
leaves out what is in directories that hold a .nobackup, but for that file, so that they are known again when they are
restored; not if that directory itself was named. With -gitignore a .gitignore counts for all beneath it, be that in a git
repository or not, and one that is further in comes first; those above what was named do not count, nor does one of more than
1 MiB. With -one-file-system directories where something is mounted are stored without what is in them. What is left out is not
looked at.

With -stdin NAME one file is stored, at /NAME, as it comes; with -command what the command prints, which '--' divides from
flags if one of its words begins with a dash. Cut short, or if the command fails, there is no snapshot:

  plakar push -stdin db.sql -command pg_dump shop
  ssh web tar c /srv | plakar push -stdin web.tar

-dry-run says how much would be read, with -verbose each path of it; how much of that is stored already, and what cannot be
read, only reading tells. -skip-unchanged makes no snapshot if what was named is as in the newest snapshot of the same paths from
this host, with all modes and times. -ignore-ctime is for file systems that change change times of their own: a file is read
again if its size, modification time or inode number is another; that its extended attributes changed is then not seen. A file
of paths (-files-from) may come from 'find -print0' with -null; each path in it is as one that was typed, relative to where one
stands.

With -as a path is stored as if it lay elsewhere, as with a file system snapshot that is mounted for the time of the push;
patterns are for where it really lies:

  plakar push -as /home /mnt/snapshot/home

For instance, a home directory without what can be had again:

  plakar push -exclude-caches -exclude '*.iso' -gitignore -one-file-system ~

Exit codes:
   0  all done
   1  failed
   2  not understood
   3  done, except for what was reported
   4  damage found
  10  no repository there
  11  wrong passphrase";

/// Below the help of `pull`.
pub const PULL: &str = "\
What is restored is everybody's who had it, as far as that is allowed to whoever restores it; what is not allowed is told. With
-owner none nothing is tried, and nothing told: all belongs to whoever restores it, without setuid and setgid where the owner was
somebody else, which is told.

  plakar pull -owner none -path look 8c1f:/srv/www

What is there already is replaced, one file after the other and each in one step; what else is there stays. -overwrite changed
leaves files alone that have the size and modification time of what the snapshot has, so that a pull which was interrupted goes
on where it was; newer those that were not modified before it; never all. Directories get the modes and times of the snapshot in
any case.

Exit codes:
   0  all done
   1  failed
   2  not understood
   3  done, except for what was reported
   4  damage found
  10  no repository there
  11  wrong passphrase";

/// Below the help of `exec`.
pub const EXEC: &str = "\
The program is read whole and proven before it begins. It lies in memory then, and takes the place of this one, so that nothing
is left behind; what belongs to it, such as libraries, is what this machine has. All that follows SNAPSHOT:PATH is its own.

  plakar exec latest:/usr/local/bin/tool -version

Exit codes: those of the program, and before it begins
   1  failed
   2  not understood
   4  damage found
  10  no repository there
  11  wrong passphrase";

/// Below the help of `schedule`.
pub const SCHEDULE: &str = "\
  plakar schedule                        units of systemd, each below the name of its file
  plakar schedule -crontab | crontab -   lines of a crontab, in the place of those there are
  plakar on @nas schedule -every hourly @home

Each source is pushed; what is stored is checked each day, 5% of it byte by byte; and a cleanup gives space back each week.
Removing old snapshots is left to whoever decides what is old: 'plakar help prune'. Nothing is written and nothing is
run. What is to happen when a push fails, such as telling a service that watches over it, a source's 'after' does.

Exit codes:
   0  all done
   1  failed
   2  not understood";

/// Below the help of `completion`.
pub const COMPLETION: &str = "\
  plakar completion bash >~/.local/share/bash-completion/completions/plakar
  plakar completion zsh >~/.zsh/functions/_plakar          a folder of fpath, before compinit
  plakar completion fish >~/.config/fish/completions/plakar.fish

Commands, flags, their values, and the names of the configuration are completed; what else, is left to the shell.

Exit codes:
   0  all done
   1  failed
   2  not understood";

/// Below the help of `check`.
pub const CHECK: &str = "\
  plakar check                       everything: every byte that is stored
  plakar check -fast                 that everything is there
  plakar check -sample 5%            the same, and a twentieth of the bytes; the next time the next twentieth
  plakar check 3a5769ff:/etc         what is beneath a path

Samples go through the packs in turn, and this machine remembers how far they have come: 'check -sample 5%' once a day reads
all within three weeks, and '-verbose' tells since when each pack was read.

Exit codes:
   0  all done
   1  failed
   2  not understood
   4  damage found
  10  no repository there
  11  wrong passphrase";

/// Below the help of `tarball`.
pub const TARBALL: &str = "\
The archive has the names that 'pull' makes, with owners, modes, times to the nanosecond, attributes and hard links, in the format
of POSIX (pax), and is for its owner only. FILE is there once all of it is; if it is not, it stays away. Holes are written as
zeros. A socket cannot be in such an archive.

  plakar tarball -output home.tar.zst latest:/home
  plakar tarball -rebase -output - -format tar latest:/home/ann | ssh elsewhere 'tar --xattrs -xpf -'
  plakar tarball 2026-11-22 && tar --xattrs --xattrs-include='*' -xpf ./plakar-*.tar.gz

Without ./ before it tar takes what is before a colon for a machine.

Exit codes:
   0  all done
   1  failed
   2  not understood, or the archive would go to a terminal
   3  done, except for what was reported: sockets, and what was not read, or changed, when it was pushed
   4  damage found: there is no FILE, and what went to standard output is not whole; 'pull' restores what is left
  10  no repository there
  11  wrong passphrase";

/// Below the help of `gzcat`.
pub const GZCAT: &str = "\
Files with several members are printed whole, as gzip -dc does. What is not what gzip writes, or ends early, is an error; what
was right before it is printed.

  plakar gzcat latest:/var/log/syslog.2.gz
  plakar gzcat 2026-11-22:/srv/dump.sql.gz | psql

Exit codes:
   0  all done
   1  failed: a file is damaged itself, too, or no gzip
   2  not understood
   3  done, except for what was reported: a file changed while it was pushed
   4  damage found in the repository
  10  no repository there
  11  wrong passphrase";

/// Below the help of `checksum`.
pub const CHECKSUM: &str = "\
Each line is one of sha256sum, or of b3sum: a checksum of the bytes, read and proven now, and a name, without the slash before
it. So 'sha256sum -c' proves what 'pull' has restored, in the directory into which it did. Links and the like have none. At a
terminal, what would steer it is escaped in another way.

  plakar pull -path old latest
  plakar checksum latest > sums; cd old; sha256sum -c ../sums
  plakar checksum -rebase latest:/home/ann | ssh elsewhere 'cd /home/ann && sha256sum --quiet -c'
  plakar checksum -algorithm blake3 latest:/etc/fstab

Exit codes:
   0  all done
   1  failed
   2  not understood
   3  done, except for what was reported: files that were not read, or changed, when they were pushed
   4  damage found: the others have their lines
  10  no repository there
  11  wrong passphrase";

/// Below the help of `diff`.
pub const DIFF: &str = "\
Of two files it tells which lines differ, as diff -u does; of files that are no text, or have more than 16 MiB, only that
they do. Else what differs is told entry by entry:

  - ...                    only the first has it
  + ...                    only the second has it
  ~ PATH: mode 0644 -> 0600, mtime ...
                           both have it, and this is what differs: type, content, size, target, device, mode, owner,
                           mtime, (extended) attributes

What begins with '/' or '.' is a path on this machine, and is compared as it is now, with all its bytes; a snapshot without
:PATH is compared at the same path, then. Of a directory that was only passed on the way to what was pushed, that is compared.
What is the same in two snapshots is not read. Which names are hard links of each other is not compared.

  plakar diff latest~1 latest
  plakar diff 3a57:/etc/fstab latest:/etc/fstab
  plakar diff 3a57 latest /etc/fstab /etc/hosts   the same
  plakar diff latest:/home/ann /home/ann          what has changed since
  plakar diff latest .                            what has changed here since

Exit codes:
   0  no difference
   1  different
   2  failed, or not understood
   3  compared, except for what was reported
   4  damage found
  10  no repository there
  11  wrong passphrase";

/// Below the help of `find`.
pub const FIND: &str = "\
PATTERN is a name, or, with a slash in it, a whole path: '*' and '?' stand for any bytes and any byte but slashes, '**' for
any directories, '[a-z]' and '{a,b}' for one of these; a backslash takes the meaning from what follows. It is the last word,
unless -name or -path say what to find. With flags alone there need be none.

DATE is 2026-11-22, 2026-11-22T10:00 or 2026-11-22T10:00:05, of UTC. What several flags say must all be true. SNAPSHOT is
one of the names in 'plakar help snapshots'.

  plakar find passwd                            in all snapshots, the oldest first
  plakar find latest '*.conf'
  plakar find /home/ann/.ssh                    a whole path
  plakar find '**/.git/config'
  plakar find -type f -larger 1GB -newer 2026-11-01
  plakar find -name '*.jpg' -name '*.png' latest:/home @laptop~1

Each line ends with what 'cat' and 'pull' take: SNAPSHOT:PATH.

Exit codes:
   0  found
   1  nothing found
   2  failed, or not understood
   4  damage found: there may be more
  10  no repository there
  11  wrong passphrase";

/// Below the help of `cleanup`.
pub const CLEANUP: &str = "\
Removed snapshots, and what pushes that never ended have stored, take space until it is given back here. Pushes, syncs
and other cleanups may run meanwhile. Interrupted, it leaves a whole repository, and the next one goes on. What is needed
and cannot be read stops it before anything is deleted. In B2, and in buckets that keep versions, what is deleted is kept as
an older version until a lifecycle rule of the bucket removes it.

Exit codes:
   0  all done
   1  failed
   2  not understood
   4  damage found: nothing was deleted
  10  no repository there
  11  wrong passphrase";

/// Below the help of `prune`.
pub const PRUNE: &str = "\
A snapshot stays if any rule keeps it. Snapshots of other hosts or of other paths are counted apart, unless -group-by says
otherwise. Hours, days, weeks, months and years are those of UTC, as in 'ls'. A policy that would keep nothing, be it of one
group only, is refused.

A snapshot counts at the time it claims, but not later than it was received. One that was received more than 48 hours
before or after that displaces no other: so a clock that is wrong costs no snapshot, nor does a sync of old ones. With
-trust-times, where everything came from somebody trusted, it does.

What is removed can be undeleted until 'plakar cleanup' gives back its space.

Exit codes:
   0  all done
   1  failed, or refused: nothing was removed
   2  not understood
   4  damage found
  10  no repository there
  11  wrong passphrase";

/// Below the help of `undelete`.
pub const UNDELETE: &str = "\
A snapshot can be shown again until 'plakar cleanup' has deleted some of it. Then it is told what is gone, and it is not
shown. What others removed in their copies stays removed there.

Exit codes:
   0  all done
   1  failed
   2  not understood
   4  damage found, or some of a snapshot is gone: it is not shown
  10  no repository there
  11  wrong passphrase";

/// Below the help of `clone`.
pub const CLONE: &str = "\
A copy is a repository of its own with the same snapshots, opened by the same passphrases; making it needs none. Every
byte is proven on the way. What is damaged is told and copied as it is; -update looks at it again, and brings what is whole
once the source is mended. An interrupted clone is completed by the same command.

Without a passphrase it does not show what the source has lost: an object that is missing there is missing in the copy,
and nothing is told. 'plakar check' of the source, or of the copy, finds it.

Exit codes:
   0  all done
   1  failed
   2  not understood
   4  damage found
  10  no repository there";

/// Below the help of `heal`.
pub const HEAL: &str = "\
Files come back from any repository that has the same snapshots, of whatever passphrase; damaged or missing objects of
the log and the index from a clone that has the same ones. The others are only read.

What nobody has is told. A session whose publication is lost everywhere is told by its ID until 'plakar rm ID' gives it
up; in a clone that still has it, -update removes it then, so heal from all clones first.

Exit codes:
   0  all done
   1  failed
   2  not understood
   4  damage found that could not be mended
  10  no repository there
  11  wrong passphrase";

/// Below the help of `adopt`.
pub const ADOPT: &str = "\
A copy made by cp or rsync has the replica ID of its original, and would be taken for it. It is not written to before it
has an ID of its own. A copy made by 'plakar clone' has one.

Exit codes:
   0  all done
   1  failed
   2  not understood
  10  no repository there";

/// Below the help of `sync`.
pub const SYNC: &str = "\
Without a direction, or with 'to', snapshots go to the repositories; with 'from' they come from them; with 'with' they
go both ways, until all have the same. SNAPSHOT is one of the names in 'plakar help snapshots'; without one, all are meant. A
repository called 'to', 'from' or 'with' is written './to'.

Snapshots that were removed stay removed. One of which something is lost or damaged where it comes from is withheld; the
others go on.

The passphrase of another repository comes from -peer-keyfile, -peer-passphrase-command, PLAKAR_PEER_PASSPHRASE or the
terminal. A clone needs none.

Exit codes:
   0  all done
   1  failed
   2  not understood
   4  damage found: snapshots were withheld
  10  no repository there
  11  wrong passphrase";

/// Below the help of `repair`.
pub const REPAIR: &str = "\
What the index has lost is listed again out of the packs, and blocks that are damaged are noted, so that nobody relies on
them. Nothing is deleted, and pushes and syncs may run meanwhile. What a snapshot needs and nobody has here is named;
'plakar heal' may get it from another repository.

Exit codes:
   0  all done: everything is whole
   1  failed
   2  not understood
   4  damage found that could not be made good; with -dry-run, any damage
  10  no repository there
  11  wrong passphrase";

/// Below the help of `config`.
pub const CONFIG: &str = "\
The configuration gives names to repositories and to what is pushed; '@NAME' stands for a repository wherever one is named,
and for a source in 'push'. XDG_CONFIG_HOME is respected.

  default = \"@nas\"                       the repository when none is named
  cache-size = \"500MB\"                   as -cache-size

  [repositories.nas]
  location = \"ssh://nas/srv/backups\"
  passphrase-command = \"pass show nas\"   or keyfile = \"~/.nas.key\"

  [repositories.cloud]
  location = \"s3://bucket/backups\"
  options = { region = \"eu-west-1\" }    as -store-option, for this one; see 'plakar help create'

  [sources.home]
  paths = [\"~/\", \"/etc\"]
  tags = [\"daily\"]
  exclude = [\"*.o\", \"~/.cache/\"]        what is left out beneath these paths, as -exclude
  max-size = \"1GB\"                       and as the flags besides: exclude-if-present = [\".nobackup\"],
                                         exclude-caches, one-file-system, gitignore = true
  before = \"...\"                         a shell command; if it fails, nothing is pushed
  after = \"...\"                          another, with PLAKAR_EXIT_CODE, whatever came of the push

Flags and the environment come first: PLAKAR_REPOSITORY before 'default', PLAKAR_PASSPHRASE before what is written for a
repository. No secret belongs into the file.

Exit codes:
   0  all done: everything in it is understood
   1  failed: there is none, it cannot be read, or everybody may write it
   2  not understood: what is wrong is told with its line";

/// Below the help of `server`.
pub const SERVER: &str = "\
What is served is the repository, which is 'plakar://ADDRESS' then, or, if it is a folder with nothing of a repository in it,
all repositories in that folder: 'plakar://ADDRESS/NAME'. 'plakar create plakar://ADDRESS/NAME' makes one. A server needs no
passphrase.

'plakar://' and 'https://' are TLS. With 'plakar://' the server is known by the fingerprint of its certificate, which it prints
when it begins: a client is given it once in PLAKAR_FINGERPRINT, remembers it, and refuses any other. With 'https://' the
certificate must be one that the client's system trusts. Over loopback 'http://' works as well, and nowhere else.

Whoever has no token has no access, unless the server listens on a loopback address only and never had a token. A token is
printed once; only its hash is kept. Clients take it from PLAKAR_TOKEN or the file PLAKAR_TOKEN_FILE. With 'read' one may
read, with 'append' also push and sync into a repository, but neither remove nor replace anything; 'admin' may do everything.
A token is for what 'on REPOSITORY' names, and is of use, or no more, at once.

'/healthz' answers everybody, '/metrics' is for Prometheus. SIGTERM ends it, when what was asked is answered.

Exit codes:
   0  all done
   1  failed
   2  not understood";

/// `help snapshots`.
pub const SNAPSHOTS: &str = "\
What snapshots are called, wherever a command takes SNAPSHOT:

  3a57                     the beginning of its ID, as 'plakar ls' shows it
  latest                   the one that was made last
  @laptop                  the one that was made last on the host 'laptop'
  2026-11-22               the last one that was made no later than on that day
  2026-11-22T10:00         no later than in that minute; with seconds, in that second
  latest~2                 the second before the latest; '~N' may follow a host and a date as well

Days and times are those of UTC, as 'ls' prints them. A snapshot counts at the time it claims, but not later than it was
received.

SNAPSHOT:PATH is a file or directory in it. PATH begins after the first colon that is not within a time; a time has as many
digits as it can: 2026-11-22T10:00:05 has seconds, 2026-11-22T10:00:/05 is the file '/05'. PATH may begin with a slash or not.

'@NAME' is a repository or a source of the configuration only where those are named, as in 'on @NAME', 'push @NAME' or behind
the 'to' of a sync.

A name that is another snapshot's tomorrow is dangerous where snapshots are removed: 'rm' takes it with -by-name only.

  plakar ls latest:/etc
  plakar pull -path old -rebase 2026-11-22T10:00:/home/ann
  plakar cat @laptop~1:/etc/fstab
  plakar sync latest to @nas";

/// Below the help of `rm`.
pub const RM: &str = "\
SNAPSHOT is an ID, or its beginning. 'latest', '@HOST' and dates are other snapshots when there are more of them: they are
refused, with the ID that they stand for now, unless -by-name says that they are meant.

What is removed can be undeleted until 'plakar cleanup' gives back its space.

Exit codes:
   0  all done
   1  failed: nothing was removed
   2  not understood
   4  damage found
  10  no repository there
  11  wrong passphrase";

/// What plakar is.
pub const ABOUT: &str = "Deduplicating, encrypted backups.";

/// Below the help of plakar itself.
pub const DETAILS: &str = "\
Flags have one dash or two; a value is the next word or follows '='.

REPOSITORY is a folder, 'sqlite://' and the path of a database, or 'ssh://[USER@]HOST[:PORT]' and the path of a folder on
that machine, where plakar must be installed too, or 'sftp://[USER@]HOST[:PORT]' and the path of a folder where it need
not be, or 'plakar://HOST[:PORT][/NAME]' or 'https://...' on a server
('plakar help server'), or 's3://BUCKET[/PREFIX]' in an object store ('plakar help create'), or '@NAME' for one that the
configuration names ('plakar help config'). Without 'on', it is PLAKAR_REPOSITORY, the default of the configuration, or
~/.plakar/store.
SNAPSHOT is the beginning of a snapshot's ID, or 'latest', '@HOST' or a date ('plakar help snapshots'); SNAPSHOT:PATH is a file
or directory in it.
With -json every command prints one JSON value per line, and so do errors.

The passphrase comes from -keyfile, -passphrase-command, PLAKAR_PASSPHRASE, the configuration or the terminal.";

/// Text of clap's with flags as they are typed here: with one dash.
pub fn one_dash(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("--") {
        let after = &rest[at + 2..];
        out.push_str(&rest[..at]);
        out.push_str(if after.starts_with(|c: char| c.is_ascii_alphabetic()) { "-" } else { "--" });
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_shows_one_dash() {
        assert_eq!(one_dash("  -h, --help  [--x] '-- --x' a--b --"), "  -h, -help  [-x] '-- -x' a-b --");
    }
}
