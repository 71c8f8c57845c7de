//! The proof: for each acknowledged batch, what must have ended before its answer left.

use std::collections::BTreeMap;

use super::disk::{Disk, Line, byte, parent};
use super::strace::{Call, Piece};

/// An acks=all request that was answered without error, as the client saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// The client's address, as `127.0.0.1:4711`.
    pub client: String,
    /// The correlation id.
    pub correlation_id: i32,
    /// Topic and partition as a directory name, `topic-0`.
    pub partition: String,
    /// The offset of the first record, from the answer.
    pub base_offset: i64,
    /// The offset of the last record.
    pub last_offset: i64,
}

/// What is demanded of the broker.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// It has a flush journal in each log directory.
    pub has_journal: bool,
}

/// What was checked.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// Answers that were checked.
    pub answers: usize,
    /// What does not hold, one sentence each.
    pub violations: Vec<String>,
}

/// Checks every acknowledged request against the trace.
pub fn check(calls: &[Call], acknowledged: &[Acknowledged], rules: Rules) -> Result<Proof, String> {
    let mut disk = Disk::default();
    for call in calls {
        disk.apply(call)?;
    }
    let sent = answers(calls)?;
    let mut proof = Proof::default();
    for request in acknowledged {
        let left = sent.get(&(request.client.clone(), request.correlation_id)).ok_or_else(|| {
            format!("the trace does not show the answer to request {} of {}", request.correlation_id, request.client)
        })?;
        proof.answers += 1;
        for broken in broken(&disk, request, *left, rules) {
            proof.violations.push(format!(
                "the answer for {} offsets {}..={} (line {}) left before {broken}",
                request.partition,
                request.base_offset,
                request.last_offset,
                left + 1
            ));
        }
    }
    Ok(proof)
}

/// What had not ended when the answer left at line `left`.
fn broken(disk: &Disk, request: &Acknowledged, left: Line, rules: Rules) -> Vec<String> {
    let mut broken = Vec::new();
    let suffix = format!("/{}", request.partition);
    let Some((path, batch)) = disk.batch(&suffix, request.last_offset) else {
        return vec!["its batch was written to any segment".to_owned()];
    };
    let in_time = |moment: Option<Line>| moment.filter(|line| *line < left);
    let Some(written) = in_time(disk.written(path, batch)) else {
        return vec![format!("its batch was written to {path}")];
    };
    let synced = in_time(disk.synced_after(path, written));
    if synced.is_none() {
        broken.push(format!("{path} was synced (written at line {})", written + 1));
    }
    // A claim on disk before its bytes would make a power loss look like damage: it is written after their sync.
    let base = synced.unwrap_or(written);
    if rules.has_journal && in_time(disk.claimed_after(&request.partition, request.last_offset, base)).is_none() {
        broken.push(format!("a claim of the flush journal for it was durable (its bytes were at line {})", base + 1));
    }
    for (name, made) in disk.names_made(path) {
        if in_time(disk.synced_after(parent(&name), made)).is_none() {
            broken.push(format!("the directory of {name} was synced (made at line {})", made + 1));
        }
    }
    broken
}

/// The line at which each answer began to leave, by the client's address and correlation id.
fn answers(calls: &[Call]) -> Result<BTreeMap<(String, i32), Line>, String> {
    let mut streams: BTreeMap<String, Stream> = BTreeMap::new();
    let mut answers = BTreeMap::new();
    let mut sends: Vec<_> = calls.iter().filter(|call| call.result > 0 && is_send(&call.name)).collect();
    // One socket is written by one thread at a time: the order of entries is the order of the bytes.
    sends.sort_by_key(|call| call.begin);
    for call in sends {
        let Some(client) = call.target().as_deref().and_then(client_of) else { continue };
        let stream = streams.entry(client.clone()).or_default();
        let sent = u64::try_from(call.result).unwrap_or(0);
        let pieces = if call.name == "sendfile" { Vec::new() } else { call.pieces() };
        for id in stream.take(&pieces, sent).map_err(|error| format!("line {}: {error}", call.begin + 1))? {
            // The id's last byte is out: the answer's first byte left in this call or before.
            answers.entry((client.clone(), id)).or_insert(call.begin);
        }
    }
    Ok(answers)
}

fn is_send(name: &str) -> bool {
    matches!(name, "write" | "writev" | "sendto" | "sendmsg" | "sendfile")
}

/// The peer in `TCP:[local->peer]`; one of IPv4 on a socket of IPv6 loses its wrapping.
fn client_of(target: &str) -> Option<String> {
    let ends = target.strip_prefix("TCP:[").or_else(|| target.strip_prefix("TCPv6:["))?;
    let (_, peer) = ends.strip_suffix(']')?.split_once("->")?;
    Some(peer.strip_prefix("[::ffff:").map_or_else(|| peer.to_owned(), |wrapped| wrapped.replace("]:", ":")))
}

/// The frames on one connection.
#[derive(Debug, Default)]
struct Stream {
    /// The first 8 bytes of the frame that is under way: its length and correlation id.
    head: Vec<u8>,
    /// Bytes of it that are still to come after the head.
    left: u64,
}

impl Stream {
    /// Takes `sent` bytes; gives the correlation ids of the frames whose head became whole.
    fn take(&mut self, pieces: &[Piece], sent: u64) -> Result<Vec<i32>, String> {
        let mut ids = Vec::new();
        let mut at = 0;
        while at < sent {
            if self.left > 0 {
                let taken = self.left.min(sent - at);
                self.left -= taken;
                at += taken;
                continue;
            }
            self.head.push(byte(pieces, at).ok_or("the trace does not show the head of an answer")?);
            at += 1;
            if let Ok(head) = <[u8; 8]>::try_from(&self.head[..]) {
                let length = u64::from(u32::from_be_bytes([head[0], head[1], head[2], head[3]]));
                ids.push(i32::from_be_bytes([head[4], head[5], head[6], head[7]]));
                self.left = length.checked_sub(4).ok_or("an answer shorter than its correlation id")?;
                self.head.clear();
            }
        }
        Ok(ids)
    }
}
