"""kcat, driven through its command line: one call for each run of records that share a partition and headers."""
import os
import re
import subprocess
import sys
from itertools import groupby

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../python"))
from records import Record, Refused, Unsupported, main, read_records, write_records  # noqa: E402

CODES = {
    "Unknown topic or partition": 3, "Message size too large": 10,
}
SEPARATOR, KEY_END = b"\x1e", b"\x1f"


def kcat(request, *arguments, stdin=None):
    done = subprocess.run(["kcat", "-b", request["bootstrap"], *arguments], input=stdin, capture_output=True, check=False)
    told = done.stderr.decode(errors="replace")
    for text, code in CODES.items():
        if text in told or text.encode() in done.stdout[:500]:
            raise Refused(code, told or text)
    if done.returncode:
        raise RuntimeError(f"kcat {arguments} gave {done.returncode}: {told}")
    return done.stdout


def line(record):
    parts = (record.key or b"", record.value or b"")
    if any(SEPARATOR in part or KEY_END in part for part in parts):
        raise Unsupported("keys and values that hold kcat's separators")
    if record.key == b"" or record.value is None and record.key is None:
        raise Unsupported("empty keys, and records without key and value")
    if any(value is None for _, value in record.headers):
        raise Unsupported("null header values")
    return (parts[1] if record.key is None else KEY_END.join(parts)) + SEPARATOR


def write(request):
    lines = [(record, line(record)) for record in read_records(request["input"])]
    lines.sort(key=lambda pair: pair[0].partition)
    for (partition, has_null, headers), run in groupby(lines, lambda pair: (pair[0].partition, pair[0].value is None, pair[0].headers)):
        arguments = ["-P", "-t", request["topic"], "-p", str(partition), "-z", request["codec"], "-D", "\\x1e", "-K", "\\x1f",
                     "-X", f"acks={request['acks']}", "-X", f"enable.idempotence={str(request['idempotent']).lower()}",
                     "-X", "message.max.bytes=64000000", "-X", "linger.ms=20", "-X", "message.timeout.ms=30000",
                     "-X", "queue.buffering.max.messages=2000000", "-X", "queue.buffering.max.kbytes=1000000"]
        for name, value in headers:
            arguments += ["-H", f"{name}={value.decode()}"]
        kcat(request, *arguments, *(["-Z"] if has_null else []), stdin=b"".join(text for _, text in run))
    return {"timestamps": False}


def parse(out):
    """Reads what `FORMAT` printed: numbers and headers up to a newline, then key and value by their lengths."""
    records, at = [], 0
    while at < len(out):
        end = out.index(b"\n", at)
        partition, offset, timestamp, key_length, value_length, *headers = out[at:end].split(b" ", 5)
        at = end + 1

        def take(length):
            nonlocal at
            at += max(length, 0)
            return None if length < 0 else out[at - length:at]

        key, value = take(int(key_length)), take(int(value_length))
        at += 1
        named = [header.split(b"=", 1) for header in b"".join(headers).split(b",") if header]
        records.append(Record(int(partition), int(offset), int(timestamp), key, value,
                              [(name.decode(), None if text == b"NULL" else text) for name, text in named]))
    return records


FORMAT = r"%p %o %T %K %S %h\n%k%s\n"


def read(request):
    records = []
    for partition, count in request["counts"].items():
        if count:
            records += parse(kcat(request, "-C", "-q", "-t", request["topic"], "-p", partition, "-c", str(count), "-f", FORMAT,
                                  "-o", str(request["starts"][partition]), "-X", "check.crcs=true"))
    write_records(request["output"], records)


def offsets(request):
    def at(when):
        told = kcat(request, "-Q", "-t", f"{request['topic']}:{request['partition']}:{when}").decode()
        return int(re.search(r"offset (-?\d+)", told)[1])
    return {"earliest": at(-2), "latest": at(-1), "at": at(request["timestamp"])}


def metadata(request):
    told = kcat(request, "-L", "-t", request["topic"]).decode()
    return {"partitions": len(re.findall(r"^ +partition \d+", told, re.MULTILINE))}


main({"write": write, "read": read, "offsets": offsets, "metadata": metadata})
