#!/bin/bash
# Puts PostgreSQL 17 with TimescaleDB (Debian trixie's, the Apache edition) into the cache: `timescaledb.sh`; prints its folder.
# `timescaledb.sh --cached` fetches nothing: status 1 when it is not there.
#
# The packages come from the mirror that this machine's own apt sources name, through a private apt root, are checked by
# Debian's keys as always, and are only unpacked: no chroot, no maintainer scripts, nothing of the machine changes. Their
# programs are run by their own dynamic loader, because their libc is newer than an older machine's: bin/NAME in the cache
# is a script that does so, and bin/NAME.elf beside it the program.

. "$(dirname "$0")/lib.sh"

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
version=17
cache=$(srv_cache_dir)
out=$cache/timescaledb-$version

# Prints the base URL of the machine's own Debian archive.
mirror() {
	apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 -E '/debian/?$'
}

# apt_in DIR ARGS...: apt-get with lists, cache and status of its own.
apt_in() {
	local dir=$1
	shift
	apt-get -o "Dir::State=$dir/state" -o "Dir::State::status=$dir/status" -o "Dir::Cache=$dir/cache" \
		-o "Dir::Etc::SourceList=$dir/sources.list" -o Dir::Etc::SourceParts=/dev/null \
		-o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null \
		-o Acquire::Check-Valid-Until=false -o Acquire::Retries=3 -o Acquire::Languages=none -o APT::Sandbox::User=root \
		-o APT::Install-Recommends=false -o Debug::NoLocking=true -q -q -y "$@" >>"$dir/apt.log" 2>&1
}

# The loader is told argv[0], from which PostgreSQL finds its libraries and files wherever the folder lies.
write_wrapper() {
	cat <<-'END'
		#!/bin/sh
		bin=$(cd "$(dirname "$0")" && pwd)
		root=${bin%/usr/lib/postgresql/17/bin}
		name=$(basename "$0")
		lib=$root/usr/lib/x86_64-linux-gnu
		exec "$root/usr/lib64/ld-linux-x86-64.so.2" --library-path "$lib:$root/lib/x86_64-linux-gnu:$root/usr/lib/postgresql/17/lib" \
			--argv0 "$bin/$name" "$bin/$name.elf" "$@"
	END
}

unpack() {
	local dir=$1 deb name bin=$1/root/usr/lib/postgresql/17/bin
	mkdir "$dir/root"
	for deb in "$dir"/apt/cache/archives/*.deb; do
		dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$dir/root" --exclude './usr/share/doc*' --exclude './usr/share/man*' \
			--exclude './usr/share/locale*' --exclude './dev*' --exclude '*/libLLVM*' --exclude '*/libz3*' --exclude '*/libperl*' --exclude './usr/share/perl*' --no-same-owner
	done
	# Packages of a merged /usr leave the loader in usr/lib/x86_64-linux-gnu.
	[ -e "$dir/root/usr/lib64/ld-linux-x86-64.so.2" ] || {
		mkdir -p "$dir/root/usr/lib64"
		ln -s ../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 "$dir/root/usr/lib64/ld-linux-x86-64.so.2"
	}
	for name in postgres initdb psql pg_dump; do
		[ -e "$bin/$name" ] || continue
		mv "$bin/$name" "$bin/$name.elf"
		write_wrapper >"$bin/$name"
		chmod 755 "$bin/$name"
	done
}

make_it() {
	local dir=$1 main
	srv_need apt-get dpkg-deb
	[ "$(uname -m)" = x86_64 ] || srv_die "only made for x86_64 here"
	[ -f "$keyring" ] || srv_die "$keyring is missing: install debian-archive-keyring"
	main=$(mirror) || srv_die "this machine's apt sources name no Debian archive"
	mkdir -p "$dir/apt/state/lists/partial" "$dir/apt/cache/archives/partial"
	: >"$dir/apt/status"
	echo "deb [signed-by=$keyring] $main trixie main" >"$dir/apt/sources.list"
	apt_in "$dir/apt" update || srv_die "the lists of Debian trixie cannot be read, see $dir/apt/apt.log"
	apt_in "$dir/apt" install --download-only postgresql-17 postgresql-17-timescaledb ||
		srv_die "the packages cannot be fetched, see $dir/apt/apt.log"
	unpack "$dir"
	rm -rf "$dir/apt"
	"$dir/root/usr/lib/postgresql/17/bin/postgres" --version >&2 || srv_die "the unpacked server does not run"
}

[ "${1:-}" != --cached ] || { [ ! -d "$out" ] || printf '%s\n' "$out"; [ -d "$out" ]; exit; }
mkdir -p "$cache"
exec 9>"$cache/.lock-timescaledb"
flock 9
if [ ! -d "$out" ]; then
	began=$SECONDS
	srv_say "fetching PostgreSQL 17 with TimescaleDB from Debian trixie ..."
	tmp=$(mktemp -d "$cache/.tmp-timescaledb.XXXXXX")
	chmod 755 "$tmp"
	make_it "$tmp"
	mv -T "$tmp" "$out"
	srv_say "fetched in $((SECONDS - began)) s, $(du -sm "$out" | cut -f1) MB"
fi
printf '%s\n' "$out"
