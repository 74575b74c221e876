// bench/peers/go/fetch.go - fetches by net/http.   Try: BENCH_URL=http://127.0.0.1/ go fetch 100
// SPDX-License-Identifier: MIT
package main

import (
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const fetches = 50000

func fetchRow(n int) {
	url := os.Getenv("BENCH_URL")
	client := &http.Client{Transport: &http.Transport{MaxIdleConns: n, MaxIdleConnsPerHost: n}}
	var left int64 = fetches
	var all sync.WaitGroup
	start := time.Now()
	for i := 0; i < n; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for atomic.AddInt64(&left, -1) >= 0 {
				answer, err := client.Get(url)
				if err != nil {
					fail(err.Error())
				}
				io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
				if answer.StatusCode != 200 {
					fail(answer.Status)
				}
			}
		}()
	}
	all.Wait()
	report("fetch", time.Since(start), fetches, memoryNow())
}
