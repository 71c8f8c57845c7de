package main

import (
	"bufio"
	"encoding/binary"
	"os"
	"sync"
	"time"
)

// maxBatch is Kafka's default max.message.bytes: no client may put several large values into one batch above it.
const maxBatch = 1048588

// Header is a record header; a nil value is a null.
type Header struct {
	Name  string
	Value []byte
}

// Record is one record of a record file; nil key or value is a null.
type Record struct {
	Partition         int32
	Offset, Timestamp int64
	Key, Value        []byte
	Headers           []Header
}

type reader struct{ data []byte }

func (r *reader) i32() int32 {
	value := int32(binary.BigEndian.Uint32(r.data))
	r.data = r.data[4:]
	return value
}

func (r *reader) i64() int64 {
	value := int64(binary.BigEndian.Uint64(r.data))
	r.data = r.data[8:]
	return value
}

func (r *reader) bytes() []byte {
	length := r.i32()
	if length < 0 {
		return nil
	}
	value := r.data[:length:length]
	r.data = r.data[length:]
	return value
}

func readRecords(path string) ([]Record, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var records []Record
	for r := (&reader{data}); len(r.data) > 0; {
		record := Record{Partition: r.i32(), Offset: r.i64(), Timestamp: r.i64(), Key: r.bytes(), Value: r.bytes()}
		for count := r.i32(); count > 0; count-- {
			record.Headers = append(record.Headers, Header{string(r.bytes()), r.bytes()})
		}
		records = append(records, record)
	}
	return records, nil
}

func appendBytes(out, value []byte) []byte {
	if value == nil {
		return binary.BigEndian.AppendUint32(out, 0xffffffff)
	}
	return append(binary.BigEndian.AppendUint32(out, uint32(len(value))), value...)
}

func writeRecords(path string, records []Record) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(file, 1<<20)
	var line []byte
	for i := range records {
		record := &records[i]
		line = binary.BigEndian.AppendUint32(line[:0], uint32(record.Partition))
		line = binary.BigEndian.AppendUint64(line, uint64(record.Offset))
		line = binary.BigEndian.AppendUint64(line, uint64(record.Timestamp))
		line = appendBytes(appendBytes(line, record.Key), record.Value)
		line = binary.BigEndian.AppendUint32(line, uint32(len(record.Headers)))
		for _, header := range record.Headers {
			line = appendBytes(appendBytes(line, []byte(header.Name)), header.Value)
		}
		if _, err := out.Write(line); err != nil {
			return err
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return file.Close()
}

// acks gathers where each record went, in order of the input.
type acks struct {
	lock       sync.Mutex
	partitions []int32
	offsets    []int64
	err        error
}

func newAcks(count int) *acks {
	return &acks{partitions: make([]int32, count), offsets: make([]int64, count)}
}

func (a *acks) set(index int, partition int32, offset int64, err error) {
	a.lock.Lock()
	defer a.lock.Unlock()
	a.partitions[index], a.offsets[index] = partition, offset
	if err != nil && a.err == nil {
		a.err = err
	}
}

// save writes the offsets file; acks=0 tells no offsets.
func (a *acks) save(request *Request) error {
	if request.Acks == "0" {
		return nil
	}
	out := make([]byte, 0, 12*len(a.offsets))
	for i, offset := range a.offsets {
		out = binary.BigEndian.AppendUint32(out, uint32(a.partitions[i]))
		out = binary.BigEndian.AppendUint64(out, uint64(offset))
	}
	return os.WriteFile(request.Output, out, 0o644)
}

// wanted counts down what is still to be read of each partition.
type wanted struct {
	left  map[int32]int64
	total int64
}

func newWanted(request *Request) *wanted {
	w := &wanted{left: map[int32]int64{}}
	for partition, count := range request.Counts {
		w.left[partition] = count
		w.total += count
	}
	return w
}

// take is true if this record is asked for.
func (w *wanted) take(partition int32) bool {
	if w.left[partition] == 0 {
		return false
	}
	w.left[partition]--
	w.total--
	return true
}

// sitting is one member's time in a group: what it reads goes to the file before it is committed.
type sitting struct {
	request     *Request
	file        *os.File
	taken       int
	began, last time.Time
}

func newSitting(request *Request) (*sitting, error) {
	file, err := os.OpenFile(request.Output, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	return &sitting{request: request, file: file, began: time.Now(), last: time.Now()}, err
}

// take keeps partition and offset of each record.
func (s *sitting) take(records []Record) error {
	var out []byte
	for _, record := range records {
		out = binary.BigEndian.AppendUint32(out, uint32(record.Partition))
		out = binary.BigEndian.AppendUint64(out, uint64(record.Offset))
	}
	s.taken += len(records)
	s.last = time.Now()
	_, err := s.file.Write(out)
	return err
}

func (s *sitting) over() bool {
	idle := time.Since(s.last) > time.Duration(s.request.IdleMs)*time.Millisecond
	return s.request.Count > 0 && s.taken >= s.request.Count || idle || time.Since(s.began) > s.request.deadline()
}
