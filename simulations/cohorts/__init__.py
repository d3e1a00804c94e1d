"""The synthetic cohort: chest-X-ray-like phantoms and their reports, whose truth is known.

It stands in for hospital data wherever none may be used: quickstart, tests, attacks, audits. A cohort is
a manifest folder that the production `manifest` adapter reads like any hospital's export.

The story, in the order in which it is drawn:

1. **Sites** (`sites.py`). Each hospital has its own scanners, prevalences, age and race mix and house
   style; `site_shift` moves all of it from "every hospital alike" (0) to "each hospital its own world"
   (1). The public set is not a hospital: it comes from two other scanners, in textbook wording, whatever
   the shift, so that what is learnt from it alone travels badly.
2. **Patients** (`patients.py`). Sex, age and race, then what is found in them (`findings.py`): ten
   findings and three devices, more or less likely by age and sex. Race changes nothing but how often a
   patient comes from which site: a gap between races in a report is a gap between sites, unless bias is planted.
3. **Studies** (`patients.py`). One to four a patient. Chronic findings stay and change severity, acute
   ones come and go. Some studies have a second view: another exposure, slightly shifted and turned, with
   the very same report. Each view is a row of the manifest; `split_group` is the patient.
4. **Images** (`thorax.py`, `lesions.py`, `devices.py`, `render.py`). Everything is a soft shape
   (`shapes.py`) that adds to or takes from the attenuation of the beam; side and zone say where a
   finding lies, severity how large it is.
5. **Scanners** (`scanners.py`). Tone, blur, edge enhancement, collimation, lead letters, noise.
6. **Reports** (`grammar.py`, `wordings.py`). Every finding is stated, its side, zone and severity nearly
   always; a few absent ones are denied; each house has favourite words.

The **confounder** is a portable-unit marker, the letter P in a corner. Off, it is drawn in 30 % of the
studies at random. On, at every other site, the first included, it follows pleural effusion nearly
always, so that a model can learn the letter in place of the fluid. Nothing else in the cohort changes
with the switch.

**Planted bias** (`bias.py`) meets patients recorded as Black, at the hospitals alone. `scanner`: their studies
come from a unit of its own, pale and flat, that no public study came from; everything is in the pictures, but
a model has to learn to see it. `marker`: the letter P follows the patient nearly always, whatever is found.
`phrases`: most of their reports open with doubting, blaming or stigmatising words and leave out where and how
large. A few studies of others meet the same; without a switch the cohort is the one above, byte for byte.
The unit and the words are recorded (the scanner in the manifest), the marker is in the truth.

What is known (`truth.csv`): side, zone and severity of each finding, presence and side of each device,
the marker, body habitus, pose and what the scanner did. What is promised: a plan gives the same bytes
again (on one machine and one version of NumPy and Pillow), and a patient is the same whatever the number
of sites or patients.

The phantoms are made to be told apart at 64 x 64, not to be diagnosed: a model that does well here is
not thereby good at chest X-rays.
"""
