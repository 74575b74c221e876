// bench/peers/tokio - tokio's current_thread runtime.   Try: tokio yield 1000
// SPDX-License-Identifier: MIT
//
// Rows as in coir_bench.c. Tasks are stackless: each is the size of its state machine, and has no
// stack. Joining is awaiting the JoinHandle, waiting is a Notify: the cheapest ways tokio has.
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::{yield_now, JoinHandle};

const YIELDS: usize = 4_000_000;
const WARM: usize = 4;
const WAVE: usize = 10_000;

struct Memory {
    peak: i64,
    rss: i64,
    pte: i64,
    maps: usize,
}

fn memory_now() -> Memory {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let kb = |key: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse().ok())
            .unwrap_or(-1)
    };
    Memory { peak: kb("VmHWM:"), rss: kb("VmRSS:"), pte: kb("VmPTE:"), maps: maps.lines().count() }
}

fn report(row: &str, elapsed: Duration, ops: usize, m: Memory) {
    println!(
        "{{\"row\": \"{}\", \"ns\": {:.3}, \"ops\": {}, \"peak_kb\": {}, \"rss_kb\": {}, \
         \"pte_kb\": {}, \"maps\": {}}}",
        row,
        elapsed.as_nanos() as f64 / ops as f64,
        ops,
        m.peak,
        m.rss,
        m.pte,
        m.maps
    );
}

// One thread runs everything, so plain thread-local cells count.
thread_local! {
    static WARMED: Cell<usize> = const { Cell::new(0) };
    static DONE: Cell<usize> = const { Cell::new(0) };
    static PARKED: Cell<usize> = const { Cell::new(0) };
    static T0: Cell<Option<Instant>> = const { Cell::new(None) };
    static T1: Cell<Option<Instant>> = const { Cell::new(None) };
}

fn count(cell: &'static std::thread::LocalKey<Cell<usize>>) -> usize {
    cell.with(|c| {
        c.set(c.get() + 1);
        c.get()
    })
}

fn stamp(cell: &'static std::thread::LocalKey<Cell<Option<Instant>>>) {
    cell.with(|c| c.set(Some(Instant::now())));
}

async fn yielder(n: usize, each: usize) {
    for _ in 0..WARM {
        yield_now().await;
    }
    if count(&WARMED) == n {
        stamp(&T0);
    }
    for _ in 0..each {
        yield_now().await;
    }
    if count(&DONE) == n {
        stamp(&T1);
    }
}

async fn join_all(handles: &mut Vec<JoinHandle<()>>) {
    for handle in handles.drain(..) {
        handle.await.unwrap();
    }
}

async fn yield_row(n: usize) {
    let each = YIELDS / n;
    let mut handles: Vec<_> = (0..n).map(|_| tokio::spawn(yielder(n, each))).collect();
    join_all(&mut handles).await;
    let (t0, t1) = (T0.with(Cell::get).unwrap(), T1.with(Cell::get).unwrap());
    report("yield", t1 - t0, each * n, memory_now());
}

async fn waves(row: &str, n: usize, size: usize) {
    let mut handles = Vec::with_capacity(size);
    let mut ops = 0;
    let t0 = Instant::now();
    while ops < n {
        handles.extend((0..size).map(|_| tokio::spawn(async {})));
        join_all(&mut handles).await;
        ops += size;
    }
    report(row, t0.elapsed(), ops, memory_now());
}

async fn parked_row(n: usize) {
    let release = Arc::new(Notify::new());
    let t0 = Instant::now();
    let mut handles: Vec<_> = (0..n)
        .map(|_| {
            let release = release.clone();
            tokio::spawn(async move {
                count(&PARKED);
                release.notified().await;
            })
        })
        .collect();
    while PARKED.with(Cell::get) < n {
        yield_now().await;
    }
    let elapsed = t0.elapsed();
    let memory = memory_now();
    release.notify_waiters();
    join_all(&mut handles).await;
    report("parked", elapsed, n, memory);
}

// Which tokio this is, from the lock file that Cargo wrote.
fn version() -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let package = lock.split("name = \"tokio\"").nth(1).unwrap_or("");
    package.split('"').nth(1).unwrap_or("unknown")
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let n: usize = args.get(2).and_then(|n| n.parse().ok()).unwrap_or(0);
    if args.len() != 3 || n == 0 {
        eprintln!("usage: {} yield|spawn_waves|spawn_once|parked N", args[0]);
        std::process::exit(2);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    match args[1].as_str() {
        "yield" => runtime.block_on(yield_row(n)),
        "spawn_waves" => runtime.block_on(waves("spawn_waves", n, WAVE)),
        "spawn_once" => runtime.block_on(waves("spawn_once", n, n)),
        "parked" => runtime.block_on(parked_row(n)),
        "version" => println!("{{\"row\": \"version\", \"version\": \"tokio {}\"}}", version()),
        row => {
            eprintln!("{}: no row '{}'", args[0], row);
            std::process::exit(2);
        }
    }
}
