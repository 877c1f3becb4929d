"""Text that people and other programs may have written: read without harm, and printed without harm."""
