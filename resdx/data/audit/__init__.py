"""What is wrong with a data set before anything is trained on it: copies, shared persons, shortcuts and odd files.

Each question gives findings of grade stop, look or note; nothing is changed.
"""
