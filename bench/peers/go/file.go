// bench/peers/go/file.go - random reads of a file, by ReadAt.   Try: go file_direct 32
// SPDX-License-Identifier: MIT
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

const (
	readBytes  = 4096
	dataBlocks = 65536
)

// Of all readers together: as data_reads in ../../data.h.
func dataReads(direct bool, readers int) int {
	switch {
	case !direct:
		return 400000
	case readers == 1:
		return 10000
	}
	return 100000
}

// As data_offset in ../../data.h.
func nextOffset(state *uint64) int64 {
	*state ^= *state << 13
	*state ^= *state >> 7
	*state ^= *state << 17
	return int64(*state%dataBlocks) * readBytes
}

// Aligned, as O_DIRECT wants it.
func readBuffer() []byte {
	bytes := make([]byte, 2*readBytes)
	over := int(uintptr(unsafe.Pointer(&bytes[0])) % readBytes)
	return bytes[readBytes-over:][:readBytes]
}

func readSome(file *os.File, number, reads int, all *sync.WaitGroup) {
	defer all.Done()
	bytes := readBuffer()
	state := uint64(number + 1)
	for i := 0; i < reads; i++ {
		if _, err := file.ReadAt(bytes, nextOffset(&state)); err != nil {
			fail(err.Error())
		}
	}
}

func fileRow(row string, n int) {
	flags := os.O_RDONLY
	if row == "file_direct" {
		flags |= syscall.O_DIRECT
	}
	file, err := os.OpenFile(filepath.Join(filepath.Dir(os.Args[0]), "data"), flags, 0)
	if err != nil {
		fail(err.Error())
	}
	each := dataReads(row == "file_direct", n) / n
	var all sync.WaitGroup
	all.Add(n)
	cpu0, t0 := cpuNs(), time.Now()
	for i := 0; i < n; i++ {
		go readSome(file, i, each, &all)
	}
	all.Wait()
	elapsed, cpu := time.Since(t0), cpuNs()-cpu0
	ops := each * n
	fmt.Printf("{\"row\": %q, \"ns\": %.3f, \"ops\": %d, \"cpu_ns\": %.1f}\n", row,
		float64(elapsed.Nanoseconds())/float64(ops), ops, float64(cpu)/float64(ops))
}
