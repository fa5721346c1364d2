-- The codes of a workflow's open incidents as a JSON array, null without any. Few workflows have some, so
-- those are listed and counted on an index of their own. It has the codes too: in the table they lie behind
-- the document.

ALTER TABLE workflows ADD COLUMN incidents TEXT;
UPDATE workflows
    SET incidents = (SELECT json_group_array(incident.value ->> '$.code')
                     FROM json_each(document, '$.incidents') AS incident)
    WHERE json_array_length(document, '$.incidents') > 0;
CREATE INDEX workflows_incidents ON workflows (started_at, id, incidents) WHERE incidents IS NOT NULL;
