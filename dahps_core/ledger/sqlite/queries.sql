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

-- name: schema_objects
-- The same with their types and names; SQLite's own are left out.
SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite^_%' ESCAPE '^';

-- name: insert_meta
-- What the ledger is a ledger of.
INSERT INTO meta (id, created_at, strategy, direction, metric, seed, locking, brackets, is_uniform)
VALUES (1, :now, :strategy, :direction, :metric, :seed, :locking, :brackets, :is_uniform);

-- name: meta
-- What the ledger is a ledger of.
SELECT strategy, direction, metric, seed, locking, brackets, is_uniform FROM meta;

-- name: identity
-- What no two ledgers have in common, and a moved, upgraded or rebuilt one keeps.
SELECT created_at, seed FROM meta;

-- name: insert_space
-- A space to be searched.
INSERT INTO space (digest, definition, added_at, is_branch) VALUES (:digest, :definition, :now, :is_branch);

-- name: space_by_digest
-- Whether this space is searched already.
SELECT id FROM space WHERE digest = :digest;

-- name: newest_space
-- The space that was added last; a branch of one is none.
SELECT id, digest, definition FROM space WHERE NOT is_branch ORDER BY id DESC LIMIT 1;

-- name: cursor
-- How many positions of a space were drawn or passed over.
SELECT cursor FROM space WHERE id = :space;

-- name: move_cursor
-- Positions were drawn or passed over.
UPDATE space SET cursor = :cursor WHERE id = :space;

-- name: insert_run
-- A multirun, with the first of its workers or before them.
INSERT INTO run (id, folder) VALUES (:run, :folder) ON CONFLICT (id) DO NOTHING;

-- name: insert_worker
-- A process that will ask for trials; once, though the answer may get lost.
INSERT INTO worker (id, run, host, pid, job, batch, log, branch, started_at)
VALUES (:worker, :run, :host, :pid, :job, :batch, :log, :branch, :now)
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

-- name: dismiss_idle_worker
-- A silent worker that runs nothing has left; if it lives, its next claim enters it again.
UPDATE worker SET state = 'left', ended_at = :now
WHERE id = :worker AND state <> 'left' AND NOT EXISTS (SELECT 1 FROM trial WHERE state = 'running' AND worker = :worker);

-- name: idle_workers
-- Those among some workers that run nothing.
SELECT id, state FROM worker WHERE id IN (SELECT value FROM json_each(:workers))
  AND NOT EXISTS (SELECT 1 FROM trial WHERE trial.state = 'running' AND trial.worker = worker.id);

-- name: ended_runs
-- Those among some multiruns that have had workers, all of which have left.
SELECT DISTINCT run FROM worker WHERE run IN (SELECT value FROM json_each(:runs))
  AND NOT EXISTS (SELECT 1 FROM worker AS other WHERE other.run = worker.run AND other.state <> 'left');

-- name: waiting_workers
-- Who waits for what may come back, and the only space whose trials it takes.
SELECT id, branch FROM worker WHERE state = 'waiting';

-- name: holders_of_open_trials
-- Who holds a trial that may come back: once for each trial.
SELECT worker AS id FROM trial WHERE state = 'running'
UNION ALL
SELECT worker FROM trial WHERE state = 'lost' AND charged < :max_attempts;

-- name: watched_workers
-- Whose heartbeats a worker that waits observes: holders of trials that may come back, and workers that wait.
SELECT worker AS id FROM trial WHERE state = 'running'
UNION
SELECT worker FROM trial WHERE state = 'lost' AND charged < :max_attempts
UNION
SELECT id FROM worker WHERE state = 'waiting';

-- name: workers
-- The workers of one multirun, in the order of their coming.
SELECT id, run, host, pid, job, log, state, started_at, ended_at FROM worker WHERE run = :run ORDER BY started_at, id;

-- name: last_worker_of_batch
-- The last worker that a batch job has had.
SELECT id, run, host, pid, job, log, state, started_at, ended_at FROM worker
WHERE batch = :batch ORDER BY started_at DESC, id LIMIT 1;

-- name: n_drawn
-- How many trials there are: numbers are dense.
SELECT coalesce(max(number), -1) + 1 FROM trial;

