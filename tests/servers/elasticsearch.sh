#!/bin/bash
# One Elasticsearch node on 127.0.0.1, without security; with --secure it speaks HTTPS only, by a certificate of the authority
# D/tls/ca.pem, and asks for credentials: the user elastic has the password in D/password (D/env names both). It refuses to run as root, so it runs as nobody: its folder is one that
# nobody may enter. Otherwise as opensearch.sh.

. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
usage='elasticsearch.sh start --dir D [--port P] [--transport-port P] [--secure] [--owner PID]
       elasticsearch.sh stop|kill|ready --dir D
       elasticsearch.sh users --dir D ARGS...     its own tool: users and roles in files; seen a second later'

dir='' port='' transport_port='' owner='' secure=''
verb=${1:-}
[ $# -eq 0 ] || shift
while [ $# -gt 0 ]; do
	[ "$1" != --secure ] || { secure=yes; shift; continue; }
	case $1 in --dir | --port | --transport-port | --owner) [ $# -ge 2 ] || srv_usage "$1 needs a value" "$usage" ;; esac
	case $1 in
	--dir) dir=$2 ;;
	--port) port=$2 ;;
	--transport-port) transport_port=$2 ;;
	--owner) owner=$2 ;;
	*) break ;;
	esac
	shift 2
done
[ $# -eq 0 ] || [ "$verb" = users ] || srv_usage "unknown argument '$1'" "$usage"
[ -n "$dir" ] || srv_usage "--dir is missing" "$usage"

search_ready() {
	local as=()
	[ -z "$(srv_env_get "$dir" ELASTICSEARCH_CA)" ] || as=(--cacert "$dir/tls/ca.pem" -u "elastic:$(cat "$dir/password")")
	curl -fsS -m 5 "${as[@]}" -o /dev/null "$(srv_env_get "$dir" ELASTICSEARCH_URL)/_cluster/health?wait_for_status=yellow&timeout=2s" 2>/dev/null
}

write_config() {
	cat > "$dir/config/elasticsearch.yml" <<-END
		network.host: 127.0.0.1
		http.port: $port
		transport.port: $transport_port
		discovery.type: single-node
		path.data: $dir/data
		path.logs: $dir/logs
		xpack.security.enabled: $([ -n "$secure" ] && echo true || echo false)
		xpack.ml.enabled: false
		cluster.routing.allocation.disk.threshold_enabled: false
		node.store.allow_mmap: false
	END
	[ -z "$secure" ] || cat >> "$dir/config/elasticsearch.yml" <<-END
		resource.reload.interval.high: 1s
		xpack.security.http.ssl.enabled: true
		xpack.security.http.ssl.key: $dir/config/tls.key
		xpack.security.http.ssl.certificate: $dir/config/tls.crt
	END
}

# An authority of our own, a certificate for 127.0.0.1 and localhost, and the first password; once per folder.
make_secure() {
	local tls=$dir/tls
	[ ! -f "$tls/ca.pem" ] || return 0
	srv_need openssl
	mkdir -p "$tls"
	openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj '/CN=tapline test CA' -keyout "$tls/ca.key" -out "$tls/ca.pem" 2> /dev/null
	openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout "$dir/config/tls.key" -out "$tls/server.csr" 2> /dev/null
	openssl x509 -req -days 30 -in "$tls/server.csr" -CA "$tls/ca.pem" -CAkey "$tls/ca.key" -CAcreateserial \
		-extfile <(echo 'subjectAltName=IP:127.0.0.1,DNS:localhost') -out "$dir/config/tls.crt" 2> /dev/null
	(umask 077; openssl rand -hex 12 | tr -d '\n' > "$dir/password")
	its_tool elasticsearch-keystore create >> "$dir/log" 2>&1
	its_tool elasticsearch-keystore add -x -f bootstrap.password < "$dir/password" >> "$dir/log" 2>&1
}

its_tool() {
	env "ES_PATH_CONF=$dir/config" "ES_JAVA_HOME=$(srv_java_home)" "$dir/home/bin/$1" "${@:2}"
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
	secure=${secure:-$(srv_env_get "$dir" ELASTICSEARCH_CA)}
	[ -z "$secure" ] || make_secure
	write_config
	printf 'ELASTICSEARCH_URL=http%s://127.0.0.1:%s\nELASTICSEARCH_PORT=%s\n' "${secure:+s}" "$port" "$port" > "$dir/env"
	[ -z "$secure" ] || printf 'ELASTICSEARCH_CA=%s\nELASTICSEARCH_PASSWORD_FILE=%s\n' "$dir/tls/ca.pem" "$dir/password" >> "$dir/env"
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
users) its_tool elasticsearch-users "$@" && chown -R 65534:65534 "$dir/config" ;;
*) srv_usage "unknown verb '$verb'" "$usage" ;;
esac
