#!/bin/sh
# In a guest: the capture tests on both kinds of ring, and with kretprobe.multi where the kernel has it. BACKENDS and RINGS
# (from --append) narrow it down. The first failed assertion of a run is its NOTE.
fail=0
run() {
	out=$(/bin/test_capture --writer=/bin/writer "$@" 2>&1)
	status=$?
	passed=$(echo "$out" | grep -c '       OK')
	skipped=$(echo "$out" | grep -c 'SKIPPED \] [a-z]')
	echo "NOTE $*: $passed passed, $((skipped)) skipped, status $status"
	echo "$out" | grep -v 'RUN\|       OK'
	[ $status -eq 0 ] || { fail=1; echo "NOTE $(echo "$out" | grep -m 2 'ERROR\|FAILED' | tr '\n' ' ')"; }
}
for backend in ${BACKENDS:-sys_exit multi}; do
	if [ "$backend" = multi ]; then
		case $(uname -r) in
		5.* | 6.[0-9].* | 6.1[0-5].*) continue ;;
		esac
	fi
	for ring in ${RINGS:-bpf perf}; do
		run "--backend=$backend" "--ring=$ring"
	done
done
exit $fail
