#!/bin/bash
# One OpenSearch node on 127.0.0.1, without security plugin: plain HTTP, no password.
#
# `start` makes the folder on the first call and goes on with its data on every later one, also after `kill`;
# ports and --set settings are remembered. --set makes faults on demand, for example
# --set indexing_pressure.memory.limit=2kb (whole-request 429).

. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
usage='opensearch.sh start --dir D [--port P] [--transport-port P] [--set KEY=VALUE]... [--owner PID]
       opensearch.sh stop|kill|ready --dir D'

dir='' port='' transport_port='' owner=''
settings=()

verb=${1:-}
[ $# -eq 0 ] || shift
while [ $# -gt 0 ]; do
	[ $# -ge 2 ] || srv_usage "$1 needs a value" "$usage"
	case $1 in
	--dir) dir=$2 ;;
	--port) port=$2 ;;
	--transport-port) transport_port=$2 ;;
	--set) settings+=("$2") ;;
	--owner) owner=$2 ;;
	*) srv_usage "unknown argument '$1'" "$usage" ;;
	esac
	shift 2
done
[ -n "$dir" ] || srv_usage "--dir is missing" "$usage"

search_ready() {
	local url
	url=$(srv_env_get "$dir" OPENSEARCH_URL)
	curl -fsS -m 5 -o /dev/null "$url/_cluster/health?wait_for_status=yellow&timeout=2s" 2>/dev/null
}

write_env() {
	cat <<-END
		OPENSEARCH_URL=http://127.0.0.1:$port
		OPENSEARCH_PORT=$port
		OPENSEARCH_TRANSPORT_PORT=$transport_port
	END
}

remember() {
	port=${port:-$(srv_env_get "$dir" OPENSEARCH_PORT)}
	port=${port:-$(srv_free_port)}
	transport_port=${transport_port:-$(srv_env_get "$dir" OPENSEARCH_TRANSPORT_PORT)}
	transport_port=${transport_port:-$((port + 1))}
	if [ ${#settings[@]} -gt 0 ]; then
		printf '%s\n' "${settings[@]}" >"$dir/settings"
	elif [ -f "$dir/settings" ]; then
		mapfile -t settings <"$dir/settings"
	fi
}

search_start() {
	local libs classes
	srv_need curl
	mkdir -p "$dir/config" "$dir/tmp"
	dir=$(cd "$dir" && pwd)
	! srv_alive "$dir" || srv_die "already running in $dir, pid $(cat "$dir/pid")"
	libs="$("$here/fetch.sh" opensearch 2>/dev/null || "$here/fetch.sh" opensearch)/lib/*"
	remember
	srv_take_port "$port"
	classes=$(srv_java_classes "$here/Search.java" "$libs")
	write_env >"$dir/env"
	srv_spawn "$dir" "$(srv_java_home)/bin/java" -Xms512m -Xmx1g -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
		-XX:-UsePerfData "-Djava.io.tmpdir=$dir/tmp" -cp "$classes:$libs" Search "$dir" "$port" "$transport_port" "${settings[@]}"
	srv_own "$dir" "$owner"
	# Replaying the translog after SIGKILL takes its time.
	srv_await "$dir" 120 search_ready
}

case $verb in
start) search_start ;;
stop) srv_stop "$dir" 30 ;;
kill) srv_kill "$dir" ;;
ready) srv_alive "$dir" && search_ready ;;
*) srv_usage "unknown verb '$verb'" "$usage" ;;
esac
