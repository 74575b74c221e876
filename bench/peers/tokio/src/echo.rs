// bench/peers/tokio/src/echo.rs - an echo server, one thread.   Try: tokio echo 50
// SPDX-License-Identifier: MIT
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Builder;

use crate::join_all;

const MESSAGE: usize = 64;

// As count_served in ../../../client.h: the clocks at the first answer and at the last.
thread_local! {
    static REQUESTS: Cell<usize> = const { Cell::new(0) };
    static CLOCKS: Cell<[Option<(Instant, i64)>; 2]> = const { Cell::new([None; 2]) };
}

fn cpu_ns() -> i64 {
    let mut t = MaybeUninit::<libc::timespec>::zeroed();
    unsafe {
        libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, t.as_mut_ptr());
        let t = t.assume_init();
        t.tv_sec * 1_000_000_000 + t.tv_nsec
    }
}

fn stamp(which: usize) {
    CLOCKS.with(|clocks| {
        let mut both = clocks.get();
        both[which] = Some((Instant::now(), cpu_ns()));
        clocks.set(both);
    });
}

fn count_served(bytes: usize, all: usize) {
    let before = REQUESTS.with(Cell::get);
    let now = before + bytes / MESSAGE;
    REQUESTS.with(|requests| requests.set(now));
    if before == 0 {
        stamp(0);
    }
    if now == all {
        stamp(1);
    }
}

async fn serve(mut stream: TcpStream, all: usize) {
    let mut bytes = [0; 4096];
    while let Ok(n) = stream.read(&mut bytes).await {
        if n == 0 || stream.write_all(&bytes[..n]).await.is_err() {
            return;
        }
        count_served(n, all);
    }
}

// As many descriptors as there may be.
fn allow_files() {
    let mut files = MaybeUninit::<libc::rlimit>::zeroed();
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, files.as_mut_ptr());
        let mut files = files.assume_init();
        files.rlim_cur = files.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &files);
    }
}

fn start_client(me: &str, listener: &TcpListener, n: usize, each: usize) -> Child {
    let load = Path::new(me).with_file_name("load");
    let numbers = [listener.local_addr().unwrap().port() as usize, n, each, 1];
    Command::new(load)
        .args(numbers.map(|number| number.to_string()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

async fn run(me: &str, n: usize) {
    let each = if n == 1 { 20_000 } else { 200_000 / n };
    let all = n * each + 1;
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(4096).unwrap();
    let client = start_client(me, &listener, n, each);
    let mut handles = Vec::with_capacity(n);
    for _ in 0..n {
        let (stream, _) = listener.accept().await.unwrap();
        handles.push(tokio::spawn(serve(stream, all)));
    }
    join_all(&mut handles).await;
    let said = String::from_utf8(client.wait_with_output().unwrap().stdout).unwrap();
    let mut trips = said.split_whitespace();
    let (p50, p99) = (trips.next().unwrap(), trips.next().unwrap());
    let [Some((t0, cpu0)), Some((t1, cpu1))] = CLOCKS.with(Cell::get) else {
        panic!("the connections ended early");
    };
    let ops = all - 1;
    println!(
        "{{\"row\": \"echo\", \"ns\": {:.3}, \"ops\": {}, \"cpu_ns\": {:.1}, \"p50_ns\": {}, \
         \"p99_ns\": {}}}",
        (t1 - t0).as_nanos() as f64 / ops as f64,
        ops,
        (cpu1 - cpu0) as f64 / ops as f64,
        p50,
        p99
    );
}

pub fn echo_row(me: &str, n: usize) {
    allow_files();
    Builder::new_current_thread().enable_io().build().unwrap().block_on(run(me, n));
}
