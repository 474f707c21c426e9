-- New words: the events `job_started` and `job_ended`, the code `job_failed`; `staged` may have `jobs`. No column changes;
-- an older program must not read this, so the version does.

SELECT 1;
