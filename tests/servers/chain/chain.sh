#!/bin/bash
# A chain of services that know nothing of tapline: nginx -> Go -> threaded Python -> Java, on 127.0.0.1.
#
# `build` makes the Go and Java programs, once per source and compiler. `run` runs all four in the foreground, each with the
# caller's stdout and stderr, until it is told to end; D/env says when all listen and where. Ground truth is D/truth.txt: what the
# load generator sent in X-Truth, and nginx's $request_id, a line each. --makes-id: nginx sends $request_id onward.

. "$(dirname "$0")/../lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
usage='chain.sh build
       chain.sh run --dir D [--ports FIRST] [--makes-id] [--no-keepalive]'

dir='' first='' set_id='' keepalive='keepalive 64; keepalive_requests 1000000;'
verb=${1:-}
[ $# -eq 0 ] || shift
while [ $# -gt 0 ]; do
	case $1 in
	--dir) dir=$2; shift ;;
	--ports) first=$2; shift ;;
	--makes-id) set_id='proxy_set_header X-Request-ID $request_id;' ;;
	--no-keepalive) keepalive='' ;;
	*) srv_usage "unknown argument '$1'" "$usage" ;;
	esac
	shift
done

find_go() {
	local go
	for go in "${TAPLINE_GO:-}" "$(command -v go || true)" /usr/lib/go-*/bin/go; do
		[ -z "$go" ] || [ ! -x "$go" ] || { printf '%s\n' "$go"; return 0; }
	done
	srv_die "no Go compiler: install golang-go, or name one in TAPLINE_GO"
}

# Sets $gohop and $classes.
build() {
	local go cache
	srv_need java javac
	go=$(find_go)
	cache=$(srv_cache_dir)
	mkdir -p "$cache"
	gohop=$cache/gohop-$({ GOTOOLCHAIN=local "$go" version; cat "$here/gohop/main.go"; } | sha256sum | cut -c1-16)
	if [ ! -x "$gohop" ]; then
		(cd "$here/gohop" && GOTOOLCHAIN=local GO111MODULE=off CGO_ENABLED=0 GOCACHE="$cache/go-build" \
			"$go" build -o "$gohop.tmp.$$" main.go) >&2 || srv_die "gohop does not build"
		mv "$gohop.tmp.$$" "$gohop"
	fi
	classes=$cache/javahop-$({ javac -version; cat "$here/Hop.java"; } 2>&1 | sha256sum | cut -c1-16)
	if [ ! -d "$classes" ]; then
		javac -d "$classes.tmp.$$" "$here/Hop.java" >&2 || srv_die "Hop.java does not build"
		mv "$classes.tmp.$$" "$classes"
	fi
}

pids=()
run() {
	local user="" python=/usr/bin/python3 port go_port py_port java_port one
	[ -n "$dir" ] || srv_usage "--dir is missing" "$usage"
	srv_need nginx python3
	build
	[ -x "$python" ] || python=$(command -v python3)
	mkdir -p "$dir/nginx/tmp"
	first=${first:-$(srv_free_port 20000 28990)}
	port=$first go_port=$((first + 1)) py_port=$((first + 2)) java_port=$((first + 3))
	for one in $port $go_port $py_port $java_port; do srv_take_port "$one"; done
	[ "$(id -u)" != 0 ] || user='user nobody nogroup;'
	sed -e "s|@USER@|$user|; s|@PORT@|$port|; s|@GO_PORT@|$go_port|; s|@SET_ID@|$set_id|; s|@KEEPALIVE@|$keepalive|" \
		"$here/nginx.conf.in" > "$dir/nginx/nginx.conf"
	java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xmx128m -cp "$classes" Hop "$java_port" & pids+=($!)
	"$python" -u "$here/pyhop.py" "$py_port" "$java_port" & pids+=($!)
	"$gohop" "$go_port" "http://127.0.0.1:$py_port" & pids+=($!)
	nginx -e stderr -p "$dir/nginx/" -c nginx.conf & pids+=($!)
	trap 'kill "${pids[@]}" 2> /dev/null; wait' EXIT
	trap 'exit 0' TERM INT
	for one in $port $go_port $py_port $java_port; do
		srv_wait_until 20 srv_port_open "$one" || srv_die "nobody listens on port $one"
	done
	printf 'CHAIN_URL=http://127.0.0.1:%s\n' "$port" > "$dir/env.tmp"
	mv "$dir/env.tmp" "$dir/env"
	wait
}

case $verb in
build) build; printf '%s\n' "$gohop" "$classes" ;;
run) run ;;
*) srv_usage "unknown verb '$verb'" "$usage" ;;
esac
