#!/usr/bin/env python3
"""Runs every query found in deploy/grafana, deploy/kibana, deploy/opensearch-dashboards and deploy/prometheus against the servers
that tapline wrote to. A query must run without error; it must answer with rows unless it asks for trouble that was not there."""
import argparse
import glob
import json
import re
import shlex
import subprocess
import sys
import time
import urllib.parse
import urllib.request

import yaml

# What may be empty when all is well.
QUIET = ("lost", "moved unseen", "Dead letters", "without an id", "Errors", "errors", "gaps", "Failed", "failed")


def fetch(url, body=None):
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


class Checker:
    def __init__(self, args):
        self.args = args
        self.until = int(time.time()) + 60
        self.queries = 0
        self.bad = []
        with open(args.truth) as f:
            self.id = re.split(r"[\s\t,]+", f.readline().strip())[0]

    def fail(self, where, why):
        self.bad.append(f"{where}: {why}")

    def judge(self, where, title, n):
        self.queries += 1
        if n == 0 and not any(word in title for word in QUIET):
            self.fail(where, "no rows")

    # --- SQL, as Grafana fills its macros in ---
    def expand(self, sql):
        since, until = self.args.since - 60, self.until
        sql = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 BETWEEN to_timestamp({since}) AND to_timestamp({until})", sql)
        sql = re.sub(r"\$__timeGroup\((\w+), \$__interval\)", r"floor(extract(epoch from \1) / 10) * 10", sql)
        sql = sql.replace("$__interval_ms", "10000").replace("${service:sqlstring}", f"'{self.service}'")
        if "$" in re.sub(r"\$\$", "", sql):
            raise ValueError(f"a macro that this test does not know: {sql}")
        return sql

    def sql(self, text):
        command = shlex.split(self.args.postgres) + ["-At", "-F", "\t", "-c", self.expand(text)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if run.returncode:
            raise ValueError(run.stderr.strip())
        return [line.split("\t") for line in run.stdout.splitlines()]

    # --- the search server ---
    def hits(self, index, query, aggs=None):
        for name, value in (("$service", self.service), ("$id", self.id), ("$words", ""), ("REQUEST-ID", self.id)):
            query = query.replace(name, value)
        body = {"size": 1, "track_total_hits": True, "query": {"query_string": {"query": query}}}
        if aggs:
            body["aggs"] = aggs
        return fetch(f"{self.args.search}/{index}/_search", body)

    # --- Prometheus ---
    def promql(self, expr):
        expr = expr.replace("$__rate_interval", "30s")
        query = urllib.parse.urlencode({"query": expr, "start": self.args.since, "end": int(time.time()), "step": 1})
        answer = fetch(f"{self.args.prometheus}/api/v1/query_range?{query}")
        return answer["data"]["result"]

    def rows_soon(self, expr):
        """A rate has no rows before two scrapes of its counter: waits for them."""
        deadline = time.monotonic() + 15
        while not (rows := self.promql(expr)) and time.monotonic() < deadline:
            time.sleep(0.5)
        return rows

    def target(self, where, title, target):
        kind = target["datasource"]["type"]
        try:
            if kind.endswith("postgresql-datasource"):
                rows = self.sql(target["rawSql"])
                self.judge(where, title, len(rows))
                return rows
            if kind == "prometheus":
                quiet = any(word in title for word in QUIET)
                self.judge(where, title, len(self.promql(target["expr"]) if quiet else self.rows_soon(target["expr"])))
            elif kind == "elasticsearch":
                index = "tapline-http-*" if target["datasource"]["uid"] == "tapline-http" else "tapline-logs-*"
                self.judge(where, title, self.hits(index, target["query"])["hits"]["total"]["value"])
            else:
                self.fail(where, f"unknown datasource {kind}")
        except Exception as error:  # pylint: disable=broad-except
            self.fail(where, error)
        return []

    def grafana(self):
        uids = {d["uid"] for d in yaml.safe_load(open(f"{self.args.root}/deploy/grafana/datasources/tapline.yml"))["datasources"]}
        self.service = "?"
        services = self.sql("SELECT DISTINCT labels->>'service.name' FROM tapline.metrics WHERE name = 'http.server.request.duration'")
        self.service = services[0][0]
        for path in sorted(glob.glob(f"{self.args.root}/deploy/grafana/dashboards/*.json")):
            board = json.load(open(path))
            for variable in board["templating"]["list"]:
                if variable["type"] == "query":
                    self.judge(f"{path} ${variable['name']}", "", len(self.sql(variable["query"])))
            for panel in board["panels"]:
                for target in panel.get("targets", []):
                    where = f"{path.rsplit('/', 1)[1]} `{panel['title']}`"
                    if target["datasource"]["uid"] not in uids:
                        self.fail(where, f"datasource {target['datasource']['uid']} is not provisioned")
                    rows = self.target(where, panel["title"], target)
                    if panel["title"] == "Requests" and rows and int(float(rows[0][0])) < self.args.requests:
                        self.fail(where, f"{rows[0][0]} requests where at least {self.args.requests} were made")

    def saved_objects(self, path):
        objects = [json.loads(line) for line in open(path)]
        known = {(o["type"], o["id"]) for o in objects}
        views = {o["id"]: o["attributes"]["title"] for o in objects if o["type"] == "index-pattern"}
        for o in objects:
            where = f"{path.split('deploy/')[1]} {o['id']}"
            for reference in o["references"]:
                if (reference["type"], reference["id"]) not in known:
                    self.fail(where, f"refers to {reference['id']}, which is not there")
            if o["type"] not in ("search", "visualization"):
                continue
            source = json.loads(o["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])
            index = views[o["references"][0]["id"]]
            aggs = self.aggregations(o) if o["type"] == "visualization" else None
            try:
                answer = self.hits(index, source["query"]["query"], aggs)
            except Exception as error:  # pylint: disable=broad-except
                self.fail(where, error)
                continue
            self.judge(where, o["attributes"]["title"], answer["hits"]["total"]["value"])
            for name, value in (answer.get("aggregations") or {}).items():
                if not value["buckets"] and answer["hits"]["total"]["value"]:
                    self.fail(where, f"aggregation {name} has no buckets")

    @staticmethod
    def aggregations(o):
        aggs = {}
        for a in json.loads(o["attributes"]["visState"])["aggs"]:
            if a["type"] == "terms":
                aggs[a["params"]["field"]] = {"terms": {"field": a["params"]["field"], "size": a["params"]["size"]}}
            elif a["type"] == "date_histogram":
                aggs["over time"] = {"date_histogram": {"field": a["params"]["field"], "fixed_interval": "10s"}}
        return aggs

    def alerts(self):
        rules = yaml.safe_load(open(f"{self.args.root}/deploy/prometheus/tapline.rules.yml"))
        for rule in (r for g in rules["groups"] for r in g["rules"]):
            # Every name in an alert is one that is really exported.
            names = set(re.findall(r"\btapline_\w+", rule["expr"]))
            for name in names:
                self.queries += 1
                if not self.promql(name) and name not in ("tapline_sink_dead_letters_total",):
                    self.fail(rule["alert"], f"nobody exports {name}")
        firing = fetch(f"{self.args.prometheus}/api/v1/alerts")["data"]["alerts"]
        for alert in firing:
            if alert["state"] == "firing":
                self.fail(alert["labels"]["alertname"], "fires although all is well")


def main():
    parser = argparse.ArgumentParser()
    for name in ("root", "search", "server", "postgres", "prometheus", "truth"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--since", type=int, required=True)
    parser.add_argument("--requests", type=int, required=True)
    checker = Checker(parser.parse_args())
    checker.grafana()
    folder = "opensearch-dashboards" if checker.args.server == "opensearch" else "kibana"
    checker.saved_objects(f"{checker.args.root}/deploy/{folder}/tapline.ndjson")
    checker.alerts()
    for line in checker.bad:
        print(line)
    print(f"RESULT {checker.queries} queries of dashboards, saved searches and alerts, {len(checker.bad)} wrong")
    sys.exit(bool(checker.bad))


main()
