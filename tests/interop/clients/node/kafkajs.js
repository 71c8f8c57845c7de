// kafkajs. It reads by consumer group only: to read by assignment it joins a group of its own and seeks.
'use strict'
const { CompressionCodecs, CompressionTypes, Kafka, Partitioners, logLevel } = require('kafkajs')
const { Refused, Sitting, Unsupported, main, readRecords, until, writeOffsets, writeRecords } = require('./records.js')

CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')
const LZ4 = require('kafkajs-lz4')
CompressionCodecs[CompressionTypes.LZ4] = new LZ4().codec

const codecs = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy, lz4: CompressionTypes.LZ4 }

const connect = request => new Kafka({ clientId: 'interop', brokers: request.bootstrap.split(','), logLevel: logLevel.ERROR, retry: { retries: 5 } })

/** Names the broker's error code. */
function translated (operation) {
  return async request => {
    try {
      return await operation(request)
    } catch (error) {
      for (let cause = error; cause; cause = cause.cause ?? cause.originalError ?? cause.errors?.[0]) {
        if (cause.name === 'KafkaJSProtocolError' || cause.code > 0) throw new Refused(cause.code, String(error))
      }
      throw error
    }
  }
}

async function write (request) {
  if (!(request.codec in codecs)) throw new Unsupported(`no ${request.codec} codec for kafkajs`)
  const producer = connect(request).producer({
    createPartitioner: Partitioners.DefaultPartitioner, idempotent: request.idempotent, allowAutoTopicCreation: true, retry: { retries: 5 }
  })
  const records = readRecords(request.input)
  const headers = record => {
    const grouped = {}
    for (const [name, value] of record.headers) {
      if (value === null) throw new Unsupported('null header values')
      // A repeated name is an array: here the values of a name always stand together.
      ;(grouped[name] ??= []).push(value)
    }
    return grouped
  }
  const messages = records.map(record => ({
    partition: record.partition, key: record.key, value: record.value, headers: headers(record),
    timestamp: record.timestamp >= 0n ? String(record.timestamp) : undefined
  }))
  await producer.connect()
  const next = new Map()
  for (let at = 0; at < messages.length; at += 500) {
    const answers = await producer.send({
      topic: request.topic, messages: messages.slice(at, at + 500), acks: { 0: 0, 1: 1, all: -1 }[request.acks], compression: codecs[request.codec]
    })
    for (const { partition, baseOffset } of answers) if (!next.has(partition)) next.set(partition, BigInt(baseOffset ?? -1))
  }
  await producer.disconnect()
  if (request.acks === '0') return
  writeOffsets(request.output, records.map(({ partition }) => {
    const offset = next.get(partition)
    next.set(partition, offset + 1n)
    return [partition, offset]
  }))
}

const consumer = (request, groupId) => connect(request).consumer({
  groupId, sessionTimeout: 6000, heartbeatInterval: 1000, maxWaitTimeInMs: 200, allowAutoTopicCreation: false
})

async function read (request) {
  const left = new Map(Object.entries(request.counts).map(([partition, count]) => [Number(partition), count]))
  const records = []
  let missing = [...left.values()].reduce((sum, count) => sum + count, 0)
  const client = consumer(request, `interop-read-${process.pid}-${Date.now()}`)
  let crash
  client.on(client.events.CRASH, ({ payload }) => { if (!payload.restart) crash = String(payload.error) })
  await client.connect()
  await client.subscribe({ topics: [request.topic], fromBeginning: true })
  await client.run({
    autoCommit: false,
    eachMessage: async ({ partition, message }) => {
      if (!(left.get(partition) > 0) || BigInt(message.offset) < BigInt(request.starts[partition] ?? 0)) return
      left.set(partition, left.get(partition) - 1)
      missing -= 1
      const headers = Object.entries(message.headers ?? {}).flatMap(([name, values]) => [values].flat().map(value => [name, value]))
      records.push({
        partition, offset: BigInt(message.offset), timestamp: BigInt(message.timestamp), key: message.key, value: message.value, headers
      })
    }
  })
  for (const [partition, offset] of Object.entries(request.starts)) {
    if (offset > 0) client.seek({ topic: request.topic, partition: Number(partition), offset: String(offset) })
  }
  const deadline = Date.now() + request.deadline_ms
  while (missing > 0 && !crash && Date.now() < deadline) await new Promise(resolve => setTimeout(resolve, 20))
  await client.disconnect()
  if (/ZSTD compression not implemented/i.test(crash)) throw new Unsupported('no zstd codec for kafkajs')
  if (crash) throw new Error(crash)
  writeRecords(request.output, records)
}

