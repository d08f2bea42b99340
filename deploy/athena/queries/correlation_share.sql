-- How lines got their request's id, and why others have none. Change dt.
SELECT
  element_at(resource, 'service.name') AS service,
  element_at(attributes, 'correlation.how') AS how,
  element_at(attributes, 'correlation.why') AS why,
  count(*) AS records,
  round(100.0 * count(*) / sum(count(*)) OVER (PARTITION BY element_at(resource, 'service.name')), 2) AS percent
FROM logs
WHERE dt = '2026-11-20'
GROUP BY 1, 2, 3
ORDER BY service, records DESC
