#!/bin/bash
# Fuzzes the readers of hostile bytes with libFuzzer, under AddressSanitizer and UBSan, each target for so long and with so much
# memory. A finding is kept as tests/fuzz/found-TARGET-* and fails the run; `build/fuzz/bin/TARGET FILE` shows it again. What
# widened the coverage is kept in build/fuzz/corpus and goes on from there next time; the seeds are in tests/fuzz/seeds.
# usage: tests/fuzz/run.sh [TARGET...]
# environment: O (build folder), FUZZ_SECONDS (for each target at most, default 60), FUZZ_RUNS (inputs for each target, the same
# ones every time; default as many as the time allows, different every time), FUZZ_JOBS (targets at once, default 2)
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${O:-$PWD/build}/fuzz
seconds=${FUZZ_SECONDS:-60}
runs=${FUZZ_RUNS:--1}
jobs=${FUZZ_JOBS:-2}
clang=${CLANG:-clang}
packages='libbpf rdkafka libelf zlib yaml-0.1 libcurl sqlite3 libmicrohttpd libzstd libcap libdw libpcre2-8 libnghttp2'
# An empty span is NULL and 0: NULL + 0 is meant, and every compiler gives NULL.
flags="-std=gnu11 -O1 -g -D_GNU_SOURCE -I. -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize=pointer-overflow"
flags="$flags -fno-sanitize-recover=all"
mkdir -p "$out/obj" "$out/bin" "$out/corpus" "$out/logs"

# What the targets link, found by folder: nothing of it needs the kernel or a server.
sources() { ls agent/correlate/*.c userspace/base/*.c userspace/log/*.c userspace/parse/*.c userspace/record/*.c; }

# One build of all; only what changed is compiled again.
build() {
	local targets=$1
	{
		printf 'FLAGS := %s %s\nLIBS := %s\nall:%s\n' "$flags" "$(pkg-config --cflags $packages)" "$(pkg-config --libs $packages)" \
			"$(for t in $targets; do printf ' %s/bin/%s' "$out" "$t"; done)"
		printf '%s/lib.a: %s\n\t@rm -f $@; ar rcs $@ $^\n' "$out" "$(for s in $(sources); do printf '%s/obj/%s.o ' "$out" "${s%.c}"; done)"
		printf '%s/obj/%%.o: %%.c %s/Makefile\n\t@mkdir -p $(@D)\n\t@%s $(FLAGS) -fsanitize=fuzzer-no-link -MMD -MP -c $< -o $@\n' "$out" "$out" "$clang"
		printf '%s/bin/%%: tests/fuzz/%%.c %s/lib.a\n\t@%s $(FLAGS) -fsanitize=fuzzer -MMD -MP -MF $@.d $< %s/lib.a -o $@ $(LIBS) -lm\n' \
			"$out" "$out" "$clang" "$out"
		printf -- '-include $(shell find %s -name "*.d" 2>/dev/null)\n' "$out"
	} > "$out/Makefile.new"
	cmp -s "$out/Makefile.new" "$out/Makefile" || cp "$out/Makefile.new" "$out/Makefile"
	make -s --no-builtin-rules -j"$jobs" -f "$out/Makefile" all
}

# fuzz TARGET: the exit status is libFuzzer's.
fuzz() {
	local target=$1 log=$out/logs/$1.log corpus=$out/corpus/$1 seeds=tests/fuzz/seeds/$1 seed=0 status=0
	[ "$runs" = -1 ] || { corpus=$out/same/$target seed=1; rm -rf "$corpus"; }
	mkdir -p "$corpus"
	[ -d "$seeds" ] || seeds=
	# shellcheck disable=SC2086
	"$out/bin/$target" -max_total_time="$seconds" -runs="$runs" -seed=$seed -max_len=16384 -rss_limit_mb=2048 -timeout=20 -print_final_stats=1 \
		-artifact_prefix="tests/fuzz/found-$target-" "$corpus" $seeds > "$log" 2>&1 || status=$?
	if [ $status != 0 ]; then
		echo "FAILED $target:"
		grep -v '^#' "$log" | tail -60
		return 1
	fi
	printf '%-16s %10s runs, %6s features, %4s MB at most\n' "$target" \
		"$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" "$(sed -n 's/.* ft: \([0-9]*\).*/\1/p' "$log" | tail -1)" \
		"$(sed -n 's/^stat::peak_rss_mb: *//p' "$log")"
}

targets=${*:-$(cd tests/fuzz && ls fuzz_*.c | sed 's/\.c$//')}
build "$targets"
running=0 bad=0
for target in $targets; do
	fuzz "$target" &
	running=$((running + 1))
	[ $running -lt "$jobs" ] || { wait -n || bad=1; running=$((running - 1)); }
done
while [ $running -gt 0 ]; do wait -n || bad=1; running=$((running - 1)); done
[ $bad = 0 ] || exit 1
echo "RESULT $(echo "$targets" | wc -w) targets, nothing found"
