package main

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/segmentio/kafka-go"
)

var kafkaGo = operations{"write": kafkaGoWrite, "read": kafkaGoRead, "offsets": kafkaGoOffsets, "metadata": kafkaGoMetadata, "create": kafkaGoCreate, "admin": kafkaGoAdmin}

func kafkaGoErr(err error) error {
	var code kafka.Error
	var large kafka.MessageTooLargeError
	var many kafka.WriteErrors
	if errors.As(err, &many) {
		for _, one := range many {
			if one != nil {
				return kafkaGoErr(one)
			}
		}
	}
	switch {
	case errors.As(err, &large):
		return refused{int(kafka.MessageSizeTooLarge), err.Error()}
	case errors.As(err, &code):
		return refused{int(code), err.Error()}
	}
	return err
}

var kafkaGoCodecs = map[string]kafka.Compression{"none": 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd}

var kafkaGoAcks = map[string]kafka.RequiredAcks{"0": kafka.RequireNone, "1": kafka.RequireOne, "all": kafka.RequireAll}

func kafkaGoWrite(request *Request) (Answer, error) {
	if request.Idempotent {
		return nil, unsupported("no idempotent producer")
	}
	records, err := readRecords(request.Input)
	if err != nil {
		return nil, err
	}
	done := newAcks(len(records))
	writer := &kafka.Writer{
		Addr: kafka.TCP(request.servers()...), Topic: request.Topic, AllowAutoTopicCreation: true, BatchBytes: maxBatch,
		RequiredAcks: kafkaGoAcks[request.Acks], Compression: kafkaGoCodecs[request.Codec], BatchTimeout: 20 * time.Millisecond,
		Balancer: kafka.BalancerFunc(func(message kafka.Message, _ ...int) int { return int(records[message.WriterData.(int)].Partition) }),
		Completion: func(messages []kafka.Message, err error) {
			for _, message := range messages {
				done.set(message.WriterData.(int), int32(message.Partition), message.Offset, err)
			}
		},
	}
	out := make([]kafka.Message, len(records))
	for i, record := range records {
		out[i] = kafka.Message{Key: record.Key, Value: record.Value, WriterData: i}
		if record.Timestamp >= 0 {
			out[i].Time = time.UnixMilli(record.Timestamp)
		}
		for _, header := range record.Headers {
			out[i].Headers = append(out[i].Headers, kafka.Header{Key: header.Name, Value: header.Value})
		}
	}
	stop, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	// Its documentation asks for a retry while a topic is being created.
	_, err = until(func() (bool, error) {
		err := writer.WriteMessages(stop, out...)
		if errors.Is(err, kafka.UnknownTopicOrPartition) {
			return false, nil
		}
		return true, err
	})
	if err != nil {
		return nil, kafkaGoErr(err)
	}
	if err := writer.Close(); err != nil {
		return nil, kafkaGoErr(err)
	}
	return nil, done.save(request)
}

// kafkaGoRead uses Reader, which asks with the versions that its Conn pins.
func kafkaGoRead(request *Request) (Answer, error) {
	stop, cancel := context.WithTimeout(context.Background(), request.deadline())
	defer cancel()
	var records []Record
	for number, count := range request.Counts {
		if count == 0 {
			continue
		}
		reader := kafka.NewReader(kafka.ReaderConfig{
			Brokers: request.servers(), Topic: request.Topic, Partition: int(number), MaxBytes: 10 << 20, MaxWait: 500 * time.Millisecond, MaxAttempts: 3,
		})
		if err := reader.SetOffset(request.Starts[number]); err != nil {
			return nil, kafkaGoErr(err)
		}
		for ; count > 0; count-- {
			in, err := reader.ReadMessage(stop)
			if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return nil, kafkaGoErr(err)
			}
			record := Record{Partition: number, Offset: in.Offset, Timestamp: in.Time.UnixMilli(), Key: in.Key, Value: in.Value}
			for _, header := range in.Headers {
				record.Headers = append(record.Headers, Header{header.Key, header.Value})
			}
			records = append(records, record)
		}
		_ = reader.Close()
	}
	return Answer{"blurs_nulls": true}, writeRecords(request.Output, records)
}

