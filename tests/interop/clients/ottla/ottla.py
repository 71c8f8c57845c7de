"""Ottla's own client, driven through its command line: `ottla produce -J` and `ottla consume -J` carry whole records."""
import base64
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../python"))
from records import Record, Refused, main, read_records, write_offsets, write_records  # noqa: E402

CODES = {"UNKNOWN_TOPIC_OR_PARTITION": 3, "does not exist": 3, "MESSAGE_TOO_LARGE": 10, "max.request.size": 10}


def ottla(request, *arguments, stdin=None):
    command = [os.environ["OTTLA_BIN"], *arguments, "-b", request["bootstrap"]]
    done = subprocess.run(command, input=stdin, capture_output=True, check=False)
    told = done.stderr.decode(errors="replace")
    for text, code in CODES.items():
        if done.returncode and text in told:
            raise Refused(code, told)
    if done.returncode:
        raise RuntimeError(f"ottla {arguments} gave {done.returncode}: {told}")
    return done.stdout


def field(name, value):
    if value is None:
        return {name: None}
    try:
        return {name: value.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(value).decode()}


def value_of(entry, name):
    if f"{name}_base64" in entry:
        return base64.b64decode(entry[f"{name}_base64"])
    return None if entry[name] is None else entry[name].encode()


def line(record):
    headers = [{"key": name, **field("value", value)} for name, value in record.headers]
    entry = {"partition": record.partition, **field("key", record.key), **field("value", record.value), "headers": headers}
    if record.timestamp >= 0:
        entry["timestamp"] = record.timestamp
    return json.dumps(entry)


def write(request):
    records = read_records(request["input"])
    known = "output" in request and request["acks"] != "0"
    said = ottla(request, "produce", request["topic"], "-J", "-z", request["codec"], "--acks", request["acks"],
                 "-X", f"enable.idempotence={str(request['idempotent']).lower()}", "-X", "max.request.size=64000000",
                 *(["-v", "-o", "json"] if known else []), stdin="".join(line(it) + "\n" for it in records).encode())
    if known:
        told = [json.loads(text) for text in said.splitlines()]
        write_offsets(request["output"], [(it["partition"], it["offset"]) for it in told])
    return {}


def read(request):
    records = []
    for partition, count in request["counts"].items():
        if count:
            said = ottla(request, "consume", request["topic"], "-p", partition, "-n", str(count), "-J",
                         "--offset", str(request["starts"][partition]))
            for entry in map(json.loads, said.splitlines()):
                headers = [(header["key"], value_of(header, "value")) for header in entry["headers"]]
                records.append(Record(entry["partition"], entry["offset"], entry["timestamp"], value_of(entry, "key"),
                                      value_of(entry, "value"), headers))
    write_records(request["output"], records)


def offsets(request):
    def at(place):
        said = ottla(request, "consume", request["topic"], "-p", str(request["partition"]), "--offset", place, "-n", "1", "-e",
                     "-f", "%o")
        return int(said) if said else -1
    described = json.loads(ottla(request, "topic", "describe", request["topic"], "-o", "json"))[0]
    partition = described["partitions"][request["partition"]]
    return {"earliest": partition["start_offset"], "latest": partition["end_offset"], "at": at(f"@{request['timestamp']}")}


def metadata(request):
    return {"partitions": len(json.loads(ottla(request, "topic", "describe", request["topic"], "-o", "json"))[0]["partitions"])}


def create(request):
    configs = [part for key, value in request["configs"].items() for part in ("-c", f"{key}={value}")]
    ottla(request, "topic", "create", request["topic"], "-p", str(request["partitions"]), *configs)


def until(what, wanted):
    """What a broker answers may lag behind an acknowledged change by a moment."""
    for _ in range(50):
        value = what()
        if value == wanted:
            break
        time.sleep(0.1)
    return value


def admin(request):
    topic = request["topic"]

    def is_listed():
        return any(it["name"] == topic for it in json.loads(ottla(request, "topic", "list", "-o", "json")))

    def described():
        return json.loads(ottla(request, "topic", "describe", topic, "-o", "json"))[0]

    ottla(request, "topic", "create", topic, "-p", "2", "-c", "retention.ms=3600000")
    listed = until(is_listed, True)
    ottla(request, "topic", "alter", topic, "-p", "5")
    partitions = until(lambda: len(described()["partitions"]), 5)
    config = next(it["value"] for it in described()["configs"] if it["key"] == "retention.ms")
    ottla(request, "topic", "delete", topic)
    return {"listed": listed, "partitions": partitions, "config": config, "deleted": not until(is_listed, False)}


main({"write": write, "read": read, "offsets": offsets, "metadata": metadata, "create": create, "admin": admin})
