//! The commands, as the real binary.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::{Cluster, fresh, nobody};

/// Runs `ottla` with these words, its brokers by the environment.
pub(crate) fn ottla(brokers: &str, words: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command.args(words).env_clear().env("OTTLA_BROKERS", brokers);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_vec();
    // A command that takes no input may be gone before it is written.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("it ends");
    output
}

#[track_caller]
pub(crate) fn succeeds(brokers: &str, words: &[&str], input: &[u8]) -> String {
    let output = ottla(brokers, words, input);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("output is UTF-8")
}

#[track_caller]
fn json(brokers: &str, words: &[&str]) -> Value {
    let text = succeeds(brokers, words, b"");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[track_caller]
pub(crate) fn fails(brokers: &str, words: &[&str], code: i32, parts: &[&str]) {
    let output = ottla(brokers, words, b"");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{words:?}: {error}");
    for part in parts {
        assert!(error.contains(part), "{part:?} is missing from {error}");
    }
}

#[test]
fn a_topic_lives() {
    let cluster = Cluster::get();
    let (brokers, name) = (cluster.brokers.as_str(), fresh("topic"));
    let text = succeeds(brokers, &["topic", "create", &name, "-p", "3", "-c", "retention.ms=1000000"], b"");
    let lines: Vec<Vec<_>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines, [vec!["TOPIC", "STATUS"], vec![&*name, "OK"]]);
    fails(brokers, &["topic", "create", &name], 1, &[&name, "TOPIC_ALREADY_EXISTS", "--if-not-exists"]);
    succeeds(brokers, &["topic", "create", &name, "--if-not-exists"], b"");

    let listed = json(brokers, &["topic", "list", "-o", "json"]);
    let entry = listed.as_array().and_then(|all| all.iter().find(|topic| topic["name"] == *name));
    assert_eq!(
        entry.map(|topic| (topic["partitions"].as_i64(), topic["internal"].as_bool())),
        Some((Some(3), Some(false)))
    );
    assert!(succeeds(brokers, &["topic", "ls"], b"").contains(&name));

    succeeds(brokers, &["topic", "alter", &name, "--set", "segment.ms=777777", "-d", "retention.ms", "-p", "5"], b"");
    fails(brokers, &["topic", "alter", &name, "--set", "segment.ms=soon"], 1, &["INVALID_CONFIG", "segment.ms"]);
    fails(brokers, &["topic", "alter", &name], 2, &["--set", "--partitions"]);
    // Of both the partitions come first: without them nothing is done, and what was done is told.
    fails(brokers, &["topic", "alter", &name, "--set", "segment.ms=888888", "-p", "2"], 1, &["INVALID_PARTITIONS"]);
    let half = ["were added, there are 6 now", "INVALID_CONFIG"];
    fails(brokers, &["topic", "alter", &name, "--set", "segment.ms=soon", "-p", "6"], 1, &half);
    let described = &json(brokers, &["topic", "describe", &name, "-o", "json"])[0];
    assert_eq!(described["partitions"].as_array().map(Vec::len), Some(6));
    assert_eq!(described["partitions"][0]["end_offset"], 0);
    assert_eq!(described["partitions"][4]["bytes"], 0);
    let configs = described["configs"].as_array().expect("settings");
    assert!(configs.iter().any(|it| it["key"] == "segment.ms" && it["value"] == "777777"), "{configs:?}");
    assert!(!configs.iter().any(|it| it["key"] == "retention.ms"), "{configs:?}");
    let text = succeeds(brokers, &["topic", "describe", &name], b"");
    assert!(text.contains("PARTITION  LEADER") && text.contains("segment.ms"), "{text}");

    let compacted = fresh("compacted");
    succeeds(brokers, &["topic", "create", &compacted, "-c", "cleanup.policy=compact"], b"");
    let described = &json(brokers, &["topic", "describe", &compacted, "-o", "json"])[0];
    // Ottla alone tells.
    let state = &described["partitions"][0]["compaction"];
    if !state.is_null() {
        assert_eq!((&state["clean_to"], &state["running"]), (&0.into(), &false.into()), "{state}");
        let text = succeeds(brokers, &["topic", "describe", &compacted], b"");
        assert!(text.contains("CLEAN TO") && text.contains("idle"), "{text}");
    }

    succeeds(brokers, &["topic", "delete", &name], b"");
    fails(brokers, &["topic", "delete", &name], 1, &[&name, "UNKNOWN_TOPIC_OR_PARTITION", "ottla topic list"]);
    succeeds(brokers, &["topic", "delete", &name, "--if-exists"], b"");
    fails(brokers, &["topic", "describe", &name], 1, &[&name, "UNKNOWN_TOPIC_OR_PARTITION"]);
}

