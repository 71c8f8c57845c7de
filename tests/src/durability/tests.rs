//! The checker on a small trace that is good, and on what becomes of it when one thing is left out or comes too late.

use super::check::{Acknowledged, Proof, Rules, check};
use super::strace::parse;

/// A segment and its directory are made, one batch (offsets 5 to 7, 61 bytes) is written and synced, then the
/// journal, and the answer to request 9 leaves in a call that carries request 8's too.
fn good_trace() -> Vec<String> {
    let log = hex("/d/t-0/00000000000000000000.log");
    let batch = "\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x05\\x00\\x00\\x00\\x31\\x00\\x00\\x00\\x00";
    let rest = "\\x02\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02".to_owned() + &"\\x00".repeat(34);
    let (dir, root, journal) = (hex("/d/t-0"), hex("/d"), hex("/d/flush-journal"));
    let block = block(8);
    let peer = "TCP:[127.0.0.1:9092->127.0.0.1:5000]";
    let answer = |id: u8| format!("\\x00\\x00\\x00\\x06\\x00\\x00\\x00\\x{id:02x}\\x01\\x02");
    vec![
        format!("10 mkdir(\"{dir}\", 0777) = 0"),
        format!("10 openat(AT_FDCWD<{root}>, \"{log}\", O_RDWR|O_CREAT|O_CLOEXEC, 0666) = 6<{log}>"),
        format!("10 pwritev(6<{log}>, [{}, {}], 2, 0) = 61", piece(batch, 16), piece(&rest, 45)),
        format!("11 fdatasync(6<{log}> <unfinished ...>"),
        format!("10 write(4<{peer}>, \"{}\", 10) = 10", answer(7)),
        "11 <... fdatasync resumed>)          = 0".to_owned(),
        format!("11 fsync(7<{dir}>) = 0"),
        format!("11 fsync(7<{root}>) = 0"),
        format!("10 pwrite64(5<{journal}>, \"{}\", {}, 0) = 1", escaped(&block), block.len()),
        format!("11 fdatasync(5<{journal}>) = 0"),
        format!(
            "10 writev(4<{peer}>, [{{iov_base=\"{}\", iov_len=10}}, {{iov_base=\"{}\", iov_len=10}}], 2) = 20",
            answer(8),
            answer(9)
        ),
        "10 +++ exited with 0 +++".to_owned(),
    ]
}

fn piece(bytes: &str, length: usize) -> String {
    format!("{{iov_base=\"{bytes}\", iov_len={length}}}")
}

fn hex(text: &str) -> String {
    escaped(text.as_bytes())
}

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect()
}

/// The journal's beginning and one block: the name of a log, and the claim that it is durable up to `end`.
fn block(end: i64) -> Vec<u8> {
    let mut body = vec![0, 0, 0, 0, 0, 0, 0, 1];
    body.extend([0, 0, 0, 0, 1, 0, 7]);
    body.extend(b"t-0 xyz");
    body.extend([1, 0, 0, 0, 1]);
    body.extend(end.to_be_bytes());
    body.extend([0; 21]);
    let mut block = b"OTTLAFJ1".to_vec();
    block.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
    block.extend(crc32c::crc32c(&body).to_be_bytes());
    block.extend(body);
    block
}

fn judge_for(lines: &[String], correlation_id: i32) -> Proof {
    let request = Acknowledged {
        client: "127.0.0.1:5000".to_owned(),
        correlation_id,
        partition: "t-0".to_owned(),
        base_offset: 5,
        last_offset: 7,
    };
    check(&parse(&lines.join("\n")).unwrap(), &[request], Rules { has_journal: true }).unwrap()
}

fn violation(lines: &[String]) -> String {
    let proof = judge_for(lines, 9);
    assert_eq!(proof.violations.len(), 1, "{proof:?}");
    proof.violations[0].clone()
}

#[test]
fn a_good_trace_passes() {
    assert_eq!(judge_for(&good_trace(), 9), Proof { answers: 1, violations: Vec::new() });
}

#[test]
fn an_answer_that_leaves_before_the_syncs_is_found() {
    let proof = judge_for(&good_trace(), 7);
    assert_eq!(proof.violations.len(), 4, "{proof:?}");
}

