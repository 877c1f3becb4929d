-- The statements of a trial run of SQLite on a storage: no part of a ledger.

-- name: make
-- One row for each transaction.
CREATE TABLE probe (process INTEGER NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (process, number));

-- name: insert
-- Ignored where it is there already: a transaction is repeated when the answer to its COMMIT was lost.
INSERT OR IGNORE INTO probe (process, number) VALUES (:process, :number);

-- name: count
-- How many transactions were kept.
SELECT count(*) FROM probe;

-- name: integrity
-- "ok", or what is wrong with the file.
PRAGMA integrity_check;
