-- KV v2 writes: random values of a fixed length under random keys.
-- Arguments after `--`: the folder (a KV v2 data path) and the length of a value in bytes.
dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "report.lua")

local threads = 0
local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
local bodies, folder = {}, nil

function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

function init(args)
  math.randomseed(os.time() * 64 + number)
  folder = args[1]
  for n = 1, 64 do
    local value = {}
    for i = 1, tonumber(args[2]) do
      local at = math.random(#alphabet)
      value[i] = alphabet:sub(at, at)
    end
    bodies[n] = '{"data":{"value":"' .. table.concat(value) .. '"}}'
  end
end

function request()
  return wrk.format("POST", folder .. math.random(1000000), nil, bodies[math.random(#bodies)])
end
