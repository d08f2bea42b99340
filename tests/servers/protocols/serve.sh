#!/bin/bash
# nginx that speaks h2c (prior knowledge) on PORT and HTTP/1 on PORT+1, where /unix/ and /tcp/ go to php-fpm's pools by FastCGI.
# Runs in the foreground until it is told to end; D/env says when it listens. PHP's lines go to D/php.log.
# usage: serve.sh D PORT
. "$(dirname "$0")/../lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
[ $# = 2 ] || srv_usage "a folder and a port are needed" "serve.sh D PORT"
dir=$1 port=$2
fpm=$(command -v php-fpm php-fpm8.2 /usr/sbin/php-fpm8.2 | head -1)
srv_need nginx
[ -n "$fpm" ] || srv_die "php-fpm is missing: install the packages of tests/packages.txt (make deps)"
mkdir -p "$dir/nginx/tmp"
for one in "$port" $((port + 1)) $((port + 2)); do srv_take_port "$one"; done
touch "$dir/php.log"
chmod 755 "$dir" && chmod 666 "$dir/php.log"

pool() { # NAME LISTEN
	printf '[%s]\nlisten = %s\nlisten.mode = 0666\npm = static\npm.max_children = 4\nclear_env = no\n' "$1" "$2"
	[ "$(id -u)" != 0 ] || printf 'user = nobody\ngroup = nogroup\n'
}
{
	printf '[global]\nerror_log = /dev/stderr\nlog_level = warning\ndaemonize = no\n'
	pool unix "$dir/php.sock"
	pool tcp "127.0.0.1:$((port + 2))"
} > "$dir/fpm.conf"
cat > "$dir/nginx/nginx.conf" << CONF
daemon off;
$([ "$(id -u)" != 0 ] || echo 'user nobody nogroup;')
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 512; }
http {
	access_log off;
	client_body_temp_path tmp/body; proxy_temp_path tmp/proxy; fastcgi_temp_path tmp/fastcgi; uwsgi_temp_path tmp/uwsgi; scgi_temp_path tmp/scgi;
	keepalive_requests 1000000;
	fastcgi_param SCRIPT_FILENAME $here/index.php;
	fastcgi_param REQUEST_METHOD \$request_method;
	fastcgi_param REQUEST_URI \$request_uri;
	fastcgi_param CONTENT_LENGTH \$content_length;
	server {
		listen 127.0.0.1:$port http2;
		location / { return 200 "h2\n"; }
	}
	server {
		listen 127.0.0.1:$((port + 1));
		location /unix/ { fastcgi_pass unix:$dir/php.sock; }
		location /tcp/ { fastcgi_pass 127.0.0.1:$((port + 2)); }
	}
}
CONF
pids=()
APP_LOG=$dir/php.log "$fpm" -n -y "$dir/fpm.conf" & pids+=($!)
nginx -e stderr -p "$dir/nginx/" -c nginx.conf & pids+=($!)
trap 'kill "${pids[@]}" 2> /dev/null; wait' EXIT
trap 'exit 0' TERM INT
for one in "$port" $((port + 1)) $((port + 2)); do
	srv_wait_until 20 srv_port_open "$one" || srv_die "nobody listens on port $one"
done
touch "$dir/env"
# What is asked from inside is tapped as well.
while :; do
	sleep 0.1 &
	wait $!
	[ ! -s "$dir/ask" ] || { mv "$dir/ask" "$dir/asked"; bash "$dir/asked" > "$dir/answers" 2>&1 || true; touch "$dir/done"; }
done
