//! What the loads say in Kafka's protocol, and what they understand of the answers.
//!
//! By hand and from outside, as the probe is; old, simple versions on purpose, without tagged fields.

use std::io;

/// The keys of the requests that are sent.
pub mod key {
    /// Produce.
    pub const PRODUCE: i16 = 0;
    /// Fetch.
    pub const FETCH: i16 = 1;
    /// ListOffsets.
    pub const LIST_OFFSETS: i16 = 2;
    /// Metadata.
    pub const METADATA: i16 = 3;
    /// ApiVersions.
    pub const API_VERSIONS: i16 = 18;
    /// CreateTopics.
    pub const CREATE_TOPICS: i16 = 19;
    /// DeleteTopics.
    pub const DELETE_TOPICS: i16 = 20;
    /// IncrementalAlterConfigs.
    pub const INCREMENTAL_ALTER_CONFIGS: i16 = 44;
}

/// The length of the header of a record batch.
pub const BATCH_HEADER: usize = 61;

/// A whole frame: its length, the header (version 1, client id "probe") and the body.
pub fn request(api_key: i16, api_version: i16, correlation_id: i32, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    frame.extend(api_key.to_be_bytes());
    frame.extend(api_version.to_be_bytes());
    frame.extend(correlation_id.to_be_bytes());
    put_text(&mut frame, "probe")?;
    frame.extend(body);
    seal(&mut frame)?;
    Ok(frame)
}

/// Writes the length of a frame into its first four bytes.
pub fn seal(frame: &mut [u8]) -> io::Result<()> {
    let length = i32::try_from(frame.len() - 4).map_err(io::Error::other)?;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// The body of a Produce request, version 3 to 8, for one partition.
pub fn produce(topic: &str, partition: i32, acks: i16, batch: &[u8]) -> io::Result<Vec<u8>> {
    let mut body = Vec::with_capacity(batch.len() + topic.len() + 40);
    body.extend((-1_i16).to_be_bytes());
    body.extend(acks.to_be_bytes());
    body.extend(30_000_i32.to_be_bytes());
    put_len(&mut body, 1)?;
    put_text(&mut body, topic)?;
    put_len(&mut body, 1)?;
    body.extend(partition.to_be_bytes());
    put_len(&mut body, batch.len())?;
    body.extend(batch);
    Ok(body)
}

/// The error and the base offset in a Produce answer, version 2 to 8, for one partition.
pub fn produced(answer: &[u8]) -> io::Result<(i16, i64)> {
    let mut rest = Answer(answer);
    rest.skip(4)?;
    rest.text()?;
    rest.skip(8)?;
    Ok((rest.i16()?, rest.i64()?))
}

/// A record batch of magic 2, not compressed, without a producer id; `now` is every record's time in milliseconds.
/// Each record has a value, and may have a key.
pub fn batch<'a>(content: impl IntoIterator<Item = (Option<[u8; 8]>, &'a [u8])>, now: i64) -> io::Result<Vec<u8>> {
    let mut records = Vec::new();
    let mut count = 0_i32;
    for (key, value) in content {
        let mut record = vec![0];
        put_varint(&mut record, 0);
        put_varint(&mut record, i64::from(count));
        put_varint(&mut record, if key.is_some() { 8 } else { -1 });
        record.extend(key.iter().flatten());
        put_varint(&mut record, i64::try_from(value.len()).map_err(io::Error::other)?);
        record.extend(value);
        put_varint(&mut record, 0);
        put_varint(&mut records, i64::try_from(record.len()).map_err(io::Error::other)?);
        records.extend(record);
        count += 1;
    }
    let mut after_crc = Vec::with_capacity(BATCH_HEADER + records.len());
    after_crc.extend(0_i16.to_be_bytes());
    after_crc.extend((count - 1).to_be_bytes());
    after_crc.extend(now.to_be_bytes());
    after_crc.extend(now.to_be_bytes());
    after_crc.extend((-1_i64).to_be_bytes());
    after_crc.extend((-1_i16).to_be_bytes());
    after_crc.extend((-1_i32).to_be_bytes());
    after_crc.extend(count.to_be_bytes());
    after_crc.extend(records);
    let mut batch = Vec::with_capacity(BATCH_HEADER + after_crc.len());
    batch.extend(0_i64.to_be_bytes());
    put_len(&mut batch, after_crc.len() + 9)?;
    batch.extend((-1_i32).to_be_bytes());
    batch.push(2);
    batch.extend(crc32c::crc32c(&after_crc).to_be_bytes());
    batch.extend(after_crc);
    Ok(batch)
}

/// Appends a length of four bytes.
pub fn put_len(out: &mut Vec<u8>, length: usize) -> io::Result<()> {
    out.extend(i32::try_from(length).map_err(io::Error::other)?.to_be_bytes());
    Ok(())
}

/// Appends a text with its length of two bytes.
pub fn put_text(out: &mut Vec<u8>, text: &str) -> io::Result<()> {
    out.extend(i16::try_from(text.len()).map_err(io::Error::other)?.to_be_bytes());
    out.extend(text.as_bytes());
    Ok(())
}

/// Zigzag, then seven bits a byte.
pub fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    loop {
        let low = rest.to_le_bytes()[0] & 0x7f;
        rest >>= 7;
        if rest == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Reads an answer, or a request, of a non-flexible version.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a>(pub &'a [u8]);

impl<'a> Answer<'a> {
    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(too_short)?;
        self.0 = rest;
        Ok(*taken)
    }

    /// Takes so many bytes.
    pub fn take(&mut self, count: usize) -> io::Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(too_short)?;
        self.0 = rest;
        Ok(taken)
    }

    /// Passes so many bytes.
    pub fn skip(&mut self, count: usize) -> io::Result<()> {
        self.take(count).map(drop)
    }

    /// Takes a number of two bytes.
    pub fn i16(&mut self) -> io::Result<i16> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    /// Takes a number of four bytes.
    pub fn i32(&mut self) -> io::Result<i32> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// Takes a number of eight bytes.
    pub fn i64(&mut self) -> io::Result<i64> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// Takes a length of four bytes; -1, for null, is 0.
    pub fn count(&mut self) -> io::Result<usize> {
        Ok(usize::try_from(self.i32()?).unwrap_or(0))
    }

    /// Takes a string; a null one is empty.
    pub fn text(&mut self) -> io::Result<&'a [u8]> {
        let length = self.i16()?;
        self.take(usize::try_from(length).unwrap_or(0))
    }

    /// Takes a zigzag number of seven bits a byte.
    pub fn varint(&mut self) -> io::Result<i64> {
        let mut raw = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            raw |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed());
            }
        }
        Err(io::Error::other("a varint of more than ten bytes"))
    }
}

fn too_short() -> io::Error {
    io::Error::other("a short answer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip() {
        for number in [0, -1, 1, 63, -64, 64, 300, -300, i64::MAX, i64::MIN] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, number);
            let mut rest = Answer(&bytes);
            assert_eq!(rest.varint().unwrap(), number);
            assert!(rest.0.is_empty());
        }
    }

    #[test]
    fn a_batch_says_its_length_and_its_records() {
        let batch = batch([(None, b"one".as_slice()), (Some([7; 8]), b"two")], 7).unwrap();
        assert_eq!(batch[8..12], i32::try_from(batch.len() - 12).unwrap().to_be_bytes());
        assert_eq!(batch[57..61], 2_i32.to_be_bytes());
        assert_eq!(batch[17..21], crc32c::crc32c(&batch[21..]).to_be_bytes());
    }
}
