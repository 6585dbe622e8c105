"""envctl gives a repository the services its tests need."""

__version__ = "0.1.0"
