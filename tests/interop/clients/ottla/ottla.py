"""Ottla's own client, driven through its command line: `ottla produce -J` and `ottla consume -J` carry whole records."""
import base64
import ctypes
import json
import os
import signal
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
    chosen = {"partition": record.partition} if record.partition >= 0 else {}
    entry = {**chosen, **field("key", record.key), **field("value", record.value), "headers": headers}
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


def die_with_parent():
    """A member that is killed is killed as one process would be."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def member(request):
    """`ottla consume` prints what it polls before it commits it: here straight into the file of offsets."""
    name = f"member-{os.getpid()}"
    command = [os.environ["OTTLA_BIN"], "consume", request["topic"], "-b", request["bootstrap"], "-g", request["group"],
               "-f", "%p{big32}%o{big64}", "-X", f"client.id={name}", "-X", f"group.protocol={request['protocol']}"]
    if request["protocol"] == "classic":  # the broker sets those of a consumer group
        command += ["-X", "session.timeout.ms=6000", "-X", "heartbeat.interval.ms=1000",
                    "-X", f"partition.assignment.strategy={','.join(request['strategies']) or 'range'}"]
    if request["count"]:
        command += ["-n", str(request["count"])]

    def has_partitions():
        described = subprocess.run([os.environ["OTTLA_BIN"], "group", "describe", request["group"], "-o", "json", "-b",
                                    request["bootstrap"]], capture_output=True, check=False)
        groups = json.loads(described.stdout) if described.returncode == 0 else []
        return any(it["client_id"] == name and it["assignment"] for group in groups for it in group["members"])

    with open(request["output"], "ab") as output:
        child = subprocess.Popen(command, stdout=output, preexec_fn=die_with_parent)
        began = last = time.monotonic()
        size, assigned = 0, False
        while child.poll() is None and time.monotonic() < began + request["deadline_ms"] / 1000:
            time.sleep(0.1)
            now = os.path.getsize(request["output"])
            assigned = assigned or now > size or has_partitions()
            if now > size or not assigned:  # nobody is idle before there are partitions to read
                size, last = now, time.monotonic()
            if time.monotonic() > last + request["idle_ms"] / 1000:
                break
        child.send_signal(signal.SIGINT)
        if child.wait(timeout=30):
            raise RuntimeError(f"ottla consume gave {child.returncode}")


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


main({"write": write, "read": read, "offsets": offsets, "metadata": metadata, "create": create, "admin": admin,
      "member": member})
