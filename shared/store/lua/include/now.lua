-- The time of this call, for scripts that need it whatever they do.
-- INCLUDE clock

local now = now_ms()
