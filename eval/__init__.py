"""Engines that rank the catalogue, comparison with baselines, and the report."""

if __name__ != "recllm.eval":
    raise ImportError("import recllm.eval: the folder eval/ is installed under that name")
