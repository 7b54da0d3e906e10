//! Names of files that are on their way to become objects, in stores that keep objects as files.

/// What the name of a temporary file begins with; 16 hexadecimal digits follow.
pub const TEMPORARY_PREFIX: &str = ".tmp-";

/// Whether a file of this name, without its folder, was on its way to become an object.
pub fn is_temporary(name: &[u8]) -> bool {
    let is_digit = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    name.strip_prefix(TEMPORARY_PREFIX.as_bytes())
        .is_some_and(|digits| digits.len() == 16 && digits.iter().all(is_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_store_leaves_is_known_by_its_name() {
        assert!(is_temporary(b".tmp-0123456789abcdef"));
        for name in
            [&b".tmp-"[..], b".tmp-0123456789abcde", b".tmp-0123456789abcdeg", b"tmp-0123456789abcdef", b"x"]
        {
            assert!(!is_temporary(name));
        }
    }
}
