-- A session that a wrong clock opened ahead of time is found by its beginning.
CREATE INDEX sessions_by_start ON sessions (created_at);
