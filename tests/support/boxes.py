"""Boxes of faces for property-based tests."""

from hypothesis import strategies as st

BOXES = st.tuples(*[st.floats(-50, 50)] * 2, *[st.floats(0.1, 80)] * 2).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)
