# What the Ruby services under test share.
require 'digest'

OUT = IO.new(1)

# One line by one write(2).
def say(kind, gt, text)
  OUT.syswrite("level=info class=#{kind} gt=#{gt} msg=\"#{text}\"\n")
end

def truth(id)
  id.to_s.strip.empty? ? 'none' : Digest::SHA256.hexdigest(id.strip)[0, 12]
end

def pause
  sleep(rand * 0.002) if rand < 0.5
end

def extras(path, gt)
  case path
  when '/child' then Thread.new { pause; say('child', gt, "child's work") }
  when '/late' then Thread.new { sleep(rand * 0.05); say('after-response', gt, 'late') }
  when '/pool' then Thread.new { say('pool', gt, 'pooled work') }.join
  end
end

def every(name, text)
  rate = ENV[name].to_i
  Thread.new { loop { sleep(1.0 / rate); say('background', '-', text) } } if rate.positive?
end

def start_noise
  say('startup', '-', 'starting')
  every('BACKGROUND', 'housekeeping')
  every('JOBS', 'job')
end