-- name: n_numbers_and_rows
-- Both are the same: numbers are dense.
SELECT coalesce(max(number), -1) + 1, count(*) FROM trial;

-- name: worker_counts
-- Workers by state.
SELECT state, count(*) AS n FROM worker GROUP BY state;

-- name: outlook
-- All that a claim has to know where nothing went wrong, in one statement.
SELECT (SELECT number FROM trial WHERE state = 'released' ORDER BY number LIMIT 1) AS released,
       (SELECT number FROM trial WHERE state = 'queued' ORDER BY number LIMIT 1) AS queued,
       (SELECT coalesce(max(number), -1) + 1 FROM trial) AS n_drawn,
       (SELECT cursor FROM space WHERE id = :space) AS cursor,
       EXISTS (SELECT 1 FROM pause) AS is_paused,
       worker.state AS worker_state, run.is_stopped, run.has_finished, run.n_failed
FROM worker JOIN run ON run.id = worker.run WHERE worker.id = :worker;

-- name: pause
-- The search is paused, from the first time that a person says so.
INSERT INTO pause (id, since) VALUES (1, :now) ON CONFLICT (id) DO NOTHING;

-- name: resume
-- The search goes on.
DELETE FROM pause;

-- name: is_paused
-- Whether a person has the search paused.
SELECT EXISTS (SELECT 1 FROM pause);

-- name: stop_runs
-- The workers of one multirun, or of all that there are, end; what was said before stays said.
UPDATE run SET is_stopped = 1, is_to_release = max(is_to_release, :is_to_release)
WHERE :run IS NULL OR id = :run;

-- name: stop_run_of_worker
-- The time of a worker's multirun is up: its workers end after their trials.
UPDATE run SET is_stopped = 1 WHERE is_stopped = 0 AND id = (SELECT run FROM worker WHERE id = :worker);

-- name: is_to_release
-- Whether a worker is to release what it runs.
SELECT is_to_release FROM run WHERE id = (SELECT run FROM worker WHERE id = :worker);

-- name: last_durations
-- How long the last finished trials took, among the newest ones: thousands may run, or have failed.
SELECT ended_at - started_at AS seconds FROM trial
WHERE state = 'finished' AND number > (SELECT max(number) FROM trial) - :looked_through
ORDER BY number DESC LIMIT :limit;

-- name: outcomes_elsewhere
-- How trials stand that other hosts' workers of a multirun have drawn, from a number on.
SELECT trial.state FROM trial JOIN worker ON worker.id = trial.worker
WHERE number BETWEEN :since AND :since + :looked_through
  AND worker.run = (SELECT run FROM worker WHERE id = :worker)
  AND worker.host <> (SELECT host FROM worker WHERE id = :worker);

-- name: silent_holders
-- Those among some workers who run trials, with what is known of their jobs.
SELECT DISTINCT worker.id, host, pid, job, log FROM trial JOIN worker ON worker.id = trial.worker
WHERE trial.state = 'running' AND trial.worker IN (SELECT value FROM json_each(:dead));

-- name: released_trials
-- The head of the queue.
SELECT number, combination FROM trial WHERE state = 'released' ORDER BY number;

-- name: queued_trials
-- Next in the queue.
SELECT number, combination FROM trial WHERE state = 'queued' ORDER BY number;

-- name: next_promotion
-- Who is promoted next: from the top rung down, the best first.
SELECT trial FROM standing WHERE is_top = 1 AND is_promoted = 0 ORDER BY level DESC, score, place LIMIT 1;

-- name: promotable_trials
-- Who may be promoted, from the top rung down, the best first.
SELECT number, combination FROM standing JOIN trial ON number = trial
WHERE is_top = 1 AND is_promoted = 0 ORDER BY standing.level DESC, score, place;

-- name: count_promotable
-- How many may be promoted.
SELECT count(*) FROM standing WHERE is_top = 1 AND is_promoted = 0;

-- name: promotable_by_rung
-- How many may be promoted, by where they ended.
SELECT bracket, level, count(*) AS n FROM standing WHERE is_top = 1 AND is_promoted = 0 GROUP BY bracket, level;

