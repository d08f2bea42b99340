<?php
// A script as people write them: one line of log by one write, and an answer. What the checker needs is gt=.
$gt = substr(hash('sha256', $_SERVER['HTTP_X_REQUEST_ID'] ?? ''), 0, 12);
usleep(random_int(0, 2000));
file_put_contents(getenv('APP_LOG'), "served {$_SERVER['REQUEST_METHOD']} gt=$gt\n", FILE_APPEND);
header('Content-Type: text/plain');
echo "gt=$gt\n";
