-- Every statement that the ledger makes, each named, with its purpose in one line. Parameters are always bound.
-- Terms like `state = 'released'` are literals, not parameters, where a partial index rests on them.

-- name: begin_reading
-- A view that does not change until the end.
BEGIN;

-- name: begin_writing
-- As a writer from the start: a reader that turns writer can be refused for good.
BEGIN IMMEDIATE;

-- name: commit
COMMIT;

-- name: rollback
ROLLBACK;

-- name: enforce_references
-- A setting of each connection.
PRAGMA foreign_keys = ON;

-- name: application_id
-- Whose file this is.
PRAGMA application_id;

-- name: schema_version
-- The version of the schema that its creator wrote.
PRAGMA user_version;

-- name: journal_mode
-- `delete`, unless somebody changed it.
PRAGMA journal_mode;

-- name: n_tables
-- 0 in a file that nobody has written to yet.
SELECT count(*) FROM sqlite_master;

-- name: insert_meta
-- What the ledger is a ledger of.
INSERT INTO meta (id, created_at, strategy, direction, metric, seed)
VALUES (1, :now, :strategy, :direction, :metric, :seed);

-- name: meta
-- What the ledger is a ledger of.
SELECT strategy, direction, metric, seed FROM meta;

-- name: insert_space
-- One more space to search.
INSERT INTO space (digest, definition, added_at) VALUES (:digest, :definition, :now);

-- name: space_by_digest
-- Whether this space is searched already.
SELECT id FROM space WHERE digest = :digest;

-- name: newest_space
-- The space that was added last.
SELECT id, definition, cursor FROM space ORDER BY id DESC LIMIT 1;

-- name: spaces
-- All spaces, oldest first.
SELECT id, definition, cursor FROM space ORDER BY id;

-- name: cursor
-- How many positions of a space were drawn or passed over.
SELECT cursor FROM space WHERE id = :space;

-- name: move_cursor
-- Positions were drawn or passed over.
UPDATE space SET cursor = :cursor WHERE id = :space;

-- name: insert_worker
-- A process that will ask for trials.
INSERT INTO worker (id, run, host, pid, job, started_at) VALUES (:worker, :run, :host, :pid, :job, :now);

-- name: worker_state
-- What a worker does.
SELECT state FROM worker WHERE id = :worker;

-- name: set_worker_working
-- A worker got a trial; nothing to write if it had one before.
UPDATE worker SET state = 'working', ended_at = NULL WHERE id = :worker AND state <> 'working';

-- name: set_worker_waiting
-- A worker got no trial, and waits for what may come back.
UPDATE worker SET state = 'waiting', ended_at = NULL WHERE id = :worker AND state <> 'waiting';

-- name: set_worker_left
-- A worker will ask no more.
UPDATE worker SET state = 'left', ended_at = :now WHERE id = :worker AND state <> 'left';

-- name: dismiss_waiting_worker
-- A worker that waited died; if it did not, it will wait again.
UPDATE worker SET state = 'left', ended_at = :now WHERE id = :worker AND state = 'waiting';

-- name: waiting_workers
-- Who waits for what may come back.
SELECT id FROM worker WHERE state = 'waiting';

-- name: holders_of_open_trials
-- Who holds a trial that may come back: once for each trial.
SELECT attempt.worker AS id FROM trial JOIN attempt ON attempt.token = trial.token WHERE trial.state = 'running'
UNION ALL
SELECT attempt.worker FROM trial JOIN attempt ON attempt.token = trial.token
WHERE trial.state = 'lost' AND trial.charged < :max_attempts;

-- name: watched_workers
-- Whose heart an idle worker listens to: who holds a trial, and who waits.
SELECT attempt.worker AS id FROM trial JOIN attempt ON attempt.token = trial.token WHERE trial.state = 'running'
UNION
SELECT attempt.worker FROM trial JOIN attempt ON attempt.token = trial.token WHERE trial.state = 'lost'
UNION
SELECT id FROM worker WHERE state = 'waiting';

