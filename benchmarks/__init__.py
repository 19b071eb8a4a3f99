"""How fast recllm is beside what it replaces: `python -m benchmarks.NAME [--small]`."""
