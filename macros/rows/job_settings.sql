{#
    The Python that reads what a job is given, see `_python_job`: a copy of
    generator/relama/runtime/job_settings.py, written by `make generate`.
#}
{% macro _job_settings() -%}
{% raw %}"""What a Python job of dbt is given: texts that cannot become part of its program.

The text of this module is also the macro `_job_settings`.
"""

import json
from typing import Any


def decoded_settings(text: str) -> Any:
    """A value of JSON whose texts are in hexadecimal digits, as `utf8:C3A9`."""

    def decoded(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: decoded(item) for key, item in value.items()}
        if isinstance(value, list):
            return [decoded(item) for item in value]
        return value and bytes.fromhex(value.removeprefix("utf8:")).decode()

    return decoded(json.loads(text))
{% endraw %}
{%- endmacro %}
