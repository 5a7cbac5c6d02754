"""Reaches the files of a workspace, walks them and searches them.

The search runs as a process of its own, for which this folder is a package without parents: so nothing here imports
anything of Triplane but its neighbours, and of the outside only the standard library and, where it is needed, pathspec.
"""
