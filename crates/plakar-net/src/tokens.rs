//! Tokens: who is let in by a server, kept as a file of text.
//!
//! ```text
//! NAME ROLE EXPIRES REPOSITORY QUOTA HASH
//! laptop append 1646519458 - 1000000000 6f2d…
//! ```
//!
//! A line for each, with a `-` for what does not matter. A token is 256 random bits in hexadecimal, and only its hash is
//! kept: there is nothing to guess, so it needs no stretching. Hashes are compared in constant time, with each line.

use crate::door::{Guest, Role};
use blake3::Hash;
use plakar_store::{Error, ErrorKind, Result};

/// The longest name of a token, or of a repository on a server.
const NAME_MAX: usize = 64;

/// Whether a token or a repository may be called so: nothing hidden, nothing that leads anywhere, nothing to quote.
pub fn is_plain(name: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    (1..=NAME_MAX).contains(&name.len()) && !name.starts_with(['.', '-']) && name.bytes().all(letter)
}

/// A token, without what it is itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it lets its bearer do, and what it is called.
    pub guest: Guest,
    /// From then on it is of no use: seconds since 1970.
    pub expires: Option<i64>,
    hash: Hash,
}

/// All tokens of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokens(Vec<Token>);

fn hash_of(token: &str) -> Hash {
    Hash::from(blake3::derive_key("plakar v1 token of a server", token.as_bytes()))
}

impl Tokens {
    /// Reads the file. Nothing unless all of it is what it must be: who may do what is not guessed.
    pub fn read(text: &str) -> Option<Tokens> {
        let tokens = text.lines().map(read_line).collect::<Option<Vec<_>>>()?;
        Some(Tokens(tokens))
    }

    /// The text of the file.
    pub fn write(&self) -> String {
        self.0.iter().map(write_line).collect()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Token> {
        self.0.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one, made of random bytes, and returns what its bearer is to say. `None` if the name is taken or none.
    pub fn add(&mut self, guest: Guest, expires: Option<i64>, random: [u8; 32]) -> Option<String> {
        let taken = self.0.iter().any(|token| token.guest.name == guest.name);
        if taken || !is_plain(&guest.name) || !guest.repository.as_deref().is_none_or(is_plain) {
            return None;
        }
        // A hash in hexadecimal is as good as any other way to write 32 bytes.
        let token = Hash::from(random).to_string();
        self.0.push(Token { guest, expires, hash: hash_of(&token) });
        Some(token)
    }

    /// Removes the one of this name, if there is one.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|token| token.guest.name != name);
        self.0.len() < before
    }

    /// Who comes with this token at this time.
    ///
    /// # Errors
    /// Of the kind `Denied`, for nobody.
    pub fn admit(&self, token: Option<&str>, now: i64) -> Result<Guest> {
        let denied = |why: &str| Err(Error::new(ErrorKind::Denied, why));
        let Some(token) = token else { return denied("a token is needed") };
        let hash = hash_of(token);
        let mut found = None;
        for token in &self.0 {
            // The comparison of hashes takes the same time whatever they are, and none is left out.
            if token.hash == hash {
                found = Some(token);
            }
        }
        match found {
            None => denied("the token is not known here"),
            Some(token) if token.expires.is_some_and(|end| end <= now) => denied("the token has expired"),
            Some(token) => Ok(token.guest.clone()),
        }
    }
}

fn read_line(line: &str) -> Option<Token> {
    let words: Vec<_> = line.split(' ').collect();
    let [name, role, expires, repository, quota, hash] = words[..] else { return None };
    let some = |word| Some(word).filter(|word| *word != "-");
    let guest = Guest {
        name: Some(name).filter(|name| is_plain(name))?.to_owned(),
        role: Role::named(role)?,
        repository: match some(repository) {
            Some(name) => Some(Some(name).filter(|name| is_plain(name))?.to_owned()),
            None => None,
        },
        quota: some(quota).map(str::parse).transpose().ok()?,
    };
    let expires = some(expires).map(str::parse).transpose().ok()?;
    Some(Token { guest, expires, hash: Hash::from_hex(hash).ok()? })
}

fn write_line(token: &Token) -> String {
    let Token { guest: Guest { name, role, repository, quota }, expires, hash } = token;
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let expires = or_none(expires.map(|end| end.to_string()));
    let repository = or_none(repository.clone());
    let quota = or_none(quota.map(|bytes| bytes.to_string()));
    format!("{name} {} {expires} {repository} {quota} {hash}\n", role.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(name: &str, role: Role) -> Guest {
        Guest { role, ..Guest::owner(name) }
    }

    #[test]
    fn only_who_has_a_token_is_let_in() {
        let mut tokens = Tokens::default();
        let laptop =
            Guest { repository: Some("home".into()), quota: Some(9), ..guest("laptop", Role::Append) };
        let first = tokens.add(laptop.clone(), Some(100), [0xab; 32]).unwrap();
        let second = tokens.add(guest("desk", Role::Read), None, [2; 32]).unwrap();
        assert_eq!(tokens.add(guest("desk", Role::Admin), None, [3; 32]), None, "the name is taken");
        assert!(first.len() == 64 && first != second);
        let kind = |token, now| tokens.admit(token, now).map_err(|e| e.to_string());
        assert_eq!(kind(Some(&first), 99), Ok(laptop));
        assert_eq!(kind(Some(&first), 100), Err("the token has expired: permission denied".into()));
        assert_eq!(kind(Some(&second), 1 << 40).unwrap().role, Role::Read);
        let (upper, hash) = (first.to_uppercase(), hash_of(&first).to_string());
        for bad in ["", "x", &first[1..], &upper, &hash] {
            assert!(kind(Some(bad), 0).unwrap_err().contains("not known"), "{bad}");
        }
        assert!(kind(None, 0).unwrap_err().contains("a token is needed"));

        let text = tokens.write();
        assert!(!text.contains(&first) && !text.contains(&second), "only hashes are kept");
        assert_eq!(Tokens::read(&text), Some(tokens.clone()));
        assert!(tokens.remove("laptop") && !tokens.remove("laptop"));
        assert!(tokens.admit(Some(&first), 0).is_err() && tokens.admit(Some(&second), 0).is_ok());
    }

    #[test]
    fn a_file_that_is_none_lets_nobody_in() {
        let hash = hash_of("x");
        let good = format!("a read - - - {hash}\nb admin -5 r 7 {hash}\n");
        assert_eq!(Tokens::read(&good).unwrap().write(), good);
        assert!(Tokens::read("").unwrap().is_empty());
        for bad in [
            format!("a read - - - {hash}\n\n"),
            format!("a read - - {hash}"),
            format!("a root - - - {hash}"),
            format!("../a read - - - {hash}"),
            format!("a read soon - - {hash}"),
            format!("a read - ../r - {hash}"),
            format!("a read - - -1 {hash}"),
            "a read - - - 00".to_owned(),
        ] {
            assert_eq!(Tokens::read(&bad), None, "{bad}");
        }
    }

    #[test]
    fn names_lead_nowhere() {
        for good in ["a", "Home_1.old-2", &"x".repeat(64)] {
            assert!(is_plain(good), "{good}");
        }
        for bad in ["", ".", "..", ".hidden", "-flag", "a/b", "a b", "a\n", "é", "%2e", &"x".repeat(65)] {
            assert!(!is_plain(bad), "{bad}");
        }
    }
}
