// bench/peers/tokio - tokio's current_thread runtime; with several workers, multi_thread.
// Try: tokio yield 1000
// SPDX-License-Identifier: MIT
//
// Rows as in coir_bench.c and its companions; coord.rs has the latter. Tasks are stackless: each is
// the size of its state machine, and has no stack. Joining is awaiting the JoinHandle, waiting is a
// Notify: the cheapest ways tokio has.
mod coord;
mod echo;

use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
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

// yield and parked: one thread runs everything, so plain thread-local cells count.
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

async fn waves(row: &'static str, n: usize, size: usize) {
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

// On several workers main is a task too, as block_on's own thread is none of them.
fn run<F: Future<Output = ()> + Send + 'static>(workers: usize, main: F) {
    if workers == 1 {
        Builder::new_current_thread().build().unwrap().block_on(main);
    } else {
        let runtime = Builder::new_multi_thread().worker_threads(workers).build().unwrap();
        runtime.block_on(async { tokio::spawn(main).await.unwrap() });
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let number = |i: usize, default: &str| -> usize {
        args.get(i).map_or(default, |text| text).parse().unwrap_or(0)
    };
    let (n, workers) = (number(2, "0"), number(3, "1"));
    if args.len() > 4 || n == 0 || workers == 0 {
        eprintln!("usage: {} ROW N [WORKERS]", args[0]);
        std::process::exit(2);
    }
    match (args[1].as_str(), workers) {
        ("yield", 1) => run(1, yield_row(n)),
        ("spawn_waves", _) => run(workers, waves("spawn_waves", n, WAVE)),
        ("spawn_once", _) => run(workers, waves("spawn_once", n, n)),
        ("parked", 1) => run(1, parked_row(n)),
        ("chan_pingpong", _) => run(workers, coord::pingpong_row(n)),
        ("chan_unbuf", _) => run(workers, coord::chan_row("chan_unbuf", n, 1)),
        ("chan_buf128", _) => run(workers, coord::chan_row("chan_buf128", n, 128)),
        ("mutex", _) => run(workers, coord::mutex_row(n)),
        ("skynet", _) => run(workers, coord::skynet_row(n)),
        ("echo", 1) => echo::echo_row(&args[0], n),
        ("version", _) => {
            println!("{{\"row\": \"version\", \"version\": \"tokio {}\"}}", version())
        }
        (row, _) => {
            eprintln!("{}: no row '{}' with {} workers", args[0], row, workers);
            std::process::exit(2);
        }
    }
}
