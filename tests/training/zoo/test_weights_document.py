"""docs/weights.md has the table of published checkpoints; this file, run as a script, writes it."""

import pathlib

from training.zoo.table import published_checkpoints

DOCUMENT = pathlib.Path(__file__).parents[3] / "docs" / "weights.md"
BEGIN = "<!-- Written by `python tests/training/zoo/test_weights_document.py`. -->\n"
END = "<!-- The end of the table. -->\n"
COLUMNS = ("name", "network", "pixels", "classes", "top-1", "top-5", "file", "date", "license")


def cells(row):
    options = "".join(f", `{name}={value}`" for name, value in row.network_options.items())
    preprocessing = f", preprocessing `{row.preprocessing}`" if row.preprocessing else ""
    quantized = " (8-bit)" if "edgetpu" in row.name else ""
    digest = f", {row.digest.replace(':', ' ')}" if row.digest else ""
    return (
        f"`{row.name}`",
        f"`{row.network}`{options}{preprocessing}",
        f"{row.image_size}",
        f"{row.num_classes:,}",
        f"{row.top_1:.1f}{quantized}",
        f"{row.top_5:.1f}" if row.top_5 else "",
        f"[{row.file_name}]({row.url}){digest}",
        row.date,
        f"{row.license} ([source]({row.source}))",
    )


def table():
    rows = [COLUMNS, ("---",) * len(COLUMNS), *map(cells, published_checkpoints.values())]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def parts():
    """The document before, in and after the table."""
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    found, _, after = rest.partition(END)
    return before, found, after


def test_the_document_has_today_s_table():
    _, found, after = parts()
    assert after
    assert found.strip() == table().strip(), f"python {pathlib.Path(__file__)} writes it anew"


if __name__ == "__main__":
    before, _, after = parts()
    DOCUMENT.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}")
