-- New words: the event `dependents_restarted`, and jobs behind the commit. No column changes; an older program must not
-- read this, so the version does.

SELECT 1;
