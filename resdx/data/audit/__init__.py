"""What is wrong with a data set before training: copies, shared persons, shortcuts, odd files.

Each question gives findings of grade stop, look or note; nothing is changed.
"""
