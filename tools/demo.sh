#!/bin/sh
# demo.sh - ten thousand downloads, a thousand at a time, on one OS thread; every byte is checked.
# SPDX-License-Identifier: MIT
#
# usage: tools/demo.sh [PAGES [FIBERS]]      BUILD (environment): where the programs are (build)
#
# Exit status: 0 every byte came right; 1 not so; 2 it could not start. Needs awk, cksum, cmp, sort.
set -eu
export LC_ALL=C

pages=${1:-10000}
fibers=${2:-1000}
delay_ms=20
sample=100
cd "$(dirname "$0")/.."
programs=$(cd "${BUILD:-build}/samples" 2>/dev/null && pwd) || programs=
dir=
server=

say() { printf '%s\n' "$*"; }
die() { status=$1; shift; say "demo: $*" >&2; exit "$status"; }
comma() { say "$1" | sed -e ':a' -e 's/^\([0-9][0-9]*\)\([0-9]\{3\}\)/\1,\2/' -e 'ta'; }

finish() {
    status=$?
    trap - EXIT
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    [ -z "$dir" ] || rm -rf "$dir"
    exit "$status"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

for program in static_server fetch_many blocking_client; do
    [ -x "$programs/$program" ] || die 2 "no $program in ${BUILD:-build}/samples: run make first"
done
case "$pages$fibers" in *[!0-9]*) die 2 "usage: tools/demo.sh [PAGES [FIBERS]]" ;; esac
[ "$pages" -ge 1 ] && [ "$fibers" -ge 1 ] || die 2 "usage: tools/demo.sh [PAGES [FIBERS]]"
[ "$pages" -ge "$sample" ] || sample=$pages
# Memory is the fastest place for many small files, where there is enough of it.
free_kb=$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print $4 }')
if [ -z "${TMPDIR:-}" ] && [ -w /dev/shm ] && [ "${free_kb:-0}" -ge $((pages * 12)) ]; then
    TMPDIR=/dev/shm
fi
dir=$(mktemp -d "${TMPDIR:-/tmp}/coir-demo.XXXXXX") || exit 2

# Page i has up to 120 lines, and every line names its page and itself: no two can be mistaken.
make_site() {
    mkdir "$dir/site"
    (cd "$dir/site" && mkdir $(awk 'BEGIN { for (i = 0; i < 100; i++) printf "d%02d ", i }'))
    awk -v pages="$pages" -v site="$dir/site/" -v list="$dir/paths" 'BEGIN {
        for (i = 0; i < pages; i++) {
            path = sprintf("d%02d/page%05d.html", i % 100, i)
            print path > list
            file = site path
            printf "<title>Page %d</title>\n", i > file
            for (n = i * 7919 % 121; n > 0; n--)
                printf "<p>Page %d, line %d: %d bales of coir, %d yards of rope.</p>\n",
                    i, n, i * n, i * 31 + n > file
            close(file)
        }
    }'
}

start_server() {
    : > "$dir/server.out"
    "$programs/static_server" --root "$dir/site" --port 0 --delay-ms "$delay_ms" \
        > "$dir/server.out" 2> "$dir/server.err" &
    server=$!
    tries=0
    while ! grep -q '^listening on ' "$dir/server.out"; do
        tries=$((tries + 1))
        if [ "$tries" -gt 100 ] || ! kill -0 "$server" 2>/dev/null; then
            cat "$dir/server.err" >&2
            die 2 "the server did not start"
        fi
        sleep 0.05
    done
    authority=$(sed -n 's/^listening on //p' "$dir/server.out")
    sed "s|^|http://$authority/|" "$dir/paths" > "$dir/urls"
}

say "coir demo: $(comma "$pages") downloads, $(comma "$fibers") at a time, on one OS thread"
say ""

make_site
bytes=$(cd "$dir/site" && find . -type f -exec cat {} + | wc -c | tr -d ' ')
say "The site      $(comma "$pages") generated pages, $(comma "$bytes") bytes."

start_server
say "The server    static_server --delay-ms $delay_ms: one fiber per connection, and each answer is"
say "              held back for $delay_ms ms, as if the server were far away."
say ""

say "\$ fetch_many -j $fibers --sums -i urls"
status=0
"$programs/fetch_many" -j "$fibers" -t 12 --sums -i "$dir/urls" \
    > "$dir/sums" 2> "$dir/fetch.err" || status=$?
head -n 12 "$dir/fetch.err" | sed 's/^/    /'
[ "$status" -eq 0 ] || die 1 "fetch_many ended with status $status"
# Threads named iou-... are the kernel's, for file operations that io_uring cannot do at once.
server_threads=$(cat "/proc/$server/task"/*/comm | grep -vc '^iou-') || true
kernel_threads=$(cat "/proc/$server/task"/*/comm | grep -c '^iou-') || true

# What came, by fetch_many's checksum of each body, and what was generated, by cksum(1).
sed "s|http://$authority/||" "$dir/sums" | sort > "$dir/came"
(cd "$dir/site" && find d* -type f -exec cksum {} +) | sort > "$dir/made"
cmp -s "$dir/made" "$dir/came" || {
    diff "$dir/made" "$dir/came" | head -n 5 >&2 || true
    die 1 "what came is not what was generated (cksum of the file <, of the download >)"
}
checked=$(comma "$(wc -l < "$dir/came" | tr -d ' ')")
say "    Every byte is right: checksum and length of all $checked pages agree with cksum(1)."
say ""

say "\$ blocking_client $sample < urls"
"$programs/blocking_client" "$sample" < "$dir/urls" > "$dir/blocking.out" ||
    die 1 "blocking_client failed"
sed 's/^/    /' "$dir/blocking.out"
say ""

seconds_of() { sed -n 's/.* in \([0-9.]*\) s:.*/\1/p' "$1"; }
ours=$(seconds_of "$dir/fetch.err")
theirs=$(seconds_of "$dir/blocking.out")
threads=$(sed -n 's/.*OS threads used: \([0-9]*\).*/\1/p' "$dir/fetch.err")
used=$(sed -n 's/^\([0-9]*\) fibers on .*/\1/p' "$dir/fetch.err")
awk -v ours="$ours" -v theirs="$theirs" -v sample="$sample" -v pages="$pages" \
    -v used="$(comma "$used")" -v threads="$threads" -v server="$server_threads" \
    -v kernel="$kernel_threads" 'BEGIN {
    all = theirs * pages / sample
    printf "%-44s %10s %12s\n", "", "time", "OS threads"
    printf "%-44s %8.1f s %12d\n", "blocking, one after the other (projected)", all, 1
    printf "%-44s %8.1f s %12d\n", "coir, " used " fibers", ours, threads
    printf "\n%.0f times as fast. A thread per download would have needed %s of them, and so\n",
        all / (ours > 0 ? ours : 0.01), used
    printf "would a thread per connection in the server, which used %d%s.\n", server,
        kernel ? " (and " kernel " of the kernel\047s, for io_uring)" : ""
}'
