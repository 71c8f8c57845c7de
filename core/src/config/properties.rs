//! Java's properties format, and the names of environment variables: texts in, keys and values out.

/// One logical line: the line it begins on (from 1), key and value.
type Property = (u32, String, String);

/// The properties of a file in Java's format: `#` and `!` comments, `=`, `:` or white space between key and
/// value, backslash escapes, a backslash at the end continues the line. A key that stands twice comes twice.
#[must_use]
pub fn parse_properties(text: &str) -> Vec<Property> {
    let mut properties = Vec::new();
    let mut lines = (1u32..).zip(text.lines());
    while let Some((number, first)) = lines.next() {
        let first = first.trim_start();
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = first.to_owned();
        while ends_in_odd_backslashes(&logical) {
            logical.pop();
            let Some((_, next)) = lines.next() else { break };
            logical.push_str(next.trim_start());
        }
        let (key, value) = split(&logical);
        properties.push((number, unescape(key), unescape(value)));
    }
    properties
}

/// The key that an environment variable stands for, as the official image maps them: `KAFKA_LOG_RETENTION_MS`
/// is `log.retention.ms`; two underscores are one, three are a hyphen. `None` for a variable that is not one.
#[must_use]
pub fn variable_to_key(variable: &str) -> Option<String> {
    let rest = variable.strip_prefix("KAFKA_")?;
    if NOT_SETTINGS.contains(&variable) || NOT_SETTINGS_PREFIXES.iter().any(|prefix| variable.starts_with(prefix)) {
        return None;
    }
    let key = rest.to_lowercase().replace("___", "-").replace("__", "\u{0}").replace('_', ".").replace('\u{0}', "_");
    (!key.is_empty()).then_some(key)
}

/// Variables of the official image that are for its scripts and its Java virtual machine.
const NOT_SETTINGS: &[&str] = &[
    "KAFKA_VERSION",
    "KAFKA_HOME",
    "KAFKA_HEAP_OPTS",
    "KAFKA_OPTS",
    "KAFKA_JMX_OPTS",
    "KAFKA_JMX_PORT",
    "KAFKA_JMX_HOSTNAME",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_GC_LOG_OPTS",
    "KAFKA_DEBUG",
    "KAFKA_MODE",
    "KAFKA_CLUSTER_ID",
];

/// Logging of the official image, and what Kubernetes sets for a service called `kafka`.
const NOT_SETTINGS_PREFIXES: &[&str] =
    &["KAFKA_LOG4J_", "KAFKA_TOOLS_LOG4J_", "KAFKA_PORT", "KAFKA_SERVICE_", "KAFKA_NATIVE_"];

fn ends_in_odd_backslashes(line: &str) -> bool {
    line.chars().rev().take_while(|c| *c == '\\').count() % 2 == 1
}

/// Key and value of a logical line, still escaped.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c: char| {
        let ends = !escaped && (c == '=' || c == ':' || c.is_whitespace());
        escaped = c == '\\' && !escaped;
        ends
    });
    let Some(end) = end else { return (line, "") };
    let (key, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, rest.trim_start())
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => plain.push('\t'),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('f') => plain.push('\u{c}'),
            Some('u') => {
                let code: String = chars.by_ref().take(4).collect();
                let decoded = u32::from_str_radix(&code, 16).ok().and_then(char::from_u32);
                plain.push(decoded.unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            Some(other) => plain.push(other),
            None => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(u32, &str, &str)]) {
        let parsed = parse_properties(text);
        let parsed: Vec<_> = parsed.iter().map(|(line, key, value)| (*line, key.as_str(), value.as_str())).collect();
        assert_eq!(parsed, expected);
    }

    #[test]
    fn separators_and_comments() {
        check("# c\n! c\n\na=1\n b : 2 \nc 3\nd", &[(4, "a", "1"), (5, "b", "2 "), (6, "c", "3"), (7, "d", "")]);
    }

    #[test]
    fn a_backslash_continues_and_escapes() {
        check("a=1,\\\n   2\nb=x\\\\\nc\\:d=\\u0041\\t\n", &[(1, "a", "1,2"), (3, "b", "x\\"), (4, "c:d", "A\t")]);
    }

    #[test]
    fn variables_become_keys() {
        for (variable, key) in [
            ("KAFKA_LOG_RETENTION_MS", Some("log.retention.ms")),
            ("KAFKA_A__B_C", Some("a_b.c")),
            ("KAFKA_A___B", Some("a-b")),
            ("KAFKA_HEAP_OPTS", None),
            ("KAFKA_SERVICE_HOST", None),
            ("PATH", None),
        ] {
            assert_eq!(variable_to_key(variable).as_deref(), key, "{variable}");
        }
    }
}
