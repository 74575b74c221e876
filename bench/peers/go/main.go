// bench/peers/go - goroutines on as many Ps as there are workers (GOMAXPROCS).   Try: go yield 1000
// SPDX-License-Identifier: MIT
//
// Rows as in coir_bench.c and its companions; coord.go has the latter. Joining is a sync.WaitGroup,
// waiting a receive from a channel: the cheapest ways Go has.
package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	yields = 4000000
	warm   = 4
	wave   = 10000
)

type memory struct{ peak, rss, pte, maps int }

func statusKB(text, key string) int {
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, key+":") {
			kb, _ := strconv.Atoi(strings.Fields(line)[1])
			return kb
		}
	}
	return -1
}

func memoryNow() memory {
	status, _ := os.ReadFile("/proc/self/status")
	maps, _ := os.ReadFile("/proc/self/maps")
	text := string(status)
	return memory{statusKB(text, "VmHWM"), statusKB(text, "VmRSS"), statusKB(text, "VmPTE"),
		bytes.Count(maps, []byte("\n"))}
}

func report(row string, elapsed time.Duration, ops int, m memory) {
	fmt.Printf("{\"row\": %q, \"ns\": %.3f, \"ops\": %d, \"peak_kb\": %d, \"rss_kb\": %d, "+
		"\"pte_kb\": %d, \"maps\": %d}\n",
		row, float64(elapsed.Nanoseconds())/float64(ops), ops, m.peak, m.rss, m.pte, m.maps)
}

func yieldRow(n int) {
	var warmed, done int64
	var t0, t1 time.Time
	var all sync.WaitGroup
	each := yields / n
	all.Add(n)
	for i := 0; i < n; i++ {
		go func() {
			for i := 0; i < warm; i++ {
				runtime.Gosched()
			}
			if atomic.AddInt64(&warmed, 1) == int64(n) {
				t0 = time.Now()
			}
			for i := 0; i < each; i++ {
				runtime.Gosched()
			}
			if atomic.AddInt64(&done, 1) == int64(n) {
				t1 = time.Now()
			}
			all.Done()
		}()
	}
	all.Wait()
	report("yield", t1.Sub(t0), each*n, memoryNow())
}

func waves(row string, n, size int) {
	var all sync.WaitGroup
	ops := 0
	t0 := time.Now()
	for ; ops < n; ops += size {
		all.Add(size)
		for i := 0; i < size; i++ {
			go all.Done()
		}
		all.Wait()
	}
	report(row, time.Since(t0), ops, memoryNow())
}

func parkedRow(n int) {
	var parked int64
	var all sync.WaitGroup
	release := make(chan struct{})
	all.Add(n)
	t0 := time.Now()
	for i := 0; i < n; i++ {
		go func() {
			atomic.AddInt64(&parked, 1)
			<-release
			all.Done()
		}()
	}
	for atomic.LoadInt64(&parked) < int64(n) {
		runtime.Gosched()
	}
	// The last to count itself may have been preempted before its receive.
	runtime.Gosched()
	elapsed := time.Since(t0)
	m := memoryNow()
	close(release)
	all.Wait()
	report("parked", elapsed, n, m)
}

func main() {
	n, workers := 0, 1
	if len(os.Args) > 2 {
		n, _ = strconv.Atoi(os.Args[2])
	}
	if len(os.Args) > 3 {
		workers, _ = strconv.Atoi(os.Args[3])
	}
	if n < 1 || workers < 1 {
		fmt.Fprintf(os.Stderr, "usage: %s ROW N [WORKERS]\n", os.Args[0])
		os.Exit(2)
	}
	runtime.GOMAXPROCS(workers)
	switch row := os.Args[1]; row {
	case "yield":
		yieldRow(n)
	case "spawn_waves":
		waves(row, n, wave)
	case "spawn_once":
		waves(row, n, n)
	case "parked":
		parkedRow(n)
	case "chan_pingpong":
		pingpongRow(n)
	case "chan_unbuf":
		chanRow(row, n, 0)
	case "chan_buf128":
		chanRow(row, n, 128)
	case "mutex":
		mutexRow(n)
	case "skynet":
		skynetRow(n)
	case "accept":
		acceptRow(n)
	case "echo":
		echoRow(n)
	case "file_cached", "file_direct":
		fileRow(row, n)
	case "fetch":
		fetchRow(n)
	case "version":
		fmt.Printf("{\"row\": \"version\", \"version\": %q}\n", runtime.Version())
	default:
		fmt.Fprintf(os.Stderr, "%s: no row '%s'\n", os.Args[0], row)
		os.Exit(2)
	}
}
