#!/bin/bash
# The services that tests tap: nginx in front of a Go and a threaded Python service, on 127.0.0.1.
#
# `start` runs all three, each in its own folder D/go, D/py, D/nginx (log, pid). A test that wants them under its own
# roof asks `commands` for the three command lines instead. Each service writes its truth (lines and bytes) to D/go.truth
# and D/py.truth at its end. `build` prints the Go program, built once per source and compiler (TAPLINE_GO names another).

. "$(dirname "$0")/../lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
usage='apps.sh build
       apps.sh commands --dir D [--port P] [--go-port P] [--py-port P] [--access-log FILE]
       apps.sh start    --dir D [--port P] [--go-port P] [--py-port P] [--access-log FILE] [--owner PID]
       apps.sh stop|ready --dir D'

dir='' port='' go_port='' py_port='' owner='' access_log=/dev/stdout
verb=${1:-}
[ $# -eq 0 ] || shift
while [ $# -gt 0 ]; do
	[ $# -ge 2 ] || srv_usage "$1 needs a value" "$usage"
	case $1 in
	--dir) dir=$2 ;;
	--port) port=$2 ;;
	--go-port) go_port=$2 ;;
	--py-port) py_port=$2 ;;
	--access-log) access_log=$2 ;;
	--owner) owner=$2 ;;
	*) srv_usage "unknown argument '$1'" "$usage" ;;
	esac
	shift 2
done
[ -n "$dir" ] || [ "$verb" = build ] || srv_usage "--dir is missing" "$usage"

find_go() {
	local go
	for go in "${TAPLINE_GO:-}" "$(command -v go || true)" /usr/lib/go-*/bin/go; do
		[ -z "$go" ] || [ ! -x "$go" ] || { printf '%s\n' "$go"; return 0; }
	done
	srv_die "no Go compiler: install golang-go, or name one in TAPLINE_GO"
}

# Builds without modules and without a network; the linker's symbols and DWARF stay, as in a usual build.
build() {
	local go cache out
	go=$(find_go)
	cache=$(srv_cache_dir)
	out=$cache/goservice-$({ GOTOOLCHAIN=local "$go" version; cat "$here/goservice/main.go"; } | sha256sum | cut -c1-16)
	if [ ! -x "$out" ]; then
		mkdir -p "$cache"
		srv_say "building goservice with $(GOTOOLCHAIN=local "$go" version) ..."
		(cd "$here/goservice" && GOTOOLCHAIN=local GO111MODULE=off CGO_ENABLED="${CGO_ENABLED:-0}" \
			GOCACHE="$cache/go-build" "$go" build -o "$out.tmp.$$" main.go) >&2 || srv_die "goservice does not build"
		mv "$out.tmp.$$" "$out"
	fi
	printf '%s\n' "$out"
}

# Chooses ports, writes D/nginx/nginx.conf and D/env; sets the three command lines.
prepare() {
	local user='' python=/usr/bin/python3
	srv_need nginx python3
	# The system's own, where a version manager's wrapper script comes first in PATH.
	[ -x "$python" ] || python=$(command -v python3)
	mkdir -p "$dir"/go "$dir"/py "$dir"/nginx/tmp
	dir=$(cd "$dir" && pwd)
	port=${port:-$(srv_env_get "$dir" APPS_PORT)}
	go_port=${go_port:-$(srv_env_get "$dir" APPS_GO_PORT)}
	py_port=${py_port:-$(srv_env_get "$dir" APPS_PY_PORT)}
	port=${port:-$(srv_free_port)} go_port=${go_port:-$(srv_free_port)} py_port=${py_port:-$(srv_free_port)}
	[ "$(id -u)" != 0 ] || user='user nobody nogroup;'
	sed -e "s|@USER@|$user|; s|@PORT@|$port|; s|@GO_PORT@|$go_port|; s|@PY_PORT@|$py_port|; s|@ACCESS_LOG@|$access_log|" \
		"$here/nginx.conf.in" >"$dir/nginx/nginx.conf"
	printf 'APPS_URL=http://127.0.0.1:%s\nAPPS_PORT=%s\nAPPS_GO_PORT=%s\nAPPS_PY_PORT=%s\nAPPS_GO_TRUTH=%s\nAPPS_PY_TRUTH=%s\n' \
		"$port" "$port" "$go_port" "$py_port" "$dir/go.truth" "$dir/py.truth" >"$dir/env"
	go_command=(env "TRUTH_FILE=$dir/go.truth" "$(build)" "$go_port")
	py_command=(env "TRUTH_FILE=$dir/py.truth" "$python" -u "$here/pyservice.py" "$py_port")
	nginx_command=("$(command -v nginx)" -e stderr -p "$dir/nginx/" -c nginx.conf)
}

print_command() { printf '%s=' "$1"; shift; printf '%q' "$(printf '%q ' "$@")"; echo; }

commands() {
	prepare
	print_command APPS_GO_COMMAND "${go_command[@]}"
	print_command APPS_PY_COMMAND "${py_command[@]}"
	print_command APPS_NGINX_COMMAND "${nginx_command[@]}"
}

listening() { srv_port_open "$(srv_env_get "$dir" "$1")"; }
ready() { listening APPS_GO_PORT && listening APPS_PY_PORT && listening APPS_PORT; }

start() {
	local name
	for name in go py nginx; do
		! srv_alive "$dir/$name" || srv_die "already running in $dir/$name, pid $(cat "$dir/$name/pid")"
	done
	prepare
	for name in "$port" "$go_port" "$py_port"; do srv_take_port "$name"; done
	# One run, one truth: what an earlier run logged would not add up.
	rm -f "$dir/go.truth" "$dir/py.truth" "$dir"/{go,py,nginx}/log
	srv_spawn "$dir/go" "${go_command[@]}"
	srv_spawn "$dir/py" "${py_command[@]}"
	srv_spawn "$dir/nginx" "${nginx_command[@]}"
	for name in nginx go py; do srv_own "$dir/$name" "$owner"; done
	for name in go:APPS_GO_PORT py:APPS_PY_PORT nginx:APPS_PORT; do
		(srv_await "$dir/${name%:*}" 20 listening "${name#*:}") || { stop; exit 1; }
	done
}

# nginx first, so that nothing is asked of a service that is going down.
stop() {
	srv_stop "$dir/nginx"
	srv_stop "$dir/go"
	srv_stop "$dir/py"
}

case $verb in
build) build ;;
commands) commands ;;
start) start ;;
stop) stop ;;
ready) ready ;;
*) srv_usage "unknown verb '$verb'" "$usage" ;;
esac
