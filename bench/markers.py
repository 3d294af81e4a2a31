"""A section of a Markdown file, between two comments."""

from pathlib import Path


def write_section(path: Path, name: str, text: str) -> None:
    """Puts the text between its markers, at the end of the file if they are not there yet."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    old = path.read_text() if path.exists() else "# Benchmarks\n"
    before, _, rest = old.partition(begin)
    after = rest.partition(end)[2].lstrip("\n")
    path.write_text(f"{before.rstrip()}\n\n{begin}\n{text}\n{end}\n" + (f"\n{after}" if after else ""))
