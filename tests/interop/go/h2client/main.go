// SPDX-License-Identifier: Apache-2.0

// h2client asks one URL over HTTP/2 (prior knowledge, cleartext) from several goroutines until its stdin ends, then
// prints JSON of what came. It does what Go programs do: a connection that says GOAWAY gets no more requests, and what
// it did not take is asked again on another.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

const timeout = 20 * time.Second

type outcomes struct {
	mutex  sync.Mutex
	Served int      `json:"served"`
	Failed []string `json:"failed"`
	Dialed int      `json:"dialed"`
}

func (o *outcomes) add(err error) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if err != nil {
		o.Failed = append(o.Failed, err.Error())
		return
	}
	o.Served++
	if o.Served == 1 {
		fmt.Println("ready")
	}
}

func (o *outcomes) dial(ctx context.Context, network, address string, _ *tls.Config) (net.Conn, error) {
	o.mutex.Lock()
	o.Dialed++
	o.mutex.Unlock()
	return new(net.Dialer).DialContext(ctx, network, address)
}

func ask(client *http.Client, url string) error {
	reply, err := client.Get(url)
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	if _, err := io.Copy(io.Discard, reply.Body); err != nil {
		return fmt.Errorf("body: %w", err)
	}
	if reply.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", reply.StatusCode)
	}
	return nil
}

func main() {
	url := flag.String("url", "", "what to ask")
	count := flag.Int("streams", 8, "requests at a time")
	flag.Parse()
	seen := outcomes{Failed: []string{}}
	client := &http.Client{Timeout: timeout, Transport: &http2.Transport{AllowHTTP: true, DialTLSContext: seen.dial}}
	stop := make(chan struct{})
	var running sync.WaitGroup
	for n := 0; n < *count; n++ {
		running.Add(1)
		go func() {
			defer running.Done()
			for {
				select {
				case <-stop:
					return
				default:
					seen.add(ask(client, *url))
				}
			}
		}()
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	close(stop)
	running.Wait()
	_ = json.NewEncoder(os.Stdout).Encode(&seen)
}
