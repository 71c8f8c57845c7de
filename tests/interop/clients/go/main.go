// Command ottla-interop is one script of the interop harness for three Go clients: the contract and the record format are in
// tests/interop/README.md. Usage: ottla-interop CLIENT OPERATION REQUEST.json
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// Request is every operation's request; each uses its own part.
type Request struct {
	Bootstrap  string
	Topic      string
	Input      string
	Output     string
	Codec      string
	Acks       string
	Idempotent bool
	Starts     map[int32]int64
	Counts     map[int32]int64
	DeadlineMs int64 `json:"deadline_ms"`
	Partition  int32
	Partitions int
	Timestamp  int64
	Configs    map[string]string
	Group      string
	Count      int
	IdleMs     int64 `json:"idle_ms"`
}

// servers are the addresses of the brokers that are asked first.
func (request *Request) servers() []string {
	return strings.Split(request.Bootstrap, ",")
}

func (r *Request) deadline() time.Duration { return time.Duration(r.DeadlineMs) * time.Millisecond }

// Answer holds what an operation reports beside "ok".
type Answer map[string]any

// unsupported is what the client cannot express: shown as n/a.
type unsupported string

func (u unsupported) Error() string { return string(u) }

// refused is an answer of the broker with one of Kafka's error codes.
type refused struct {
	code int
	text string
}

func (r refused) Error() string { return r.text }

type operations map[string]func(*Request) (Answer, error)

var clients = map[string]operations{"franz-go": franzGo, "sarama": saramaClient, "kafka-go": kafkaGo}

func main() {
	request := new(Request)
	text, err := os.ReadFile(os.Args[3])
	if err == nil {
		err = json.Unmarshal(text, request)
	}
	var answer Answer
	if err == nil {
		if operation, ok := clients[os.Args[1]][os.Args[2]]; ok {
			answer, err = operation(request)
		} else {
			err = unsupported("no " + os.Args[2])
		}
	}
	if answer == nil {
		answer = Answer{}
	}
	var lacking unsupported
	var code refused
	switch {
	case err == nil:
		answer["ok"] = true
	case errors.As(err, &lacking):
		answer["unsupported"] = lacking.Error()
	case errors.As(err, &code):
		answer["error"], answer["code"] = code.text, code.code
	default:
		answer["error"] = err.Error()
	}
	line, _ := json.Marshal(answer)
	fmt.Println(string(line))
}

// until asks until the answer is the wanted one: what a broker says may lag behind an acknowledged change by a moment.
func until(what func() (bool, error)) (bool, error) {
	for attempt := 0; attempt < 50; attempt++ {
		if done, err := what(); err != nil || done {
			return done, err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return false, nil
}
