"""Any image: ports, readiness and data are what the user says they are."""

from envctl.kinds.base import Kind

KIND = Kind()
