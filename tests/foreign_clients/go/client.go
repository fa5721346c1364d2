// Sarama and the CloudEvents SDK for Go, driven over lines of JSON; see tests/foreign_clients/client.py.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/IBM/sarama"
	"github.com/cloudevents/sdk-go/protocol/kafka_sarama/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
)

var compressions = map[string]sarama.CompressionCodec{
	"":       sarama.CompressionNone,
	"none":   sarama.CompressionNone,
	"gzip":   sarama.CompressionGZIP,
	"snappy": sarama.CompressionSnappy,
	"lz4":    sarama.CompressionLZ4,
	"zstd":   sarama.CompressionZSTD,
}

var partitioners = map[string]sarama.PartitionerConstructor{
	"":       sarama.NewHashPartitioner,
	"fnv":    sarama.NewHashPartitioner,
	"crc32":  sarama.NewConsistentCRCHashPartitioner,
	"random": sarama.NewRandomPartitioner,
}

const compensation = "orchestration.step.compensation-requested"

type order struct {
	Topic       string                     `json:"topic"`
	Mode        string                     `json:"mode"`
	Compression string                     `json:"compression"`
	Partitioner string                     `json:"partitioner"`
	Key         *string                    `json:"key"`
	Event       map[string]json.RawMessage `json:"event"`
	Envelope    map[string]json.RawMessage `json:"envelope"`
	Headers     [][2][]byte                `json:"headers"`
	Drop        []string                   `json:"drop"`
	Upper       bool                       `json:"upper"`
	Base64      bool                       `json:"base64"`
}

type request struct {
	WorkflowID string `json:"workflowId"`
	StepID     string `json:"stepId"`
	Attempt    int    `json:"attempt"`
	Round      int    `json:"round"`
	Input      struct {
		Reply string `json:"reply"`
	} `json:"input"`
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func show(document any) {
	fmt.Println(string(must(json.Marshal(document))))
}

func config() *sarama.Config {
	settings := sarama.NewConfig()
	settings.Version = sarama.V2_8_0_0
	settings.Producer.Return.Successes = true
	settings.Consumer.Offsets.Initial = sarama.OffsetOldest
	return settings
}

// The event that an order describes; every attribute in the form in which it was given.
func (o order) event() (event.Event, error) {
	described := event.New()
	for name, value := range o.Event {
		if name == "data" {
			var data any = value
			if o.Base64 {
				data = []byte(value)
			}
			if err := described.SetData(event.ApplicationJSON, data); err != nil {
				return described, err
			}
			continue
		}
		var attribute any
		if err := json.Unmarshal(value, &attribute); err != nil {
			return described, err
		}
		switch name {
		case "id":
			described.SetID(attribute.(string))
		case "source":
			described.SetSource(attribute.(string))
		case "type":
			described.SetType(attribute.(string))
		case "subject":
			described.SetSubject(attribute.(string))
		case "time":
			moment, err := time.Parse(time.RFC3339Nano, attribute.(string))
			if err != nil {
				return described, err
			}
			described.SetTime(moment)
		default:
			described.SetExtension(name, attribute)
		}
	}
	return described, described.Validate()
}

// The record of an event as the SDK writes it, changed where the order says so.
func (o order) record() (*sarama.ProducerMessage, error) {
	described, err := o.event()
	if err != nil {
		return nil, err
	}
	ctx := binding.WithForceBinary(context.Background())
	if o.Mode == "structured" {
		ctx = binding.WithForceStructured(context.Background())
	}
	record := &sarama.ProducerMessage{Topic: o.Topic}
	if err := kafka_sarama.WriteProducerMessage(ctx, binding.ToMessage(&described), record); err != nil {
		return nil, err
	}
	record.Key = nil
	if o.Key != nil {
		record.Key = sarama.StringEncoder(*o.Key)
	}
	if len(o.Envelope) > 0 {
		var envelope map[string]json.RawMessage
		if err := json.Unmarshal(must(record.Value.Encode()), &envelope); err != nil {
			return nil, err
		}
		for name, value := range o.Envelope {
			envelope[name] = value
		}
		record.Value = sarama.ByteEncoder(must(json.Marshal(envelope)))
	}
	var headers []sarama.RecordHeader
	for _, header := range record.Headers {
		name := string(header.Key)
		if o.Upper {
			header.Key = []byte(strings.ToUpper(name))
		}
		if !o.drops(name) {
			headers = append(headers, header)
		}
	}
	for _, header := range o.Headers {
		headers = append(headers, sarama.RecordHeader{Key: header[0], Value: header[1]})
	}
	record.Headers = headers
	return record, nil
}

func (o order) drops(name string) bool {
	for _, each := range o.Drop {
		if each == name {
			return true
		}
	}
	return false
}

// A CloudEvent as the SDK reads it, without the extensions that it makes up of where the record was.
func decoded(record *sarama.ConsumerMessage) (map[string]json.RawMessage, json.RawMessage) {
	read := must(binding.ToEvent(context.Background(), kafka_sarama.NewMessageFromConsumerMessage(record)))
	check(read.Validate())
	var attributes map[string]json.RawMessage
	check(json.Unmarshal(must(json.Marshal(read)), &attributes))
	data := attributes["data"]
	for _, name := range []string{"data", "kafkaoffset", "kafkapartition", "kafkatopic"} {
		delete(attributes, name)
	}
	return attributes, data
}

func send(bootstrap string) {
	producers := map[[2]string]sarama.SyncProducer{}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 4*1024*1024)
	for lines.Scan() {
		var ordered order
		check(json.Unmarshal(lines.Bytes(), &ordered))
		kind := [2]string{ordered.Compression, ordered.Partitioner}
		if producers[kind] == nil {
			settings := config()
			settings.Producer.Compression = compressions[ordered.Compression]
			settings.Producer.Partitioner = partitioners[ordered.Partitioner]
			producers[kind] = must(sarama.NewSyncProducer([]string{bootstrap}, settings))
		}
		record, err := ordered.record()
		var partition int32
		if err == nil {
			partition, _, err = producers[kind].SendMessage(record)
		}
		if err != nil {
			show(map[string]any{"failed": ordered.Event["id"], "error": err.Error()})
		} else {
			show(map[string]any{"sent": ordered.Event["id"], "partition": partition})
		}
	}
	check(lines.Err())
	for _, producer := range producers {
		check(producer.Close())
	}
}

