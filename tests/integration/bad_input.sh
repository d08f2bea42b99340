#!/bin/bash
# Bad input and bad luck: each is answered by a message that says what to do and by its exit status, and nothing that was accepted
# is lost: flags, YAML, privileges, kernels without BTF or locked down, pids, folders, brokers, full disks, services that end at once.
. "$(dirname "$0")/lib.bash"
export TAPLINE_STORE=$work/store.db
# Every user of the namespaces and uids below must be able to run it.
chmod 755 "$work"
cp "$tapline" "$work/tapline"
tapline=$work/tapline
checks=0

# expect STATUS REGEX COMMAND...: the output is one that matches, the exit status that one.
expect() {
	local want=$1 regex=$2 status=0
	shift 2
	timeout -k 5 90 "$@" > "$work/out" 2>&1 < /dev/null || status=$?
	[ $status = "$want" ] || { cat "$work/out"; die "$* ended with $status instead of $want"; }
	grep -Eq -- "$regex" "$work/out" || { cat "$work/out"; die "$* does not say: $regex"; }
	checks=$((checks + 1))
}

status_says() { jq -e "$2" "$1/status.json" > /dev/null 2>&1; } # STATE EXPRESSION

# What takes its time (programs give a broker half a minute) goes on beside the rest.
nobody=127.0.0.1:29521
slow() { # NAME COMMAND...
	local name=$1
	shift
	( status=0; "$@" > "$work/$name.out" 2>&1 < /dev/null || status=$?; echo $status > "$work/$name.status.tmp"; mv "$work/$name.status.tmp" "$work/$name.status" ) &
}
slow stream-away "$tapline" stream --brokers $nobody --instance a
slow stream-name "$tapline" stream --brokers nosuch.invalid:9092 --instance a
slow sink-away "$tapline" sink store --brokers $nobody --path "$work/away.db"
slow search-away "$tapline" sink elasticsearch --brokers $nobody --url http://127.0.0.1:29522

sleep 1000 &
sleeper=$!
agent=("$tapline" agent --state "$work/refused" --pin none)

# --- flags and settings ---
expect 2 'unknown flag --comn: did you mean --comm\?' "$tapline" agent --comn nginx
expect 2 'unknown flag --brokres: did you mean --brokers\?' "$tapline" stream --brokres x
expect 2 'unknown flag --urll: did you mean --url\?' "$tapline" sink elasticsearch --urll x
expect 2 'unknown flag --comn: did you mean --comm\?' "$tapline" run --comn nginx
expect 2 'no command `agnt`; did you mean `agent`' "$tapline" agnt
expect 2 'no sink `elasticserach`' "$tapline" sink elasticserach
expect 2 '"foo" is not one of auto, sys_exit' "$tapline" agent --backend foo --comm x
expect 2 'not a size: write it like' "$tapline" agent --ring-size 5Q --comm x
expect 2 '--pid abc: not a process id' "${agent[@]}" --pid abc
expect 2 'nothing is selected: name what to tap with --pid' "${agent[@]}"
expect 2 'nothing to tap: give a command after --' "$tapline" run
expect 2 '--brokers is missing: give --brokers HOST:PORT' "$tapline" stream
expect 2 'nothing is selected' "${agent[@]}" --comm ''
expect 2 'is not a container id: give its first 12' "${agent[@]}" --container web
expect 2 'redact rule `\(`: missing closing parenthesis' "${agent[@]}" --pid $sleeper --redact '('
expect 2 'no multi-line rule "blah"; there are java' "${agent[@]}" --pid $sleeper --multiline blah
expect 2 'kafka property "nosuch" is not known' "${agent[@]}" --pid $sleeper --brokers $nobody --kafka nosuch=1
expect 2 '`nonsense` is no address: write HOST:PORT' "${agent[@]}" --pid $sleeper --metrics nonsense

