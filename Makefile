# `make demo` and `make test` work from a fresh clone with Python 3.10 or newer and the package index; `make help` lists
# the rest. Everything runs in `.venv`, made here, whatever else is installed or activated.

.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

unexport PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE

PYTHON := .venv/bin/python
INSTALLED := .venv/.installed
FUZZING := .venv/.fuzzing
WORKERS ?= auto

.PHONY: help venv demo test test-engines test-frameworks coverage images gamma-image fuzz fuzz-kappafiles fuzz-bodies soak-fuzz soak-answers soak-attacks soak-tests soak-transfers soak-faults lint format \
  generate bench-adapters bench-build bench-serve bench-one-client bench-versions bench-structure bench-cli bench-validate bench-images \
  bench-manifest-errors bench-tune bench-ablation bench-peers bench-compile bench-registry bench-transfer clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 24

venv: $(INSTALLED) ## make .venv with Kappa (editable) and what its tests need

$(INSTALLED): pyproject.toml | $(PYTHON)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(INSTALLED)

# The first interpreter that is new enough: each is asked, because a version manager's `python3` may be a stub.
$(PYTHON):
	@for python in python3 python3.14 python3.13 python3.12 python3.11 python3.10 python; do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || continue; \
	  echo "Making .venv with $$("$$python" --version)"; \
	  "$$python" -m venv --clear --upgrade-deps .venv && exit; \
	  echo 'The environment could not be made. On Debian and Ubuntu, install `python3-venv` first.' >&2; exit 1; \
	done; echo 'Kappa needs Python 3.10 or newer, and none is on the PATH.' >&2; exit 1

demo: $(INSTALLED) ## train a model, build it, serve it, and print the answer to a real request
	$(PYTHON) examples/demo.py

test: $(INSTALLED) ## the tests that need no network and no engine
	$(PYTHON) -m pytest -n $(WORKERS) --maxprocesses 8 -m 'not index and not engine'

coverage: $(INSTALLED) ## the branches that `make test` reaches, subprocesses counted; fails below the figure in pyproject.toml
	rm -rf .coverage
	$(PYTHON) -m coverage run -m pytest -n $(WORKERS) --maxprocesses 8 -m 'not index and not engine'
	$(PYTHON) -m coverage combine --quiet
	$(PYTHON) -m coverage report

test-engines: $(INSTALLED) ## the tests that start servers, use engines or ask the package index
	$(PYTHON) -m pytest -n $(WORKERS) --maxprocesses 8 -m 'index or engine'

test-frameworks: $(INSTALLED) ## artifact types with the frameworks of GROUP (tests/frameworks/groups.toml); records the versions
	$(PYTHON) -m tests.frameworks.groups $(or $(GROUP),core)

fuzz: fuzz-kappafiles fuzz-bodies ## mutated kappafiles and request bodies: never a traceback, never too much memory or time

fuzz-kappafiles: $(INSTALLED) ## thousands of mutated kappafiles: never a traceback, always a position
	FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-3000} $(PYTHON) -m pytest -n $(WORKERS) tests/build/manifest/test_diagnostics_fuzz.py

fuzz-bodies: $(FUZZING) ## a minute of mutated request bodies for each format
	$(PYTHON) tests/fuzzing/run.py --seconds 60

soak-fuzz: $(FUZZING) ## half an hour of mutated request bodies for each format; writes docs/benchmarks/fuzz.md
	$(PYTHON) tests/fuzzing/run.py --seconds 1800 --report docs/benchmarks/fuzz.md

soak-answers: $(INSTALLED) ## 100,000 answers held against their requests, under kills and reloads; writes docs/benchmarks/answers.md
	$(PYTHON) tests/soaks/answers.py --answers 100000 --report docs/benchmarks/answers.md

soak-tests: $(INSTALLED) ## `make test` 50 times in a row, ten of them on a busy machine; hours; writes docs/benchmarks/tests.md
	$(PYTHON) tests/repeat.py --runs 50 --busy 10 --report docs/benchmarks/tests.md

soak-attacks: $(INSTALLED) ## every known attack at both doors, and what others notice of it; writes docs/benchmarks/attacks.md
	$(PYTHON) tests/soaks/attacks.py --report docs/benchmarks/attacks.md

soak-transfers: $(INSTALLED) ## 200 uploads and 100 downloads on every storage, killed at random points; writes docs/benchmarks/transfers.md
	$(PYTHON) -m tests.soaks.transfers --uploads 200 --downloads 100 --report docs/benchmarks/transfers.md

