"""What people download, as a manifest of cases.

Folders, tables, archives, PASCAL VOC, electrocardiograms and voices. A source only lists; what is wrong with the data is
found in `audit`.
"""
