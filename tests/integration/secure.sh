#!/bin/bash
# A real Elasticsearch with security on, over TLS, and a Collector with a certificate: believed only by the authority that --ca names;
# basic authentication and an API key from files and from the environment, with no more rights than the docs ask for; wrong ones are told with
# what to do and never shown; a password that is changed under a running sink ends it, and with the new one every record is there once.
. "$(dirname "$0")/lib.bash"
count=${COUNT:-6000}
chmod 711 "$work" # Elasticsearch runs as nobody
test_cleanup() {
	"$servers/elasticsearch.sh" stop --dir "$work/search"
	"$servers/collector.sh" stop --dir "$work/otlp"
}
"$servers/collector.sh" build > "$work/build.log" 2>&1 || { tail -1 "$work/build.log"; exit 77; }
start_kafka &
"$servers/collector.sh" start --dir "$work/otlp" --owner $$ --tls &
"$servers/elasticsearch.sh" start --dir "$work/search" --owner $$ --secure
wait
. "$work/kafka/env"; brokers=$KAFKA_BOOTSTRAP
. "$work/search/env"; url=$ELASTICSEARCH_URL ca=$ELASTICSEARCH_CA
for topic in logs http dlq; do
	"$servers/kafka.sh" tool --dir "$work/kafka" topics --create --topic "tapline.$topic" --partitions 3 > /dev/null &
done
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj '/CN=another CA' -keyout "$work/other.key" -out "$work/other.pem" 2> /dev/null
wait

admin() { curl -sS --cacert "$ca" -u "elastic:$(cat "$ELASTICSEARCH_PASSWORD_FILE")" -H 'Content-Type: application/json' "$@"; }
password=first-seCret
# This build cannot keep users and keys in an index: users are in files, and keys are asked for by a proxy with a user of its own.
cat > "$work/search/config/roles.yml" <<- END
	tapline:
	  cluster: [ manage_index_templates, monitor ]
	  indices:
	    - names: [ "tls-*", "key-*" ]
	      privileges: [ create_index, create_doc, view_index_metadata ]
END
"$servers/elasticsearch.sh" users --dir "$work/search" useradd tapline -p "$password" -r tapline
"$servers/elasticsearch.sh" users --dir "$work/search" useradd proxy -p proxy-seCret -r tapline
openssl rand -hex 12 > "$work/api-key"
proxy_port=$(bash -c '. "$1"; srv_free_port' _ "$servers/lib.sh")
cat > "$work/nginx.conf" <<- END
	user root; daemon off; pid $work/nginx.pid; error_log $work/nginx-error.log; events { }
	http {
		access_log off; client_max_body_size 50m; client_body_temp_path $work/nginx-body; proxy_temp_path $work/nginx-proxy;
		fastcgi_temp_path $work/nginx-1; uwsgi_temp_path $work/nginx-2; scgi_temp_path $work/nginx-3;
		server {
			listen 127.0.0.1:$proxy_port ssl; ssl_certificate $work/search/config/tls.crt; ssl_certificate_key $work/search/config/tls.key;
			location / {
				if (\$http_authorization != "ApiKey $(cat "$work/api-key")") { return 401; }
				proxy_set_header Authorization "Basic $(printf proxy:proxy-seCret | base64)";
				proxy_pass $url;
			}
		}
	}
END
background nginx nginx -c "$work/nginx.conf"
proxy=https://127.0.0.1:$proxy_port
may_enter() { curl -sS -o /dev/null --fail --cacert "$ca" -u "tapline:$1" "$url/_index_template" 2> /dev/null; }
wait_until 30 "the user is not known" may_enter "$password"
count_of() {
	admin -XPOST "$url/$1/_refresh" > /dev/null
	admin "$url/$1/_count" | jq -r '.count // 0'
}
has() { [ "$(count_of "$1")" -ge "$2" ]; }

sink=("$tapline" sink elasticsearch --brokers "$brokers" --replicas 0 --batch 500 --kafka session.timeout.ms=6000)
as_user=(--url "$url" --index-prefix tls-logs- --http-index-prefix tls-http- --group tls --instance tls)
as_key=(--url "$proxy" --index-prefix key-logs- --http-index-prefix key-http- --group key --instance key)

