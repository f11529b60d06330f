"""Records, event logs, listings and sums as readers see them: nothing here changes a job."""
