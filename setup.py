"""Maps the top-level folders data_prep/, eval/ and recipes/ into the one package recllm.

Everything else is in pyproject.toml. Packages are found here, so that a new folder with an
__init__.py is picked up without being listed anywhere.
"""

from setuptools import find_packages, setup

MAPPED = {"recllm.data_prep": "data_prep", "recllm.eval": "eval", "recllm.recipes": "recipes"}

packages = find_packages(include=["recllm", "recllm.*"])
for name, folder in MAPPED.items():
    packages += [name, *(f"{name}.{found}" for found in find_packages(folder))]

setup(
    packages=packages,
    package_dir={"recllm": "recllm", **MAPPED},
    package_data={
        "recllm": ["py.typed", "prompts/templates/*.yaml", "hub/*.j2"],
        "recllm.recipes": ["**/*.yaml"],
        "recllm.eval": ["**/*.j2", "**/*.css"],
    },
)
