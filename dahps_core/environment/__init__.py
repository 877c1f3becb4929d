"""What a process's environment says of it: its batch job, its launcher, and its rank."""