# --- YAML ---
printf 'agent:\n  comm: [nginx]\n  brokrs: kafka:9092\nstraem:\n  window: 10s\n' > "$work/bad.yaml"
expect 1 'bad.yaml:3: unknown key "agent.brokrs": did you mean "agent.brokers"\?' "$tapline" config check "$work/bad.yaml"
expect 1 'bad.yaml:4: unknown section "straem": did you mean "stream"\?' "$tapline" config check "$work/bad.yaml"
expect 2 'bad.yaml:3: unknown key "agent.brokrs"' "$tapline" agent --config "$work/bad.yaml"
printf 'stream:\n  window: 10 parsecs\n' > "$work/value.yaml"
expect 1 'value.yaml:2: .*10 parsecs' "$tapline" config check "$work/value.yaml"
printf 'agent:\n\tcomm: [' > "$work/broken.yaml"
expect 1 'broken.yaml:2: not valid YAML' "$tapline" config check "$work/broken.yaml"
expect 2 'cannot read /nonexistent: No such file' "$tapline" agent --config /nonexistent --comm x
printf 'agent:\n  comm: [nginx]\n  brokers: kafka:9092\n' > "$work/good.yaml"
expect 0 'ok' "$tapline" config check "$work/good.yaml"

# --- privileges and kernel ---
rm -rf "$work/refused"
mkdir -m 700 "$work/user" && chown 65534:65534 "$work/user"
expect 77 'CAP_BPF is missing.*setcap cap_bpf' setpriv --reuid 65534 --regid 65534 --clear-groups "${agent[@]}" --pid $sleeper
expect 77 'CAP_BPF is missing.*run as root' setpriv --reuid 65534 --regid 65534 --clear-groups "$tapline" run --store "$work/user/x.db" -- true
[ ! -e "$work/refused" ] || die "a refused start leaves folders"
for cap in bpf perfmon sys_ptrace dac_read_search; do
	expect 77 "CAP_${cap^^} is missing.*setcap" setpriv --bounding-set="-sys_admin,-$cap" "${agent[@]}" --pid $sleeper
done
expect 77 'root of a user namespace' unshare -U -r "${agent[@]}" --pid $sleeper
expect 77 'no type information in /sys/kernel/btf/vmlinux.*5.10 or newer, built with CONFIG_DEBUG_INFO_BTF' \
	unshare -m sh -c 'mount -t tmpfs none /sys/kernel/btf && exec "$@"' sh "${agent[@]}" --pid $sleeper
expect 77 'lockdown=confidentiality.*boot with lockdown=integrity' unshare -m sh -c 'mount -t tmpfs none /sys/kernel/security &&
	echo "none integrity [confidentiality]" > /sys/kernel/security/lockdown && exec "$@"' sh "${agent[@]}" --pid $sleeper
expect 77 'is not on a BPF file system.*--pin none' "$tapline" agent --state "$work/refused" --pin "$work/pins" --pid $sleeper
# The four capabilities are enough.
caps=+bpf,+perfmon,+sys_ptrace,+dac_read_search
expect 124 'capturing with' timeout 3 setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps $caps --ambient-caps $caps \
	"$tapline" agent --state "$work/user/state" --pin none --pid $sleeper

# --- pids ---
sh -c : & gone=$!
wait $gone
expect 1 "no process $gone: it has ended.*--comm" "${agent[@]}" --pid $gone
expect 1 "no process $gone" "$tapline" run --pid $gone
python3 -c 'import threading, time
t = threading.Thread(target=time.sleep, args=(1000,)); t.start(); print(t.native_id, flush=True)' > "$work/thread" &
threads=$!
wait_until 10 "no thread" test -s "$work/thread"
expect 2 "$(cat "$work/thread") is a thread of process $threads: use --pid $threads" "${agent[@]}" --pid "$(cat "$work/thread")"
# In another pid namespace the process has a number that the host does not have.
number=32001
while [ -e /proc/$number ]; do number=$((number + 1)); done
unshare -p -f --kill-child sh -c "echo $((number - 1)) > /proc/sys/kernel/ns_last_pid; sleep 1000 & wait" &
inner=$!
grandchild() { pgrep -P "$(pgrep -P $inner)" sleep; }
wait_until 10 "no process inside" grandchild > /dev/null 2>&1
inner_host=$(grandchild)
expect 1 "no process $number on this host; inside a container.*is process $inner_host \(sleep\): use --pid $inner_host" \
	"${agent[@]}" --pid $number
expect 77 'in a pid namespace of its own.*--pid=host' unshare -p -f --mount-proc "${agent[@]}" --pid 1

# --- the state folder ---
expect 1 'Read-only file system; .*choose a folder on another' unshare -m sh -c "mkdir '$work/ro' && mount -t tmpfs -o ro none '$work/ro' &&
	exec \"\$@\"" sh "$tapline" agent --state "$work/ro/state" --pin none --pid $sleeper