-- name: trials_to_retry
-- The tail of the queue: failed trials with attempts left, and lost ones whose holder is known to be dead.
SELECT number, combination FROM trial WHERE state IN ('failed', 'died') AND charged < :max_attempts
UNION ALL
SELECT number, combination FROM trial
WHERE state = 'lost' AND charged < :max_attempts AND worker IN (SELECT value FROM json_each(:dead))
ORDER BY number;

-- name: trial_left_by
-- The last trial that a worker left unfinished, and that may run again.
SELECT number FROM (
    SELECT number, started_at FROM trial WHERE state = 'released' AND worker = :worker
    UNION ALL
    SELECT number, started_at FROM trial
    WHERE state IN ('failed', 'died') AND charged < :max_attempts AND worker = :worker
    UNION ALL
    SELECT number, started_at FROM trial WHERE state = 'lost' AND charged < :max_attempts AND worker = :worker
) ORDER BY started_at DESC, number DESC LIMIT 1;

-- name: trials_that_may_come_back
-- Who holds which trial that may come back.
SELECT worker AS id, combination FROM trial WHERE state = 'running'
UNION ALL
SELECT worker, combination FROM trial WHERE state = 'lost' AND charged < :max_attempts;

-- name: running_of_worker
-- The running trials that a worker holds, with their tokens.
SELECT number, token FROM trial WHERE state = 'running' AND worker = :worker;

-- name: run
-- How a multirun went so far.
SELECT has_finished, n_failed, is_stopped FROM run WHERE id = :run;

-- name: run_folders
-- Where the trials of all multiruns write.
SELECT DISTINCT folder FROM run WHERE folder IS NOT NULL;

-- name: any_finished
-- Whether the ledger holds a result, if only NaN.
SELECT EXISTS (SELECT 1 FROM run WHERE has_finished) OR EXISTS (SELECT 1 FROM trial WHERE state = 'finished');

-- name: run_has_finished_one
-- A trial of the multirun ended with a metric that is a number; nothing to write if another one did before.
UPDATE run SET has_finished = 1
WHERE has_finished = 0 AND id = (SELECT run FROM worker JOIN trial ON trial.worker = worker.id WHERE number = :number);

-- name: count_failure
-- An attempt of the multirun failed, or finished with a metric that is NaN.
UPDATE run SET n_failed = n_failed + 1
WHERE id = (SELECT run FROM worker JOIN trial ON trial.worker = worker.id WHERE number = :number);

-- name: next_charge_of_failed
-- The next higher number of charged attempts among failed trials.
SELECT min(charged) AS charged FROM trial WHERE state IN ('failed', 'died') AND charged > :charged;

-- name: oldest_failed
-- The first failed trial with so many charged attempts.
SELECT min(number) FROM trial WHERE state IN ('failed', 'died') AND charged = :charged;

-- name: next_charge_of_lost
-- The next higher number of charged attempts among lost trials.
SELECT min(charged) AS charged FROM trial WHERE state = 'lost' AND charged > :charged;

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
     + (SELECT count(*) FROM trial WHERE state = 'queued')
     + (SELECT count(*) FROM trial WHERE state IN ('failed', 'died') AND charged < :max_attempts)
     + (SELECT count(*) FROM trial WHERE state = 'lost' AND charged < :max_attempts);

-- name: insert_trial
-- A new trial, running; nothing if the same combination and repetition was drawn before.
INSERT INTO trial (number, space, position, combination, digest, repetition, state, attempts, charged, level,
                   token, worker, started_at)
VALUES (:number, :space, :position, :combination, :digest, :repetition, 'running', 1, 1, :level,
        :token, :worker, :now)
ON CONFLICT (digest, repetition) DO NOTHING;

-- name: keep_attempt
-- The last attempt, if there is one in the trial's row, makes room; one that still runs is cancelled.
INSERT INTO attempt (trial, attempt, token, worker, started_at, ended_at, outcome, output_dir, error,
                     level, metric, metric_is_nan, result)
SELECT number, attempts, token, worker, started_at, coalesce(ended_at, :now),
       CASE state WHEN 'running' THEN 'cancelled' ELSE state END, output_dir, error,
       level, metric, metric_is_nan, result
FROM trial WHERE number = :number AND token IS NOT NULL;

