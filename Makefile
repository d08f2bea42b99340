# tapline: one Makefile, no recursion. `make help` lists the targets.
O ?= build
V ?= 0
SAN ?=
CC ?= gcc
CLANG ?= clang
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool) bpftool)
CONFIG_PKGS := libbpf rdkafka libelf zlib yaml-0.1 libcurl sqlite3 libmicrohttpd libzstd libcap libdw libpcre2-8
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

$(O)/agent/capture%.o: | $(SKEL)

$(O)/%.o: %.c | $(O)/version.h
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(PKG_CFLAGS) -c $< -o $@

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
	$(Q)$(CC) $(ALL_CFLAGS) $(PKG_CFLAGS) $< $(O)/libtapline.a -o $@ $(ALL_LDFLAGS) $(LIBS) -lcmocka

$(O)/tests/tools/%: tests/tools/%.c $(O)/libtapline.a
	$(call say,TOOL,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(PKG_CFLAGS) $< $(O)/libtapline.a -o $@ $(ALL_LDFLAGS) $(LIBS)

$(O)/tests/bench/%: tests/bench/%.c $(O)/libtapline.a
	$(call say,BENCH,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(PKG_CFLAGS) $< $(O)/libtapline.a -o $@ $(ALL_LDFLAGS) $(LIBS)

.PHONY: unit
unit: $(UNIT_BINS) ## Build and run the unit tests
	$(Q)for t in $(UNIT_BINS); do echo "== $$t"; $$t || exit 1; done

.PHONY: FORCE
FORCE:
.DELETE_ON_ERROR:
.SECONDARY:
-include $(shell find $(O) -name '*.d' 2>/dev/null)
