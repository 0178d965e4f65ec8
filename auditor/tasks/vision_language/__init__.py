"""Models that answer questions about pictures: of LLaVA's shape, out of transformers.

How a picture, its question and its answer become the numbers that an audit keeps, how such a model is scored and read,
and which files are understood. Sets, subjects and decoys are those of models of any kind.
"""