#[test]
fn the_cluster_is_shown() {
    let cluster = Cluster::get();
    let info = json(&cluster.brokers, &["cluster", "info", "-o", "json"]);
    assert!(info["cluster_id"].is_string());
    let ports = info["brokers"].as_array().expect("brokers").iter().map(|broker| broker["port"].to_string());
    assert!(ports.into_iter().any(|port| cluster.brokers.ends_with(&port)), "{info}");
    let text = succeeds(&cluster.brokers, &["cluster", "info"], b"");
    let row = text.lines().find(|line| line.contains("controller")).expect("somebody is it");
    let id = row.split_whitespace().next().and_then(|id| id.parse().ok());
    assert_eq!(id.map(|id: i64| Value::from(id)), Some(info["controller"].clone()), "{text}");
}

#[test]
fn mistakes_are_explained() {
    let address = nobody();
    let remedy = ["no broker can be reached", &address, "ottla dev", "-b HOST:PORT"];
    fails(&address, &["topic", "list"], 1, &remedy);
    fails(&address, &["cluster", "info", "-b", ""], 2, &["no broker is named"]);
    fails(&address, &["topic", "list", "-X", "lingr.ms=1"], 2, &["lingr.ms", "did you mean linger.ms?"]);
    fails(&address, &["topic", "list", "-X", "linger.ms"], 2, &["KEY=VALUE"]);
    fails(&address, &["topic", "create", "t", "-p", "0"], 2, &["--partitions"]);
}

/// A new topic with so many partitions.
fn topic(brokers: &str, partitions: &str) -> String {
    let name = fresh("commands");
    succeeds(brokers, &["topic", "create", &name, "-p", partitions], b"");
    name
}

#[test]
fn records_come_from_arguments_and_say_where_they_went() {
    let cluster = Cluster::get();
    let (brokers, name) = (cluster.brokers.as_str(), topic(&cluster.brokers, "2"));
    let said =
        succeeds(brokers, &["produce", &name, "one", "two", "-p", "1", "-k", "key", "-H", "a=1", "-H", "b"], b"");
    assert_eq!(said, "written to partition 1 at offset 0\nwritten to partition 1 at offset 1\n");
    let said =
        succeeds(brokers, &["produce", &name, "three", "-p", "1", "-o", "json", "-z", "gzip", "--timestamp", "5"], b"");
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((said["partition"].as_i64(), said["offset"].as_i64()), (Some(1), Some(2)));
    let read = succeeds(brokers, &["consume", &name, "-e", "-f", "%t %p %o %k=%v (%K %V) %h\\n"], b"");
    let line = |offset: u32, value: &str| format!("{name} 1 {offset} key={value} (3 3) a=1,b=NULL");
    let third = format!("{name} 1 2 =three (-1 5) ");
    assert_eq!(read.lines().collect::<Vec<_>>(), [line(0, "one"), line(1, "two"), third]);
}

#[test]
fn lines_of_any_codec_go_through() {
    let cluster = Cluster::get();
    let (brokers, name) = (cluster.brokers.as_str(), topic(&cluster.brokers, "1"));
    let mut all = String::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let lines: String = (0..20_000).map(|number| format!("{codec} line {number}\n")).collect();
        succeeds(brokers, &["produce", &name, "-z", codec], lines.as_bytes());
        all += &lines;
    }
    assert!(succeeds(brokers, &["consume", &name, "-e"], b"") == all, "what was written is not what is read");
}

