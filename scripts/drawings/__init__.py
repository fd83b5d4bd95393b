"""The drawings of docs/design.md."""
