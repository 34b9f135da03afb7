DO $revoke$ BEGIN
  IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = '{{name}}') THEN
    EXECUTE 'ALTER ROLE "{{name}}" NOLOGIN';
    PERFORM pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE usename = '{{name}}';
    EXECUTE 'DROP ROLE "{{name}}"';
  END IF;
END $revoke$;
