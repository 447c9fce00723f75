"""What a ``JobQueue`` says and what its status reports: pure values, standard library only."""
