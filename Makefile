# Two commands that set themselves up: `make demo` and `make test`.
# They need Python 3.11 or later with pip, and make; all else is installed into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test peers clean

demo: $(STAMP)
	@echo "Training LeNet-5 on 1,197 handwritten digits that come with scikit-learn:"
	@$(BIN)/striate train lenet5 digits --out runs/demo --overwrite
	@$(BIN)/striate evaluate runs/demo
	@echo
	@echo "Look at  runs/demo/result.png     what it read, its errors, its progress"
	@echo "         runs/demo/mistakes.html  the digits it got wrong, worst first"
	@echo "Next     $(BIN)/striate predict runs/demo YOUR_PHOTO.jpg"
	@echo "         $(BIN)/striate describe lenet5"
	@echo "         $(BIN)/striate train --recipe mnist-99   (fetches MNIST, 12 MB)"

test: $(STAMP)
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2

# An installation is made anew when the dependencies change. The constraints hold torch at a
# release whose CPU build pip can find, in place of several gigabytes of CUDA.
$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@

# The rivals that benchmarks and some tests compare with, in an environment of their own.
peers: .venv-peers/.installed

.venv-peers/.installed:
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet torch==2.13.0 torchvision==0.28.0 numpy pillow
	@touch $@

clean:
	rm -rf $(VENV) .venv-peers
