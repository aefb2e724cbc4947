"""The SQL of the published layouts, written afresh from their description.

TranSQL+ (arXiv 2502.02818) cuts every vector into chunks, one row a chunk
(section 3: `row_index`, `chunk_index`, `vector`). A product of matrices joins
weights and activations on the number of the chunk, and adds up the dot
products by `group by`: the layout `chunked`. Its optimisation ROW2COL (section
4.3) makes each chunk a column: a cross join, and a sum over columns without a
group, here `row_to_column`. Weights are pivoted once, when they are stored.

Also taken over from there: Q, K and V as well as gate and up are one table
each (section 4.2), and an operator's intermediate tables are CTEs (4.1). A
layer is four statements, each prepared once. Joins are written in the order in
which they should run, the smaller side last: statements are prepared while the
state is empty, and DuckDB would plan for that.

Relations: `hidden` and `heads` hold the activations of one pass, `cache_NN`
the keys and values of a layer as heads 0 to G - 1 and G to 2 G - 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from relama.config import ModelConfig

Layout = Literal["chunked", "row_to_column"]


@dataclass(frozen=True)
class Forward:
    """The statements of a forward pass.

    Attributes:
        config: the sizes of the model.
        layout: how matrices are stored and multiplied.
        chunk: elements a chunk; divides every width of the model.
    """

    config: ModelConfig
    layout: Layout
    chunk: int

    def tables(self) -> list[str]:
        """Creates the state and the activations, all empty."""
        caches = [
            f"create or replace temp table cache_{layer:02} "
            f"(position integer, head integer, vector float[])"
            for layer in range(self.config.num_hidden_layers)
        ]
        return [
            "create or replace temp table waiting (position integer, token_id integer)",
            "create or replace temp table hidden "
            "(stage integer, position integer, chunk_id integer, vector float[])",
            "create or replace temp table heads "
            "(layer integer, position integer, head integer, vector float[])",
            "create or replace temp table logits (token_id integer, logit float)",
            *caches,
        ]

    def statements(self) -> list[str]:
        """A forward pass over `waiting`, from the embedding to `logits`, in order."""
        statements = [self.embed()]
        for layer in range(self.config.num_hidden_layers):
            statements += [
                self.project_heads(layer),
                self.append_to_cache(layer),
                self.attend(layer),
                self.swiglu(layer),
            ]
        return [*statements, self.score()]

    def embed(self) -> str:
        if self.layout == "chunked":
            found = "embedding.chunk_id, embedding.vector"
        else:
            numbers = ", ".join(map(str, range(self.config.hidden_size // self.chunk)))
            columns = ", ".join(self._columns(self.config.hidden_size))
            found = f"unnest([{numbers}]) as chunk_id, unnest([{columns}]) as vector"
        return f"""insert into hidden
            select 0 as stage, waiting.position, {found}
            from embedding join waiting on waiting.token_id = embedding.row_id"""

    def project_heads(self, layer: int) -> str:
        """Queries, keys and values as heads, the first two rotated (arXiv 2104.09864)."""
        config, half = self.config, self.config.head_dim // 2
        rotated = config.num_attention_heads + config.num_key_value_heads
        return f"""insert into heads
            with x as (
                select position, chunk_id, vector from hidden where stage = {2 * layer}
            ),
            {self._norm("x", f"input_norm_{layer:02}")},
            {self._product("normed", f"qkv_{layer:02}", config.hidden_size)},
            grouped as (
                select
                    position,
                    row_id // {config.head_dim} as head,
                    array_agg(value order by row_id) as vector
                from product
                group by all
            )
            select
                {layer} as layer,
                position,
                head,
                (case when head < {rotated} then list_transform(
                    range(1, {config.head_dim + 1}),
                    lambda i: case
                        when i <= {half}
                            then vector[i] * rope.cos[i] - vector[i + {half}] * rope.sin[i]
                        else vector[i] * rope.cos[i - {half}]
                            + vector[i - {half}] * rope.sin[i - {half}]
                    end
                ) else vector end)::float[] as vector
            from rope join grouped using (position)"""

    def append_to_cache(self, layer: int) -> str:
        heads = self.config.num_attention_heads
        return f"""insert into cache_{layer:02}
            select position, head - {heads} as head, vector
            from heads
            where layer = {layer} and head >= {heads}"""

    def attend(self, layer: int) -> str:
        """Causal attention with grouped queries, its projection, and the residual."""
        config = self.config
        width = config.num_attention_heads * config.head_dim
        shared = config.num_attention_heads // config.num_key_value_heads
        return f"""insert into hidden
            with queries as (
                select position, head, vector
                from heads
                where layer = {layer} and head < {config.num_attention_heads}
            ),
            keys as (
                select position, head, vector
                from cache_{layer:02}
                where head < {config.num_key_value_heads}
            ),
            "values" as (
                select
                    position,
                    head - {config.num_key_value_heads} as head,
                    unnest(range({config.head_dim})) as element,
                    unnest(vector) as value
                from cache_{layer:02}
                where head >= {config.num_key_value_heads}
            ),
            scores as (
                select
                    queries.position,
                    queries.head,
                    keys.position as key_position,
                    {self._dot("queries.vector", "keys.vector")}
                        / sqrt({config.head_dim}) as score
                from keys join queries
                    on queries.head // {shared} = keys.head
                    and keys.position <= queries.position
            ),
            largest as (
                select position, head, max(score) as score from scores group by all
            ),
            exponents as (
                select
                    scores.position,
                    scores.head,
                    scores.key_position,
                    exp(scores.score - largest.score) as weight
                from scores join largest using (position, head)
            ),
            totals as (
                select position, head, sum(weight) as weight from exponents group by all
            ),
            weighted as (
                select
                    exponents.position,
                    exponents.head * {config.head_dim} + "values".element as row_id,
                    sum(exponents.weight * "values".value) / any_value(totals.weight) as value
                from "values"
                join exponents
                    on exponents.head // {shared} = "values".head
                    and exponents.key_position = "values".position
                join totals
                    on totals.position = exponents.position
                    and totals.head = exponents.head
                group by all
            ),
            {self._chunks("mixed", "weighted")},
            {self._product("mixed", f"o_{layer:02}", width)},
            {self._chunks("projected", "product")}
            {self._residual(2 * layer, "projected")}"""

    def swiglu(self, layer: int) -> str:
        """SwiGLU (arXiv 2002.05202, equation 6) and the residual."""
        config = self.config
        width = config.intermediate_size
        return f"""insert into hidden
            with x as (
                select position, chunk_id, vector from hidden where stage = {2 * layer + 1}
            ),
            {self._norm("x", f"mlp_norm_{layer:02}")},
            {self._product("normed", f"gate_up_{layer:02}", config.hidden_size, "gate_up")},
            gated as (
                select
                    gate.position,
                    gate.row_id,
                    gate.value / (1 + exp(-gate.value)) * up.value as value
                from gate_up as gate
                join gate_up as up
                    on up.position = gate.position
                    and up.row_id = gate.row_id + {width}
                where gate.row_id < {width}
            ),
            {self._chunks("activated", "gated")},
            {self._product("activated", f"down_{layer:02}", width)},
            {self._chunks("projected", "product")}
            {self._residual(2 * layer + 1, "projected")}"""

    def score(self) -> str:
        """The logits after the last position."""
        config = self.config
        return f"""insert into logits
            with x as (
                select position, chunk_id, vector
                from hidden
                where stage = {2 * config.num_hidden_layers}
                    and position = (select max(position) from waiting)
            ),
            {self._norm("x", "final_norm")},
            {self._product("normed", "embedding", config.hidden_size)}
            select row_id as token_id, value as logit from product"""

    def _norm(self, x: str, weight: str) -> str:
        """RMSNorm (arXiv 1910.07467, equation 4) as the CTEs `factors` and `normed`."""
        hidden_size, eps = self.config.hidden_size, self.config.rms_norm_eps
        return f"""factors as (
                select
                    position,
                    1 / sqrt(sum({self._dot("vector", "vector")}) / {hidden_size} + {eps}) as factor
                from {x}
                group by position
            ),
            normed as (
                select
                    {x}.position,
                    {x}.chunk_id,
                    list_transform(
                        range(1, {self.chunk + 1}),
                        lambda i: {x}.vector[i] * {weight}.vector[i] * factors.factor
                    )::float[] as vector
                from {x}
                join {weight} using (chunk_id)
                join factors using (position)
            )"""

    def _product(self, x: str, weight: str, width: int, name: str = "product") -> str:
        """The CTE `name` (position, row_id, value): `x` times the matrix `weight`."""
        if self.layout == "chunked":
            return f"""{name} as (
                select {x}.position, weight.row_id, sum({self._dot("weight.vector", f"{x}.vector")})
                    as value
                from {weight} as weight join {x} using (chunk_id)
                group by all
            )"""
        names = self._columns(width)
        columns = ", ".join(
            f"chunks[{number}] as {column}" for number, column in enumerate(names, start=1)
        )
        terms = " + ".join(self._dot(f"weight.{column}", f"x.{column}") for column in names)
        return f"""{name}_columns as (
                select position, {columns}
                from (
                    select position, array_agg(vector order by chunk_id) as chunks
                    from {x}
                    group by position
                )
            ),
            {name} as (
                select x.position, weight.row_id, {terms} as value
                from {weight} as weight cross join {name}_columns as x
            )"""

    def _chunks(self, name: str, elements: str) -> str:
        """The CTE `name` (position, chunk_id, vector) of one row an element."""
        return f"""{name} as (
                select
                    position,
                    row_id // {self.chunk} as chunk_id,
                    array_agg(value order by row_id)::float[] as vector
                from {elements}
                group by all
            )"""

    def _residual(self, stage: int, y: str) -> str:
        return f"""select
                {stage + 1} as stage,
                {y}.position,
                {y}.chunk_id,
                list_transform(
                    range(1, {self.chunk + 1}),
                    lambda i: hidden.vector[i] + {y}.vector[i]
                )::float[] as vector
            from hidden
            join {y} using (position, chunk_id)
            where hidden.stage = {stage}"""

    def _columns(self, width: int) -> list[str]:
        return [f"chunk_{number}" for number in range(width // self.chunk)]

    def _dot(self, left: str, right: str) -> str:
        return f"list_inner_product({left}, {right})"
