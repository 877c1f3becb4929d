-- The tables of a ledger, each statement named, in the order of their creation.
-- Plain SQL that SQLite 3.24 understands: clusters run old ones.

-- name: meta
-- What this is a ledger of; one row, never changed.
CREATE TABLE meta (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    created_at REAL NOT NULL,
    strategy TEXT NOT NULL,
    direction TEXT NOT NULL CHECK (direction IN ('minimize', 'maximize')),
    metric TEXT,
    -- Decimal digits: a seed is an int of any size.
    seed TEXT NOT NULL,
    -- How its users keep each other out; two ways at once would be none.
    locking TEXT NOT NULL CHECK (locking IN ('fcntl', 'folder'))
);

-- name: space
-- The spaces that are searched, oldest first. The cursor is all that is stored of unclaimed combinations:
-- how many positions of the space's order were drawn or passed over.
CREATE TABLE space (
    id INTEGER PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    definition TEXT NOT NULL,
    added_at REAL NOT NULL,
    cursor INTEGER NOT NULL DEFAULT 0 CHECK (cursor >= 0),
    -- One branch of a space, for workers that draw from it alone: it is not what the ledger is a ledger of.
    is_branch INTEGER NOT NULL DEFAULT 0 CHECK (is_branch IN (0, 1)),
    -- How many trials a person asked for: they have no position, and the cursor passes over them.
    n_enqueued INTEGER NOT NULL DEFAULT 0 CHECK (n_enqueued >= 0)
);

-- name: run
-- The multiruns. What a claim asks of its own one is kept here, so that it need not be counted.
CREATE TABLE run (
    id TEXT PRIMARY KEY,
    -- Where its trials write: there lies what a worker could not record.
    folder TEXT,
    has_finished INTEGER NOT NULL DEFAULT 0 CHECK (has_finished IN (0, 1)),
    n_failed INTEGER NOT NULL DEFAULT 0 CHECK (n_failed >= 0),
    -- A person ended its workers: after their trials, or at once, releasing them.
    is_stopped INTEGER NOT NULL DEFAULT 0 CHECK (is_stopped IN (0, 1)),
    is_to_release INTEGER NOT NULL DEFAULT 0 CHECK (is_to_release BETWEEN 0 AND is_stopped)
) WITHOUT ROWID;

-- name: pause
-- One row while a person has the search paused, none otherwise.
CREATE TABLE pause (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    since REAL NOT NULL
);

-- name: worker
-- Every process that ever asked for trials.
CREATE TABLE worker (
    id TEXT PRIMARY KEY,
    run TEXT NOT NULL REFERENCES run,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    job TEXT,
    -- Of the batch job as it was first started: the same when a launcher starts its processes anew; NULL: none.
    batch TEXT,
    -- The files that its job logs to, one a line.
    log TEXT,
    -- The only space whose trials it takes; NULL: it takes all.
    branch INTEGER REFERENCES space,
    state TEXT NOT NULL DEFAULT 'working' CHECK (state IN ('working', 'waiting', 'left')),
    started_at REAL NOT NULL,
    ended_at REAL,
    CHECK ((state = 'left') = (ended_at IS NOT NULL))
) WITHOUT ROWID;

-- name: worker_by_run
-- A multirun's own workers.
CREATE INDEX worker_by_run ON worker (run);

-- name: worker_waiting
-- A claim asks who else waits: one or two among all workers that ever were.
CREATE INDEX worker_waiting ON worker (id) WHERE state = 'waiting';

