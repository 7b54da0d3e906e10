//! What a name stands for: `s3://bucket/prefix`, `gcs://bucket/prefix`, `azblob://container/prefix`, `b2://bucket/prefix`,
//! `webdav://host/path`, `webdavs://host/path`.
//!
//! Where the service itself is follows from options ([`crate::Options`]); behind `?endpoint=` a name may say it itself, so
//! that two places of one command can be with two services. No name holds a secret.

use crate::options::{self, Options};
use std::fmt;
use std::net::IpAddr;

/// Who keeps the objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// S3, of Amazon or of whoever speaks it.
    S3,
    /// Azure Blob Storage.
    Azblob,
    /// Google Cloud Storage.
    Gcs,
    /// Backblaze B2, by its own interface.
    B2,
    /// A WebDAV server on this machine.
    Webdav,
    /// A WebDAV server, by TLS.
    Webdavs,
}

use Service::{Azblob, B2, Gcs, S3, Webdav, Webdavs};

/// What names begin with, the first of each service being the one that is shown.
const SCHEMES: [(&str, Service); 7] = [
    ("s3", S3),
    ("azblob", Azblob),
    ("gcs", Gcs),
    ("gs", Gcs),
    ("b2", B2),
    ("webdav", Webdav),
    ("webdavs", Webdavs),
];

impl Service {
    /// What a name begins with, before `://`.
    pub fn scheme(self) -> &'static str {
        SCHEMES.iter().find(|(_, service)| *service == self).expect("each has one").0
    }

    /// The feature that it is compiled with, if it can be left out.
    pub fn feature(self) -> Option<&'static str> {
        match self {
            S3 => None,
            Azblob => Some("azblob"),
            Gcs => Some("gcs"),
            B2 => Some("b2"),
            Webdav | Webdavs => Some("webdav"),
        }
    }

    /// Whether it was compiled in.
    pub fn is_here(self) -> bool {
        match self {
            S3 => true,
            Azblob => cfg!(feature = "azblob"),
            Gcs => cfg!(feature = "gcs"),
            B2 => cfg!(feature = "b2"),
            Webdav | Webdavs => cfg!(feature = "webdav"),
        }
    }

    /// Whether it has folders, which are no objects and must not be taken for some.
    pub(crate) fn has_folders(self) -> bool {
        matches!(self, Webdav | Webdavs)
    }
}

/// The longest prefix: with the longest name of an object it is a key of S3.
const PREFIX_BYTES_MAX: usize = 800;

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub(crate) service: Service,
    /// The bucket, the container, or host and port.
    pub(crate) bucket: String,
    /// What keys begin with, without a slash at its ends; it may be empty.
    pub(crate) prefix: String,
    /// Where the service is, if the name says so.
    pub(crate) endpoint: Option<String>,
}

impl Place {
    /// Reads a name; `None` if it is none of a place in an object store. An error says what is wrong with it.
    pub fn parse(name: &str) -> Option<Result<Place, String>> {
        let (scheme, rest) = name.split_once("://")?;
        let (_, service) = SCHEMES.iter().find(|(known, _)| *known == scheme)?;
        Some(Place::read(*service, rest))
    }

