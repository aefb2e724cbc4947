"""Seeded lines of mixed text for tokenizers: code, languages, white space, control characters."""

from __future__ import annotations

import random

_TEXT = """
the of and database token query layer attention model weights I'm they'll don't WE'VE it's
Straße größer Übermaß Äpfel naïve façade œuvre 模型 数据库 机器学习 你好世界 语言 こんにちは
안녕하세요 Привет мир Ελληνικά עברית العربية हिन्दी ไทย 😀 👩\u200d👩\u200d👧 🇩🇪 ❤️ é ﬁ ǅ \u017f İ
½ ² Ⅷ ٣ 12 3.14159 2026 1,000,000 0x7fff 1e-5 def return self.x==None; {'a':[1,2]} </html> --
/* */ ... !!! ?! __init__ http://example.org/?q=1&r=%20 a@b.c <|im_start|> <|im_end|>
<|endoftext|> 's 'S '' "" `
"""
WORDS = _TEXT.split()
SPACES = (
    *("", " ", "  ", "    ", "\t", "\n", "\r\n", "\n\n\n", " \n ", "\x0b\x0c"),
    *("\u00a0", "\u3000", "\u2028"),
)
CONTROLS = "\x00\x01\x04\x06\x13\x1b\x7f\x85\u200b\u200d\ufeff\ufffd\ue000\U0010ffff"


def mixed_lines(count: int, seed: int) -> list[str]:
    """`count` lines of up to 20 pieces each, the same for the same seed."""
    draw = random.Random(seed)
    return ["".join(_piece(draw) for _ in range(draw.randint(0, 20))) for _ in range(count)]


def _piece(draw: random.Random) -> str:
    match draw.randint(0, 11):
        case 0:
            return draw.choice(SPACES) * draw.randint(1, 5)
        case 1:
            return draw.choice(CONTROLS)
        case 2:
            return str(draw.randint(0, 10 ** draw.randint(1, 12)))
        case 3:
            return chr(draw.choice((*range(32, 0xD800), *range(0xE000, 0x11000, 7))))
        case 4:
            return draw.choice("abxyzé語") * draw.randint(1, 30)
        case _:
            return draw.choice(SPACES[:3]) + draw.choice(WORDS) + draw.choice(SPACES[:4])
