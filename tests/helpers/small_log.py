"""A log of eight users and eight items, and a recipe for it."""

RECIPE = """
output_dir: {folder}/run
cache_dir: {folder}/cache
data: {{source: files, path: {folder}/log.csv}}
model: {{from_scratch: {{hidden: 32, heads: 2}}}}
"""
LOG = "user_id,item_id,timestamp\n" + "".join(
    f"u{user},i{item},{item}\n" for user in range(8) for item in range(8)
)
