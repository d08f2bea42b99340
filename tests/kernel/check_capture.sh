#!/bin/sh
# In a guest: the capture tests on both kinds of ring, and with kretprobe.multi where the kernel has it (6.16 and newer).
# BACKENDS, RINGS and TESTS (from --append) narrow it down. The first failed assertions of a run are its NOTE.
fail=0
run() {
	passed=0 skipped=0 failed=''
	for t in ${TESTS:-capture account wire ends probe}; do
		out=$("/bin/test_$t" --writer=/bin/writer "$@" 2>&1) || failed="$failed $t: $(echo "$out" | grep -m 2 'ERROR\|FAILED' | tr '\n' ' ')"
		skipped=$((skipped + $(echo "$out" | grep -c '^\[  SKIPPED \]')))
		passed=$((passed + $(echo "$out" | grep -c '^\[       OK \]')))
		echo "$out" | grep -v 'RUN\|       OK'
	done
	echo "NOTE $1 $2: $passed passed, $skipped skipped${failed:+, FAILED$failed}"
	[ -z "$failed" ] || fail=1
}
for backend in ${BACKENDS:-sys_exit multi}; do
	case $backend-$(uname -r) in
	multi-5.* | multi-6.[0-9].* | multi-6.1[0-5].*) continue ;;
	esac
	for ring in ${RINGS:-bpf perf}; do
		run "--backend=$backend" "--ring=$ring"
	done
done
# A takeover patches code that other CPUs run, and qemu before 8.1 sometimes keeps the breakpoint of such a patch translated
# (its TCG reads code before it protects the page): one CPU for this one.
echo 0 > /sys/devices/system/cpu/cpu1/online
/bin/test_pins --writer=/bin/writer || { fail=1; echo "NOTE pins FAILED"; }
exit $fail
