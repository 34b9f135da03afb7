CREATE ROLE "{{name}}" LOGIN INHERIT PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' CONNECTION LIMIT 32 IN ROLE analytics_reader;
ALTER ROLE "{{name}}" SET default_transaction_read_only = on;
ALTER ROLE "{{name}}" SET statement_timeout = '60s';
