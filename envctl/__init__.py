"""envctl gives a repository the services its tests need."""

__all__ = ["__version__"]

__version__ = "0.1.0"
