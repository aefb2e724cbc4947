"""The oracle: one plain forward pass of a decoder in numpy, without a cache.

It is written from the papers and from what transformers computes, takes Hugging Face's
`config.json` as it is, and shares no arithmetic and no reading of configs with the rest of
relama, so that it can disagree with it. Everything is recomputed for every call: slow, and easy
to read from top to bottom.

| module | holds |
|---|---|
| `forward.py` | the pass: embedding, layers, final norm, logits; `greedy` |
| `families.py` | what each `model_type` does that Llama does not |
| `decoder.py` | a decoder of any family in one form |
| `configs.py` | defaults of a config, and dialects of its rotary parameters |
| `attention.py` | grouped and latent attention, windows, norms of queries and keys |
| `rotary.py` | rotary embedding and every `rope_type` |
| `experts.py` | the gated MLP, routers, mixtures of experts |
| `arithmetic.py` | RMSNorm, linear layers, activations, softmax |

Arithmetic is float32; means, softmax and activations go through float64.
"""

from relama.reference.arithmetic import log_softmax, rms_norm
from relama.reference.attention import attend
from relama.reference.decoder import Decoder, Experts, Latent, Layer
from relama.reference.experts import gated_mlp, route
from relama.reference.families import decoder
from relama.reference.forward import Reference, forward, greedy
from relama.reference.rotary import rotate

__all__ = [
    "Decoder",
    "Experts",
    "Latent",
    "Layer",
    "Reference",
    "attend",
    "decoder",
    "forward",
    "gated_mlp",
    "greedy",
    "log_softmax",
    "rms_norm",
    "rotate",
    "route",
]
