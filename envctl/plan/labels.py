"""How the labels of everything that is created begin."""

LABEL_PREFIX = "dev.envctl."
