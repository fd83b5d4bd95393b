"""How the documentation site is made: ``nox -s docs`` builds it into build/docs.

It needs no other host: formulas are MathML, fonts are the system's, and the search is a script of
the site's own.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

import xpnet  # noqa: E402

project = "xpnet"
author = "The xpnet developers"
release = version = xpnet.__version__
copyright = "the xpnet developers, MIT licence"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
    "mathml",
    "public_names",
    "self_contained",
]
exclude_patterns = ["gallery", "_ext"]
default_role = "py:obj"  # what a docstring has in single backticks is a name
nitpicky = True
nitpick_ignore_regex = [("py:(class|meth|func|attr)", ".*")]  # what annotations name needs no page
suppress_warnings = ["config.cache"]  # a function in sphinx-gallery's settings is no mistake

# ---- pages

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3  # as code hosts make them
html_theme = "furo"
html_title = f"xpnet {version}"
html_static_path = ["_static"]
html_css_files = ["xpnet.css"]
html_math_renderer = "mathml"
html_copy_source = html_show_sourcelink = False
pygments_style, pygments_dark_style = "default", "github-dark"

# ---- what the docstrings say

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True
maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

# ---- examples, run while the site is built

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "examples",
    "filename_pattern": r"plot_",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "min_reported_time": 60,
    "show_memory": False,
    "show_signature": False,
    "image_srcset": ["2x"],
    "reset_modules": (),
    "capture_repr": (),
    "write_computation_times": False,
}
