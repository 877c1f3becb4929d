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

-- name: journal_mode
-- `delete`, unless somebody changed it.
PRAGMA journal_mode;

-- name: keep_journal
-- A setting of each connection: a journal that is always there is written over, and seen by every host.
PRAGMA journal_mode = PERSIST;

-- name: application_id
-- Whose file this is.
PRAGMA application_id;

-- name: schema_version
-- The version of the schema that its creator wrote.
PRAGMA user_version;

-- name: n_tables
-- 0 in a file that nobody has written to yet.
SELECT count(*) FROM sqlite_master;

-- name: schema
-- The tables, indexes and triggers as they were made.
SELECT sql FROM sqlite_master WHERE sql IS NOT NULL;

-- name: insert_meta
-- What the ledger is a ledger of.
INSERT INTO meta (id, created_at, strategy, direction, metric, seed, locking)
VALUES (1, :now, :strategy, :direction, :metric, :seed, :locking);

-- name: meta
-- What the ledger is a ledger of.
SELECT strategy, direction, metric, seed, locking FROM meta;

-- name: insert_space
-- A space to be searched.
INSERT INTO space (digest, definition, added_at) VALUES (:digest, :definition, :now);

-- name: space_by_digest
-- Whether this space is searched already.
SELECT id FROM space WHERE digest = :digest;

-- name: newest_space
-- The space that was added last.
SELECT id, digest, definition FROM space ORDER BY id DESC LIMIT 1;

-- name: cursor
-- How many positions of a space were drawn or passed over.
SELECT cursor FROM space WHERE id = :space;

-- name: move_cursor
-- Positions were drawn or passed over.
UPDATE space SET cursor = :cursor WHERE id = :space;

-- name: insert_run
-- A multirun, with the first of its workers.
INSERT INTO run (id, folder) VALUES (:run, :folder) ON CONFLICT (id) DO NOTHING;

-- name: insert_worker
-- A process that will ask for trials; once, though the answer may get lost.
INSERT INTO worker (id, run, host, pid, job, started_at) VALUES (:worker, :run, :host, :pid, :job, :now)
ON CONFLICT (id) DO NOTHING;

-- name: set_worker_working
-- A worker got a trial.
UPDATE worker SET state = 'working', ended_at = NULL WHERE id = :worker;

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
SELECT worker AS id FROM trial WHERE state = 'running'
UNION ALL
SELECT worker FROM trial WHERE state = 'lost' AND charged < :max_attempts;

-- name: watched_workers
-- Whose heart an idle worker listens to: who holds a trial, and who waits.
SELECT worker AS id FROM trial WHERE state = 'running'
UNION
SELECT worker FROM trial WHERE state = 'lost'
UNION
SELECT id FROM worker WHERE state = 'waiting';

-- name: workers
-- The workers of one multirun, in the order of their coming.
SELECT id, run, host, pid, job, state, started_at, ended_at FROM worker WHERE run = :run ORDER BY started_at, id;

-- name: n_drawn
-- How many trials there are: numbers are dense.
SELECT coalesce(max(number), -1) + 1 FROM trial;

-- name: outlook
-- All that a claim has to know where nothing went wrong, in one statement.
SELECT (SELECT number FROM trial WHERE state = 'released' ORDER BY number LIMIT 1) AS released,
       (SELECT coalesce(max(number), -1) + 1 FROM trial) AS n_drawn,
       (SELECT cursor FROM space WHERE id = :space) AS cursor,
       worker.state AS worker_state, run.has_finished, run.n_failed
FROM worker JOIN run ON run.id = worker.run WHERE worker.id = :worker;

-- name: running_of_worker
-- The running trials that a worker holds, with their tokens.
SELECT number, token FROM trial WHERE state = 'running' AND worker = :worker;

-- name: run
-- How a multirun went so far.
SELECT has_finished, n_failed FROM run WHERE id = :run;

-- name: run_folders
-- Where the trials of all multiruns write.
SELECT DISTINCT folder FROM run WHERE folder IS NOT NULL;

-- name: any_finished
-- Whether the ledger holds a result.
SELECT EXISTS (SELECT 1 FROM run WHERE has_finished);

-- name: run_has_finished_one
-- A trial of the multirun ended well; nothing to write if another one did before.
UPDATE run SET has_finished = 1
WHERE has_finished = 0 AND id = (SELECT run FROM worker JOIN trial ON trial.worker = worker.id WHERE number = :number);

-- name: count_failure
-- An attempt of the multirun failed.
UPDATE run SET n_failed = n_failed + 1
WHERE id = (SELECT run FROM worker JOIN trial ON trial.worker = worker.id WHERE number = :number);

-- name: next_charge_of_failed
-- The next higher number of charged attempts among failed trials.
SELECT min(charged) FROM trial WHERE state IN ('failed', 'died') AND charged > :charged;

-- name: oldest_failed
-- The first failed trial with so many charged attempts.
SELECT min(number) FROM trial WHERE state IN ('failed', 'died') AND charged = :charged;

-- name: next_charge_of_lost
-- The next higher number of charged attempts among lost trials.
SELECT min(charged) FROM trial WHERE state = 'lost' AND charged > :charged;

-- name: oldest_lost
-- The first lost trial with so many charged attempts whose holder is known to be dead.
SELECT number FROM trial
WHERE state = 'lost' AND charged = :charged AND worker IN (SELECT value FROM json_each(:dead))
ORDER BY number LIMIT 1;

