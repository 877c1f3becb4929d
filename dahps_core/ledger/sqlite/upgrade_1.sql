-- From schema 1: what fills those tables that another schema fills from what they were. The old ones are `old_...`.

-- name: meta
INSERT INTO main.meta (id, created_at, strategy, direction, metric, seed, locking)
SELECT id, created_at, strategy, direction, metric, seed, 'fcntl' FROM old_meta;

-- name: run
INSERT INTO main.run (id, folder, has_finished, n_failed)
SELECT run, NULL, max(coalesce(outcome = 'finished', 0)), total(coalesce(outcome IN ('failed', 'died'), 0))
FROM old_worker LEFT JOIN old_attempt ON old_attempt.worker = old_worker.id GROUP BY run;

-- name: trial
-- The last attempt's outcome says more than the state did: a lost trial without a holder had died.
INSERT INTO main.trial (number, space, position, combination, digest, repetition, state, attempts, charged, token,
                        worker, started_at, ended_at, output_dir, error, metric, metric_is_nan, result)
SELECT trial.number, space, position, combination, digest, repetition, coalesce(outcome, 'running'), attempts, charged,
       attempt.token, worker, started_at, ended_at, output_dir, error, metric, metric_is_nan, result
FROM old_trial AS trial JOIN old_attempt AS attempt ON attempt.trial = trial.number AND attempt.attempt = trial.attempts;

-- name: attempt
INSERT INTO main.attempt (trial, attempt, token, worker, started_at, ended_at, outcome, output_dir, error)
SELECT attempt.trial, attempt.attempt, attempt.token, worker, started_at, ended_at, outcome, output_dir, error
FROM old_attempt AS attempt JOIN old_trial AS trial ON trial.number = attempt.trial WHERE attempt.attempt < attempts;
