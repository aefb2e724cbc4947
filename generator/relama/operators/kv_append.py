"""The keys and values of a step, as they go into the cache (`Cache.update` of transformers)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from relama.operators.base import Computation, DataTest, Kind, Reads, Shape, Words, bracket


@dataclass(frozen=True)
class KvAppend(Computation):
    """Reads the rotated heads, whose last ones are the keys, and a vector with the values.

    What comes out are rows, one per key-value head.

    Attributes:
        num_attention_heads: query heads, which come before the key heads.
        num_key_value_heads: key heads, and as many of values.
        head_dim: width of a head.
        value_offset: where in their vector the values begin.
    """

    kind = Kind.KV_APPEND
    macros = ("kv_append",)
    group = "state"

    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    value_offset: int = 0

    def output_shape(self, reads: Reads) -> Shape:
        rotated, values = reads.some(2)
        heads = self.num_attention_heads + self.num_key_value_heads
        reads.expect("the rotated heads' width", rotated, (heads * self.head_dim,))
        width = self.value_offset + self.num_key_value_heads * self.head_dim
        reads.expect("the values' width", values, (width,))
        return (self.num_key_value_heads, self.head_dim)

    def words(self, reads: Reads, shape: Shape) -> Words:
        return Words(
            "The keys and values of this step, as they go into the cache.",
            "key = rotated[kv_head], value = projected[kv_head]",
            f"key, value: {bracket(shape)}",
        )

    def columns(self, shape: Shape) -> Mapping[str, str]:
        return {
            "kv_head": "The key-value head.",
            "key": f"The key after rotary embedding, [{shape[1]}].",
            "value": f"The value, [{shape[1]}].",
        }

    def tests(self, reads: Reads, shape: Shape) -> list[DataTest]:
        return []  # those of the cache that its rows go into
