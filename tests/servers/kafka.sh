#!/bin/bash
# One Kafka broker (KRaft, broker and controller in one process) on 127.0.0.1.
#
# `start` makes the folder on the first call and goes on with its data on every later one, also after `kill`:
# port, listener kind and --set properties are remembered, so `start --dir D` brings the same broker back.
# With --sasl-ssl the only client listener is SASL/PLAIN over TLS with StandardAuthorizer: users admin (all
# rights) and those of acls.txt; a librdkafka property file for each lies in D/clients.

. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
usage='kafka.sh start --dir D [--port P] [--controller-port P] [--sasl-ssl] [--acls FILE] [--set KEY=VALUE]... [--owner PID]
       kafka.sh stop|kill|ready --dir D
       kafka.sh tool --dir D topics|offsets|groups|transactions|configs|acls ARGS...'

cluster_id=MkU3OEVBNTcwNTJENDM2Qk
dir='' port='' controller_port='' security='' acls='' owner='' extra=''

verb=${1:-}
[ $# -eq 0 ] || shift
while [ $# -gt 0 ]; do
	case $1 in
	--sasl-ssl) security=sasl_ssl; shift; continue ;;
	--dir | --port | --controller-port | --acls | --set | --owner)
		[ $# -ge 2 ] || srv_usage "$1 needs a value" "$usage" ;;
	*) break ;;
	esac
	case $1 in
	--dir) dir=$2 ;;
	--port) port=$2 ;;
	--controller-port) controller_port=$2 ;;
	--acls) acls=$2 ;;
	--set) extra+="$2"$'\n' ;;
	--owner) owner=$2 ;;
	esac
	shift 2
