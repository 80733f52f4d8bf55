# Each target but clean first runs init.sh, which takes seconds once all is in place, and then the Python that it chose.

PYTHON = "$$(cat .python-path)"

help:
	@echo "make demo   detect on the bundled clip; the pictures are in output/demo/"
	@echo "make test   run the tests (a few minutes)"
	@echo "make lint   check style, format and who may import whom"
	@echo "make docs   write the pages of docs/ as a site to build/site/index.html"
	@echo "make data   make the MiniVID dataset in data/MiniVID"
	@echo "make reproduce  make every MiniVID figure of the README: data, training, tests, tables (up to 2 hours)"
	@echo "make clean  remove what was built, not the environment, the data or the output"

init:
	@sh init.sh

demo: init
	$(PYTHON) fgfa_rfcn/demo.py

test: init
	OMP_NUM_THREADS="$${OMP_NUM_THREADS:-$$($(PYTHON) -c 'from lib.machine import cores; print(cores())')}" $(PYTHON) -m pytest -q

lint: init
	@status=0; \
	$(PYTHON) -m ruff check . || status=1; \
	$(PYTHON) -m ruff format --check . || status=1; \
	"$$(dirname $(PYTHON))/lint-imports" --no-cache || status=1; \
	exit $$status

# The package prints a notice about the future of its parts at every start unless told not to.
docs: init
	@NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict --quiet --clean && echo "build/site/index.html"

data: init
	@if [ -e data/MiniVID/minivid.json ]; then echo "data/MiniVID is there; remove it to make it anew"; \
	else $(PYTHON) -m lib.dataset.minivid --out data/MiniVID; fi

reproduce: init
	$(PYTHON) experiments/minivid/reproduce.py

clean:
	rm -rf build .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
	find lib \( -name '*.so' -o -name '*.c' \) -type f -delete
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +

.PHONY: help init demo test lint docs data reproduce clean
