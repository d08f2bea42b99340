# tapline: one Makefile, no recursion. `make help` lists the targets.
O ?= build
V ?= 0
SAN ?=
CC ?= gcc
CLANG ?= clang
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool) bpftool)
CONFIG_PKGS := libbpf rdkafka libelf zlib yaml-0.1 libcurl sqlite3 libmicrohttpd libzstd libcap libdw libpcre2-8 libcrypto \
	libnghttp2 libpq
.DEFAULT_GOAL := all
MAKEFLAGS += --no-builtin-rules
ifeq ($(V),0)
Q := @
say = @printf '  %-7s %s\n' "$(1)" "$(2)"
else
Q :=
say =
endif

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wundef
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
CFLAGS ?= -O2 -g
ALL_CFLAGS = -std=gnu11 $(CFLAGS) $(WARN) -D_GNU_SOURCE -I. -I$(O) -MMD -MP -pthread \
	$(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer)
ALL_LDFLAGS = $(LDFLAGS) -pthread $(if $(SAN),-fsanitize=$(SAN))
PKG_CFLAGS = $(shell pkg-config --cflags $(CONFIG_PKGS) 2>/dev/null)
LIBS = $(shell pkg-config --libs $(CONFIG_PKGS) 2>/dev/null) -lm

# --- sources: every .c under these folders, minus the files with a main ---
MAINS := userspace/cli/tapline.c agent/main.c userspace/stream/main.c userspace/sink/main.c
LIB_SRCS := $(filter-out $(MAINS),$(shell find userspace agent -name '*.c' | sort))
LIB_OBJS := $(LIB_SRCS:%.c=$(O)/%.o)
PROGRAMS := $(O)/tapline $(O)/tapline-agent $(O)/tapline-stream $(O)/tapline-sink
UNIT_SRCS := $(sort $(wildcard tests/unit/test_*.c))
UNIT_BINS := $(UNIT_SRCS:tests/unit/%.c=$(O)/tests/unit/%)
TOOL_SRCS := $(sort $(wildcard tests/tools/*.c))
TOOL_BINS := $(TOOL_SRCS:tests/tools/%.c=$(O)/tests/tools/%)
CAPTURE_SRCS := $(sort $(wildcard tests/capture/*.c))
CAPTURE_BINS := $(CAPTURE_SRCS:tests/capture/%.c=$(O)/tests/capture/%)
CORRELATE_BINS := $(addprefix $(O)/tests/correlate/,load score trace_tool recording-agent servers/server)
REPLAY_OBJS := $(addprefix $(O)/tests/correlate/,trace.o replay.o baselines.o)
BENCH_SRCS := $(sort $(wildcard tests/bench/*.c))
BENCH_BINS := $(BENCH_SRCS:tests/bench/%.c=$(O)/tests/bench/%)

# --- the BPF side: small objects linked into one skeleton ---
ARCH := $(shell uname -m | sed 's/x86_64/x86/; s/aarch64/arm64/')
BPF_SRCS := $(sort $(wildcard bpf/*.bpf.c))
BPF_OBJS := $(BPF_SRCS:bpf/%.c=$(O)/bpf/%.o)
SKEL := $(O)/bpf/tapline.skel.h
BPF_CFLAGS = -target bpf -mcpu=v3 -D__TARGET_ARCH_$(ARCH) -D__bpf__ -O2 -g -Wall -Wextra -Werror \
	-Wno-unused-parameter -Wno-address-of-packed-member -I. -Ivmlinux/$(ARCH) -MMD -MP

.PHONY: all
all: $(PROGRAMS) ## Build the four programs into build/

$(O)/bpf/%.bpf.o: bpf/%.bpf.c
	$(call say,BPF,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c $< -o $@

$(O)/bpf/tapline.o: $(BPF_OBJS)
	$(call say,LINK,$@)
	$(Q)$(BPFTOOL) gen object $@ $^

$(SKEL): $(O)/bpf/tapline.o
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name tapline_bpf > $@.tmp && mv $@.tmp $@

$(patsubst %.c,$(O)/%.o,$(wildcard agent/capture*.c)): | $(SKEL)

$(O)/%.o: %.c | $(O)/version.h
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(PKG_CFLAGS) -c $< -o $@

# What .incbin takes in; the compiler does not name it.
$(O)/userspace/web/page.o: $(wildcard userspace/web/page/*)

$(O)/version.h: FORCE
	$(Q)mkdir -p $(O)
	$(Q)echo '#define TL_VERSION "$(VERSION)"' | cmp -s - $@ || echo '#define TL_VERSION "$(VERSION)"' > $@

$(O)/libtapline.a: $(LIB_OBJS)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

$(O)/tapline: $(O)/userspace/cli/tapline.o
$(O)/tapline-agent: $(O)/agent/main.o
$(O)/tapline-stream: $(O)/userspace/stream/main.o
$(O)/tapline-sink: $(O)/userspace/sink/main.o
$(PROGRAMS): $(O)/libtapline.a
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $(filter %.o,$^) $(O)/libtapline.a -o $@ $(LIBS)

$(O)/tests/unit/%: tests/unit/%.c $(O)/libtapline.a
	$(call say,TEST,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(PKG_CFLAGS) $< $(filter %.o,$^) $(O)/libtapline.a -o $@ $(ALL_LDFLAGS) $(LIBS) -lcmocka
$(O)/tests/unit/test_correlate_traces: $(REPLAY_OBJS)

$(O)/tests/tools/%: tests/tools/%.c $(O)/libtapline.a
	$(call say,TOOL,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(PKG_CFLAGS) $< $(O)/libtapline.a -o $@ $(ALL_LDFLAGS) $(LIBS)

$(O)/tests/capture/%: tests/capture/%.c $(O)/libtapline.a
	$(call say,TEST,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(PKG_CFLAGS) $< $(O)/libtapline.a -o $@ $(ALL_LDFLAGS) $(LIBS) -lcmocka

$(O)/tests/bench/%: tests/bench/%.c $(O)/libtapline.a
	$(call say,BENCH,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(PKG_CFLAGS) $< $(O)/libtapline.a -o $@ $(ALL_LDFLAGS) $(LIBS)

$(O)/tests/correlate/%: tests/correlate/%.c $(O)/libtapline.a
	$(call say,TOOL,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(PKG_CFLAGS) $< $(filter %.o,$^) $(O)/libtapline.a -o $@ $(ALL_LDFLAGS) $(LIBS)
$(O)/tests/correlate/trace_tool: $(REPLAY_OBJS)
# The agent with a recorder around its worker; nothing of it is in the product.
$(O)/tests/correlate/recording-agent: $(O)/agent/main.o $(O)/tests/correlate/record.o $(O)/tests/correlate/trace.o $(O)/libtapline.a
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -Wl,--wrap=tl_worker_event,--wrap=tl_corr_service,--wrap=tl_corr_tick \
		$(filter %.o,$^) $(O)/libtapline.a -o $@ $(LIBS)

# --- what people call ---
.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "  %-12s %s\n", $$1, $$2}'

.PHONY: deps test-deps
deps: ## Install missing packages of the build (Debian, root)
	$(Q).ci/deps deploy/packages.txt
test-deps: deps ## ... and of the tests
	$(Q).ci/deps tests/packages.txt

# The main job on real input: taps CMD, or a sample service. FOR=20s ends it by itself.
.PHONY: run
run: deps ## Build, and tap a sample service live (CMD='...' your own, FOR=20s to end)
	$(Q)$(MAKE) --no-print-directory all
	$(Q)CMD='$(CMD)' FOR='$(FOR)' WEB='$(WEB)' TAPLINE=$(abspath $(O))/tapline deploy/sample/run.sh

.PHONY: test
test: test-deps ## Every everyday test: units, capture, guest kernels, real Kafka and OpenSearch
	$(Q)$(MAKE) --no-print-directory all unit-bins capture-bins tool-bins correlate-bins
	$(Q)O=$(abspath $(O)) tests/run.sh

.PHONY: soak
soak: test-deps ## The long runs: every pipeline test, with more kills; every guest kernel
	$(Q)$(MAKE) --no-print-directory all tool-bins capture-bins
	$(Q)O=$(abspath $(O)) KILLS=200 DOWN=120 tests/run.sh kernel_all pipeline_all

.PHONY: unit unit-bins capture-bins tool-bins check
tool-bins: $(TOOL_BINS)
unit-bins: $(UNIT_BINS)
capture-bins: $(CAPTURE_BINS)
unit: $(UNIT_BINS) ## Build and run the unit tests only
	$(Q)O=$(abspath $(O)) tests/run.sh unit

check: ## Layers, header self-sufficiency, generated docs
	$(Q)tests/check.sh

.PHONY: bench
bench: test-deps ## Ratios against peers and floors, interleaved in one run (see docs/performance.md)
	$(Q)$(MAKE) --no-print-directory all bench-bins
	$(Q)O=$(abspath $(O)) tests/bench/run.sh
.PHONY: bench-search
bench-search: deps ## Write rate of the store, and p50 and p95 of searches over ROWS (1000000) records
	$(Q)$(MAKE) --no-print-directory $(O)/tests/bench/bench_search
	$(Q)dir=$$(mktemp -d) && $(O)/tests/bench/bench_search $${ROWS:-1000000} $$dir/store.db $${ROUNDS:-40}; \
		status=$$?; rm -rf $$dir; exit $$status
.PHONY: bench-sinks
bench-sinks: test-deps ## Sinks beside the tools that people would use by hand, same rows, one run
	$(Q)$(MAKE) --no-print-directory all bench-bins
	$(Q)O=$(abspath $(O)) tests/bench/sinks.sh
.PHONY: correlate correlate-bins
correlate-bins: $(CORRELATE_BINS)
correlate: test-deps ## The correlation bench, resumable: CELLS='go:64:keepalive' LINES=1000000; writes docs/correlation-results.md
	$(Q)$(MAKE) --no-print-directory all correlate-bins
	$(Q)O=$(abspath $(O)) tests/correlate/bench.py full $(if $(LINES),--lines $(LINES)) $(CELLS)
.PHONY: bench-bins
bench-bins: $(BENCH_BINS)

.PHONY: fuzz
fuzz: ## Fuzz the parsers of hostile bytes (clang libFuzzer), FUZZ_SECONDS each
	$(Q)tests/fuzz/run.sh

.PHONY: docs
docs: all ## Make docs/configuration.md, the settings in docs/sinks and the man pages again
	$(Q)$(O)/tapline config reference > docs/configuration.md
	$(Q)for f in docs/sinks/*.md; do $(O)/tapline config page $$f > $(O)/page.md && cp $(O)/page.md $$f || exit 1; done
	$(Q)mkdir -p $(O)/man && for c in run tail search status web agent stream 'sink elasticsearch' 'sink file' 'sink otlp' 'sink s3' 'sink store' 'sink timescale'; do \
		$(O)/tapline config man "$$c" > "$(O)/man/tapline-$$(echo $$c | tr ' ' -).1"; done

PREFIX ?= /usr/local
.PHONY: install
install: all docs ## Install programs and man pages under PREFIX
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 755 $(PROGRAMS) $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(O)/man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1

.PHONY: compile_commands.json
compile_commands.json: ## For editors
	$(Q)printf '[\n' > $@; first=1; for f in $(LIB_SRCS) $(MAINS); do [ -n "$$first" ] || printf ',\n' >> $@; first=; \
		printf '{"directory":"%s","file":"%s","command":"%s %s -c %s"}' "$(CURDIR)" "$$f" "$(CC)" \
		"$(subst ",\",$(ALL_CFLAGS) $(PKG_CFLAGS))" "$$f" >> $@; done; printf '\n]\n' >> $@

.PHONY: clean
clean: ## Remove build/
	rm -rf $(O)

.PHONY: FORCE
FORCE:
.DELETE_ON_ERROR:
.SECONDARY:
-include $(shell find $(O) -type f -name '*.d' 2>/dev/null)
