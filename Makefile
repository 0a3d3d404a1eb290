# Each target makes its own environment on a bare machine: Python 3.10+ and git are enough.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python

.PHONY: demo reproduce test test-slow lint clean

$(VENV)/.runtime: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet -r requirements.txt
	touch $@

# What prepare.py needs.
$(VENV)/.data: $(VENV)/.runtime requirements-data.txt
	$(PY) -m pip install --quiet -r requirements-data.txt
	touch $@

# The tests prepare data as well.
$(VENV)/.dev: $(VENV)/.data requirements-dev.txt
	$(PY) -m pip install --quiet -r requirements-dev.txt
	touch $@

# From a CSV file to recommendations with reasons, beside the simple models: a few minutes on two
# cores. make demo SEED=1 is another shop.
SEED := 0
DEMO := checkpoint/demo
SHOP := data/demo-shop
demo: $(VENV)/.data
	$(PY) -m modules.data.shop $(SHOP).csv --seed $(SEED) --overwrite
	$(PY) prepare.py $(SHOP).csv --item_title title --out $(SHOP) --overwrite
	$(PY) pretrain.py $(SHOP) --epochs 1 --seed $(SEED) --overwrite --checkpoint $(DEMO)
	$(PY) seq_reranker.py $(SHOP) --checkpoint $(DEMO)
	$(PY) topn.py $(SHOP) --checkpoint $(DEMO)
	$(PY) exp.py $(SHOP) --checkpoint $(DEMO) --limit_users 300
	$(PY) compare.py baselines $(SHOP) --methods popularity,item_knn,ease,linear
	$(PY) compare.py table $(DEMO) $(addprefix checkpoint/demo-shop-,popularity item_knn ease linear)
	$(PY) recommend.py $(SHOP) --checkpoint $(DEMO) --user C7
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
	rm -rf $(VENV) checkpoint/demo checkpoint/demo-shop-* data/demo-shop data/demo-shop.csv
