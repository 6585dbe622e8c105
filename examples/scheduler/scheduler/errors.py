"""What can go wrong."""


class SchedulerError(Exception):
    """Something the caller asked for cannot be done."""


class NotFound(SchedulerError):
    """There is no such thing."""


class NotPossible(SchedulerError):
    """It is there, and in a state in which this cannot be done."""
