"""Audits of a hospital's studies before anything is trained: where bias could come from, and where it does not.

Each audit asks one question of the studies and answers with findings (`interface.py`):

- `language.py`: are some groups written of with doubt, blame or stigma more often than others?
- `attributes.py`: which attribute can be told from image or report, and how much does it tell of the findings?
- `mediation.py`: does a gap between groups come through the images, through the reports, or through neither?
- `swaps.py`: how far does a report move when its words for sex, age or race are exchanged?
- `regions.py`: which parts of the picture go with a group and with studies that are not found again?

They share one way to be sure (`permutation.py`): what was seen is compared with what is seen when patients swap
their groups, whole patients at a time, within a hospital; and one stand-in for a model that is yet to be trained
(`stand_in.py`). Everything here is exact, and the hospital's own: it is shown to its people, and none of it leaves.
"""
