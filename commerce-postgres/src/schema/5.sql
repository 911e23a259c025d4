-- Finds sessions that a clock ahead of time has opened.
CREATE INDEX sessions_by_start ON sessions (created_at);
