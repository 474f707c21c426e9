-- A new word: the event `held`. No column changes; an older program must not read this, so the version does.

SELECT 1;