-- name: claim_trial
-- A released, queued, failed or lost trial runs, under a new token.
UPDATE trial SET state = 'running', attempts = attempts + 1, charged = charged + 1, token = :token,
                 worker = :worker, started_at = :now, ended_at = NULL, output_dir = NULL, error = NULL
WHERE number = :number AND state IN ('released', 'queued', 'failed', 'died', 'lost');

-- name: promote_trial
-- finished -> running at the next level, under a new token; what was charged for the last level is not counted.
UPDATE trial SET state = 'running', level = level + 1, attempts = attempts + 1, pardoned = pardoned + charged,
                 charged = 1, token = :token, worker = :worker, started_at = :now, ended_at = NULL, output_dir = NULL,
                 error = NULL, metric = NULL, metric_is_nan = 0, result = NULL
WHERE number = :number AND state = 'finished';

-- name: cancel_trial
-- Any state but finished -> cancelled, by a person; its last attempt is kept elsewhere.
UPDATE trial SET state = 'cancelled', token = NULL, worker = NULL, started_at = NULL, ended_at = NULL,
                 output_dir = NULL, error = NULL
WHERE number = :number AND state NOT IN ('finished', 'cancelled');

-- name: queue_trial
-- failed, died, lost or cancelled -> queued, by a person, who pardons what was charged; its last attempt is kept
-- elsewhere.
UPDATE trial SET state = 'queued', pardoned = pardoned + charged, charged = 0, token = NULL, worker = NULL,
                 started_at = NULL, ended_at = NULL, output_dir = NULL, error = NULL
WHERE number = :number AND state IN ('failed', 'died', 'lost', 'cancelled');

-- name: enqueue_trial
-- A new trial, queued by a person; nothing if the same combination and repetition was drawn before.
INSERT INTO trial (number, space, combination, digest, repetition, state, attempts, charged, level)
VALUES (:number, :space, :combination, :digest, :repetition, 'queued', 0, 0, :level)
ON CONFLICT (digest, repetition) DO NOTHING;

-- name: count_enqueued
-- Trials that the cursor has to pass over.
UPDATE space SET n_enqueued = n_enqueued + :n, n_between = n_between + :n_between WHERE id = :space;

-- name: trial_of_combination
-- The trial of a combination and repetition.
SELECT number, state FROM trial WHERE digest = :digest AND repetition = :repetition;

-- name: state_of_trial
-- Where a trial stands.
SELECT state FROM trial WHERE number = :number;

-- name: failed_trials
-- All trials whose last attempt came to nothing.
SELECT number FROM trial WHERE state IN ('failed', 'died')
UNION ALL
SELECT number FROM trial WHERE state = 'lost' ORDER BY number;

-- name: claimed_trial
-- A claim, by its token: of whom it is, and what for.
SELECT number, attempts, combination, repetition, level FROM trial
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
UPDATE trial SET state = 'released', ended_at = :now, output_dir = :output_dir, error = :error, charged = charged - 1
WHERE number = :number AND token = :token AND state IN ('running', 'lost');

-- name: presume_trial_lost
-- running -> lost, by another worker; the token stays, so that its holder can still finish it.
UPDATE trial SET state = 'lost', ended_at = :now, error = :error
WHERE number = :number AND token = :token AND state = 'running';

-- name: put_report
-- What an attempt told of itself at a step; the last word counts.
INSERT INTO report (trial, attempt, step, metric, metric_is_nan)
VALUES (:number, :attempt, :step, :metric, :metric_is_nan)
ON CONFLICT (trial, attempt, step) DO UPDATE SET metric = excluded.metric, metric_is_nan = excluded.metric_is_nan;

-- name: history
-- What the attempts of a trial told of themselves.
SELECT * FROM report WHERE trial = :number ORDER BY attempt, step;

-- name: last_histories
-- What the last finished trials told of themselves, among the newest ones; later attempts last.
SELECT report.* FROM report WHERE trial IN (
    SELECT number FROM trial WHERE state = 'finished' AND number > (SELECT max(number) FROM trial) - :looked_through
    ORDER BY number DESC LIMIT :limit
) ORDER BY trial, attempt, step;

