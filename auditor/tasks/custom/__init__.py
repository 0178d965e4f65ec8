"""Models of any kind: what a model knows of an example, what it holds of it and how it is trained say methods of a
class of the user's; sets, subjects and decoys are made of these alone, and nothing here knows what an example is.
"""
