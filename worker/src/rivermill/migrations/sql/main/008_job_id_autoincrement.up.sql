-- Changes SQLite only; recorded so that every River release finds its version.
SELECT 1;
