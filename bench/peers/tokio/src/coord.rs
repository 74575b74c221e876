// bench/peers/tokio/src/coord.rs - tasks that wait for each other.   Try: tokio mutex 1000 2
// SPDX-License-Identifier: MIT
//
// tokio has no unbuffered channel: the smallest, which holds one message, stands in for it.
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, Mutex};
use tokio::task::yield_now;

use crate::{join_all, memory_now, report};

const LOCKS: usize = 1000;

// Two parties, two channels; n round trips.
pub async fn pingpong_row(n: usize) {
    let (there, mut take) = mpsc::channel(1);
    let (give, mut back) = mpsc::channel(1);
    let echo = tokio::spawn(async move {
        while let Some(v) = take.recv().await {
            give.send(v).await.unwrap();
        }
    });
    let t0 = Instant::now();
    for i in 0..n {
        there.send(i).await.unwrap();
        assert_eq!(back.recv().await, Some(i));
    }
    let elapsed = t0.elapsed();
    drop(there);
    echo.await.unwrap();
    report("chan_pingpong", elapsed, n, memory_now());
}

// One producer, one consumer; n messages.
pub async fn chan_row(row: &'static str, n: usize, capacity: usize) {
    let (give, mut take) = mpsc::channel(capacity);
    let t0 = Instant::now();
    tokio::spawn(async move {
        for i in 0..n {
            give.send(i).await.unwrap();
        }
    });
    let mut sum = 0;
    while let Some(v) = take.recv().await {
        sum += v;
    }
    let elapsed = t0.elapsed();
    assert_eq!(sum, n * (n - 1) / 2);
    report(row, elapsed, n, memory_now());
}

pub async fn mutex_row(n: usize) {
    let value = Arc::new(Mutex::new(0));
    let started = Arc::new(AtomicUsize::new(0));
    let first = value.lock().await;
    let mut handles: Vec<_> = (0..n)
        .map(|_| {
            let (value, started) = (value.clone(), started.clone());
            tokio::spawn(async move {
                started.fetch_add(1, Ordering::Relaxed);
                for _ in 0..LOCKS {
                    let mut guard = value.lock().await;
                    *guard += 1;
                    yield_now().await;
                }
            })
        })
        .collect();
    while started.load(Ordering::Relaxed) < n {
        yield_now().await;
    }
    let t0 = Instant::now();
    drop(first);
    join_all(&mut handles).await;
    let elapsed = t0.elapsed();
    assert_eq!(*value.lock().await, n * LOCKS);
    report("mutex", elapsed, n * LOCKS, memory_now());
}

fn skynet(first: usize, size: usize) -> Pin<Box<dyn Future<Output = usize> + Send>> {
    Box::pin(async move {
        if size == 1 {
            return first;
        }
        let child = size / 10;
        let handles: Vec<_> =
            (0..10).map(|i| tokio::spawn(skynet(first + i * child, child))).collect();
        let mut sum = 0;
        for handle in handles {
            sum += handle.await.unwrap();
        }
        sum
    })
}

pub async fn skynet_row(n: usize) {
    let t0 = Instant::now();
    let sum = tokio::spawn(skynet(0, n)).await.unwrap();
    let elapsed = t0.elapsed();
    assert_eq!(sum, n * (n - 1) / 2);
    report("skynet", elapsed, n, memory_now());
}
