"""Numbers and verdicts in words, the same in the page and in Markdown."""

import math
import re
from datetime import datetime, timedelta

from toolgain.statistics import answer

MINUS = "\N{MINUS SIGN}"
NO_VALUE = "\N{EN DASH}"

_TOGETHER = re.compile(r"p [<=] [\d.]+|\d %( interval)?|[\d.]+ → [\d.]+|[+\u2212]?[\d.]+ points?")

GROUPS = {"non_live": "Non-live", "live": "Live", "multi_turn": "Multi-turn"}

CATEGORIES = {
    "simple": "Simple (Python)",
    "java": "Simple (Java)",
    "javascript": "Simple (JavaScript)",
    "multiple": "Multiple",
    "parallel": "Parallel",
    "parallel_multiple": "Parallel multiple",
    "irrelevance": "Irrelevance",
    "live_simple": "Live simple",
    "live_multiple": "Live multiple",
    "live_parallel": "Live parallel",
    "live_parallel_multiple": "Live parallel multiple",
    "live_irrelevance": "Live irrelevance",
    "live_relevance": "Live relevance",
    "multi_turn_base": "Multi-turn base",
    "multi_turn_miss_func": "Multi-turn missing function",
    "multi_turn_miss_param": "Multi-turn missing parameter",
    "multi_turn_long_context": "Multi-turn long context",
}

# The harness names the checker and the fault; people need the fault.
ERRORS = {
    "": "correct",
    "simple_function_checker:wrong_func_name": "wrong function",
    "simple_function_checker:wrong_count": "wrong number of calls",
    "simple_function_checker:missing_required": "argument missing",
    "simple_function_checker:missing_optional": "optional argument missing",
    "simple_function_checker:unexpected_param": "unknown argument",
    "multiple_function_checker:wrong_count": "wrong number of calls (multiple)",
    "parallel_function_checker_no_order:wrong_count": "wrong number of calls (parallel)",
    "parallel_function_checker_no_order:cannot_find_match": "no matching call (parallel)",
    "value_error:string": "wrong text value",
    "value_error:others": "wrong value",
    "value_error:list": "wrong list value",
    "value_error:list/tuple": "wrong list value",
    "value_error:dict_key": "wrong key in an object",
    "value_error:dict_value": "wrong value in an object",
    "value_error:list_dict_count": "wrong length of a list of objects",
    "type_error:simple": "wrong type",
    "type_error:nested": "wrong type inside a list",
    "type_error:java": "wrong Java type",
    "type_error:js": "wrong JavaScript type",
    "ast_decoder:decoder_failed": "no readable call",
    "ast_decoder:decoder_wrong_output_format": "text where calls were expected",
    "irrelevance_error:decoder_success": "called where no tool fits",
    "relevance_error:decoder_failed": "no call where one was wanted",
    "multi_turn:instance_state_mismatch": "wrong end state",
    "multi_turn:execution_response_mismatch": "wrong results of calls",
    "multi_turn:force_terminated": "stopped by force",
    "multi_turn:empty_turn_model_response": "a turn without calls",
    "multi_turn:irrelevance_error:decoder_success": "called where it had to ask",
    "multi_turn:inference_error": "inference error",
    "multi_turn:method_invoke_order_mismatch": "wrong order of calls",
}


def number(value: object) -> float | None:
    """`value` as a finite float, or None: results may hold null, NaN or text."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def percent(value: object, digits: int = 1) -> str:
    """A score in percent without the sign, `56.9`."""
    x = number(value)
    return NO_VALUE if x is None else f"{x:.{digits}f}".replace("-", MINUS)


def points(value: object, digits: int = 1) -> str:
    """A change in percent points with its sign, `+6.8`; zero has none."""
    x = number(value)
    if x is None:
        return NO_VALUE
    text = f"{abs(x):.{digits}f}"
    if float(text) == 0:
        return text
    return ("+" if x > 0 else MINUS) + text


def interval(bounds: object, digits: int = 1) -> str:
    """An interval of changes, `+5.6 to +8.1`; an end near zero as `+0.04`, as its side decides."""
    pair = limits(bounds)
    if pair is None:
        return NO_VALUE
    low, high = (_end(value, digits) for value in pair)
    return f"{low} to {high}"


def interval_name(alpha: float) -> str:
    """What an interval of changes is called, by the two-sided error level: `95 % interval`."""
    return f"{100 * (1 - alpha):g} % interval"


def _end(value: float, digits: int) -> str:
    while digits < 4 and value and float(f"{value:.{digits}f}") == 0:
        digits += 1
    return points(value, digits)


def limits(bounds: object) -> tuple[float, float] | None:
    """The two ends of an interval, or None where one is missing."""
    if not isinstance(bounds, list | tuple) or len(bounds) != 2:
        return None
    low, high = number(bounds[0]), number(bounds[1])
    return None if low is None or high is None else (low, high)


def p_value(value: object) -> str:
    """A p value, `< 0.001` or `0.034`."""
    p = number(value)
    if p is None:
        return NO_VALUE
    return answer.p_equals(p).removeprefix("p ").removeprefix("= ")


def whole_number(value: object) -> str:
    """A whole number, with commas from ten thousand on."""
    x = number(value)
    if x is None:
        return NO_VALUE
    return f"{round(x):,}" if abs(x) >= 10_000 else str(round(x))


def of_them(number: object, one: str, more: str = "") -> str:
    """A number with its noun, `1 step`, `12 steps`."""
    return f"{whole_number(number)} {one if number == 1 else more or one + 's'}"


def typeset(text: str) -> str:
    """`text` of another room with the page's minus and percent signs: `-0.1` and `5%`."""
    return re.sub(r"(?<=\d)%", " %", re.sub(r"(?<![\w.\-])-(?=\d)", MINUS, text))


def share(part: object, whole: object) -> str:
    """`part` of `whole` in percent, `4.8 %`."""
    a, b = number(part), number(whole)
    return NO_VALUE if a is None or not b else f"{percent(100 * a / b)} %"


def duration(seconds: object) -> str:
    """A time span in its two largest units, `1 h 12 min`."""
    s = number(seconds)
    if s is None or s < 0:
        return NO_VALUE
    if s < 10:
        return f"{s:.1f} s"
    if s < 60:
        return f"{s:.0f} s"
    minutes, rest = divmod(round(s), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(s / 60), 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def moment(value: object) -> str:
    """An ISO 8601 time to the minute, `2026-11-20 08:21 UTC`; other text as it is."""
    text = str(value or NO_VALUE)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return text
    zone = " UTC" if time.utcoffset() == timedelta(0) else ""
    return f"{time:%Y-%m-%d %H:%M}{zone}"


def kept_together(text: str) -> str:
    """`text` with no line break inside of a number's unit, a relation or a range."""
    return _TOGETHER.sub(lambda match: match[0].replace(" ", "\N{NO-BREAK SPACE}"), text)


def category(name: str) -> str:
    """The title of a category; a name that is not known stays as it is."""
    return CATEGORIES.get(name, name)


def group(name: str) -> str:
    """The title of a group."""
    return GROUPS.get(name, name)


def error(kind: str) -> str:
    """A harness error type in plain words; a type that is not known stays as it is."""
    return ERRORS.get(kind, kind)


def verdict_title(name: object) -> str:
    """The verdict as a title."""
    return answer.TITLES.get(str(name), str(name).replace("_", " ").capitalize())
