//! The values of the records: different from each other, and neither noise nor all the same, so that a codec has
//! something to do and something to gain (lz4 halves them).

use crate::records::Random;

/// How many different values there are: enough that lz4 does not find one of them again, few enough for the cache.
const COUNT: u32 = 256;

/// Values of so many bytes each.
pub fn values(bytes: usize) -> Vec<Vec<u8>> {
    let mut random = Random::new(711);
    (0..COUNT).map(|number| value(number, bytes, &mut random)).collect()
}

/// Like a line of JSON: known words and unknown ones, by turns.
fn value(number: u32, bytes: usize, random: &mut Random) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes + 64);
    while text.len() < bytes {
        text.extend(format!("{{\"id\":{number},\"customer\":\"").into_bytes());
        text.extend(random.letters(24));
        text.extend(b"\",\"state\":\"delivered\"},");
    }
    text.truncate(bytes);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_differ_and_have_their_length() {
        let values = values(100);
        assert!(values.iter().all(|value| value.len() == 100));
        assert_ne!(values[0], values[1]);
    }
}
