# Learning Generative Models: `make help` lists what there is.
# Paths are relative and recipes quoted, so that the folder may stand anywhere, also where a name has a space.

PYTHON ?= $(shell command -v python3 || command -v python3.13 || command -v python3.12 || command -v python3.11)
VENV ?= .venv
WEEK ?= week03_rbm
SEEDS ?= 20
TOPIC ?=
OUT ?= build/student
GPU ?=
PORT ?=
ARGS ?=

RUN = "$(VENV)/bin/python" -m

.DEFAULT_GOAL := help
.PHONY: help setup lab week test lint format notebooks release student bank load grade check demo trial throughput benchmark speed lock colab-test clean

help: ## List the targets
	@echo 'Usage: make TARGET [NAME=value]'
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## */\1 ## /' | awk -F ' ## ' '{ printf "  %-11s %s\n", $$1, $$2 }'

setup: ## Make the environment .venv from the lock (GPU=1: with CUDA, Linux only)
	@test -n "$(PYTHON)" || { echo 'setup: no python3 found: install Python 3.11, 3.12 or 3.13' >&2; exit 1; }
	@"$(PYTHON)" tools/setup_env.py --venv "$(VENV)" $(if $(filter-out 0,$(GPU)),--gpu)

lab: setup ## Open the course in JupyterLab (PORT=8890: another port)
	@$(RUN) tools.lab $(if $(PORT),--port $(PORT)) $(ARGS)

week: setup ## Write the skeleton of a week (WEEK=week08_gan TOPIC="as in README")
	@test "$(origin WEEK)" != file || { echo 'week: say which, such as make week WEEK=week08_gan' >&2; exit 1; }
	@$(RUN) tools.week "$(WEEK)" --topic "$(TOPIC)" $(ARGS)

test: setup ## Run all tests, with the minutes of each part (ARGS="unit bank": only these; WEEK=…: one week)
	@$(RUN) tools.suite $(if $(filter-out file,$(origin WEEK)),--week "$(WEEK)") $(ARGS)

lint: setup ## Check style, format and types only
	@$(RUN) tools.suite lint types

format: setup ## Format the code, and mend what ruff can mend
	@$(RUN) ruff check --fix --exit-zero --quiet
	@$(RUN) ruff format

notebooks: setup ## Write the .ipynb files and their pictures from their .py sources, and README's table of weeks
	@$(RUN) tools.pictures $(ARGS)
	@$(RUN) tools.notebooks $(ARGS)

release: setup ## Generate the student versions in exercises/ from solutions/
	@$(RUN) tools.release $(ARGS)

student: setup ## Build the students' repository in OUT (build/student)
	@$(RUN) tools.student "$(OUT)" $(ARGS)

bank: setup ## Run a week's right and wrong answers under many seeds, and all mutants (WEEK=week03_rbm SEEDS=20)
	@$(RUN) grading.proving.bank "$(WEEK)" --seeds $(SEEDS) $(ARGS)

load: setup ## Estimate the minutes of each preparation: words, code, equations, figures
	@$(RUN) tools.load $(ARGS)

grade: setup ## Grade a week's submissions (WEEK=week03_rbm ARGS="--zip all.zip --students class.csv")
	@$(RUN) grading grade "$(WEEK)" $(ARGS)

check: setup ## Is a week's exercise fit to be released? (WEEK=week03_rbm)
	@$(RUN) grading check "$(WEEK)" $(ARGS)

demo: setup ## Grade a sample class end to end, in build/demo
	@$(RUN) grading demo $(ARGS)

trial: setup ## Grade 64 submissions while processes are killed, and compare (WEEK=week03_rbm)
	@$(RUN) grading trial "$(WEEK)" $(ARGS)

throughput: setup ## Time the grading engine beside nbgrader autograde (WEEK=week03_rbm)
	@$(RUN) grading benchmark "$(WEEK)" $(ARGS)

benchmark: setup ## Run a week with its "Going bigger" parameters (WEEK=week03_rbm)
	@$(RUN) tools.benchmark "$(WEEK)" $(ARGS)

speed: setup ## Time training side by side with scikit-learn and PyTorch
	@$(RUN) tools.speed $(ARGS)

lock: setup ## Compile requirements.txt anew from pyproject.toml (ARGS=--upgrade: newest versions)
	@$(RUN) tools.lock $(ARGS)

colab-test: setup ## Run a notebook in an environment like Colab's (needs Python 3.13 and a network)
	@$(RUN) tools.colab_check $(ARGS)

clean: ## Remove the environment and everything generated that git ignores, but no downloads and no marks
	rm -rf "$(VENV)" build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name .git -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -type d -prune -exec rm -rf {} +
