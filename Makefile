# The commands of this repository. `make up` and `make test` need nothing but Python 3.11 and make.

PYTEST ?= .venv/bin/python -m pytest
WORKERS ?= 3

.PHONY: help up down docker test unit check format bench docs

help:
	@echo "make up      an environment comes up, with Docker where that is usable, else without; says how to use it"
	@echo "make down    removes it"
	@echo "make docker  gets a Docker Engine and the test images, as root on Debian; nothing but this, test and bench does"
	@echo "make test    everything: checks, unit and scenario tests"
	@echo "make unit    the tests that need no Docker, in seconds"
	@echo "make check   ruff, mypy and the architecture tests"
	@echo "make format  formats the code"
	@echo "make bench   measures envctl beside its peers"
	@echo "make docs    writes the generated pages again"

up:
	@scripts/up

down:
	@scripts/venv none
	@.venv/bin/envctl down

docker:
	@scripts/docker-engine
	@scripts/test-images

test: check
	@scripts/docker-engine || echo "make test: no Docker Engine can be had here; tests that need it are skipped" >&2
	@scripts/test-images || echo "make test: the test images cannot be had here; tests that need them are skipped" >&2
	$(PYTEST) -n $(WORKERS)

unit:
	@scripts/venv
	$(PYTEST) -m "not engine"

check:
	@scripts/venv
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

format:
	@scripts/venv
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

bench:
	@scripts/venv dev bench
	@scripts/docker-engine
	@scripts/test-images
	.venv/bin/python -m benchmarks

docs:
	@scripts/venv
	.venv/bin/python -m envctl.cli.reference docs
	scripts/golden
