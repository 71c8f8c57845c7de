"""aiokafka."""
import asyncio
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code

from records import Record, Refused, Sitting, Unsupported, Wanted, main, read_records, write_offsets, write_records


def translated(operation):
    """Runs a coroutine and names the broker's error code."""
    def run(request):
        try:
            return asyncio.run(operation(request))
        except KafkaError as error:
            if getattr(error, "errno", None) is None:
                raise
            raise Refused(error.errno, repr(error)) from error
    return run


async def write(request):
    codec, acks = request["codec"], request["acks"]
    producer = AIOKafkaProducer(
        bootstrap_servers=request["bootstrap"], compression_type=None if codec == "none" else codec,
        acks=acks if acks == "all" else int(acks), enable_idempotence=request["idempotent"], linger_ms=20,
        max_request_size=64_000_000, max_batch_size=900_000, request_timeout_ms=20_000)
    records = read_records(request["input"])
    if any(record.key is None and record.value is None for record in records):
        raise Unsupported("a record without key and value")
    await producer.start()
    try:
        sent = [await producer.send(request["topic"], record.value, record.key, record.partition,
                                    record.timestamp if record.timestamp >= 0 else None, record.headers or None)
                for record in records]
        await producer.flush()
        results = [await future for future in sent]
    finally:
        await producer.stop()
    if request["acks"] != "0":
        write_offsets(request["output"], [(result.partition, result.offset) for result in results])


def consumer(request):
    return AIOKafkaConsumer(bootstrap_servers=request["bootstrap"], auto_offset_reset="none", enable_auto_commit=False)


async def read(request):
    wanted, records, client = Wanted(request), [], consumer(request)
    await client.start()
    try:
        client.assign([TopicPartition(request["topic"], partition) for partition in wanted.starts])
        for partition, offset in wanted.starts.items():
            client.seek(TopicPartition(request["topic"], partition), offset)
        clock = asyncio.get_running_loop()
        deadline = clock.time() + request["deadline_ms"] / 1000
        while wanted.left and clock.time() < deadline:
            for messages in (await client.getmany(timeout_ms=200)).values():
                for message in messages:
                    if wanted.take(message.partition):
                        records.append(Record(message.partition, message.offset, message.timestamp, message.key, message.value,
                                              message.headers))
    finally:
        await client.stop()
    write_records(request["output"], records)


async def member(request):
    client = AIOKafkaConsumer(request["topic"], bootstrap_servers=request["bootstrap"], group_id=request["group"],
                              auto_offset_reset="earliest", enable_auto_commit=False, session_timeout_ms=6000, heartbeat_interval_ms=1000)
    await client.start()
    sitting = Sitting(request)
    try:
        while not sitting.over(client.assignment()):
            messages = [message for part in (await client.getmany(timeout_ms=200, max_records=100)).values() for message in part]
            sitting.take([(message.partition, message.offset) for message in messages])
            if messages:
                try:
                    await client.commit()
                except KafkaError as error:  # another member reads it again
                    print(repr(error), file=sys.stderr)
    finally:
        await client.stop()


async def offsets(request):
    client, partition = consumer(request), TopicPartition(request["topic"], request["partition"])
    await client.start()
    try:
        client.assign([partition])
        at = (await client.offsets_for_times({partition: request["timestamp"]}))[partition]
        return {"earliest": (await client.beginning_offsets([partition]))[partition],
                "latest": (await client.end_offsets([partition]))[partition], "at": -1 if at is None else at.offset}
    finally:
        await client.stop()


def with_admin(operation):
    async def run(request):
        client = AIOKafkaAdminClient(bootstrap_servers=request["bootstrap"])
        await client.start()
        try:
            return await operation(client, request)
        finally:
            await client.close()
    return run


def check(code, text):
    if code:
        raise Refused(code, f"{for_code(code).__name__}: {text}")


async def partitions(client, topic):
    [found] = await client.describe_topics([topic])
    check(found["error_code"], found)
    return len(found["partitions"])


@with_admin
async def metadata(client, request):
    return {"partitions": await partitions(client, request["topic"])}


async def create_topic(client, topic, count, configs):
    response = await client.create_topics([NewTopic(topic, count, 1, topic_configs=configs)])
    for name, code, *text in response.topic_errors:
        check(code, f"{name} {text}")


@with_admin
async def create(client, request):
    await create_topic(client, request["topic"], request["partitions"], request["configs"])


async def until(what, wanted):
    """What a broker answers may lag behind an acknowledged change by a moment."""
    for _ in range(50):
        value = await what()
        if value == wanted:
            break
        await asyncio.sleep(0.1)
    return value


@with_admin
async def admin(client, request):
    topic = request["topic"]
    await create_topic(client, topic, 2, {"retention.ms": "3600000"})

    async def is_listed():
        return topic in await client.list_topics()

    listed = await until(is_listed, True)
    grown = await client.create_partitions({topic: NewPartitions(5)})
    for name, code, *text in grown.topic_errors:
        check(code, f"{name} {text}")
    count = await until(lambda: partitions(client, topic), 5)
    [described] = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    [(code, text, _, _, entries)] = described.resources
    check(code, text)
    deleted = await client.delete_topics([topic])
    for name, code in deleted.topic_error_codes:
        check(code, name)
    return {"listed": listed, "partitions": count, "config": {entry[0]: entry[1] for entry in entries}["retention.ms"],
            "deleted": not await until(is_listed, False)}


OPERATIONS = {"write": write, "read": read, "offsets": offsets, "metadata": metadata, "create": create, "admin": admin, "member": member}
main({name: translated(operation) for name, operation in OPERATIONS.items()})