#[test]
fn keys_nulls_and_delimiters_are_taken_apart_and_put_together() {
    let cluster = Cluster::get();
    let (brokers, name) = (cluster.brokers.as_str(), topic(&cluster.brokers, "1"));
    let input = b"k1:v1|k2:|:v3|no separator|k5:v5:more";
    succeeds(brokers, &["produce", &name, "-K", ":", "-D", "|", "-Z"], input);
    let read = succeeds(brokers, &["consume", &name, "-e", "-f", "%K,%k,%S,%s|"], b"");
    assert_eq!(read, "2,k1,2,v1|2,k2,-1,|-1,,2,v3|-1,,12,no separator|2,k5,7,v5:more|");
    assert_eq!(succeeds(brokers, &["consume", &name, "-e", "-n", "2", "-K", "\\t"], b""), "k1\tv1\nk2\t\n");
    assert_eq!(succeeds(brokers, &["consume", &name, "-e", "-D", ";", "--offset", "-1"], b""), "v5:more;");
}

#[test]
fn json_goes_out_and_in_again() {
    let cluster = Cluster::get();
    let brokers = cluster.brokers.as_str();
    let (first, second) = (topic(brokers, "2"), topic(brokers, "2"));
    succeeds(
        brokers,
        &["produce", &first, "-p", "1", "-K", ":", "-H", "h=v", "-H", "null"],
        b"a:\xff\xfe\n:\nb:text \"quoted\"\n",
    );
    let copied = succeeds(brokers, &["consume", &first, "-e", "-o", "json"], b"");
    succeeds(brokers, &["produce", &second, "-J"], copied.as_bytes());
    let again = succeeds(brokers, &["consume", &second, "-e", "-J"], b"");
    assert_eq!(again, copied.replace(&first, &second));
    let last: Value = copied.lines().last().and_then(|line| serde_json::from_str(line).ok()).expect("JSON");
    assert_eq!((&last["key"], &last["value"]), (&"b".into(), &"text \"quoted\"".into()));
    assert_eq!(last["headers"][0]["value"], "v");
    assert!(copied.contains("\"value_base64\":\"//4=\""), "{copied}");
    fails_with_input(brokers, &["produce", &second, "-J"], b"{\"value\":\n", 1, &["in {\"value\":"]);
}

/// One that is wrong takes none with it.
#[test]
fn what_stands_beside_a_wrong_record_is_written_and_told() {
    let cluster = Cluster::get();
    let brokers = cluster.brokers.as_str();
    let name = topic(brokers, "1");
    let input = b"{\"value\":\"a\"}\n{\"value\":\"b\"}\nnone\n{\"value\":\"c\"}\n";
    fails_with_input(brokers, &["produce", &name, "-J"], input, 1, &["line 3: ", "in none"]);
    assert_eq!(succeeds(brokers, &["consume", &name, "-e", "-f", "%v "], b""), "a b ");
    // Nobody asks for the third.
    succeeds(brokers, &["produce", &name, "-J", "-n", "2"], input);

    let input = b"{\"value\":\"d\"}\n{\"value\":\"e\",\"partition\":7}\n{\"value\":\"f\"}\n";
    let output = ottla(brokers, &["produce", &name, "-J", "-v"], input);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said, "written to partition 0 at offset 4\nwritten to partition 0 at offset 5\n");
}

#[track_caller]
fn fails_with_input(brokers: &str, words: &[&str], input: &[u8], code: i32, parts: &[&str]) {
    let output = ottla(brokers, words, input);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{words:?}: {error}");
    for part in parts {
        assert!(error.contains(part), "{part:?} is missing from {error}");
    }
}

