"""Starting weights of our own, learnt from several data sets at once: corpus, loop, teacher and card.

Folders become a corpus in `studies.pretraining`.
"""
