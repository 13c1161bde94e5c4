# Short targets shared by laptop and CI. `make demo` and `make test` set up all that they need.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
SPEC ?= config/experiments/digits.yaml
PIP = -m pip install --quiet --disable-pip-version-check --no-deps
LOCKED = requirements/install.py

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-nightly up down test lint types fmt bench bench-optimizers bench-schedulers chaos fuzz images clean
.PHONY: up-stack down-stack backup-stack restore-stack lock lock-images charts sbom wheel

help:  ## show this
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

demo: .venv/core .venv-trial/trial  ## tune a Keras model on an Airflow of its own (SPEC=file, KEEP=1)
	@.venv/bin/hpo demo "$(SPEC)" $(if $(filter-out 0,$(KEEP)),--keep)

demo-nightly: .venv/core .venv-trial/trial  ## three nights: a champion, a worse challenger, a better one (KEEP=1)
	@.venv/bin/hpo nights config/nights/*.yaml $(if $(filter-out 0,$(KEEP)),--keep)

up: .venv/core .venv-trial/trial  ## start that Airflow and leave it running
	@.venv/bin/hpo up

down: .venv/core  ## stop it, its trials included
	@.venv/bin/hpo down

# Images of your own, named in .env, are not built.
up-stack:  ## start a team's stack with Docker Compose: docs/stack.md (ARGS=… for docker build)
	@"$(PYTHON)" docker/stack/environment.py .env $$(docker info --format '{{.NCPU}} {{.MemTotal}}')
	@! grep -qx HPO_AIRFLOW_IMAGE=hpo-airflow-local .env || DOCKER_BUILDKIT=1 docker build $(call BASE,airflow) $(ARGS) \
	  --target local -t hpo-airflow-local -f docker/airflow/Dockerfile .
	@grep -q '^HPO_S3_IMAGE=' .env || DOCKER_BUILDKIT=1 docker build $(call BASE,python) $(ARGS) -t hpo-s3 -f docker/s3/Dockerfile .
	@docker compose up --detach --wait
	@echo "Airflow is up: http://$$(docker compose port api-server 8080)   user admin   password: HPO_ADMIN_PASSWORD in .env"

down-stack:  ## stop it; its volumes, and all data in them, stay
	@docker compose down

backup-stack:  ## write its databases, reports and attempts to FILE
	@docker/stack/backup "$(FILE)"

restore-stack:  ## fill an empty stack from FILE
	@docker/stack/restore "$(FILE)"

# Two processes share the tests, a file at a time; not those that share one engine and one cluster.
SHARED_OUT = $(if $(DOCKER_HOST)$(KUBECONFIG),,--numprocesses 2 --dist loadfile --no-loadscope-reorder)
test: .venv/dev .venv-trial/trial .venv-ministack/ready .venv-mlflow/ready  ## run every test, real Airflow and PostgreSQL included (ARGS=…)
	@.venv/bin/python -m pytest $(SHARED_OUT) $(ARGS)

lint: .venv/dev  ## check style
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .

types: .venv/dev  ## check types
	@.venv/bin/mypy

fmt: .venv/dev  ## format
	@.venv/bin/ruff check --fix . ; .venv/bin/ruff format .

bench: .venv/dev .venv-trial/trial  ## measure: overhead, imports, wine quality
	@.venv/bin/python -m benchmarks

fuzz: .venv/dev  ## hand 100,000 damaged confs to validate (ARGS="1000 --seed 3")
	@.venv/bin/python -m benchmarks.fuzz $(ARGS)

# FAST=1 makes no environment: it takes the peers that are there.
PEERS = hebo hyperopt optuna skopt smac
ifeq ($(filter-out 0,$(FAST)),)
PEER_STAMPS = $(PEERS:%=.venv-peers/%/ready)
endif
SCHEDULER_PEERS = optuna ray syne-tune
ifeq ($(filter-out 0,$(FAST)),)
SCHEDULER_STAMPS = $(SCHEDULER_PEERS:%=.venv-peers/schedulers-%/ready)
endif
bench-schedulers: .venv/dev $(SCHEDULER_STAMPS)  ## compare schedulers with peers on recorded curves (FAST=1 ours alone, ARGS="--until 0.25")
	@.venv/bin/python -m benchmarks.schedulers $(if $(filter-out 0,$(FAST)),--fast) $(ARGS)

bench-optimizers: .venv/dev $(PEER_STAMPS)  ## compare samplers with peers (hours; FAST=1 a minute, ARGS=…)
	@.venv/bin/python -m benchmarks.optimizers $(if $(filter-out 0,$(FAST)),--fast) $(ARGS)

MINUTES ?= 60
chaos: .venv/dev  ## faults at random on a real Airflow for MINUTES=60: docs/chaos.md (ARGS="--seed 1")
	@.venv/bin/python -m tests.chaos --minutes $(MINUTES) $(ARGS)

# What images are built on: docker/images.txt, where `make lock-images` writes digests.
BASE = --build-arg BASE=$(shell sed -n 's/^$(1)=//p' docker/images.txt)
lock-images:  ## pull the images that others are made of, and pin their digests in docker/images.txt
	@"$(PYTHON)" docker/lock_images.py

TENSORFLOW ?= gpu
images:  ## build the images hpo-trial and hpo-airflow with Docker (TENSORFLOW=cpu, ARGS=…)
	@DOCKER_BUILDKIT=1 docker build $(call BASE,python) --build-arg TENSORFLOW=$(TENSORFLOW) $(ARGS) -t hpo-trial -f docker/trial/Dockerfile .
	@DOCKER_BUILDKIT=1 docker build $(call BASE,python) $(ARGS) -t hpo-serve -f docker/serve/Dockerfile .
	@DOCKER_BUILDKIT=1 docker build $(call BASE,airflow) $(ARGS) -t hpo-airflow -f docker/airflow/Dockerfile .

setup: .venv/dev .venv-trial/trial .venv-ministack/ready .venv-mlflow/ready  ## create all environments

# s3fs pins a botocore of its own; the trial's environment is never shared with Airflow's provider.
LOCK = uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate \
  --no-emit-package hpo-lib --generate-hashes
charts:  ## bundle what the charts need of ECharts, as requirements/charts pins it (needs npm)
	@mkdir -p build/charts && cp requirements/charts/* build/charts && cd build/charts && npm ci --no-fund
	@cd build/charts && npx esbuild echarts.js --bundle --minify --format=iife \
	  --global-name=echarts --legal-comments=none --define:process.env.NODE_ENV='"production"' \
	  --banner:js="/*! Parts of Apache ECharts (Apache-2.0) and others: see LICENSES.txt. */" \
	  --outfile=../../hpo_lib/report/assets/echarts.js --allow-overwrite

