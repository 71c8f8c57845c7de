"""confluent-kafka (librdkafka)."""
import sys
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic

from records import Record, Refused, Sitting, Wanted, main, read_records, write_offsets, write_records


def refused(error):
    return Refused(error.code(), error.str())


def write(request):
    producer = Producer({
        "bootstrap.servers": request["bootstrap"], "compression.codec": request["codec"], "acks": request["acks"],
        "enable.idempotence": request["idempotent"], "linger.ms": 20, "message.max.bytes": 64_000_000,
        "queue.buffering.max.kbytes": 1_000_000, "message.timeout.ms": 30_000,
    })
    records = read_records(request["input"])
    offsets, errors = [None] * len(records), []

    def delivered(index):
        def report(error, message):
            if error:
                errors.append(error)
            else:
                offsets[index] = (message.partition(), -1 if message.offset() is None else message.offset())
        return report

    for index, record in enumerate(records):
        while True:
            try:
                producer.produce(request["topic"], record.value, record.key, record.partition, on_delivery=delivered(index),
                                 headers=record.headers or None, timestamp=max(record.timestamp, 0))
                break
            except BufferError:
                producer.poll(0.1)
        if index % 1000 == 0:
            producer.poll(0)
    left = producer.flush(60)
    if errors:
        raise refused(errors[0])
    if left:
        raise TimeoutError(f"{left} records were not acknowledged")
    if request["acks"] != "0":
        write_offsets(request["output"], offsets)


def consumer(request):
    return Consumer({
        "bootstrap.servers": request["bootstrap"], "group.id": "interop", "enable.auto.commit": False,
        "auto.offset.reset": "error", "check.crcs": True, "fetch.message.max.bytes": 10_000_000,
    })


def read(request):
    wanted, records = Wanted(request), []
    client = consumer(request)
    client.assign([TopicPartition(request["topic"], p, o) for p, o in wanted.starts.items()])
    deadline = time.monotonic() + request["deadline_ms"] / 1000
    while wanted.left and time.monotonic() < deadline:
        for message in client.consume(1000, 0.2):
            if message.error():
                raise refused(message.error())
            if wanted.take(message.partition()):
                records.append(Record(message.partition(), message.offset(), message.timestamp()[1], message.key(),
                                      message.value(), message.headers()))
    client.close()
    write_records(request["output"], records)


def member(request):
    # The broker sets the time-outs of the members of a consumer group.
    timeouts = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 1000} if request["protocol"] == "classic" else {}
    strategy = {"partition.assignment.strategy": ",".join(request["strategies"])} if request["strategies"] else {}
    client = Consumer({
        "bootstrap.servers": request["bootstrap"], "group.id": request["group"], "enable.auto.commit": False,
        "auto.offset.reset": "earliest", "group.protocol": request["protocol"], **timeouts, **strategy,
    })
    client.subscribe([request["topic"]])
    sitting = Sitting(request)
    while not sitting.over(client.assignment()):
        messages = [message for message in client.consume(100, 0.2) if not message.error()]
        sitting.take([(message.partition(), message.offset()) for message in messages])
        if messages:
            try:
                client.commit(asynchronous=False)
            except KafkaException as error:  # another member reads it again
                print(error, file=sys.stderr)
    client.close()


def offsets(request):
    client = consumer(request)
    low, high = client.get_watermark_offsets(TopicPartition(request["topic"], request["partition"]), timeout=10)
    [found] = client.offsets_for_times([TopicPartition(request["topic"], request["partition"], request["timestamp"])], timeout=10)
    if found.error:
        raise refused(found.error)
    client.close()
    return {"earliest": low, "latest": high, "at": found.offset}


def admin_client(request):
    return AdminClient({"bootstrap.servers": request["bootstrap"]})


def metadata(request):
    topic = consumer(request).list_topics(request["topic"], timeout=10).topics[request["topic"]]
    if topic.error:
        raise refused(topic.error)
    return {"partitions": len(topic.partitions)}


def result_of(futures):
    for future in futures.values():
        try:
            return future.result(timeout=15)
        except KafkaException as error:
            raise refused(error.args[0]) from error


def create(request):
    result_of(admin_client(request).create_topics(
        [NewTopic(request["topic"], request["partitions"], 1, config=request["configs"])], operation_timeout=10))


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
    result_of(client.create_topics([NewTopic(topic, 2, 1, config={"retention.ms": "3600000"})], operation_timeout=10))
    listed = until(lambda: topic in client.list_topics(timeout=10).topics, True)
    result_of(client.create_partitions([NewPartitions(topic, 5)], operation_timeout=10))
    partitions = until(lambda: len(client.list_topics(topic, timeout=10).topics[topic].partitions), 5)
    config = result_of(client.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)]))["retention.ms"].value
    result_of(client.delete_topics([topic], operation_timeout=10))
    deleted = until(lambda: topic not in client.list_topics(timeout=10).topics, True)
    return {"listed": listed, "partitions": partitions, "config": config, "deleted": deleted}


main({"write": write, "read": read, "offsets": offsets, "metadata": metadata, "create": create, "admin": admin, "member": member})
