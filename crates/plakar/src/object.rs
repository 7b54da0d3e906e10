//! Repositories in object stores: `s3://bucket[/prefix]` and its like; see [`plakar_store_object::Place`].
//!
//! What else must be known of the service comes from `-store-option`, from `options` in the configuration, which come first
//! as they are written for one repository, and from the environment. Secrets come from where the tools of the service have them.

use crate::exit::{Failure, Result};
use plakar_store::{Error, ErrorKind, Line};
use plakar_store_object::{ObjectStore, Options, Place, Service, Way};
use std::ffi::{OsStr, OsString};

/// A repository in an object store.
#[derive(Debug, Clone)]
pub struct Object {
    /// As it was typed.
    name: OsString,
    place: Place,
    /// How it is reached is no part of what it is.
    options: Options,
}

impl PartialEq for Object {
    fn eq(&self, other: &Object) -> bool {
        self.place == other.place
    }
}

impl Eq for Object {}

impl Object {
    /// Reads a name; `None` if it is none of a place in an object store. An error says what is wrong.
    pub fn parse(typed: &OsStr) -> Option<std::result::Result<Object, String>> {
        let parsed = Place::parse(typed.to_str()?)?;
        Some(parsed.map(|place| Object { name: typed.to_owned(), place, options: Options::default() }))
    }

    /// As it was typed.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// The same, reached with these options where it has none of its own.
    pub fn with(&self, options: &Options) -> Object {
        Object { options: self.options.or(options), ..self.clone() }
    }

    /// What is wrong with options for this place, if anything is.
    pub fn refuses(&self, options: &Options) -> Option<String> {
        let key = options.useless_for(&self.place)?;
        Some(format!("{}:// takes no option '{key}'", self.place.service().scheme()))
    }

    /// The same by one name: where the service is belongs to it.
    pub fn canonical(&self) -> Object {
        let place = self.place.told_apart(&self.options);
        Object { name: place.to_string().into(), place, options: self.options.clone() }
    }

    /// Whether it is beneath another.
    pub fn lies_in(&self, outer: &Object) -> bool {
        self.canonical().place.lies_in(&outer.canonical().place)
    }

    /// Opens the store that is there.
    pub fn open(&self, line: &Line) -> plakar_store::Result<ObjectStore> {
        ObjectStore::open(&self.place, &self.way(line))
    }

    /// Opens it as an empty store.
    pub fn create(&self, line: &Line) -> plakar_store::Result<ObjectStore> {
        ObjectStore::create(&self.place, &self.way(line))
    }

    /// What to say if it could not be opened because there is no bucket: nobody makes one by making a repository.
    pub fn missing_bucket(&self, error: &Error) -> Option<Failure> {
        let text = error.to_string();
        let missing = error.kind() == ErrorKind::NotFound && text != format!("{}: not found", self.place);
        let bucket = if self.place.service() == Service::Azblob { "container" } else { "bucket" };
        let what = text.trim_end_matches(": not found").to_owned();
        missing.then(|| {
            Failure::failed(format!("{what} is missing"))
                .hint(format!("plakar makes no {bucket}s; make it with what the service has for it"))
        })
    }

    fn way(&self, line: &Line) -> Way {
        let (options, Line { bandwidth, patience }) = (self.options.clone(), line.clone());
        Way { options, bandwidth, patience, keys: None }
    }
}

/// The options that flags give together.
pub fn options(flags: &[String]) -> Result<Options> {
    let mut all = Options::default();
    for flag in flags {
        let one = Options::parse(flag).map_err(|why| Failure::usage(format!("-store-option: {why}")))?;
        all = one.or(&all);
    }
    Ok(all)
}
