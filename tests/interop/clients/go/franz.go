package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

var franzGo = operations{"write": franzWrite, "read": franzRead, "offsets": franzOffsets, "metadata": franzMetadata, "create": franzCreate, "admin": franzAdmin, "member": franzMember}

func franzErr(err error) error {
	var code *kerr.Error
	if errors.As(err, &code) {
		return refused{int(code.Code), err.Error()}
	}
	return err
}

var franzCodecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

var franzAcks = map[string]kgo.Acks{"0": kgo.NoAck(), "1": kgo.LeaderAck(), "all": kgo.AllISRAcks()}

func franzWrite(request *Request) (Answer, error) {
	records, err := readRecords(request.Input)
	if err != nil {
		return nil, err
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(request.servers()...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.AllowAutoTopicCreation(),
		kgo.ProducerBatchCompression(franzCodecs[request.Codec]), kgo.RequiredAcks(franzAcks[request.Acks]),
		kgo.ProducerBatchMaxBytes(maxBatch), kgo.ProducerLinger(20 * time.Millisecond),
		kgo.BrokerMaxWriteBytes(100 << 20), kgo.UnknownTopicRetries(20),
	}
	if !request.Idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	stop, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	done := newAcks(len(records))
	for i, record := range records {
		out := &kgo.Record{Topic: request.Topic, Partition: record.Partition, Key: record.Key, Value: record.Value}
		if record.Timestamp >= 0 {
			out.Timestamp = time.UnixMilli(record.Timestamp)
		}
		for _, header := range record.Headers {
			out.Headers = append(out.Headers, kgo.RecordHeader{Key: header.Name, Value: header.Value})
		}
		client.Produce(stop, out, func(r *kgo.Record, err error) { done.set(i, r.Partition, r.Offset, err) })
	}
	if err := client.Flush(stop); err != nil {
		return nil, err
	}
	if done.err != nil {
		return nil, franzErr(done.err)
	}
	return nil, done.save(request)
}

func franzRead(request *Request) (Answer, error) {
	starts := map[int32]kgo.Offset{}
	for partition, offset := range request.Starts {
		starts[partition] = kgo.NewOffset().At(offset)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(request.servers()...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{request.Topic: starts}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.FetchMaxWait(500*time.Millisecond))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	stop, cancel := context.WithTimeout(context.Background(), request.deadline())
	defer cancel()
	left := newWanted(request)
	records := make([]Record, 0, left.total)
	for left.total > 0 && stop.Err() == nil {
		fetches := client.PollFetches(stop)
		for _, failed := range fetches.Errors() {
			if stop.Err() == nil {
				return nil, franzErr(failed.Err)
			}
		}
		fetches.EachRecord(func(in *kgo.Record) {
			if left.take(in.Partition) {
				record := Record{Partition: in.Partition, Offset: in.Offset, Timestamp: in.Timestamp.UnixMilli(), Key: in.Key, Value: in.Value}
				for _, header := range in.Headers {
					record.Headers = append(record.Headers, Header{header.Key, header.Value})
				}
				records = append(records, record)
			}
		})
	}
	return nil, writeRecords(request.Output, records)
}

func franzMember(request *Request) (Answer, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(request.servers()...), kgo.ConsumerGroup(request.Group), kgo.ConsumeTopics(request.Topic),
		kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(200*time.Millisecond),
		kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(time.Second))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	sitting, err := newSitting(request)
	for err == nil && !sitting.over() {
		stop, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		fetches := client.PollFetches(stop)
		cancel()
		var read []Record
		fetches.EachRecord(func(in *kgo.Record) { read = append(read, Record{Partition: in.Partition, Offset: in.Offset}) })
		if len(read) == 0 {
			continue
		}
		if err = sitting.take(read); err == nil {
			commit, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			if failed := client.CommitUncommittedOffsets(commit); failed != nil { // another member reads it again
				fmt.Fprintln(os.Stderr, failed)
			}
			cancel()
		}
	}
	return nil, err
}

func franzAdminClient(request *Request) (*kadm.Client, context.Context, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(request.servers()...), kgo.MetadataMinAge(10*time.Millisecond))
	if err != nil {
		return nil, nil, err
	}
	return kadm.NewClient(client), context.Background(), nil
}

