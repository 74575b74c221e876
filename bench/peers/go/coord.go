// bench/peers/go/coord.go - goroutines that wait for each other, and a server.
// Try: go mutex 1000 2
// SPDX-License-Identifier: MIT
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const (
	locks        = 1000
	requestSteps = 50 * 1000
	messageBytes = 64
	requests     = 20
)

// Two parties, two unbuffered channels; n round trips.
func pingpongRow(n int) {
	there, back := make(chan int), make(chan int)
	go func() {
		for v := range there {
			back <- v
		}
	}()
	t0 := time.Now()
	for i := 0; i < n; i++ {
		there <- i
		if <-back != i {
			fail("chan_pingpong: another number came back")
		}
	}
	elapsed := time.Since(t0)
	close(there)
	report("chan_pingpong", elapsed, n, memoryNow())
}

// One producer, one consumer; n messages.
func chanRow(row string, n, capacity int) {
	c := make(chan int, capacity)
	t0 := time.Now()
	go func() {
		for i := 0; i < n; i++ {
			c <- i
		}
		close(c)
	}()
	sum := 0
	for v := range c {
		sum += v
	}
	elapsed := time.Since(t0)
	if sum != n*(n-1)/2 {
		fail("a message was lost")
	}
	report(row, elapsed, n, memoryNow())
}

func mutexRow(n int) {
	var mutex sync.Mutex
	var all sync.WaitGroup
	var started int64
	value := 0
	all.Add(n)
	mutex.Lock()
	for i := 0; i < n; i++ {
		go func() {
			atomic.AddInt64(&started, 1)
			for i := 0; i < locks; i++ {
				mutex.Lock()
				value++
				runtime.Gosched()
				mutex.Unlock()
			}
			all.Done()
		}()
	}
	for atomic.LoadInt64(&started) < int64(n) {
		runtime.Gosched()
	}
	t0 := time.Now()
	mutex.Unlock()
	all.Wait()
	elapsed := time.Since(t0)
	if value != n*locks {
		fail("mutex: a count was lost")
	}
	report("mutex", elapsed, n*locks, memoryNow())
}

func skynet(c chan int, first, size int) {
	if size == 1 {
		c <- first
		return
	}
	children := make(chan int)
	for i := 0; i < 10; i++ {
		go skynet(children, first+i*(size/10), size/10)
	}
	sum := 0
	for i := 0; i < 10; i++ {
		sum += <-children
	}
	c <- sum
}

func skynetRow(n int) {
	c := make(chan int)
	t0 := time.Now()
	go skynet(c, 0, n)
	sum := <-c
	elapsed := time.Since(t0)
	if sum != n*(n-1)/2 {
		fail("skynet: a wrong sum")
	}
	report("skynet", elapsed, n, memoryNow())
}

// As in ../../work.h.
//
//go:noinline
func work(x uint64, steps int) uint64 {
	for i := 0; i < steps; i++ {
		x = x*6364136223846793005 + 1442695040888963407
	}
	return x
}

func serve(c net.Conn, all *sync.WaitGroup) {
	defer all.Done()
	defer c.Close()
	message := make([]byte, messageBytes)
	for {
		if _, err := io.ReadFull(c, message); err != nil {
			return
		}
		message[0] = byte(work(1, requestSteps))
		if _, err := c.Write(message); err != nil {
			return
		}
	}
}

// A listener, and the client in ../../load.c: n connections of so many requests. The channel brings
// what the client printed.
func listenForLoad(n, requests int, first string) (net.Listener, chan string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail(err.Error())
	}
	port := listener.Addr().(*net.TCPAddr).Port
	client := exec.Command(filepath.Join(filepath.Dir(os.Args[0]), "load"),
		strconv.Itoa(port), strconv.Itoa(n), strconv.Itoa(requests), first)
	client.Stderr = os.Stderr
	ended := make(chan string)
	go func() {
		said, err := client.Output()
		if err != nil {
			fail("the client: " + err.Error())
		}
		ended <- string(said)
	}()
	return listener, ended
}

func acceptConnection(listener net.Listener) net.Conn {
	c, err := listener.Accept()
	if err != nil {
		fail(err.Error())
	}
	return c
}

func acceptRow(n int) {
	listener, ended := listenForLoad(n, requests, "0")
	var all sync.WaitGroup
	var t0 time.Time
	all.Add(n)
	for i := 0; i < n; i++ {
		c := acceptConnection(listener)
		if i == 0 {
			t0 = time.Now()
		}
		go serve(c, &all)
	}
	all.Wait()
	elapsed := time.Since(t0)
	<-ended
	report("accept", elapsed, n*requests, memoryNow())
}

// As count_served in ../../client.h.
var served struct {
	requests, all int
	t0, t1        time.Time
	cpu0, cpu1    int64
}

func cpuNs() int64 {
	var t syscall.Timespec
	const processCPUTime = 2
	syscall.Syscall(syscall.SYS_CLOCK_GETTIME, processCPUTime, uintptr(unsafe.Pointer(&t)), 0)
	return t.Nano()
}

func countServed(bytes int) {
	before := served.requests
	served.requests += bytes / messageBytes
	if before == 0 {
		served.t0, served.cpu0 = time.Now(), cpuNs()
	}
	if served.requests == served.all {
		served.t1, served.cpu1 = time.Now(), cpuNs()
	}
}

func echo(c net.Conn, all *sync.WaitGroup) {
	defer all.Done()
	defer c.Close()
	bytes := make([]byte, 4096)
	for {
		n, err := c.Read(bytes)
		if err != nil {
			return
		}
		if _, err := c.Write(bytes[:n]); err != nil {
			return
		}
		countServed(n)
	}
}

// With one worker no two goroutines run at once, so they may share a plain count.
func echoRow(n int) {
	each := 200000 / n
	if n == 1 {
		each = 20000
	}
	served.all = n*each + 1
	listener, ended := listenForLoad(n, each, "1")
	var all sync.WaitGroup
	all.Add(n)
	for i := 0; i < n; i++ {
		go echo(acceptConnection(listener), &all)
	}
	all.Wait()
	var p50, p99 float64
	fmt.Sscan(<-ended, &p50, &p99)
	ops := served.all - 1
	elapsed := float64(served.t1.Sub(served.t0).Nanoseconds())
	fmt.Printf("{\"row\": \"echo\", \"ns\": %.3f, \"ops\": %d, \"cpu_ns\": %.1f, "+
		"\"p50_ns\": %.0f, \"p99_ns\": %.0f}\n", elapsed/float64(ops), ops,
		float64(served.cpu1-served.cpu0)/float64(ops), p50, p99)
}

func fail(why string) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(1)
}
