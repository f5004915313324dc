"""Short explanations for readers who are new to the field, shown on hover and focus."""

TERMS: dict[str, tuple[str, str]] = {
    "overall": (
        "Overall",
        "The official BFCL v3 score in percent: the mean of the three groups non-live, live and "
        "multi-turn. toolgain computes it from the single items.",
    ),
    "bfcl": (
        "BFCL v3",
        "Berkeley Function-Calling Leaderboard, version 3: 4441 items in 17 categories that ask a "
        "model to call tools, or to leave it.",
    ),
    "interval": (
        "95 % interval",
        "The range of changes that fit the data. Repeating the whole experiment on other items "
        "of the same kind, 95 of 100 such ranges would hold the true change. If it excludes zero, "
        "the change is clear.",
    ),
    "p": (
        "p",
        "How often a difference at least this large would appear if the training had changed "
        "nothing. Small values speak for a real change.",
    ),
    "adjusted-p": (
        "adjusted p",
        "The p value of McNemar's exact test, made larger by Holm's method because several groups "
        "or categories are tested at once.",
    ),
    "mcnemar": (
        "McNemar's test",
        "Compares two models on the same items: only items that one of them solves and the other "
        "does not count.",
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
        "The smallest true change of the Overall that this comparison would find in 80 of "
        "100 tries.",
    ),
    "noninferiority": (
        "held within the margin",
        "A test for the absence of harm: the interval shows that the score did not fall by more "
        "than the margin that was set before the run.",
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
        "A place where the training was stopped, by a time limit or a failure, and went on from "
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
    "unparsed": (
        "unparsed call",
        "A tool call that reached the harness as plain text. The harness counts it as no call, "
        "which it credits in the irrelevance categories.",
    ),
    "strict": (
        "strict score",
        "The Overall without credit for unparsed tool calls and for empty answers.",
    ),
    "forced-stop": (
        "forced stop",
        "A multi-turn item that the harness ended because the model went on calling without end.",
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
        "Two questions asked before the start: one must give a parsed tool call, one must give "
        "none. They catch a server without a tool parser.",
    ),
    "repaired": (
        "repaired",
        "Items that failed for reasons of infrastructure and were asked again.",
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
        "The interval comes from drawing the items again and again, whole clusters at a time "
        "(items that share a scenario or a tool document), and computing the Overall of each draw.",
    ),
}
