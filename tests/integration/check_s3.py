"""Reads what the s3 sink wrote with DuckDB, which shares no code with it: hive partitions, NDJSON (zstd), Parquet, and the S3 API.

usage: check_s3.py --data FOLDER --truth FILE --count N [--endpoint URL --bucket NAME]
Credentials for the endpoint: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY.
"""
import argparse
import glob
import os
import sys

import duckdb

parser = argparse.ArgumentParser()
parser.add_argument("--data", required=True)
parser.add_argument("--truth", required=True)
parser.add_argument("--count", type=int, required=True)
parser.add_argument("--endpoint")
parser.add_argument("--bucket")
args = parser.parse_args()
bad = []
db = duckdb.connect()
db.execute("SET TimeZone = 'UTC'")
COLUMNS = """{uid: 'VARCHAR', timestamp: 'VARCHAR', observed_timestamp: 'VARCHAR', severity_number: 'INTEGER', severity_text: 'VARCHAR',
 body: 'VARCHAR', trace_id: 'VARCHAR', span_id: 'VARCHAR', trace_flags: 'INTEGER',
 resource: 'MAP(VARCHAR, VARCHAR)', attributes: 'MAP(VARCHAR, VARCHAR)'}"""


def json_table(where, extra=""):
    return f"read_json('{where}', format = 'newline_delimited', columns = {COLUMNS}{extra})"


HIVE = ", hive_partitioning = true, hive_types_autocast = false"
ndjson = json_table(f"{args.data}/logs/*/*/*.json.zst", HIVE)
parquet = f"read_parquet('{args.data}/parquet/logs/*/*/*.parquet', hive_partitioning = true, hive_types_autocast = false)"
truth = json_table(args.truth)
same = "uid, severity_number, severity_text, body, trace_id, span_id, trace_flags, resource, attributes"


def one(sql):
    return db.execute(sql).fetchone()[0]


def expect(what, found, wanted):
    print(f"{what}: {found}")
    if found != wanted:
        bad.append(f"{what}: {found}, not {wanted}")


for name, table in (("NDJSON", ndjson), ("Parquet", parquet)):
    expect(f"{name} records", one(f"SELECT count(*) FROM {table}"), args.count)
    expect(f"{name} uids", one(f"SELECT count(DISTINCT uid) FROM {table}"), args.count)
    hours = f"SELECT dt, hour, count(*) FROM {table} GROUP BY ALL ORDER BY ALL"
    true_hours = (f"SELECT observed_timestamp[1:10], observed_timestamp[12:13], count(*) FROM {truth} GROUP BY ALL ORDER BY ALL")
    expect(f"{name} records by hour as in the topic", db.execute(hours).fetchall() == db.execute(true_hours).fetchall(), True)
expect("NDJSON records in the folder of another hour", one(
    f"SELECT count(*) FROM {ndjson} WHERE dt <> observed_timestamp[1:10] OR hour <> observed_timestamp[12:13]"), 0)
expect("Parquet records in the folder of another hour", one(
    f"SELECT count(*) FROM {parquet} WHERE strftime(observed_timestamp, '%Y-%m-%d%H') <> dt || hour"), 0)
for a, b in ((truth, parquet), (parquet, truth)):
    expect("records that differ", one(f"SELECT count(*) FROM (SELECT {same} FROM {a} EXCEPT ALL SELECT {same} FROM {b})"), 0)
expect("Parquet times that differ", one(
    f"SELECT count(*) FROM {parquet} p JOIN {truth} t USING (uid) WHERE p.observed_ns <> epoch_ns(t.observed_timestamp::TIMESTAMP_NS)"
    f" OR p.timestamp_ns <> epoch_ns(t.timestamp::TIMESTAMP_NS) OR epoch_us(p.observed_timestamp) <> p.observed_ns // 1000"
    f" OR epoch_us(p.timestamp) <> p.timestamp_ns // 1000"), 0)
expect("Parquet columns that differ from their map", one(
    f"SELECT count(*) FROM {parquet} WHERE service_name IS DISTINCT FROM resource['service.name']"
    f" OR host_name IS DISTINCT FROM resource['host.name'] OR correlation_id IS DISTINCT FROM attributes['correlation.id']"
    f" OR correlation_how IS DISTINCT FROM attributes['correlation.how']"), 0)
if args.endpoint:
    extension = [f for p in sys.path for f in glob.glob(f"{p}/duckdb_extension_httpfs/extensions/*/httpfs.duckdb_extension")]
    db.execute(f"INSTALL '{extension[0]}'; LOAD httpfs")
    db.execute(f"CREATE SECRET (TYPE S3, KEY_ID '{os.environ['AWS_ACCESS_KEY_ID']}', SECRET '{os.environ['AWS_SECRET_ACCESS_KEY']}',"
               f" ENDPOINT '{args.endpoint.split('//')[1]}', REGION 'us-east-1', URL_STYLE 'path', USE_SSL false)")
    hour = one(f"SELECT min(observed_timestamp)[12:13] FROM {truth}")
    expect("records of the first hour over S3 as in the topic", one(
        f"SELECT count(*) FROM read_parquet('s3://{args.bucket}/parquet/logs/dt=*/hour={hour}/*.parquet')"), one(
        f"SELECT count(*) FROM {truth} WHERE observed_timestamp[12:13] = '{hour}'"))
for line in bad:
    print("FAILED:", line)
sys.exit(1 if bad else 0)