# refused PATTERN COMMAND...: it must end with status 1, soon, and say PATTERN and no secret.
refused() {
	local status=0 began=$SECONDS
	local err=$work/err.$BASHPID
	timeout 30 "${@:2}" > /dev/null 2> "$err" < /dev/null || status=$?
	[ $status = 1 ] || { cat "$err"; die "${*:2}: status $status"; }
	[ $((SECONDS - began)) -lt 15 ] || die "${*:2}: tries on for $((SECONDS - began)) s"
	grep -q -- "$1" "$err" || { cat "$err"; die "${*:2}: does not say $1"; }
	! grep -q seCret "$err" || die "${*:2}: shows the secret"
}
printf '%s\n' "$password" > "$work/password"
echo wrong-seCret > "$work/wrong"
user=(--user tapline --password-file "$work/password")
refused 'certificate .*is not believed.*--ca' "${sink[@]}" "${as_user[@]}" "${user[@]}"
refused 'certificate .*is not believed.*--ca' "${sink[@]}" "${as_user[@]}" "${user[@]}" --ca "$work/other.pem"
refused 'certificate .*is not believed' "${sink[@]}" "${as_user[@]}" "${user[@]}" --ca "$work/no-such.pem"
refused 'refuses the credentials.*--password-file' "${sink[@]}" "${as_user[@]}" --user tapline --password-file "$work/wrong" --ca "$ca"
refused 'refuses the credentials.*--api-key-file' "${sink[@]}" "${as_key[@]}" --api-key-file "$work/wrong" --ca "$ca"
refused 'refuses the credentials' "${sink[@]}" "${as_user[@]}" --ca "$ca"
refused 'denies the right to write.*create_doc' "${sink[@]}" --url "$url" --index-prefix forbidden- --http-index-prefix forbidden-http- --group f --instance f "${user[@]}" --ca "$ca" &
denied=$!
refused "target's certificate is not believed.*--ca" "$tapline" sink otlp --brokers "$brokers" --group o --instance o \
	--url "$(sed -n 's/^COLLECTOR_URL=//p' "$work/otlp/env")" --ca "$work/other.pem" &
otlp_refused=$!
"$O/tests/tools/produce" "$brokers" tapline.logs $((count / 2))
wait $otlp_refused || die "the otlp sink believes another authority"
wait $denied || die "a right that the user has not is not told"

# The password changes in the middle.
background user "${sink[@]}" "${as_user[@]}" "${user[@]}" --ca "$ca"
user_pid=$last
background key "${sink[@]}" "${as_key[@]}" --api-key-file "$work/api-key" --ca "$ca"
key_pid=$last
background otlp "$tapline" sink otlp --brokers "$brokers" --group o --instance o --url "$(sed -n 's/^COLLECTOR_URL=//p' "$work/otlp/env")" \
	--ca "$work/otlp/tls/server.pem"
wait_until 30 "nothing comes: $(tail -1 "$work/user.log")" has 'tls-logs-*' 1
"$servers/elasticsearch.sh" users --dir "$work/search" passwd tapline -p second-seCret
wait_until 30 "the new password is not known" may_enter second-seCret
"$O/tests/tools/produce" "$brokers" tapline.logs $((count - count / 2)) $((count / 2))
wait_until 30 "a changed password does not end the sink" eval "! kill -0 $user_pid 2> /dev/null"
! wait "$user_pid" || die "refused credentials are status 0"
grep -q 'refuses the credentials' "$work/user.log" || die "it does not say why it ended: $(tail -1 "$work/user.log")"
[ "$(count_of 'tls-logs-*')" -lt "$count" ] || die "everything was there before the password changed: the test shows nothing"

# From the environment, and the key too.
background user env TAPLINE_SEARCH_USER=tapline TAPLINE_SEARCH_PASSWORD=second-seCret "${sink[@]}" "${as_user[@]}" --ca "$ca"
stop_pid "$key_pid"
background key env TAPLINE_SEARCH_API_KEY="$(cat "$work/api-key")" "${sink[@]}" "${as_key[@]}" --ca "$ca"
wait_until 60 "basic authentication: $(count_of 'tls-logs-*') of $count" has 'tls-logs-*' "$count"
wait_until 60 "API key: $(count_of 'key-logs-*') of $count" has 'key-logs-*' "$count"
arrived() { [ "$(python3 "$root/tests/integration/check_otlp.py" --count "$work/otlp/out.jsonl")" -ge "$count" ]; }
wait_until 30 "the Collector has $(python3 "$root/tests/integration/check_otlp.py" --count "$work/otlp/out.jsonl") of $count" arrived
[ "$(count_of 'tls-logs-*')" = "$count" ] && [ "$(count_of 'key-logs-*')" = "$count" ] || die "records came twice"
! grep -l "seCret\|$(cat "$work/api-key")" "$work"/*.log || die "a secret is shown"
say "RESULT TLS by a CA of one's own, basic authentication and API key from file and environment: $count records once each; eight wrong ones told"
