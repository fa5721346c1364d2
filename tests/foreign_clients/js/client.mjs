// KafkaJS and the CloudEvents SDK for JavaScript, driven over lines of JSON; see tests/foreign_clients/client.py.

import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'

import cloudevents from 'cloudevents'
import kafkajs from 'kafkajs'
import snappy from 'kafkajs-snappy'
import lz4 from 'lz4-napi'

const { CloudEvent, Kafka: Binding } = cloudevents
const { CompressionCodecs, CompressionTypes, Kafka, Partitioners, logLevel } = kafkajs

const zstd = await new Promise((loaded) => {
  createRequire(import.meta.url)('zstd-codec').ZstdCodec.run((library) => loaded(new library.Simple()))
})
CompressionCodecs[CompressionTypes.Snappy] = snappy
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: (encoder) => lz4.compressFrame(encoder.buffer),
  decompress: lz4.decompressFrame,
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: (encoder) => Buffer.from(zstd.compress(encoder.buffer)),
  decompress: (bytes) => Buffer.from(zstd.decompress(bytes)),
})

const COMPRESSION = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
}
const PARTITIONERS = {
  murmur2: Partitioners.DefaultPartitioner,
  legacy: Partitioners.LegacyPartitioner,
}

const COMPENSATION = 'orchestration.step.compensation-requested'

const [command, bootstrap, ...topics] = process.argv.slice(2)
const kafka = new Kafka({ clientId: 'foreign-js', brokers: [bootstrap], logLevel: logLevel.ERROR })
const print = (document) => process.stdout.write(JSON.stringify(document) + '\n')

/** The record of an event as the SDK writes it, changed where an order says so. */
function encoded({ event, mode, key, envelope = {}, headers = [], drop = [], upper = false, base64 = false }) {
  const { data, ...attributes } = event
  const given = base64 ? Buffer.from(JSON.stringify(data)) : data
  const message = Binding[mode](new CloudEvent({ datacontenttype: 'application/json', ...attributes, data: given }))
  let value = typeof message.value === 'string' ? message.value : JSON.stringify(message.value)
  if (mode === 'structured') value = JSON.stringify({ ...JSON.parse(value), ...envelope })
  const kept = Object.entries(message.headers).filter(([name, text]) => text !== undefined && !drop.includes(name))
  const named = kept.map(([name, text]) => [upper ? name.toUpperCase() : name, String(text)])
  const own = headers.map((pair) => pair.map((bytes) => bytes === null ? null : Buffer.from(bytes, 'base64')))
  const all = {}
  for (const [name, text] of [...named, ...own]) (all[name] ??= []).push(text)
  return { key, value, headers: all }
}

/** A CloudEvent as the SDK reads it. Header values are strings for it, and bytes for KafkaJS. */
function decoded({ key, value, headers }) {
  const texts = Object.fromEntries(Object.entries(headers).map(([name, bytes]) => [name, String(bytes)]))
  const event = Binding.toEvent({ key: key?.toString(), value: value.toString(), headers: texts })
  event.validate()
  const { data, ...attributes } = event.toJSON()
  return { attributes, data }
}

async function send() {
  const producers = {}
  for await (const line of createInterface({ input: process.stdin })) {
    const order = JSON.parse(line)
    const { topic, compression = 'none', partitioner = 'murmur2' } = order
    producers[partitioner] ??= await connected(kafka.producer({ createPartitioner: PARTITIONERS[partitioner] }))
    try {
      const [sent] = await producers[partitioner].send({
        topic,
        compression: COMPRESSION[compression],
        messages: [encoded(order)],
      })
      print({ sent: order.event.id, partition: sent.partition })
    } catch (error) {
      print({ failed: order.event.id, error: String(error) })
    }
  }
  await Promise.all(Object.values(producers).map((producer) => producer.disconnect()))
}

async function participate([requests, replies]) {
  const producer = await connected(kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner }))
  const consumer = await connected(kafka.consumer({ groupId: 'foreign-js' }))
  await consumer.subscribe({ topic: requests, fromBeginning: true })
  await consumer.run({
    eachMessage: async ({ message }) => {
      const { attributes, data } = decoded(message)
      print({ attributes, data })
      const reply = encoded({
        mode: data.input.reply,
        key: data.workflowId,
        event: {
          id: `${attributes.id}/reply`,
          source: '/foreign/js',
          type: 'orchestration.step.completed',
          subject: data.workflowId,
          idempotencykey: attributes.idempotencykey,
          data: {
            workflowId: data.workflowId,
            stepId: data.stepId,
            attempt: data.attempt,
            round: data.round,
            compensation: attributes.type === COMPENSATION,
            output: { packedBy: 'js' },
          },
        },
      })
      await producer.send({ topic: replies, messages: [reply] })
    },
  })
}

async function read([topic]) {
  const admin = await connected(kafka.admin())
  const ends = await admin.fetchTopicOffsets(topic)
  await admin.disconnect()
  const open = new Map(ends.filter(({ high, low }) => high !== low).map(({ partition, high }) => [partition, high]))
  const consumer = await connected(kafka.consumer({ groupId: `foreign-js-${process.pid}` }))
  await consumer.subscribe({ topic, fromBeginning: true })
  await new Promise((done) => {
    if (open.size === 0) done()
    consumer.run({
      eachMessage: async ({ partition, message }) => {
        if (!open.has(partition)) return
        print(decoded(message))
        if (BigInt(message.offset) + 1n >= BigInt(open.get(partition))) open.delete(partition)
        if (open.size === 0) done()
      },
    })
  })
  process.exit(0)
}

async function connected(client) {
  await client.connect()
  return client
}

await { send, participate, read }[command](topics)
