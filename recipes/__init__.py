"""The recipes that come with recllm."""

if __name__ != "recllm.recipes":
    raise ImportError("import recllm.recipes: the folder recipes/ is installed under that name")
