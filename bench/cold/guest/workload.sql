-- SPDX-License-Identifier: Apache-2.0
-- A table of 36,864 documents, one on each page of 4 KiB, and statements that read (three of four)
-- or update one. Which one follows Zipf's law: rank r has a probability of about 1/r, and ranks are
-- scattered over the table. Random numbers are the same in each run.
.bail on
PRAGMA temp_store = memory;
PRAGMA journal_mode = memory;
.system /mnt/gate load
CREATE TABLE document (id INTEGER PRIMARY KEY, changes INTEGER, body BLOB);
INSERT INTO document
  WITH RECURSIVE number(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM number WHERE i < 36864)
  SELECT i, 0, randomblob(3800) FROM number;
CREATE TEMP VIEW statement AS
  WITH RECURSIVE draw(i, x) AS (
    VALUES (1, 20261122)
    UNION ALL SELECT i + 1, (x * 1103515245 + 12345) % 2147483648 FROM draw WHERE i < 60000),
  choice(i, id) AS (
    SELECT i, CAST(pow(36864.0, x / 2147483648.0) AS INTEGER) * 22973 % 36864 + 1 FROM draw)
  SELECT i, iif(i % 4 = 0, 'UPDATE document SET changes = changes + 1 WHERE id = ' || id || ';',
                'SELECT changes, length(body) FROM document WHERE id = ' || id || ';') AS text
  FROM choice;
.once /mnt/warm-up.sql
SELECT text FROM statement WHERE i <= 30000;
.once /mnt/measured.sql
SELECT text FROM statement WHERE i > 30000;
.system /mnt/gate warm-up
.output /dev/null
.read /mnt/warm-up.sql
.output
.system /mnt/gate measured
.output /dev/null
.read /mnt/measured.sql
.output
.print DONE measured 30000
SELECT 'CHECK ' || count(*) || ' ' || sum(changes) || ' ' || sum(length(body))
  FROM document WHERE id <= 4096;
.print COMPLETE