#[test]
fn a_reader_begins_and_ends_where_it_is_told() {
    let cluster = Cluster::get();
    let (brokers, name) = (cluster.brokers.as_str(), topic(&cluster.brokers, "1"));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("later").as_millis();
    for number in 0..10 {
        let (value, time) = (number.to_string(), (now - 100_000 + number * 1_000).to_string());
        succeeds(brokers, &["produce", &name, &value, "--timestamp", &time], b"");
    }
    let time = |number: u128| format!("@{}", now - 100_000 + number * 1_000 - 500);
    let (from_5, from_5_until_8) = (time(5), format!("{}:{}", time(5), time(8)));
    for (place, expected) in [
        ("start", "0123456789"),
        ("end", ""),
        ("7", "789"),
        ("-2", "89"),
        ("+8", "89"),
        ("2:5", "234"),
        (":3", "012"),
        ("-4:-1", "678"),
        (&from_5, "56789"),
        (&from_5_until_8, "567"),
    ] {
        let read = succeeds(brokers, &["consume", &name, "--offset", place, "-e", "-D", ""], b"");
        assert_eq!(read, expected, "{place}");
    }
    assert_eq!(succeeds(brokers, &["consume", &name, "--from", "3", "-n", "4", "-D", ""], b""), "3456");
    assert_eq!(succeeds(brokers, &["consume", &name, "--offset", "10", "-e"], b""), "");
    for place in ["11", "11:12"] {
        fails(brokers, &["consume", &name, "--offset", place, "-n", "1"], 1, &[&name, "ends at 10", "--offset end"]);
    }
}

#[test]
fn common_mistakes_in_records_are_explained() {
    let cluster = Cluster::get();
    let (brokers, name) = (cluster.brokers.as_str(), topic(&cluster.brokers, "2"));
    fails(brokers, &["consume", "nosuch"], 1, &["topic nosuch", "UNKNOWN_TOPIC_OR_PARTITION", "ottla topic list"]);
    fails(brokers, &["consume", &name, "-p", "7"], 1, &["no partition 7", "its last is 1"]);
    fails(brokers, &["produce", &name, "it", "-p", "7"], 1, &[&name, "no partition 7"]);
    fails(brokers, &["consume", &name, "--offset", "soon"], 2, &["soon", "@TIME"]);
    fails(brokers, &["consume", &name, "-f", "%q"], 2, &["%q", "headers"]);
    fails(brokers, &["produce", &name, "it", "-z", "brotli"], 2, &["brotli", "zstd"]);
    fails(brokers, &["produce", &name, "it", "--acks", "2"], 2, &["all"]);
    fails(brokers, &["produce", &name, "-F", "/no/such/file"], 2, &["cannot read /no/such/file"]);
    let large = vec![b'x'; 2 << 20];
    fails_with_input(brokers, &["produce", &name], &large, 1, &["a line is longer", "-D", "max.request.size"]);
    let words = ["produce", &name, "-X", "max.request.size=1000"];
    fails_with_input(brokers, &words, &[&large[..2_000], b"\n"].concat(), 1, &["1 of 1 records", "max.request.size"]);
}