async function member (request) {
  const sitting = new Sitting(request)
  const client = consumer(request, request.group)
  await client.connect()
  await client.subscribe({ topics: [request.topic], fromBeginning: true })
  await client.run({
    autoCommit: false,
    eachBatch: async ({ batch: { partition, messages }, resolveOffset, heartbeat }) => {
      sitting.take(messages.map(({ offset }) => [partition, BigInt(offset)]))
      const next = BigInt(messages.at(-1).offset) + 1n
      // What is not committed another member reads again.
      await client.commitOffsets([{ topic: request.topic, partition, offset: String(next) }]).catch(error => console.error(error))
      resolveOffset(messages.at(-1).offset)
      await heartbeat()
    }
  })
  await sitting.end()
  await client.disconnect()
}

async function withAdmin (request, operation) {
  const admin = connect(request).admin()
  await admin.connect()
  try {
    return await operation(admin)
  } finally {
    await admin.disconnect()
  }
}

const offsets = request => withAdmin(request, async admin => {
  const [ends] = (await admin.fetchTopicOffsets(request.topic)).filter(({ partition }) => partition === request.partition)
  const [at] = (await admin.fetchTopicOffsetsByTimestamp(request.topic, request.timestamp)).filter(({ partition }) => partition === request.partition)
  // kafkajs turns "none" into the end offset.
  const found = at.offset === ends.high ? -1 : Number(at.offset)
  return { earliest: Number(ends.low), latest: Number(ends.high), at: found }
})

const partitions = async (admin, topic) => (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length

const metadata = request => withAdmin(request, async admin => {
  // fetchTopicMetadata lets the broker create the topic: kafkajs has no way to say that it must not.
  if (!(await admin.listTopics()).includes(request.topic)) throw new Unsupported('metadata of one topic always creates it')
  return { partitions: await partitions(admin, request.topic) }
})

const topic = (name, count, configs) => ({
  topics: [{ topic: name, numPartitions: count, replicationFactor: 1, configEntries: Object.entries(configs).map(([name, value]) => ({ name, value })) }]
})

const create = request => withAdmin(request, async admin => { await admin.createTopics(topic(request.topic, request.partitions, request.configs)) })

const admin = request => withAdmin(request, async admin => {
  await admin.createTopics(topic(request.topic, 2, { 'retention.ms': '3600000' }))
  const listed = await until(async () => (await admin.listTopics()).includes(request.topic), true)
  await admin.createPartitions({ topicPartitions: [{ topic: request.topic, count: 5 }] })
  const grown = await until(() => partitions(admin, request.topic), 5)
  const described = await admin.describeConfigs({ resources: [{ type: 2, name: request.topic, configNames: ['retention.ms'] }] })
  const config = described.resources[0].configEntries[0].configValue
  await admin.deleteTopics({ topics: [request.topic] })
  const deleted = await until(async () => !(await admin.listTopics()).includes(request.topic), true)
  return { listed, partitions: grown, config, deleted }
})

const operations = { write, read, member, offsets, metadata, create, admin }
main(Object.fromEntries(Object.entries(operations).map(([name, operation]) => [name, translated(operation)])))
