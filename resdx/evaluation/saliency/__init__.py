"""Where in a picture an answer comes from, and checks of whether such a map says anything.

Methods are pure functions of a network and images; `explain` is the stage that writes them.
"""