type participant struct {
	producer sarama.SyncProducer
	replies  string
}

func (participant) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (participant) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (p participant) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for record := range claim.Messages() {
		attributes, data := decoded(record)
		show(map[string]any{"attributes": attributes, "data": data})
		var asked request
		check(json.Unmarshal(data, &asked))
		var id, kind string
		check(json.Unmarshal(attributes["id"], &id))
		check(json.Unmarshal(attributes["type"], &kind))
		reply := order{
			Topic: p.replies,
			Mode:  asked.Input.Reply,
			Key:   &asked.WorkflowID,
			Event: map[string]json.RawMessage{
				"id":             must(json.Marshal(id + "/reply")),
				"source":         json.RawMessage(`"/foreign/go"`),
				"type":           json.RawMessage(`"orchestration.step.completed"`),
				"subject":        must(json.Marshal(asked.WorkflowID)),
				"idempotencykey": attributes["idempotencykey"],
				"data": must(json.Marshal(map[string]any{
					"workflowId":   asked.WorkflowID,
					"stepId":       asked.StepID,
					"attempt":      asked.Attempt,
					"round":        asked.Round,
					"compensation": kind == compensation,
					"output":       map[string]string{"packedBy": "go"},
				})),
			},
		}
		_, _, err := p.producer.SendMessage(must(reply.record()))
		check(err)
		session.MarkMessage(record, "")
	}
	return nil
}

func participate(bootstrap, requests, replies string) {
	producer := must(sarama.NewSyncProducer([]string{bootstrap}, config()))
	group := must(sarama.NewConsumerGroup([]string{bootstrap}, "foreign-go", config()))
	for {
		check(group.Consume(context.Background(), []string{requests}, participant{producer, replies}))
	}
}

func read(bootstrap, topic string) {
	client := must(sarama.NewClient([]string{bootstrap}, config()))
	consumer := must(sarama.NewConsumerFromClient(client))
	for _, partition := range must(client.Partitions(topic)) {
		next := must(client.GetOffset(topic, partition, sarama.OffsetOldest))
		end := must(client.GetOffset(topic, partition, sarama.OffsetNewest))
		if next == end {
			continue
		}
		records := must(consumer.ConsumePartition(topic, partition, next))
		for next < end {
			record := <-records.Messages()
			attributes, data := decoded(record)
			show(map[string]any{"attributes": attributes, "data": data})
			next = record.Offset + 1
		}
	}
}

func main() {
	arguments := os.Args[2:]
	switch os.Args[1] {
	case "send":
		send(arguments[0])
	case "participate":
		participate(arguments[0], arguments[1], arguments[2])
	case "read":
		read(arguments[0], arguments[1])
	}
}
