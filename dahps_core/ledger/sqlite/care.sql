-- What `dahps check` and `dahps recover` ask of a ledger, sound or not.

-- name: integrity
-- What SQLite finds wrong with the file; `ok` if nothing.
PRAGMA integrity_check(20);

-- name: references
-- Rows that refer to nothing.
PRAGMA foreign_key_check;

-- name: spaces
-- All spaces, with how many trials were drawn from each.
SELECT *,
       (SELECT count(*) FROM trial WHERE space = space.id AND position IS NOT NULL) AS n_drawn,
       (SELECT count(*) FROM trial WHERE space = space.id AND position IS NULL) AS n_asked_for,
       (SELECT count(*) FROM trial) AS n_trials
FROM space ORDER BY id;

-- name: trials
-- Some trials, by number.
SELECT trial.*, (SELECT cursor FROM space WHERE id = trial.space) AS cursor
FROM trial WHERE number >= :first ORDER BY number LIMIT :limit;

-- name: attempts
-- The earlier attempts of some trials.
SELECT * FROM attempt WHERE trial BETWEEN :first AND :last ORDER BY trial, attempt;

-- name: standings
-- How some trials stand in the rungs where they ended.
SELECT * FROM standing WHERE trial BETWEEN :first AND :last ORDER BY trial, level;

-- name: rungs
-- What is kept of each rung, and what there is.
SELECT rung.*, count(place) AS n, count(score) AS n_scores, total(is_top) AS n_in_top, total(is_promoted) AS n_gone
FROM rung LEFT JOIN standing USING (bracket, level) GROUP BY rung.bracket, rung.level;

-- name: misplaced
-- Rungs of which a trial outside the top is better than one in it.
SELECT bracket, level FROM rung WHERE EXISTS (
    SELECT 1 FROM
        (SELECT score, place FROM standing AS one WHERE one.bracket = rung.bracket AND one.level = rung.level
         AND is_top = 1 AND score IS NOT NULL ORDER BY score DESC, place DESC LIMIT 1) AS worst,
        (SELECT score, place FROM standing AS one WHERE one.bracket = rung.bracket AND one.level = rung.level
         AND is_top = 0 AND score IS NOT NULL ORDER BY score, place LIMIT 1) AS best
    WHERE best.score < worst.score OR (best.score = worst.score AND best.place < worst.place)
);

-- name: unmade_attempts
-- Attempts that told of themselves, and were never made.
SELECT DISTINCT trial, attempt FROM report JOIN trial ON trial.number = report.trial WHERE attempt > attempts;

-- name: repeated_tokens
-- Tokens that fence more than one attempt.
SELECT token FROM (SELECT token FROM trial WHERE token IS NOT NULL UNION ALL SELECT token FROM attempt)
GROUP BY token HAVING count(*) > 1;

-- name: held_twice
-- Workers that run several trials: each runs one at a time.
SELECT worker FROM trial WHERE state = 'running' GROUP BY worker HAVING count(*) > 1;

-- name: held_by_idle
-- Trials that run though their workers are not at work.
SELECT number, worker, worker.state FROM trial JOIN worker ON worker.id = trial.worker
WHERE trial.state = 'running' AND worker.state <> 'working';

-- name: positions
-- What was drawn from a space.
SELECT position FROM trial WHERE space = :space AND position IS NOT NULL;

-- name: trial_of
-- The trial of a combination.
SELECT number FROM trial WHERE digest = :digest AND repetition = :repetition;

-- name: wrong_runs
-- Multiruns whose summary does not agree with their attempts.
WITH outcome AS (
    SELECT run, trial.state AS outcome, metric_is_nan FROM trial JOIN worker ON worker.id = trial.worker
    UNION ALL
    SELECT run, outcome, metric_is_nan FROM attempt JOIN worker ON worker.id = attempt.worker
), summary AS (
    SELECT run, max(outcome = 'finished') AS has_finished, sum(outcome IN ('failed', 'died')) AS n_failed,
           max(outcome = 'finished' AND NOT metric_is_nan) AS has_number, sum(metric_is_nan) AS n_nan
    FROM outcome GROUP BY run
)
-- Earlier versions counted a metric of NaN like any other.
SELECT id FROM run LEFT JOIN summary ON summary.run = run.id
WHERE run.has_finished NOT BETWEEN coalesce(has_number, 0) AND coalesce(summary.has_finished, 0)
   OR run.n_failed NOT BETWEEN coalesce(summary.n_failed, 0) AND coalesce(summary.n_failed + n_nan, 0);

-- name: reports
-- What some trials told of themselves.
SELECT * FROM report WHERE trial BETWEEN :first AND :last;

