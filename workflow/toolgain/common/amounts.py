"""Amounts in a sentence for people, alike in every message: `1 item`, `12 items`, `4.8 %`."""


def counted(number: int, one: str, more: str = "") -> str:
    """A number with its noun, in the singular where it is one."""
    return f"{number} {one if number == 1 else more or one + 's'}"


def in_percent(share: float, digits: int = 0) -> str:
    """A share from 0 to 1 in percent, with the sign."""
    return f"{100 * share:.{digits}f} %"


def in_gib(size: float) -> str:
    """A number of bytes in GiB, in MiB below an eighth of one."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**27 else f"{size / 2**20:.1f} MiB"


def two_readings(first: int, second: int) -> str:
    """What the time `first:second` can mean, and how to say each."""
    return (
        f"{first}:{second:02} can be {first} h {second} min or, as Slurm reads it, {first} min "
        f"{second} s: say {first * 60 + second}m, {first}:{second:02}:00, or "
        f"{max(1, first + (second > 0))}m"
    )
