#!/bin/bash
# Packs a guest's root: `mkinitramfs.sh OUT.cpio.gz --check FILE [SRC[:DEST]]...`.
#
# FILE becomes /check, what init runs. Each SRC goes to DEST, or to /bin under its own name; a folder is copied
# whole. The shared libraries of every program among them come along at the paths that the loader looks at, so
# that a dynamically linked program built here runs there. The rest is Debian's static busybox.

. "$(dirname "$0")/../servers/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
usage='mkinitramfs.sh OUT.cpio.gz --check FILE [SRC[:DEST]]...'

[ $# -ge 3 ] && [ "$2" = --check ] || srv_usage "wrong arguments" "$usage"
out=$1 check=$3
shift 3

srv_need cpio ldd busybox
busybox=$(command -v busybox)
! ldd "$busybox" >/dev/null 2>&1 || srv_die "$busybox is linked dynamically: install busybox-static"

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{bin,sbin,dev,lib,lib64,etc,usr/bin,usr/lib,usr/sbin}
cp -L "$busybox" "$root/bin/busybox"
for applet in $("$busybox" --list); do
	ln -s busybox "$root/bin/$applet" 2>/dev/null || true
done
printf 'root:x:0:0:root:/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
printf '127.0.0.1 localhost guest\n' >"$root/etc/hosts"
printf 'hosts: files\npasswd: files\ngroup: files\n' >"$root/etc/nsswitch.conf"
install -m 755 "$here/init" "$root/init"
install -m 755 "$check" "$root/check"

# The library lines of ldd: "name => /path (0x..)", or "/path (0x..)" for the loader itself.
libraries() {
	local missing
	missing=$(ldd "$1" 2>/dev/null | sed -n 's/ => not found$//p')
	[ -z "$missing" ] || srv_die "$1 needs libraries that are not installed: $missing"
	ldd "$1" 2>/dev/null | sed -nE 's/^.* => (\/[^ ]+) .*$/\1/p; s/^\s*(\/[^ ]+) .*$/\1/p'
}

add_libraries() {
	local library
	while read -r library; do
		[ -e "$root$library" ] || install -D -m 755 "$library" "$root$library"
	done < <(libraries "$1")
}

for pair in "$@"; do
	src=${pair%%:*} dest=/bin/$(basename "${pair%%:*}")
	[ "$pair" = "$src" ] || dest=${pair#*:}
	[ -e "$src" ] || srv_die "$src is not there: build it first"
	mkdir -p "$root$(dirname "$dest")"
	rm -rf "$root$dest" # an applet's link, if the program has such a name
	cp -rL "$src" "$root$dest"
	while IFS= read -r -d '' file; do
		# Only programs and libraries have an ELF head.
		! head -c 4 "$file" | grep -q ELF || add_libraries "$file"
	done < <(find "$root$dest" -type f \( -perm -100 -o -name '*.so*' \) -print0)
done
# glibc opens this one by itself when a thread is cancelled or ends by pthread_exit.
for library in /lib/x86_64-linux-gnu/libgcc_s.so.1; do
	if [ -e "$root/lib64/ld-linux-x86-64.so.2" ] && [ -e "$library" ] && [ ! -e "$root$library" ]; then
		install -D -m 755 "$library" "$root$library"
	fi
done

(cd "$root" && find . -print0 | cpio --null --quiet -o -H newc -R 0:0) | gzip -1 >"$out.tmp.$$"
mv "$out.tmp.$$" "$out"
