#!/bin/bash
# One PostgreSQL server on 127.0.0.1: Debian 12's PostgreSQL 15, or with --kind timescale PostgreSQL 17 with TimescaleDB.
#
# `start` makes the folder on the first call and goes on with its data on every later one, also after `kill`; port, kind and
# --set settings are remembered. `freeze` and `thaw` stop and continue all its processes. Passwords are asked (scram-sha-256):
# the superuser postgres has the one in D/pgpass, which D/env names as PGPASSFILE.
#
# PostgreSQL refuses to be root, so root runs it in a user namespace in which he is another: files stay root's, nothing
# needs the user postgres. With --tls the server also speaks TLS, by a certificate of its own.

. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
usage='postgres.sh start --dir D [--kind plain|timescale] [--port P] [--tls] [--set KEY=VALUE]... [--owner PID]
       postgres.sh stop|kill|freeze|thaw|ready --dir D
       postgres.sh psql --dir D ARGS...'

dir='' port='' kind='' owner='' tls=''
settings=()

verb=${1:-}
[ $# -eq 0 ] || shift
while [ $# -gt 0 ]; do
	case $1 in
	--tls) tls=1; shift; continue ;;
	--dir | --port | --kind | --set | --owner) [ $# -ge 2 ] || srv_usage "$1 needs a value" "$usage" ;;
	*) break ;;
	esac
	case $1 in
	--dir) dir=$2 ;;
	--port) port=$2 ;;
	--kind) kind=$2 ;;
	--set) settings+=("$2") ;;
	--owner) owner=$2 ;;
	esac
	shift 2
done
[ -n "$dir" ] || srv_usage "--dir is missing" "$usage"
[ $# -eq 0 ] || [ "$verb" = psql ] || srv_usage "unknown argument '$1'" "$usage"

# Sets $bin, the folder of the programs.
find_programs() {
	case $kind in
	timescale) bin=$("$here/timescaledb.sh")/root/usr/lib/postgresql/17/bin ;;
	plain)
		bin=/usr/lib/postgresql/15/bin
		[ -x $bin/postgres ] || srv_die "$bin/postgres is missing: install the packages of tests/packages.txt (make deps)"
		;;
	*) srv_usage "--kind is plain or timescale, not '$kind'" "$usage" ;;
	esac
}

# Sets $as, what is put in front of a command so that it is not root's.
find_user() {
	as=()
	[ "$(id -u)" = 0 ] || return 0
	as=(unshare --user --map-user=1000 --map-group=1000)
	"${as[@]}" true 2>/dev/null || srv_die "no user namespace for root here (unshare --user): run the tests as another user"
}

remember() {
	port=${port:-$(srv_env_get "$dir" PGPORT)}
	port=${port:-$(srv_free_port)}
	kind=${kind:-$(srv_env_get "$dir" POSTGRES_KIND)}
	kind=${kind:-plain}
	if [ ${#settings[@]} -gt 0 ]; then
		printf '%s\n' "${settings[@]}" >"$dir/settings"
	elif [ -f "$dir/settings" ]; then
		mapfile -t settings <"$dir/settings"
	fi
}

# A certificate for 127.0.0.1 that is its own authority: D/data/server.crt is what a client trusts.
make_tls() {
	srv_need openssl
	openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost -addext 'subjectAltName=IP:127.0.0.1,DNS:localhost' \
		-keyout "$dir/data/server.key" -out "$dir/data/server.crt" 2>/dev/null
	chmod 600 "$dir/data/server.key"
	echo 'ssl = on' >>"$dir/data/postgresql.conf"
}

# The folder may be there already, empty: a small file system that a test wants to be full.
make_data() {
	[ ! -f "$dir/data/PG_VERSION" ] || return 0
	head -c 18 /dev/urandom | base64 | tr '+/' '-_' >"$dir/secret"
	(umask 077; printf '127.0.0.1:%s:*:postgres:%s\n' "$port" "$(cat "$dir/secret")" >"$dir/pgpass")
	"${as[@]}" "$bin/initdb" -D "$dir/data" -A scram-sha-256 --pwfile "$dir/secret" -U postgres --encoding UTF8 --no-locale \
		--no-sync >>"$dir/log" 2>&1 || { tail -n 5 "$dir/log" >&2; srv_die "initdb failed, see $dir/log"; }
	rm -f "$dir/secret"
	cat >>"$dir/data/postgresql.conf" <<-END
		listen_addresses = '127.0.0.1'
		unix_socket_directories = ''
		log_line_prefix = '%m [%p] '
		timezone = 'UTC'
	END
	[ -z "$tls" ] || make_tls
	[ "$kind" = plain ] || cat >>"$dir/data/postgresql.conf" <<-END
		shared_preload_libraries = 'timescaledb'
		timescaledb.telemetry_level = off
		jit = off
	END
}

write_env() {
	cat <<-END
		PGHOST=127.0.0.1
		PGPORT=$port
		PGPASSFILE=$dir/pgpass
		POSTGRES_KIND=$kind
		POSTGRES_DSN="host=127.0.0.1 port=$port user=postgres dbname=postgres"
	END
}

# sql ARGS...: psql as the superuser.
sql() {
	PGPASSFILE=$dir/pgpass psql -X -q -A -t -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$(srv_env_get "$dir" PGPORT)" -U postgres "$@"
}

postgres_ready() { [ "$(PGCONNECT_TIMEOUT=2 sql -d postgres -c 'SELECT 1' 2>/dev/null)" = 1 ]; }

postgres_start() {
	local setting flags=()
	srv_need psql setsid
	mkdir -p "$dir"
	dir=$(cd "$dir" && pwd)
	! srv_alive "$dir" || srv_die "already running in $dir, pid $(cat "$dir/pid")"
	remember
	find_programs
	find_user
	srv_take_port "$port"
	make_data
	write_env >"$dir/env"
	for setting in "${settings[@]}"; do flags+=(-c "$setting"); done
	srv_spawn "$dir" "${as[@]}" "$bin/postgres" -D "$dir/data" -p "$port" "${flags[@]}"
	srv_own "$dir" "$owner"
	srv_await "$dir" 60 postgres_ready
}

# signal_all SIGNAL: the server and its children.
signal_all() {
	local pid
	srv_alive "$dir" || return 0
	pid=$(cat "$dir/pid")
	# shellcheck disable=SC2046
	kill "-$1" "$pid" $(pgrep -P "$pid") 2>/dev/null || true
}

# Fast shutdown: sessions are ended, not waited for.
postgres_stop() {
	signal_all CONT
	srv_signal "$dir" INT
	srv_wait_until 20 srv_dead "$dir" || true
	srv_stop "$dir" 5
}

children_gone() { [ -z "$1" ] || ! kill -0 $1 2>/dev/null; }

postgres_kill() {
	local children
	children=$(! srv_alive "$dir" || pgrep -P "$(cat "$dir/pid")" | tr '\n' ' ' || true)
	signal_all KILL
	srv_kill "$dir"
	srv_wait_until 20 children_gone "$children" || srv_die "processes of the server survive SIGKILL: $children"
}

case $verb in
start) postgres_start ;;
stop) postgres_stop ;;
kill) postgres_kill ;;
freeze) signal_all STOP ;;
thaw) signal_all CONT ;;
ready) srv_alive "$dir" && postgres_ready ;;
psql) sql "$@" ;;
*) srv_usage "unknown verb '$verb'" "$usage" ;;
esac
