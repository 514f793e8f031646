"The site: sphinx-build -W docs docs/_build/html. repository.py takes pages, texts and reference from the repository; nothing is written twice."
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from repository import CFG

project = "portrait_gan"
author = CFG["author"]
version = release = CFG["version"]
project_copyright = f"{author}; {CFG['license'].split()[0]}"
extensions = ["repository", "myst_nb", "sphinx_copybutton"]
exclude_patterns = ["_build", "try", "guide.md", "pages/README.md"]  # pages/ has the guide; index.md includes the README

nb_execution_mode = "off"  # the pages are executed where they are written; their outputs are stored
nb_render_markdown_format = "myst"  # tables among them
myst_enable_extensions = ["attrs_block", "colon_fence", "dollarmath", "fieldlist"]
myst_heading_anchors = 4
myst_url_schemes = {"http": None, "https": None, "mailto": None, "site": "{{path}}"}  # site: what is no page, relative to this one

add_module_names = False
python_maximum_signature_line_length = 80
toc_object_entries_show_parents = "hide"

smartquotes_action = "D"  # dashes; quotes stay as they are written, "auto" is a value

html_theme = "furo"
html_title = "portrait_gan"
html_favicon = "_static/favicon.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_math_renderer = "mathml"  # browsers draw it themselves: no script, no CDN
html_sidebars = {"**": ["sidebar/brand.html", "sidebar/search.html", "sidebar/scroll-start.html", "sidebar/try.html",
                        "sidebar/navigation.html", "sidebar/scroll-end.html"]}
templates_path = ["_templates"]
