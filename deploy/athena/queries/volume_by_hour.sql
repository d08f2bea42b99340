-- Records and bytes of their bodies by hour and service. Change dt.
SELECT
  hour,
  element_at(resource, 'service.name') AS service,
  count(*) AS records,
  sum(length(body)) AS body_characters
FROM logs
WHERE dt = '2026-11-20'
GROUP BY hour, element_at(resource, 'service.name')
ORDER BY hour, service
