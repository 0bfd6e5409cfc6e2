"""Jobs are what ranks run; pytest looks for doctests in every module, and would import them."""

collect_ignore = ["jobs"]
