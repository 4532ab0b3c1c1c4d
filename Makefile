# Every target does its own set-up; only Python 3.10+ with venv and make are needed,
# except for driver-test, network-test, bench and soak (Debian, root).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test coverage lint driver-test network-test bench soak clean

help:
	@echo "make demo         the daemon against a simulated Hyper-V host"
	@echo "make test         unit, property and process tests (under a minute)"
	@echo "make coverage     the same tests, and which branches of src they take (95 % at least)"
	@echo "make lint         ruff and mypy --strict"
	@echo "make driver-test  a VM with the kernel's own hv_kvp driver (Debian, root)"
	@echo "make network-test booted guests with each network manager, for SET_IP_INFO (Debian, root)"
	@echo "make bench        side by side with the C daemon, here and in the VM (Debian, root)"
	@echo "make soak         what takes longer, on the same VM"

$(VENV)/.run: pyproject.toml
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

driver-test: $(VENV)/.test
	$(BIN)/python -m pytest tests/driver --timeout=600

# ARGS="-k trixie-netplan" for one release and manager: tests/network/README.md.
network-test: $(VENV)/.test
	$(BIN)/python -m pytest tests/network --timeout=900 $(ARGS)

# ARGS=--quick for one short round, --native or --vm for one of the two places.
bench: $(VENV)/.test
	$(BIN)/python -m benchmarks $(ARGS)

# Kills at every system call, power cuts at every write of a disk, real neighbours:
# tests/soak/README.md.
soak: $(VENV)/.test
	$(BIN)/python -m pytest tests/soak --timeout=3600

clean:
	rm -rf $(VENV) .hypothesis .pytest_cache .mypy_cache .ruff_cache dist build
