DO $revoke$ BEGIN
  IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = '{{name}}') THEN
    EXECUTE 'ALTER ROLE "{{name}}" NOLOGIN';
    PERFORM pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE usename = '{{name}}';
    EXECUTE 'GRANT "{{name}}" TO CURRENT_USER';
    EXECUTE 'REASSIGN OWNED BY "{{name}}" TO odoo_owner';
    EXECUTE 'DROP OWNED BY "{{name}}"';
    EXECUTE 'DROP ROLE "{{name}}"';
  END IF;
END $revoke$;
