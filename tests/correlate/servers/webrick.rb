# WEBrick, a thread per connection: `ruby webrick.rb PORT`.
require 'webrick'
require_relative 'lib'

class Servlet < WEBrick::HTTPServlet::AbstractServlet
  def service(request, response)
    gt = truth(request['x-request-id'])
    say('sync', gt, "begin #{request.request_method} #{request.path}")
    request.body
    pause
    say('after-await', gt, 'worked')
    extras(request.path, gt)
    response.status = { '/empty' => 204, '/notmod' => 304 }.fetch(request.path, 200)
    response.body = "#{gt}\n" if response.status == 200
    response.chunked = true if request.path == '/chunked'
  end
end

start_noise
truth('load the digest before threads need it')
server = WEBrick::HTTPServer.new(BindAddress: '127.0.0.1', Port: ARGV[0].to_i, AccessLog: [], RequestTimeout: 30,
                                 MaxClients: 600, Logger: WEBrick::Log.new(File::NULL))
server.mount('/', Servlet)
trap('TERM') { server.shutdown }
server.start