-- name: outcome_of_attempt
-- How an attempt ended, by its token.
SELECT state FROM trial WHERE number = :number AND token = :token
UNION ALL
SELECT outcome FROM attempt WHERE trial = :number AND attempt = :attempt AND token = :token;

-- name: level_of_trial
-- At which level a trial is.
SELECT level FROM trial WHERE number = :number;

-- name: forget_failure
-- What failed at a level has ended there again.
DELETE FROM standing WHERE trial = :trial AND level = :level AND score IS NULL;

-- name: enter_rung
-- So many trials more have ended there.
INSERT INTO rung (bracket, level, n_ended) VALUES (:bracket, :level, :n)
ON CONFLICT (bracket, level) DO UPDATE SET n_ended = n_ended + :n;

-- name: enter_standing
-- A trial has ended at a level, as the last one of its rung.
INSERT INTO standing (trial, bracket, level, score) VALUES (:trial, :bracket, :level, :score);

-- name: rung
-- How many have ended there, and how many of them are its top.
SELECT n_ended, n_top FROM rung WHERE bracket = :bracket AND level = :level;

-- name: worst_of_top
-- The last of a rung's top.
SELECT place, score FROM standing WHERE bracket = :bracket AND level = :level AND is_top = 1 AND score IS NOT NULL
ORDER BY score DESC, place DESC LIMIT 1;

-- name: best_of_rest
-- The first below a rung's top.
SELECT place, score FROM standing WHERE bracket = :bracket AND level = :level AND is_top = 0 AND score IS NOT NULL
ORDER BY score, place LIMIT 1;

-- name: set_top
-- A trial comes into its rung's top, or falls out of it.
UPDATE standing SET is_top = :is_top WHERE place = :place;

-- name: count_top
-- The top of a rung has grown.
UPDATE rung SET n_top = n_top + 1 WHERE bracket = :bracket AND level = :level;

-- name: set_promoted
-- A trial is promoted from a level, once.
UPDATE standing SET is_promoted = 1 WHERE trial = :trial AND level = :level AND is_top = 1 AND is_promoted = 0;

-- name: count_promoted
-- One more was promoted.
UPDATE rung SET n_promoted = n_promoted + 1 WHERE bracket = :bracket AND level = :level;

-- name: rungs
-- All rungs where a trial has ended.
SELECT bracket, level, n_ended, n_promoted FROM rung ORDER BY bracket, level;

-- name: results_of_levels
-- What came of some trials at the levels that they were promoted from.
SELECT trial, level, metric, metric_is_nan, result, output_dir FROM attempt
WHERE trial IN (SELECT value FROM json_each(:numbers)) AND outcome = 'finished' ORDER BY trial, level;

-- name: is_held
-- Whether a write with this token would be accepted.
SELECT EXISTS (SELECT 1 FROM trial WHERE number = :number AND token = :token AND state IN ('running', 'lost'));

-- name: counts
-- Trials by state, from the small indexes; the finished ones are the rest.
WITH unfinished AS (
    SELECT (SELECT count(*) FROM trial WHERE state = 'running') AS running,
           (SELECT count(*) FROM trial WHERE state IN ('failed', 'died') AND state = 'failed') AS failed,
           (SELECT count(*) FROM trial WHERE state = 'released') AS released,
           (SELECT count(*) FROM trial WHERE state = 'queued') AS queued,
           (SELECT count(*) FROM trial WHERE state = 'cancelled') AS cancelled,
           (SELECT count(*) FROM trial WHERE state = 'lost')
           + (SELECT count(*) FROM trial WHERE state IN ('failed', 'died') AND state = 'died') AS lost
)
SELECT *, (SELECT coalesce(max(number), -1) + 1 FROM trial)
          - running - failed - released - queued - lost - cancelled AS finished
FROM unfinished;

-- name: trials_among
-- Some trials with their last attempts, by number.
SELECT number, combination, repetition, trial.state, attempts, trial.level,
       trial.metric, trial.metric_is_nan, trial.result,
       coalesce(trial.started_at, last.started_at) AS started_at, coalesce(trial.ended_at, last.ended_at) AS ended_at,
       coalesce(trial.output_dir, last.output_dir) AS output_dir, coalesce(trial.error, last.error) AS error,
       worker.host, worker.pid, worker.job, worker.run
