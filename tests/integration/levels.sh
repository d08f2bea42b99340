#!/bin/bash
# The levels that go by place, on real servers: access logs behind the response (nginx as a proxy, gunicorn's threads, Apache),
# lines of a pool whose requests another thread reads, http.server's threads. Each line's truth is a hash in the query that the
# agent cannot invert. 0 wrong ids; the recall is printed. Environment: REQUESTS (1500 each), CLIENTS (16), ONLY (servers), PORT,
# LEVELS (as --levels), LEAST (recall in percent), STATUS (1: shows the gates).
. "$(dirname "$0")/lib.bash"
requests=${REQUESTS:-1500} clients=${CLIENTS:-16} port=${PORT:-21500}
only=${ONLY:-pool pool_jobs http.server gunicorn sync nginx apache}
export TAPLINE_STORE=$work/store.db
failed=0

# tap NAME PORT LEAST COMMAND...: runs it under tapline, loads it, checks it; LEAST is the least recall in percent.
tap() {
	local name=$1 port=$2 least=$3 run
	shift 3
	"$tapline" run -o json --levels "${LEVELS:-default}" -- "$@" > "$work/$name.json" 2> "$work/$name.err" &
	run=$!
	wait_until 30 "$name does not answer" curl -sf -o "$work/curl" "http://127.0.0.1:$port/"
	python3 "$root/tests/integration/levels_load.py" load "$port" "$requests" "$clients" "$work/$name.truth" || die "$name: the load failed"
	wait_until 20 "$name: not every line came" enough "$name"
	if [ -n "${STATUS:-}" ]; then
		sleep 1.2 # the status file is a second old at most
		"$tapline" status --correlation --state "$(ls -td "$work"/run-*/ | head -1)" || true
	fi
	kill -TERM "$run"
	wait "$run" || true
	say "$name:"
	python3 "$root/tests/integration/levels_load.py" check "$work/$name.truth" "$work/$name.json" "$requests" "${LEAST:-$least}" || failed=1
}

enough() { [ "$(grep -c 'gt=[0-9a-f]' "$work/$1.json")" -ge "$requests" ]; }

pool() { tap pool "$port" 20 "$O/tests/tools/pool_server" "$port" 8 0; }
pool_jobs() { tap pool_jobs $((port + 1)) 20 "$O/tests/tools/pool_server" $((port + 1)) 8 1; }

http.server() {
	mkdir -p "$work/www"
	tap http.server $((port + 2)) 30 /usr/bin/python3 -u -m http.server -d "$work/www" --bind 127.0.0.1 $((port + 2))
}

app() {
	cat > "$work/app.py" << 'END'
import time

def app(environ, start_response):
    time.sleep(0.002)
    print("handling", environ["QUERY_STRING"], flush=True)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]
END
}

gunicorn() {
	app
	tap gunicorn $((port + 3)) 70 /usr/bin/python3 -u -m gunicorn --chdir "$work" -b 127.0.0.1:$((port + 3)) -w 2 --threads 8 \
		--worker-class gthread --keep-alive 10 --access-logfile - app:app
}

sync() {
	app
	tap sync $((port + 4)) 70 /usr/bin/python3 -u -m gunicorn --chdir "$work" -b 127.0.0.1:$((port + 4)) -w 4 \
		--access-logfile - app:app
}

nginx() {
	app
	mkdir -p "$work/nginx"
	background upstream /usr/bin/python3 -m gunicorn --chdir "$work" -b 127.0.0.1:$((port + 6)) -w 2 --threads 8 app:app
	cat > "$work/nginx/nginx.conf" << END
daemon off; worker_processes 2; pid $work/nginx/pid; error_log stderr;
events { worker_connections 512; }
http {
	access_log /dev/stdout;
	client_body_temp_path $work/nginx; proxy_temp_path $work/nginx; fastcgi_temp_path $work/nginx; uwsgi_temp_path $work/nginx;
	scgi_temp_path $work/nginx;
	server { listen 127.0.0.1:$((port + 5)); location / { proxy_pass http://127.0.0.1:$((port + 6)); } }
}
END
	tap nginx $((port + 5)) 40 /usr/sbin/nginx -c "$work/nginx/nginx.conf" -p "$work/nginx"
	stop_pid "$last"
}

apache() {
	mkdir -p "$work/apache" "$work/www"
	echo ok > "$work/www/index.html"
	cat > "$work/apache/apache.conf" << END
ServerRoot $work/apache
ServerName t
PidFile $work/apache/pid
Listen 127.0.0.1:$((port + 7))
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
ErrorLog /dev/stderr
LogFormat "%h %t \"%r\" %>s %b" common
CustomLog /dev/stdout common
DocumentRoot $work/www
DirectoryIndex index.html
ServerLimit 2
ThreadsPerChild 8
StartServers 2
MaxRequestWorkers 16
MinSpareThreads 16
MaxSpareThreads 16
END
	tap apache $((port + 7)) 70 /usr/sbin/apache2 -f "$work/apache/apache.conf" -D FOREGROUND
}

# has SERVER: what it needs is installed.
has() {
	case $1 in
	gunicorn | sync | nginx) /usr/bin/python3 -c 'import gunicorn' 2> /dev/null && [ "$1" != nginx -o -x /usr/sbin/nginx ] ;;
	apache) [ -x /usr/sbin/apache2 ] ;;
	esac
}

for server in $only; do
	if has "$server"; then "$server"; else say "$server is not installed: left out"; fi
done
[ $failed = 0 ] || die "wrong ids, lines missing, or too few with an id"
