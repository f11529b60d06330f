-- wrk: posts one fixed body; prints one line of JSON at the end. Times in ms.
-- Arguments after `--`: the file that holds the body.

local statuses = {}

function setup(thread) table.insert(statuses, thread) end

function init(args)
  local file = assert(io.open(args[1], "rb"))
  wrk.method = "POST"
  wrk.body = file:read("*a")
  wrk.headers["Content-Type"] = "application/json"
  file:close()
  refused = 0
end

function response(status) if status ~= 202 then refused = refused + 1 end end

function done(summary, latency)
  local errors = summary.errors
  local refusals = 0
  for _, thread in ipairs(statuses) do refusals = refusals + thread:get("refused") end
  print(string.format('{"requests":%d,"seconds":%.6f,"p50":%.4f,"p99":%.4f,"errors":%d}', summary.requests,
    summary.duration / 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    errors.connect + errors.read + errors.write + errors.timeout + refusals))
end
