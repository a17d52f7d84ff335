package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protowire"
)

// A payload begins with the moment at which it should have been sent, in nanoseconds of this process's clock. What is
// not to be timed, because it is another process that reads it, has untimed in its place.
const (
	stampBytes = 8
	untimed    = time.Duration(-1)
)

var began = time.Now()

// Raw hands encoded messages through, so that reading a response costs next to nothing.
type raw struct{}

func (raw) Name() string { return "proto" }

func (raw) Marshal(message any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(message.([]byte))}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, into any) error {
	*into.(*[]byte) = data.Materialize()
	return nil
}

func connect(target string, number int) ([]*grpc.ClientConn, error) {
	connections := make([]*grpc.ClientConn, number)
	for i := range connections {
		connection, err := grpc.NewClient(target,
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw{}), grpc.WaitForReady(true)),
			grpc.WithNoProxy(),
		)
		if err != nil {
			return nil, err
		}
		connections[i] = connection
	}
	return connections, nil
}

func withToken(ctx context.Context, token string) context.Context {
	if token == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

var playStream = grpc.StreamDesc{StreamName: "Play", ClientStreams: true, ServerStreams: true}

// playing calls Play for a seat.
func playing(ctx context.Context, connection *grpc.ClientConn, seat Seat) (grpc.ClientStream, error) {
	ctx = withToken(ctx, seat.Token)
	if seat.Node != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "x-oofgg-node", seat.Node)
	}
	return connection.NewStream(ctx, &playStream, "/oofgg.v1.SessionService/Play")
}

// receive reads a response; with timed, also when the commands in it were to be sent.
func receive(stream grpc.ClientStream, timed bool) (Response, error) {
	var data []byte
	if err := stream.RecvMsg(&data); err != nil {
		return Response{}, err
	}
	response, err := Scan(data, timed)
	response.Size = len(data)
	return response, err
}

// Response is what a generator needs to know of an oofgg.v1.PlayResponse.
type Response struct {
	Size      int // bytes
	Events    int
	Flush     uint64
	Opened    bool
	Command   uint64 // of a stream that opens: the last reliable command of its seat that was accepted
	Asked     bool   // a heartbeat wants an answer
	Nonce     uint64
	Latencies []time.Duration
}

// Scan reads a response; with timed, also when the commands in it were to be sent.
func Scan(data []byte, timed bool) (Response, error) {
	var response Response
	err := fields(data, func(number protowire.Number, value uint64, body []byte) error {
		switch number {
		case 1:
			response.Events++
			if timed {
				if stamp, ok := stampOf(body); ok {
					response.Latencies = append(response.Latencies, time.Since(began)-stamp)
				}
			}
		case 2:
			response.Flush = value
		case 4:
			response.Opened = true
			return fields(body, func(number protowire.Number, value uint64, _ []byte) error {
				if number == 4 {
					response.Command = value
				}
				return nil
			})
		case 5:
			response.Asked = true
			return fields(body, func(number protowire.Number, value uint64, _ []byte) error {
				switch number {
				case 1:
					response.Nonce = value
				case 2:
					response.Asked = value == 0
				}
				return nil
			})
		}
		return nil
	})
	return response, err
}

// stampOf finds the time in an event that carries a command.
func stampOf(event []byte) (time.Duration, bool) {
	var payload []byte
	_ = fields(event, func(number protowire.Number, _ uint64, body []byte) error {
		if number != 10 {
			return nil
		}
		return fields(body, func(number protowire.Number, _ uint64, body []byte) error {
			if number == 2 {
				payload = body
			}
			return nil
		})
	})
	if len(payload) < stampBytes {
		return 0, false
	}
	stamp := time.Duration(binary.BigEndian.Uint64(payload))
	return stamp, stamp != untimed
}

// fields walks over the fields of a message: numbers in value, texts and messages in body.
func fields(data []byte, visit func(number protowire.Number, value uint64, body []byte) error) error {
	for len(data) > 0 {
		number, kind, size := protowire.ConsumeTag(data)
		if size < 0 {
			return fmt.Errorf("not a message: %w", protowire.ParseError(size))
		}
		data = data[size:]
		var value uint64
		var body []byte
		switch kind {
		case protowire.VarintType:
			value, size = protowire.ConsumeVarint(data)
		case protowire.BytesType:
			body, size = protowire.ConsumeBytes(data)
		default:
			size = protowire.ConsumeFieldValue(number, kind, data)
		}
		if size < 0 {
			return fmt.Errorf("not a message: %w", protowire.ParseError(size))
		}
		data = data[size:]
		if err := visit(number, value, body); err != nil {
			return err
		}
	}
	return nil
}

// Opening is the first oofgg.v1.PlayRequest of a stream.
func Opening(sessionID string) []byte {
	open := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), sessionID)
	return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), open)
}

// AppendCommand adds a command to an oofgg.v1.PlayRequest. One of class LATEST is for one key.
func AppendCommand(request []byte, number uint64, delivery int, stamp time.Duration, size int) []byte {
	payload := make([]byte, size)
	binary.BigEndian.PutUint64(payload, uint64(stamp))
	command := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), number)
	command = protowire.AppendVarint(protowire.AppendTag(command, 2, protowire.VarintType), uint64(delivery))
	if delivery == latest {
		command = protowire.AppendString(protowire.AppendTag(command, 3, protowire.BytesType), "position")
	}
	command = protowire.AppendBytes(protowire.AppendTag(command, 4, protowire.BytesType), payload)
	return protowire.AppendBytes(protowire.AppendTag(request, 2, protowire.BytesType), command)
}

// AppendAck acknowledges a flush.
func AppendAck(request []byte, flush uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(request, 3, protowire.VarintType), flush)
}

// AppendBeat answers a heartbeat.
func AppendBeat(request []byte, nonce uint64) []byte {
	beat := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), nonce)
	beat = protowire.AppendVarint(protowire.AppendTag(beat, 2, protowire.VarintType), 1)
	return protowire.AppendBytes(protowire.AppendTag(request, 4, protowire.BytesType), beat)
}
