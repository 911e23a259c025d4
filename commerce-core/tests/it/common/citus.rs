//! A stand-in for Citus, which cannot be installed where the tests run.

/// The stand-in for Citus on one machine, which is its own worker: it keeps a list of distributed
/// tables, refuses tables with keys that cannot be enforced across machines, and completes prepared
/// transactions. Like Citus, it is in `pg_catalog`, which every `search_path` includes.
pub const STAND_IN: &str = "
SET allow_system_table_mods = on;
SET search_path = pg_catalog;
CREATE EXTENSION dblink;
CREATE FUNCTION run_command_on_workers(
    command text, parallel bool DEFAULT true,
    OUT nodename text, OUT nodeport int, OUT success bool, OUT result text
) RETURNS SETOF record LANGUAGE plpgsql AS $$ BEGIN
    nodename := 'localhost'; nodeport := 9701; success := true;
    IF EXISTS (SELECT FROM worker WHERE NOT is_up) THEN
        success := false; result := 'connection refused';
    ELSE
        EXECUTE command INTO result;
    END IF;
    RETURN NEXT;
END $$;
CREATE TABLE worker (is_up bool);
INSERT INTO worker VALUES (true);
CREATE FUNCTION here() RETURNS text LANGUAGE sql AS $$
    SELECT format('host=%s port=%s dbname=%s user=%s', current_setting('unix_socket_directories'),
                  current_setting('port'), current_database(), current_user)
$$;
CREATE FUNCTION recover_prepared_transactions() RETURNS int LANGUAGE sql AS $$
    SELECT count(dblink_exec(here(), format('COMMIT PREPARED %L', gid)))::int
    FROM pg_prepared_xacts WHERE database = current_database() AND gid LIKE 'citus%'
$$;
CREATE TABLE pg_dist_partition (logicalrelid regclass, partkey text, colocated text, shards int);
CREATE TABLE pg_dist_node (groupid int, isactive bool, noderole text, shouldhaveshards bool);
INSERT INTO pg_dist_node VALUES (0, true, 'primary', false), (1, true, 'primary', true),
    (2, true, 'primary', true), (2, true, 'secondary', true), (3, false, 'primary', true);
CREATE FUNCTION create_distributed_table(
    table_name regclass, distribution_column text, distribution_type text DEFAULT 'hash',
    colocate_with text DEFAULT 'default', shard_count int DEFAULT NULL
) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
    IF EXISTS (SELECT FROM pg_index JOIN pg_attribute
               ON attrelid = indrelid AND attname = distribution_column
               WHERE indrelid = table_name AND indisunique AND attnum <> ALL (indkey)) THEN
        RAISE 'a unique key of % is without %', table_name, distribution_column;
    END IF;
    IF EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND table_name IN (conrelid, confrelid)) THEN
        RAISE '% has foreign keys to tables that are not distributed', table_name;
    END IF;
    INSERT INTO pg_dist_partition VALUES (table_name, distribution_column,
        CASE colocate_with WHEN 'none' THEN table_name::text ELSE colocate_with END,
        current_setting('citus.shard_count')::int);
END $$;
RESET search_path";
