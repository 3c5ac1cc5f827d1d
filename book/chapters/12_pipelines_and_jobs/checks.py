"""The checks of chapter 12."""

# PART A

# PART A ends

# PART B

# PART B ends

# PART C

# PART C ends
