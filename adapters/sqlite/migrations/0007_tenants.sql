-- Lists of a tenant read its own workflows only. Where nobody names tenants, all have the tenant `default`:
-- those are found by the order of the list, and the index costs nothing.

ALTER TABLE workflows ADD COLUMN tenant TEXT;
UPDATE workflows SET tenant = document ->> '$.tenant' WHERE status IS NOT NULL;
CREATE INDEX workflows_tenant ON workflows (tenant, started_at, id) WHERE tenant <> 'default';
