//! Ottla's own client in the load: `ottla produce`, which is given lines and says where each was written.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde_json::{Value, json};

use super::ledger::Partition;
use super::load::{BREATH, BURST, MAX_IN_DOUBT, Shared, lock, next_value};
use crate::records::Random;

/// What was given to it and has not been said to be written, in the order of the lines.
type Sent = Arc<Mutex<VecDeque<(Partition, u64)>>>;

/// Writes to `topic` until it is told to stop, and waits until all is written.
pub(super) fn produce(
    (bootstrap, topic): (&str, &str),
    ledger: &Shared,
    stop: &AtomicBool,
    mut random: Random,
) -> Result<(), String> {
    let explain = |error: std::io::Error| format!("ottla produce: {error}");
    let mut child = spawn(bootstrap, topic)?;
    let taken = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(mut input), Some(output), Some(said)) = taken else {
        return Err("ottla produce has no pipes".to_owned());
    };
    // That it waits while the broker is down is no news; the last line is, should it give up.
    let said = thread::spawn(move || BufReader::new(said).lines().map_while(Result::ok).last().unwrap_or_default());
    let sent = Sent::default();
    let reader = {
        let (sent, ledger) = (Arc::clone(&sent), Arc::clone(ledger));
        thread::spawn(move || acknowledge(output, &sent, &ledger))
    };
    let mut written = Ok(());
    while !stop.load(Ordering::Relaxed) && written.is_ok() {
        if lock(ledger).in_doubt() < MAX_IN_DOUBT {
            written = give(&mut input, topic, (&sent, ledger), &mut random).map_err(explain);
        }
        thread::sleep(BREATH);
    }
    drop(input);
    let read = reader.join().map_err(|_| "the reader of ottla produce panicked".to_owned())?;
    let status = child.wait().map_err(explain)?;
    if !status.success() {
        return Err(format!("ottla produce ended: {status}: {}", said.join().unwrap_or_default()));
    }
    written.and(read)
}

fn spawn(bootstrap: &str, topic: &str) -> Result<Child, String> {
    let program = std::env::var_os("OTTLA_BIN").ok_or("OTTLA_BIN does not name the ottla program")?;
    let mut command = Command::new(program);
    command.args(["produce", topic, "-b", bootstrap, "-J", "-v", "-o", "json", "--acks", "all"]);
    command.args(["-X", "enable.idempotence=true", "-X", "linger.ms=2", "-X", "request.timeout.ms=5000"]);
    command.args(["-X", "delivery.timeout.ms=600000", "-X", "reconnect.backoff.max.ms=200"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().map_err(|error| format!("cannot start ottla produce: {error}"))
}

fn give(
    input: &mut ChildStdin,
    topic: &str,
    (sent, ledger): (&Sent, &Shared),
    random: &mut Random,
) -> std::io::Result<()> {
    let mut lines = String::new();
    for _ in 0..BURST {
        let (place, number, value) = next_value(topic, ledger, random);
        lines += &format!("{}\n", json!({ "partition": place.1, "value": value }));
        sent.lock().unwrap_or_else(PoisonError::into_inner).push_back((place, number));
    }
    input.write_all(lines.as_bytes())
}

fn acknowledge(output: ChildStdout, sent: &Sent, ledger: &Shared) -> Result<(), String> {
    for line in BufReader::new(output).lines() {
        let line = line.map_err(|error| format!("ottla produce: {error}"))?;
        let said: Value = serde_json::from_str(&line).map_err(|error| format!("ottla produce said {line}: {error}"))?;
        let first = sent.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let (Some((place, number)), Some(offset)) = (first, said["offset"].as_i64()) else {
            return Err(format!("ottla produce said {line}, which nothing was sent for"));
        };
        if said["partition"].as_i64() != Some(place.1.into()) {
            return Err(format!("ottla produce said {line} of record {number} of {}-{}", place.0, place.1));
        }
        lock(ledger).acknowledge(&place, number, offset);
    }
    Ok(())
}
