#!/bin/sh
# The sample that `make run` taps: Debian's nginx in front of Python's stock http.server, none of it ours.
# usage: service.sh DIR PORT     (files under DIR; nginx on PORT, Python on PORT + 1)
set -eu
dir=$1
port=$2
here=$(dirname "$0")
mkdir -p "$dir/www" "$dir/nginx/tmp"
echo 'hello from a service that was not changed' > "$dir/www/index.html"
sed -e "s|@DIR@|$dir/nginx|g" -e "s|@PORT@|$port|g" -e "s|@BACKEND@|$((port + 1))|g" \
	"$here/nginx.conf" > "$dir/nginx/nginx.conf"
python3 -m http.server --bind 127.0.0.1 --directory "$dir/www" $((port + 1)) &
python=$!
nginx -p "$dir/nginx" -c "$dir/nginx/nginx.conf" -e stderr &
nginx=$!
trap 'kill $python $nginx 2>/dev/null; wait; exit 0' TERM INT
wait
