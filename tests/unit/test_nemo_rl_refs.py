"""Which checkout, image and Gym belong together."""

import subprocess
from pathlib import Path

import made
import pytest

from toolgain.common.errors import UserError
from toolgain.training.nemo_rl import refs
from toolgain.training.nemo_rl.refs import REFS


def committed(folder: Path) -> str:
    """Make `folder` a git checkout of one commit; its id."""
    git = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", "x"], check=True)
    found = refs.commit_of(folder)
    assert found is not None
    return found


def test_a_copy_without_history_is_taken_as_it_is(tmp_path: Path) -> None:
    root = made.checkout(tmp_path / "rl")
    assert refs.check_checkout(REFS["v0.7.0"], root) is None
    assert refs.check_gym(REFS["v0.7.0"], root) is None


def test_another_commit_than_the_tag_s_is_refused(tmp_path: Path) -> None:
    root = made.checkout(tmp_path / "rl")
    commit = committed(root)
    with pytest.raises(UserError, match=f"ref is v0.7.0 .* is at {commit[:9]}; run `git -C"):
        refs.check_checkout(REFS["v0.7.0"], root)
    assert refs.check_checkout(REFS["main"], root) == commit


def test_a_folder_that_is_no_checkout_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no ray.sub and no .*run_grpo_nemo_gym.py; clone it"):
        refs.check_checkout(REFS["v0.6.0"], tmp_path)


def test_a_checkout_without_its_submodule_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="submodule update --init"):
        refs.check_gym(REFS["v0.7.0"], tmp_path)


def test_another_gym_than_pinned_is_refused(tmp_path: Path) -> None:
    root = made.checkout(tmp_path / "rl")
    commit = committed(root / refs.GYM_FOLDER)
    with pytest.raises(UserError, match=f"is at {commit[:9]}, but NeMo RL v0.7.0 pins d67ad6611"):
        refs.check_gym(REFS["v0.7.0"], root)


def test_a_version_whose_commit_is_not_known_goes_by_the_tag_of_the_checkout(
    tmp_path: Path,
) -> None:
    root = made.checkout(tmp_path / "rl")
    commit = committed(root)
    assert refs.check_checkout(REFS["v0.8.0"], root) == commit
    subprocess.run(["git", "-C", str(root), "tag", "v0.8.0"], check=True)
    assert refs.check_checkout(REFS["v0.8.0"], root) == commit
    other = committed(root)
    with pytest.raises(UserError, match=rf"v0\.8\.0 \({commit[:9]}\), but .* is at {other[:9]}"):
        refs.check_checkout(REFS["v0.8.0"], root)


def test_uncommitted_changes_of_a_checkout_have_a_digest(tmp_path: Path) -> None:
    root = made.checkout(tmp_path / "rl")
    assert refs.uncommitted_changes(root) is None
    committed(root)
    subprocess.run(["git", "-C", str(root), "add", "ray.sub"], check=True)
    first = refs.uncommitted_changes(root)
    assert first is not None
    with (root / "ray.sub").open("a") as file:
        file.write("# patched\n")
    second = refs.uncommitted_changes(root)
    assert second not in (None, first)
    # A binary change and one in another encoding than UTF-8.
    (root / "ray.sub").write_bytes(b"caf\xe9\n")
    assert refs.uncommitted_changes(root) not in (None, first, second)


def test_a_checkout_that_git_cannot_compare_is_not_a_clean_one(tmp_path: Path) -> None:
    root = made.checkout(tmp_path / "rl")
    git = ["git", "-C", str(root)]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    commit = committed(root)
    assert refs.uncommitted_changes(root) is None
    blob = subprocess.check_output([*git, "rev-parse", "HEAD:ray.sub"], text=True).strip()
    (root / ".git/objects" / blob[:2] / blob[2:]).unlink()
    (root / "ray.sub").write_text("other\n")
    found = refs.uncommitted_changes(root)
    assert found and found.startswith("not known: `git diff` failed: ") and blob in found
    said = refs.said_version(commit, found)
    assert said.startswith(f"{commit[:9]}, with uncommitted changes (not known")


def test_untracked_sources_of_a_checkout_count_and_its_logs_do_not(tmp_path: Path) -> None:
    root = tmp_path / "rl"
    root.mkdir()
    (root / ".gitignore").write_text("ignored.py\n")
    git = ["git", "-C", str(root)]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", ".gitignore"], check=True)
    committed(root)
    (root / "ignored.py").write_text("1\n")
    (root / "1-logs").mkdir()
    (root / "1-logs" / "ray-driver.log").write_text("step 1\n")
    assert refs.uncommitted_changes(root) is None
    (root / "sitecustomize.py").write_text("1\n")
    first = refs.uncommitted_changes(root)
    assert first is not None
    (root / "sitecustomize.py").write_text("2\n")
    assert refs.uncommitted_changes(root) not in (None, first)


def test_an_image_of_another_version_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "nemo-rl-v0.6.0.sqsh"
    image.touch()
    with pytest.raises(UserError, match=r"says v0\.6\.0, but training\.nemo_rl\.ref is v0\.7\.0"):
        refs.check_image(REFS["v0.7.0"], str(image))
    refs.check_image(REFS["v0.6.0"], str(image))
    refs.check_image(REFS["main"], str(image))


def test_a_missing_image_is_named() -> None:
    with pytest.raises(UserError, match=r"/no/such\.sqsh does not exist"):
        refs.check_image(REFS["v0.7.0"], "/no/such.sqsh")
    with pytest.raises(UserError, match=r"nvcr\.io/nvidia/nemo-rl:v0\.7\.0 belongs to v0\.7\.0"):
        refs.check_image(REFS["v0.7.0"], None)
    refs.check_image(REFS["v0.7.0"], "nvcr.io#nvidia/nemo-rl:v0.7.0")


def test_every_version_has_a_tuple_of_its_own() -> None:
    assert list(REFS) == ["v0.5.0", "v0.6.0", "v0.7.0", "v0.8.0", "main"]
    pinned = [(ref.commit, ref.gym_commit, ref.image) for ref in REFS.values() if ref.commit]
    assert len({field for fields in pinned for field in fields}) == 9
