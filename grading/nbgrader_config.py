"""nbgrader's settings for instructors: run its commands in this folder, as docs/instructors.md describes.

The students' repository gets a shorter file, tools/student_template/nbgrader_config.py, whose settings for
executing notebooks must be the same as here (a test compares them).
"""

import os
import sys
import sysconfig
from pathlib import Path

c = get_config()  # noqa: F821 (defined by traitlets, which reads this file)

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
if str(ROOT) not in sys.path:  # nbgrader puts only its working directory there
    sys.path.insert(0, str(ROOT))
# To make a gradebook, nbgrader calls `alembic` by name, which is found only in an activated environment.
SCRIPTS = sysconfig.get_path("scripts")
if SCRIPTS not in os.environ.get("PATH", "").split(os.pathsep):
    os.environ["PATH"] = os.pathsep.join([SCRIPTS, os.environ.get("PATH", os.defpath)])

# The course's folders. Those with students' work or marks are below grading/ and ignored by git.
c.CourseDirectory.root = str(ROOT)
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "exercises"
c.CourseDirectory.submitted_directory = "grading/submitted"
c.CourseDirectory.autograded_directory = "grading/autograded"
c.CourseDirectory.feedback_directory = "grading/feedback"
c.CourseDirectory.solution_directory = "grading/generated-solutions"
c.CourseDirectory.source_with_tests_directory = "grading/source-with-tests"
c.CourseDirectory.db_url = f"sqlite:///{HERE / 'gradebook.db'}"

# nbgrader copies every other file of the source folder to the release and to each autograded submission,
# where student code can read it. Sources, class guides and the like stay behind; tools/release.py refuses
# what is neither here nor a plain data file.
c.CourseDirectory.ignore = [
    ".*", "*.pyc", "__pycache__", "feedback", "checkpoint*",
    "*.py", "*.md", "*.ipynb", "*.html", "*.pdf", "*.tex", "*.rst", "*.db", "*.sh", "*~",
]  # fmt: skip

# The course's time zone, by its name in the IANA list: of deadlines and times in formgrader, of the times in
# Moodle's worksheets and archives, and of all times that reports, feedback and tables show.
c.NbGraderAPI.timezone = "Europe/Berlin"

c.ClearSolutions.code_stub = {"python": 'raise NotImplementedError("write your answer here")'}
c.ClearSolutions.text_stub = "*Write your answer here.*"

# An exercise's graded cell takes at most 10 seconds on two cores; slower machines and slower ways get time.
c.Execute.timeout = 120
c.Execute.startup_timeout = 120
c.Execute.iopub_timeout = 30

# nbgrader gives no marks to a test cell that wrote to stderr, be it a warning, and its Validate button
# judges likewise, without a setting against it. Therefore the kernel sends what goes to stderr as ordinary
# output: it is still seen, and costs nothing. Errors are reported by other means.
c.Execute.extra_arguments = ["--IPKernelApp.exec_lines=import sys; sys.stderr.name = 'stdout'"]
# What reaches stderr all the same is left out before marks are given; the Validate button does not do this.
c.IgnorePattern.enabled = True
c.IgnorePattern.pattern = r"[\s\S]"

# As nbgrader has it, but a copied cell does not stop the run of the whole class.
c.Autograde.sanitize_preprocessors = [
    "nbgrader.preprocessors.ClearOutput",
    "grading.intake.copies.DropCopies",
    "nbgrader.preprocessors.OverwriteKernelspec",
    "nbgrader.preprocessors.OverwriteCells",
    "nbgrader.preprocessors.CheckCellMetadata",
]
# Hidden tests are taken out of each notebook as soon as it has been graded, and again on the way to feedback.
# A regrade starts from the submission and the gradebook, which has them.
c.Autograde.autograde_preprocessors = [
    "nbgrader.preprocessors.Execute",
    "nbgrader.preprocessors.IgnorePattern",
    "nbconvert.preprocessors.ClearMetadataPreprocessor",
    "nbgrader.preprocessors.LimitOutput",
    "nbgrader.preprocessors.SaveAutoGrades",
    "nbgrader.preprocessors.AssignLatePenalties",
    "grading.results.hidden.HideHiddenTests",
    "nbgrader.preprocessors.CheckCellMetadata",
]
c.GenerateFeedback.preprocessors = [
    "grading.results.hidden.HideHiddenTests",
    "nbgrader.preprocessors.GetGrades",
    "nbconvert.preprocessors.CSSHTMLHeaderPreprocessor",
]
