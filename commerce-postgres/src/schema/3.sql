-- Parts of the numbers of events, each with the random name that the public ids of its events begin with.
-- An epoch begins where the store is new, was restored or was copied. Events from before there were epochs
-- keep their numbers as ids: the epoch of those has no name.
CREATE TABLE epochs (
    first_event BIGINT PRIMARY KEY CHECK (first_event >= 1),
    name TEXT NOT NULL UNIQUE
);

INSERT INTO epochs (first_event, name) SELECT 1, '' WHERE EXISTS (SELECT 1 FROM events);

-- The server, timeline, database and table that the newest epoch was begun in. In another place a new epoch
-- begins.
ALTER TABLE store ADD COLUMN place TEXT NOT NULL DEFAULT '';
