"""Reads and writes the harness's record files, and runs one operation. The format is in tests/interop/README.md."""
import json
import struct
import sys
import time
import traceback
from collections import namedtuple

Record = namedtuple("Record", "partition offset timestamp key value headers")


class Unsupported(Exception):
    """The client cannot express what is asked: shown as n/a."""


class Refused(Exception):
    """The broker answered with a Kafka error code."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


def read_records(path):
    with open(path, "rb") as file:
        data = file.read()
    position, records = 0, []

    def take_bytes():
        nonlocal position
        (length,) = struct.unpack_from(">i", data, position)
        position += 4
        if length < 0:
            return None
        position += length
        return data[position - length:position]

    while position < len(data):
        partition, offset, timestamp = struct.unpack_from(">iqq", data, position)
        position += 20
        key, value = take_bytes(), take_bytes()
        (count,) = struct.unpack_from(">i", data, position)
        position += 4
        headers = [(take_bytes().decode(), take_bytes()) for _ in range(count)]
        records.append(Record(partition, offset, timestamp, key, value, headers))
    return records


def pack_bytes(value):
    return struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value


def write_records(path, records):
    with open(path, "wb") as file:
        for record in records:
            headers = record.headers or []
            file.write(struct.pack(">iqq", record.partition, record.offset, record.timestamp))
            file.write(pack_bytes(record.key) + pack_bytes(record.value) + struct.pack(">i", len(headers)))
            for name, value in headers:
                file.write(pack_bytes(name.encode()) + pack_bytes(value))


def write_offsets(path, offsets):
    with open(path, "wb") as file:
        for partition, offset in offsets:
            file.write(struct.pack(">iq", partition, offset))


class Wanted:
    """Counts down what is still to be read of each partition."""

    def __init__(self, request):
        self.starts = {int(p): o for p, o in request["starts"].items()}
        self.left = {int(p): n for p, n in request["counts"].items() if n > 0}

    def take(self, partition):
        """True if this record is asked for."""
        if self.left.get(partition, 0) == 0:
            return False
        self.left[partition] -= 1
        if self.left[partition] == 0:
            del self.left[partition]
        return True


class Sitting:
    """One member's time in a group: what it reads goes to the file before it is committed."""

    def __init__(self, request):
        self.file = open(request["output"], "ab")
        self.count, self.taken = request["count"], 0
        self.idle = request["idle_ms"] / 1000
        self.last = time.monotonic()
        self.deadline = self.last + request["deadline_ms"] / 1000

    def take(self, offsets):
        """Keeps partition and offset of each record."""
        if offsets:
            self.file.write(b"".join(struct.pack(">iq", *offset) for offset in offsets))
            self.file.flush()
            self.taken += len(offsets)
            self.last = time.monotonic()

    def over(self, assigned):
        """Nobody is idle before there are partitions to read."""
        now = time.monotonic()
        if not assigned:
            self.last = now
        return 0 < self.count <= self.taken or now > self.last + self.idle or now > self.deadline


def main(operations):
    operation, path = sys.argv[1:3]
    with open(path, encoding="utf-8") as file:
        request = json.load(file)
    try:
        answer = {"ok": True, **(operations[operation](request) or {})}
    except KeyError as missing:
        answer = {"unsupported": f"no {operation}"} if operation not in operations else {"error": f"KeyError {missing}"}
        traceback.print_exc()
    except Unsupported as why:
        answer = {"unsupported": str(why)}
    except Refused as refused:
        answer = {"error": str(refused), "code": refused.code}
    except Exception as error:  # whatever it is, it is the case's result
        traceback.print_exc()
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
