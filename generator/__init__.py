"""relama: compiles a Llama-family language model into a dbt project."""

__version__ = "0.1.0"
