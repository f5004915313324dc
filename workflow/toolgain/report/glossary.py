"""Short explanations for readers who are new to the field, shown on hover and focus."""

import re

TERMS: dict[str, tuple[str, str]] = {
    "overall": (
        "Overall",
        "The official BFCL v3 score in percent: the mean of the three groups non-live, live and "
        "multi-turn. toolgain computes it from the single items.",
    ),
    "bfcl": (
        "BFCL v3",
        "Berkeley Function-Calling Leaderboard, version 3: 4441 items in 17 categories that ask a "
        "model to call tools, or to decline.",
    ),
    "interval": (
        "interval",
        "The range of changes that fit the data. If the whole experiment were repeated on other "
        "items of the same kind, its percentage of such ranges would hold the true change. If it "
        "excludes zero, the change is clear.",
    ),
    "p": (
        "p value",
        "How often a difference at least this large would appear if the training had changed "
        "nothing. Small values speak for a real change.",
    ),
    "holm-word": (
        "after Holm's correction",
        "A line of a group or category is coloured only where its p value stays below the error "
        "level after Holm's method, because several are tested at once. The interval and the "
        "p value shown are those of the line alone.",
    ),
    "holm": (
        "Holm's method",
        "A correction for testing several things at once, so that chance alone rarely yields "
        "a finding.",
    ),
    "points": (
        "points",
        "Percent points: from 50 % to 53 % is a change of 3 points.",
    ),
    "noise-floor": (
        "noise floor",
        "How far the score moves when the same weights are evaluated again. A change inside this "
        "band says nothing.",
    ),
    "detectable": (
        "detectable change",
        "The smallest true change of the Overall that a comparison of this design finds in 80 of "
        "100 tries. It is known before the run, from the items and from what was assumed of them.",
    ),
    "noninferiority": (
        "held within the margin",
        "A test for the absence of harm: the interval shows that the score did not fall by more "
        "than the margin that was set before the run, and the share of items lost is within it, "
        "too.",
    ),
    "gained": (
        "gained",
        "Items that were wrong before the training and are right after it.",
    ),
    "lost": (
        "lost",
        "Items that were right before the training and are wrong after it.",
    ),
    "small": (
        "too small to tell",
        "Fewer than 50 items: the change is shown, but no conclusion can rest on it.",
    ),
    "subset": (
        "subset",
        "Only some items of each category were asked. Scores are weighted as if all had been, "
        "and carry more noise. They cannot be compared with published scores.",
    ),
    "grpo": (
        "GRPO",
        "Group relative policy optimization: for each prompt the model gives several answers; "
        "those with more reward than the group's mean become more likely.",
    ),
    "reward": (
        "reward",
        "What the training optimizes: the mean score of the sampled answers to training tasks.",
    ),
    "validation": (
        "validation accuracy",
        "Share of held-out training tasks solved. It chooses the checkpoint; BFCL has no part "
        "in that.",
    ),
    "checkpoint": (
        "checkpoint",
        "The model's weights as saved at a training step.",
    ),
    "standard-error": (
        "standard error",
        "How far an accuracy typically lies from its true value, because only so many tasks "
        "were asked.",
    ),
    "resume": (
        "resume",
        "A place where the training was stopped, by a time limit or a failure, and resumed from "
        "its last checkpoint.",
    ),
    "group-non_live": (
        "Non-live",
        "Seven categories written by BFCL's authors: simple calls in Python, Java and JavaScript, "
        "choosing among tools, several calls at once, and declining.",
    ),
    "group-live": (
        "Live",
        "Six categories of questions and tools that users of real systems sent in.",
    ),
    "group-multi_turn": (
        "Multi-turn",
        "Four categories of conversations of several turns, in which the calls change the state of "
        "simulated systems.",
    ),
    "decline": (
        "decline",
        "An answer without any tool call. Right where no tool fits, wrong elsewhere.",
    ),
    "overcall": (
        "over-call",
        "A tool call where none of the tools fits the question.",
    ),
    "disputed": (
        "disputed",
        "The harness's score, its decoder and the record of the requests say different things of "
        "an answer. One such item makes the evaluation invalid.",
    ),
    "named-model": (
        "model that the server names",
        "Each answer names the model that it comes from. Several names in one evaluation, such as "
        "those of a gateway that falls back to another model, make it invalid.",
    ),
    "unparsed": (
        "unparsed call",
        "A tool call that reached the harness as plain text. The harness counts it as no call, "
        "which it credits in the irrelevance categories.",
    ),
    "strict": (
        "strict score",
        "The Overall without credit for calls not parsed or decoded, and empty or cut answers.",
    ),
    "forced-stop": (
        "forced stop",
        "A multi-turn item that the harness ended because the model kept calling without end.",
    ),
    "truncated": (
        "cut answer",
        "An answer that ended at the token limit.",
    ),
    "overflow": (
        "context overflow",
        "The conversation became longer than the server's context.",
    ),
    "canary": (
        "canary",
        "A few questions asked before the items, until one answer was a parsed tool call and one "
        "was text. A whole call that comes back as text, while none is parsed, proves that the "
        "server's tool parser is missing or wrong; where the canary proves nothing, the answers "
        "to the items decide.",
    ),
    "retried": (
        "retried",
        "Items that failed for reasons of infrastructure and were retried.",
    ),
    "contamination": (
        "contamination",
        "Overlap of the training tasks with the benchmark's items. It would make the score "
        "say less.",
    ),
    "digest": (
        "digest",
        "A fingerprint (SHA-256) of content: equal digests mean equal content.",
    ),
    "anchor": (
        "published score",
        "A score that others reported. Conditions differ, so it places the result roughly "
        "and no more.",
    ),
    "points-per-gpu-hour": (
        "points per GPU-hour",
        "The change of the Overall divided by the GPU-hours of the training.",
    ),
    "migration": (
        "migration matrix",
        "Each item has a row (its error before) and a column (its error after). The diagonal did "
        "not change; the column “correct” was gained.",
    ),
    "p-pooled": (
        "pooled items",
        "A test that treats all items alike. The official Overall weighs groups, so the two can "
        "point in different directions.",
    ),
    "bootstrap": (
        "cluster bootstrap",
        "The interval comes from drawing the items again and again, whole clusters at a time, and "
        "computing the Overall of each draw. The draws' own spread sets the width (studentised), "
        "alike on both sides (symmetric).",
    ),
    "small-sample": (
        "score interval",
        "Keeps every change under which what was seen would not be unlikely. Used where a "
        "bootstrap has too few clusters or too few changes to draw from. It is wider, because "
        "little was seen.",
    ),
    "cluster": (
        "cluster",
        "Items that share a scenario or a tool document. They tend to be right or wrong together, "
        "so they count as one draw.",
    ),
    "other-interval": (
        "other intervals",
        "Two common intervals from the same draws (percentiles; BCa, bias corrected and "
        "accelerated). The verdict does not use them.",
    ),
    "error-level": (
        "error level",
        "How often a comparison of two equal models would still be called a change: 0.05 is one "
        "time in 20.",
    ),
    "seed": (
        "seed",
        "The number that random draws start from. The same seed gives the same draws.",
    ),
    "segment": (
        "segment",
        "One launch of the training, from its start or a resume to the next stop.",
    ),
    "token": (
        "token",
        "The piece of text that a model reads and writes, often a part of a word.",
    ),
    "latency": (
        "latency",
        "Seconds from the question to the whole answer, over all requests of an item.",
    ),
    "percentile": (
        "95th percentile",
        "The value that 5 % of the items exceed.",
    ),
    "wall-time": (
        "wall time",
        "Time on the clock, from the start of a stage to its end.",
    ),
    "node": (
        "node",
        "One machine of a cluster.",
    ),
    "gpu-hour": (
        "GPU-hour",
        "One GPU held for one hour, busy or not.",
    ),
    "inference-error": (
        "inference error",
        "A question that got no answer, for reasons of the server and not of the model. Too many "
        "of them and the two sides cannot be compared.",
    ),
    "frozen": (
        "frozen configuration",
        "The part of the configuration that a stage read, as it was then.",
    ),
    "condition-items": (
        "items",
        "A fingerprint of the questions that were asked.",
    ),
    "condition-scorer": (
        "scorer",
        "The program that judges each answer.",
    ),
    "condition-harness": (
        "harness",
        "The program that asks the questions and collects the answers.",
    ),
    "condition-formula": (
        "formula",
        "How the Overall is made from the categories.",
    ),
    "condition-alias": (
        "alias",
        "The model's name as the harness sees it. The harness treats some names in a special way.",
    ),
    "condition-chat_template": (
        "chat template",
        "The rule that turns messages and tools into the text that the model reads.",
    ),
    "condition-tool_parser": (
        "tool parser",
        "The part of the server that finds tool calls in the text that the model writes.",
    ),
    "condition-sampling": (
        "sampling",
        "How the next token is chosen. Temperature 0 takes the likeliest one each time.",
    ),
    "condition-context": (
        "context",
        "The maximum number of tokens of a question and its answer together.",
    ),
    "condition-dtype": (
        "dtype",
        "The number format of the weights. Rounding differs between formats.",
    ),
    "condition-server": (
        "server",
        "The program that runs the model.",
    ),
    "condition-machine": (
        "machine",
        "The kind of GPU or processor that ran the model.",
    ),
}

