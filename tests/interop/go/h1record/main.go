// SPDX-License-Identifier: Apache-2.0

// h1record answers each HTTP/1 request with 200 and appends to a file how net/http understood it, one line of JSON.
// Its brothers are in tests/interop/recorders.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
)

type record struct {
	Method    string `json:"method"`
	Target    string `json:"target"`
	Host      string `json:"host"`
	BodyBytes int64  `json:"body_bytes"`
	Peer      string `json:"peer"`
}

func main() {
	port := flag.Int("port", 9080, "port")
	path := flag.String("log", "", "file to append to")
	flag.Parse()
	file, err := os.OpenFile(*path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", fmt.Sprintf(":%d", *port))
	if err != nil {
		log.Fatal(err)
	}
	var mutex sync.Mutex
	fmt.Println("ready")
	log.Fatal(http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		length, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			length = -1
		}
		mutex.Lock()
		defer mutex.Unlock()
		if err := json.NewEncoder(file).Encode(record{r.Method, r.RequestURI, r.Host, length, r.RemoteAddr}); err != nil {
			log.Fatal(err)
		}
	})))
}
