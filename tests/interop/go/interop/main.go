// SPDX-License-Identifier: Apache-2.0

// interop is a gRPC server of interop.proto. Its messages are well-known types, so nothing has to be generated: the
// service is described here by hand.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const messageBytesMax = 64 << 20

// server counts the calls of Wait that were canceled and those that ran out of time.
type server struct {
	waiting, canceled, late atomic.Int64
}

// Echo answers with the message; metadata "x-…" of the request comes back as headers "got-x-…" and as trailers
// "end-x-…"; header "deadline-ms" is how long the server believes to have.
func (s *server) Echo(ctx context.Context, in *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
	asked, _ := metadata.FromIncomingContext(ctx)
	header, trailer := metadata.MD{}, metadata.MD{}
	for name, values := range asked {
		if strings.HasPrefix(name, "x-") {
			header["got-"+name], trailer["end-"+name] = values, values
		}
	}
	if deadline, ok := ctx.Deadline(); ok {
		header.Set("deadline-ms", strconv.FormatInt(time.Until(deadline).Milliseconds(), 10))
	}
	if err := grpc.SetHeader(ctx, header); err != nil {
		return nil, err
	}
	return in, grpc.SetTrailer(ctx, trailer)
}

// Fail ends with the status of metadata "code" and "message", without a reply: trailers only.
func (s *server) Fail(ctx context.Context, _ *emptypb.Empty) (*emptypb.Empty, error) {
	asked, _ := metadata.FromIncomingContext(ctx)
	code, err := strconv.Atoi(first(asked, "code"))
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "metadata: code is no number")
	}
	return nil, status.Error(codes.Code(code), first(asked, "message"))
}

// Wait waits until the client gives up or its time is over.
func (s *server) Wait(ctx context.Context, _ *emptypb.Empty) (*emptypb.Empty, error) {
	s.waiting.Add(1)
	<-ctx.Done()
	if ctx.Err() == context.Canceled {
		s.canceled.Add(1)
	} else {
		s.late.Add(1)
	}
	return nil, ctx.Err()
}

// Counts tells of Wait: "waiting canceled late".
func (s *server) Counts(context.Context, *emptypb.Empty) (*wrapperspb.StringValue, error) {
	return wrapperspb.String(fmt.Sprint(s.waiting.Load(), s.canceled.Load(), s.late.Load())), nil
}

// Collect answers with the number of bytes of all messages.
func (s *server) Collect(stream grpc.ServerStream) error {
	total := int64(0)
	for {
		in := new(wrapperspb.BytesValue)
		if err := stream.RecvMsg(in); err == io.EOF {
			return stream.SendMsg(wrapperspb.Int64(total))
		} else if err != nil {
			return err
		}
		total += int64(len(in.Value))
	}
}

// Repeat sends the numbers below the one asked for.
func (s *server) Repeat(stream grpc.ServerStream) error {
	in := new(wrapperspb.Int64Value)
	if err := stream.RecvMsg(in); err != nil {
		return err
	}
	for n := int64(0); n < in.Value; n++ {
		if err := stream.SendMsg(wrapperspb.Int64(n)); err != nil {
			return err
		}
	}
	return nil
}

// Chat sends each message back as it comes.
func (s *server) Chat(stream grpc.ServerStream) error {
	for {
		in := new(wrapperspb.BytesValue)
		if err := stream.RecvMsg(in); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := stream.SendMsg(in); err != nil {
			return err
		}
	}
}

func first(md metadata.MD, name string) string {
	if values := md.Get(name); len(values) > 0 {
		return values[0]
	}
	return ""
}

// unary is the handler of one method, from its typed form.
func unary[In any, Out any](name string, call func(*server, context.Context, *In) (Out, error)) grpc.MethodDesc {
	return grpc.MethodDesc{MethodName: name, Handler: func(srv any, ctx context.Context, decode func(any) error,
		_ grpc.UnaryServerInterceptor) (any, error) {
		in := new(In)
		if err := decode(in); err != nil {
			return nil, err
		}
		return call(srv.(*server), ctx, in)
	}}
}

func stream(name string, call func(*server, grpc.ServerStream) error, fromClient, fromServer bool) grpc.StreamDesc {
	return grpc.StreamDesc{StreamName: name, ClientStreams: fromClient, ServerStreams: fromServer,
		Handler: func(srv any, s grpc.ServerStream) error { return call(srv.(*server), s) }}
}

var service = grpc.ServiceDesc{
	ServiceName: "weft.interop.Interop",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{unary("Echo", (*server).Echo), unary("Fail", (*server).Fail),
		unary("Wait", (*server).Wait), unary("Counts", (*server).Counts)},
	Streams: []grpc.StreamDesc{stream("Collect", (*server).Collect, true, false),
		stream("Repeat", (*server).Repeat, false, true), stream("Chat", (*server).Chat, true, true)},
}

func main() {
	port := flag.Int("port", 9080, "port")
	flag.Parse()
	listener, err := net.Listen("tcp", fmt.Sprintf(":%d", *port))
	if err != nil {
		log.Fatal(err)
	}
	serving := grpc.NewServer(grpc.MaxRecvMsgSize(messageBytesMax), grpc.MaxSendMsgSize(messageBytesMax))
	serving.RegisterService(&service, &server{})
	fmt.Println("ready")
	log.Fatal(serving.Serve(listener))
}
