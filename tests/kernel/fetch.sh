#!/bin/bash
# Puts kernel images of Debian into the cache: `fetch.sh [--refresh] [SERIES...]`, by default 5.10 6.1 6.12 7.x.
#
# A SERIES is the start of a version (6.18), or N.x for the newest of a major version. Of each the newest cloud
# kernel that Debian has is taken, of 5.10 the oldest (the floor of what tapline supports). Prints the folder
# of each on stdout: it holds vmlinuz, config where the package has one, and package (its name and version).
#
# The mirror is the one that this machine's own apt sources name. Other suites are read through a private apt
# root in the cache, so that the machine's apt lists and sources stay as they are.

. "$(dirname "$0")/../servers/lib.sh"

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
cache=$(srv_cache_dir)
root=$cache/apt
kernels=$cache/kernels
indexed=''

apt_options=(
	-o "Dir::State=$root/state" -o "Dir::State::status=$root/status" -o "Dir::Cache=$root/cache"
	-o "Dir::Etc::SourceList=$root/sources.list" -o Dir::Etc::SourceParts=/dev/null
	-o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null
	-o Acquire::Check-Valid-Until=false -o Acquire::Retries=3 -o Acquire::Languages=none
	-o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -o APT::Architecture=amd64 -o APT::Architectures=amd64
	-o APT::Sandbox::User=root
)

# Prints the base URL of the machine's own Debian archive ($1 empty) or security archive ($1 -security).
mirror() {
	apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
		awk -v security="$1" '$1 ~ "/debian" security "/?$" { print $1; exit }'
}

write_sources() {
	local main security suite
	main=$(mirror '')
	security=$(mirror -security)
	[ -n "$main" ] || srv_die "this machine's apt sources name no Debian archive: kernels cannot be fetched"
	security=${security:-${main%/}-security}
	[ -f "$keyring" ] || srv_die "$keyring is missing: install debian-archive-keyring"
	for suite in bullseye bookworm bookworm-backports trixie trixie-backports sid; do
		echo "deb [signed-by=$keyring] $main $suite main"
	done
	for suite in bullseye bookworm trixie; do
		echo "deb [signed-by=$keyring] $security $suite-security main"
	done
}

# Reads the package lists once per run; a suite that the mirror has no more is told and left out.
read_index() {
	[ -z "$indexed" ] || return 0
	srv_need apt-get apt-cache dpkg-deb
	srv_say "reading the package lists of other Debian suites ..."
	mkdir -p "$root/state/lists/partial" "$root/cache/archives/partial"
	: >"$root/status"
	write_sources >"$root/sources.list"
	apt-get "${apt_options[@]}" update 2>&1 | grep '^[EW]:' >&2 || true
	indexed=$(apt-cache "${apt_options[@]}" dumpavail |
		awk '/^Package:/ { name = $2 } /^Version:/ { print name, $2 }' |
		grep -E '^linux-(image|binary)-[0-9.]+[-+][^ ]*cloud-amd64 ' | sort -u -k1,1V)
	[ -n "$indexed" ] || srv_die "no cloud kernel is to be found; is the Debian mirror reachable?"
}

# Prints "PACKAGE VERSION" for a series. Where linux-binary-V is there, linux-image-V is an empty package.
choose() {
	local pattern pick='tail -n 1'
	pattern=$(printf '%s' "${1%.x}" | sed 's/\./\\./g')
	[ "$1" != 5.10 ] || pick='head -n 1'
	printf '%s\n' "$indexed" | sed -nE "s/^linux-(image|binary)-($pattern[.+-][^ ]*) (.*)/\2 \3 \1/p" |
		sort -k1,1V -k3,3 | awk '!seen[$1]++ { print }' | sort -k1,1V | $pick
}

# Unpacks the kernel of a package into a folder.
unpack() {
	local deb=$1 dir=$2 name
	dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$dir" --wildcards --no-wildcards-match-slash \
		--transform 's,.*/,,' './boot/vmlinuz-*' './boot/config-*' './usr/lib/modules/*/vmlinuz' 2>/dev/null || true
	for name in vmlinuz config; do
		mv "$dir/$name"-* "$dir/$name" 2>/dev/null || true
	done
	[ -f "$dir/vmlinuz" ]
}

fetch() {
	local series=$1 dir=$kernels/$1 tmp release version kind
	if [ -f "$dir/vmlinuz" ] && [ -z "$refresh" ]; then
		srv_say "kernel $series: cached, $(cat "$dir/package")"
		printf '%s\n' "$dir"
		return
	fi
	read_index
	read -r release version kind < <(choose "$series") || srv_die "Debian has no cloud kernel $series"
	srv_say "kernel $series: fetching linux-$kind-$release $version ..."
	tmp=$(mktemp -d "$kernels/.tmp-$series.XXXXXX")
	(cd "$tmp" && apt-get "${apt_options[@]}" -q -q download "linux-$kind-$release=$version" >apt.log 2>&1) ||
		{ tail -n 3 "$tmp/apt.log" >&2; rm -rf "$tmp"; srv_die "kernel $series: not fetched"; }
	unpack "$tmp"/*.deb "$tmp" || { rm -rf "$tmp"; srv_die "linux-$kind-$release holds no vmlinuz"; }
	rm -f "$tmp"/*.deb "$tmp/apt.log"
	echo "$release $version" >"$tmp/package"
	rm -rf "$dir"
	mv -T "$tmp" "$dir"
	srv_say "kernel $series: $release"
	printf '%s\n' "$dir"
}

refresh=''
[ "${1:-}" != --refresh ] || { refresh=1; shift; }
case ${1:-} in -*) srv_usage "unknown option '$1'" "fetch.sh [--refresh] [SERIES...]" ;; esac
[ $# -gt 0 ] || set -- 5.10 6.1 6.12 7.x
mkdir -p "$kernels"
exec 9>"$cache/.lock-kernels"
flock -n 9 || { srv_say "waiting for another fetch to end"; flock 9; }
for series in "$@"; do
	fetch "$series"
done
