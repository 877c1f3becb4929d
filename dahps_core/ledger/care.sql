-- What `dahps check` and `dahps recover` ask of a ledger, sound or not.

-- name: integrity
-- What SQLite finds wrong with the file; `ok` if nothing.
PRAGMA integrity_check(20);

-- name: references
-- Rows that refer to nothing.
PRAGMA foreign_key_check;

-- name: schema
-- The tables, indexes and triggers as they were made.
SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL;

-- name: spaces
-- All spaces, with how many trials were drawn from each.
SELECT id, digest, definition, added_at, cursor,
       (SELECT count(*) FROM trial WHERE space = space.id) AS n_drawn
FROM space ORDER BY id;

-- name: trials
-- Some trials, by number.
SELECT trial.*, (SELECT cursor FROM space WHERE id = trial.space) AS cursor
FROM trial WHERE number >= :first ORDER BY number LIMIT :limit;

-- name: attempts
-- The earlier attempts of some trials.
SELECT trial, attempt, outcome FROM attempt WHERE trial BETWEEN :first AND :last ORDER BY trial, attempt;

-- name: repeated_tokens
-- Tokens that fence more than one attempt.
SELECT token FROM (SELECT token FROM trial UNION ALL SELECT token FROM attempt) GROUP BY token HAVING count(*) > 1;

-- name: wrong_runs
-- Multiruns whose summary does not agree with their attempts.
WITH outcome AS (
    SELECT run, trial.state AS outcome FROM trial JOIN worker ON worker.id = trial.worker
    UNION ALL
    SELECT run, outcome FROM attempt JOIN worker ON worker.id = attempt.worker
), summary AS (
    SELECT run, max(outcome = 'finished') AS has_finished, sum(outcome IN ('failed', 'died')) AS n_failed
    FROM outcome GROUP BY run
)
SELECT id FROM run LEFT JOIN summary ON summary.run = run.id
WHERE run.has_finished <> coalesce(summary.has_finished, 0) OR run.n_failed <> coalesce(summary.n_failed, 0);

-- name: workers
-- All workers that ever were.
SELECT id FROM worker;

-- name: run_folders
-- Where the trials of all multiruns write.
SELECT DISTINCT folder FROM run WHERE folder IS NOT NULL;
