-- Containers come in sets: `stage_started` has `old` and `staged` has `new`, where the first form had one
-- container each, which is read as a set of one. New words: the event `recreated`, the condition `restarting`,
-- the code `no_way_back`. Events may follow `rollback_failed`. No column changes; an older program must not read
-- this, so the version does.

SELECT 1;
