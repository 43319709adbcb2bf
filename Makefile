# Every target makes the environment it needs from a bare Python 3.11 and pip; logic lives in Python.
PYTHON ?= python3
ENV := @$(PYTHON) tests/env/bootstrap.py
BIN := .venv/bin
# Kept bytecode saves 8 s of each run: pytest rewrites the assertions of 150 modules, and again in each of its processes.
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test matrix unit compat agents properties chaos soak batch-soak scale screenshots bench docs dist changelog lint format lock clean
demo:  ## emulator + a real Airflow + the quickstart DAG; KEEP=1 keeps them up, DAGS=folder runs the DAGs of that folder too
	$(ENV) 3.3.2
	@$(BIN)/python -m tests.airflow.demo $(if $(KEEP),--keep) $(if $(DAGS),--dags "$(DAGS)")
test: unit agents  ## everything on the newest Airflow, the unit suite on the oldest, a look at those between
	@$(BIN)/python -m tests.versions --ci
	@$(MAKE) --no-print-directory matrix
	$(ENV) release
	@.venv-release/bin/python -m tests.release check
	$(BIN)/python -m pytest -m "airflow and not compat"
# The soaks wait more than they work, and what they judge is made once: beside the others, in a process of their own.
SOAKS := tests/test_soak.py tests/test_batch_soak.py
matrix:  ## every fault at every point, and the short soaks
	$(ENV) 3.3.2
	@$(BIN)/python -m pytest -q -m matrix $(SOAKS) & soaks=$$!; \
	$(BIN)/python -m pytest -n auto -m "matrix and not airflow" $(SOAKS:%=--ignore=%); matrix=$$?; \
	wait $$soaks && exit $$matrix
unit:  ## the suite without Airflow processes and without the whole fault matrix: seconds
	$(ENV) 3.3.2
	$(BIN)/python -m pytest -n auto -m "not airflow and not matrix"
compat:  ## the suite and the quickstart on every Airflow, and the table of what works where; AIRFLOW="3.0.6 2.11.2"
	$(ENV) 3.3.2
	@$(BIN)/python -m tests.versions $(AIRFLOW)
agents:  ## bots as tools of Airflow's agents: needs the common.ai provider, which is in an environment of its own
	$(ENV) 3.3.2 agents
	.venv-agents/bin/python -m pytest -n auto tests/agents
	$(BIN)/mypy --python-executable .venv-agents/bin/python airflow_provider_coze/agents
properties:  ## the property tests with 5,000 examples each instead of 25
	$(ENV) 3.3.2
	PROPERTIES=nightly $(BIN)/python -m pytest -n auto --timeout 3600 tests/properties
chaos:  ## kill every process of a real Airflow at every point, and print what was billed
	$(ENV) 3.3.2
	@$(BIN)/python -m tests.airflow.kill_matrix
soak:  ## 2,000 chats and 2,000 runs while Coze and the network misbehave
	$(ENV) 3.3.2
	@$(BIN)/python -m tests.soak
batch-soak:  ## batches of 5,000 rows whose worker and triggerer are killed again and again; ROWS=1000, SEED=7
	$(ENV) 3.3.2
	@$(BIN)/python -m tests.batch_soak $(if $(ROWS),--rows $(ROWS)) $(if $(SEED),--seed $(SEED))
scale:  ## 500 deferred chats and two batches on CeleryExecutor, a worker and a triggerer killed midway; TASKS=100, ROWS=200
	$(ENV) 3.3.2 celery
	@$(BIN)/python -m tests.airflow.scale $(if $(TASKS),--tasks $(TASKS)) $(if $(ROWS),--rows $(ROWS))
screenshots:  ## pictures of Airflow's pages for docs/images, from real runs; ONLY=2.11.2. Needs a Chromium; look at what it made
	$(ENV) 2.11.2 screenshots
	@.venv-screenshots/bin/python -m tests.screenshots $(if $(ONLY),--only $(ONLY))
bench:  ## what waiting, noticing, importing and batches cost; QUICK=1, ONLY=polling,lag, PEERS=1: beside other providers, WRITE=1: into the docs
	$(ENV) 3.3.2 $(if $(PEERS),peers)
	@$(BIN)/python -m tests.benchmarks $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY)) $(if $(PEERS),--peers) $(if $(WRITE),--write)
docs:  ## the site of the documentation, every warning an error, every link looked at: build/docs/html/index.html
	$(ENV) docs
	@.venv-docs/bin/python -m tests.docs_site
dist:  ## sdist, wheel, list of materials, all tested, into dist/; TAG=v0.1.0: only if it is ready to be that; AIRFLOW="3.3.2 2.11.2"
	$(ENV) release
	@.venv-release/bin/python -m tests.release dist $(if $(TAG),--tag "$(TAG)") $(if $(AIRFLOW),--airflow $(AIRFLOW))
changelog:  ## the section of this version into CHANGELOG.md, from the notes in changes/; DRAFT=1: only prints it
	$(ENV) release
	@.venv-release/bin/python -m tests.release changelog $(if $(DRAFT),--draft)
lint:
	$(ENV) 3.3.2
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
format:
	$(ENV) 3.3.2
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
lock:  ## remake locks/*.txt; `make lock UPGRADE=1` takes the newest versions that fit
	$(ENV) --lock $(if $(UPGRADE),--upgrade)
clean:
	rm -rf .venv .venv-* .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