-- name: workers
-- The workers of one multirun, in the order of their coming.
SELECT id, run, host, pid, job, state, started_at, ended_at FROM worker WHERE run = :run ORDER BY started_at, id;

-- name: n_drawn
-- How many trials there are: numbers are dense.
SELECT coalesce(max(number), -1) + 1 FROM trial;

-- name: running_of_worker
-- The running trials that a worker holds, with their tokens.
SELECT trial.number, trial.token FROM attempt JOIN trial ON trial.number = attempt.trial AND trial.token = attempt.token
WHERE attempt.worker = :worker AND attempt.outcome IS NULL AND trial.state = 'running';

-- name: run_has_finished_one
-- Whether any attempt of a multirun ended well.
SELECT EXISTS (
    SELECT 1 FROM worker JOIN attempt ON attempt.worker = worker.id
    WHERE worker.run = :run AND attempt.outcome = 'finished'
);

-- name: count_failures
-- How many attempts of a multirun failed; counting ends at the limit.
SELECT count(*) FROM (
    SELECT 1 FROM worker JOIN attempt ON attempt.worker = worker.id
    WHERE worker.run = :run AND attempt.outcome IN ('failed', 'died') LIMIT :limit
);

-- name: run_of_worker
-- The multirun that a worker belongs to.
SELECT run FROM worker WHERE id = :worker;

-- name: oldest_released
-- The head of the queue.
SELECT number FROM trial WHERE state = 'released' ORDER BY number LIMIT 1;

-- name: next_charge_of_failed
-- The next higher number of charged attempts among failed trials.
SELECT min(charged) FROM trial WHERE state = 'failed' AND charged > :charged;

-- name: oldest_failed
-- The first failed trial with so many charged attempts.
SELECT min(number) FROM trial WHERE state = 'failed' AND charged = :charged;

-- name: next_charge_of_lost
-- The next higher number of charged attempts among lost trials.
SELECT min(charged) FROM trial WHERE state = 'lost' AND charged > :charged;

-- name: oldest_lost
-- The first lost trial with so many charged attempts that nobody holds, or somebody known to be dead.
SELECT trial.number FROM trial LEFT JOIN attempt ON attempt.token = trial.token
WHERE trial.state = 'lost' AND trial.charged = :charged
  AND (trial.token IS NULL OR attempt.worker IN (SELECT value FROM json_each(:dead)))
ORDER BY trial.number LIMIT 1;

-- name: any_may_come_back
-- Whether a trial runs, or a lost one with attempts left waits for its holder to be judged.
SELECT EXISTS (SELECT 1 FROM trial WHERE state = 'running')
    OR EXISTS (SELECT 1 FROM trial WHERE state = 'lost' AND charged < :max_attempts);

-- name: count_open
-- How many trials run, or may run again.
SELECT (SELECT count(*) FROM trial WHERE state = 'running')
     + (SELECT count(*) FROM trial WHERE state = 'released')
     + (SELECT count(*) FROM trial WHERE state = 'failed' AND charged < :max_attempts)
     + (SELECT count(*) FROM trial WHERE state = 'lost' AND charged < :max_attempts);

-- name: insert_trial
-- A new trial, running; nothing if the same combination and repetition was drawn before.
INSERT INTO trial (number, space, position, combination, digest, repetition, state, attempts, charged, token)
VALUES (:number, :space, :position, :combination, :digest, :repetition, 'running', 1, 1, :token)
ON CONFLICT (digest, repetition) DO NOTHING;

-- name: claim_trial
-- A released, failed or lost trial runs again, under a new token.
UPDATE trial SET state = 'running', attempts = attempts + 1, charged = charged + 1, token = :token
WHERE number = :number AND state IN ('released', 'failed', 'lost');

-- name: claimed_trial
-- What a claim needs to know of its trial.
SELECT attempts, combination, repetition FROM trial WHERE number = :number;

-- name: insert_attempt
-- An execution begins.
INSERT INTO attempt (trial, attempt, token, worker, started_at) VALUES (:number, :attempt, :token, :worker, :now);

