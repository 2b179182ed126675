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

# The rivals that benchmarks and some tests compare with, in an environment of their own that also
# sees the main one's packages: a torchvision that cannot load would break imports there.
PEERS := torchvision==0.28.0 timm==1.0.31 torchinfo==1.8.0 fvcore==0.1.5.post20221221 ptflops==0.7.5 \
    monai==1.6.1
NEEDED_BY_PEERS := iopath==0.1.10 yacs==0.1.8 tabulate==0.10.0 termcolor==3.3.0 \
    huggingface_hub==2.4.0 portalocker==4.4.2 tqdm==4.70.1 hf-xet==1.8.0 httpx2==2.16.2 \
    httpcore2==2.16.2 anyio==4.16.0 h11==0.16.0 idna==3.20 truststore==0.10.5 click==8.5.1

peers: .venv-peers/.installed

.venv-peers/.installed: $(STAMP)
	$(PYTHON) -m venv .venv-peers
	$(BIN)/python -c "import sysconfig; \
	    print('import site; site.addsitedir(%r)' % sysconfig.get_path('purelib'))" \
	    > "$$(echo .venv-peers/lib/python*/site-packages)/striate-main.pth"
	.venv-peers/bin/python -m pip install --quiet --no-deps $(PEERS)
	.venv-peers/bin/python -m pip install --quiet $(NEEDED_BY_PEERS)
	@touch $@

clean:
	rm -rf $(VENV) .venv-peers
