# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Sphinx's configuration: the repository's own pages are the site.

The source directory is the repository's root, so links between pages are the same on a forge
and here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hv_kvp_daemon import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "hv-kvp-daemon"
author = "The hv-kvp-daemon authors"
project_copyright = f"2026 {author}"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "README"
include_patterns = ["*.md", "docs/*.md", "packaging/images/*.md"]

# Fragments as forges make them.
myst_heading_anchors = 3
# The pages' blocks are commands, output and diagrams.
highlight_language = "none"
# Names in single backticks are of the library, of the standard library or of other packages.
default_role = "literal"
add_module_names = False
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
# The standard library's pages are not linked: to build the site takes no network.
nitpick_ignore_regex = [("py:class", r"collections\.abc\..*")]

html_theme = "furo"
html_title = f"hv-kvp-daemon {release}"
html_show_sourcelink = False
html_copy_source = False
html_static_path = ["static"]
html_css_files = ["site.css"]
# Leads to README.html.
html_extra_path = ["index.html"]

# What a forge shows as a list of files.
_CONTENTS = """

```{toctree}
:hidden:

docs/using
docs/operations
packaging/images/README
docs/manuals
Addresses from the host <docs/ip-injection>
docs/comparison
docs/fleet
docs/library
SECURITY
docs/sandbox
```

```{toctree}
:hidden:
:caption: How it works

The protocol <docs/protocol>
docs/architecture
Decisions <docs/decisions>
Pools <docs/pools>
Defects <docs/defects>
```

```{toctree}
:hidden:
:caption: Developers

CONTRIBUTING
docs/releasing
Packaging <docs/packaging>
CHANGELOG
```
"""


def _add_contents(app: Sphinx, name: str, source: list[str]) -> None:
    del app
    if name == root_doc:
        source[0] += _CONTENTS


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the navigation to the first page."""
    app.connect("source-read", _add_contents)
    return {"parallel_read_safe": True}
