"""What users ask for, each a plain function that joins the sides: building, storing, serving, making images, testing.

Commands, notebooks and tests call these; nothing here prints or reads arguments. The sides are imported inside the
functions that need them: a bundle runs where the packages of the build side are not installed, and help is quick.
"""

__all__: list[str] = []
