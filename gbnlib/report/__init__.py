"""What people see: notebooks' common parts, plots, lists on the command line, and the HTML report."""
