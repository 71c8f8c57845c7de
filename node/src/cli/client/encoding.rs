//! How bytes are written as text: escapes, base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Understands `\n`, `\r`, `\t`, `\0`, `\\` and `\xNN`.
pub(super) fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let unknown = || format!("{text}: after \\ comes n, r, t, 0, \\ or xNN");
        let [escape, tail @ ..] = rest else { return Err(unknown()) };
        rest = tail;
        bytes.push(match escape {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'0' => 0,
            b'\\' => b'\\',
            b'x' => {
                let (digits, tail) = rest.split_at_checked(2).ok_or_else(unknown)?;
                rest = tail;
                let digits = std::str::from_utf8(digits).map_err(|_| unknown())?;
                u8::from_str_radix(digits, 16).map_err(|_| unknown())?
            }
            _ => return Err(unknown()),
        });
    }
    Ok(bytes)
}

/// For bytes that are no text.
pub(super) fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_understood() {
        assert_eq!(unescape(r"a\t\x1f\\\0").as_deref(), Ok(&b"a\t\x1f\\\0"[..]));
        for wrong in [r"\q", r"\x1", r"\", r"\xzz"] {
            assert!(unescape(wrong).is_err(), "{wrong}");
        }
    }
}
