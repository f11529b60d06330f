"""Failed calls: what each of them means for the job and for the gate."""
