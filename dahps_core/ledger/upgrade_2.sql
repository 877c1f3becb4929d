-- From schema 2: what is taken out before the tables are made anew, and put in afterwards.

-- name: take_meta
CREATE TEMP TABLE old_meta AS SELECT * FROM main.meta;

-- name: take_spaces
CREATE TEMP TABLE old_space AS SELECT * FROM main.space;

-- name: take_runs
CREATE TEMP TABLE old_run AS SELECT * FROM main.run;

-- name: take_workers
CREATE TEMP TABLE old_worker AS SELECT * FROM main.worker;

-- name: take_trials
CREATE TEMP TABLE old_trial AS SELECT * FROM main.trial;

-- name: take_attempts
CREATE TEMP TABLE old_attempt AS SELECT * FROM main.attempt;

-- name: take_away_attempts
DROP TABLE main.attempt;

-- name: take_away_trials
DROP TABLE main.trial;

-- name: take_away_workers
DROP TABLE main.worker;

-- name: take_away_runs
DROP TABLE main.run;

-- name: take_away_spaces
DROP TABLE main.space;

-- name: take_away_meta
DROP TABLE main.meta;

-- name: put_meta
INSERT INTO main.meta (id, created_at, strategy, direction, metric, seed, locking)
SELECT id, created_at, strategy, direction, metric, seed, locking FROM old_meta;

-- name: put_spaces
INSERT INTO main.space (id, digest, definition, added_at, cursor)
SELECT id, digest, definition, added_at, cursor FROM old_space;

-- name: put_runs
INSERT INTO main.run (id, folder, has_finished, n_failed) SELECT id, folder, has_finished, n_failed FROM old_run;

-- name: put_workers
INSERT INTO main.worker (id, run, host, pid, job, state, started_at, ended_at)
SELECT id, run, host, pid, job, state, started_at, ended_at FROM old_worker;

-- name: put_trials
INSERT INTO main.trial (number, space, position, combination, digest, repetition, state, attempts, charged, token,
                        worker, started_at, ended_at, output_dir, error, metric, metric_is_nan, result)
SELECT number, space, position, combination, digest, repetition, state, attempts, charged, token,
       worker, started_at, ended_at, output_dir, error, metric, metric_is_nan, result FROM old_trial;

-- name: put_attempts
INSERT INTO main.attempt (trial, attempt, token, worker, started_at, ended_at, outcome, output_dir, error)
SELECT trial, attempt, token, worker, started_at, ended_at, outcome, output_dir, error FROM old_attempt;

-- name: put_away_attempts
DROP TABLE temp.old_attempt;

-- name: put_away_trials
DROP TABLE temp.old_trial;

-- name: put_away_workers
DROP TABLE temp.old_worker;

-- name: put_away_runs
DROP TABLE temp.old_run;

-- name: put_away_spaces
DROP TABLE temp.old_space;

-- name: put_away_meta
DROP TABLE temp.old_meta;
