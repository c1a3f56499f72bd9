"""The reference of measures, from the measures themselves."""

import repsim_nb as rs


def page() -> str:
    """The page."""
    return "# Measures\n\n" + "\n".join(f"- `{name}`" for name in rs.measures.ALL) + "\n"
