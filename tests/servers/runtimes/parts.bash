# One function a runtime; sourced by tests/integration/runtimes.sh.
build_go() {
	env -u GOROOT GO111MODULE=off GOTOOLCHAIN=local GOCACHE="$cache/go-build" CGO_ENABLED=0 go build "${@:3}" -o "$2" "$1"
}

part_go() {
	build_go "$apps/children/main.go" "$work/children" -ldflags='-s -w'
	tapped go 21700 "" "$work/children" -listen 127.0.0.1:21700
	/usr/bin/python3 "$load" check "$work/go.json" "$work/go.ids" direct=0.99 child=0.99 grandchild=0.99 late=0.7 background=none pool=none
}

part_aiohttp() {
	tapped aiohttp 21701 "" /usr/bin/python3 "$apps/aio.py" aiohttp 21701
	/usr/bin/python3 "$load" check "$work/aiohttp.json" "$work/aiohttp.ids" direct=0.75 child=0.75 background=none
}

part_uvicorn() {
	tapped uvicorn 21702 "" /usr/bin/python3 "$apps/aio.py" uvicorn 21702
	/usr/bin/python3 "$load" check "$work/uvicorn.json" "$work/uvicorn.ids" direct=0.75 child=0.75 background=none
}

certificate() {
	[ -s "$work/tls.crt" ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
		-subj /CN=localhost -keyout "$work/tls.key" -out "$work/tls.crt" 2> /dev/null
}

part_tls() {
	certificate
	tapped tls 21703 tls /usr/bin/python3 "$apps/tls.py" 21703 "$work/tls.crt" "$work/tls.key"
	/usr/bin/python3 "$load" check "$work/tls.json" "$work/tls.ids" direct=0.8 background=none
}

# A JDK with virtual threads whose identifiers can be read (24 and newer), or nothing.
new_jdk() {
	local java
	for java in "${JAVA_HOME:-/none}/bin/java" /usr/lib/jvm/*/bin/java; do
		[ -x "$java" ] || continue
		[ "$("$java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p')" -ge 24 ] && { printf '%s' "${java%/bin/java}"; return; }
	done
}

part_virtual() {
	local jdk
	jdk=$(new_jdk)
	[ -n "$jdk" ] || { say "virtual threads: not tested, there is no JDK 24 or newer"; return; }
	"$jdk/bin/javac" -d "$work" "$apps/Virtual.java"
	tapped virtual 21704 "" "$jdk/bin/java" -Xmx128m -XX:+UseSerialGC -cp "$work" Virtual 21704
	/usr/bin/python3 "$load" check "$work/virtual.json" "$work/virtual.ids" direct=0.95 background=none
}

# Every CPython of the machine that is known: the system's, and those of pyenv.
part_pythons() {
	local python version port=21710
	for python in /usr/bin/python3 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.*/bin/python3; do
		[ -x "$python" ] || continue
		version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
		case $version in 3.[67]) continue ;; esac
		say "-- $python ($version)"
		port=$((port + 1))
		tapped "python$port" $port "" "$python" "$apps/aio.py" plain $port
		/usr/bin/python3 "$load" check "$work/python$port.json" "$work/python$port.ids" direct=0.7 child=0.7 background=none
	done
}

part_gotls() {
	certificate
	build_go "$apps/children/main.go" "$work/children"
	tapped gotls 21705 tls "$work/children" -listen 127.0.0.1:21705 -cert "$work/tls.crt" -key "$work/tls.key"
	/usr/bin/python3 "$load" check "$work/gotls.json" "$work/gotls.ids" direct=0.95 child=0.95 background=none pool=none
}