FROM trial
LEFT JOIN attempt AS last ON trial.token IS NULL AND last.trial = trial.number AND last.attempt = trial.attempts
LEFT JOIN worker ON worker.id = coalesce(trial.worker, last.worker)
WHERE number IN (SELECT value FROM json_each(:numbers)) ORDER BY number;

-- name: finished_by_run
-- How many trials have their results of each multirun.
SELECT worker.run, count(*) AS n FROM trial JOIN worker ON worker.id = trial.worker
WHERE trial.state = 'finished' GROUP BY worker.run;

-- name: chosen_among
-- Those among some trials that are in one of some states, and whose combination contains a text of each list.
SELECT number FROM trial WHERE number IN (SELECT value FROM json_each(:numbers))
  AND state IN (SELECT value FROM json_each(:states))
  AND NOT EXISTS (
    SELECT 1 FROM json_each(:texts) AS key
    WHERE NOT EXISTS (SELECT 1 FROM json_each(key.value) AS text WHERE instr(combination, text.value))
  );

-- name: has_trials_of_others
-- Whether trials may be there that are of another space.
SELECT EXISTS (SELECT 1 FROM space WHERE id <> :space);

-- name: n_between
-- How many trials of a space lie between the listed values of its intervals.
SELECT n_between FROM space WHERE id = :space;

-- name: trials_from
-- Trials from a number on, with what tells which spaces and branches have them.
SELECT number, space, position, combination, repetition FROM trial WHERE number >= :first ORDER BY number LIMIT :limit;

-- name: open_at_levels
-- The trials that run, or may run again, at their levels.
SELECT number, level, state FROM trial WHERE state IN ('running', 'released', 'queued')
UNION ALL
SELECT number, level, state FROM trial WHERE state IN ('failed', 'died') AND charged < :max_attempts
UNION ALL
SELECT number, level, state FROM trial WHERE state = 'lost' AND charged < :max_attempts;

-- name: unfinished
-- The trials without a result.
SELECT number, state, charged FROM trial WHERE state = 'running'
UNION ALL SELECT number, state, charged FROM trial WHERE state = 'released'
UNION ALL SELECT number, state, charged FROM trial WHERE state = 'queued'
UNION ALL SELECT number, state, charged FROM trial WHERE state IN ('failed', 'died')
UNION ALL SELECT number, state, charged FROM trial WHERE state = 'lost'
UNION ALL SELECT number, state, charged FROM trial WHERE state = 'cancelled';

-- name: numbers_of_unfinished
-- The trials in one of some states, `finished` aside, in no order: to sort them here would not use the small indexes.
SELECT number FROM trial WHERE state = 'running' AND state IN (SELECT value FROM json_each(:states))
UNION ALL
SELECT number FROM trial WHERE state = 'released' AND state IN (SELECT value FROM json_each(:states))
UNION ALL
SELECT number FROM trial WHERE state = 'queued' AND state IN (SELECT value FROM json_each(:states))
UNION ALL
SELECT number FROM trial WHERE state = 'cancelled' AND state IN (SELECT value FROM json_each(:states))
UNION ALL
SELECT number FROM trial WHERE state IN ('failed', 'died') AND state IN (SELECT value FROM json_each(:states))
UNION ALL
SELECT number FROM trial WHERE state = 'lost' AND state IN (SELECT value FROM json_each(:states));

-- name: present_workers
-- Who works or waits, as far as they say, which trial they run, and whether a person ended their multirun's workers.
SELECT worker.id, run, host, pid, job, log, worker.state, worker.started_at, worker.ended_at, trial.number AS trial,
       is_stopped
FROM worker JOIN run ON run.id = worker.run LEFT JOIN trial ON trial.worker = worker.id AND trial.state = 'running'
WHERE worker.state <> 'left' ORDER BY worker.started_at, worker.id;

-- name: last_ends
-- How the last trials ended, the latest first, among the newest ones; of an error the end says what went wrong.
SELECT number, trial.state, trial.ended_at, level, host, CASE trial.state WHEN 'finished' THEN NULL ELSE substr(error, -500) END
       AS error
