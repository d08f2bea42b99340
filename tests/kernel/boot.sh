#!/bin/bash
# Boots one kernel with one root and ends with the guest's verdict:
# `boot.sh KERNEL INITRAMFS [--log FILE] [--timeout SECONDS] [--smp N] [--memory MB] [--append WORDS]`.
#
# INITRAMFS is a packed root (mkinitramfs.sh) or a folder, which is packed as it is. The serial line goes to
# stdout, or to the file of --log. Exit status: the N of the guest's line `GUEST-EXIT: N`; 124 the time was over;
# 125 the guest ended without that line (a panic, or no init).

. "$(dirname "$0")/../servers/lib.sh"
usage='boot.sh KERNEL INITRAMFS [--log FILE] [--timeout SECONDS] [--smp N] [--memory MB] [--append WORDS]'

[ $# -ge 2 ] || srv_usage "two arguments are needed" "$usage"
kernel=$1 root=$2 log='' timeout=120 smp=2 memory=1024 append=''
shift 2
while [ $# -gt 0 ]; do
	[ $# -ge 2 ] || srv_usage "$1 needs a value" "$usage"
	case $1 in
	--log) log=$2 ;;
	--timeout) timeout=$2 ;;
	--smp) smp=$2 ;;
	--memory) memory=$2 ;;
	--append) append=$2 ;;
	*) srv_usage "unknown option '$1'" "$usage" ;;
	esac
	shift 2
done

srv_need qemu-system-x86_64
[ ! -d "$kernel" ] || kernel=$kernel/vmlinuz
[ -f "$kernel" ] || srv_die "no kernel at $kernel: tests/kernel/fetch.sh gets some"

work=$(mktemp -d)
qemu=''
cleanup() {
	if [ -n "$qemu" ]; then
		kill -KILL "$qemu" 2>/dev/null || true
		wait "$qemu" 2>/dev/null || true
	fi
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 143' TERM INT

if [ -d "$root" ]; then
	(cd "$root" && find . -print0 | cpio --null --quiet -o -H newc -R 0:0) | gzip -1 >"$work/root.cpio.gz"
	root=$work/root.cpio.gz
fi
serial=${log:-$work/serial}
: >"$serial"

# cx16 is left out because TCG emulates cmpxchg16b by stopping all other CPUs, which makes the slab allocator crawl.
qemu-system-x86_64 -accel "${TAPLINE_QEMU_ACCEL:-tcg,thread=single}" -cpu max,-cx16 -smp "$smp" -m "$memory" -nodefaults -no-user-config \
	-display none -no-reboot -serial "file:$serial" -kernel "$kernel" -initrd "$root" \
	-append "console=ttyS0 quiet loglevel=3 panic=-1 oops=panic mitigations=off random.trust_cpu=on $append" \
	</dev/null >"$work/qemu.log" 2>&1 &
qemu=$!

qemu_gone() { [ -z "$(srv_start_time "$qemu")" ]; }
verdict=124
if srv_wait_until "$timeout" qemu_gone; then
	verdict=$(tr -d '\r' <"$serial" | sed -nE 's/^GUEST-EXIT: ([0-9]+)$/\1/p' | tail -n 1)
	verdict=${verdict:-125}
	qemu=''
fi
cat "$work/qemu.log" >&2
[ -n "$log" ] || tr -d '\r' <"$serial"
case $verdict in
124) srv_say "no verdict after $timeout s: the guest was ended" ;;
125) srv_say "the guest ended without a verdict; its last words:"; tr -d '\r' <"$serial" | tail -n 15 >&2 ;;
esac
exit "$verdict"