#[test]
fn a_sync_that_is_left_out_is_found() {
    for (line, what) in
        [(6, "the directory of /d/t-0/0"), (7, "the directory of /d/t-0 was"), (8, "journal"), (9, "journal")]
    {
        let mut trace = good_trace();
        trace.remove(line);
        assert!(violation(&trace).contains(what), "without line {line}: {}", violation(&trace));
    }
    let mut trace = good_trace();
    trace.remove(5);
    trace.remove(3);
    assert!(violation(&trace).contains("00.log was synced"), "{}", violation(&trace));
}

#[test]
fn a_sync_that_fails_or_is_of_another_file_is_none() {
    let failed = |line: usize, from: &str, to: &str| {
        let mut trace = good_trace();
        trace[line] = trace[line].replace(from, to);
        violation(&trace)
    };
    failed(5, "= 0", "= -1 EIO (Input/output error)");
    failed(3, &hex("t-0"), &hex("t-1"));
    failed(9, "= 0", "= -1 EIO (Input/output error)");
}

#[test]
fn a_claim_that_is_too_low_or_too_early_is_found() {
    let mut trace = good_trace();
    trace[8] = trace[8].replace(&escaped(&block(8)), &escaped(&block(7)));
    assert!(violation(&trace).contains("flush journal"), "{}", violation(&trace));
    let mut trace = good_trace();
    let claim = trace.remove(8);
    trace.insert(4, claim);
    assert!(violation(&trace).contains("flush journal"), "{}", violation(&trace));
}

#[test]
fn a_journal_that_is_replaced_counts_once_its_name_is_durable() {
    let renamed = format!("10 rename(\"{}\", \"{}\") = 0", hex("/d/flush-journal.tmp"), hex("/d/flush-journal"));
    let mut trace = good_trace();
    for line in &mut trace[8..=9] {
        *line = line.replace(&hex("/flush-journal"), &hex("/flush-journal.tmp"));
    }
    trace.insert(10, renamed);
    assert!(violation(&trace).contains("flush journal"), "{}", violation(&trace));
    trace.insert(11, format!("11 fsync(7<{}>) = 0", hex("/d")));
    assert_eq!(judge_for(&trace, 9).violations, Vec::<String>::new());
    // What a later one replaces counts for what was answered before.
    let mut trace = good_trace();
    let later = trace.len() - 1;
    trace.insert(later, format!("10 rename(\"{}\", \"{}\") = 0", hex("/d/flush-journal.tmp"), hex("/d/flush-journal")));
    assert_eq!(judge_for(&trace, 9).violations, Vec::<String>::new());
}

#[test]
fn a_sync_that_began_before_the_write_proves_nothing() {
    let mut trace = good_trace();
    trace.swap(2, 3);
    assert!(violation(&trace).contains("was synced"), "{}", violation(&trace));
}

#[test]
fn an_answer_that_left_while_the_sync_ran_is_found() {
    let mut trace = good_trace();
    let resumed = trace.remove(5);
    trace.insert(10, resumed);
    assert!(violation(&trace).contains("00.log was synced"), "{}", violation(&trace));
}

#[test]
fn a_partial_write_counts_when_its_rest_is_written() {
    let mut trace = good_trace();
    trace[2] = trace[2].replace("= 61", "= 40");
    assert!(violation(&trace).contains("its batch was written"), "{}", violation(&trace));
    let log = hex("/d/t-0/00000000000000000000.log");
    trace.insert(3, format!("10 pwrite64(6<{log}>, \"{}\", 21, 40) = 21", "\\x00".repeat(21)));
    assert_eq!(judge_for(&trace, 9).violations, Vec::<String>::new());
}

#[test]
fn a_trace_that_cannot_be_read_is_an_error() {
    parse("10 fdatasync(6 = what").unwrap_err();
    let calls = parse(&good_trace()[..3].join("\n")).unwrap();
    let unanswered = Acknowledged {
        client: "127.0.0.1:5000".to_owned(),
        correlation_id: 9,
        partition: "t-0".to_owned(),
        base_offset: 5,
        last_offset: 7,
    };
    check(&calls, &[unanswered], Rules { has_journal: false }).unwrap_err();
}
