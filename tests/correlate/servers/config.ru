# Puma: `puma -q -b tcp://127.0.0.1:PORT -t 8:8 config.ru`.
require_relative 'lib'

start_noise
truth('load the digest before threads need it')
run(lambda do |env|
  gt = truth(env['HTTP_X_REQUEST_ID'])
  path = env['PATH_INFO']
  say('sync', gt, "begin #{env['REQUEST_METHOD']} #{path}")
  env['rack.input']&.read
  pause
  say('after-await', gt, 'worked')
  extras(path, gt)
  status = { '/empty' => 204, '/notmod' => 304 }.fetch(path, 200)
  status == 200 ? [200, { 'Content-Type' => 'text/plain' }, ["#{gt}\n"]] : [status, {}, []]
end)