FROM trial JOIN worker ON worker.id = trial.worker
WHERE trial.state IN ('finished', 'failed', 'died', 'lost') AND number > (SELECT max(number) FROM trial) - :looked_through
ORDER BY trial.ended_at DESC LIMIT :limit;

-- name: attempts_of
-- All attempts of a trial, with their workers; the last one stands in the trial's row, unless a person took it out.
SELECT attempt, outcome AS state, attempt.started_at, attempt.ended_at, output_dir, error, level, metric, metric_is_nan,
       run, host, pid, job, log
FROM attempt JOIN worker ON worker.id = attempt.worker WHERE trial = :number
UNION ALL
SELECT attempts, trial.state, trial.started_at, trial.ended_at, output_dir, error, level, metric, metric_is_nan,
       run, host, pid, job, log
FROM trial JOIN worker ON worker.id = trial.worker WHERE number = :number
ORDER BY attempt;

-- name: spaces
-- What was ever searched; a branch is part of one.
SELECT digest, definition FROM space WHERE NOT is_branch ORDER BY id;

-- name: ranked_lowest
-- The finished trials in the order of their metrics, the lowest first, after a given one; of equal metrics the lower
-- number is first. Step by step: SQLite bounds a scan by one column of (metric, number), and would scan ties again.
WITH RECURSIVE ranked (number, metric) AS (
    SELECT :number, :metric
    UNION ALL
    SELECT trial.number, trial.metric FROM ranked JOIN trial ON trial.number = coalesce(
        (SELECT number FROM trial WHERE state = 'finished' AND metric = ranked.metric AND number > ranked.number
         ORDER BY number LIMIT 1),
        (SELECT number FROM trial WHERE state = 'finished' AND metric > ranked.metric ORDER BY metric, number LIMIT 1)
    )
)
SELECT number, metric FROM ranked LIMIT :limit OFFSET 1;

-- name: ranked_highest
-- The same with the highest metric first; of equal metrics the lower number is first here, too.
WITH RECURSIVE ranked (number, metric) AS (
    SELECT :number, :metric
    UNION ALL
    SELECT trial.number, trial.metric FROM ranked JOIN trial ON trial.number = coalesce(
        (SELECT number FROM trial WHERE state = 'finished' AND metric = ranked.metric AND number > ranked.number
         ORDER BY number LIMIT 1),
        (SELECT number FROM trial WHERE state = 'finished' AND metric = (
            SELECT max(metric) FROM trial WHERE state = 'finished' AND metric < ranked.metric
         ) ORDER BY number LIMIT 1)
    )
)
SELECT number, metric FROM ranked LIMIT :limit OFFSET 1;

-- name: ranked_at_level
-- The trials that have a score at a level and at none above, the best first, after a given one; of equal scores the
-- one that ended there earlier is first.
WITH RECURSIVE ranked (place, score, number) AS (
    SELECT :place, :score, -1
    UNION ALL
    SELECT one.place, one.score, one.trial FROM ranked JOIN standing AS one ON one.place = coalesce(
        (SELECT place FROM standing WHERE level = :level AND score = ranked.score AND place > ranked.place
         ORDER BY place LIMIT 1),
        (SELECT place FROM standing WHERE level = :level AND score > ranked.score ORDER BY score, place LIMIT 1)
    )
)
SELECT number, score, place FROM ranked
WHERE NOT EXISTS (SELECT 1 FROM standing WHERE trial = number AND level > :level AND standing.score IS NOT NULL)
LIMIT :limit OFFSET 1;

-- name: metrics_of_repetitions
-- Those of a trial's combination in all its repetitions; a value that the space repeats makes others.
SELECT other.number, other.metric FROM trial AS one JOIN trial AS other
  ON other.digest = one.digest AND other.repetition / :repetitions = one.repetition / :repetitions
WHERE one.number = :number AND other.state = 'finished' AND other.metric IS NOT NULL ORDER BY other.number;

-- name: incomplete_combinations
-- How many have a repetition without a metric: because it is still to end, has failed, or has finished without one. The
-- mean of infinities of both signs is none.
SELECT sum(is_unfinished), sum(NOT is_unfinished AND has_failed),
  sum(NOT is_unfinished AND NOT has_failed AND is_unmeasured)