-- name: any_may_come_back
-- Whether a trial runs, or a lost one with attempts left waits for its holder to be judged.
SELECT EXISTS (SELECT 1 FROM trial WHERE state = 'running')
    OR EXISTS (SELECT 1 FROM trial WHERE state = 'lost' AND charged < :max_attempts);

-- name: count_open
-- How many trials run, or may run again.
SELECT (SELECT count(*) FROM trial WHERE state = 'running')
     + (SELECT count(*) FROM trial WHERE state = 'released')
     + (SELECT count(*) FROM trial WHERE state IN ('failed', 'died') AND charged < :max_attempts)
     + (SELECT count(*) FROM trial WHERE state = 'lost' AND charged < :max_attempts);

-- name: insert_trial
-- A new trial, running; nothing if the same combination and repetition was drawn before.
INSERT INTO trial (number, space, position, combination, digest, repetition, state, attempts, charged,
                   token, worker, started_at)
VALUES (:number, :space, :position, :combination, :digest, :repetition, 'running', 1, 1,
        :token, :worker, :now)
ON CONFLICT (digest, repetition) DO NOTHING;

-- name: keep_attempt
-- The last attempt makes room for the next one.
INSERT INTO attempt (trial, attempt, token, worker, started_at, ended_at, outcome, output_dir, error)
SELECT number, attempts, token, worker, started_at, ended_at, state, output_dir, error
FROM trial WHERE number = :number;

-- name: claim_trial
-- A released, failed or lost trial runs again, under a new token.
UPDATE trial SET state = 'running', attempts = attempts + 1, charged = charged + 1, token = :token,
                 worker = :worker, started_at = :now, ended_at = NULL, output_dir = NULL, error = NULL
WHERE number = :number AND state IN ('released', 'failed', 'died', 'lost');

-- name: claimed_trial
-- A claim, by its token: of whom it is, and what for.
SELECT number, attempts, combination, repetition FROM trial
WHERE state = 'running' AND worker = :worker AND token = :token;

-- name: finish_trial
-- running or lost -> finished, by its holder.
UPDATE trial SET state = 'finished', ended_at = :now, output_dir = :output_dir, error = NULL,
                 metric = :metric, metric_is_nan = :metric_is_nan, result = :result
WHERE number = :number AND token = :token AND state IN ('running', 'lost');

-- name: end_trial
-- running or lost -> failed or died, by its holder.
UPDATE trial SET state = :state, ended_at = :now, output_dir = :output_dir, error = :error
WHERE number = :number AND token = :token AND state IN ('running', 'lost');

-- name: release_trial
-- running or lost -> released, by its holder; the attempt is not charged.
UPDATE trial SET state = 'released', ended_at = :now, output_dir = :output_dir, error = NULL, charged = charged - 1
WHERE number = :number AND token = :token AND state IN ('running', 'lost');

-- name: presume_trial_lost
-- running -> lost, by another worker; the token stays, so that its holder can still finish it.
UPDATE trial SET state = 'lost', ended_at = :now, error = :error
WHERE number = :number AND token = :token AND state = 'running';

-- name: outcome_of_attempt
-- How an attempt ended, by its token.
SELECT state FROM trial WHERE number = :number AND token = :token
UNION ALL
SELECT outcome FROM attempt WHERE trial = :number AND attempt = :attempt AND token = :token;

-- name: is_held
-- Whether a write with this token would be accepted.
SELECT EXISTS (SELECT 1 FROM trial WHERE number = :number AND token = :token AND state IN ('running', 'lost'));

-- name: counts
-- Trials by state, from the small indexes; the finished ones are the rest.
WITH unfinished AS (
    SELECT (SELECT count(*) FROM trial WHERE state = 'running') AS running,
           (SELECT count(*) FROM trial WHERE state IN ('failed', 'died') AND state = 'failed') AS failed,
           (SELECT count(*) FROM trial WHERE state = 'released') AS released,
           (SELECT count(*) FROM trial WHERE state = 'lost')
           + (SELECT count(*) FROM trial WHERE state IN ('failed', 'died') AND state = 'died') AS lost
)
SELECT *, (SELECT coalesce(max(number), -1) + 1 FROM trial) - running - failed - released - lost AS finished
FROM unfinished;

-- name: trial_page
-- Some trials with their last attempts, by number.
SELECT trial.*, worker.host, worker.pid, worker.job FROM trial JOIN worker ON worker.id = trial.worker
WHERE number >= :first ORDER BY number LIMIT :limit;

-- name: lowest_metric
-- The best trial of a search that minimizes.
SELECT number FROM trial WHERE state = 'finished' AND metric IS NOT NULL ORDER BY metric, number LIMIT 1;

-- name: highest_metric
-- The best trial of a search that maximizes.
SELECT number FROM trial WHERE state = 'finished' AND metric IS NOT NULL ORDER BY metric DESC, number LIMIT 1;

-- name: first_failure
-- The first failed attempt of a multirun: its trial's number, its error.
SELECT trial, error FROM (
    SELECT number AS trial, error, worker, started_at FROM trial WHERE state IN ('failed', 'died')
    UNION ALL
    SELECT trial, error, worker, started_at FROM attempt WHERE outcome IN ('failed', 'died')
) WHERE worker IN (SELECT id FROM worker WHERE run = :run) ORDER BY started_at, trial LIMIT 1;