-- name: trial
-- One (combination, repetition) each, with its last attempt: most trials have one, and it costs no second row.
-- `attempts` counts executions, `charged` those that were neither released nor pardoned by a person's retry.
-- `state` is how the last attempt stands: `died` was seen by its own worker, `lost` is what others made of a silent
-- one, whose late finish still counts. `token` is the last attempt's, and fences what is written in its name.
-- What is `queued` or `cancelled` by a person has no attempt here: all that were made are in `attempt`.
CREATE TABLE trial (
    number INTEGER PRIMARY KEY CHECK (number >= 0),
    space INTEGER NOT NULL REFERENCES space,
    -- NULL: not drawn, but asked for by a person.
    position INTEGER,
    combination TEXT NOT NULL,
    digest TEXT NOT NULL,
    repetition INTEGER NOT NULL CHECK (repetition >= 0),
    state TEXT NOT NULL CHECK (
        state IN ('running', 'finished', 'failed', 'released', 'queued', 'died', 'lost', 'cancelled')
    ),
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    charged INTEGER NOT NULL CHECK (charged >= 0),
    pardoned INTEGER NOT NULL DEFAULT 0 CHECK (pardoned >= 0 AND charged + pardoned <= attempts),
    token TEXT,
    worker TEXT REFERENCES worker,
    started_at REAL,
    ended_at REAL,
    output_dir TEXT,
    error TEXT,
    -- SQLite has no NaN: it is NULL here, and told from "no metric" by the next column.
    metric REAL,
    metric_is_nan INTEGER NOT NULL DEFAULT 0 CHECK (metric_is_nan = 0 OR metric IS NULL),
    result TEXT,
    -- No combination is evaluated twice, whatever the strategy or an overlapping space says.
    UNIQUE (digest, repetition),
    CHECK ((state IN ('queued', 'cancelled')) = (token IS NULL)),
    CHECK ((token IS NULL) = (worker IS NULL)),
    CHECK ((token IS NULL) = (started_at IS NULL)),
    CHECK (token IS NULL OR attempts >= 1),
    CHECK ((state IN ('running', 'queued', 'cancelled')) = (ended_at IS NULL)),
    -- Only an evaluation that ended well has an outcome.
    CHECK ((state = 'finished') = (result IS NOT NULL)),
    CHECK (state = 'finished' OR (metric IS NULL AND metric_is_nan = 0))
);

-- name: trial_running
-- "Does anything run that may come back?", and what a worker holds.
CREATE INDEX trial_running ON trial (worker) WHERE state = 'running';

-- name: trial_released
-- The head of the queue: released trials, oldest first.
CREATE INDEX trial_released ON trial (number) WHERE state = 'released';

-- name: trial_queued
-- Next in the queue: what a person asked for, oldest first.
CREATE INDEX trial_queued ON trial (number) WHERE state = 'queued';

-- name: trial_cancelled
-- How many a person took out.
CREATE INDEX trial_cancelled ON trial (number) WHERE state = 'cancelled';

-- name: trial_failed
-- The tail of the queue: failed trials with attempts left that nobody can finish any more, oldest first.
CREATE INDEX trial_failed ON trial (charged, number, state) WHERE state IN ('failed', 'died');

-- name: trial_lost
-- The tail of the queue: lost trials with attempts left, oldest first.
CREATE INDEX trial_lost ON trial (charged, number) WHERE state = 'lost';

-- name: trial_by_metric
-- The best trial, without reading all of them.
CREATE INDEX trial_by_metric ON trial (metric, number) WHERE state = 'finished' AND metric IS NOT NULL;

-- name: finished_is_final
-- A result is never lost or overwritten.
CREATE TRIGGER finished_is_final BEFORE UPDATE ON trial WHEN OLD.state = 'finished'
BEGIN SELECT RAISE(ABORT, 'a finished trial never changes'); END;

-- name: trials_stay
-- Numbers are dense, and a trial that was drawn stays drawn.
CREATE TRIGGER trials_stay BEFORE DELETE ON trial
BEGIN SELECT RAISE(ABORT, 'a trial is never deleted'); END;

-- name: attempt
-- The attempts that are over for good: others followed, or a person had the trial queued or cancelled.
CREATE TABLE attempt (
    trial INTEGER NOT NULL REFERENCES trial,
    attempt INTEGER NOT NULL CHECK (attempt >= 1),
    token TEXT NOT NULL,
    worker TEXT NOT NULL REFERENCES worker,
    started_at REAL NOT NULL,
    ended_at REAL NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('failed', 'released', 'died', 'lost', 'cancelled')),
    output_dir TEXT,
    error TEXT,
    -- An attempt belongs to one execution: two claims of a trial can never be the same attempt.
    PRIMARY KEY (trial, attempt)
) WITHOUT ROWID;

-- name: report
-- The history of each attempt: the metric that it told at a step, and the last word for each step.
CREATE TABLE report (
    trial INTEGER NOT NULL REFERENCES trial,
    attempt INTEGER NOT NULL CHECK (attempt >= 1),
    step INTEGER NOT NULL CHECK (step >= 0),
    -- NaN is NULL here, as in `trial`.
    metric REAL,
    metric_is_nan INTEGER NOT NULL DEFAULT 0 CHECK (metric_is_nan = (metric IS NULL)),
    PRIMARY KEY (trial, attempt, step)
) WITHOUT ROWID;
