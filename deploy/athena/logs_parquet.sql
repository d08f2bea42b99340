-- Records as `tapline sink s3 --format parquet` writes them.
CREATE EXTERNAL TABLE logs (
  uid string,
  `timestamp` timestamp,
  observed_timestamp timestamp,
  timestamp_ns bigint,
  observed_ns bigint,
  severity_number int,
  severity_text string,
  body string,
  trace_id string,
  span_id string,
  trace_flags int,
  service_name string,
  host_name string,
  correlation_id string,
  correlation_how string,
  resource map<string,string>,
  attributes map<string,string>
)
PARTITIONED BY (dt string, hour string)
ROW FORMAT SERDE 'org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe'
STORED AS INPUTFORMAT 'org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat'
OUTPUTFORMAT 'org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat'
LOCATION 's3://BUCKET/PREFIX/parquet/logs/'
TBLPROPERTIES (
  'parquet.compression' = 'ZSTD',
  'projection.enabled' = 'true',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2026-01-01,NOW',
  'projection.dt.interval' = '1',
  'projection.dt.interval.unit' = 'DAYS',
  'projection.hour.type' = 'integer',
  'projection.hour.range' = '0,23',
  'projection.hour.digits' = '2',
  'storage.location.template' = 's3://BUCKET/PREFIX/parquet/logs/dt=${dt}/hour=${hour}/'
)
