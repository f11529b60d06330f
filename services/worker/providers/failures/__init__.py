"""Failed calls and their meaning for the job and the gate."""