    fn read(service: Service, rest: &str) -> Result<Place, String> {
        let (rest, endpoint) = match rest.split_once('?') {
            Some((rest, query)) => {
                let endpoint =
                    query.strip_prefix("endpoint=").ok_or("behind '?' only 'endpoint=URL' is known")?;
                if !options::takes(service, "endpoint") {
                    return Err(format!("{}:// has no endpoint", service.scheme()));
                }
                (rest, Some(options::endpoint(endpoint)?))
            }
            None => (rest, None),
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.contains('@') || (bucket.contains(':') && !service.has_folders()) {
            return Err(format!("{}; nor is a port", options::NO_SECRETS));
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:[]".contains(&b);
        if bucket.is_empty()
            || bucket.len() > 255
            || !bucket.bytes().all(plain)
            || !bucket.as_bytes()[0].is_ascii_alphanumeric()
        {
            let what = if service.has_folders() { "a machine" } else { "a bucket" };
            return Err(format!("it does not name {what}"));
        }
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let part = |part: &str| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.+=~".contains(&b);
            !part.is_empty() && part != "." && part != ".." && part.bytes().all(plain)
        };
        if !prefix.is_empty() && !prefix.split('/').all(part) {
            return Err(
                "what stands behind the bucket has letters, digits, '-_.+=~' and single slashes only".into(),
            );
        }
        if prefix.len() > PREFIX_BYTES_MAX {
            return Err(format!("what stands behind the bucket is longer than {PREFIX_BYTES_MAX} bytes"));
        }
        if service == Webdav && !is_this_machine(bucket) {
            return Err("what goes over webdav:// is not secret: it is for servers on this machine, others are webdavs://".into());
        }
        Ok(Place { service, bucket: bucket.into(), prefix: prefix.into(), endpoint })
    }

    /// Who keeps it.
    pub fn service(&self) -> Service {
        self.service
    }

    /// Whether it is beneath `other`, and not the same.
    pub fn lies_in(&self, other: &Place) -> bool {
        let same =
            (self.service, &self.bucket, &self.endpoint) == (other.service, &other.bucket, &other.endpoint);
        let rest = self.prefix.strip_prefix(&other.prefix);
        same && rest
            .is_some_and(|rest| !rest.is_empty() && (other.prefix.is_empty() || rest.starts_with('/')))
    }

    /// The same place with what says where the service is, as far as that does not go without saying.
    pub fn told_apart(&self, options: &Options) -> Place {
        Place { endpoint: options::settled_endpoint(self, options), ..self.clone() }
    }
}

/// As it would be typed.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.service.scheme(), self.bucket)?;
        if !self.prefix.is_empty() {
            write!(f, "/{}", self.prefix)?;
        }
        match &self.endpoint {
            Some(endpoint) => write!(f, "?endpoint={endpoint}"),
            None => Ok(()),
        }
    }
}

fn is_this_machine(at: &str) -> bool {
    let host = match at.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => at,
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_and_shown() {
        for (name, shown) in [
            ("s3://bucket", "s3://bucket"),
            ("s3://my.bucket-1/a/b_c/", "s3://my.bucket-1/a/b_c"),
            ("gs://b/x", "gcs://b/x"),
            ("b2://b/x", "b2://b/x"),
            ("azblob://c", "azblob://c"),
            ("webdav://localhost:80/x", "webdav://localhost:80/x"),
            ("webdavs://dav.example.org/x/y", "webdavs://dav.example.org/x/y"),
            ("s3://b/x?endpoint=http://[::1]:9000/", "s3://b/x?endpoint=http://[::1]:9000"),
        ] {
            let place = Place::parse(name).unwrap().unwrap();
            assert_eq!(place.to_string(), shown, "{name}");
            assert_eq!(Place::parse(shown).unwrap().unwrap(), place);
        }
        assert!(Place::parse("ssh://host/x").is_none() && Place::parse("/a/b").is_none());
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in [
            "s3://",
            "s3:///x",
            "s3://key:secret@bucket/x",
            "s3://key@bucket",
            "s3://bucket:9000/x",
            "s3://b//x",
            "s3://b/../x",
            "s3://b/x?region=y",
            "s3://b/x?endpoint=ftp://x",
            "s3://b/x?endpoint=https://user:password@x",
            "s3://b/x y",
            "s3://b/x%20",
            "s3://-b",
            "s3://b\u{e4}",
            "b2://b?endpoint=https://x",
            "webdav://example.org/x",
            "webdavs://user@example.org/x",
        ] {
            assert!(Place::parse(bad).unwrap().is_err(), "{bad}");
        }
        assert!(Place::parse(&format!("s3://b/{}", "x".repeat(801))).unwrap().is_err());
    }

    #[test]
    fn a_place_lies_in_another() {
        let place = |name: &str| Place::parse(name).unwrap().unwrap();
        let lies = |inner: &str, outer: &str| place(inner).lies_in(&place(outer));
        assert!(lies("s3://b/x", "s3://b") && lies("s3://b/x/y", "s3://b/x"));
        assert!(
            !lies("s3://b/x", "s3://b/x") && !lies("s3://b/xy", "s3://b/x") && !lies("s3://c/x", "s3://b")
        );
        assert!(!lies("s3://b/x?endpoint=http://h", "s3://b"));
    }
}
