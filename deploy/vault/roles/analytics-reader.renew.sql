ALTER ROLE "{{name}}" VALID UNTIL '{{expiration}}';
ALTER ROLE analytics_reader VALID UNTIL '-infinity';
