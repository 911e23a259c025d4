-- Orders of three lines, each with a key of its own, for wrk.
local threads = 0

function setup(thread)
  thread:set("id", threads)
  threads = threads + 1
end

function init(arguments)
  token, run, count = arguments[1], arguments[2], 0
  math.randomseed(id + 1)
end

function request()
  count = count + 1
  local body = string.format(
    '{"items":[{"product_id":%d,"quantity":1},{"product_id":%d,"quantity":1},{"product_id":%d,"quantity":1}]}',
    math.random(1, 333), math.random(334, 666), math.random(667, 1000))
  return wrk.format("POST", "/v1/customers/me/orders", {
    ["Authorization"] = "Bearer " .. token,
    ["Content-Type"] = "application/json",
    ["Idempotency-Key"] = run .. "-" .. id .. "-" .. count,
  }, body)
end

function response(status)
  if status ~= 201 then print("status " .. status) end
end
