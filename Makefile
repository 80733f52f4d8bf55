# Every target except clean first runs init.sh, which takes seconds if nothing changed, then uses the Python it chose.
# PYTHON=python3.11 chooses the one that makes .venv.

RUN = "$$(cat .python-path)"
BACKEND = mxnet

help:
	@echo "make demo       detect objects in the bundled clip; results in output/demo/"
	@echo "make test       run the tests in a process for each core, at most 4; WORKERS=1 in one (a few minutes)"
	@echo "make fuzz       run every command on damaged inputs (N=5000 SEED=0, half an hour)"
	@echo "make lint       check style, formatting and import rules"
	@echo "make docs       build the documentation site: build/site/index.html"
	@echo "make data       generate the MiniVID dataset in data/MiniVID"
	@echo "make reproduce  generate the data, train, test, and renew every MiniVID figure of the README (2 hours);"
	@echo "                BACKEND=torch does the same with PyTorch and writes docs/minivid_results_torch.md"
	@echo "make kill-test  kill every command N=100 times with -9, run it again, and compare with an undisturbed run"
	@echo "make disk-test  the same with N=100 full disks; needs permission to mount a tmpfs"
	@echo "make sanitize   test the compiled parts under the address and undefined-behaviour sanitizers"
	@echo "make clean      remove build products, but not the environment, data or output"

init:
	@sh init.sh $(if $(filter command,$(origin PYTHON)),--python "$(PYTHON)")

demo: init
	$(RUN) fgfa_rfcn/demo.py

# Processes that share the tests out, each with one thread. One of them grows to 4 GB.
WORKERS = $$($(RUN) -c 'from lib.machine import cores; print(min(cores(), 4))')
test: init
	OMP_NUM_THREADS=1 $(RUN) -m pytest -q --numprocesses $(WORKERS) --dist worksteal

SEED = 0
fuzz: N = 5000
fuzz: init
	$(RUN) -m tests.fuzz -n $(N) --seed $(SEED)

lint: init
	@status=0; \
	$(RUN) -m ruff check . || status=1; \
	$(RUN) -m ruff format --check . || status=1; \
	"$$(dirname $(RUN))/lint-imports" --no-cache || status=1; \
	$(RUN) -m mypy || status=1; \
	exit $$status

# mkdocs-material prints a notice about MkDocs 2 at every start unless this variable is set.
docs: init
	@NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict --quiet --clean && echo "build/site/index.html"

data: init
	@if [ -e data/MiniVID/minivid.json ]; then echo "data/MiniVID exists; remove it to generate it again"; \
	else $(RUN) -m lib.dataset.minivid --out data/MiniVID; fi

reproduce: init
	$(RUN) experiments/minivid/reproduce.py --backend $(BACKEND)

# The processes that it kills are its own. N: kills, SEED: of their moments.
kill-test: N = 100
kill-test: init
	OMP_NUM_THREADS=1 $(RUN) -m tests.reliability.kills --trials $(N) --seed $(SEED)

disk-test: N = 100
disk-test: init
	OMP_NUM_THREADS=1 unshare --user --map-root-user --mount $(RUN) -m tests.reliability.disks --trials $(N) --seed $(SEED)

sanitize: init
	OMP_NUM_THREADS=1 $(RUN) -m tests.reliability.sanitize

clean:
	rm -rf build .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
	find lib \( -name '*.so' -o -name '*.c' \) -type f -delete
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +

.PHONY: help init demo test fuzz lint docs data reproduce kill-test disk-test sanitize clean
