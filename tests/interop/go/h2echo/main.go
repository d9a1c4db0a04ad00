// SPDX-License-Identifier: Apache-2.0

// h2echo answers each HTTP/2 request (prior knowledge, cleartext) with JSON of what it saw: the HTTP/2 brother of
// tests/support/echo_server.py. Query parameters bend the answer:
//
//	status=N  bytes=N (a patterned body instead of JSON)  trailers=1 (x-checksum: SHA-256 of the body)
//	delay_ms=N (before the head)  hang=head|body (until the client gives up)  reset=head|body (RST_STREAM)
//	informational=N (a 1xx head first)  early=1 (answer before reading the body)  header_bytes=N (x-long: so many)
//
// GET /counts tells how many requests began, ended well and were given up by their clients; it does not count itself.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
)

const (
	piece       = 64 * 1024
	resetDelay  = 100 * time.Millisecond // so that what came before it has been taken
	streamsMax  = 1000
	connections = contextKey("connection")
)

type contextKey string

type counts struct {
	Began       int64 `json:"began"`
	Ended       int64 `json:"ended"`
	Canceled    int64 `json:"canceled"`
	Connections int64 `json:"connections"`
}

type server struct {
	name                                string
	began, ended, canceled, connections atomic.Int64
}

type saw struct {
	Pod        string      `json:"pod"`
	Method     string      `json:"method"`
	Path       string      `json:"path"`
	Authority  string      `json:"authority"`
	Version    string      `json:"version"`
	Headers    http.Header `json:"headers"`
	Trailers   http.Header `json:"trailers"`
	BodyBytes  int64       `json:"body_bytes"`
	BodySHA256 string      `json:"body_sha256"`
	Connection int64       `json:"connection"`
}

func main() {
	name := flag.String("name", "h2echo", "name in the answers")
	port := flag.Int("port", 9080, "port")
	flag.Parse()
	listener, err := net.Listen("tcp", fmt.Sprintf(":%d", *port))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("ready")
	log.Fatal((&server{name: *name}).serve(listener))
}

func (s *server) serve(listener net.Listener) error {
	transport := &http2.Server{MaxConcurrentStreams: streamsMax, MaxUploadBufferPerStream: 1 << 20,
		MaxUploadBufferPerConnection: 4 << 20}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		number := s.connections.Add(1)
		go transport.ServeConn(conn, &http2.ServeConnOpts{Handler: s,
			Context: context.WithValue(context.Background(), connections, number)})
	}
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/counts" {
		writeJSON(w, counts{s.began.Load(), s.ended.Load(), s.canceled.Load(), s.connections.Load()})
		return
	}
	s.began.Add(1)
	defer func() {
		if r.Context().Err() != nil {
			s.canceled.Add(1)
		}
	}()
	s.answer(w, r)
	s.ended.Add(1) // not reached by a reset, which is a panic
}

func (s *server) answer(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if query.Get("reset") == "head" {
		panic(http.ErrAbortHandler)
	}
	if query.Get("hang") == "head" {
		<-r.Context().Done()
		return
	}
	if early := number(query, "informational", 0); early > 0 {
		w.Header().Set("x-early", "1")
		w.WriteHeader(int(early))
		w.Header().Del("x-early")
	}
	digest, length := sha256.New(), int64(0)
	if !query.Has("early") {
		var err error
		if length, err = io.Copy(digest, r.Body); err != nil {
			return
		}
	}
	if delay := number(query, "delay_ms", 0); delay > 0 {
		select {
		case <-time.After(time.Duration(delay) * time.Millisecond):
		case <-r.Context().Done():
			return
		}
	}
	seen := saw{s.name, r.Method, r.URL.RequestURI(), r.Host, r.Proto, r.Header, r.Trailer, length,
		hex.EncodeToString(digest.Sum(nil)), r.Context().Value(connections).(int64)}
	s.send(w, r, query, seen)
}

func (s *server) send(w http.ResponseWriter, r *http.Request, query url.Values, seen saw) {
	w.Header().Set("x-pod", s.name)
	if size := number(query, "header_bytes", 0); size > 0 {
		w.Header().Set("x-long", strings.Repeat("x", int(size)))
	}
	if query.Has("trailers") {
		w.Header().Set("Trailer", "x-checksum")
	}
	status := int(number(query, "status", http.StatusOK))
	if !query.Has("bytes") {
		w.WriteHeader(status)
		writeJSON(w, seen)
		return
	}
	size := number(query, "bytes", 0)
	if !query.Has("trailers") {
		w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	}
	w.WriteHeader(status)
	digest := sha256.New()
	for sent := int64(0); sent < size; {
		part := pattern(sent, min(piece, size-sent))
		digest.Write(part)
		if _, err := w.Write(part); err != nil {
			return
		}
		sent += int64(len(part))
		if how := query.Get("reset") + query.Get("hang"); how == "body" {
			w.(http.Flusher).Flush()
			if query.Has("reset") {
				time.Sleep(resetDelay)
				panic(http.ErrAbortHandler)
			}
			<-r.Context().Done()
			return
		}
	}
	if query.Has("trailers") {
		w.Header().Set("x-checksum", hex.EncodeToString(digest.Sum(nil)))
	}
}

// pattern is any cut of the numbers 0, 1, 2 ... as 32 bits each: every cut can be told from every other.
func pattern(start, length int64) []byte {
	block := make([]byte, 0, length+8)
	for n := start / 4; n <= (start+length)/4+1; n++ {
		block = binary.BigEndian.AppendUint32(block, uint32(n))
	}
	return block[start%4 : start%4+length]
}

func writeJSON(w io.Writer, value any) {
	if err := json.NewEncoder(w).Encode(value); err != nil {
		log.Print(err)
	}
}

func number(query url.Values, name string, otherwise int64) int64 {
	value, err := strconv.ParseInt(query.Get(name), 10, 64)
	if err != nil {
		return otherwise
	}
	return value
}

func min(a, b int64) int64 {
	if a < b {
		return a
	}
	return b
}
