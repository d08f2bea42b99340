-- Why records were refused, how often, and one of each kind. Change dt.
SELECT
  element_at(attributes, 'tapline.reason') AS reason,
  element_at(attributes, 'tapline.stage') AS stage,
  element_at(attributes, 'tapline.topic') AS topic,
  count(*) AS records,
  min(body) AS example
FROM dead_letters
WHERE dt = '2026-11-20'
GROUP BY 1, 2, 3
ORDER BY records DESC, reason
