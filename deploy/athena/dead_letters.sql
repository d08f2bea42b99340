-- Dead letters: `body` is the message as it was refused, `attributes` tell why and where. With --format parquet use the columns and
-- formats of logs_parquet.sql and the location PREFIX/parquet/dead_letters/.
CREATE EXTERNAL TABLE dead_letters (
  uid string,
  `timestamp` string,
  observed_timestamp string,
  severity_number int,
  severity_text string,
  body string,
  trace_id string,
  span_id string,
  trace_flags int,
  resource map<string,string>,
  attributes map<string,string>
)
PARTITIONED BY (dt string, hour string)
ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'
WITH SERDEPROPERTIES ('ignore.malformed.json' = 'false', 'case.insensitive' = 'false')
STORED AS INPUTFORMAT 'org.apache.hadoop.mapred.TextInputFormat'
OUTPUTFORMAT 'org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat'
LOCATION 's3://BUCKET/PREFIX/dead_letters/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2026-01-01,NOW',
  'projection.dt.interval' = '1',
  'projection.dt.interval.unit' = 'DAYS',
  'projection.hour.type' = 'integer',
  'projection.hour.range' = '0,23',
  'projection.hour.digits' = '2',
  'storage.location.template' = 's3://BUCKET/PREFIX/dead_letters/dt=${dt}/hour=${hour}/'
)
