# Each target makes its own environment on a bare machine: Python 3.10+ and git are enough.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python

.PHONY: demo reproduce test test-slow lint clean

$(VENV)/.runtime: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet -r requirements.txt
	touch $@

# requirements-dev.txt reads requirements-data.txt: the tests prepare data as well.
$(VENV)/.dev: $(VENV)/.runtime requirements-data.txt requirements-dev.txt
	$(PY) -m pip install --quiet -r requirements-dev.txt
	touch $@

# Train on the demo set and run the three evaluations: a few minutes on two cores.
DEMO := checkpoint/demo
demo: $(VENV)/.runtime
	$(PY) pretrain.py data/demo --preset readme --backbone tiny --negative_num 29 --batch_size 32 --epochs 30 \
	    --endure_times 12 --log_interval 50 --own_edges keep --overwrite --checkpoint $(DEMO)
	$(PY) seq_reranker.py data/demo --checkpoint $(DEMO)
	$(PY) topn.py data/demo --negative_num 99 --checkpoint $(DEMO)
	$(PY) exp.py data/demo --checkpoint $(DEMO)
	@echo "some explanations (all: $(DEMO)/explanation.jsonl):"
	@head -n 5 $(DEMO)/explanation.jsonl
	@echo "results: $(DEMO)/sequential.json, $(DEMO)/direct.json, $(DEMO)/explanation.json"
	@echo "all of it to read: $(DEMO)/report.html"

# The published experiment (docs/reproduce.md): make reproduce DATA=beauty CUDA=1
reproduce: $(VENV)/.runtime
	PYTHON=$(PY) DATA='$(DATA)' CUDA='$(CUDA)' LIMIT='$(LIMIT)' FLAGS='$(FLAGS)' \
	    benchmarks/reproduce.sh

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

# Four workers at most, each of one thread. What modules share is trained in seconds: they need not
# keep to one worker.
test: lint
	$(PY) -m pytest -m "not slow" -n auto --maxprocesses 4 --dist worksteal

# Runs on real data as well; tests skip, saying so, where it is not to be found.
test-slow: $(VENV)/.dev
	$(PY) -m pytest -m slow

clean:
	rm -rf $(VENV) checkpoint/demo
