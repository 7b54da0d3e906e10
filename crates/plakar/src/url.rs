//! Repositories on a server of plakar's: `plakar://host[:port][/name]`, `https://…`, `http://…`.
//!
//! A server of one repository has it without a name. `plakar://` is TLS with a server that is known by the fingerprint of its
//! certificate ([`crate::pins`]), `https://` TLS with one that somebody vouches for whom this system trusts. `http://` is for
//! servers on this machine: nothing that goes over it is secret, least of all a token, so other hosts are refused.
//!
//! Tokens are no part of a name, which is shown and written down. They come from `PLAKAR_TOKEN` or the file
//! `PLAKAR_TOKEN_FILE`: words apart from each other, a `HOST:PORT=TOKEN` for one server, a token alone for all others.

use crate::pins::Pins;
use plakar_net::{Address, Connect, Connecting, NetStore, Paced, Tcp, Tls, is_plain};
use plakar_store::{Error, ErrorKind, Line, Patience};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;

/// How a server is spoken with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    /// TLS, with whoever is known by a fingerprint.
    Plakar,
    /// TLS, with whoever is vouched for.
    Https,
    /// As everybody on the way may hear.
    Http,
}

const SCHEMES: [(&str, Scheme, u16); 3] =
    [("plakar://", Scheme::Plakar, 9876), ("https://", Scheme::Https, 443), ("http://", Scheme::Http, 80)];

/// A repository on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// As it was typed.
    name: OsString,
    scheme: Scheme,
    host: String,
    port: u16,
    /// What stands before the paths of the protocol: nothing, or `/` and the name.
    path: String,
}

impl Url {
    /// Reads a name; `None` if it is none of a repository on a server. An error says what is wrong.
    pub fn parse(typed: &OsStr) -> Option<Result<Url, &'static str>> {
        let known = |(begin, ..): &&(&str, Scheme, u16)| typed.as_bytes().starts_with(begin.as_bytes());
        let (begin, scheme, port) = SCHEMES.iter().find(known)?;
        let rest = &typed.as_bytes()[begin.len()..];
        let rest = str::from_utf8(rest).map_err(|_| "it is no text");
        Some(rest.and_then(|rest| Url::read(typed, *scheme, *port, rest)))
    }

    fn read(typed: &OsStr, scheme: Scheme, port: u16, rest: &str) -> Result<Url, &'static str> {
        let (at, path) = rest.split_once('/').unwrap_or((rest, ""));
        if at.contains('@') {
            return Err(
                "nobody is named before the host: a token comes from PLAKAR_TOKEN or PLAKAR_TOKEN_FILE",
            );
        }
        let (host, port) = match at.rsplit_once(':') {
            // An address of many colons stands in brackets, as in other such names.
            Some((host, port)) if !port.contains(']') => {
                let port = port.parse().ok().filter(|port| *port > 0);
                (host, port.ok_or("its port is no number of a port")?)
            }
            _ => (at, port),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let letter = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
        if host.is_empty() || !host.bytes().all(letter) {
            return Err("it names no machine");
        }
        let path = path.strip_suffix('/').unwrap_or(path);
        if !path.is_empty() && !path.split('/').all(is_plain) {
            return Err("the name of its repository is none: letters, digits, '-', '_' and '.'");
        }
        if scheme == Scheme::Http && !is_here(host) {
            return Err("what goes over http:// is not secret: it is for servers on this machine");
        }
        let path = if path.is_empty() { String::new() } else { format!("/{path}") };
        Ok(Url { name: typed.to_owned(), scheme, host: host.to_ascii_lowercase(), port, path })
    }

    /// As it was typed.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// Opens the store that is there.
    pub fn open(&self, line: &Line) -> plakar_store::Result<NetStore> {
        self.reach(NetStore::open, line)
    }

    /// Makes an empty store there.
    pub fn create(&self, line: &Line) -> plakar_store::Result<NetStore> {
        self.reach(NetStore::create, line)
    }

    fn reach(&self, greet: Greet, line: &Line) -> plakar_store::Result<NetStore> {
        let (server, location) = (self.server(), self.name.to_string_lossy().into_owned());
        let token = token_for(&server, &tokens()?);
        let failed = |e| Error::io(location.clone(), e);
        let scheme = if self.scheme == Scheme::Http { "http" } else { "https" };
        let address = Address { base: format!("{scheme}://{server}{}", self.path), token };
        let way = |inner| Box::new(Paced::new(Box::new(Way { inner, address }), line.bandwidth.clone()));
        match self.scheme {
            Scheme::Http => greet(way(Box::new(Tcp(server))), location, line.patience),
            Scheme::Https => {
                let tls = Tls::vouched(&self.host, self.port).map_err(failed)?;
                greet(way(Box::new(tls)), location, line.patience)
            }
            Scheme::Plakar => {
                let pins = Pins::of(&server).map_err(failed)?;
                let tls = Tls::pinned(&self.host, self.port, pins.all()).map_err(failed)?;
                let met = tls.met();
                let greeted = greet(way(Box::new(tls)), location, line.patience);
                let met = *met.lock().expect("no panic while held");
                match (greeted, met.filter(|met| !pins.all().contains(met))) {
                    (_, Some(stranger)) => Err(Error::new(ErrorKind::Io, pins.refusal(&self.name, stranger))),
                    (greeted, None) => {
                        pins.remember(met);
                        greeted
                    }
                }
            }
        }
    }

    /// Host and port, as they are written together.
    fn server(&self) -> String {
        let host = &self.host;
        if host.contains(':') { format!("[{host}]:{}", self.port) } else { format!("{host}:{}", self.port) }
    }
}

