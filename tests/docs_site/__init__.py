"""``make docs``: the site of the documentation, made of the Markdown that GitHub shows and of the docstrings.

``staging`` lays the pages out for Sphinx, ``api`` writes the pages of the docstrings, ``conf`` is Sphinx's configuration, ``checking``
reads what was built. All of it is in ``build/docs``; the site is ``build/docs/html`` and needs no server: it can be opened as files.
"""
