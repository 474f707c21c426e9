-- The first form of the journal. `deployments` holds what queries look for; what a deployment is, is
-- the fold of its `events`, and every start of the daemon checks that the two agree.

PRAGMA application_id = 0x6375746f; -- "cuto"

CREATE TABLE deployments (
    number INTEGER PRIMARY KEY,   -- the order of requests, which no change of the clock disturbs
    id TEXT NOT NULL UNIQUE,
    service TEXT NOT NULL,
    delivery_id TEXT UNIQUE,
    status TEXT NOT NULL,
    requested_at INTEGER NOT NULL, -- this and every other moment: Unix milliseconds
    ended_at INTEGER
) STRICT;

CREATE INDEX deployments_of_service ON deployments (service, number);

CREATE TABLE events (
    deployment_id TEXT NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,          -- 1, 2, 3, ... within the deployment
    at INTEGER NOT NULL,
    body TEXT NOT NULL,            -- JSON, tagged by `kind`
    checksum INTEGER NOT NULL,     -- of the four columns before it
    PRIMARY KEY (deployment_id, seq)
) STRICT;

CREATE TABLE services (
    name TEXT NOT NULL PRIMARY KEY,
    paused_at INTEGER,
    paused_why TEXT,
    needs_operator TEXT
) STRICT;

-- One row, written to find out whether writing is possible.
CREATE TABLE probe (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    at INTEGER NOT NULL
) STRICT;
