"""What CI systems read: jobs to put into a repository, and commands in a job's log. Pure."""
