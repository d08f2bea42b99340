#!/bin/bash
# One Elasticsearch node on 127.0.0.1, without security. It refuses to run as root, so it runs as nobody: its folder is one that
# nobody may enter. Otherwise as opensearch.sh.

. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
usage='elasticsearch.sh start --dir D [--port P] [--transport-port P] [--owner PID]
       elasticsearch.sh stop|kill|ready --dir D'

dir='' port='' transport_port='' owner=''
verb=${1:-}
[ $# -eq 0 ] || shift
while [ $# -gt 0 ]; do
	[ $# -ge 2 ] || srv_usage "$1 needs a value" "$usage"
	case $1 in
	--dir) dir=$2 ;;
	--port) port=$2 ;;
	--transport-port) transport_port=$2 ;;
	--owner) owner=$2 ;;
	*) srv_usage "unknown argument '$1'" "$usage" ;;
	esac
	shift 2
done
[ -n "$dir" ] || srv_usage "--dir is missing" "$usage"

search_ready() {
	curl -fsS -m 5 -o /dev/null "$(srv_env_get "$dir" ELASTICSEARCH_URL)/_cluster/health?wait_for_status=yellow&timeout=2s" 2>/dev/null
}

write_config() {
	cat > "$dir/config/elasticsearch.yml" <<-END
		network.host: 127.0.0.1
		http.port: $port
		transport.port: $transport_port
		discovery.type: single-node
		path.data: $dir/data
		path.logs: $dir/logs
		xpack.security.enabled: false
		xpack.ml.enabled: false
		cluster.routing.allocation.disk.threshold_enabled: false
		node.store.allow_mmap: false
	END
}

search_start() {
	local home
	srv_need curl setpriv
	mkdir -p "$dir/data" "$dir/logs" "$dir/tmp"
	dir=$(cd "$dir" && pwd)
	! srv_alive "$dir" || srv_die "already running in $dir, pid $(cat "$dir/pid")"
	home=$("$here/fetch.sh" elasticsearch)
	port=${port:-$(srv_env_get "$dir" ELASTICSEARCH_PORT)}
	port=${port:-$(srv_free_port)}
	transport_port=${transport_port:-$((port + 1))}
	srv_take_port "$port"
	# The distribution lies in a cache that nobody may not enter: the programs get a copy of their own.
	[ -d "$dir/home" ] || cp -r "$home" "$dir/home"
	[ -d "$dir/config" ] || cp -r "$home/config" "$dir/config"
	write_config
	printf 'ELASTICSEARCH_URL=http://127.0.0.1:%s\nELASTICSEARCH_PORT=%s\n' "$port" "$port" > "$dir/env"
	chmod 755 "$dir"
	chown -R 65534:65534 "$dir/data" "$dir/logs" "$dir/tmp" "$dir/config" "$dir/home"
	srv_spawn "$dir" setpriv --reuid=65534 --regid=65534 --clear-groups env "HOME=$dir/tmp" "ES_TMPDIR=$dir/tmp" \
		"ES_PATH_CONF=$dir/config" "ES_JAVA_HOME=$(srv_java_home)" \
		ES_JAVA_OPTS="-Xms384m -Xmx384m -XX:TieredStopAtLevel=1" "$dir/home/bin/elasticsearch"
	srv_own "$dir" "$owner"
	srv_await "$dir" 120 search_ready
}

case $verb in
start) search_start ;;
stop) srv_stop "$dir" 30 ;;
kill) srv_kill "$dir" ;;
ready) srv_alive "$dir" && search_ready ;;
*) srv_usage "unknown verb '$verb'" "$usage" ;;
esac
