"""Settings of the documentation, which `make docs` builds. Generated pages are written before Sphinx reads them."""

import gc
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS.parent), str(DOCS / "_tools")]

import hooks
import pages

import repsim_nb

gc.disable()  # a quarter of the time; Sphinx ends before memory matters

project, author = "repsim_nb", "repsim_nb contributors"
version = release = repsim_nb.__version__
project_copyright = "repsim_nb contributors (MIT licence)"
language = "en"

extensions = ["sphinx.ext.autodoc", "numpydoc", "myst_nb"]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb", ".ipynb": "myst-nb"}
exclude_patterns = ["_*", "**/_*"]
default_role = "obj"
highlight_language = "text"  # blocks without a language are no code

autodoc_typehints = "none"  # docstrings have the types
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = True
python_maximum_signature_line_length = 88
add_function_parentheses = False
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False  # methods are on the page of their class
numpydoc_xref_param_type = False

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
myst_links_external_new_tab = False
nb_execution_mode = "off"  # lessons are run by _tools/lessons.py, which keeps them by notebook and package source
nb_ipywidgets_js = {}  # pages show the saved picture of a widget; nothing is loaded from another host
nb_merge_streams = True
html_math_renderer = "mathml"  # browsers draw it without a script

html_theme = "pydata_sphinx_theme"
html_title = "repsim_nb"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_favicon = "_static/favicon.svg"
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {"index": [], "start": [], "api/**": ["api-modules.html"], "about/changelog": [], "architectures": []}
html_theme_options = {
    "logo": {"text": "repsim_nb"},
    "navbar_align": "left",
    "navbar_persistent": ["search-button"],
    "header_links_before_dropdown": 6,
    "show_prev_next": True,
    "show_toc_level": 2,
    "collapse_navigation": True,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
templates_path = ["_templates"]


def setup(app):
    """Write the generated pages, and add what Sphinx lacks."""
    app.connect("builder-inited", lambda app: pages.write(app.srcdir))
    hooks.add(app)