func kafkaGoClient(request *Request) (*kafka.Client, context.Context) {
	return &kafka.Client{Addr: kafka.TCP(request.servers()...), Transport: &kafka.Transport{MetadataTTL: 50 * time.Millisecond}}, context.Background()
}

func kafkaGoOffsets(request *Request) (Answer, error) {
	client, stop := kafkaGoClient(request)
	partition := int(request.Partition)
	ask := func(which kafka.OffsetRequest) (kafka.PartitionOffsets, error) {
		response, err := client.ListOffsets(stop, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{request.Topic: {which}}})
		if err != nil {
			return kafka.PartitionOffsets{}, kafkaGoErr(err)
		}
		found := response.Topics[request.Topic][0]
		return found, kafkaGoErr(found.Error)
	}
	first, err := ask(kafka.FirstOffsetOf(partition))
	if err != nil {
		return nil, err
	}
	last, err := ask(kafka.LastOffsetOf(partition))
	if err != nil {
		return nil, err
	}
	at, err := ask(kafka.TimeOffsetOf(partition, time.UnixMilli(request.Timestamp)))
	if err != nil {
		return nil, err
	}
	answer := Answer{"earliest": first.FirstOffset, "latest": last.LastOffset, "at": -1}
	for offset := range at.Offsets {
		answer["at"] = offset
	}
	return answer, nil
}

func kafkaGoTopic(client *kafka.Client, stop context.Context, topic string) (kafka.Topic, error) {
	response, err := client.Metadata(stop, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return kafka.Topic{}, kafkaGoErr(err)
	}
	return response.Topics[0], kafkaGoErr(response.Topics[0].Error)
}

func kafkaGoMetadata(request *Request) (Answer, error) {
	client, stop := kafkaGoClient(request)
	topic, err := kafkaGoTopic(client, stop, request.Topic)
	return Answer{"partitions": len(topic.Partitions)}, err
}

func kafkaGoCreate(request *Request) (Answer, error) {
	client, stop := kafkaGoClient(request)
	config := kafka.TopicConfig{Topic: request.Topic, NumPartitions: request.Partitions, ReplicationFactor: 1}
	for name, value := range request.Configs {
		config.ConfigEntries = append(config.ConfigEntries, kafka.ConfigEntry{ConfigName: name, ConfigValue: value})
	}
	response, err := client.CreateTopics(stop, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{config}})
	if err == nil {
		err = response.Errors[request.Topic]
	}
	return nil, kafkaGoErr(err)
}

func kafkaGoAdmin(request *Request) (Answer, error) {
	request.Partitions, request.Configs = 2, map[string]string{"retention.ms": "3600000"}
	if _, err := kafkaGoCreate(request); err != nil {
		return nil, err
	}
	client, stop := kafkaGoClient(request)
	answer := Answer{}
	grown := func(count int) (bool, error) {
		return until(func() (bool, error) {
			topic, _ := kafkaGoTopic(client, stop, request.Topic)
			answer["partitions"] = len(topic.Partitions)
			return len(topic.Partitions) == count, nil
		})
	}
	var err error
	if answer["listed"], err = grown(2); err != nil {
		return nil, err
	}
	response, err := client.CreatePartitions(stop, &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: request.Topic, Count: 5}}})
	if err == nil {
		err = response.Errors[request.Topic]
	}
	if err != nil {
		return nil, kafkaGoErr(err)
	}
	if _, err = grown(5); err != nil {
		return nil, err
	}
	configs, err := client.DescribeConfigs(stop, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{
		{ResourceType: kafka.ResourceTypeTopic, ResourceName: request.Topic, ConfigNames: []string{"retention.ms"}}}})
	if err != nil {
		return nil, kafkaGoErr(err)
	}
	answer["config"] = configs.Resources[0].ConfigEntries[0].ConfigValue
	deleted, err := client.DeleteTopics(stop, &kafka.DeleteTopicsRequest{Topics: []string{request.Topic}})
	if err == nil {
		err = deleted.Errors[request.Topic]
	}
	if err != nil {
		return nil, kafkaGoErr(err)
	}
	answer["deleted"], err = until(func() (bool, error) {
		_, err := kafkaGoTopic(client, stop, request.Topic)
		return err != nil, nil
	})
	return answer, err
}
