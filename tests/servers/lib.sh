# Shared helpers of the test servers; sourced by bash, never run.
#
# A server owns one folder D: D/pid (its process), D/pid.start (that process's start time, so that a
# recycled pid is never signalled), D/log (what it said), D/env (KEY=VALUE, what a client needs).
# Everything a server keeps lives below D; `start` on a folder that exists goes on with its data.

set -euo pipefail

srv_name=${srv_name:-$(basename "$0" .sh)}

# Prints one line of progress on stderr, so that stdout stays for results.
srv_say() { printf '%s: %s\n' "$srv_name" "$*" >&2; }

# Prints why and what to do, ends with status 1.
srv_die() { srv_say "$*"; exit 1; }

# Ends with status 2 after a wrong command line.
srv_usage() { srv_say "$1"; printf 'usage: %s\n' "$2" >&2; exit 2; }

# Prints the one folder of downloads and built programs.
srv_cache_dir() { printf '%s\n' "${TAPLINE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tapline}"; }

# Fails unless each program given is there; names the Debian package list.
srv_need() {
	local program
	for program in "$@"; do
		command -v "$program" >/dev/null ||
			srv_die "$program is missing: install the packages of tests/packages.txt (make deps)"
	done
}

# srv_wait_until SECONDS COMMAND...: repeats COMMAND until it succeeds; 1 when the time is over.
srv_wait_until() {
	local deadline=$((${EPOCHREALTIME/./} + $1 * 1000000))
	shift
	until "$@"; do
		[ "${EPOCHREALTIME/./}" -lt "$deadline" ] || return 1
		sleep 0.05
	done
}

# srv_port_open PORT: is somebody listening on 127.0.0.1:PORT?
srv_port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

srv_port_closed() { ! srv_port_open "$1"; }

# srv_take_port PORT: fails unless PORT is free or becomes so within some seconds (an old process going down).
srv_take_port() {
	srv_wait_until 5 srv_port_closed "$1" ||
		srv_die "port $1 is taken by another process: choose another with --port"
}

# srv_free_port [FROM [TO]]: prints a port of the range that nobody listens on now. The default range lies
# below the kernel's ephemeral ports, so that an outgoing connection cannot take it meanwhile.
srv_free_port() {
	local from=${1:-20000} to=${2:-29000} tries=100 port
	while [ $((tries--)) -gt 0 ]; do
		port=$((from + (RANDOM * 32768 + RANDOM) % (to - from)))
		srv_port_open "$port" || { printf '%s\n' "$port"; return 0; }
	done
	srv_die "no free port in $from-$to"
}

