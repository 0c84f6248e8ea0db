"""What is said in the GPU benchmark. Imports nothing: another project's packages read it too."""

TRANSCRIPT = "The words of the reference."

TEXTS = (
    ("English", "The birch canoe slid on the smooth planks, and nobody on the shore looked up."),
    ("Auto", "Glue the sheet to the dark blue background."),
    ("French", "Oui, demain."),
    ("German", "Guten Tag! Dies ist ein etwas längerer Satz, der eine ganze Weile weitergeht."),
)
"""Each with its language."""
