#!/bin/bash
# An S3 server on 127.0.0.1: versitygw over a folder, one access key, buckets made by `start --bucket NAME`.
#
# It is strict where it matters here: signatures, hashes of bodies, If-None-Match, missing buckets. The program is built once
# from its Go module (2 minutes) and kept in the cache; `build` does only that. `start` on a folder that exists goes on with its
# data, also after `kill`.

. "$(dirname "$0")/lib.sh"
usage='s3.sh start --dir D [--port P] [--bucket NAME]... [--tls] [--owner PID]
       s3.sh stop|kill|freeze|thaw|ready --dir D
       s3.sh build'

version=1.8.0 go_minimum=1.25 toolchain=1.26.0
dir='' port='' owner='' tls=''
buckets=()

verb=${1:-}
[ $# -eq 0 ] || shift
while [ $# -gt 0 ]; do
	case $1 in
	--tls) tls=yes; shift; continue ;;
	--dir | --port | --bucket | --owner) [ $# -ge 2 ] || srv_usage "$1 needs a value" "$usage" ;;
	*) srv_usage "unknown argument '$1'" "$usage" ;;
	esac
	case $1 in
	--dir) dir=$2 ;;
	--port) port=$2 ;;
	--bucket) buckets+=("$2") ;;
	--owner) owner=$2 ;;
	esac
	shift 2
done
[ -n "$dir" ] || [ "$verb" = build ] || srv_usage "--dir is missing" "$usage"

build_in() {
	local go proxy
	go=$(srv_new_go "$go_minimum" "$toolchain") || return 1
	# Without ",direct": a module that the proxy lacks is an error and no clone from some other host.
	proxy=$("$go" env GOPROXY)
	GOPROXY=${proxy%%,*} GOTOOLCHAIN=local GOFLAGS=-mod=mod GOBIN=$1 "$go" install -trimpath -ldflags="-s -w" \
		"github.com/versity/versitygw/cmd/versitygw@v$version"
}

# Prints the path of the program.
s3_program() {
	local cache program tmp
	cache=$(srv_cache_dir)
	program=$cache/versitygw-$version
	[ -x "$program" ] || {
		mkdir -p "$cache"
		exec 9>"$cache/.lock-versitygw"
		flock 9
	}
	[ -x "$program" ] || {
		tmp=$(mktemp -d "$cache/.tmp-versitygw.XXXXXX")
		srv_say "versitygw $version: building, about 2 minutes ..."
		(build_in "$tmp") >"$tmp/log" 2>&1 || {
			tail -n 5 "$tmp/log" >&2
			srv_die "versitygw $version: not built; is the Go module proxy reachable? see $tmp/log"
		}
		mv "$tmp/versitygw" "$program"
		rm -rf "$tmp"
	}
	exec 9>&-
	printf '%s\n' "$program"
}

s3_ready() { srv_port_open "$(srv_env_get "$dir" S3_PORT)"; }

make_tls() {
	[ -n "$tls" ] && [ ! -f "$dir/ca.pem" ] || return 0
	openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost -addext 'subjectAltName=IP:127.0.0.1,DNS:localhost' \
		-keyout "$dir/key.pem" -out "$dir/ca.pem" 2>/dev/null
}

s3_start() {
	local program bucket flags=()
	program=$(s3_program)
	mkdir -p "$dir/data"
	dir=$(cd "$dir" && pwd)
	! srv_alive "$dir" || srv_die "already running in $dir, pid $(cat "$dir/pid")"
	port=${port:-$(srv_env_get "$dir" S3_PORT)}
	port=${port:-$(srv_free_port)}
	srv_take_port "$port"
	make_tls
	[ ! -f "$dir/ca.pem" ] || flags=(--cert "$dir/ca.pem" --key "$dir/key.pem")
	for bucket in "${buckets[@]}"; do mkdir -p "$dir/data/$bucket"; done
	cat >"$dir/env" <<-END
		S3_ENDPOINT=http$([ ! -f "$dir/ca.pem" ] || echo s)://127.0.0.1:$port
		S3_PORT=$port
		S3_DATA=$dir/data
		S3_ACCESS_KEY=tapline
		S3_SECRET_KEY=tapline-secret
	END
	ROOT_ACCESS_KEY=tapline ROOT_SECRET_KEY=tapline-secret srv_spawn "$dir" "$program" --quiet --port "127.0.0.1:$port" \
		"${flags[@]}" posix "$dir/data"
	srv_own "$dir" "$owner"
	srv_await "$dir" 20 s3_ready
}

case $verb in
start) s3_start ;;
stop) srv_stop "$dir" 10 ;;
kill) srv_kill "$dir" ;;
freeze) srv_signal "$dir" STOP ;;
thaw) srv_signal "$dir" CONT ;;
ready) srv_alive "$dir" && s3_ready ;;
build) s3_program ;;
*) srv_usage "unknown verb '$verb'" "$usage" ;;
esac