-- name: finish_trial
-- running or lost -> finished, by its holder.
UPDATE trial SET state = 'finished', token = NULL, metric = :metric, metric_is_nan = :metric_is_nan, result = :result
WHERE number = :number AND token = :token AND state IN ('running', 'lost');

-- name: fail_trial
-- running or lost -> failed, by its holder.
UPDATE trial SET state = 'failed', token = NULL
WHERE number = :number AND token = :token AND state IN ('running', 'lost');

-- name: lose_trial
-- running or lost -> lost with nobody to wait for, by its holder.
UPDATE trial SET state = 'lost', token = NULL
WHERE number = :number AND token = :token AND state IN ('running', 'lost');

-- name: release_trial
-- running or lost -> released, by its holder; the attempt is not charged.
UPDATE trial SET state = 'released', token = NULL, charged = charged - 1
WHERE number = :number AND token = :token AND state IN ('running', 'lost');

-- name: presume_trial_lost
-- running -> lost, by another worker; the token stays, so that its holder can still finish it.
UPDATE trial SET state = 'lost' WHERE number = :number AND token = :token AND state = 'running';

-- name: end_attempt
-- An execution has ended; the last word of the holder replaces what others presumed.
UPDATE attempt SET ended_at = :now, outcome = :outcome, output_dir = coalesce(:output_dir, output_dir), error = :error
WHERE token = :token AND (outcome IS NULL OR outcome = 'lost');

-- name: outcome_of_attempt
-- How an execution ended.
SELECT outcome FROM attempt WHERE token = :token;

-- name: is_held
-- Whether a write with this token would be accepted.
SELECT EXISTS (SELECT 1 FROM trial WHERE number = :number AND token = :token);

-- name: counts
-- Trials by state, from the small indexes; the finished ones are the rest.
WITH unfinished AS (
    SELECT (SELECT count(*) FROM trial WHERE state = 'running') AS running,
           (SELECT count(*) FROM trial WHERE state = 'failed') AS failed,
           (SELECT count(*) FROM trial WHERE state = 'released') AS released,
           (SELECT count(*) FROM trial WHERE state = 'lost') AS lost
)
SELECT *, (SELECT coalesce(max(number), -1) + 1 FROM trial) - running - failed - released - lost AS finished
FROM unfinished;

-- name: trial_page
-- Some trials with their last attempts, by number.
SELECT trial.*, attempt.output_dir, attempt.started_at, attempt.ended_at, attempt.error,
       worker.host, worker.pid, worker.job
FROM trial JOIN attempt ON attempt.trial = trial.number AND attempt.attempt = trial.attempts
JOIN worker ON worker.id = attempt.worker
WHERE trial.number >= :first ORDER BY trial.number LIMIT :limit;

-- name: lowest_metric
-- The best trial of a search that minimizes.
SELECT number FROM trial WHERE state = 'finished' AND metric IS NOT NULL ORDER BY metric, number LIMIT 1;

-- name: highest_metric
-- The best trial of a search that maximizes.
SELECT number FROM trial WHERE state = 'finished' AND metric IS NOT NULL ORDER BY metric DESC, number LIMIT 1;

-- name: first_failure
-- The first failed attempt of a multirun, with its trial.
SELECT trial.*, attempt.output_dir, attempt.started_at, attempt.ended_at, attempt.error,
       worker.host, worker.pid, worker.job
FROM worker JOIN attempt ON attempt.worker = worker.id JOIN trial ON trial.number = attempt.trial
WHERE worker.run = :run AND attempt.outcome IN ('failed', 'died') ORDER BY attempt.id LIMIT 1;

-- name: outcomes
-- The attempts of a multirun by outcome.
SELECT attempt.outcome, count(*) AS n FROM worker JOIN attempt ON attempt.worker = worker.id
WHERE worker.run = :run AND attempt.outcome IS NOT NULL GROUP BY attempt.outcome;