# Four worker processes, forked before they serve: each finds its own library. What is counted is exchanges seen through TLS.
part_nginx() {
	local exchanges
	certificate
	mkdir -p "$work/nginx"
	cat > "$work/nginx/nginx.conf" <<- END
		daemon off; worker_processes 4; pid $work/nginx/pid; error_log stderr warn;
		events { worker_connections 512; }
		http {
			access_log /dev/stdout combined;
			client_body_temp_path $work/nginx; proxy_temp_path $work/nginx; fastcgi_temp_path $work/nginx;
			uwsgi_temp_path $work/nginx; scgi_temp_path $work/nginx;
			server {
				listen 127.0.0.1:21706 ssl;
				ssl_certificate $work/tls.crt; ssl_certificate_key $work/tls.key;
				location / { return 200 "ok\n"; }
			}
		}
	END
	tapped nginx 21706 tls /usr/sbin/nginx -p "$work/nginx" -c "$work/nginx/nginx.conf"
	exchanges=$(sed -n 's/.* \([0-9]*\) HTTP exchanges.*/\1/p' "$work/nginx.log")
	say "nginx: $exchanges exchanges of $((requests + 50)) seen through TLS"
	[ "$exchanges" -ge $((requests / 2)) ] || die "nginx: too few exchanges through TLS"
}

# restarted NAME PORT TLS COMMAND...: as tapped, but by an agent whose both processes are killed KILLS times under load, on pinned maps.
restarted() {
	local name=$1 port=$2 tls=$3 service agent loader i
	shift 3
	pins=/sys/fs/bpf/tapline-test-$$ # for the trap as well
	"$@" > "$work/$name.out" 2> "$work/$name.err" < /dev/null &
	service=$!
	pids+=("$service")
	local agent_args=(agent --state "$work/$name.state" --pin "$pins" --pid "$service" --path "$work/$name.out" "${flags[@]}")
	test_cleanup() { "$tapline" unload --pin "$pins" || true; }
	wait_until 20 "$name does not listen" listens "$port"
	background agent "$tapline" "${agent_args[@]}"
	agent=$last
	wait_until 20 "the agent does not start" grep -q 'capturing with' "$work/agent.log"
	/usr/bin/python3 "$load" load "$port" 100 4 "$work/$name.ids" $tls || die "$name: the load failed"
	/usr/bin/python3 "$load" load "$port" "$requests" "$concurrency" "$work/$name.ids" $tls &
	loader=$!
	for i in $(seq "${KILLS:-3}"); do
		sleep 1
		# shellcheck disable=SC2046
		kill -KILL $agent $(pgrep -P $agent || true)
		background agent "$tapline" "${agent_args[@]}"
		agent=$last
		wait_until 20 "the agent does not start again" \
			sh -c "[ \$(grep -c 'capturing with' '$work/agent.log') -gt $i ]"
	done
	wait $loader || die "$name: the load failed"
	kill -TERM "$service"
	stop_pid $agent
	"$tapline" sink file --log-dir "$work/$name.state/log" --path "$work/$name.files" --topics logs > "$work/$name.sink.log" 2>&1 &
	pids+=($!)
	wait_until 20 "no file" sh -c "ls '$work/$name.files'/*/* '$work/$name.files'/* 2> /dev/null | grep -q json"
	wait_until 30 "not all lines in the files" \
		sh -c "[ \$(cat \$(find '$work/$name.files' -name '*json*' -type f) | grep -c class=direct) -ge \$(grep -c class=direct '$work/$name.out') ]"
	cat $(find "$work/$name.files" -name '*json*' -type f) | grep '^{"uid"' > "$work/$name.json"
}

# Recall is not the point: what was under way at a kill has no id. That none is wrong is.
part_restart() {
	certificate
	build_go "$apps/children/main.go" "$work/children"
	requests=$((requests * 5)) restarted restart 21707 tls "$work/children" -listen 127.0.0.1:21707 -cert "$work/tls.crt" -key "$work/tls.key"
	/usr/bin/python3 "$load" check "$work/restart.json" "$work/restart.ids" direct=0.05 child=0.05 background=none pool=none
}
