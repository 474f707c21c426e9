-- A delivery is known by its service, by who sent it and by its id: nobody takes another's id. The three are in one
-- column, a line each.

UPDATE deployments
SET delivery_id = service || char(10)
    || (SELECT json_extract(body, '$.actor') FROM events WHERE deployment_id = deployments.id AND seq = 1)
    || char(10) || delivery_id
WHERE delivery_id IS NOT NULL;
