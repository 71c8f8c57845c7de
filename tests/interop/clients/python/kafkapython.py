"""kafka-python."""
import sys
import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, NewTopic
from kafka.errors import BrokerResponseError, KafkaError, MessageSizeTooLargeError

from records import Record, Refused, Sitting, Unsupported, Wanted, main, read_records, write_offsets, write_records


def translated(operation):
    """Names the broker's error code."""
    def run(request):
        try:
            return operation(request)
        except (BrokerResponseError, MessageSizeTooLargeError) as error:
            raise Refused(error.errno, repr(error)) from error
    return run


def write(request):
    codec, acks = request["codec"], request["acks"]
    producer = KafkaProducer(
        bootstrap_servers=request["bootstrap"], compression_type=None if codec == "none" else codec,
        acks=acks if acks == "all" else int(acks), enable_idempotence=request["idempotent"], linger_ms=20,
        max_request_size=64_000_000, delivery_timeout_ms=30_000, request_timeout_ms=20_000)
    records = read_records(request["input"])
    if any(record.key is None and record.value is None for record in records):
        raise Unsupported("a record without key and value")
    if any(value is None for record in records for _, value in record.headers):
        raise Unsupported("null header values")
    sent = [producer.send(request["topic"], record.value, record.key, [tuple(header) for header in record.headers], record.partition,
                          record.timestamp if record.timestamp >= 0 else None) for record in records]
    producer.flush(60)
    results = [future.get(timeout=10) for future in sent]
    producer.close()
    if request["acks"] != "0":
        write_offsets(request["output"], [(result.partition, result.offset) for result in results])


def consumer(request):
    return KafkaConsumer(bootstrap_servers=request["bootstrap"], auto_offset_reset="none", enable_auto_commit=False,
                         group_id=None, allow_auto_create_topics=False)


def read(request):
    wanted, records, client = Wanted(request), [], consumer(request)
    client.assign([TopicPartition(request["topic"], partition) for partition in wanted.starts])
    for partition, offset in wanted.starts.items():
        client.seek(TopicPartition(request["topic"], partition), offset)
    deadline = time.monotonic() + request["deadline_ms"] / 1000
    while wanted.left and time.monotonic() < deadline:
        for messages in client.poll(200).values():
            for message in messages:
                if wanted.take(message.partition):
                    records.append(Record(message.partition, message.offset, message.timestamp, message.key, message.value,
                                          message.headers))
    client.close()
    write_records(request["output"], records)


def member(request):
    client = KafkaConsumer(request["topic"], bootstrap_servers=request["bootstrap"], group_id=request["group"], auto_offset_reset="earliest",
                           enable_auto_commit=False, session_timeout_ms=6000, heartbeat_interval_ms=1000)
    sitting = Sitting(request)
    while not sitting.over(client.assignment()):
        messages = [message for part in client.poll(200, max_records=100).values() for message in part]
        sitting.take([(message.partition, message.offset) for message in messages])
        if messages:
            try:
                client.commit()
            except KafkaError as error:  # another member reads it again
                print(repr(error), file=sys.stderr)
    client.close()


def offsets(request):
    client, partition = consumer(request), TopicPartition(request["topic"], request["partition"])
    at = client.offsets_for_times({partition: request["timestamp"]})[partition]
    return {"earliest": client.beginning_offsets([partition])[partition], "latest": client.end_offsets([partition])[partition],
            "at": -1 if at is None else at.offset}


def admin_client(request):
    return KafkaAdminClient(bootstrap_servers=request["bootstrap"])


def partitions(client, topic):
    [found] = client.describe_topics([topic])
    if found["error_code"]:
        raise Refused(found["error_code"], str(found))
    return len(found["partitions"])


def metadata(request):
    return {"partitions": partitions(admin_client(request), request["topic"])}


def create(request):
    admin_client(request).create_topics([NewTopic(request["topic"], request["partitions"], 1, topic_configs=request["configs"])])


def until(what, wanted):
    """What a broker answers may lag behind an acknowledged change by a moment."""
    for _ in range(50):
        value = what()
        if value == wanted:
            break
        time.sleep(0.1)
    return value


def admin(request):
    client, topic = admin_client(request), request["topic"]
    client.create_topics([NewTopic(topic, 2, 1, topic_configs={"retention.ms": "3600000"})])
    listed = until(lambda: topic in client.list_topics(), True)
    client.create_partitions({topic: 5})
    grown = until(lambda: partitions(client, topic), 5)
    configs = client.describe_configs([ConfigResource("TOPIC", topic)])
    client.delete_topics([topic])
    deleted = until(lambda: topic not in client.list_topics(), True)
    return {"listed": listed, "partitions": grown, "config": configs["topic"][topic]["retention.ms"]["value"], "deleted": deleted}


OPERATIONS = {"write": write, "read": read, "offsets": offsets, "metadata": metadata, "create": create, "admin": admin, "member": member}
main({name: translated(operation) for name, operation in OPERATIONS.items()})
