-- Epochs: ranges of event numbers, each with the random name that the public ids of its events begin with. An
-- epoch begins where the store is new, was restored or was copied. Events from before this table keep their
-- numbers as public ids: their epoch has an empty name.
CREATE TABLE epochs (
    first_event INTEGER PRIMARY KEY CHECK (first_event >= 1),
    name TEXT NOT NULL UNIQUE
) STRICT;

INSERT INTO epochs (first_event, name) SELECT 1, '' WHERE EXISTS (SELECT 1 FROM events);

-- The random name of the file, which a backup does not share with its source: the log of one file is never
-- replayed into another.
ALTER TABLE store ADD COLUMN name TEXT NOT NULL DEFAULT '';

-- The file in which the newest epoch began. In another file a new epoch begins.
ALTER TABLE store ADD COLUMN place TEXT NOT NULL DEFAULT '';
