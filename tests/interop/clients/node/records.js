// Reads and writes the harness's record files, and runs one operation. The format is in tests/interop/README.md.
'use strict'
const fs = require('node:fs')

class Unsupported extends Error {}

/** The broker answered with one of Kafka's error codes. */
class Refused extends Error {
  constructor (code, text) {
    super(text)
    this.code = code
  }
}

function readRecords (path) {
  const data = fs.readFileSync(path)
  let at = 0
  const i32 = () => { at += 4; return data.readInt32BE(at - 4) }
  const i64 = () => { at += 8; return data.readBigInt64BE(at - 8) }
  const bytes = () => {
    const length = i32()
    if (length < 0) return null
    at += length
    return data.subarray(at - length, at)
  }
  const records = []
  while (at < data.length) {
    const record = { partition: i32(), offset: i64(), timestamp: i64(), key: bytes(), value: bytes(), headers: [] }
    for (let left = i32(); left > 0; left--) record.headers.push([bytes().toString(), bytes()])
    records.push(record)
  }
  return records
}

function packBytes (value) {
  const length = Buffer.alloc(4)
  length.writeInt32BE(value === null || value === undefined ? -1 : value.length)
  return value ? [length, value] : [length]
}

function writeRecords (path, records) {
  const out = []
  for (const record of records) {
    const head = Buffer.alloc(20)
    head.writeInt32BE(record.partition)
    head.writeBigInt64BE(record.offset, 4)
    head.writeBigInt64BE(record.timestamp, 12)
    const count = Buffer.alloc(4)
    count.writeInt32BE(record.headers.length)
    out.push(head, ...packBytes(record.key), ...packBytes(record.value), count)
    for (const [name, value] of record.headers) out.push(...packBytes(Buffer.from(name)), ...packBytes(value))
  }
  fs.writeFileSync(path, Buffer.concat(out))
}

function writeOffsets (path, offsets) {
  const out = Buffer.alloc(12 * offsets.length)
  offsets.forEach(([partition, offset], index) => {
    out.writeInt32BE(partition, 12 * index)
    out.writeBigInt64BE(offset, 12 * index + 4)
  })
  fs.writeFileSync(path, out)
}

/** One member's time in a group: what it reads goes to the file before it is committed. */
class Sitting {
  constructor (request) {
    this.file = fs.openSync(request.output, 'a')
    this.request = request
    this.taken = 0
    this.began = this.last = Date.now()
  }

  take (offsets) {
    const out = Buffer.alloc(12 * offsets.length)
    offsets.forEach(([partition, offset], index) => {
      out.writeInt32BE(partition, 12 * index)
      out.writeBigInt64BE(offset, 12 * index + 4)
    })
    fs.writeSync(this.file, out)
    this.taken += offsets.length
    this.last = Date.now()
  }

  /** Until it has read enough, or nothing comes any more. */
  async end () {
    const { count, idle_ms: idle, deadline_ms: deadline } = this.request
    const over = () => (count > 0 && this.taken >= count) || Date.now() > this.last + idle || Date.now() > this.began + deadline
    while (!over()) await new Promise(resolve => setTimeout(resolve, 50))
  }
}

/** What a broker answers may lag behind an acknowledged change by a moment. */
async function until (what, wanted) {
  let value
  for (let attempt = 0; attempt < 50; attempt++) {
    value = await what()
    if (value === wanted) break
    await new Promise(resolve => setTimeout(resolve, 100))
  }
  return value
}

async function main (operations) {
  const [operation, path] = process.argv.slice(2)
  let answer
  try {
    if (!operations[operation]) throw new Unsupported(`no ${operation}`)
    answer = { ok: true, ...await operations[operation](JSON.parse(fs.readFileSync(path))) }
  } catch (error) {
    if (error instanceof Unsupported) answer = { unsupported: error.message }
    else if (error instanceof Refused) answer = { error: error.message, code: error.code }
    else {
      console.error(error)
      answer = { error: String(error) }
    }
  }
  process.stdout.write(JSON.stringify(answer) + '\n', () => process.exit(0))
}

module.exports = { Refused, Sitting, Unsupported, main, readRecords, until, writeOffsets, writeRecords }
