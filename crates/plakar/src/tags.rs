//! Tags: what the owner of a snapshot calls it.

use crate::format;

/// A tag has at most so many bytes.
const TAG_BYTES_MAX: usize = 255;
/// A snapshot has at most so many tags.
const TAGS_MAX: usize = 64;

/// One tag as it is typed; blanks around it do not count.
///
/// # Errors
/// A sentence, when it is no tag.
pub fn parse(typed: &str) -> Result<String, String> {
    let tag = typed.trim();
    if tag.is_empty() {
        return Err("a tag is empty".into());
    }
    if tag.len() > TAG_BYTES_MAX {
        return Err(format!("a tag has at most {TAG_BYTES_MAX} bytes"));
    }
    // What is escaped when it is shown could not be typed as it looks.
    if format::printable(tag.as_bytes()) != tag {
        return Err("a tag has no control characters".into());
    }
    Ok(tag.to_owned())
}

/// The tags of one snapshot, each once.
///
/// # Errors
/// A sentence, when there are too many.
pub fn several(typed: &[String]) -> Result<Vec<String>, String> {
    let mut tags = Vec::new();
    for tag in typed {
        if !tags.contains(tag) {
            tags.push(tag.clone());
        }
    }
    if tags.len() > TAGS_MAX {
        return Err(format!("-tag: a snapshot has at most {TAGS_MAX} tags"));
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_short_and_can_be_shown() {
        assert_eq!(parse(" vor dem Umzug é "), Ok("vor dem Umzug é".into()));
        assert_eq!(parse(&"x".repeat(255)).map(|tag| tag.len()), Ok(255));
        for wrong in ["", "  ", "a\nb", "\x1b[2J", "a\u{202e}b", &"x".repeat(256)] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
        let typed: Vec<_> = ["b", "a", "b"].map(String::from).into();
        assert_eq!(several(&typed), Ok(vec!["b".into(), "a".into()]));
        assert!(several(&(0..65).map(|n| n.to_string()).collect::<Vec<_>>()).is_err());
    }
}
