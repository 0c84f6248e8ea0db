"""What people see of a command: progress, questions, pages, results, and errors as sentences."""