FROM (
    SELECT count(*) < :repetitions OR max(state IN ('running', 'released', 'queued')) AS is_unfinished,
      max(state <> 'finished') AS has_failed,
      max(metric IS NULL) OR (max(metric) = 9e999 AND min(metric) = -9e999) AS is_unmeasured
    FROM trial GROUP BY digest, repetition / :repetitions
);

-- name: complete_among
-- Those among some trials of whose combination each repetition has a metric.
SELECT number FROM trial AS one WHERE number IN (SELECT value FROM json_each(:numbers))
  AND :repetitions = (
    SELECT count(*) FROM trial AS other
    WHERE other.digest = one.digest AND other.repetition / :repetitions = one.repetition / :repetitions
      AND other.state = 'finished' AND other.metric IS NOT NULL
  );

-- name: finished_of_repeated
-- Those among some trials that are finished, and of whose combination no repetition can still run.
SELECT number FROM trial AS one WHERE state = 'finished' AND number IN (SELECT value FROM json_each(:numbers))
  AND :repetitions = (
    SELECT count(*) FROM trial AS other
    WHERE other.digest = one.digest AND other.repetition / :repetitions = one.repetition / :repetitions
      AND other.state NOT IN ('running', 'released', 'queued')
      AND (other.state NOT IN ('failed', 'died', 'lost') OR other.charged >= :max_attempts)
  );

-- name: finished_among
-- Those among some trials that are finished at a level.
SELECT number FROM trial
WHERE state = 'finished' AND level = :level AND number IN (SELECT value FROM json_each(:numbers));

-- name: first_failure
-- The first failed attempt of a multirun: its trial's number, its error.
SELECT trial, error FROM (
    SELECT number AS trial, error, worker, started_at FROM trial WHERE state IN ('failed', 'died')
    UNION ALL
    SELECT trial, error, worker, started_at FROM attempt WHERE outcome IN ('failed', 'died')
) WHERE worker IN (SELECT id FROM worker WHERE run = :run) ORDER BY started_at, trial LIMIT 1;

-- name: n_nan
-- How many trials of a multirun finished with a metric that is NaN.
SELECT count(*) FROM trial
WHERE state = 'finished' AND metric_is_nan AND worker IN (SELECT id FROM worker WHERE run = :run);

-- name: n_spaces
-- Whether a space was added.
SELECT count(*) FROM space WHERE NOT is_branch;

-- name: trial_marks
-- What changes whenever a trial does.
SELECT number, attempts, state FROM trial WHERE number >= :first ORDER BY number LIMIT :limit;

-- name: attempts_among
-- All attempts of some trials: those that are over for good, and the last ones.
SELECT trial, attempt, level, outcome, each.started_at, each.ended_at, metric, metric_is_nan,
       worker.id AS worker, host, pid, job
FROM (
    SELECT trial, attempt, level, outcome, started_at, ended_at, metric, metric_is_nan, worker
    FROM attempt WHERE trial IN (SELECT value FROM json_each(:numbers))
    UNION ALL
    SELECT number, attempts, level, state, started_at, ended_at, metric, metric_is_nan, worker
    FROM trial WHERE number IN (SELECT value FROM json_each(:numbers)) AND token IS NOT NULL
) AS each JOIN worker ON worker.id = each.worker
ORDER BY trial, attempt;

-- name: histories_among
-- What some trials told of themselves; later attempts last.
SELECT report.* FROM report WHERE trial IN (SELECT value FROM json_each(:numbers)) ORDER BY trial, attempt, step;

-- name: measured_ends
-- When some trials finished, at each level, and with which metric.
SELECT number, attempts AS attempt, level, metric, ended_at FROM trial
WHERE number BETWEEN :first AND :last AND state = 'finished' AND metric IS NOT NULL
UNION ALL
SELECT trial, attempt, level, metric, ended_at FROM attempt
WHERE trial BETWEEN :first AND :last AND outcome = 'finished' AND metric IS NOT NULL;

-- name: n_measured
-- How many trials finished with a metric between two.
SELECT count(*) FROM trial WHERE state = 'finished' AND metric BETWEEN :least AND :most;