-- name: pauses
SELECT * FROM pause;

-- name: all_rungs
SELECT * FROM rung;

-- name: workers
-- All workers that ever were.
SELECT id FROM worker;

-- name: salvage_meta
SELECT * FROM meta;

-- name: salvage_spaces
SELECT * FROM space ORDER BY id;

-- name: salvage_trials
SELECT * FROM trial WHERE number >= :first ORDER BY number;

-- name: salvage_workers
SELECT * FROM worker ORDER BY id;

-- name: salvage_workers_from_the_end
SELECT * FROM worker ORDER BY id DESC;

-- name: salvage_runs
SELECT * FROM run ORDER BY id;

-- name: salvage_runs_from_the_end
SELECT * FROM run ORDER BY id DESC;

-- name: salvage_attempts
SELECT * FROM attempt ORDER BY trial, attempt;

-- name: salvage_attempts_from_the_end
SELECT * FROM attempt ORDER BY trial DESC, attempt DESC;

-- name: salvage_reports
SELECT * FROM report ORDER BY trial, attempt, step;

-- name: salvage_reports_from_the_end
SELECT * FROM report ORDER BY trial DESC, attempt DESC, step DESC;

-- name: put_created_at
-- A rebuilt ledger has the identity of the damaged one: its folders are its own.
UPDATE meta SET created_at = :created_at;

-- name: put_space
UPDATE space SET cursor = :cursor, is_branch = :is_branch WHERE id = :id;

-- name: put_run
INSERT INTO run (id, folder) VALUES (:id, :folder) ON CONFLICT (id) DO NOTHING;

-- name: put_worker
-- Its end is not known, and it will ask this ledger for nothing.
INSERT INTO worker (id, run, host, pid, job, log, state, started_at, ended_at)
VALUES (:id, :run, :host, :pid, :job, :log, 'left', :started_at, coalesce(:ended_at, :started_at));

-- name: put_trial
INSERT INTO trial (number, space, position, combination, digest, repetition, state, attempts, charged, pardoned, level,
                   token, worker, started_at, ended_at, output_dir, error, metric, metric_is_nan, result)
VALUES (:number, :space, :position, :combination, :digest, :repetition, :state, :attempts, :charged, :pardoned, :level,
        :token, :worker, :started_at, :ended_at, :output_dir, :error, :metric, :metric_is_nan, :result);

-- name: put_attempt
INSERT INTO attempt (trial, attempt, token, worker, started_at, ended_at, outcome, output_dir, error,
                     level, metric, metric_is_nan, result)
VALUES (:trial, :attempt, :token, :worker, :started_at, :ended_at, :outcome, :output_dir, :error,
        :level, :metric, :metric_is_nan, :result);

-- name: put_promotions
-- Trials that are above a level where they finished were promoted from it.
UPDATE standing SET is_promoted = 1
WHERE score IS NOT NULL AND level < (SELECT level FROM trial WHERE number = standing.trial);

-- name: put_numbers_promoted
UPDATE rung SET n_promoted = (SELECT count(*) FROM standing
                              WHERE bracket = rung.bracket AND level = rung.level AND is_promoted = 1);

-- name: put_report
INSERT INTO report (trial, attempt, step, metric, metric_is_nan)
VALUES (:trial, :attempt, :step, :metric, :metric_is_nan) ON CONFLICT (trial, attempt, step) DO NOTHING;

-- name: put_number_between
UPDATE space SET n_between = :n_between WHERE id = :id;

-- name: put_numbers_enqueued
-- How many trials of each space have no position, counted again.
UPDATE space SET n_enqueued = (SELECT count(*) FROM trial WHERE trial.space = space.id AND position IS NULL);

-- name: put_summaries
-- What a run keeps of its attempts, counted anew.
UPDATE run SET
    has_finished = EXISTS (SELECT 1 FROM trial JOIN worker ON worker.id = trial.worker
                           WHERE worker.run = run.id AND trial.state = 'finished' AND NOT metric_is_nan)
        OR EXISTS (SELECT 1 FROM attempt JOIN worker ON worker.id = attempt.worker
                   WHERE worker.run = run.id AND attempt.outcome = 'finished' AND NOT metric_is_nan),
    n_failed = (SELECT count(*) FROM trial JOIN worker ON worker.id = trial.worker
                WHERE worker.run = run.id AND (trial.state IN ('failed', 'died') OR metric_is_nan))
             + (SELECT count(*) FROM attempt JOIN worker ON worker.id = attempt.worker
                WHERE worker.run = run.id AND (attempt.outcome IN ('failed', 'died') OR metric_is_nan));
