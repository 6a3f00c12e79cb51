import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_link_and_image_of_the_readme_is_there():
    targets = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_the_readme_holds_no_placeholder():
    assert re.findall(r"@[A-Z]+@", README) == []


def test_every_script_that_the_readme_names_is_there():
    scripts = re.findall(r"python ((?:benchmarks|examples)/\S+?\.py)", README)
    assert len(scripts) >= 3
    assert [script for script in scripts if not (ROOT / script).exists()] == []
