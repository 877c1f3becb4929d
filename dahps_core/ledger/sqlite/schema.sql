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
    locking TEXT NOT NULL CHECK (locking IN ('fcntl', 'folder')),
    -- The levels that trials are promoted by; NULL: the strategy has none.
    brackets TEXT,
    -- Whether every combination is drawn alike, as before schema 5, and not level by level.
    is_uniform INTEGER NOT NULL DEFAULT 1 CHECK (is_uniform IN (0, 1))
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
    -- How many trials have no position, and the cursor passes over them: enqueued, or drawn level by level.
    n_enqueued INTEGER NOT NULL DEFAULT 0 CHECK (n_enqueued >= 0),
    -- How many of these lie between the listed values of an interval, where the cursor never comes.
    n_between INTEGER NOT NULL DEFAULT 0 CHECK (n_between BETWEEN 0 AND n_enqueued)
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
-- `attempts` counts executions, `charged` those that were neither released nor pardoned: by a person's retry, or by a
-- promotion, which has attempts of its own.
-- `state` is how the last attempt stands: `died` was seen by its own worker, `lost` is what others made of a silent
-- one, whose late finish still counts. `token` is the last attempt's, and fences what is written in its name.
-- What is `queued` or `cancelled` by a person has no attempt here: all that were made are in `attempt`.
CREATE TABLE trial (
    number INTEGER PRIMARY KEY CHECK (number >= 0),
    space INTEGER NOT NULL REFERENCES space,
    -- NULL: not drawn by the cursor, but level by level, or enqueued by a person.
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
    -- At which it is evaluated, or was last.
    level INTEGER NOT NULL DEFAULT 0 CHECK (level >= 0),
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
-- A result is never lost or overwritten: that of a promoted trial stays with its attempt.
CREATE TRIGGER finished_is_final BEFORE UPDATE ON trial
WHEN OLD.state = 'finished' AND NOT (
    NEW.state = 'running' AND NEW.level = OLD.level + 1 AND EXISTS (
        SELECT 1 FROM attempt
        WHERE trial = OLD.number AND attempt = OLD.attempts AND level = OLD.level
          AND metric IS OLD.metric AND metric_is_nan = OLD.metric_is_nan AND result = OLD.result
    )
)
BEGIN SELECT RAISE(ABORT, 'a finished trial never changes'); END;

-- name: trials_stay
-- Numbers are dense, and a trial that was drawn stays drawn.
CREATE TRIGGER trials_stay BEFORE DELETE ON trial
BEGIN SELECT RAISE(ABORT, 'a trial is never deleted'); END;

-- name: attempt
-- The attempts that are over for good: others followed, or a person had the trial queued or cancelled. After one that
-- finished come those at the next level.
CREATE TABLE attempt (
    trial INTEGER NOT NULL REFERENCES trial,
    attempt INTEGER NOT NULL CHECK (attempt >= 1),
    token TEXT NOT NULL,
    worker TEXT NOT NULL REFERENCES worker,
    started_at REAL NOT NULL,
    ended_at REAL NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('finished', 'failed', 'released', 'died', 'lost', 'cancelled')),
    output_dir TEXT,
    error TEXT,
    level INTEGER NOT NULL DEFAULT 0 CHECK (level >= 0),
    -- As in `trial`.
    metric REAL,
    metric_is_nan INTEGER NOT NULL DEFAULT 0 CHECK (metric_is_nan = 0 OR metric IS NULL),
    result TEXT,
    CHECK ((outcome = 'finished') = (result IS NOT NULL)),
    CHECK (outcome = 'finished' OR (metric IS NULL AND metric_is_nan = 0)),
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

-- name: attempts_stay
-- As final as the result of a finished trial.
CREATE TRIGGER attempts_stay BEFORE UPDATE ON attempt
BEGIN SELECT RAISE(ABORT, 'an attempt that is over never changes'); END;

-- name: rung
-- How many trials of a bracket ended at a level, failures included; how many of them are the top that may be promoted,
-- and how many ever were. A bracket is named by its first level.
CREATE TABLE rung (
    bracket INTEGER NOT NULL CHECK (bracket >= 0),
    level INTEGER NOT NULL CHECK (level >= bracket),
    n_ended INTEGER NOT NULL DEFAULT 0 CHECK (n_ended >= 0),
    n_top INTEGER NOT NULL DEFAULT 0 CHECK (n_top BETWEEN 0 AND n_ended),
    n_promoted INTEGER NOT NULL DEFAULT 0 CHECK (n_promoted BETWEEN 0 AND n_ended),
    PRIMARY KEY (bracket, level)
) WITHOUT ROWID;

-- name: standing
-- How a trial stands in a rung where it ended. It follows from the trials and attempts, and is kept so that a claim
-- need not read them.
CREATE TABLE standing (
    -- The order of the ends: of equal scores the earlier one is better.
    place INTEGER PRIMARY KEY,
    trial INTEGER NOT NULL REFERENCES trial,
    bracket INTEGER NOT NULL,
    level INTEGER NOT NULL,
    -- The metric, negated if it is maximized. NULL: it failed, or has NaN or no metric; it ranks worst and is never
    -- promoted.
    score REAL,
    is_top INTEGER NOT NULL DEFAULT 0 CHECK (is_top = 0 OR (is_top = 1 AND score IS NOT NULL)),
    is_promoted INTEGER NOT NULL DEFAULT 0 CHECK (is_promoted = 0 OR (is_promoted = 1 AND score IS NOT NULL)),
    -- Every (trial, level) is evaluated once.
    UNIQUE (trial, level),
    FOREIGN KEY (bracket, level) REFERENCES rung
);

-- name: standing_by_rank
-- Where the top of a rung ends: its worst, and the best of the rest.
CREATE INDEX standing_by_rank ON standing (bracket, level, is_top, score, place) WHERE score IS NOT NULL;

-- name: standing_promotable
-- Who is promoted next: from the top rung down, the best first.
CREATE INDEX standing_promotable ON standing (level DESC, score, place) WHERE is_top = 1 AND is_promoted = 0;

-- name: standing_by_level
-- The best trial: at the highest level.
CREATE INDEX standing_by_level ON standing (level DESC, score, place) WHERE score IS NOT NULL;
