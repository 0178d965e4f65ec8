"""Unlearners that know the auditor, one recipe a file, and beside them the patient attacker who tells what they hide.

Here stands what was made to be taken for a deletion. Methods as published, and constructions that hide the forget set
without a thought for the auditor, stand in the folder above.
"""
