ALTER ROLE "{{name}}" VALID UNTIL '{{expiration}}';
DO $group$ BEGIN
  IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'analytics_reader' AND rolvaliduntil IS DISTINCT FROM '-infinity') THEN
    EXECUTE 'ALTER ROLE analytics_reader VALID UNTIL ''-infinity''';
  END IF;
END $group$;