func franzOffsets(request *Request) (Answer, error) {
	admin, stop, err := franzAdminClient(request)
	if err != nil {
		return nil, err
	}
	answer := Answer{}
	listers := map[string]func() (kadm.ListedOffsets, error){
		"earliest": func() (kadm.ListedOffsets, error) { return admin.ListStartOffsets(stop, request.Topic) },
		"latest":   func() (kadm.ListedOffsets, error) { return admin.ListEndOffsets(stop, request.Topic) },
	}
	for name, list := range listers {
		listed, err := list()
		if err == nil {
			err = listed.Error()
		}
		if err != nil {
			return nil, franzErr(err)
		}
		offset, _ := listed.Lookup(request.Topic, request.Partition)
		answer[name] = offset.Offset
	}
	listed, err := admin.ListOffsetsAfterMilli(stop, request.Timestamp, request.Topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, franzErr(err)
	}
	offset, _ := listed.Lookup(request.Topic, request.Partition)
	answer["at"] = offset.Offset
	if offset.Timestamp < 0 { // kadm turns "none" into the end offset
		answer["at"] = -1
	}
	return answer, nil
}

func franzPartitions(admin *kadm.Client, stop context.Context, topic string) (int, error) {
	topics, err := admin.ListTopics(stop, topic)
	if err == nil {
		err = topics.Error()
	}
	return len(topics[topic].Partitions), franzErr(err)
}

func franzMetadata(request *Request) (Answer, error) {
	admin, stop, err := franzAdminClient(request)
	if err != nil {
		return nil, err
	}
	partitions, err := franzPartitions(admin, stop, request.Topic)
	return Answer{"partitions": partitions}, err
}

func franzCreate(request *Request) (Answer, error) {
	admin, stop, err := franzAdminClient(request)
	if err != nil {
		return nil, err
	}
	configs := map[string]*string{}
	for name, value := range request.Configs {
		configs[name] = &value
	}
	if _, err = admin.CreateTopic(stop, int32(request.Partitions), -1, configs, request.Topic); err != nil {
		return nil, franzErr(err)
	}
	_, err = until(func() (bool, error) {
		partitions, _ := franzPartitions(admin, stop, request.Topic)
		return partitions == request.Partitions, nil
	})
	return nil, err
}

func franzAdmin(request *Request) (Answer, error) {
	admin, stop, err := franzAdminClient(request)
	if err != nil {
		return nil, err
	}
	retention := "3600000"
	if _, err := admin.CreateTopic(stop, 2, 1, map[string]*string{"retention.ms": &retention}, request.Topic); err != nil {
		return nil, franzErr(err)
	}
	listed := func() (bool, error) {
		topics, err := admin.ListTopics(stop)
		return topics.Has(request.Topic), franzErr(err)
	}
	answer := Answer{}
	if answer["listed"], err = until(listed); err != nil {
		return nil, err
	}
	grown, err := admin.UpdatePartitions(stop, 5, request.Topic)
	if err == nil {
		err = grown.Error()
	}
	if err != nil {
		return nil, franzErr(err)
	}
	_, err = until(func() (bool, error) {
		partitions, err := franzPartitions(admin, stop, request.Topic)
		answer["partitions"] = partitions
		return partitions == 5, err
	})
	if err != nil {
		return nil, err
	}
	configs, err := admin.DescribeTopicConfigs(stop, request.Topic)
	if err != nil {
		return nil, franzErr(err)
	}
	for _, config := range configs[0].Configs {
		if config.Key == "retention.ms" {
			answer["config"] = config.MaybeValue()
		}
	}
	if _, err := admin.DeleteTopic(stop, request.Topic); err != nil {
		return nil, franzErr(err)
	}
	answer["deleted"], err = until(func() (bool, error) {
		still, err := listed()
		return !still, err
	})
	return answer, err
}
