# Two commands on a machine with Python 3.11, make and a C compiler: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A smaller, CPU-only pair: make TORCH_INDEX=https://download.pytorch.org/whl/cpu demo
TORCH_INDEX ?=
READY := $(VENV)/.ready
NETWORKS := build/networks/.ready
# Fetches and unpacks many packages at a time where pip takes one by one.
UV := $(BIN)/uv pip install --python $(BIN)/python --system-certs -q
NBVAL := --nbval --nbval-current-env --nbval-sanitize-with nbval.ini --nbval-cell-timeout 300

.PHONY: setup demo app site test test-all test-fast test-slow test-notebooks test-browser lint models notebooks bench evidence scenes newest wheel-test lock opencv clean

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(v < (3, 11) and f"Python 3.11 or newer is needed, this is {v}; make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check -q $(shell grep '^uv==' requirements.lock)
	$(if $(TORCH_INDEX),$(UV) --index-url $(TORCH_INDEX) $(shell grep -E '^torch(vision)?==' requirements.lock))
	$(UV) --compile-bytecode -r requirements.lock
	$(MAKE) --no-print-directory opencv PIP='$(UV)'
	$(UV) --no-deps -e .
	touch $(READY)

# grad-cam and Quantus bring two OpenCV packages that own the same files: the headless one wins.
PIP ?= pip install --disable-pip-version-check -q
opencv:
	$(PIP) --force-reinstall --no-deps $(shell grep '^opencv-python-headless==' requirements.lock)

demo: $(READY)
	$(BIN)/xaiutils figures --out results/demo

# The explorer as a page of its own, for this machine only. Each page has a kernel of a gigabyte. It
# ends when its page is closed or loaded anew, of which Voila's page tells Voila without the token
# that it asks for; and where a page could not tell, CULL to 2 CULL seconds later.
PORT ?= 8866
CULL ?= 60
app: $(READY)
	JUPYTER_PATH=notebooks/page $(BIN)/voila notebooks/page/explorer.ipynb --template=xaiutils --strip_sources=True --Voila.ip=127.0.0.1 --port=$(PORT) --Voila.tornado_settings=disable_check_xsrf=True --MappingKernelManager.cull_idle_timeout=$(CULL) --MappingKernelManager.cull_interval=$(CULL)

# The book. Nothing is fetched but MathJax, from npm; warnings and broken links are errors.
site: $(READY)
	@mkdir -p build && touch build/site-started
	npm ci --silent --no-audit --no-fund --prefix docs
	rm -rf build/site/_modules # sources' pages are kept while their sources stay, whatever the style
	$(BIN)/sphinx-build -q -W --keep-going -c docs -d build/doctrees . build/site
	mkdir -p build/site/_static/mathjax
	cp -r docs/node_modules/mathjax/es5/tex-chtml.js docs/node_modules/mathjax/es5/input docs/node_modules/mathjax/es5/output build/site/_static/mathjax
	$(BIN)/python docs/check_site.py build/site build/site-started

# Two processes of one thread each: torch's threads wait for each other, and two files do not. Files
# in their own order, for the longest come early in it.
TEST := XAIUTILS_GATE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Two at a time: the browser and the kernels often wait.
test: $(READY)
	$(MAKE) --no-print-directory -j2 lint test-browser test-fast test-notebooks

# And the sweeps, kill loops and trainings that are marked slow, two hundred networks, and the wheel.
test-all: test test-slow models wheel-test

test-fast: $(READY)
	$(TEST) -m "not slow" --ignore tests/browser tests

test-slow: $(READY) $(NETWORKS)
	$(TEST) -m slow tests

# From the last, for the longest are among the later ones.
test-notebooks: $(READY)
	$(TEST) $(NBVAL) $(shell ls -r notebooks/[0-9]*.ipynb)

# In the Chromium that CHROMIUM names or the path has; without one its tests are skipped.
test-browser: $(READY)
	$(TEST) -rs -m "not slow" tests/browser

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/uv pip check -q --python $(BIN)/python

# Two hundred networks of three libraries, explained: a quarter of an hour. Writes docs/models.md.
models: $(READY) $(NETWORKS)
	PYTHONPATH=build/networks OMP_NUM_THREADS=1 $(BIN)/python docs/models.py

# Libraries of networks, which only tests read, stay beside the environment.
$(NETWORKS): docs/models.txt | $(READY)
	$(UV) --no-deps --target build/networks -r docs/models.txt
	touch $(NETWORKS)

# Execute the notebooks in place; their outputs are committed.
notebooks: $(READY)
	$(BIN)/jupyter execute --inplace notebooks/[0-9]*.ipynb
	$(BIN)/nbstripout --keep-output --keep-count --extra-keys metadata.language_info.version notebooks/[0-9]*.ipynb

bench: $(READY)
	$(BIN)/python -m benchmarks.hybrid
	$(BIN)/python -m benchmarks.metrics
	$(BIN)/python -m benchmarks.study
	$(BIN)/python -m benchmarks.explorer

# Every table of results/ and docs/claims.md; for your ImageNet set XAIUTILS_WORKLOAD=imagenet and the rest.
evidence: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/xaiutils evidence --workers 2
	$(BIN)/xaiutils claims

scenes: $(READY)
	for seed in 0 1 2; do $(BIN)/python data/train_scenes.py --seed $$seed --out data || exit 1; done
	for net in resnet inception vit; do $(BIN)/python data/train_scenes.py --architecture $$net --out data || exit 1; done

# The newest releases that pyproject.toml allows, and a new lock of them, to which the tests hold.
newest:
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check -q --upgrade uv
	$(if $(TORCH_INDEX),$(UV) --upgrade --index-url $(TORCH_INDEX) torch torchvision)
	$(UV) --upgrade --compile-bytecode -e '.[dev]'
	touch $(READY)
	$(MAKE) --no-print-directory lock
	$(MAKE) --no-print-directory opencv PIP='$(UV)'
	touch $(READY)

# The wheel in an empty environment, with all dependencies: minutes and gigabytes.
wheel-test: $(READY)
	$(BIN)/python tests/wheel.py

lock: $(READY)
	(sed -n '/^#/p' requirements.lock; $(BIN)/pip freeze --exclude-editable | grep -v -i -E '^(nvidia-|cuda-|triton|setuptools|pip=)' | sed 's/+[a-z0-9]*$$//') > requirements.new
	mv requirements.new requirements.lock

clean:
	rm -rf $(VENV) build dist results/demo results/explained *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
