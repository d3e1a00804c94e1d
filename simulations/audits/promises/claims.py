"""The promises in a data protection officer's words: what each means, and what no file that is handed over can show."""

from __future__ import annotations

from dataclasses import dataclass

from simulations.audits.promises.answers import Promise


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A promise in words.

    Attributes:
        title: As in the README's table.
        means: What it means for a patient or a hospital.
        holds: The sentence where it holds.
        fails: The sentence where it does not.
        holds_unsigned: The sentence where it holds of a simulation, which signs none of what it rests on.
        not_tested: What was not looked at, and cannot be from files.
    """

    title: str
    means: str
    holds: str
    fails: str
    not_tested: tuple[str, ...]
    holds_unsigned: str = ""


CANNOT_TELL = "From what was handed over this cannot be told."

CLAIMS: dict[Promise, Claim] = {
    Promise.GATED: Claim(
        title="Nothing ungated leaves a hospital",
        means="No study, report or picture leaves; what does was made by a method that the hospital allowed before.",
        holds="Everything that each hospital's log says left was made by a method that its own file allows, for a run "
        "that it had approved.",
        fails="Something left a hospital that its log, its approval or its own file does not cover.",
        not_tested=(
            "Whether anything left a hospital past the installed program: a network's own records show that.",
            "Whether the installed program is the published one.",
            "Whether what was sent is what the log's digest stands for: the content is not kept.",
        ),
    ),
    Promise.EPSILON: Claim(
        title="The stated epsilon is true",
        means="How much anybody can learn of one patient is bounded by a number; it is added up over all runs.",
        holds="Each hospital's ledger holds entry by entry; its epsilon, recomputed by two methods that agree, is "
        "within the hospital's budget, and no more than the report states.",
        fails="A ledger does not hold, or spent more than its budget or the report states; or an attack shows more.",
        not_tested=(
            "Whether the noise was really drawn, and the patients really sampled, as the ledger says: attacks on the "
            "running program test that (wardround audit privacy).",
            "Patients who were treated at several hospitals: their spends add up, and no hospital knows of the other.",
            "Patients who are in a hospital's data under two spellings of their number.",
        ),
    ),
    Promise.BAD_HOSPITAL: Claim(
        title="One bad hospital cannot steer or stop a run",
        means="A hospital that errs or cheats cannot spoil the model for the others, up to the number that was agreed.",
        holds="Everybody tells alike who was asked, counted and dropped, each update that counted is one that its "
        "hospital sent, and every round kept to the conditions of the rule that bears bad hospitals.",
        holds_unsigned="Rounds and summary tell alike who counted and who was dropped, and every round kept to the "
        "conditions of the rule that bears bad hospitals. Nothing of that is signed.",
        fails="Server, rounds and hospitals do not tell the same of who counted, or the rule bears no bad hospital.",
        not_tested=(
            "How far a hospital within the agreed number moved the model: the rule bounds it, and it is not nothing.",
            "A trigger that was planted in the model (backdoor): on small hospitals the rules do not stop it.",
            "More bad hospitals than the agreed number.",
        ),
    ),
    Promise.CRASH: Claim(
        title="A crash costs at most the round in flight",
        means="Patients' privacy is not spent for work that is lost.",
        holds="The checkpoint is whole and is the report's, and whenever the run was taken up it went on behind it.",
        holds_unsigned="The checkpoint is whole and is the report's. It is not signed, and no log tells of crashes.",
        fails="The checkpoint is damaged or not of the report's model, or rounds on the disk were trained anew.",
        not_tested=("Crashes that did not happen in this run: the tests of wardround kill every process.",),
    ),
    Promise.SERVED: Claim(
        title="Who is served worse is visible",
        means="Whoever uses the model can see for which groups of patients it works less well, and how sure that is.",
        holds="The figures by group are there, hide small groups, add up to the gaps that are stated, and stand in the "
        "page that people read.",
        holds_unsigned="The figures by group are there, hide small groups, and add up to the gaps that are stated. "
        "They are not signed.",
        fails="The figures by group do not add up, show groups that are too small, or the page shows others.",
        not_tested=(
            "Whether hospitals measured right: they tell their figures themselves.",
            "Groups that no hospital records, and groups that are hidden because they are small.",
        ),
    ),
    Promise.OFFLINE: Claim(
        title="Every claim can be checked offline",
        means="Nobody has to be believed: signatures show whether a file is the one that was written.",
        holds="Every signed file is as it was signed, and server and hospitals hold the same of each other's logs.",
        fails="A file is not the one that was signed, or the logs of server and hospitals contradict each other.",
        not_tested=(
            "Whether server and hospitals rewrote their logs together.",
            "Whether a hospital handed over its newest search index, and not an older one.",
        ),
    ),
}
"""Every promise, in the README's order."""

KEYS_NOT_COMPARED = (
    "Whether the keys are those of their owners: compare those that are shown below by telephone, or give --public-key."
)
"""What was not tested where no key was given from elsewhere."""
