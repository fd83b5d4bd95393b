"""What turns a recorded step into text: one writer a library, and what they share."""