/// Opens a store on a server, or makes one.
type Greet = fn(Box<dyn Connect>, String, Patience) -> plakar_store::Result<NetStore>;

/// Whether a host is this machine, whatever a server of names says.
fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// All tokens that were given.
fn tokens() -> plakar_store::Result<String> {
    let text = match (std::env::var_os("PLAKAR_TOKEN"), std::env::var_os("PLAKAR_TOKEN_FILE")) {
        (Some(text), _) => Some(text.into_string().map_err(|_| "PLAKAR_TOKEN".to_owned())),
        (None, Some(file)) => {
            let what = format!("PLAKAR_TOKEN_FILE: {}", file.display());
            let bytes = fs::read(&file).map_err(|e| Error::io(what.clone(), e))?;
            Some(String::from_utf8(bytes).map_err(|_| what))
        }
        (None, None) => None,
    };
    let graphic = |text: String, what: &str| match text
        .split_whitespace()
        .all(|w| w.bytes().all(|b| b.is_ascii_graphic()))
    {
        true => Ok(text),
        false => Err(what.to_owned()),
    };
    let text = text.unwrap_or_else(|| Ok(String::new())).and_then(|text| graphic(text, "PLAKAR_TOKEN"));
    text.map_err(|what| Error::new(ErrorKind::Io, format!("{what}: no token looks like that")))
}

/// The token for one server.
fn token_for(server: &str, tokens: &str) -> Option<String> {
    let words = || tokens.split_whitespace();
    let own = words().find_map(|word| word.strip_prefix(server)?.strip_prefix('='));
    own.or_else(|| words().find(|word| !word.contains('='))).map(str::to_owned)
}

/// How a server is reached, and what is asked of it.
struct Way {
    inner: Box<dyn Connect>,
    address: Address,
}

impl Connect for Way {
    fn connect(&self) -> Connecting<'_> {
        self.inner.connect()
    }

    fn address(&self) -> Address {
        self.address.clone()
    }

    fn peer(&self) -> String {
        self.inner.peer()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(typed: &str) -> Result<Url, &'static str> {
        Url::parse(OsStr::new(typed)).expect("it is on a server")
    }

    #[test]
    fn a_name_becomes_an_address() {
        for (typed, server, path) in [
            ("plakar://Backup.example.org", "backup.example.org:9876", ""),
            ("plakar://192.168.1.1:1/home", "192.168.1.1:1", "/home"),
            ("https://example.org/backups/home/", "example.org:443", "/backups/home"),
            ("http://localhost", "localhost:80", ""),
            ("http://127.0.0.1:9876/", "127.0.0.1:9876", ""),
            ("http://[::1]:9876/home", "[::1]:9876", "/home"),
            ("http://[::1]/a/b.c", "[::1]:80", "/a/b.c"),
        ] {
            let url = parse(typed).unwrap();
            assert_eq!((url.server().as_str(), url.path.as_str()), (server, path), "{typed}");
            assert_eq!(url.name(), typed);
        }
        assert_eq!(Url::parse(OsStr::new("ssh://host/x")), None);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in [
            "plakar://",
            "plakar://token@host/x",
            "plakar://host/..",
            "https://host/x?y=z",
            "http://",
            "http:///name",
            "http://localhost:0/x",
            "http://localhost:70000",
            "http://token@localhost/x",
            "http://localhost/../x",
            "http://localhost/.x",
            "http://localhost//x",
            "http://localhost/x?y",
            "http://localhost/%2e%2e",
            "http://local host/x",
            "http://example.org/x",
            "http://127.0.0.1.example.org/x",
            "http://192.168.1.1/x",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn each_server_gets_its_own_token() {
        let tokens = "host:9876=first\nother:1=second third";
        assert_eq!(token_for("host:9876", tokens).as_deref(), Some("first"));
        assert_eq!(token_for("other:1", tokens).as_deref(), Some("second"));
        assert_eq!(token_for("host:987", tokens).as_deref(), Some("third"));
        assert_eq!(token_for("host:1", "host:9876=first"), None, "it is nobody else's business");
        assert_eq!(token_for("host:1", ""), None);
    }
}
