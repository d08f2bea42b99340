#!/bin/bash
# The live page in a real browser, over `tapline run --web` of two real services: a line arrives, pause, filters, search, a
# request across services, charts, health, hostile lines, themes, keyboard, a small screen, a slow reader; then the token.
# Screenshots are left in $O/test-logs. environment: WEB_PORT (base of the ports, default 21300), KEEP_SHOTS
. "$(dirname "$0")/lib.bash"
here=$(dirname "$0")
port=${WEB_PORT:-21300} shop=$((${WEB_PORT:-21300} + 1)) stock=$((${WEB_PORT:-21300} + 2)) guarded=$((${WEB_PORT:-21300} + 3))
for program in chromium node; do
	command -v $program > /dev/null || { say "skipped: $program is missing (make test-deps)"; exit 77; }
done
playwright=$("$servers/fetch.sh" playwright)
mkdir -p "$O/test-logs"

cp "$here/web_service.py" "$work/shop.py"
cp "$here/web_service.py" "$work/stock.py"
cat > "$work/services.sh" << END
/usr/bin/python3 -u "$work/stock.py" $stock & a=\$!
/usr/bin/python3 -u "$work/shop.py" $shop $stock & b=\$!
trap 'kill \$a \$b' TERM INT
wait; wait
END
answers() { curl -sf -o /dev/null "$1"; }

# 1. an address that others reach needs a token; one that can be guessed is none.
status=0; "$tapline" web --store "$work/store.db" --listen 0.0.0.0:$guarded > "$work/refused" 2>&1 || status=$?
[ $status = 2 ] && grep -q 'can be reached by others' "$work/refused" || die "0.0.0.0 without a token: $status $(cat "$work/refused")"
status=0; "$tapline" run --web 0.0.0.0:$guarded -o none --store "$work/store.db" -- true > "$work/refused" 2>&1 || status=$?
[ $status = 2 ] && grep -q 'can be reached by others' "$work/refused" || die "run --web 0.0.0.0 without a token: $status"
echo short > "$work/token"
status=0; "$tapline" web --store "$work/store.db" --listen 127.0.0.1:$guarded --token-file "$work/token" > "$work/refused" 2>&1 || status=$?
[ $status = 2 ] && grep -q 'can be guessed' "$work/refused" || die "a short token: $status"

# 2. the page over a run, and the same store behind a token.
background run "$tapline" run --web 127.0.0.1:$port --store "$work/store.db" -o none --gate-confirms 20 -- sh "$work/services.sh"
wait_until 20 "the services do not answer" answers "http://127.0.0.1:$shop/order/1"
wait_until 20 "the page does not answer" answers "http://127.0.0.1:$port/healthz"
python3 "$here/web_load.py" $shop 300 > /dev/null
token=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
echo "$token" > "$work/token"
# ... whose agent, as its status says, lost something.
mkdir "$work/agent"
jq -n --arg now "$(date -u +%FT%T.000000000Z)" '{time: $now, version: "test", pid: 1, state: "running", backend: "sys_exit", backend_why: "",
	ring: "bpf", ring_bytes: 16777216, ring_pending_bytes: 1048576, bytes: {seen: 9000, captured: 8000, records: 8000, gaps: 1000, blind: 0},
	dropped_bytes: {ring_full: 1000}, dropped_events: {recursion: 3}, records: 80, exchanges: 4, log: {unread_bytes: 0}, streams: []}' > "$work/agent/status.json"
background web "$tapline" web --store "$work/store.db" --state "$work/agent" --listen 127.0.0.1:$guarded --token-file "$work/token"
wait_until 10 "the page with a token does not answer" answers "http://127.0.0.1:$guarded/healthz"

# 3. who may read.
code() { curl -s -o "$work/body" -w '%{http_code}' "$@"; }
[ "$(code -H 'Host: evil.example' "http://127.0.0.1:$port/api/search")" = 403 ] || die "a foreign Host is let in"
[ "$(code -H 'Host: evil.example' "http://127.0.0.1:$port/")" = 403 ] || die "a foreign Host gets the page"
[ "$(code "http://127.0.0.1:$guarded/api/search")" = 401 ] || die "no token is let in"
[ "$(code -H "Authorization: Bearer ${token}0" "http://127.0.0.1:$guarded/api/search")" = 401 ] || die "a wrong token is let in"
[ "$(code -H "Authorization: Bearer $token" "http://127.0.0.1:$guarded/api/search")" = 200 ] || die "the token is not let in"
[ "$(code -X POST "http://127.0.0.1:$port/api/search")" = 405 ] || die "POST is taken"
curl -si "http://127.0.0.1:$guarded/?token=$token" | tr -d '\r' > "$work/link"
grep -q '^HTTP/1.1 303' "$work/link" && grep -qi "^set-cookie: .*HttpOnly; SameSite=Lax" "$work/link" || die "the link leaves no cookie"
curl -sI -X GET "http://127.0.0.1:$port/" | grep -qi "content-security-policy: default-src 'none'; style-src 'self'; script-src 'self'" \
	|| die "no policy against scripts in lines"

# 4. the browser.
PLAYWRIGHT=$playwright PAGE=http://127.0.0.1:$port GUARDED=http://127.0.0.1:$guarded SHOP=http://127.0.0.1:$shop TOKEN=$token TAPLINE=$tapline STORE=$work/store.db SPARE=$((port + 4)) \
	SHOTS=$O/test-logs STEPS=${STEPS:-} node "$here/web.mjs" || die "the page in the browser"
! grep -q "$token" "$work"/*.log || die "the token is in a log"
say "RESULT page in Chromium: $(grep -c . "$O/test-logs/web-steps.txt") things done as a person does, screenshots in $O/test-logs"
