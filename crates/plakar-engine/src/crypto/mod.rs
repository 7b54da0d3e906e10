//! Keys and ciphers.
//!
//! Everything secret of a domain follows from one random 256-bit secret ([`DomainSecret`]) and from the
//! seal keys of its epochs, which the keyring holds ([`keyring`]). Passphrases only wrap the key that
//! opens the keyring ([`slot`]), so changing one rewrites a small object. What is stored is sealed
//! ([`seal`]) by XAES-256-GCM ([`xaes`]) under random nonces.

mod domain;
pub mod keyring;
pub mod seal;
pub mod slot;
pub mod xaes;

pub use domain::{DomainKeys, DomainSecret};

/// `N` random bytes from the operating system.
///
/// Asked for each time anew: a process that forks, or a machine that is resumed twice from one image,
/// never repeats what it drew.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has random bytes");
    bytes
}
