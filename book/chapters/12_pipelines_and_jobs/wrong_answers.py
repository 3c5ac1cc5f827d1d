"""What the checks of chapter 12 say of wrong answers, and other right ones."""

WRONG = []
RIGHT = []

# PART A

WRONG += []
RIGHT += []

# PART A ends

# PART B

WRONG += []
RIGHT += []

# PART B ends

# PART C

WRONG += []
RIGHT += []

# PART C ends
