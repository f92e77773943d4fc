"""The page as a browser would read it, and in a browser if there is one."""

import dataclasses
import html.parser
import json
import re
import shutil
import subprocess

import pytest
from told_answers import answered

from training.evaluation_report.page import page
from training.evaluation_report.run_record import Curve, RunRecord

# What a class or a folder may be called.
HOSTILE = (
    '<script>document.title="broken"</script>',
    "</script><img src=x onerror=document.title='broken'>",
    "100% %s %{x} {{ 7 * 7 }} {% raw %}",
    "\"quotes\" & 'quotes' --> <!--",
    "two\nlines \u2028 \u202e",
)
VOID = {"meta", "img", "input", "br", "link", "hr"}


class Reader(html.parser.HTMLParser):
    """Reads a page; an element that is closed out of turn is an error."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.texts, self.scripts = [], [], [], {}
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open and self.open[-1][0] == "script":
            name = self.open[-1][1].get("id", "")
            self.scripts[name] = self.scripts.get(name, "") + data
        elif self.open and self.open[-1][0] != "style" and data.strip():
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


@pytest.fixture
def read(evaluation, answers):
    return Reader(page(evaluation(), answers))


def test_the_answer_comes_first(read):
    assert read.texts[:2] == ["66.7% right: tiny on folder, all", "66.7% right"]
    assert "4 of 6 images, 2 classes" in read.text
    assert "95% interval 30.0% to 90.3%" in read.text  # Wilson's of 4 of 6
    assert "loss 1.2500 cross-entropy in nats" in read.text
    assert "Ten crops." in read.text
    assert "No curves." in read.text
    assert "eval_image_classifier --checkpoint_path=run" in read.text
    assert "1.2.3" in read.text


def test_mistakes_are_shown_with_their_photos(read):
    assert "2 of 2 wrong answers" in read.text
    assert "bee 95.0%" not in read.text
    assert read.text.index("ant 95.0%") < read.text.index("bee 70.0%")  # by confidence
    pictures = [attributes for tag, attributes in read.elements if tag == "img"]
    assert len(pictures) == 6
    assert all(picture["src"].startswith("data:image/") for picture in pictures)
    assert pictures[0]["alt"].endswith(".jpg, true class bee, taken for ant")


def test_nothing_is_loaded_from_anywhere(read):
    for tag, attributes in read.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        for name in ("src", "href", "srcset", "data", "action", "poster", "style"):
            value = attributes.get(name) or ""
            assert not re.search(r"https?:|//|url\(", value.partition("base64,")[0]), value
    (policy,) = (
        attributes["content"]
        for _, attributes in read.elements
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy


@pytest.fixture
def hostile(evaluation):
    """What was evaluated has names that would break a page that takes them for more than text."""
    made = evaluation()
    describe = made.dataset.describe
    return dataclasses.replace(
        made,
        model_name=HOSTILE[0],
        class_names=list(HOSTILE[:3]),
        command=HOSTILE[1],
        remarks=HOSTILE,
        runs=[RunRecord(HOSTILE[1], [Curve("training loss", [1], [2])], flags=list(HOSTILE))],
        dataset=dataclasses.replace(
            made.dataset,
            name=HOSTILE[1],
            split=HOSTILE[0],
            describe=lambda index: f"{describe(index)} {HOSTILE[index % 5]}",
        ),
    )


def test_names_are_text_whatever_they_are(read, hostile, answers):
    hostile_read = Reader(page(hostile, answers))
    tags, hostile_tags = (
        [tag for tag, _ in each.elements if tag != "img"] for each in (read, hostile_read)
    )
    assert hostile_tags.count("script") == tags.count("script") + 1  # the curve's
    assert not any("onerror" in attributes for _, attributes in hostile_read.elements)
    for name in HOSTILE[:4]:
        assert name in hostile_read.text
    assert "<" not in hostile_read.scripts["confusion-figure"]  # nor could a tag end there
    figure = json.loads(hostile_read.scripts["confusion-figure"])
    assert figure["data"][0]["x"][0].startswith("&lt;script&gt;")


def test_an_id_of_imagenet_has_its_name_beside_it(evaluation, answers):
    shown = Reader(page(evaluation(["n04208210", "bee", "cat"]), answers))
    assert "n04208210 shovel" in shown.text


def test_classes_without_an_image_are_left_out_and_counted(evaluation):
    names = [f"class {number}" for number in range(25)]
    read = Reader(page(evaluation(names), answered([(3, 3), (3, 4), (7, 7)], 25)))
    assert "2 of 3 images, 2 classes" in read.text
    assert "23 classes without an image are left out." in read.text
    rows = [attributes for tag, attributes in read.elements if attributes.get("scope") == "row"]
    assert [row["title"] for row in rows if "title" in row] == ["class 3", "class 7"]


@pytest.mark.parametrize(
    ("given", "said"), [(0, "No answer was wrong."), (1, "No answer was right.")]
)
def test_all_can_be_right_or_wrong(evaluation, given, said):
    read = Reader(page(evaluation(("ant", "bee")), answered([(0, given)] * 3, 2)))
    assert said in read.text


def test_two_classes_have_a_top_two_and_one_image_is_enough(evaluation):
    read = Reader(page(evaluation(("ant", "bee")), answered([(0, 0)], 2)))
    assert "top-2 accuracy 100.0% of 2 classes in all" in read.text
    assert "1 of 1 image, 1 class" in read.text


def test_more_classes_than_a_page_can_show_are_in_the_tables_only(evaluation):
    many = 1003
    names = [f"class {number}" for number in range(many)]
    pairs = [(label, label) for label in range(many)] + [(many - 1, many - 2)]
    text = page(evaluation(names), answered(pairs, many))
    assert "Shown are the 1,000 of 1,003 classes that are in most mistakes." in text
    assert "Shown are the 1,000 of 1,003 classes with the lowest recall" in text


# --------------------------------------------------------------------------- in a browser

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


def browse(path, folder):
    """The page after its scripts have run, and what the browser complained of."""
    ended = subprocess.run(
        [
            *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *("--enable-logging=stderr", "--virtual-time-budget=5000", "--dump-dom"),
            f"--user-data-dir={folder}",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return ended.stdout, [line for line in ended.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")
@pytest.mark.parametrize("kind", ["few", "many", "hostile"])
def test_a_browser_draws_it_without_complaint(kind, evaluation, hostile, answers, tmp_path):
    path = tmp_path / "report.html"
    if kind == "hostile":
        text = page(hostile, answers)
    else:
        count = 3 if kind == "few" else 120
        names = [f"class {number}" for number in range(count)]
        pairs = [(label, label) for label in range(count)] + [(0, count - 1), (1, 0)]
        text = page(
            dataclasses.replace(hostile, class_names=names), answered(pairs[: 9 + count], count)
        )
    path.write_text(text, encoding="utf-8")
    shown, complaints = browse(path, tmp_path / "browser")
    assert not complaints
    assert "heatmap-label" in shown or kind == "many"  # counts are written into few cells
    assert shown.count('class="main-svg"') >= 3  # each chart has some
    assert shown.count("heatmaplayer") >= 1
    assert "broken" not in re.search("<title>(.*?)</title>", shown)[1].replace(
        'document.title="broken"', ""
    ).replace("document.title='broken'", "")


# What a reader does: goes to a class in either order, and sorts the table by support.
ACTIONS = """
const counted = () => String(document.querySelectorAll("#confusion .heatmap-label").length);
const later = (action) => new Promise((done) => setTimeout(() => { action(); done(); }, 300));
const order = document.getElementById("matrix-order");
const said = [];
later(() => document.querySelector("[data-class]").click())
  .then(() => later(() => said.push(counted())))
  .then(() => later(() => document.getElementById("matrix-all").click()))
  .then(() => later(() => said.push(counted())))
  .then(() => later(() => { order.value = "label"; order.dispatchEvent(new Event("change")); }))
  .then(() => later(() => document.querySelector("[data-class]").click()))
  .then(() => later(() => said.push(counted())))
  .then(() => later(() => document.querySelectorAll(".sortable button")[1].click()))
  .then(() => later(() => {
    said.push(document.querySelector(".sortable tbody tr").cells[1].textContent);
    document.title = said.join(" ");
  }));
"""


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")
def test_a_reader_goes_to_a_class_and_sorts(evaluation, tmp_path):
    count = 120
    names = [f"class {number}" for number in range(count)]
    pairs = [(label, label) for label in range(count)] + [(5, 100), (5, 100), (100, 5)]
    text = page(evaluation(names), answered(pairs, count))
    text = re.sub('<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    path = tmp_path / "report.html"
    path.write_text(text.replace("</body>", f"<script>{ACTIONS}</script></body>"), encoding="utf-8")
    shown, complaints = browse(path, tmp_path / "browser")
    assert not complaints
    # 19 classes from the pair on: on the diagonal, and beside it the pair. By label it is far away.
    assert re.search("<title>(.*?)</title>", shown)[1] == "21 0 19 3"
