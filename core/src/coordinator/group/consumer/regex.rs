//! Subscriptions by a regular expression. Kafka's are RE2's; the crate's are of the same kind: what they match is found
//! in linear time, whatever the pattern.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_wire::ErrorCode;
use regex::{Regex, RegexBuilder};

use super::draft::Refused;
use crate::coordinator::topics::Topics;

/// The longest pattern, in bytes.
const MAX_PATTERN: usize = 4096;
/// What a pattern may become when it is compiled, in bytes: `(a{1000}){1000}` is short, too.
const MAX_COMPILED: usize = 256 << 10;

/// Whether a member may be subscribed by the pattern.
pub(super) fn check(pattern: &str) -> Result<(), Refused> {
    compile(pattern).map(|_| ()).map_err(|why| {
        let start: String = pattern.chars().take(100).collect();
        Refused::new(ErrorCode::INVALID_REGULAR_EXPRESSION, format!("SubscribedTopicRegex {start:?} is invalid: {why}"))
    })
}

/// The topics whose whole names it matches. A pattern that somebody else wrote into the log and that is none here
/// stands for nothing.
pub(super) fn resolve(pattern: &str, topics: &Topics) -> BTreeSet<Arc<str>> {
    let Ok(regex) = compile(pattern) else { return BTreeSet::new() };
    topics.names().filter(|name| regex.is_match(name)).cloned().collect()
}

fn compile(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > MAX_PATTERN {
        return Err(format!("it is longer than {MAX_PATTERN} bytes"));
    }
    let build = |pattern: &str| {
        let built = RegexBuilder::new(pattern).size_limit(MAX_COMPILED).dfa_size_limit(MAX_COMPILED).build();
        // The last line says what; those before it point into the pattern.
        built.map_err(|error| error.to_string().lines().last().unwrap_or_default().to_owned())
    };
    // By itself first: `a)|(b` would be a pattern between parentheses.
    build(pattern)?;
    build(&format!(r"\A(?:{pattern})\z"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::topics::Topic;

    fn matched(pattern: &str) -> Vec<Arc<str>> {
        let mut topics = Topics::default();
        for (number, name) in (1..).zip(["a", "ab", "b", "orders-1", "orders-2", "orders-2-old"]) {
            topics.set(&name.into(), Topic { id: ottla_wire::Uuid(number), partitions: 1 }, 1);
        }
        resolve(pattern, &topics).into_iter().collect()
    }

    #[test]
    fn whole_names_are_matched() {
        assert_eq!(matched("a|ab"), ["a".into(), "ab".into()]);
        assert_eq!(matched(r"orders-\d"), ["orders-1".into(), "orders-2".into()]);
        assert_eq!(matched("^orders.*$").len(), 3);
        assert_eq!(matched("x"), []);
    }

    #[test]
    fn what_is_no_pattern_or_too_much_of_one_is_refused() {
        let long = "a".repeat(MAX_PATTERN + 1);
        for pattern in ["(", "a)|(b", "a**{", r"(a)\1", "(?=a)", "(?x)a # b", "((a{100}){100}){100}", &long] {
            let refused = check(pattern).expect_err(pattern);
            assert_eq!(refused.code, ErrorCode::INVALID_REGULAR_EXPRESSION);
            assert!(refused.message.len() < 400, "{}", refused.message);
        }
        check("orders-.*|[a-c]+").unwrap();
    }
}
