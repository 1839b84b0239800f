# Humans and CI run the same targets. Everything lives in .venv; a second run installs nothing.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
CATALOGUES := $(wildcard src/seodang/locale/*/LC_MESSAGES/*.po)
SEODANG_DATA ?= $(abspath $(wildcard ../shared/data))
export SEODANG_DATA

.PHONY: help setup demo test check format messages bench measure ladders torture clean

help:      ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP)  ## make .venv and install Seodang and its tools into it

$(STAMP): pyproject.toml constraints.txt hatch_build.py $(CATALOGUES)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(STAMP)  ## train a digit reader, look at its report, read a digit from a picture
	@$(BIN)/python -m seodang train digits-cnn
	@$(BIN)/python docs/examples/digit_picture.py runs/digit.png
	@$(BIN)/python -m seodang predict "$$(ls -dt runs/*-digits-cnn-*/ | head -1)" runs/digit.png

test: $(STAMP)  ## the whole suite (12 minutes at most on two cores)
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: $(STAMP)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## put every file in the house's layout
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

messages: $(STAMP)  ## list messages without a Korean twin (tools/messages.py --update adds them)
	$(BIN)/python tools/messages.py

bench: $(STAMP)  ## measurements beside other code, as ratios
	$(BIN)/python -m benchmarks

measure: $(STAMP)  ## re-run every shipped recipe and compare with what it promises
	for recipe in $$($(BIN)/python -m seodang list recipes --json | $(BIN)/python -c "import json,sys; print(*[r['name'] for r in json.load(sys.stdin)])"); do \
	  $(BIN)/python -m seodang check $$recipe --measure || exit 1; done

ladders: $(STAMP)  ## re-run every shipped ladder and write its measured table into docs/ladders
	for ladder in $$($(BIN)/python -m seodang list ladders --json | $(BIN)/python -c "import json,sys; print(*[r['name'] for r in json.load(sys.stdin)])"); do \
	  $(BIN)/python -m seodang check $$ladder --measure --write || exit 1; done

torture: $(STAMP)  ## 10,000 kills, 200,000 damaged files, 2,000,000 hostile inputs (half an hour on two cores)
	$(BIN)/python -m tests.reliability.torture --kills 10000
	$(BIN)/python -m tests.reliability.damage --files 200000
	$(BIN)/python -m tests.reliability.fuzz --inputs 2000000

clean:     ## remove .venv and caches; runs stay
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache dist build
