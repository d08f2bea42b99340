<?php // Behind php-fpm: one process serves one request at a time.
$id = trim($_SERVER['HTTP_X_REQUEST_ID'] ?? '');
$gt = $id === '' ? 'none' : substr(hash('sha256', $id), 0, 12);
$path = strtok($_SERVER['REQUEST_URI'], '?');
function say(string $class, string $gt, string $text): void {
	$log = fopen($_SERVER['BENCH_LOG'], 'a');
	fwrite($log, "level=info class=$class gt=$gt msg=\"$text\"\n");
	fclose($log);
}
say('sync', $gt, "begin {$_SERVER['REQUEST_METHOD']} $path");
if (random_int(0, 1)) usleep(random_int(0, 2000));
say('after-await', $gt, 'worked');
http_response_code(['/empty' => 204, '/notmod' => 304][$path] ?? 200);
header('Content-Type: text/plain');
if (http_response_code() === 200) echo "$gt\n";
if ($path === '/late') {
	fastcgi_finish_request();
	usleep(random_int(0, 5000));
	say('after-response', $gt, 'late');
}