mkdir -p "$work/closed" && chmod 0500 "$work/closed"
expect 1 'Permission denied; check who owns it' "$tapline" agent --state "$work/closed" --pin none --pid $sleeper
touch "$work/file"
expect 1 'a part of the path is a file' "$tapline" agent --state "$work/file/state" --pin none --pid $sleeper
expect 1 'no room for the log.*free some space' unshare -m sh -c "mkdir -p '$work/tiny' && mount -t tmpfs -o size=64k none '$work/tiny' &&
	exec \"\$@\"" sh "$tapline" agent --state "$work/tiny/state" --pin none --pid $sleeper
expect 1 'too little for lines of up to 640 KiB.*Free space' unshare -m sh -c "mkdir -p '$work/tiny' && mount -t tmpfs -o size=8m none '$work/tiny' &&
	exec \"\$@\"" sh "$tapline" agent --state "$work/tiny/state" --pin none --pid $sleeper
expect 1 'too little for lines.*Raise --log-size' "$tapline" agent --state "$work/small" --pin none --pid $sleeper --log-size 2MiB
background held "$tapline" agent --state "$work/held" --pin none --pid $sleeper
held=$last
wait_until 30 "the agent does not capture" test -s "$work/held/status.json"
expect 1 'in use by another writer \(process [0-9]+\); stop it' "$tapline" agent --state "$work/held" --pin none --pid $sleeper
stop_pid "$held"
expect 1 'cannot read .*status.json.*is --state the folder' "$tapline" status --state "$work/nowhere"

# --- a service that exits at once ---
expect 0 '0 records' "$tapline" run -- true
expect 3 '"body":"last words"' "$tapline" run -o json -- sh -c 'printf "last words"; exit 3'
expect 127 'cannot run /no/such/program: No such file.*PATH' "$tapline" run -o none -- /no/such/program
expect 126 'cannot run /tmp: Permission denied' "$tapline" run -o none -- /tmp
for i in $(seq 25); do expect 0 "\"body\":\"quick $i\"" "$tapline" run -o json -- echo "quick $i"; done

