"""deploy/athena against objects that tapline wrote: the tables are Athena's SQL and say what is in the objects; each saved query, in
DuckDB's words, answers with the rows that follow from the topic, over NDJSON and over Parquet.

usage: check_athena.py --data FOLDER --truth FILE --athena FOLDER
"""
import argparse
import collections
import glob
import json
import os
import re
import sys

import duckdb
import sqlglot
from sqlglot import exp

parser = argparse.ArgumentParser()
parser.add_argument("--data", required=True)
parser.add_argument("--truth", required=True)
parser.add_argument("--athena", required=True)
args = parser.parse_args()
bad = []
db = duckdb.connect()
db.execute("SET TimeZone = 'UTC'")
TYPES = {"string": "VARCHAR", "int": "INTEGER", "bigint": "BIGINT", "timestamp": "TIMESTAMP WITH TIME ZONE",
         "map<string,string>": "MAP(VARCHAR, VARCHAR)"}


def check(what, ok):
    if not ok:
        bad.append(what)


class Table:
    """A CREATE EXTERNAL TABLE file: name, columns as written, properties, and the folder that its location means."""

    def __init__(self, file):
        text = open(f"{args.athena}/{file}").read()
        tree = sqlglot.parse_one(text, read="athena")
        check(f"{file}: not a CREATE TABLE in Athena's SQL", isinstance(tree, exp.Create))
        self.name = tree.this.this.name
        body = text[text.index("(") + 1:text.index("\n)\nPARTITIONED BY")]
        self.columns = dict(re.match(r"`?(\w+)`? (.+?),?$", line.strip()).groups() for line in body.strip().splitlines())
        check(f"{file}: columns that sqlglot sees differently",
              set(self.columns) == {c.name for c in tree.this.expressions if isinstance(c, exp.ColumnDef)})
        self.properties = dict(re.findall(r"'([\w.]+)' = '([^']*)'", text[text.index("TBLPROPERTIES"):]))
        location = re.search(r"LOCATION 's3://BUCKET/PREFIX/([^']*)'", text).group(1)
        self.folder = f"{args.data}/{location}"
        template = self.properties["storage.location.template"]
        check(f"{file}: template and location differ", template == f"s3://BUCKET/PREFIX/{location}dt=${{dt}}/hour=${{hour}}/")
        for path in glob.glob(f"{self.folder}*/*/*"):
            dt, hour = re.match(r"dt=([\d-]{10})/hour=(\d\d)/[^/]+$", path[len(self.folder):]).groups()
            projected = template.replace("s3://BUCKET/PREFIX/", args.data + "/").replace("${dt}", dt).replace("${hour}", hour)
            check(f"{file}: {path} is in no projected partition", path.startswith(projected))
            check(f"{file}: hour {hour}", 0 <= int(hour) <= 23 and len(hour) == int(self.properties["projection.hour.digits"]))
        check(f"{file}: dt is projected as {self.properties['projection.dt.format']}",
              self.properties["projection.dt.format"] == "yyyy-MM-dd")

    def view(self, file):
        hive = "hive_partitioning = true, hive_types_autocast = false"
        if "parquet" in file:
            source = f"read_parquet('{self.folder}*/*/*.parquet', {hive})"
            there = {name: kind for name, kind, *_ in db.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}
            wanted = {name: TYPES[kind] for name, kind in self.columns.items()} | {"dt": "VARCHAR", "hour": "VARCHAR"}
            check(f"{file}: the objects have {there}, the table says {wanted}", there == wanted)
            # As Athena shows them: UTC without a zone.
            source = f"(SELECT * REPLACE (timestamp::TIMESTAMP AS timestamp, observed_timestamp::TIMESTAMP AS observed_timestamp) FROM {source})"
        else:
            columns = ", ".join(f"{name}: '{TYPES[kind]}'" for name, kind in self.columns.items())
            source = f"read_json('{self.folder}*/*/*.json.zst', format = 'newline_delimited', columns = {{{columns}}}, {hive})"
        db.execute(f"CREATE OR REPLACE VIEW {self.name} AS SELECT * FROM {source}")


def ask(name, dt):
    text = open(f"{args.athena}/queries/{name}.sql").read()
    tree = sqlglot.parse_one(text, read="athena")
    check(f"{name}: not a SELECT in Athena's SQL", isinstance(tree, exp.Select))
    return db.execute(re.sub(r"dt = '[\d-]+'", f"dt = '{dt}'", tree.sql(dialect="duckdb"))).fetchall()


def expect(name, rows, wanted):
    print(f"{name}: {len(rows)} rows")
    if rows != wanted:
        bad.append(f"{name}: {rows[:3]} ... instead of {wanted[:3]} ...")


records = [json.loads(line) for line in open(args.truth)]
DAY = min(r["observed_timestamp"][:10] for r in records)
today = [r for r in records if r["observed_timestamp"].startswith(DAY)]


def service(r):
    return r["resource"].get("service.name")


def percent(n, of):
    return round(100.0 * n / of, 2)


def is_error(r):
    return isinstance(r.get("severity_number"), int) and r["severity_number"] >= 17


by_service = collections.Counter(map(service, today))
errors = collections.Counter(service(r) for r in today if is_error(r))
volume = collections.defaultdict(lambda: [0, 0])
for r in today:
    cell = volume[r["observed_timestamp"][11:13], service(r)]
    cell[0] += 1
    cell[1] += len(r["body"])
shares = collections.Counter((service(r), r["attributes"].get("correlation.how"), r["attributes"].get("correlation.why")) for r in today)
last = lambda *key: tuple((k is None, k) for k in key)  # NULLs come last, as in Athena
request = sorted((r for r in today if r["attributes"].get("correlation.id") == "req-1000"), key=lambda r: r["observed_timestamp"])
wanted = {
    "errors_by_service": [(s, n, errors[s], percent(errors[s], n)) for s, n in sorted(
        by_service.items(), key=lambda i: (-errors[i[0]], last(i[0])))],
    "one_request": [(service(r), r.get("severity_text"), r["attributes"]["correlation.how"], r["body"]) for r in request],
    "volume_by_hour": [(h, s, n, size) for (h, s), (n, size) in sorted(volume.items(), key=lambda i: last(*i[0]))],
    "correlation_share": [(s, how, why, n, percent(n, by_service[s])) for (s, how, why), n in sorted(
        shares.items(), key=lambda i: (last(i[0][0]), -i[1]))],
}
check("the topic has nothing to ask for", len(request) == 4 and len(by_service) > 1 and sum(errors.values()) > 0)
for file in ("logs_json.sql", "logs_parquet.sql"):
    Table(file).view(file)
    for name, rows in wanted.items():
        found = ask(name, DAY)
        if name == "one_request":
            found = [row[1:] for row in found]
        expect(f"{name} over {file}", found, rows)
Table("dead_letters.sql").view("dead_letters.sql")
(day,) = db.execute("SELECT max(dt) FROM dead_letters").fetchone()
expect("dead_letters", ask("dead_letters", day), [
    ("malformed_record: no JSON object with uid and observed_timestamp", "sink", "logs", 3, "no json")][:1])
asked = {*wanted, "dead_letters"}
check("saved queries without a test", asked == {os.path.basename(f)[:-4] for f in glob.glob(f"{args.athena}/queries/*.sql")})
for line in bad:
    print("FAILED:", line)
sys.exit(1 if bad else 0)
