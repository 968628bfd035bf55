-- One flush: the levels that changed, the minutes that were sealed, and the cursor, all or nothing.
-- Everything is checked before the first write, since Redis doesn't undo what a failing script wrote.
-- KEYS: cursor, lease, sealed, seals, then the open minutes to write, then the open minutes to drop
-- ARGV: fence, token built on, new token, state, lease owner, lease ms, most notices kept,
--       number of minutes to write, to drop, and sealed,
--       for each to write: 1 to replace it as a whole or 0, number of arguments, field, value, ...
--       for each sealed: minute, value, revision, status, trade count
local cursor, lease, sealed, seals = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local writes, drops, seals_now = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local stored = redis.call('HMGET', cursor, 'fence', 'token')
if stored[1] ~= ARGV[1] then return {'FENCED', stored[1] or ''} end
local token = stored[2] or ''
if token == ARGV[3] then return {'DONE'} end
if token ~= ARGV[2] then return {'MOVED', token} end

local at = 11
for i = 1, writes do
  local count = tonumber(ARGV[at + 1])
  if not count or count < 2 or count % 2 ~= 0 then return {'MALFORMED'} end
  at = at + 2 + count
end
if at + 5 * seals_now ~= #ARGV + 1 or #KEYS ~= 4 + writes + drops then return {'MALFORMED'} end
if not (ARGV[6]:match('^[1-9]%d*$') and ARGV[7]:match('^%d+$')) then return {'MALFORMED'} end

at = 11
for i = 1, writes do
  local key, count = KEYS[4 + i], tonumber(ARGV[at + 1])
  if ARGV[at] == '1' then redis.call('DEL', key) end
  local first, last = at + 2, at + 1 + count
  while first <= last do  -- in portions: Lua's stack holds some thousands of values
    local to = math.min(first + 3999, last)
    redis.call('HSET', key, unpack(ARGV, first, to))
    first = to + 1
  end
  at = last + 1
end
for i = 1, drops do redis.call('DEL', KEYS[4 + writes + i]) end
for i = 1, seals_now do
  redis.call('HSET', sealed, ARGV[at], ARGV[at + 1])
  redis.call('XADD', seals, 'MAXLEN', '~', ARGV[7], '*', 'minute', ARGV[at], 'revision', ARGV[at + 2],
             'status', ARGV[at + 3], 'trade_count', ARGV[at + 4])
  at = at + 5
end
redis.call('HSET', cursor, 'token', ARGV[3], 'state', ARGV[4])
redis.call('SET', lease, ARGV[5], 'PX', ARGV[6])
return {'DONE'}
