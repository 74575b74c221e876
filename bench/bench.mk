# bench/bench.mk - the benchmark programs. A peer whose tools are missing is left out, not an error.
# SPDX-License-Identifier: MIT

bench_dir   := $(BUILD)/bench
bench_progs := $(addprefix $(bench_dir)/,coir_bench load raw switch pthread pread fio fio_batch \
                                          boost_fiber asio uv go tokio curl)
bench_go    := $(wildcard bench/peers/go/*)
bench_tokio := $(wildcard bench/peers/tokio/Cargo.toml bench/peers/tokio/src/* \
                          bench/peers/tokio/.cargo/*)
# Boost is linked statically: its switch is then called as directly as ours.
bench_context := -Wl,-Bstatic -lboost_context -Wl,-Bdynamic
bench_fiber   := -Wl,-Bstatic -lboost_fiber -lboost_context -Wl,-Bdynamic

.PHONY: setup-bench
setup-bench:
	@tools/setup build bench

.PHONY: bench
bench: setup-bench ## measure against the peers; BENCH="--quick --rows yield" passes options on
	@$(MAKE) --no-print-directory bench-programs
	@bench/run.py --build $(BUILD) $(BENCH)

.PHONY: bench-programs
bench-programs: $(bench_progs) ## build what make bench runs

bench_obj := $(patsubst %,$(BUILD)/obj/%.o,$(wildcard bench/coir_*.c))

$(bench_dir)/coir_bench: $(bench_obj) $(BUILD)/libcoir-fetch.a $(BUILD)/libcoir.a
	@mkdir -p $(@D)
	$(say) link $@
	$(q)$(CC) $(ldflags) -o $@ $^ $(lib_libs) $(fetch_libs)

$(bench_dir)/curl: bench/peers/curl.c
	@mkdir -p $(@D)
	$(say) link $@
	$(q)$(CC) $(cflags) $(ldflags) -o $@ $< $(fetch_libs)

$(bench_dir)/switch: bench/switch.c $(BUILD)/libcoir.a
	@mkdir -p $(@D)
	$(say) link $@
	$(q)if echo 'int main(void) { return 0; }' | \
	    $(CC) -x c -o $@ - $(bench_context) 2>/dev/null; then \
	    set -- -DBENCH_BOOST $< $(BUILD)/libcoir.a $(bench_context); \
	else \
	    echo "bench: no Boost.Context: switch measures coir alone"; \
	    set -- $< $(BUILD)/libcoir.a $(lib_libs); \
	fi; \
	$(CC) $(cflags) $(ldflags) -o $@ "$$@"

$(bench_dir)/load: bench/load.c
	@mkdir -p $(@D)
	$(say) link $@
	$(q)$(CC) $(cflags) $(ldflags) -o $@ $<

$(bench_dir)/raw: bench/peers/raw.c
	@mkdir -p $(@D)
	$(say) link $@
	$(q)$(CC) $(cflags) $(ldflags) -o $@ $< -luring

$(bench_dir)/pthread: bench/peers/pthread.c
	@mkdir -p $(@D)
	$(say) link $@
	$(q)$(CC) $(cflags) $(ldflags) -o $@ $<

$(bench_dir)/pread: bench/peers/pread.c
	@mkdir -p $(@D)
	$(say) link $@
	$(q)$(CC) $(cflags) $(ldflags) -o $@ $<

$(bench_dir)/fio $(bench_dir)/fio_batch: bench/peers/fio.py
	@mkdir -p $(@D)
	$(q)if command -v fio >/dev/null; then \
	    install -m 755 $< $@; \
	else \
	    echo "bench: no fio: left out"; \
	fi

$(bench_dir)/boost_fiber: bench/peers/boost_fiber.cc
	@mkdir -p $(@D)
	$(say) link $@
	$(q)if echo '#include <boost/fiber/all.hpp>' | \
	    $(CXX) -x c++ -fsyntax-only - 2>/dev/null; then \
	    $(CXX) $(cxxflags) $(ldflags) -o $@ $< $(bench_fiber); \
	else \
	    echo "bench: no Boost.Fiber: left out"; \
	fi

$(bench_dir)/asio: bench/peers/asio.cc
	@mkdir -p $(@D)
	$(say) link $@
	$(q)if echo '#include <boost/asio.hpp>' | \
	    $(CXX) -x c++ -fsyntax-only - 2>/dev/null; then \
	    $(CXX) $(cxxflags) $(ldflags) -o $@ $<; \
	else \
	    echo "bench: no Boost.Asio: left out"; \
	fi

$(bench_dir)/uv: bench/peers/uv.c
	@mkdir -p $(@D)
	$(say) link $@
	$(q)if echo '#include <uv.h>' | $(CC) -x c -fsyntax-only - 2>/dev/null; then \
	    $(CC) $(cflags) $(ldflags) -o $@ $< -luv; \
	else \
	    echo "bench: no libuv: left out"; \
	fi

$(bench_dir)/go: $(bench_go)
	@mkdir -p $(@D)
	$(say) go $@
	$(q)if command -v go >/dev/null; then \
	    cd bench/peers/go && \
	    CGO_ENABLED=0 GOPROXY=off GOTOOLCHAIN=local go build -o $(abspath $@) .; \
	else \
	    echo "bench: no Go: left out"; \
	fi

# Built in a copy that is removed again: Cargo leaves a lock file, and *.d files that are not for
# this Makefile.
$(bench_dir)/tokio: $(bench_tokio)
	@mkdir -p $(@D)
	$(say) rust $@
	$(q)if command -v cargo >/dev/null && \
	    ls -d /usr/share/cargo/registry/tokio-1.* >/dev/null 2>&1; then \
	    rm -rf $@.tmp; cp -r bench/peers/tokio $@.tmp && \
	    (cd $@.tmp && cargo build --release --offline --quiet --target-dir target) && \
	    mv $@.tmp/target/release/bench-tokio $@ && rm -rf $@.tmp; \
	else \
	    echo "bench: no cargo or no librust-tokio-dev: tokio is left out"; \
	fi