CATEGORIES: dict[str, str] = {
    "simple": "One Python function is offered and one call is expected.",
    "java": "One call of a Java function, with arguments as Java writes them.",
    "javascript": "One call of a JavaScript function, with arguments as JavaScript writes them.",
    "multiple": "Two to four tools are offered; one call of the right one is expected.",
    "parallel": "One tool is offered; several calls of it are expected in one answer.",
    "parallel_multiple": "Several tools are offered; several calls are expected in one answer.",
    "irrelevance": "The tool that is offered does not fit: no call is expected.",
    "live_simple": "A user's question with one tool; one call is expected.",
    "live_multiple": "A user's question with several tools; one call of the right one is expected.",
    "live_parallel": "A user's question with one or two tools; several calls are expected.",
    "live_parallel_multiple": "A user's question with several tools; several calls are expected.",
    "live_irrelevance": "A user's question that none of the tools fits: no call is expected.",
    "live_relevance": "A user's question that at least one of the tools fits: any call is right.",
    "multi_turn_base": "A conversation in which every turn says all that is needed.",
    "multi_turn_miss_func": (
        "A tool that is needed is held back and handed over in a later turn. Until then, the "
        "model should say that it cannot continue."
    ),
    "multi_turn_miss_param": (
        "A turn leaves out a value that is needed. The model should ask for it, not guess."
    ),
    "multi_turn_long_context": "The base conversations, with much that is beside the point.",
}
"""What each category asks of a model."""

FLAGS = {
    "inference_error": "inference-error",
    "unparsed_call": "unparsed",
    "disputed": "disputed",
    "truncated": "truncated",
    "forced_stop": "forced-stop",
    "context_overflow": "overflow",
    "retried": "retried",
}
"""The term that explains a flag of an answer."""

_IN_TEXT = re.compile(
    r"(?P<overall>\bOverall\b)|(?P<points>\bpoints\b)|(?P<interval>\b[\d.]+\s%\sinterval\b)"
    r"|(?P<p>\bp(?=\s[<=]))|(?P<detectable>\btrue change\b)|(?P<noise_floor>^The same weights\b)"
)


def parts(text: str) -> list[tuple[str, str]]:
    """`text` cut into (piece, key of the term that explains it or "")."""
    found, end = [], 0
    for match in _IN_TEXT.finditer(text):
        found += [
            (text[end : match.start()], ""),
            (match[0], str(match.lastgroup).replace("_", "-")),
        ]
        end = match.end()
    return [part for part in [*found, (text[end:], "")] if part[0]]
