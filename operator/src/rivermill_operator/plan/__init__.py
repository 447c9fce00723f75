"""Decisions as values: ``Observed × Desired × Memory → Plan``. Pure, standard library only."""
