-- For `run.py --parts check`: wrk takes the photos in turn. PHOTOS names a list of files, HEADERS holds `Name: value` lines.
-- Every thread of wrk runs this file for itself; one thread is enough here.

local bodies, turn = {}, 0

function init(_)
  for path in io.lines(os.getenv("PHOTOS")) do
    local file = assert(io.open(path, "rb"))
    bodies[#bodies + 1] = file:read("*a")
    file:close()
  end
  wrk.headers["Content-Type"] = "image/jpeg"
  for name, value in os.getenv("HEADERS"):gmatch("([^:\n]+): ([^\n]+)") do
    wrk.headers[name] = value
  end
end

function request()
  turn = turn % #bodies + 1
  return wrk.format("POST", nil, nil, bodies[turn])
end

function done(summary, latency, _)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  local form = '{"images_per_s":%f,"p50_ms":%f,"p99_ms":%f,"errors":%d}\n'
  local seconds = summary.duration / 1e6
  io.write(form:format(summary.requests / seconds, latency:percentile(50) / 1000, latency:percentile(99) / 1000, failed))
end
