-- Errors and all records of a day by service, the noisiest first. Change dt.
SELECT
  element_at(resource, 'service.name') AS service,
  count(*) AS records,
  count_if(severity_number >= 17) AS errors,
  round(100.0 * count_if(severity_number >= 17) / count(*), 2) AS error_percent
FROM logs
WHERE dt = '2026-11-20'
GROUP BY element_at(resource, 'service.name')
ORDER BY errors DESC, service
