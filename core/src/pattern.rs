//! Topics by a regular expression, as a subscription has it: it stands for the topics whose whole names it matches.
//! Kafka's are RE2's; the crate's are of the same kind: what they match is found in linear time, whatever the pattern.

use regex::{Regex, RegexBuilder};

/// The longest pattern, in bytes.
const MAX_PATTERN: usize = 4096;
/// What a pattern may become when it is compiled, in bytes: `(a{1000}){1000}` is short, too.
const MAX_COMPILED: usize = 256 << 10;

/// A pattern that is one.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: Box<str>,
    regex: Regex,
}

impl Pattern {
    /// The pattern that a text is; else, in words, why it is none.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.len() > MAX_PATTERN {
            return Err(format!("it is longer than {MAX_PATTERN} bytes"));
        }
        let build = |pattern: &str| {
            let built = RegexBuilder::new(pattern).size_limit(MAX_COMPILED).dfa_size_limit(MAX_COMPILED).build();
            // The last line says what; those before it point into the pattern.
            built.map_err(|error| error.to_string().lines().last().unwrap_or_default().to_owned())
        };
        // By itself first: `a)|(b` would be a pattern between parentheses.
        build(text)?;
        Ok(Self { text: text.into(), regex: build(&format!(r"\A(?:{text})\z"))? })
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it matches the whole name.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.regex.is_match(name)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_match() {
        let matches = |pattern: &str, name| Pattern::new(pattern).unwrap().matches(name);
        assert!(matches("a|b.*", "a") && matches("a|b.*", "bc") && !matches("a|b.*", "ac"));
        assert!(!matches("a", "a\n") && matches("", "") && matches("(?i)A", "a"));
        for wrong in ["(", "a)|(b", "(a{1000}){1000}", &"a".repeat(MAX_PATTERN + 1)] {
            assert!(Pattern::new(wrong).is_err(), "{wrong}");
        }
    }
}
