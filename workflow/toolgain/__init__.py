"""toolgain: did the training make the model better at calling tools, and how sure are we?

The chain, in the order of the rooms: `config` freezes what each stage may see, `models` and
`tasks` check what goes in, `training` trains, `checkpoint` selects and exports, `evaluation`
evaluates before and after, `comparison` compares, `report` tells. Below them `serving`,
`statistics`, `slurm`, `bfcl` and `common`; above them `head` and `cli`. pyproject.toml holds the
contract: no import runs upward.
"""

__version__ = "0.1.0"