done
[ -n "$dir" ] || srv_usage "--dir is missing" "$usage"
[ $# -eq 0 ] || [ "$verb" = tool ] || srv_usage "unknown argument '$1'" "$usage"

# Runs java on Kafka's jars with the small memory and quick start that tests want.
kafka_java() {
	local heap=$1
	shift
	printf '%s\n' "$(srv_java_home)/bin/java" -Xms64m "-Xmx$heap" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
		-XX:-UsePerfData -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$libs" "$@"
}

# The remembered choice, unless the command line says otherwise.
remember() {
	port=${port:-$(srv_env_get "$dir" KAFKA_PORT)}
	port=${port:-$(srv_free_port)}
	controller_port=${controller_port:-$(srv_env_get "$dir" KAFKA_CONTROLLER_PORT)}
	controller_port=${controller_port:-$((port + 1))}
	security=${security:-$(srv_env_get "$dir" KAFKA_SECURITY)}
	security=${security:-plaintext}
	[ -z "$extra" ] || printf '%s' "$extra" >"$dir/extra.properties"
	[ -z "$acls" ] || cp "$acls" "$dir/acls.txt"
}

# Broker and client settings that both listener kinds share. The last two lines of the broker's let a restart
# after SIGKILL take 4.5 s instead of 13: the controller sees sooner that the old session is dead.
write_common() {
	cat <<-END
		process.roles=broker,controller
		node.id=1
		controller.quorum.voters=1@127.0.0.1:$controller_port
		controller.listener.names=CONTROLLER
		log.dirs=$dir/data
		num.partitions=6
		offsets.topic.replication.factor=1
		offsets.topic.num.partitions=3
		transaction.state.log.replication.factor=1
		transaction.state.log.min.isr=1
		transaction.state.log.num.partitions=3
		group.initial.rebalance.delay.ms=0
		auto.create.topics.enable=false
		broker.session.timeout.ms=1500
		broker.heartbeat.interval.ms=300
	END
}

write_plaintext() {
	cat <<-END
		listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller_port
		advertised.listeners=PLAINTEXT://127.0.0.1:$port
		listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
	END
}

# The controller listener asks for a password too, so that no anonymous user needs rights.
write_sasl_ssl() {
	local login user
	login="org.apache.kafka.common.security.plain.PlainLoginModule required username=\"admin\" password=\"$(password admin)\""
	for user in $(users); do
		login+=" user_$user=\"$(password "$user")\""
	done
	cat <<-END
		listeners=SASL_SSL://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller_port
		advertised.listeners=SASL_SSL://127.0.0.1:$port
		listener.security.protocol.map=SASL_SSL:SASL_SSL,CONTROLLER:SASL_PLAINTEXT
		inter.broker.listener.name=SASL_SSL
		sasl.enabled.mechanisms=PLAIN
		sasl.mechanism.inter.broker.protocol=PLAIN
		sasl.mechanism.controller.protocol=PLAIN
		listener.name.sasl_ssl.plain.sasl.jaas.config=$login;
		listener.name.controller.sasl.enabled.mechanisms=PLAIN
		listener.name.controller.plain.sasl.jaas.config=$login;
		ssl.keystore.type=PEM
		ssl.keystore.location=$dir/tls/server.pem
		ssl.truststore.type=PEM
		ssl.truststore.location=$dir/tls/ca.pem
		authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
		super.users=User:admin
	END
}

users() { { echo admin; sed 's/#.*//' "$dir/acls.txt" | awk 'NF { print $1 }'; } | sort -u; }
password() { cat "$dir/secrets/$1"; }

# A CA of our own and a certificate for 127.0.0.1 and localhost, once per folder.
make_tls() {
	local tls=$dir/tls
	[ ! -f "$tls/server.pem" ] || return 0
	srv_need openssl
	mkdir -p "$tls"
	openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj '/CN=tapline test CA' \
		-keyout "$tls/ca.key" -out "$tls/ca.pem" 2>/dev/null
	openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout "$tls/server.key" -out "$tls/server.csr" 2>/dev/null
	openssl x509 -req -days 30 -in "$tls/server.csr" -CA "$tls/ca.pem" -CAkey "$tls/ca.key" -CAcreateserial \
		-extfile <(echo 'subjectAltName=IP:127.0.0.1,DNS:localhost') -out "$tls/server.crt" 2>/dev/null
	cat "$tls/server.key" "$tls/server.crt" >"$tls/server.pem"
}

# Passwords, and for each user the properties that librdkafka (kcat -F, --kafka) takes as they are.
make_users() {
	local user
	(
		umask 077
		mkdir -p "$dir/secrets" "$dir/clients"
		for user in $(users); do
			[ -f "$dir/secrets/$user" ] || openssl rand -hex 12 >"$dir/secrets/$user"
			cat >"$dir/clients/$user.properties" <<-END
				bootstrap.servers=127.0.0.1:$port
				security.protocol=SASL_SSL
				ssl.ca.location=$dir/tls/ca.pem
				sasl.mechanisms=PLAIN
				sasl.username=$user
				sasl.password=$(password "$user")
			END
		done
	)
}

# The same for Kafka's own tools, as admin.
write_admin() {
	echo "bootstrap.servers=127.0.0.1:$port"
	[ "$security" = sasl_ssl ] || return 0
	cat <<-END
		security.protocol=SASL_SSL
		ssl.truststore.type=PEM
		ssl.truststore.location=$dir/tls/ca.pem
		sasl.mechanism=PLAIN
		sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username="admin" password="$(password admin)";
	END
}

write_env() {
	cat <<-END
		KAFKA_BOOTSTRAP=127.0.0.1:$port
		KAFKA_PORT=$port
		KAFKA_CONTROLLER_PORT=$controller_port
		KAFKA_SECURITY=$security
		KAFKA_ADMIN_PROPERTIES=$dir/admin.properties
	END
	[ "$security" = sasl_ssl ] || return 0
	cat <<-END
		KAFKA_CA=$dir/tls/ca.pem
		KAFKA_CLIENTS=$dir/clients
	END
}

prepare() {
	if [ "$security" = sasl_ssl ]; then
		[ -f "$dir/acls.txt" ] || cp "$here/acls.txt" "$dir/acls.txt"
		make_tls
		make_users
	fi
	(
		umask 077
		{ write_common; "write_$security"; cat "$dir/extra.properties" 2>/dev/null || true; } >"$dir/server.properties"
		write_admin >"$dir/admin.properties"
	)
	if [ ! -f "$dir/data/meta.properties" ]; then
		local format
		mapfile -t format < <(kafka_java 256m kafka.tools.StorageTool format -t "$cluster_id" \
			-c "$dir/server.properties" --ignore-formatted)
		"${format[@]}" >>"$dir/log" 2>&1 || srv_die "the data folder could not be formatted, see $dir/log"
	fi
	write_env >"$dir/env"
}

kafka_ready() {
	local as=(-b "127.0.0.1:$(srv_env_get "$dir" KAFKA_PORT)")
	[ "$(srv_env_get "$dir" KAFKA_SECURITY)" != sasl_ssl ] || as=(-F "$dir/clients/admin.properties")
	srv_port_open "$(srv_env_get "$dir" KAFKA_PORT)" || return 1
	timeout 5 kcat "${as[@]}" -L -m 2 2>/dev/null | grep -q 'broker 1 at'
}

make_acls() {
	local acls_run
	mapfile -t acls_run < <(kafka_java 128m Acls "$dir/admin.properties" "$dir/acls.txt")
	"${acls_run[@]}" >>"$dir/log" 2>&1 || { tail -n 5 "$dir/log" >&2; srv_stop "$dir"; srv_die "the ACLs were refused"; }
	touch "$dir/acls.made"
}

kafka_start() {
	srv_need kcat
	mkdir -p "$dir"
	dir=$(cd "$dir" && pwd)
	! srv_alive "$dir" || srv_die "already running in $dir, pid $(cat "$dir/pid")"
	libs="$("$here/fetch.sh" kafka 2>/dev/null || "$here/fetch.sh" kafka)/lib/*"
	remember
	srv_take_port "$port"
	[ "$security" != sasl_ssl ] || libs="$(srv_java_classes "$here/Acls.java" "$libs"):$libs"
	prepare
	local broker
	mapfile -t broker < <(kafka_java 512m kafka.Kafka "$dir/server.properties")
	srv_spawn "$dir" "${broker[@]}"
	srv_own "$dir" "$owner"
	srv_await "$dir" 90 kafka_ready
	[ "$security" != sasl_ssl ] || [ -f "$dir/acls.made" ] || make_acls
}

kafka_tool() {
	local class name=${1:-} flag=--command-config
	case $name in
	topics) class=org.apache.kafka.tools.TopicCommand ;;
	offsets) class=org.apache.kafka.tools.GetOffsetShell ;;
	groups) class=org.apache.kafka.tools.consumer.group.ConsumerGroupCommand ;;
	transactions) class=org.apache.kafka.tools.TransactionsCommand ;;
	configs) class=kafka.admin.ConfigCommand ;;
	acls) class=org.apache.kafka.tools.AclCommand ;;
	*) srv_usage "unknown tool '$name'" "$usage" ;;
	esac
	shift
	libs="$("$here/fetch.sh" kafka 2>/dev/null)/lib/*"
	local run
	mapfile -t run < <(kafka_java 256m "$class" --bootstrap-server "$(srv_env_get "$dir" KAFKA_BOOTSTRAP)" \
		"$flag" "$dir/admin.properties")
	exec "${run[@]}" "$@"
}

case $verb in
start) kafka_start ;;
stop) srv_stop "$dir" 30 ;;
kill) srv_kill "$dir" ;;
ready) srv_alive "$dir" && kafka_ready ;;
tool) kafka_tool "$@" ;;
*) srv_usage "unknown verb '$verb'" "$usage" ;;
esac
