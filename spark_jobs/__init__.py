"""The distributed steps: pure DataFrame -> DataFrame transforms and their schemas."""
