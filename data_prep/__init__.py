"""From a log to training prompts: ingest, filter, split, embed, SIDs, prompts."""

if __name__ != "recllm.data_prep":
    raise ImportError("import recllm.data_prep: the folder data_prep/ is installed under that name")
