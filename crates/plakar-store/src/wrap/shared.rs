//! What points to a store is a store.

use std::sync::Arc;

use crate::{Capabilities, Draft, Listed, Name, Range, ReadStore, Result, Store};

macro_rules! points_to_a_store {
    ($($pointer:ty),*) => {$(
        impl<S: ReadStore + ?Sized> ReadStore for $pointer {
            fn get_range(&self, name: &Name, offset: u64, len: usize) -> Result<Vec<u8>> {
                (**self).get_range(name, offset, len)
            }

            fn get_ranges(&self, ranges: &[Range]) -> Vec<Result<Vec<u8>>> {
                (**self).get_ranges(ranges)
            }

            fn get(&self, name: &Name, max: usize) -> Result<Vec<u8>> {
                (**self).get(name, max)
            }

            fn get_into(&self, name: &Name, max: usize, bytes: &mut Vec<u8>) -> Result<()> {
                (**self).get_into(name, max, bytes)
            }

            fn len(&self, name: &Name) -> Result<u64> {
                (**self).len(name)
            }

            fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
                (**self).list(prefix, each)
            }

            fn list_at_once(&self, prefixes: &[&str], known: &[Listed]) -> Result<Option<Vec<Listed>>> {
                (**self).list_at_once(prefixes, known)
            }

            fn doubt(&self) -> bool {
                (**self).doubt()
            }

            fn capabilities(&self) -> Capabilities {
                (**self).capabilities()
            }

            fn location(&self) -> String {
                (**self).location()
            }
        }

        impl<S: Store + ?Sized> Store for $pointer {
            fn put(&self, name: &Name, parts: &[&[u8]]) -> Result<()> {
                (**self).put(name, parts)
            }

            fn draft(&self, name: &Name, len: u64) -> Result<Option<Box<dyn Draft>>> {
                (**self).draft(name, len)
            }

            fn delete(&self, name: &Name) -> Result<()> {
                (**self).delete(name)
            }

            fn barrier(&self) -> Result<()> {
                (**self).barrier()
            }

            fn weakness(&self) -> Option<String> {
                (**self).weakness()
            }
        }
    )*};
}

points_to_a_store!(&S, Box<S>, Arc<S>);
