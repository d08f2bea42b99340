-- All lines of one request in order, over all services it went through. Change dt and the id.
SELECT
  observed_timestamp,
  element_at(resource, 'service.name') AS service,
  severity_text,
  element_at(attributes, 'correlation.how') AS how,
  body
FROM logs
WHERE dt = '2026-11-20'
  AND (element_at(attributes, 'correlation.id') = 'req-1000' OR trace_id = 'req-1000')
ORDER BY observed_timestamp, uid