# Prints the start time of process $1 in clock ticks since boot; nothing when it is gone or a zombie.
# A zombie with threads left is still alive: a killed JVM's other threads hold its ports a little longer.
srv_start_time() {
	local line
	{ read -r line <"/proc/$1/stat"; } 2>/dev/null || return 0
	set -- ${line##*) }
	if [ "$1" = Z ] && [ "${18}" -le 1 ]; then
		return 0
	fi
	printf '%s\n' "${20}"
}

# Is the process recorded in D/pid alive, and still that process? D/pid.start absent means never.
srv_alive() {
	local dir=$1 pid start
	{ read -r pid <"$dir/pid" && read -r start <"$dir/pid.start"; } 2>/dev/null || return 1
	[ -n "$pid" ] && [ "$(srv_start_time "$pid")" = "$start" ]
}

# srv_spawn DIR COMMAND...: starts COMMAND in a session of its own, log appended to DIR/log, pid recorded.
srv_spawn() {
	local dir=$1 pid
	shift
	rm -f "$dir/pid" "$dir/pid.start"
	# 9 is the lock of fetch.sh: a server must not inherit it.
	setsid "$@" >>"$dir/log" 2>&1 </dev/null 9>&- &
	pid=$!
	srv_start_time "$pid" >"$dir/pid.start"
	printf '%s\n' "$pid" >"$dir/pid"
}

# srv_signal DIR SIGNAL: signals the recorded process if it still is that one.
srv_signal() {
	! srv_alive "$1" || kill "-$2" "$(cat "$1/pid")" 2>/dev/null || true
}

srv_dead() { ! srv_alive "$1"; }

# srv_stop DIR [GRACE_SECONDS]: TERM, then KILL after the grace; returns when the process is gone.
# Safe on a folder that does not exist and safe to repeat.
srv_stop() {
	local dir=$1 grace=${2:-20}
	srv_signal "$dir" TERM
	if ! srv_wait_until "$grace" srv_dead "$dir"; then
		srv_say "pid $(cat "$dir/pid") ignored SIGTERM for $grace s: killed"
		srv_kill "$dir"
	fi
	rm -f "$dir/pid" "$dir/pid.start"
}

# srv_kill DIR: SIGKILL, and waits until the process is gone: what a crash test calls.
srv_kill() {
	srv_signal "$1" KILL
	srv_wait_until 20 srv_dead "$1" || srv_die "pid $(cat "$1/pid") survives SIGKILL"
	rm -f "$1/pid" "$1/pid.start"
}

# srv_own DIR OWNER_PID: ends the server of DIR when OWNER_PID ends, so that none outlives a crashed test.
# The watcher ends by itself once the server was stopped.
srv_own() {
	[ -n "$2" ] || return 0
	setsid bash -c '
		. "$1"
		owner=$3 born=$(srv_start_time "$3") dir=$2 mine=$(cat "$2/pid")
		owned() { [ "$(cat "$dir/pid" 2>/dev/null)" = "$mine" ] && srv_alive "$dir"; }
		while owned && [ -n "$born" ] && [ "$(srv_start_time "$owner")" = "$born" ]; do sleep 0.5; done
		! owned || srv_stop "$dir" 5
	' srv_own "${BASH_SOURCE[0]}" "$1" "$2" >/dev/null 2>&1 </dev/null 9>&- &
}

# srv_await DIR SECONDS READY_COMMAND...: waits until ready; on failure shows the end of the log and stops it.
# READY_COMMAND sees the caller's variables, so the names here must not hide a `dir` of its own.
srv_await() {
	local srv_dir=$1 seconds=$2
	shift 2
	srv_ready_or_dead() { srv_dead "$srv_dir" || "$@"; }
	if srv_wait_until "$seconds" srv_ready_or_dead "$@" && srv_alive "$srv_dir"; then
		return 0
	fi
	if srv_alive "$srv_dir"; then
		srv_say "not ready after $seconds s; the end of $srv_dir/log:"
	else
		srv_say "ended while starting; the end of $srv_dir/log:"
	fi
	tail -n 30 "$srv_dir/log" >&2
	srv_stop "$srv_dir" 2
	exit 1
}

# srv_env_get DIR KEY: prints the value that an earlier start recorded, or nothing.
srv_env_get() { sed -n "s/^$2=//p" "$1/env" 2>/dev/null || true; }

# Prints the home of a JDK 17 (JAVA17_HOME, JAVA_HOME, /usr/lib/jvm): what these servers run on everywhere.
srv_java_home() {
	local home
	for home in "${JAVA17_HOME:-}" "${JAVA_HOME:-}" /usr/lib/jvm/java-17-* /usr/lib/jvm/*-17-* /usr/lib/jvm/*17*; do
		[ -x "$home/bin/javac" ] || continue
		grep -qs '^JAVA_VERSION="17' "$home/release" || continue
		printf '%s\n' "$home"
		return 0
	done
	srv_die "no JDK 17 in JAVA17_HOME, JAVA_HOME or /usr/lib/jvm: install openjdk-17-jdk-headless"
}

# srv_java_classes SOURCE CLASSPATH: compiles one source into the cache, once per content; prints the folder.
srv_java_classes() {
	local out tmp
	out=$(srv_cache_dir)/classes/$(printf '%s' "$2" | cat - "$1" | sha256sum | cut -c1-16)
	if [ ! -d "$out" ]; then
		mkdir -p "${out%/*}"
		tmp=$(mktemp -d "$out.XXXXXX")
		"$(srv_java_home)/bin/javac" -nowarn -proc:none -cp "$2" -d "$tmp" "$1" >&2
		mv -T "$tmp" "$out" 2>/dev/null || rm -rf "$tmp" # another run was first
	fi
	printf '%s\n' "$out"
}

# srv_new_go MINIMUM TOOLCHAIN: prints a go of at least MINIMUM: the one of the system, else TOOLCHAIN, which the system's go
# fetches as a module.
srv_new_go() {
	local go found
	for go in "${TAPLINE_GO:-}" "$(command -v go || true)" /usr/local/go/bin/go; do
		[ -n "$go" ] && found=$("$go" env GOVERSION 2>/dev/null) || continue
		[ "$(printf '%s\n' "$1" "${found#go}" | sort -V | head -n 1)" != "$1" ] || { printf '%s\n' "$go"; return 0; }
	done
	srv_need go
	go=$(cd "${TMPDIR:-/tmp}" && go mod download -json "golang.org/toolchain@v0.0.1-go$2.linux-$(go env GOARCH)" |
		sed -n 's/^\t"Dir": "\(.*\)",*/\1/p')
	[ -n "$go" ] || return 1
	chmod -R u+w "$go"
	chmod +x "$go/bin/go" "$go"/pkg/tool/*/*
	printf '%s\n' "$go/bin/go"
}
