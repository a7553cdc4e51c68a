"""``imgtrans new-plugin`` writes a package that is complete as it stands, over no file."""

import re

import pytest
from click.testing import CliRunner
from machine import in_folder

from imgtrans.cli import main
from imgtrans.hooks import HOOKS


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def new_plugin(name, *kinds):
    options = [word for kind in kinds for word in ("--kind", kind)]
    return CliRunner().invoke(main, ["new-plugin", name, *options])


def test_its_tests_pass_at_once_whatever_the_kind(tmp_path):
    assert new_plugin("wavelet", *HOOKS).exit_code == 0
    done = in_folder(tmp_path / "imgtrans-wavelet", "pytest", "-q", "-p", "no:cacheprovider")
    assert re.search(r"^95 passed", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.parametrize("kinds", [*([kind] for kind in HOOKS), list(HOOKS)], ids=str)
def test_its_code_is_as_its_own_linter_wants_it(tmp_path, kinds):
    name = "squeeze-excitation-attention-3d" if len(kinds) == 1 else "w"
    new_plugin(name[:30], *kinds)
    folder = tmp_path / f"imgtrans-{name[:30]}"
    for command in (["check"], ["format", "--check"]):
        done = in_folder(folder, "ruff", *command, "--no-cache")
        assert done.returncode == 0, done.stdout


def test_its_wheel_installs_and_every_snippet_of_its_readme_is_valid(tmp_path):
    new_plugin("wavelet", *HOOKS)
    folder, site = tmp_path / "imgtrans-wavelet", tmp_path / "site"
    done = in_folder(folder, "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    offline = ["--no-deps", "--no-index", "--quiet", "--target", str(site)]
    assert in_folder(tmp_path, "pip", "install", *offline, str(wheel)).returncode == 0
    listed = in_folder(tmp_path, "imgtrans", "list-components", "--match", "wavelet/*", path=site)
    assert listed.stdout.count("wavelet/wavelet") == len(HOOKS)
    assert listed.stdout.count("imgtrans-wavelet 0.1.0") == len(HOOKS)
    snippets = re.findall(r"```toml\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    names = []
    for number, snippet in enumerate(snippets):
        (tmp_path / f"{number}.toml").write_text(snippet)
        names.append(f"{number}.toml")
    done = in_folder(tmp_path, "imgtrans", "validate", *names, "--dry-run", path=site)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" is valid") == len(HOOKS)


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("Wavelet", '"wavelet"'),
        ("my_wavelet", '"my-wavelet"'),
        ("imgtrans-wavelet2", '"wavelet2"'),
        ("2d haar", '"d-haar"'),
        ("a--b", '"a-b"'),
        ("../up", '"up"'),
        ("a" * 31, "30 of them at most"),
    ],
)
def test_what_is_no_name_is_refused_with_one_that_is(tmp_path, name, better):
    done = new_plugin(name, "loss")
    assert done.exit_code == 2
    assert better in done.output
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_taken_is_refused_and_says_by_whom(tmp_path, monkeypatch):
    done = new_plugin("cyclegan", "loss")
    assert done.exit_code == 2
    assert 'a plugin called "cyclegan" is installed (imgtrans 0.1.0)' in done.output
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "imgtrans_haar.py").write_text("")
    assert (
        'a module called "imgtrans_haar" can be imported here' in new_plugin("haar", "loss").output
    )
    assert [path.name for path in tmp_path.iterdir()] == ["imgtrans_haar.py"]


def test_files_that_are_there_stay_as_they_are(tmp_path):
    new_plugin("wavelet", "loss")
    module = tmp_path / "imgtrans-wavelet" / "imgtrans_wavelet.py"
    module.write_text("mine")
    done = new_plugin("wavelet", "loss")
    assert done.exit_code == 2
    assert "imgtrans-wavelet exists, and nothing is written over" in done.output
    assert module.read_text() == "mine"


def test_what_cannot_be_written_is_told(tmp_path):
    (tmp_path / "imgtrans-lost").symlink_to("nowhere")
    assert "imgtrans-lost exists, and nothing is written over" in new_plugin("lost", "loss").output
    tmp_path.chmod(0o500)
    done = new_plugin("wavelet", "loss")
    tmp_path.chmod(0o700)
    if done.exit_code:  # root writes anywhere
        assert "cannot be written" in done.output
        assert "Traceback" not in done.output


def test_it_tells_what_it_wrote_and_what_comes_next():
    lines = new_plugin("wavelet", "loss").output.splitlines()
    assert "wrote  imgtrans-wavelet/imgtrans_wavelet.py" in lines
    assert lines[-1] == 'next   cd imgtrans-wavelet && pip install -e ".[dev]" && pytest'


def test_at_least_one_kind_is_asked_for():
    assert new_plugin("wavelet").exit_code == 2
