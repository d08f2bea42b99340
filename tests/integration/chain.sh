#!/bin/bash
# A chain of services that know nothing of tapline, on one host: nginx -> Go -> threaded Python -> Java, log lines on each hop.
# Twice: nginx makes the id and sends it onward (each hop's lines have it), and nobody makes or sends one (each hop's lines have
# the one that tapline made for the chain). The checker knows the truth from the load generator and from nginx's own file:
# 0 wrong ids, 0 wrong parents; the recall of each hop is printed.
. "$(dirname "$0")/lib.bash"
requests=${REQUESTS:-3000}
ports=${PORTS:-21600}
# What the gates take to open, 300 overlapping requests a hop, is the larger part of what is missing.
least=${LEAST:-0.6}

probed() { jq -e '.uprobes.attached >= 3' "$1"/run-*/status.json > /dev/null 2>&1; } # DIR

one() { # NAME FLAG...
	local name=$1 dir=$work/$1 status=0
	shift
	mkdir -p "$dir"
	export TAPLINE_STORE=$dir/store.db
	background "$name" "$tapline" run -o json -- "$servers/chain/chain.sh" run --dir "$dir" --ports "$ports" "$@"
	local run=$last
	wait_until 40 "the chain does not start" test -s "$dir/env"
	. "$dir/env"
	# Who asks for what on a connection of Go's pool is known of those that begin after the probes are there.
	wait_until 20 "the probes of Go are not there" probed "$dir"
	python3 "$servers/apps/load.py" --url "$CHAIN_URL" --paths /r/ --header x-truth --no-check -n "$requests" -c 16 --truth "$dir/sent"
	stop_pid "$run"
	"$tapline" search --http -o json --limit 1000000 > "$dir/http" 2> /dev/null
	python3 "$root/tests/integration/check_chain.py" --records "$work/$name.log" --http "$dir/http" --sent "$dir/sent" \
		--made "$dir/nginx/truth.txt" --scenario "$name" --least "$least" || status=$?
	return $status
}

"$servers/chain/chain.sh" build > /dev/null
bad=0
for scenario in ${SCENARIOS:-made generated}; do
	case $scenario in
	made) one made --makes-id || bad=1 ;;
	generated) one generated || bad=1 ;;
	esac
done
[ $bad = 0 ] || die "see above"
say "RESULT wrong 0; chains $(cat "$work"/*/recall | tr '\n' ' ')"
