# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

# Every target does its own set-up; only Python 3.10+ with venv and make are needed,
# except for driver-test, network-test, package-test, test-processors, bench and soak (Debian,
# root), deb (Debian), rpm (rpmbuild) and docs (groff).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Tests start some 600 interpreters, each of which would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-pythons test-processors coverage lint spdx driver-test network-test \
	package-test bench soak mutation docs types deb rpm release clean

help:
	@echo "make demo         the daemon against a simulated Hyper-V host"
	@echo "make test         unit, property and process tests (about a minute)"
	@echo "make test-pythons the same tests on each other Python, 3.10 to 3.14, that is here"
	@echo "make test-processors"
	@echo "                  the same tests on i386, and on arm64 under an emulator (Debian, root)"
	@echo "make coverage     the same tests, and which branches of src they take (95 % at least)"
	@echo "make lint         ruff, mypy --strict, and reuse: each file names copyright and license"
	@echo "make spdx         adds these lines to files that have none"
	@echo "make driver-test  a VM with the kernel's own hv_kvp driver (Debian, root)"
	@echo "make network-test booted guests with each network manager, for SET_IP_INFO (Debian, root)"
	@echo "make bench        side by side with the C daemon, here and in the VM (Debian, root)"
	@echo "make soak         what takes longer, on the same VM"
	@echo "make mutation ARGS=\"pools --sample 200\"    whether tests notice changes of the code"
	@echo "make deb          Debian's packages of the last commit, in build/deb (Debian)"
	@echo "make rpm          RPM packages of the last commit, in build/rpm"
	@echo "make package-test packages and images in clean roots of Debian 12, 13 and sid"
	@echo "                  (Debian, root)"
	@echo "make docs         the pages and manuals as a site, in build/site"
	@echo "make types        pyright: the types of the library are complete"
	@echo "make release VERSION=1.2.3    docs/releasing.md; with ARGS=--dry-run nothing is changed"

# An editable installation has copies of the scripts.
$(VENV)/.run: pyproject.toml $(wildcard scripts/*)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.run pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@

$(VENV)/.lint: $(VENV)/.test pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[lint]'
	@touch $@

demo: $(VENV)/.run
	@$(BIN)/python -m hv_kvp_daemon.simhost.demo

# Three workers on two processors, since many tests wait for another process.
test: $(VENV)/.test
	$(BIN)/python -m pytest -n 3

# Each has an environment of its own.
test-pythons:
	@set -e; for version in 3.10 3.11 3.12 3.13 3.14; do \
	  if ! python=$$(.ci/find-python $$version); then \
	    echo "Python $$version: not on this machine"; \
	  elif [ $$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])') = $$version ]; then \
	    echo "Python $$version: make test"; \
	  else \
	    echo "Python $$version: $$python"; \
	    $(MAKE) --no-print-directory test PYTHON=$$python VENV=build/python$$version; \
	  fi; \
	done

# ARCH=i386 for one of them: .ci/test-processor.
ARCH ?= i386 arm64
test-processors:
	@set -e; for arch in $(ARCH); do .ci/test-processor $$arch; done

# A process that was killed while it wrote its file leaves one that cannot be read.
coverage: $(VENV)/.test
	@rm -rf build/coverage && mkdir -p build/coverage
	$(BIN)/coverage run -m pytest -n 3
	@$(BIN)/coverage combine --quiet 2>build/coverage/unreadable || (cat build/coverage/unreadable; false)
	@rm -f build/coverage/data.*
	$(BIN)/coverage report

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/reuse lint --lines

# The packages that are ported from the kernel's hv_kvp_daemon.c also name its author.
PORTED := wire transport pools guest netconfig service
FILES := git ls-files --cached --others --exclude-standard
ANNOTATE := xargs -d '\n' $(BIN)/reuse annotate --template lines --skip-existing \
	--exclude-year --license GPL-2.0-only --copyright "2026 The hv-kvp-daemon authors"
NOVELL := 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)

spdx: $(VENV)/.lint
	@$(FILES) $(PORTED:%='src/hv_kvp_daemon/%/*.py') | $(ANNOTATE) --copyright "$(NOVELL)"
	@$(FILES) '*.py' '*.c' '*.h' '*.md' '*.toml' '*.yml' '*Makefile' .gitignore | $(ANNOTATE)
	@$(FILES) .ci scripts systemd tests/driver/run-scenario \
		tests/driver/lab/init tests/driver/lab/setup tests/driver/lab/vm \
		tests/network/lan tests/network/setup tests/packages/setup tests/support/lab \
		packaging/build-deb packaging/build-rpm packaging/container packaging/images \
		packaging/rpm | $(ANNOTATE) --style python
	@$(FILES) docs/man | $(ANNOTATE) --style man

# KERNEL=6.12 or KERNEL=backports for another kernel than 6.1, ALL=1 for each scenario over each
# transport, SAMPLE=2 for the first two checks of each: tests/driver/README.md.
driver-test: $(VENV)/.test
	$(BIN)/python -m pytest tests/driver --timeout=600

# ARGS="-k trixie-netplan" for one release and manager: tests/network/README.md.
network-test: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist=loadgroup tests/network --timeout=900 $(ARGS)

# ARGS=--quick for one short round, --native or --vm for one of the two places.
bench: $(VENV)/.test
	$(BIN)/python -m benchmarks $(ARGS)

# Kills at every system call, power cuts at every write of a disk, real neighbours:
# tests/soak/README.md.
soak: $(VENV)/.test
	$(BIN)/python -m pytest tests/soak --timeout=3600
	$(BIN)/python -m pytest -n 3 -m hypothesis --hypothesis-profile=soak --timeout=3600
	$(MAKE) --no-print-directory test-processors ARCH=i386

# Of wire or pools, a random sample or all: tests/soak/mutation.py.
mutation: $(VENV)/.test
	$(BIN)/python -m tests.soak.mutation $(ARGS)

$(VENV)/.docs: $(VENV)/.run pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@touch $@

# Warnings are errors; links between the pages, with their fragments, are such.
docs: $(VENV)/.docs
	@rm -rf build/site build/doctrees && mkdir -p build/man
	@for page in docs/man/*; do \
	  groff -t -man -Tutf8 -rLL=78n -P-cbou -Wall $$page >build/man/$${page##*/} || exit; \
	done
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --nitpicky \
		--jobs 2 -c docs/site -d build/doctrees . build/site
	@echo "build/site/index.html"

# pyright judges an installed package, of the Python on PATH.
types: $(VENV)/.docs
	@$(PYTHON) -m venv build/types
	@build/types/bin/python -m pip install --quiet --no-deps --force-reinstall .
	PATH=$(CURDIR)/build/types/bin:$$PATH $(CURDIR)/$(BIN)/pyright --verifytypes hv_kvp_daemon.library

release: $(VENV)/.run
	@$(BIN)/python -m pip install --quiet build
	$(BIN)/python .ci/release.py $(VERSION) $(ARGS)

# As root it installs what the build needs; otherwise it says what is missing.
deb:
	packaging/build-deb

rpm:
	packaging/build-rpm

# ARGS="-k trixie" for one release: tests/packages/README.md.
package-test: $(VENV)/.test
	$(BIN)/python -m pytest tests/packages --timeout=900 $(ARGS)

clean:
	rm -rf $(VENV) .hypothesis .pytest_cache .mypy_cache .ruff_cache dist build