soak-faults: $(INSTALLED) ## ten rounds of faults around a registry, each with its seed; half an hour; writes docs/benchmarks/faults.md
	$(PYTHON) -m tests.soaks.faults --rounds 10 --report docs/benchmarks/faults.md

$(FUZZING): $(INSTALLED)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	@touch $(FUZZING)

images: ## the base images `kappa/model-server`, with Docker; see docker/model-server/README.md
	bash docker/model-server/build.sh

gamma-image: $(INSTALLED) ## the image `kappa/gamma-service`, with Docker; see docker/gamma-service/README.md
	PYTHON=$(abspath $(PYTHON)) bash docker/gamma-service/build.sh

lint: $(INSTALLED) ## formatting, lint rules and types
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy

format: $(INSTALLED) ## rewrite the sources as `make lint` wants them
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

generate: $(INSTALLED) ## rewrite the generated files; a test compares them
	$(PYTHON) docs/generate.py
	$(PYTHON) docs/generate_proto.py

bench-build: $(INSTALLED) ## the first and the second build of the iris example, with each resolver
	$(PYTHON) benchmarks/build.py

bench-serve: $(INSTALLED) ## the iris API beside a no-op on the same server stack
	$(PYTHON) benchmarks/serve.py

bench-one-client: $(INSTALLED) ## one client and a model, beside a no-op and the bare model; two minutes, on a quiet machine
	$(PYTHON) benchmarks/one_client.py

bench-versions: $(INSTALLED) ## whether any rate of `bench-serve` is lower than at the commit BASE; twenty minutes
	$(PYTHON) benchmarks/versions.py --base $(or $(BASE),HEAD~1)

bench-adapters: $(INSTALLED) ## what adapters cost per request, beside pandas, NumPy and Pillow by hand
	$(PYTHON) benchmarks/adapters.py

bench-tune: $(INSTALLED) ## what `kappa tune` simulates beside a live server
	$(PYTHON) benchmarks/tune.py

bench-peers: $(INSTALLED) ## Kappa beside six other servers; installs them, and takes more than an hour (`PEERS=--quick`: minutes)
	$(PYTHON) benchmarks/peers/run.py $(or $(PEERS),--write)

bench-compile: $(INSTALLED) ## models compiled to ONNX beside scikit-learn's in Kappa, FastAPI and LitServe, and their images; a quarter of an hour
	$(PYTHON) -m pip install --quiet --disable-pip-version-check onnx onnxmltools onnxruntime skl2onnx
	$(PYTHON) benchmarks/compile.py --write

bench-registry: $(INSTALLED) ## a registry of 100,000 bundles: queries on SQLite and PostgreSQL, 50 clients, a store of trees; ten minutes
	$(PYTHON) benchmarks/registry.py --write

bench-ablation: $(INSTALLED) ## what each mechanism of batching is worth; forty minutes (`ROUNDS=2` for less)
	$(PYTHON) benchmarks/ablation.py --rounds $(or $(ROUNDS),5) --write

bench-transfer: $(INSTALLED) ## a bundle of 1 GB to and from a registry, beside a plain copy and MLflow; installs it, and takes minutes
	$(PYTHON) benchmarks/transfer.py --mlflow .venv/mlflow --write

bench-structure: $(INSTALLED) ## cycles, sizes and attributes of the code beside those of an earlier commit
	$(PYTHON) benchmarks/structure.py

bench-cli: $(INSTALLED) ## `import kappa` and `kappa --help` beside a bare Python
	$(PYTHON) benchmarks/cli.py

bench-validate: $(INSTALLED) ## `kappa validate` of a kappafile of 300 lines beside a bare Python
	$(PYTHON) benchmarks/validate.py

bench-images: $(INSTALLED) ## one model in the images of Kappa, BentoML and MLflow; needs Docker, and takes minutes
	$(PYTHON) benchmarks/images.py --write

bench-manifest-errors: $(INSTALLED) ## ten mistakes in Kappa, BentoML, Truss and MLServer; installs them, and takes minutes
	$(PYTHON) benchmarks/manifest_errors/run.py

clean: ## remove everything that the targets made
	rm -rf .venv .demo .fuzz .coverage dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find kappa tests examples benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +
	find examples -name '*.joblib' -delete
