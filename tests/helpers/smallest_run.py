"""A recipe whose run takes seconds, on the simulated log."""

RECIPE = """
extends: base/quickstart
data: {{source: simulated, users: 60, items: 40, k_core: 3}}
embed: {{dimensions: 8}}
sid: {{levels: 2, codes: 16, health: {{max_resolution_cost: 1}}}}
model: {{from_scratch: {{hidden: 16, layers: 1, heads: 2, vocabulary: 300}}}}
sft:
  validation_users: 10
  trainer: {{max_steps: 2, per_device_train_batch_size: 16}}
eval: {{beams: 10, cutoffs: [10], bootstrap: 100}}
cache_dir: {folder}/cache
output_dir: {folder}/run
"""
