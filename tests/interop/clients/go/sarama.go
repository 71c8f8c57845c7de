package main

import (
	"errors"
	"time"

	"github.com/IBM/sarama"
)

var saramaClient = operations{"write": saramaWrite, "read": saramaRead, "offsets": saramaOffsets, "metadata": saramaMetadata, "create": saramaCreate, "admin": saramaAdmin}

func saramaErr(err error) error {
	var code sarama.KError
	var topic *sarama.TopicError
	var partition *sarama.TopicPartitionError
	switch {
	case errors.As(err, &topic):
		return refused{int(topic.Err), err.Error()}
	case errors.As(err, &partition):
		return refused{int(partition.Err), err.Error()}
	case errors.As(err, &code):
		return refused{int(code), err.Error()}
	}
	return err
}

var saramaCodecs = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy, "lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

var saramaAcks = map[string]sarama.RequiredAcks{"0": sarama.NoResponse, "1": sarama.WaitForLocal, "all": sarama.WaitForAll}

func saramaConfig() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.V4_0_0_0
	config.ClientID = "interop"
	config.Metadata.AllowAutoTopicCreation = false
	return config
}

func saramaWrite(request *Request) (Answer, error) {
	records, err := readRecords(request.Input)
	if err != nil {
		return nil, err
	}
	config := saramaConfig()
	config.Metadata.AllowAutoTopicCreation = true
	config.Metadata.Retry.Max = 20
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Compression = saramaCodecs[request.Codec]
	config.Producer.RequiredAcks = saramaAcks[request.Acks]
	config.Producer.MaxMessageBytes = maxBatch
	config.Producer.Flush.Frequency = 20 * time.Millisecond
	config.Producer.Return.Successes = true
	if request.Idempotent {
		config.Producer.Idempotent = true
		config.Net.MaxOpenRequests = 1
	}
	producer, err := sarama.NewAsyncProducer(request.servers(), config)
	if err != nil {
		return nil, saramaErr(err)
	}
	go func() {
		for i := range records {
			record := &records[i]
			out := &sarama.ProducerMessage{Topic: request.Topic, Partition: record.Partition, Metadata: i}
			if record.Key != nil {
				out.Key = sarama.ByteEncoder(record.Key)
			}
			if record.Value != nil {
				out.Value = sarama.ByteEncoder(record.Value)
			}
			if record.Timestamp >= 0 {
				out.Timestamp = time.UnixMilli(record.Timestamp)
			}
			for _, header := range record.Headers {
				out.Headers = append(out.Headers, sarama.RecordHeader{Key: []byte(header.Name), Value: header.Value})
			}
			producer.Input() <- out
		}
		producer.AsyncClose()
	}()
	done := newAcks(len(records))
	var failure error
	for successes, failures := producer.Successes(), producer.Errors(); successes != nil || failures != nil; {
		select {
		case message, open := <-successes:
			if !open {
				successes = nil
			} else {
				done.set(message.Metadata.(int), message.Partition, message.Offset, nil)
			}
		case message, open := <-failures:
			if !open {
				failures = nil
			} else {
				failure = message.Err
			}
		}
	}
	if failure != nil {
		return nil, saramaErr(failure)
	}
	return nil, done.save(request)
}

func saramaRead(request *Request) (Answer, error) {
	config := saramaConfig()
	config.Consumer.Return.Errors = true
	consumer, err := sarama.NewConsumer(request.servers(), config)
	if err != nil {
		return nil, saramaErr(err)
	}
	left := newWanted(request)
	records := make([]Record, 0, left.total)
	stop := time.After(request.deadline())
	for number, count := range request.Counts {
		partition, err := consumer.ConsumePartition(request.Topic, number, request.Starts[number])
		if err != nil {
			return nil, saramaErr(err)
		}
		for ; count > 0; count-- {
			select {
			case in := <-partition.Messages():
				record := Record{Partition: number, Offset: in.Offset, Timestamp: in.Timestamp.UnixMilli(), Key: in.Key, Value: in.Value}
				for _, header := range in.Headers {
					record.Headers = append(record.Headers, Header{string(header.Key), header.Value})
				}
				records = append(records, record)
			case failed := <-partition.Errors():
				return nil, saramaErr(failed.Err)
			case <-stop:
				return nil, writeRecords(request.Output, records)
			}
		}
		partition.AsyncClose()
	}
	return nil, writeRecords(request.Output, records)
}

func saramaOffsets(request *Request) (Answer, error) {
	client, err := sarama.NewClient(request.servers(), saramaConfig())
	if err != nil {
		return nil, saramaErr(err)
	}
	answer := Answer{}
	for name, at := range map[string]int64{"earliest": sarama.OffsetOldest, "latest": sarama.OffsetNewest, "at": request.Timestamp} {
		if answer[name], err = client.GetOffset(request.Topic, request.Partition, at); err != nil {
			return nil, saramaErr(err)
		}
	}
	return answer, nil
}

func saramaMetadata(request *Request) (Answer, error) {
	client, err := sarama.NewClient(request.servers(), saramaConfig())
	if err != nil {
		return nil, saramaErr(err)
	}
	partitions, err := client.Partitions(request.Topic)
	return Answer{"partitions": len(partitions)}, saramaErr(err)
}

func saramaCreate(request *Request) (Answer, error) {
	admin, err := sarama.NewClusterAdmin(request.servers(), saramaConfig())
	if err != nil {
		return nil, saramaErr(err)
	}
	detail := &sarama.TopicDetail{NumPartitions: int32(request.Partitions), ReplicationFactor: 1, ConfigEntries: map[string]*string{}}
	for name, value := range request.Configs {
		detail.ConfigEntries[name] = &value
	}
	return nil, saramaErr(admin.CreateTopic(request.Topic, detail, false))
}

func saramaAdmin(request *Request) (Answer, error) {
	request.Partitions, request.Configs = 2, map[string]string{"retention.ms": "3600000"}
	if _, err := saramaCreate(request); err != nil {
		return nil, err
	}
	admin, err := sarama.NewClusterAdmin(request.servers(), saramaConfig())
	if err != nil {
		return nil, saramaErr(err)
	}
	partitions := func() (int32, error) {
		topics, err := admin.ListTopics()
		return topics[request.Topic].NumPartitions, saramaErr(err)
	}
	answer := Answer{}
	answer["listed"], err = until(func() (bool, error) {
		found, err := partitions()
		return found == 2, err
	})
	if err != nil {
		return nil, err
	}
	if err := admin.CreatePartitions(request.Topic, 5, nil, false); err != nil {
		return nil, saramaErr(err)
	}
	_, err = until(func() (bool, error) {
		found, err := partitions()
		answer["partitions"] = found
		return found == 5, err
	})
	if err != nil {
		return nil, err
	}
	configs, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: request.Topic, ConfigNames: []string{"retention.ms"}})
	if err != nil {
		return nil, saramaErr(err)
	}
	answer["config"] = configs[0].Value
	if err := admin.DeleteTopic(request.Topic); err != nil {
		return nil, saramaErr(err)
	}
	answer["deleted"], err = until(func() (bool, error) {
		found, err := partitions()
		return found == 0, err
	})
	return answer, err
}
