//! What may be said of a service besides where it is: `KEY=VALUE`, of flags or of the configuration.
//!
//! Secrets are not among them. They come from where the tools of the service have them: the environment, files in the
//! user's home directory, the machine itself.

use crate::place::{Place, Service};
use Service::{Azblob, B2, Gcs, S3};
use std::collections::BTreeMap;
use std::env;

/// Each option: its name, which services take it, and what it is for.
pub const KEYS: [(&str, &[Service], &str); 8] = [
    ("endpoint", &[S3, Azblob, Gcs], "the URL of the service"),
    ("region", &[S3], "the region that requests are signed for"),
    (
        "path-style",
        &[S3],
        "yes: the bucket is a part of the path, not of the host; the default with an endpoint",
    ),
    ("profile", &[S3], "the profile of ~/.aws/credentials and ~/.aws/config"),
    ("anonymous", &[S3, Azblob, Gcs], "yes: sign nothing"),
    ("checksum", &[S3], "what the service proves an upload by: md5, which is the default, crc32c or none"),
    ("account", &[Azblob], "the storage account"),
    ("bucket-id", &[B2], "the ID of the bucket"),
];

/// Why a secret is not taken.
pub(crate) const NO_SECRETS: &str = "no credentials are named there: they come from the environment, or from where the \
                                     tools of the service keep them";

/// Options, by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options(BTreeMap<&'static str, String>);

impl Options {
    /// Reads `KEY=VALUE`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Options, String> {
        let (key, value) = text.split_once('=').ok_or_else(|| format!("{:.40}: KEY=VALUE is meant", text))?;
        let mut options = Options::default();
        options.set(key, value)?;
        Ok(options)
    }

    /// Sets one.
    ///
    /// # Errors
    /// What is wrong with it; never with its value, if that may be a secret.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let Some((known, ..)) = KEYS.iter().find(|(known, ..)| *known == key) else {
            let secret = ["key", "secret", "password", "token", "credential", "sas"];
            if secret.iter().any(|word| key.to_ascii_lowercase().contains(word)) {
                return Err(format!("{key:.40}: {NO_SECRETS}"));
            }
            return Err(format!(
                "unknown option: {key:.40}; there are {}",
                KEYS.map(|(known, ..)| known).join(", ")
            ));
        };
        let value = match *known {
            "endpoint" => endpoint(value)?,
            "path-style" | "anonymous" if !["yes", "no"].contains(&value) => {
                return Err(format!("{key}: must be yes or no"));
            }
            "checksum" if !["md5", "crc32c", "none"].contains(&value) => {
                return Err(format!("{key}: must be md5, crc32c or none"));
            }
            _ if value.is_empty() || value.len() > 200 || !value.bytes().all(|b| b.is_ascii_graphic()) => {
                return Err(format!("{key}: its value is none"));
            }
            _ => value.to_owned(),
        };
        self.0.insert(known, value);
        Ok(())
    }

    /// These, and of `others` those that are not among them.
    pub fn or(&self, others: &Options) -> Options {
        let mut all = others.0.clone();
        all.extend(self.0.iter().map(|(key, value)| (*key, value.clone())));
        Options(all)
    }

    /// The first option that a place has no use for.
    pub fn useless_for(&self, place: &Place) -> Option<&'static str> {
        self.0.keys().copied().find(|key| !takes(place.service, key))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    pub(crate) fn says(&self, key: &str) -> Option<bool> {
        self.get(key).map(|value| value == "yes")
    }
}

/// Whether a service takes an option.
pub(crate) fn takes(service: Service, key: &str) -> bool {
    KEYS.iter().any(|(known, services, _)| *known == key && services.contains(&service))
}

/// A URL of a service, as it is written down.
pub(crate) fn endpoint(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let rest = rest.ok_or("endpoint: must be a URL that begins with https:// or http://")?;
    if rest.contains('@') {
        return Err(format!("endpoint: {NO_SECRETS}"));
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:[]/".contains(&b);
    if rest.is_empty() || rest.starts_with('/') || text.len() > 300 || !rest.bytes().all(plain) {
        return Err("endpoint: must be a URL of a host, perhaps with a port and a path".into());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Of the environment, if it says anything.
pub(crate) fn variable(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| env::var(name).ok().filter(|value| !value.is_empty()))
}

/// Where the service is, if somebody says so: the name, an option, the environment.
pub(crate) fn settled_endpoint(place: &Place, options: &Options) -> Option<String> {
    let named = place.endpoint.clone().or_else(|| options.get("endpoint").map(str::to_owned));
    let names: &[&str] = match place.service {
        S3 => &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"],
        Azblob => &["AZURE_STORAGE_ENDPOINT"],
        Gcs | B2 | Service::Webdav | Service::Webdavs => &[],
    };
    let named = named.filter(|_| takes(place.service, "endpoint"));
    named.or_else(|| variable(names).map(|url| url.trim_end_matches('/').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_what_is_none_is_refused() {
        let options = Options::parse("endpoint=http://localhost:9000/").unwrap();
        assert_eq!(options.get("endpoint"), Some("http://localhost:9000"));
        let flags =
            Options::parse("region=eu-1").unwrap().or(&Options::parse("region=eu-2").unwrap()).or(&options);
        assert_eq!((flags.get("region"), flags.get("endpoint")), (Some("eu-1"), options.get("endpoint")));
        assert_eq!(Options::parse("path-style=no").unwrap().says("path-style"), Some(false));
        let b2 = Place::parse("b2://b").unwrap().unwrap();
        assert_eq!(options.useless_for(&b2), Some("endpoint"));
        for (bad, why) in [
            ("region", "KEY=VALUE"),
            ("region=", "region: "),
            ("regoin=x", "there are endpoint, region, path-style"),
            ("secret-access-key=abc", "environment"),
            ("AWS_SESSION_TOKEN=abc", "environment"),
            ("path-style=perhaps", "yes or no"),
            ("endpoint=localhost:9000", "https://"),
            ("endpoint=https://me:abc@host", "environment"),
            ("endpoint=https://", "host"),
            ("checksum=sha1", "crc32c"),
        ] {
            let said = Options::parse(bad).unwrap_err();
            assert!(said.contains(why) && !said.contains("abc"), "{bad}: {said}");
        }
    }
}
