"""Models of any kind, scored, read and trained by methods of a class of the user's.

Sets, subjects and decoys are made of these methods alone; nothing here knows what an example is.
"""
