CREATE ROLE "{{name}}" LOGIN INHERIT PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' CONNECTION LIMIT 4 IN ROLE ofitec_fencer;
