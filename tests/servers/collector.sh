#!/bin/bash
# An OpenTelemetry Collector on 127.0.0.1: receives OTLP (HTTP and gRPC) or reads a Kafka topic, and appends what it
# got to D/out.jsonl, one OTLP/JSON document per request.
#
# The program is built once by the Collector's own builder (about 4 minutes) and kept in the cache; `build` does only
# that. It has a lock of its own, so that nobody who fetches something else waits for it.

. "$(dirname "$0")/lib.sh"
usage='collector.sh start --dir D [--port P] [--kafka BROKERS [--topic T]] [--tls] [--owner PID]
       collector.sh stop|kill|ready --dir D
       collector.sh build'

version=0.155.0 stable=1.61.0 # of the components; the stable modules are numbered apart
toolchain=1.25.5
dir='' port='' kafka='' topic=otlp_logs tls='' owner=''

verb=${1:-}
[ $# -eq 0 ] || shift
while [ $# -gt 0 ]; do
	case $1 in
	--tls) tls=yes; shift; continue ;;
	--dir | --port | --kafka | --topic | --owner) [ $# -ge 2 ] || srv_usage "$1 needs a value" "$usage" ;;
	*) srv_usage "unknown argument '$1'" "$usage" ;;
	esac
	case $1 in
	--dir) dir=$2 ;;
	--port) port=$2 ;;
	--kafka) kafka=$2 ;;
	--topic) topic=$2 ;;
	--owner) owner=$2 ;;
	esac
	shift 2
done
[ -n "$dir" ] || [ "$verb" = build ] || srv_usage "--dir is missing" "$usage"

manifest() {
	local contrib=github.com/open-telemetry/opentelemetry-collector-contrib core=go.opentelemetry.io/collector
	cat <<-END2
		dist: { name: collector, output_path: dist, version: "$version" }
		receivers:
		  - gomod: $core/receiver/otlpreceiver v$version
		  - gomod: $contrib/receiver/kafkareceiver v$version
		exporters:
		  - gomod: $contrib/exporter/fileexporter v$version
		providers:
		  - gomod: $core/confmap/provider/fileprovider v$stable
		  - gomod: $core/confmap/provider/envprovider v$stable
	END2
}

build_in() {
	local go
	go=$(srv_new_go 1.25 $toolchain) || return 1
	# Without ",direct": a module that the proxy lacks is an error and no clone from some other host.
	GOPROXY=$("$go" env GOPROXY)
	export GOPROXY=${GOPROXY%%,*} GOTOOLCHAIN=local GOFLAGS=-mod=mod GOBIN=$tmp PATH=${go%/*}:$PATH
	cd "$tmp"
	manifest >builder.yaml
	"$go" install "go.opentelemetry.io/collector/cmd/builder@v$version" || return 1
	# It tidies for tests too, whose modules the proxy may lack: the build tells what is really missing.
	./builder --config builder.yaml --skip-compilation || [ -f dist/main.go ] || return 1
	cd dist
	"$go" build -trimpath -ldflags="-s -w" -o ../collector . || return 1
}

# Prints the path of the program.
collector_program() {
	local cache program tmp
	cache=$(srv_cache_dir)
	program=$cache/collector-$version
	[ -x "$program" ] || {
		mkdir -p "$cache"
		exec 9>"$cache/.lock-collector"
		flock 9
	}
	[ -x "$program" ] || {
		tmp=$(mktemp -d "$cache/.tmp-collector.XXXXXX")
		srv_say "collector $version: building, about 4 minutes ..."
		(build_in) >"$tmp/log" 2>&1 || {
			tail -n 5 "$tmp/log" >&2
			srv_die "collector $version: not built; is the Go module proxy reachable? see $tmp/log"
		}
		mv "$tmp/collector" "$program"
		rm -rf "$tmp"
	}
	exec 9>&-
	printf '%s\n' "$program"
}

write_config() {
	echo 'receivers:'
	if [ -n "$kafka" ]; then
		cat <<-END2
			  kafka:
			    brokers: ["$kafka"]
			    group_id: collector
			    initial_offset: earliest
			    logs: { topics: ["$topic"], encoding: otlp_proto }
		END2
	else
		cat <<-END2
			  otlp:
			    protocols:
			      http:
			        endpoint: 127.0.0.1:$port
		END2
		[ -z "$tls" ] || printf '        tls: { cert_file: "%s", key_file: "%s" }\n' "$dir/tls/server.pem" "$dir/tls/server.key"
	fi
	cat <<-END2
		exporters:
		  # Rotation, though never reached: without it the exporter answers before it writes, and a kill loses what it took.
		  file: { path: "$dir/out.jsonl", rotation: { max_megabytes: 100000 } }
		service:
		  telemetry: { metrics: { level: none } }
		  pipelines:
		    logs: { receivers: [$([ -n "$kafka" ] && echo kafka || echo otlp)], exporters: [file] }
	END2
}

make_tls() {
	[ ! -f "$dir/tls/server.pem" ] || return 0
	srv_need openssl
	mkdir -p "$dir/tls"
	openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost \
		-addext 'subjectAltName=IP:127.0.0.1,DNS:localhost' -keyout "$dir/tls/server.key" -out "$dir/tls/server.pem" 2>/dev/null
}

collector_ready() {
	if [ -n "$(srv_env_get "$dir" COLLECTOR_PORT)" ]; then
		srv_port_open "$(srv_env_get "$dir" COLLECTOR_PORT)"
	else
		grep -q 'Everything is ready' "$dir/log"
	fi
}

collector_start() {
	local program
	mkdir -p "$dir"
	dir=$(cd "$dir" && pwd)
	! srv_alive "$dir" || srv_die "already running in $dir, pid $(cat "$dir/pid")"
	program=$(collector_program)
	kafka=${kafka:-$(srv_env_get "$dir" COLLECTOR_KAFKA)}
	tls=${tls:-$(srv_env_get "$dir" COLLECTOR_TLS)}
	[ -z "$tls" ] || make_tls
	if [ -z "$kafka" ]; then
		port=${port:-$(srv_env_get "$dir" COLLECTOR_PORT)}
		port=${port:-$(srv_free_port)}
		srv_take_port "$port"
	fi
	cat >"$dir/env" <<-END2
		COLLECTOR_KAFKA=$kafka
		COLLECTOR_TLS=$tls
		COLLECTOR_PORT=$port
		COLLECTOR_URL=http${tls:+s}://127.0.0.1:$port
		COLLECTOR_OUT=$dir/out.jsonl
	END2
	write_config >"$dir/config.yaml"
	: >"$dir/log"
	srv_spawn "$dir" "$program" --config "file:$dir/config.yaml"
	srv_own "$dir" "$owner"
	srv_await "$dir" 30 collector_ready
}

case $verb in
start) collector_start ;;
stop) srv_stop "$dir" ;;
kill) srv_kill "$dir" ;;
ready) srv_alive "$dir" && collector_ready ;;
build) collector_program ;;
*) srv_usage "unknown verb '$verb'" "$usage" ;;
esac
