"""Dual encoders, CLIP above all: images and captions embedded side by side.

An example is an image with its caption's token ids. Whatever of them is to be forgotten, a class or a whole domain of
images, is what ``forget`` holds examples of; nothing here knows a class.
"""
