#!/bin/bash
# Runs a check in guests, N (1) kernels at once, one line of verdict each:
# `run.sh [--check FILE] [--file SRC[:DEST]]... [--timeout S] [--smp N] [--memory MB] [--append WORDS] [--logs DIR] [--jobs N] [-v] [SERIES...]`
#
# Without SERIES: 5.10 6.1 6.12 7.x; what is not cached yet is fetched. Without --check the harness checks itself.
# FILE is a program or a script for /bin/sh (busybox) that exits 0 if all is well. Lines of it that begin with NOTE are
# shown beside the verdict. A kernel that complained in its log (BUG, WARNING, Oops) has failed.
# Exit status: 0 all passed, 1 some failed.

. "$(dirname "$0")/../servers/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
usage='run.sh [--check FILE] [--file SRC[:DEST]]... [--timeout S] [--smp N] [--memory MB] [--append WORDS] [--logs DIR] [--jobs N] [-v] [SERIES...]'

check='' logs='' jobs=1 verbose='' files=() boot=()
while [ $# -gt 0 ]; do
	case $1 in
	-v) verbose=1; shift; continue ;;
	-*) [ $# -ge 2 ] || srv_usage "$1 needs a value" "$usage" ;;
	*) break ;;
	esac
	case $1 in
	--check) check=$2 ;;
	--file) files+=("$2") ;;
	--logs) logs=$2 ;;
	--jobs) jobs=$2 ;;
	--timeout | --smp | --memory | --append) boot+=("$1" "$2") ;;
	*) srv_usage "unknown option '$1'" "$usage" ;;
	esac
	shift 2
done
[ $# -gt 0 ] || set -- 5.10 6.1 6.12 7.x
if [ -z "$check" ]; then
	check=$here/selfcheck.sh
	files+=("$(command -v openssl)")
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
logs=${logs:-$work}
mkdir -p "$logs"
"$here/mkinitramfs.sh" "$work/root.cpio.gz" --check "$check" ${files[@]+"${files[@]}"}

# Prints the reason when the guest's words mean failure, nothing when all is well.
reason() {
	local log=$1 status=$2
	case $status in
	0) ! grep -aq '^GUEST-COMPLAINTS: [1-9]' "$log" || echo "the kernel complained" ;;
	124) echo "no verdict in time" ;;
	125) echo "the guest died" ;;
	*) echo "exit status $status" ;;
	esac
}

# Runs the check on one kernel and says its verdict.
run_one() {
	local series=$1 dir log=$logs/kernel-$1.log began=$SECONDS status=0 why name
	dir=$("$here/fetch.sh" "$series" 2>"$work/fetch-$series.log") || {
		echo "kernel $series: FAILED, not to be had: $(tail -n 1 "$work/fetch-$series.log")"
		return 1
	}
	"$here/boot.sh" "$dir" "$work/root.cpio.gz" --log "$log" ${boot[@]+"${boot[@]}"} 2>"$work/boot-$series.log" || status=$?
	sed -i 's/\r$//' "$log"
	why=$(reason "$log" "$status")
	name="kernel $series ($(cut -d' ' -f1 "$dir/package"))"
	if [ -n "$why" ]; then
		echo "$name: FAILED, $why, $((SECONDS - began)) s; the end of what it said:"
		tail -n 60 "$log" | sed 's/^/    /'
		return 1
	fi
	echo "$name: ok, $((SECONDS - began)) s$(sed -n 's/^NOTE /; /p' "$log" | tr -d '\n')"
	[ -z "$verbose" ] || sed 's/^/    /' "$log"
}

# Verdicts come whole, in the order of the kernels.
pids=()
for series in "$@"; do
	while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n || true; done
	run_one "$series" >"$work/verdict-$series" &
	pids+=($!)
done
passed=0 failed=0
for pid in "${pids[@]}"; do
	if wait "$pid"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
	cat "$work/verdict-$1"
	shift
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
