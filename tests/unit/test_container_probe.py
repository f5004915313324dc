"""What the nodes of `toolgain doctor --container-job` answer, in one line for each thing."""

from toolgain.head.container_probe import judged, read_probe
from toolgain.training.nemo_rl.refs import REFS


def lines(*answers: tuple[str, str, str, str]) -> dict[str, tuple[bool, str]]:
    """Each thing's verdict and line, of answers (node, thing, yes or no, what was said)."""
    text = "\n".join("\t".join(("probe", *answer)) for answer in answers)
    return {one.name: (one.ok, one.said) for one in judged(read_probe(text), REFS["v0.7.0"])}


def test_an_answer_that_several_nodes_give_is_told_once() -> None:
    found = lines(
        ("n3", "Gym's environments", "no", "0 in /opt/gym_venvs"),
        ("n1", "Gym's environments", "no", "0 in /opt/gym_venvs"),
        ("n2", "Gym's environments", "yes", "2 in /opt/gym_venvs"),
    )
    ok, said = found["Gym's environments"]
    assert not ok
    assert said.startswith("n1, n3: 0 in /opt/gym_venvs; they are made at the start of a training")


def test_a_program_that_ends_without_a_word_is_told_as_that() -> None:
    found = lines(("n1", "training Python", "yes", "3.12.7"), ("n2", "training Python", "no", ""))
    said = "n2: it said nothing; cluster.nemo_rl.python does not start."
    assert found["training Python"] == (False, said)


def test_environments_of_gym_are_not_needed_where_a_package_index_answers() -> None:
    found = lines(
        ("n1", "Gym's environments", "no", "0 in /opt/gym_venvs"),
        ("n1", "package index", "yes", "answers"),
    )
    assert all(ok for ok, _ in found.values()), found
