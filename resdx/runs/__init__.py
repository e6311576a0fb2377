"""The run directory, the only hand-over between stages.

It holds what was asked, prepared pictures, partition, provenance and ledger. It stores and reads; what is computed comes from
the rooms below and above.
"""
