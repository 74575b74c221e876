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
	"time"
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

// n connections of the client in ../../load.c.
func acceptRow(n int) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail(err.Error())
	}
	port := listener.Addr().(*net.TCPAddr).Port
	client := exec.Command(filepath.Join(filepath.Dir(os.Args[0]), "load"),
		strconv.Itoa(port), strconv.Itoa(n))
	client.Stderr = os.Stderr
	if err := client.Start(); err != nil {
		fail(err.Error())
	}
	ended := make(chan struct{})
	go func() {
		if err := client.Wait(); err != nil {
			fail("the client: " + err.Error())
		}
		close(ended)
	}()
	var all sync.WaitGroup
	var t0 time.Time
	all.Add(n)
	for i := 0; i < n; i++ {
		c, err := listener.Accept()
		if err != nil {
			fail(err.Error())
		}
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

func fail(why string) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(1)
}
