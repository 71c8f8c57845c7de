//! The integers inside a record: zigzag, seven bits a byte, least significant first, as in protocol buffers.
//!
//! Encodings longer than needed are read, as Kafka reads them; bits beyond the type's width are not, because
//! clients disagree on what they mean.

/// The most bytes of an int64.
pub(super) const MAX_LEN: usize = 10;

/// The bytes that [`read_near`] looks at: room for four numbers of three bytes and a byte between them.
pub(super) const NEAR: usize = 16;

/// Reads an int32 and says how many bytes it took; `None` if the bytes end or it is too long.
#[inline]
pub(super) fn read_i32(bytes: &[u8]) -> Option<(i32, usize)> {
    let (value, len) = match read_short(bytes) {
        Some(short) => short,
        None => read_long(bytes, 5)?,
    };
    let value = u32::try_from(value).ok()?;
    Some(((value >> 1).cast_signed() ^ -(value & 1).cast_signed(), len))
}

/// Reads an int64 and says how many bytes it took; `None` if the bytes end or it is too long.
#[inline]
pub(super) fn read_i64(bytes: &[u8]) -> Option<(i64, usize)> {
    let (value, len) = match read_short(bytes) {
        Some(short) => short,
        None => read_long(bytes, MAX_LEN)?,
    };
    Some(((value >> 1).cast_signed() ^ -(value & 1).cast_signed(), len))
}

/// Reads an int32 of at most three bytes at `*at`, and moves `at` after it.
///
/// `None` also if it lies so far from the front of `bytes` that it might not be whole there. This is the scan's
/// way through common records: one bounds check for several numbers.
#[inline]
pub(super) fn read_near(bytes: &[u8; NEAR], at: &mut usize) -> Option<i32> {
    if *at > NEAR - 3 {
        return None;
    }
    let byte = |index: usize| u32::from(bytes[(*at + index) % NEAR]);
    let (value, len) = match (byte(0), byte(1), byte(2)) {
        (a @ 0..=0x7f, _, _) => (a, 1),
        (a, b @ 0..=0x7f, _) => (a & 0x7f | b << 7, 2),
        (a, b, c @ 0..=0x7f) => (a & 0x7f | (b & 0x7f) << 7 | c << 14, 3),
        _ => return None,
    };
    *at += len;
    Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
}

/// Appends an int32.
pub(super) fn write_i32(out: &mut Vec<u8>, value: i32) {
    write(out, u64::from(((value << 1) ^ (value >> 31)).cast_unsigned()));
}

/// Appends an int64.
pub(super) fn write_i64(out: &mut Vec<u8>, value: i64) {
    write(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

/// Bytes that an int32 takes.
pub(super) fn len_i32(value: i32) -> usize {
    len(u64::from(((value << 1) ^ (value >> 31)).cast_unsigned()))
}

/// Bytes that an int64 takes.
pub(super) fn len_i64(value: i64) -> usize {
    len(((value << 1) ^ (value >> 63)).cast_unsigned())
}

/// One or two bytes: what nearly all of them have, and worth the while in a scan.
#[inline]
fn read_short(bytes: &[u8]) -> Option<(u64, usize)> {
    match *bytes {
        [first @ 0..=0x7f, ..] => Some((u64::from(first), 1)),
        [first, second @ 0..=0x7f, ..] => Some((u64::from(first & 0x7f) | u64::from(second) << 7, 2)),
        _ => None,
    }
}

fn read_long(bytes: &[u8], max: usize) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (index, &byte) in bytes.iter().take(max).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if index == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * index);
        if byte < 0x80 {
            return Some((value, index + 1));
        }
    }
    None
}

fn write(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [bits, ..] = (value & 0x7f).to_le_bytes();
        value >>= 7;
        if value == 0 {
            return out.push(bits);
        }
        out.push(bits | 0x80);
    }
}

fn len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_at_every_length() {
        for shift in 0..64 {
            for value in [i64::MIN >> shift, i64::MAX >> shift, 1 << shift] {
                let mut out = Vec::new();
                write_i64(&mut out, value);
                assert_eq!(read_i64(&out), Some((value, out.len())));
                assert_eq!(len_i64(value), out.len());
                assert_eq!(read_i64(&out[..out.len() - 1]), None);
                let Ok(value) = i32::try_from(value) else {
                    continue;
                };
                assert_eq!(read_i32(&out), Some((value, out.len())));
                assert_eq!(len_i32(value), out.len());
            }
        }
    }

    #[test]
    fn refuses_what_is_too_long() {
        assert_eq!(read_i32(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Some((i32::MIN, 5)));
        assert_eq!(read_i32(&[0xff, 0xff, 0xff, 0xff, 0x1f]), None);
        assert_eq!(read_i32(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]), None);
        assert_eq!(read_i32(&[0x80, 0x00]), Some((0, 2)));
        let mut ten = [0xff; 10];
        ten[9] = 0x01;
        assert_eq!(read_i64(&ten), Some((i64::MIN, 10)));
        ten[9] = 0x02;
        assert_eq!(read_i64(&ten), None);
    }
}
