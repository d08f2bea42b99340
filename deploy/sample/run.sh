#!/bin/sh
# What `make run` does: taps a command (CMD), or the sample service with enough requests that its gates open.
# environment: CMD='...' a command of yours; FOR=20s an end (default: Ctrl-C); WEB=HOST:PORT; PORT of the sample
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
tapline=${TAPLINE:-$root/build/tapline}
web=${WEB:-127.0.0.1:8190}
for=${FOR:-0}
if [ -n "${CMD:-}" ]; then
	exec "$tapline" run --web "$web" --for "$for" -- sh -c "exec $CMD"
fi
port=${PORT:-8180}
dir=$(mktemp -d)
load=
trap 'kill $load 2>/dev/null; rm -rf "$dir"' EXIT
trap : INT TERM
python3 "$root/deploy/sample/requests.py" "http://127.0.0.1:$port/" &
load=$!
echo "sample: nginx on 127.0.0.1:$port in front of python3 -m http.server; requests with X-Request-ID are being sent" >&2
echo "search: http://$web/   (or: build/tapline search rid)" >&2
"$tapline" run --web "$web" --for "$for" -- "$here/service.sh" "$dir" "$port" || status=$?
exit "${status:-0}"