# --- a full disk: told, capture goes on in the ring, and the ledger is exact when there is room again ---
"$servers/kafka.sh" start --dir "$work/kafka" --owner $$ --port 29510
brokers=127.0.0.1:29510
mkdir "$work/disk"
mount -t tmpfs -o size=24m none "$work/disk"
test_cleanup() { umount -l "$work/disk"; }
full() { # TAG RING: fills the disk under a writer of 30,000 lines, empties it again, and checks the topic
	local tag=$1 ring=$2 agent_pid writer
	rm -rf "$work/disk"/* "$work/go" "$work/$tag.log"
	mkfifo "$work/go"
	background "$tag-writer" sh -c "read _ < '$work/go'; exec '$O/tests/tools/lines' 30000 10000 128 '$work/truth' $tag > '$work/$tag.service.out'"
	writer=$last
	background "$tag" "$tapline" agent --brokers $brokers --topic-prefix "$tag." --state "$work/disk/state" --pin none --pid "$writer" \
		--path "$work/$tag.service.out" --ring-size "$ring" --log-size 16MiB --metrics 127.0.0.1:29523
	agent_pid=$last
	wait_until 30 "the agent does not capture" test -s "$work/disk/state/status.json"
	dd if=/dev/zero of="$work/disk/ballast" bs=64k status=none 2> /dev/null || true
	dd if=/dev/zero of="$work/disk/ballast2" bs=1k status=none 2> /dev/null || true
	echo > "$work/go"
	wait_until 20 "$tag: the agent does not tell that the disk is full" \
		grep -Eq 'takes no more \(No space left on device\): capture goes on in the ring.*free space' "$work/$tag.log"
	wait "$writer" || true
	wait_until 10 "$tag: no metric of it" sh -c 'curl -s http://127.0.0.1:29523/metrics | grep -q "^tapline_agent_log_full_total [1-9]"'
	rm -f "$work/disk/ballast" "$work/disk/ballast2"
	. "$work/truth"
	wait_until 30 "$tag: the agent does not go on" status_says "$work/disk/state" "[.streams[] | .delivered_bytes + .gap_bytes] | add >= $bytes"
	stop_pid "$agent_pid"
	kcat -C -b $brokers -t "$tag.raw" -o beginning -e -q 2> /dev/null > "$work/raw"
	python3 "$root/tests/integration/check_lines.py" --stdin --gaps --tag "$tag" --lines "$lines" --bytes "$bytes" < "$work/raw" | tee "$work/result"
	checks=$((checks + 1))
}
full roomy 32MiB
grep -q ' 0 missing, 0 bytes' "$work/result" || die "lines were lost although the ring had room"
full narrow 256KiB
! grep -q ' 0 missing, 0 bytes' "$work/result" || die "nothing was lost: the test did not test"
# Stopped while it is full: told, and not with status 0.
rm -rf "$work/disk"/* "$work/go"
mkfifo "$work/go"
background stopped-writer sh -c "read _ < '$work/go'; exec '$O/tests/tools/lines' 1000 0 128 '$work/truth' stopped > '$work/stopped.service.out'"
writer=$last
background stopped "$tapline" agent --state "$work/disk/state" --pin none --pid "$writer" --path "$work/stopped.service.out" --log-size 16MiB
stopped=$last
wait_until 30 "the agent does not capture" test -s "$work/disk/state/status.json"
dd if=/dev/zero of="$work/disk/ballast" bs=4k status=none 2> /dev/null || true
echo > "$work/go"
wait_until 20 "not told that the disk is full" grep -q 'takes no more' "$work/stopped.log"
kill -TERM "$stopped"
status=0
wait "$stopped" || status=$?
[ $status = 1 ] || die "an agent stopped with a full log ends with $status instead of 1"
grep -Eq 'bytes of the ring did not get into it' "$work/stopped.log" || die "what is left in the ring is not told"

# --- a broker that is away, and comes later ---
"$servers/kafka.sh" stop --dir "$work/kafka"
rm -f "$work/go"
mkfifo "$work/go"
background late-writer sh -c "read _ < '$work/go'; exec '$O/tests/tools/lines' 5000 0 128 '$work/truth' late > '$work/late.service.out'"
writer=$last
background late "$tapline" agent --brokers $brokers --topic-prefix late. --state "$work/late" --pin none --pid "$writer" --path "$work/late.service.out"
late=$last
wait_until 15 "the agent does not tell that the broker is away" \
	grep -Eq 'cannot use Kafka at 127.0.0.1:29510.*is the broker running.*Lines are kept in' "$work/late.log"
wait_until 30 "the agent does not capture" test -s "$work/late/status.json"
echo > "$work/go"
wait "$writer" || true
wait_until 15 "lines are not kept" status_says "$work/late" '.records >= 5000 and (.kafka.connected | not)'
"$tapline" status --state "$work/late" | grep -Eq 'kafka.*connected false.*is the broker running' || die "status does not tell that the broker is away"
"$servers/kafka.sh" start --dir "$work/kafka" --owner $$
wait_until 60 "the agent does not find the broker" status_says "$work/late" '.kafka.records >= 5000'
grep -q 'takes lines again' "$work/late.log" || die "the broker's return is not told"
stop_pid "$late"
kcat -C -b $brokers -t late.raw -o beginning -e -q 2> /dev/null > "$work/raw"
python3 "$root/tests/integration/check_lines.py" --stdin --ordered --tag late --lines 5000 < "$work/raw"
expect 124 'cannot use Kafka at nosuch.invalid:9092.*cannot be resolved. Lines are kept in' \
	timeout 6 "$tapline" agent --brokers nosuch.invalid:9092 --state "$work/named" --pin none --pid $sleeper --stop-timeout 0s

# --- what went on beside ---
slow_said() { # NAME REGEX
	wait_until 60 "$1 does not end" test -e "$work/$1.status"
	[ "$(cat "$work/$1.status")" = 1 ] || { cat "$work/$1.out"; die "$1 ended with $(cat "$work/$1.status") instead of 1"; }
	grep -Eq "error: .*$2" "$work/$1.out" || { cat "$work/$1.out"; die "$1 does not say: $2"; }
	checks=$((checks + 1))
}
slow_said stream-away 'cannot use Kafka at 127.0.0.1:29521.*is the broker running, and --brokers right'
slow_said stream-name 'name in --brokers cannot be resolved'
slow_said sink-away 'is the broker running, and --brokers right'
slow_said search-away 'no answer from http://127.0.0.1:29522.*check --url'
say "RESULT $checks refusals and outages, each told with what to do; nothing accepted was lost"