lock:  ## renew the pins, with the hashes of their files (needs uv)
	@$(LOCK) requirements/dev.in -o requirements/dev.txt
	@$(LOCK) --constraint requirements/dev.txt requirements/core.in -o requirements/core.txt
	@$(LOCK) --constraint requirements/dev.txt requirements/trial.in -o requirements/trial.txt
	@$(LOCK) --constraint requirements/trial.txt requirements/trial-gpu.in -o requirements/trial-gpu.txt
	@$(LOCK) requirements/ministack.in -o requirements/ministack.txt
	@$(LOCK) --constraint requirements/dev.txt requirements/airflow.in -o requirements/airflow.txt
	@$(LOCK) requirements/s3.in -o requirements/s3.txt
	@$(LOCK) --constraint requirements/dev.txt --constraint requirements/trial.txt \
	  requirements/serve.in -o requirements/serve.txt
	@$(LOCK) requirements/mlflow.in -o requirements/mlflow.txt
	@$(LOCK) requirements/uv.in -o requirements/uv.txt

wheel:  ## pack everything into a wheel, in dist/: docs/install.md
	@"$(PYTHON)" -m pip wheel --quiet --no-deps --wheel-dir dist .
	@ls -t dist/hpo_lib-*.whl | sed -n 1p

sbom:  ## write a software bill of materials for each file of pins, into build/sbom
	@"$(PYTHON)" requirements/sbom.py build/sbom

clean:  ## stop Airflow, remove the environments and Airflow's folder
	-[ ! -x .venv/bin/hpo ] || .venv/bin/hpo down
	rm -rf .venv .venv-trial .venv-ministack .venv-mlflow .venv-peers .airflow build dist *.egg-info

# Each environment is made once and again when its pins change; the stamp is written last.
.venv/core: requirements/core.txt pyproject.toml
	@"$(PYTHON)" -c 'import sys; v = sys.version_info[:2]; v in [(3, 11), (3, 12)] or sys.exit(f"needs Python 3.11 or 3.12, got {sys.version.split()[0]}; name one: make PYTHON=…")'
	@echo "installing Airflow and hpo into .venv (1 to 3 minutes)"
	@"$(PYTHON)" -m venv .venv
	@.venv/bin/python $(LOCKED) requirements/core.txt
	@.venv/bin/python $(PIP) --no-build-isolation -e .
	@touch $@

.venv/dev: requirements/dev.txt .venv/core
	@echo "installing the tools for tests into .venv"
	@.venv/bin/python $(LOCKED) requirements/dev.txt
	@touch $@

.venv-trial/trial: requirements/trial.txt pyproject.toml | .venv/core  # in turn, as both build this package
	@echo "installing TensorFlow into .venv-trial (1 to 3 minutes)"
	@"$(PYTHON)" -m venv .venv-trial
	@.venv-trial/bin/python $(LOCKED) requirements/trial.txt
	@.venv-trial/bin/python $(PIP) --no-build-isolation -e .
	@touch $@

.venv-ministack/ready: requirements/ministack.txt
	@"$(PYTHON)" -m venv .venv-ministack
	@.venv-ministack/bin/python $(LOCKED) $<
	@touch $@

.venv-mlflow/ready: requirements/mlflow.txt
	@echo "installing an MLflow server for the tests into .venv-mlflow (350 MB)"
	@"$(PYTHON)" -m venv .venv-mlflow
	@.venv-mlflow/bin/python $(LOCKED) $<
	@touch $@

.venv-peers/schedulers-%/ready: benchmarks/scheduler_peers/requirements/%.txt
	@echo "installing $* into .venv-peers/schedulers-$*"
	@"$(PYTHON)" -m venv .venv-peers/schedulers-$*
	@.venv-peers/schedulers-$*/bin/python $(LOCKED) $<
	@touch $@

.venv-peers/%/ready: benchmarks/optimizers/requirements/%.txt
	@echo "installing $* into .venv-peers/$*"
	@"$(PYTHON)" -m venv .venv-peers/$*
	@.venv-peers/$*/bin/python $(LOCKED) $<
	@touch $@
