"""The keeper: starts the processes of one `up`, passes their output into logs, notes how they end, then ends itself.

A program of its own, run as `python -I -S run.py LOCK_FD`. It outlives `envctl up` as a containerd shim outlives
`docker run`, so that no daemon is needed. It imports nothing of envctl, and of the library as little as can be: it is
on the way of every start, and one of it stays in memory for every environment.

Standard input: one JSON object per line, each starts a service; `service.Service` reads its keys. When the input ends,
the lock is let go and nothing more will be started. Standard output: events, one JSON object per line:

    {"event": "started", "service": NAME}
    {"event": "failed", "service": NAME, "step": "chdir", "errno": 2, "error": "No such file or directory"}
    {"event": "ended", "service": NAME, "exit_code": 1}      exit.json is written, what there was to read is in the log
"""
