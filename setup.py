"""Build the optional compiled kernel of ghost batch normalization; all else is in pyproject.toml.

Without a compiler, or where one of these instruction sets is unknown, the installation goes on without that build.
"""

import platform

from setuptools import Extension, setup

INSTRUCTIONS = {"portable": []}
if platform.machine() in ("x86_64", "AMD64"):
    INSTRUCTIONS["x86_64_v3"] = ["-march=x86-64-v3"]
    INSTRUCTIONS["x86_64_v4"] = ["-march=x86-64-v4", "-mprefer-vector-width=512"]
# Python's own flags have -fwrapv, under which GCC does not see that an address in a loop only grows.
MATHEMATICS = ["-fno-math-errno", "-fno-trapping-math", "-fno-wrapv"]
FLAGS = ["-std=c++17", "-O3", *MATHEMATICS, "-fopenmp", "-Wno-psabi"]

setup(
    ext_modules=[
        Extension(
            f"gbnlib.nn._kernel_{name}",
            ["gbnlib/nn/kernel.cpp"],
            depends=["gbnlib/nn/kernel_layouts.h", "gbnlib/nn/kernel_vectors.h"],
            language="c++",
            extra_compile_args=FLAGS + instructions,
            extra_link_args=["-fopenmp"],
            optional=True,
        )
        for name, instructions in INSTRUCTIONS.items()
    ]
)