#[test]
fn a_reader_of_the_output_may_go_away() {
    let cluster = Cluster::get();
    let (brokers, name) = (cluster.brokers.as_str(), topic(&cluster.brokers, "1"));
    let lines = "a line that is not short at all\n".repeat(100_000);
    succeeds(brokers, &["produce", &name], lines.as_bytes());
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    let command = command.args(["consume", &name, "-b", brokers]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_topic_that_is_deleted_is_not_waited_for() {
    let cluster = Cluster::get();
    let (brokers, name) = (cluster.brokers.as_str(), topic(&cluster.brokers, "1"));
    succeeds(brokers, &["produce", &name, "one"], b"");
    // One with a place to stop at, one without.
    let readers = [vec!["--offset", "0:10"], vec![]].map(|words| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
        command.args(["consume", &name, "-b", brokers]).args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut reader = command.spawn().expect("the binary starts");
        let mut output = BufReader::new(reader.stdout.take().expect("it is piped")).lines();
        assert_eq!(output.next().expect("a line").expect("it is UTF-8"), "one");
        (reader, output)
    });
    succeeds(brokers, &["topic", "delete", &name], b"");
    for (reader, _output) in readers {
        let output = reader.wait_with_output().expect("it ends");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(&format!("topic {name}: UNKNOWN_TOPIC_OR_PARTITION")), "{error}");
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn a_group_is_moved_described_and_deleted() {
    let cluster = Cluster::get();
    let (brokers, name, group) = (cluster.brokers.as_str(), topic(&cluster.brokers, "2"), fresh("group"));
    let lines = "it\n".repeat(50);
    succeeds(brokers, &["produce", &name, "-p", "1"], lines.as_bytes());
    fails(brokers, &["group", "seek", &group, "--to", "start"], 1, &["has committed nothing", "--topics"]);
    fails(brokers, &["group", "seek", &group, "--to", "soon"], 2, &["soon", "@TIME"]);
    fails(brokers, &["group", "seek", &group, "--to", "end", "-t", "nosuch"], 1, &["nosuch", "UNKNOWN_TOPIC"]);
    let moved = json(brokers, &["group", "seek", &group, "--to", "-20", "-t", &name, "--dry-run", "-o", "json"]);
    assert_eq!((&moved[1]["before"], &moved[1]["now"]), (&Value::Null, &30.into()));
    fails(brokers, &["group", "describe", &group], 1, &[&group, "GROUP_ID_NOT_FOUND", "ottla group list"]);
    succeeds(brokers, &["group", "seek", &group, "--to", "-20", "-t", &name], b"");
    let moved = succeeds(brokers, &["group", "seek", &group, "--to", "35", "-t", &format!("{name}:1")], b"");
    assert!(
        moved.lines().any(|line| line.split_whitespace().collect::<Vec<_>>() == [&name, "1", "30", "35"]),
        "{moved}"
    );

    // What is outside of the log is its nearer end, and that is said.
    let beyond = ottla(brokers, &["group", "seek", &group, "--to", "40", "-t", &name, "--dry-run", "-o", "json"], b"");
    let (moved, said) = (serde_json::from_slice::<Value>(&beyond.stdout), String::from_utf8_lossy(&beyond.stderr));
    let moved = moved.unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!((&moved[0]["now"], &moved[1]["now"]), (&0.into(), &40.into()));
    assert_eq!(said, format!("warning: {name}-0 reaches from 0 to 0: it is 0 there, not 40\n"));
    let absent = format!("{name}:7");
    fails(brokers, &["group", "seek", &group, "--to", "end", "-t", &absent], 1, &["no partition 7", "its last is 1"]);

    let described = &json(brokers, &["group", "describe", &group, "-o", "json"])[0];
    assert_eq!((&described["state"], &described["lag"]), (&"Empty".into(), &15.into()));
    assert_eq!(described["offsets"][1]["committed"], 35);
    let text = succeeds(brokers, &["group", "describe", &group], b"");
    assert!(text.contains("LAG       15"), "{text}");
    let listed = json(brokers, &["group", "list", "-o", "json"]);
    assert!(listed.as_array().is_some_and(|all| all.iter().any(|it| it["group"] == *group)), "{listed}");
    succeeds(brokers, &["group", "delete", &group], b"");
    fails(brokers, &["group", "delete", &group], 1, &[&group, "GROUP_ID_NOT_FOUND"]);
}

#[test]
fn a_measurement_leaves_nothing_behind() {
    let cluster = Cluster::get();
    let brokers = cluster.brokers.as_str();
    let measured = json(brokers, &["bench", "-n", "20000", "-p", "3", "-z", "lz4", "-o", "json"]);
    for (at, work) in ["produce", "consume"].into_iter().enumerate() {
        assert_eq!(measured[at]["work"], work);
        assert_eq!(measured[at]["records"].as_u64().map(|count| count >= 20_000), Some(true));
        assert!(measured[at]["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
    }
    assert!(!succeeds(brokers, &["topic", "list"], b"").contains("ottla-bench"));
    let name = topic(brokers, "1");
    fails(brokers, &["bench", "-t", &name, "--only", "consume", "-n", "0"], 2, &["--records"]);
    assert!(succeeds(brokers, &["bench", "-t", &name, "-n", "500", "--only", "produce"], b"").contains("produce  500"));
}

#[test]
fn members_of_a_group_go_on_where_the_last_one_ended() {
    let cluster = Cluster::get();
    let (brokers, name, group) = (cluster.brokers.as_str(), topic(&cluster.brokers, "1"), fresh("members"));
    let lines: Vec<_> = (0..100).map(|number| format!("{number}\n")).collect();
    succeeds(brokers, &["produce", &name], lines.concat().as_bytes());
    assert_eq!(succeeds(brokers, &["consume", &name, "-g", &group, "-n", "60"], b""), lines[..60].concat());
    let described = &json(brokers, &["group", "describe", &group, "-o", "json"])[0];
    assert_eq!((&described["state"], &described["lag"]), (&"Empty".into(), &40.into()));
    assert_eq!(succeeds(brokers, &["consume", &name, "-g", &group, "-n", "40"], b""), lines[60..].concat());
    fails(brokers, &["consume", &name, "-g", &group, "-p", "0"], 2, &["--partitions", "--group"]);
}

/// How many records a group has still to read, when all its members have left.
#[track_caller]
fn lag(brokers: &str, group: &str) -> Option<i64> {
    let described = &json(brokers, &["group", "describe", group, "-o", "json"])[0];
    assert_eq!(described["state"], "Empty", "{described}");
    described["lag"].as_i64()
}

#[test]
fn a_count_that_ends_within_a_poll_commits_no_more_than_was_printed() {
    let cluster = Cluster::get();
    let (brokers, name, group) = (cluster.brokers.as_str(), topic(&cluster.brokers, "2"), fresh("count"));
    for (partition, numbers) in [("0", 0..50), ("1", 50..100)] {
        let lines: String = numbers.map(|number| format!("{number}\n")).collect();
        succeeds(brokers, &["produce", &name, "-p", partition], lines.as_bytes());
    }
    let words = |count| ["consume", &name, "-g", &group, "-n", count, "-X", "max.poll.records=1000"];
    let first = succeeds(brokers, &words("30"), b"");
    assert_eq!(lag(brokers, &group), Some(70));
    let rest = succeeds(brokers, &words("70"), b"");
    let mut all: Vec<u32> = (first + &rest).lines().map(|line| line.parse().expect("a number")).collect();
    all.sort_unstable();
    assert_eq!(all, (0..100).collect::<Vec<_>>());
}

#[test]
fn a_group_has_again_what_a_reader_that_went_away_did_not_take() {
    let cluster = Cluster::get();
    let (brokers, name, group) = (cluster.brokers.as_str(), topic(&cluster.brokers, "1"), fresh("head"));
    // Far more than a pipe holds.
    let lines: Vec<_> = (0..2_000).map(|number| format!("{number:01000}\n")).collect();
    succeeds(brokers, &["produce", &name], lines.concat().as_bytes());
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command.args(["consume", &name, "-b", brokers, "-g", &group]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let mut head = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    assert_eq!(head.next().expect("a line").expect("it is UTF-8") + "\n", lines[0]);
    drop(head);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(lag(brokers, &group), Some(2_000));
    assert_eq!(succeeds(brokers, &["consume", &name, "-g", &group, "-n", "3"], b""), lines[..3].concat());
}

#[test]
fn topics_are_found_by_regular_expressions() {
    let cluster = Cluster::get();
    let (brokers, prefix) = (cluster.brokers.as_str(), fresh("regex"));
    let names = ["a", "b", "c"].map(|end| format!("{prefix}-{end}"));
    for name in &names {
        succeeds(brokers, &["topic", "create", name], b"");
        succeeds(brokers, &["produce", name], format!("{name}\n").as_bytes());
    }
    let (some, last) = (format!("^{prefix}-[ab]"), format!("{prefix}-c$"));
    let sorted = |read: String| {
        let mut lines: Vec<_> = read.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(succeeds(brokers, &["consume", "-r", &some, "-e"], b"")), names[..2]);
    assert_eq!(sorted(succeeds(brokers, &["consume", "--regex", &some, &last, "-e"], b"")), names);
    for protocol in ["classic", "consumer"] {
        let (group, protocol) = (fresh("by-regex"), format!("group.protocol={protocol}"));
        let words = ["consume", "-r", &some, "-g", &group, "-n", "2", "-X", &protocol];
        assert_eq!(sorted(succeeds(brokers, &words, b"")), names[..2], "{protocol}");
    }
    fails(brokers, &["consume", "-r", "a(", "-e"], 2, &["a(", "regular expression"]);
    fails(brokers, &["consume", "-r", &format!("{prefix}-nosuch"), "-e"], 1, &["no topic matches"]);
}
