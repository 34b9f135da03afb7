CREATE ROLE "{{name}}" LOGIN NOINHERIT PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' CONNECTION LIMIT 4 IN ROLE odoo_owner;
ALTER ROLE "{{name}}" SET role = 'odoo_owner';
